//! What the sessions of a server have and use while another has taken its place: told by the one, counted by the other, so that
//! nobody has his limits twice.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::account::{AccountKey, OpenAccount};
use super::quota::UsedBytes;
use super::{Accounts, LimitKind};

/// The buckets of an account.
pub const LIVE_RATES: [LimitKind; 4] =
    [LimitKind::NewSessions, LimitKind::Upload, LimitKind::Download, LimitKind::Datagrams];

/// What the sessions of one account have, and have used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveUse {
    /// Whose account.
    pub key: AccountKey,
    /// Sessions there are.
    pub sessions: u64,
    /// Associations among them.
    pub associations: u64,
    /// When the period began in which `up` and `down` count, in seconds since 1970.
    pub since: u64,
    /// Bytes from clients that count for a quota.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
    /// What was drawn of each of [`LIVE_RATES`], in nanoseconds of that rate.
    pub drawn_ns: [i64; 4],
}

/// What was told so far.
#[derive(Debug, Default)]
pub struct LiveUses {
    told: HashMap<AccountKey, (Arc<OpenAccount>, LiveUse)>,
    begun: bool,
}

impl Accounts {
    /// What is to be told. The first time it is all that accounts with sessions have used, and what is drawn ahead of their
    /// rates; with `all`, of those without sessions, too. Later it is what came to it since.
    pub fn live_uses(&self, uses: &mut LiveUses, all: bool, now: Instant) -> Vec<LiveUse> {
        let now_ns = self.moment(now);
        let mut told = Vec::new();
        let first = !std::mem::replace(&mut uses.begun, true);
        for part in &self.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for account in part.accounts.values() {
                let has_sessions = !account.is_unused();
                if first && (has_sessions || all && account.used_of_quota().is_some()) {
                    told.push(LiveUse { drawn_ns: account.drawn_ahead(now_ns), ..account.live_use() });
                }
                if has_sessions && !uses.told.contains_key(&account.key) {
                    // Of one that has come since the first time, what it used before is in the store.
                    let before = LiveUse { sessions: 0, associations: 0, ..account.live_use() };
                    let before = if first { account.live_use() } else { before };
                    uses.told.insert(account.key.clone(), (account.clone(), before));
                }
            }
        }
        if first {
            return told;
        }
        uses.told.retain(|_, (account, before)| {
            let now = account.live_use();
            let same_period = now.since == before.since;
            let since = |now: u64, before: u64| if same_period { now.saturating_sub(before) } else { now };
            let told_now = LiveUse {
                up: since(now.up, before.up),
                down: since(now.down, before.down),
                drawn_ns: std::array::from_fn(|at| now.drawn_ns[at].wrapping_sub(before.drawn_ns[at])),
                ..now.clone()
            };
            let is_idle = (told_now.up, told_now.down, told_now.drawn_ns) == (0, 0, [0; 4]);
            let same = (now.sessions, now.associations) == (before.sessions, before.associations);
            if !is_idle || !same {
                told.push(told_now);
            }
            let stays = now.sessions > 0;
            *before = now;
            stays
        });
        told
    }
}

impl OpenAccount {
    fn live_use(&self) -> LiveUse {
        let UsedBytes { since, up, down } = self.used.counted();
        LiveUse {
            key: self.key.clone(),
            sessions: self.sessions.load(Ordering::Relaxed),
            associations: self.associations.load(Ordering::Relaxed),
            since,
            up,
            down,
            drawn_ns: self.rates().map(|bucket| bucket.drawn_ns().cast_signed()),
        }
    }

    fn drawn_ahead(&self, now_ns: u64) -> [i64; 4] {
        self.rates().map(|bucket| bucket.ahead_ns(now_ns).cast_signed())
    }
}

/// What the sessions of the server before this one have and use, counted here. They have nothing any more once this is dropped.
#[derive(Debug)]
pub struct CarriedUses {
    accounts: Arc<Accounts>,
    held: HashMap<AccountKey, (Arc<OpenAccount>, LiveUse)>,
}

impl CarriedUses {
    /// Nothing so far.
    pub fn new(accounts: Arc<Accounts>) -> CarriedUses {
        CarriedUses { accounts, held: HashMap::new() }
    }

    /// What was told the first time: all that was used, of which the store may have had a part.
    pub fn begin(&mut self, told: LiveUse, now: Instant) {
        self.carry(told, true, now);
    }

    /// What was told later: what came to it.
    pub fn go_on(&mut self, told: LiveUse, now: Instant) {
        self.carry(told, false, now);
    }

    fn carry(&mut self, told: LiveUse, whole: bool, now: Instant) {
        let CarriedUses { accounts, held } = self;
        let now_ns = accounts.moment(now);
        let mut part = accounts.part(&told.key);
        let there = held.get(&told.key).map(|(account, _)| account.clone());
        let account = there.or_else(|| part.accounts.get(&told.key).cloned()).unwrap_or_else(|| {
            let account = Arc::new(OpenAccount::new(told.key.clone(), accounts.terms_of(told.key.limit)));
            part.accounts.insert(told.key.clone(), account.clone());
            account
        });
        if account.is_unused() {
            part.kept.take_back(&account);
        }
        if let Some(quota) = account.terms.quota().filter(|quota| quota.span.continues(told.since)) {
            account.used.follow(quota.span);
            let have = account.used.used(quota.span);
            let (up, down) = match whole {
                true => (told.up.saturating_sub(have.up), told.down.saturating_sub(have.down)),
                false => (told.up, told.down),
            };
            if up + down > 0 {
                account.used.add(up, down);
                accounts.changes.note(&account);
                accounts.spent.store(true, Ordering::Release);
            }
        }
        account.rates().into_iter().zip(told.drawn_ns).for_each(|(bucket, ns)| bucket.carry(ns, now_ns));
        let (sessions, associations) =
            held.get(&told.key).map_or((0, 0), |(_, before)| (before.sessions, before.associations));
        account.sessions.fetch_add(told.sessions.wrapping_sub(sessions), Ordering::Relaxed);
        account.associations.fetch_add(told.associations.wrapping_sub(associations), Ordering::Relaxed);
        match told.sessions {
            0 => drop(held.remove(&told.key)),
            _ => drop(held.insert(told.key.clone(), (account.clone(), told))),
        }
        part.put_anew(&account);
    }
}

impl Drop for CarriedUses {
    fn drop(&mut self) {
        let nothing = |(account, told): &(Arc<OpenAccount>, LiveUse)| {
            let none =
                LiveUse { sessions: 0, associations: 0, up: 0, down: 0, drawn_ns: [0; 4], ..told.clone() };
            (none, account.clone())
        };
        let held: Vec<_> = self.held.values().map(nothing).collect();
        let now = self.accounts.start;
        held.into_iter().for_each(|(none, _)| self.carry(none, false, now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::accounts::{
        AccountHolder, BurstRate, LimitId, LimitTerms, LimitedWay, OnReached, QuotaDirection, QuotaSpan,
        QuotaTerms, Reached, SessionKind,
    };

    const LIMIT: LimitId = LimitId(3);

    fn key(name: &str) -> AccountKey {
        AccountKey { limit: LIMIT, holder: AccountHolder::User(name.into()) }
    }

    fn accounts(begin: Instant) -> Arc<Accounts> {
        let accounts = Arc::new(Accounts::new(begin));
        let span = QuotaSpan { since: 3600, until: 7200 };
        let quota =
            QuotaTerms { bytes: 1000, direction: QuotaDirection::Both, on_reached: OnReached::Refuse, span };
        let terms = LimitTerms {
            connections: Some(3),
            udp_associations: Some(1),
            download: Some(BurstRate { rate: 1_000_000, burst: 100_000 }),
            quota: Some(quota),
            ..LimitTerms::default()
        };
        accounts.set_terms(LIMIT, &terms);
        accounts
    }

    fn used(accounts: &Accounts, name: &str) -> u64 {
        accounts.quota_use(LIMIT, &key(name).holder).map_or(0, |used| used.up + used.down)
    }

    #[test]
    fn sessions_of_the_server_before_count_until_they_end() {
        let now = Instant::now();
        let (old, new) = (accounts(now), accounts(now));
        let enter = |accounts: &Arc<Accounts>, kind| accounts.enter(key("ann"), kind, now);
        let mut there =
            vec![enter(&old, SessionKind::Association).unwrap(), enter(&old, SessionKind::Tunnel).unwrap()];
        there[1].count(300, 100);
        // The store of the new server had a part of it.
        new.restore_use(super::super::QuotaUse {
            limit: LIMIT,
            holder: key("ann").holder,
            since: 3600,
            up: 200,
            down: 100,
        });
        let (mut uses, mut carried) = (LiveUses::default(), CarriedUses::new(new.clone()));
        for told in old.live_uses(&mut uses, false, now) {
            carried.begin(told, now);
        }
        assert_eq!(used(&new, "ann"), 400);
        assert_eq!(enter(&new, SessionKind::Association).map(drop), Err(Reached::Associations));
        let own = enter(&new, SessionKind::Tunnel).unwrap();
        assert_eq!(enter(&new, SessionKind::Tunnel).map(drop), Err(Reached::Connections));
        own.count(50, 0);
        there[1].count(10, 0);
        there.remove(0);
        let mut go_on = || {
            let told = old.live_uses(&mut uses, false, now);
            told.into_iter().for_each(|told| carried.go_on(told, now));
        };
        go_on();
        go_on();
        assert_eq!(used(&new, "ann"), 460);
        drop(enter(&new, SessionKind::Association).unwrap());
        there[0].count(540, 0);
        drop(there);
        go_on();
        assert_eq!(used(&new, "ann"), 1000, "what was counted last is told behind the session's end");
        assert_eq!(enter(&new, SessionKind::Tunnel).map(drop), Err(Reached::Quota));
        drop((own, carried));
        let left = new.fill_of(&key("ann"), now).unwrap();
        assert_eq!((left.sessions, left.associations), (0, 0));
    }

    /// A server that ends without a word leaves nobody at his limit.
    #[test]
    fn what_is_carried_ends_with_who_told_it() {
        let now = Instant::now();
        let (old, new) = (accounts(now), accounts(now));
        let _there: Vec<_> =
            (0..3).map(|_| old.enter(key("bob"), SessionKind::Tunnel, now).unwrap()).collect();
        let mut carried = CarriedUses::new(new.clone());
        old.live_uses(&mut LiveUses::default(), false, now)
            .into_iter()
            .for_each(|told| carried.begin(told, now));
        assert!(new.enter(key("bob"), SessionKind::Tunnel, now).is_err());
        drop(carried);
        assert_eq!(new.fill_of(&key("bob"), now), None, "nothing is left of it");
        new.enter(key("bob"), SessionKind::Tunnel, now).unwrap();
    }

    /// What is drawn there is not to be had here.
    #[test]
    fn a_rate_is_shared() {
        let now = Instant::now();
        let (old, new) = (accounts(now), accounts(now));
        let mut place = old.enter(key("cid"), SessionKind::Tunnel, now).unwrap();
        let (mut uses, mut carried) = (LiveUses::default(), CarriedUses::new(new.clone()));
        old.live_uses(&mut uses, false, now).into_iter().for_each(|told| carried.begin(told, now));
        let later = now + Duration::from_millis(10);
        place.allowance(LimitedWay::Down, later);
        old.live_uses(&mut uses, false, later).into_iter().for_each(|told| carried.go_on(told, later));
        let part = |accounts: &Accounts| {
            accounts.fill_of(&key("cid"), later).and_then(|fill| fill.part(LimitKind::Download)).unwrap()
        };
        assert!(part(&old) > 0.0);
        assert!((part(&new) - part(&old)).abs() < 0.01, "{} {}", part(&new), part(&old));
    }
}
