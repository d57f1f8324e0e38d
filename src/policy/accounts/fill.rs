//! How full accounts are, for whoever looks: no session waits for it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::account::{AccountHolder, AccountKey, LimitId, OpenAccount, Reached, SessionKind};
use super::bucket::{Bucket, BurstRate};
use super::{Accounts, LimitKind, LimitTerms};
use crate::limits;

/// How somebody stands with a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountFill {
    /// Who.
    pub holder: AccountHolder,
    /// Sessions, associations among them.
    pub sessions: u64,
    /// Associations.
    pub associations: u64,
    /// What part is used of each kind that the limit bounds, in the order of [`LimitKind::ALL`]: of a number those that there
    /// are, of a rate what is gone of its burst. 1: nothing is left.
    pub parts: [Option<f64>; LimitKind::ALL.len()],
}

impl AccountFill {
    /// Nobody has used anything.
    pub fn of_nothing(holder: AccountHolder) -> AccountFill {
        AccountFill { holder, sessions: 0, associations: 0, parts: [None; LimitKind::ALL.len()] }
    }

    /// What part is used of that of which the least is left.
    pub fn fullest(&self) -> f64 {
        self.parts.iter().flatten().fold(0.0, |most, part| part.max(most))
    }

    /// What part is used of a kind; `None` where the limit does not bound it.
    pub fn part(&self, kind: LimitKind) -> Option<f64> {
        self.parts[kind as usize]
    }
}

/// How far a look at all accounts has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FillWalk {
    part: usize,
    seen: usize,
}

impl FillWalk {
    /// Whether it has come to the end.
    pub fn is_over(&self) -> bool {
        self.part >= limits::ACCOUNT_PARTS
    }
}

impl Accounts {
    /// Looks at some accounts more, which keeps one part of the table from others for as long as that takes. Who comes or goes
    /// meanwhile may be missed or be told of twice.
    pub fn look_at_fill(
        &self,
        walk: &mut FillWalk,
        now: Instant,
        mut each: impl FnMut(LimitId, AccountFill),
    ) {
        let Some(part) = self.parts.get(walk.part) else { return };
        let now_ns = self.moment(now);
        let part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let some = part.accounts.values().skip(walk.seen).take(limits::FILL_ACCOUNTS_PER_LOOK);
        some.for_each(|account| each(account.key.limit, account.fill(now_ns)));
        walk.seen += limits::FILL_ACCOUNTS_PER_LOOK;
        if walk.seen >= part.accounts.len() {
            *walk = FillWalk { part: walk.part + 1, seen: 0 };
        }
    }

    /// How somebody stands with a limit; `None` where nothing is known of him, as then nothing is used.
    pub fn fill_of(&self, key: &AccountKey, now: Instant) -> Option<AccountFill> {
        let now_ns = self.moment(now);
        self.part(key).accounts.get(key).map(|account| account.fill(now_ns))
    }

    /// What a session that begins now would go beyond.
    pub fn would_refuse(&self, key: &AccountKey, kind: SessionKind, now: Instant) -> Option<Reached> {
        let now_ns = self.moment(now);
        let known = self.part(key).accounts.get(key).cloned();
        let account = known.unwrap_or_else(|| OpenAccount::new(key.clone(), self.terms_of(key.limit)).into());
        account.is_at(kind).or_else(|| {
            let rate = account.terms.new_per_second()?;
            (!account.beginnings.has_one(rate, now_ns)).then_some(Reached::NewSessions)
        })
    }

    /// What a limit allows now.
    pub fn terms_now(&self, limit: LimitId) -> LimitTerms {
        self.terms_of(limit).get()
    }
}

impl OpenAccount {
    fn fill(&self, now_ns: u64) -> AccountFill {
        let terms = self.terms.get();
        let (sessions, associations) =
            (self.sessions.load(Ordering::Relaxed), self.associations.load(Ordering::Relaxed));
        let held = |count: u64, most: Option<u64>| {
            most.map(|most| if most == 0 { 1.0 } else { (count as f64 / most as f64).min(1.0) })
        };
        let drawn = |bucket: &Bucket, rate: Option<BurstRate>| rate.map(|rate| bucket.drawn(rate, now_ns));
        let parts = LimitKind::ALL.map(|kind| match kind {
            LimitKind::Connections => held(sessions, terms.connections),
            LimitKind::Associations => held(associations, terms.udp_associations),
            LimitKind::NewSessions => drawn(&self.beginnings, terms.new_per_second),
            LimitKind::Upload => drawn(&self.upload, terms.upload),
            LimitKind::Download => drawn(&self.download, terms.download),
            LimitKind::Datagrams => drawn(&self.datagrams, terms.datagrams),
            LimitKind::Quota => self.part_of_quota(),
        });
        AccountFill { holder: self.key.holder.clone(), sessions, associations, parts }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::policy::accounts::{LimitedWay, SessionKind};

    #[test]
    fn a_look_at_all_accounts_sees_each_with_what_it_has_used() {
        let begin = Instant::now();
        let accounts = Arc::new(Accounts::new(begin));
        let rate = |rate, burst| Some(BurstRate { rate, burst });
        let terms = LimitTerms {
            connections: Some(4),
            download: rate(1000, 1000),
            new_per_second: rate(1, 10),
            ..LimitTerms::default()
        };
        accounts.set_terms(LimitId(3), &terms);
        assert_eq!(accounts.terms_now(LimitId(3)), terms);
        let key =
            |nth: u32| AccountKey { limit: LimitId(3), holder: AccountHolder::User(nth.to_string().into()) };
        // More than one look at each part of the table takes.
        let most = 2 * limits::FILL_ACCOUNTS_PER_LOOK * limits::ACCOUNT_PARTS;
        let mut places: Vec<_> = (0..most as u32)
            .map(|nth| accounts.enter(key(nth), SessionKind::Association, begin).expect("a place"))
            .collect();
        places.push(accounts.enter(key(7), SessionKind::Tunnel, begin).expect("a place"));
        places[7].allowance(LimitedWay::Down, begin);
        let (mut walk, mut seen) = (FillWalk::default(), Vec::new());
        while !walk.is_over() {
            accounts.look_at_fill(&mut walk, begin, |limit, fill| seen.push((limit, fill)));
        }
        assert_eq!(seen.len(), most);
        seen.sort_by(|(_, one), (_, other)| other.fullest().total_cmp(&one.fullest()));
        let (limit, fill) = &seen[0];
        assert_eq!((*limit, &fill.holder), (LimitId(3), &key(7).holder));
        assert_eq!((fill.sessions, fill.associations), (2, 1));
        let part = |kind| fill.part(kind);
        assert_eq!((part(LimitKind::Connections), part(LimitKind::NewSessions)), (Some(0.5), Some(0.2)));
        assert_eq!(part(LimitKind::Upload), None);
        assert!(part(LimitKind::Download).is_some_and(|part| part > 0.0), "{fill:?}");
        assert!(seen[1..].iter().all(|(_, fill)| fill.fullest() == 0.25));
        // What is left alone recovers, and who has never come has used nothing.
        let later = accounts.fill_of(&key(7), begin + Duration::from_secs(60)).expect("an account");
        assert_eq!(
            (later.part(LimitKind::NewSessions), later.part(LimitKind::Download)),
            (Some(0.0), Some(0.0))
        );
        assert_eq!(accounts.fill_of(&key(u32::MAX), begin), None);
    }
}
