//! How full limits are: a look at all accounts, some at a time, so that neither workers nor others who ask wait for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::best::Best;
use crate::limits;
use crate::observe::LimitsInEffect;
use crate::policy::accounts::{AccountFill, AccountHolder, AccountKey, FillWalk, LimitId, LimitKind};

/// How full one limit is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LimitFill {
    /// Which.
    pub(super) limit: LimitId,
    /// How many have an account in it.
    pub(super) subjects: u64,
    /// What sessions these have together.
    pub(super) sessions: u64,
    /// Those of whose limit the least is left, the fullest first.
    pub(super) fullest: Vec<AccountFill>,
}

impl LimitFill {
    /// What part the fullest has used; `None` where nobody has an account.
    pub(super) fn fill(&self) -> Option<f64> {
        self.fullest.first().map(AccountFill::fullest)
    }
}

/// A look that is under way.
#[derive(Debug)]
pub(super) struct Filling {
    limits: LimitsInEffect,
    /// Of which limit alone, if of one.
    only: Option<LimitId>,
    /// How many of each are told of.
    most: usize,
    walk: FillWalk,
    /// The part of the sources that is next.
    sources_next: usize,
    found: HashMap<LimitId, FoundFill>,
    began: Instant,
}

/// What was found of one limit.
#[derive(Debug)]
struct FoundFill {
    subjects: u64,
    sessions: u64,
    fullest: Best<AccountFill, fn(&AccountFill, &AccountFill) -> std::cmp::Ordering>,
}

impl Filling {
    /// Begins to look at these limits, or at one of them.
    pub(super) fn begin(limits: LimitsInEffect, only: Option<LimitId>, most: usize, now: Instant) -> Filling {
        let (walk, found) = (FillWalk::default(), HashMap::new());
        Filling { limits, only, most, walk, sources_next: 0, found, began: now }
    }

    /// Looks at some accounts more; what was found once that was all.
    pub(super) fn go_on(&mut self, now: Instant) -> Option<Vec<LimitFill>> {
        for _ in 0..limits::FILL_LOOKS_PER_TURN {
            if !self.look(now) {
                return Some(self.told());
            }
        }
        None
    }

    /// How long it has taken so far.
    pub(super) fn took(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Looks at a part; false where there is no further one.
    fn look(&mut self, now: Instant) -> bool {
        let Some(accounts) = self.limits.accounts.clone().filter(|_| !self.walk.is_over()) else {
            return self.look_at_sources(now);
        };
        let mut walk = self.walk;
        let by_source = self.limits.sources.is_some();
        accounts.look_at_fill(&mut walk, now, |limit, fill| {
            // Of those that count from their first moment on it is told below.
            if !(by_source && limit == LimitId::PER_SOURCE) {
                self.note(limit, fill);
            }
        });
        self.walk = walk;
        true
    }

    /// Looks at the sessions that sources have from their first moment on, which no account counts.
    fn look_at_sources(&mut self, now: Instant) -> bool {
        let Some(sources) = self.limits.sources.clone() else { return false };
        let Some(held) = sources.sessions_of_part(self.sources_next) else { return false };
        let most = sources.limit().max(1);
        for (source, sessions) in held {
            let (ip, bits) = source.block();
            let key = AccountKey { limit: LimitId::PER_SOURCE, holder: AccountHolder::Block(ip, bits) };
            let known = self.limits.accounts.as_ref().and_then(|accounts| accounts.fill_of(&key, now));
            let mut fill = known.unwrap_or_else(|| AccountFill::of_nothing(key.holder));
            fill.sessions = sessions as u64;
            fill.parts[LimitKind::Connections as usize] = Some((sessions as f64 / most as f64).min(1.0));
            self.note(LimitId::PER_SOURCE, fill);
        }
        self.sources_next += 1;
        true
    }

    fn note(&mut self, limit: LimitId, fill: AccountFill) {
        if self.only.is_some_and(|only| only != limit) {
            return;
        }
        let most = self.most;
        let found = self.found.entry(limit).or_insert_with(|| FoundFill {
            subjects: 0,
            sessions: 0,
            fullest: Best::new(most, |one, other| other.fullest().total_cmp(&one.fullest())),
        });
        found.subjects += 1;
        found.sessions += fill.sessions;
        found.fullest.push(fill);
    }

    /// What was found of each limit in effect, in their order.
    fn told(&mut self) -> Vec<LimitFill> {
        let mut found = std::mem::take(&mut self.found);
        let limits = self.limits.limits.iter().map(|(limit, _)| limit.id);
        let limits = limits.filter(|limit| self.only.is_none_or(|only| only == *limit));
        let told = limits.map(|limit| match found.remove(&limit) {
            Some(FoundFill { subjects, sessions, fullest }) => {
                LimitFill { limit, subjects, sessions, fullest: fullest.into_page(0) }
            }
            None => LimitFill { limit, subjects: 0, sessions: 0, fullest: Vec::new() },
        });
        told.collect()
    }
}
