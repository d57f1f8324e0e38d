//! An account: whose it is, what there is of it, and what it allows.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Bucket, Drawn};
use super::quota::{OnReached, QuotaDirection, QuotaTerms, UsedBytes, UsedQuota};
use super::terms::LiveTerms;

/// A limit as accounts know it: its number stays that of its name for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u16);

impl LimitId {
    /// What `[limits] per_user` says.
    pub const PER_USER: LimitId = LimitId(0);
    /// What `[limits] per_source` says.
    pub const PER_SOURCE: LimitId = LimitId(1);
}

/// Whose an account is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// Of which limit.
    pub limit: LimitId,
    /// Of whom.
    pub holder: AccountHolder,
}

/// Who has an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountHolder {
    /// A user.
    User(Arc<str>),
    /// All users of a group together.
    Group(Arc<str>),
    /// All clients of a block: its first address, and how many bits it fixes.
    Block(IpAddr, u8),
    /// All sessions that a rule lets through, by its number.
    Rule(u16),
    /// All sessions that came by a listener, by its number.
    Listener(u16),
    /// Everybody.
    All,
}

/// What a session is, to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A connection, or one that is waited for.
    Tunnel,
    /// An association.
    Association,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedWay {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// Which part of a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reached {
    /// As many sessions as may be.
    Connections,
    /// As many associations as may be.
    Associations,
    /// As many new sessions as may begin now.
    NewSessions,
    /// As many bytes as may be moved in this period.
    Quota,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reached::Connections => "as many sessions as its limit allows",
            Reached::Associations => "as many associations as its limit allows",
            Reached::NewSessions => "as many new sessions a second as its limit allows",
            Reached::Quota => "its quota is used up",
        })
    }
}

/// What somebody has used of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// Of which limit.
    pub limit: LimitId,
    /// Who.
    pub holder: AccountHolder,
    /// When the period began in which it counts, in seconds since 1970.
    pub since: u64,
    /// Bytes from clients.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
}

#[derive(Debug)]
pub(super) struct OpenAccount {
    pub(super) key: AccountKey,
    pub(super) terms: Arc<LiveTerms>,
    /// Which version of them its buckets go by.
    pub(super) version: AtomicU64,
    /// Whether others find it in the table.
    pub(super) shared: bool,
    pub(super) sessions: AtomicU64,
    pub(super) associations: AtomicU64,
    /// When the last session let go of it.
    pub(super) left_ns: AtomicU64,
    pub(super) beginnings: Bucket,
    pub(super) upload: Bucket,
    pub(super) download: Bucket,
    pub(super) datagrams: Bucket,
    pub(super) used: UsedQuota,
    /// By what it is kept for its use: that much when the last session let go of it. 0: it is not. Under the lock of its part.
    pub(super) kept_by: AtomicU64,
}

/// How a quota stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuotaState {
    /// There is none, or it concerns nobody now: the rates of the limit hold.
    Stands,
    /// Until it is used up, the rates of the limit do not hold.
    Lifts,
    /// It is used up: nobody comes any more.
    Refuses,
    /// It is used up: nobody comes any more, and nobody goes on.
    Ends,
}

impl QuotaState {
    pub(super) fn refuses(self) -> bool {
        matches!(self, QuotaState::Refuses | QuotaState::Ends)
    }
}

impl OpenAccount {
    pub(super) fn new(key: AccountKey, terms: Arc<LiveTerms>) -> OpenAccount {
        OpenAccount {
            key,
            version: AtomicU64::new(terms.version()),
            terms,
            shared: true,
            sessions: AtomicU64::new(0),
            associations: AtomicU64::new(0),
            left_ns: AtomicU64::new(0),
            beginnings: Bucket::default(),
            upload: Bucket::default(),
            download: Bucket::default(),
            datagrams: Bucket::default(),
            used: UsedQuota::default(),
            kept_by: AtomicU64::new(0),
        }
    }

    /// Goes by the terms as they are by now: what is drawn ahead was so by others.
    pub(super) fn follow_terms(&self, now_ns: u64) {
        let version = self.terms.version();
        if self.version.load(Ordering::Relaxed) == version
            || self.version.swap(version, Ordering::Relaxed) == version
        {
            return;
        }
        for bucket in self.rates() {
            bucket.restart(now_ns);
        }
    }

    /// Counts a session; under the lock of its part. What it took of the rate of new ones, where there is one.
    pub(super) fn enter(&self, kind: SessionKind, now_ns: u64) -> Result<Option<Drawn>, Reached> {
        self.follow_terms(now_ns);
        if let Some(reached) = self.is_at(kind) {
            return Err(reached);
        }
        let begun = match self.terms.new_per_second() {
            Some(rate) => Some(self.beginnings.take(1, rate, now_ns).ok_or(Reached::NewSessions)?),
            None => None,
        };
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.associations.fetch_add(u64::from(kind == SessionKind::Association), Ordering::Relaxed);
        Ok(begun)
    }

    /// What one session more would go beyond, were it to begin at a time when some may.
    pub(super) fn is_at(&self, kind: SessionKind) -> Option<Reached> {
        if self.quota_state().refuses() {
            return Some(Reached::Quota);
        }
        if self.sessions.load(Ordering::Relaxed) >= self.terms.connections() {
            return Some(Reached::Connections);
        }
        let associations = self.associations.load(Ordering::Relaxed);
        let is_one_more = kind == SessionKind::Association && associations >= self.terms.udp_associations();
        is_one_more.then_some(Reached::Associations)
    }

    /// Its buckets, in the order of [`super::LIVE_RATES`].
    pub(super) fn rates(&self) -> [&Bucket; 4] {
        [&self.beginnings, &self.upload, &self.download, &self.datagrams]
    }

    pub(super) fn is_unused(&self) -> bool {
        self.sessions.load(Ordering::Relaxed) == 0
    }

    pub(super) fn is_left_since(&self, left_ns: u64) -> bool {
        self.is_unused() && self.left_ns.load(Ordering::Relaxed) == left_ns
    }

    /// Whether a new account in its place would allow the same.
    pub(super) fn is_as_new(&self, now_ns: u64) -> bool {
        self.rates().iter().all(|bucket| bucket.is_full(now_ns)) && self.used_of_quota().is_none()
    }

    /// How its quota stands.
    pub(super) fn quota_state(&self) -> QuotaState {
        let Some(QuotaTerms { bytes, direction, on_reached, span }) = self.terms.quota() else {
            return QuotaState::Stands;
        };
        let is_spent = self.used.used(span).of(direction) >= bytes;
        match (on_reached, is_spent) {
            (OnReached::Slow, false) => QuotaState::Lifts,
            (OnReached::Slow, true) | (OnReached::Refuse | OnReached::Close, false) => QuotaState::Stands,
            (OnReached::Refuse, true) => QuotaState::Refuses,
            (OnReached::Close, true) => QuotaState::Ends,
        }
    }

    /// What part of its quota is used in this period; `None` where there is none.
    pub(super) fn part_of_quota(&self) -> Option<f64> {
        let QuotaTerms { bytes, direction, span, .. } = self.terms.quota()?;
        Some((self.used.used(span).of(direction) as f64 / bytes as f64).min(1.0))
    }

    /// How much of a quota is used in this period, where any is. That stands while the quota is taken away: who puts it back
    /// finds it.
    pub(super) fn used_of_quota(&self) -> Option<u64> {
        let span = self.terms.quota_span()?;
        Some(self.used.used(span).of(QuotaDirection::Both)).filter(|used| *used > 0)
    }

    /// What is used of its quota, if it has one.
    pub(super) fn quota_use(&self) -> Option<QuotaUse> {
        self.terms.quota().map(|quota| self.use_of(self.used.used(quota.span)))
    }

    pub(super) fn use_of(&self, UsedBytes { since, up, down }: UsedBytes) -> QuotaUse {
        let AccountKey { limit, holder } = self.key.clone();
        QuotaUse { limit, holder, since, up, down }
    }
}
