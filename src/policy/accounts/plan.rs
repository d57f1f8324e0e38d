//! Which limits a session counts in, and its places in them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::kinds::{LimitKind, ReachedCounts};
use super::members::{LimitedUsers, UserLimits};
use super::share::Allowance;
use super::{AccountHolder, AccountKey, Accounts, LimitId, LimitPlace, LimitedWay, Reached, SessionKind};
use crate::policy::Subject;
use crate::policy::rules::RuleId;
use crate::shares::Source;

/// Whose sessions count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Those of one user; who did not log in is nobody, and has no such limit.
    #[default]
    User,
    /// Those of all users of one group; who is in several counts in each of them, who is in none has no such limit.
    Group,
    /// Those of one source: an IPv4 address or an IPv6 /64.
    Source,
    /// Those of one network: an IPv4 /24 or an IPv6 /48.
    Network,
    /// None: each has a limit of its own.
    Session,
    /// Those that one rule allows.
    Rule,
    /// Those that came by one listener.
    Listener,
    /// All.
    Global,
}

/// A limit in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its number.
    pub id: LimitId,
    /// Whose sessions count together.
    pub per: Per,
}

/// The limits in effect: those of every session, those of users, and those of the rules that name some.
#[derive(Debug)]
pub struct LimitPlan {
    /// Where sessions are counted.
    pub accounts: Arc<Accounts>,
    /// The limits that every session counts in.
    pub all: Vec<Limit>,
    /// Which groups users are in, and which limits they have.
    pub users: Arc<LimitedUsers>,
    /// The limits that users have, in the order of their names there.
    pub of_users: Vec<Limit>,
    /// Those of the sessions that a rule allows.
    pub by_rule: HashMap<RuleId, Vec<Limit>>,
}

/// The places of one session in all its limits.
#[derive(Debug, Default)]
pub struct LimitPlaces {
    held: Vec<(LimitId, LimitPlace)>,
    /// Datagrams that did not pass since it was last asked.
    stopped: usize,
    reached: ReachedCounts,
}

/// A limit that a session would go beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: LimitId,
    /// Which part of it.
    pub reached: Reached,
}

impl LimitPlan {
    /// Whether no session has a limit.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.of_users.is_empty() && self.by_rule.is_empty()
    }

    /// Whether another has the same limits. What they allow is no part of it: accounts have that as it stands.
    pub fn is_as(&self, other: &LimitPlan) -> bool {
        let same_users = self.users == other.users && self.of_users == other.of_users;
        same_users && self.all == other.all && self.by_rule == other.by_rule
    }

    /// Lets a session into the limits of all and of its user, and into those of the rules that allow it, each once.
    ///
    /// # Errors
    /// The first that it would go beyond. It is in none then that it was not in before, and nothing of it is counted there.
    pub fn enter(
        &self,
        places: &mut LimitPlaces,
        subject: &Subject<'_>,
        rules: impl Iterator<Item = RuleId>,
        kind: SessionKind,
        now: Instant,
    ) -> Result<(), Exceeded> {
        let user = self.known_user(subject);
        let before = places.held.len();
        for (limit, rule) in self.limits_of(user, rules) {
            if places.held.iter().any(|(id, _)| *id == limit.id) {
                continue;
            }
            for holder in holders(limit.per, subject, user, rule) {
                let key = AccountKey { limit: limit.id, holder };
                let entered = match limit.per {
                    Per::Session => self.accounts.enter_alone(key, kind, now),
                    _ => self.accounts.enter(key, kind, now),
                };
                match entered {
                    Ok(place) => places.held.push((limit.id, place)),
                    Err(reached) => {
                        places.withdraw(before);
                        return Err(Exceeded { limit: limit.id, reached });
                    }
                }
            }
        }
        Ok(())
    }

    /// The accounts that a session would count in, each once.
    pub fn keys_of(
        &self,
        subject: &Subject<'_>,
        rules: impl Iterator<Item = RuleId>,
    ) -> Vec<(Per, AccountKey)> {
        let user = self.known_user(subject);
        let mut limits: Vec<(Limit, RuleId)> = Vec::new();
        for (limit, rule) in self.limits_of(user, rules) {
            if limits.iter().all(|(before, _)| before.id != limit.id) {
                limits.push((limit, rule));
            }
        }
        let keys = |(limit, rule): (Limit, RuleId)| {
            let holders = holders(limit.per, subject, user, rule);
            holders.map(move |holder| (limit.per, AccountKey { limit: limit.id, holder }))
        };
        limits.into_iter().flat_map(keys).collect()
    }

    /// What is known of the user of a subject.
    fn known_user(&self, subject: &Subject<'_>) -> Option<&UserLimits> {
        subject.identity.user().and_then(|name| self.users.of(name))
    }

    /// The limits of a session, each with the rule that names it; one may be named by several.
    fn limits_of(
        &self,
        user: Option<&UserLimits>,
        rules: impl Iterator<Item = RuleId>,
    ) -> impl Iterator<Item = (Limit, RuleId)> {
        let of_user = user.into_iter().flat_map(|user| &user.limits);
        let of_user = of_user.filter_map(|place| self.of_users.get(*place));
        let of_rules = rules.flat_map(|rule| {
            let limits = self.by_rule.get(&rule).into_iter().flatten();
            limits.map(move |limit| (*limit, rule))
        });
        self.all.iter().chain(of_user).map(|limit| (*limit, RuleId::DEFAULT)).chain(of_rules)
    }
}

/// Whose accounts a session counts in; none where it is nobody's.
fn holders(
    per: Per,
    subject: &Subject<'_>,
    user: Option<&UserLimits>,
    RuleId(rule): RuleId,
) -> impl Iterator<Item = AccountHolder> {
    let source = Source::from(subject.incoming.client.ip());
    let block = |(ip, bits)| Some(AccountHolder::Block(ip, bits));
    let one = match per {
        Per::User => subject.identity.user().cloned().map(AccountHolder::User),
        Per::Group => None,
        Per::Source => block(source.block()),
        Per::Network => block(source.network().block()),
        Per::Rule => Some(AccountHolder::Rule(rule)),
        Per::Listener => Some(AccountHolder::Listener(subject.incoming.listener)),
        Per::Session | Per::Global => Some(AccountHolder::All),
    };
    let groups = user.filter(|_| per == Per::Group).into_iter().flat_map(|user| &user.groups);
    one.into_iter().chain(groups.cloned().map(AccountHolder::Group))
}

impl LimitPlaces {
    /// Whether it counts in none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The session does not go on in what it was let into: the first so many it keeps.
    pub fn withdraw(&mut self, kept: usize) {
        self.held.drain(kept..).for_each(|(_, place)| place.withdraw());
    }

    /// How many bytes may go this way now, by all limits together.
    pub fn allowance(&mut self, way: LimitedWay, now: Instant) -> Allowance {
        let all = self.held.iter_mut().map(|(_, place)| place.allowance(way, now));
        let allowance = all.fold(Allowance::Unlimited, Allowance::and);
        if let Allowance::From(moment_ns) = allowance {
            for (limit, place) in &mut self.held {
                if place.begins_wait(way) {
                    self.reached.note(*limit, way.into());
                }
                place.hold_until(way, moment_ns);
            }
        }
        allowance
    }

    /// So many bytes went this way.
    pub fn spend(&mut self, way: LimitedWay, bytes: u64) {
        self.held.iter_mut().for_each(|(_, place)| place.spend(way, bytes));
    }

    /// The other ends have so many bytes more. The limit for whose quota the session is to end, if it is.
    pub fn count(&self, up: u64, down: u64) -> Option<LimitId> {
        let mut ends = None;
        for (limit, place) in &self.held {
            if place.count(up, down) {
                ends = ends.or(Some(*limit));
            }
        }
        ends
    }

    /// The limit whose quota is used up and ends the session, if one is.
    pub fn ended(&self) -> Option<LimitId> {
        self.held.iter().find(|(_, place)| place.is_ended()).map(|(limit, _)| *limit)
    }

    /// Whether one more datagram of so many bytes may pass; it is counted if so.
    pub fn passes_datagram(&mut self, way: LimitedWay, bytes: u64, now: Instant) -> bool {
        let bytes_left = self.allowance(way, now);
        let may = matches!(bytes_left, Allowance::Unlimited | Allowance::Of(_));
        let passes = may && self.counts_datagram(now);
        match passes {
            true => self.spend(way, bytes),
            false => self.stopped += 1,
        }
        passes
    }

    /// Whether one more datagram is within all limits: what one of them stops is not counted in the others, or whoever is
    /// at his own would use up what he shares.
    fn counts_datagram(&mut self, now: Instant) -> bool {
        let stops = self.held.iter_mut().position(|(_, place)| !place.passes_datagram(now));
        if let Some(place) = stops {
            self.reached.note(self.held[place].0, LimitKind::Datagrams);
        }
        let counted = &mut self.held[..stops.unwrap_or_default()];
        counted.iter_mut().for_each(|(_, place)| place.put_datagram_back());
        stops.is_none()
    }

    /// How many datagrams did not pass since this was last asked.
    pub fn take_stopped(&mut self) -> usize {
        std::mem::take(&mut self.stopped)
    }

    /// Something of an association does not go on, as it would go beyond a limit.
    pub fn note_exceeded(&mut self, Exceeded { limit, reached }: Exceeded) {
        self.reached.note(limit, reached.into());
    }

    /// How often what of which limit was reached since this was last asked: sessions held back, datagrams stopped.
    pub fn take_reached(&mut self) -> impl Iterator<Item = (LimitId, LimitKind, u64)> {
        self.reached.take()
    }

    /// The moment that an allowance names.
    pub fn instant(&self, moment_ns: u64) -> Option<Instant> {
        self.held.first().map(|(_, place)| place.instant(moment_ns))
    }
}
