//! What subjects have at a time and may move: one account for a subject, over all workers.
//!
//! A session looks its accounts up once, when its request is judged; from there on it holds them. What it moves it draws
//! from their buckets, a quantum at a time, by one atomic each: no lock, and nothing for each read.

mod bucket;
mod fill;
mod holder;
mod kinds;
mod members;
mod plan;
mod share;
mod terms;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use self::bucket::BurstRate;
pub use self::fill::{AccountFill, FillWalk};
pub use self::holder::HolderNames;
pub use self::kinds::LimitKind;
pub use self::members::{LimitedUsers, UserLimits};
pub use self::plan::{Exceeded, Limit, LimitPlaces, LimitPlan, Per};
pub use self::share::Allowance;
pub use self::terms::LimitTerms;

use self::bucket::{Bucket, Drawn};
use self::share::Share;
use self::terms::LiveTerms;
use crate::limits;

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// Of which limit.
    pub limit: LimitId,
    /// Of whom.
    pub holder: AccountHolder,
}

/// Who has an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reached::Connections => "as many sessions as its limit allows",
            Reached::Associations => "as many associations as its limit allows",
            Reached::NewSessions => "as many new sessions a second as its limit allows",
        })
    }
}

/// All accounts. Each worker meets another only at the same part of the table, and there when sessions begin and end.
#[derive(Debug)]
pub struct Accounts {
    hasher: RandomState,
    parts: Box<[Mutex<AccountPart>]>,
    /// What moments are counted from.
    start: Instant,
    /// What limits allow, by their numbers.
    terms: Mutex<HashMap<LimitId, Arc<LiveTerms>>>,
}

#[derive(Debug, Default)]
struct AccountPart {
    accounts: HashMap<AccountKey, Arc<OpenAccount>>,
    /// Accounts that nobody holds and that are not as new, the one that was let go of first in front. One that somebody
    /// came back to stands here still.
    idle: VecDeque<(AccountKey, u64)>,
}

#[derive(Debug)]
struct OpenAccount {
    key: AccountKey,
    terms: Arc<LiveTerms>,
    /// Which version of them its buckets go by.
    version: AtomicU64,
    /// Whether others find it in the table.
    shared: bool,
    sessions: AtomicU64,
    associations: AtomicU64,
    /// When the last session let go of it.
    left_ns: AtomicU64,
    beginnings: Bucket,
    upload: Bucket,
    download: Bucket,
    datagrams: Bucket,
}

/// A session's place in an account, given back when dropped.
#[derive(Debug)]
pub struct LimitPlace {
    accounts: Arc<Accounts>,
    account: Arc<OpenAccount>,
    kind: SessionKind,
    /// What its beginning took of the rate of new sessions.
    begun: Option<Drawn>,
    up: Share,
    down: Share,
    datagrams: Share,
    /// When it was last asked.
    seen_ns: u64,
}

impl Accounts {
    /// No accounts; moments are counted from `start`.
    pub fn new(start: Instant) -> Accounts {
        let parts = (0..limits::ACCOUNT_PARTS).map(|_| Mutex::default()).collect();
        Accounts { hasher: RandomState::new(), parts, start, terms: Mutex::default() }
    }

    /// Has this limit allow this from now on. What is there already is not ended, and counts.
    pub fn set_terms(&self, limit: LimitId, terms: &LimitTerms) {
        let mut all = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        match all.entry(limit) {
            Entry::Occupied(live) => live.get().set(terms),
            Entry::Vacant(place) => drop(place.insert(Arc::new(LiveTerms::new(terms)))),
        }
    }

    /// Lets a session into the account of this key.
    ///
    /// # Errors
    /// What it would go beyond; then nothing is counted.
    pub fn enter(
        self: &Arc<Accounts>,
        key: AccountKey,
        kind: SessionKind,
        now: Instant,
    ) -> Result<LimitPlace, Reached> {
        let now_ns = self.moment(now);
        let mut part = self.part(&key);
        part.forget(now_ns);
        let (account, is_new) = match part.accounts.get(&key) {
            Some(account) => (account.clone(), false),
            None => (Arc::new(OpenAccount::new(key.clone(), self.terms_of(key.limit))), true),
        };
        let begun = account.enter(kind, now_ns)?;
        if is_new {
            part.accounts.insert(key, account.clone());
        }
        drop(part);
        Ok(LimitPlace::new(self, account, LimitEntry { kind, begun, now_ns }))
    }

    /// Lets a session into an account of its own, which ends with it.
    ///
    /// # Errors
    /// What it would go beyond.
    pub fn enter_alone(
        self: &Arc<Accounts>,
        key: AccountKey,
        kind: SessionKind,
        now: Instant,
    ) -> Result<LimitPlace, Reached> {
        let (now_ns, terms) = (self.moment(now), self.terms_of(key.limit));
        let account = OpenAccount { shared: false, ..OpenAccount::new(key, terms) };
        let begun = account.enter(kind, now_ns)?;
        Ok(LimitPlace::new(self, Arc::new(account), LimitEntry { kind, begun, now_ns }))
    }

    fn terms_of(&self, limit: LimitId) -> Arc<LiveTerms> {
        let mut all = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(limit).or_insert_with(|| Arc::new(LiveTerms::new(&LimitTerms::default()))).clone()
    }

    /// A panic leaves no account half changed, so what a poisoned lock holds is right.
    fn part(&self, key: &AccountKey) -> MutexGuard<'_, AccountPart> {
        let at = self.hasher.hash_one(key) as usize % self.parts.len();
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self, now: Instant) -> u64 {
        let nanoseconds = now.saturating_duration_since(self.start).as_nanos();
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    fn instant(&self, moment_ns: u64) -> Instant {
        let nanoseconds = std::time::Duration::from_nanos(moment_ns.min(u64::MAX / 4));
        self.start.checked_add(nanoseconds).unwrap_or(self.start)
    }
}

impl AccountPart {
    /// Forgets accounts that are as new, and of the others the oldest where there are more than there may be.
    fn forget(&mut self, now_ns: u64) {
        while let Some((key, left_ns)) = self.idle.front() {
            let account = self.accounts.get(key).filter(|account| account.is_left_since(*left_ns));
            if let Some(account) = account {
                let is_too_many = self.idle.len() > limits::ACCOUNTS_IDLE_MAX / limits::ACCOUNT_PARTS;
                if !is_too_many && !account.is_as_new(now_ns) {
                    return;
                }
                self.accounts.remove(key);
            }
            self.idle.pop_front();
        }
    }

    /// The last session has left the account.
    fn let_go(&mut self, account: &Arc<OpenAccount>, now_ns: u64) {
        if account.is_as_new(now_ns) {
            self.accounts.remove(&account.key);
        } else {
            account.left_ns.store(now_ns, Ordering::Relaxed);
            self.idle.push_back((account.key.clone(), now_ns));
        }
    }
}

impl OpenAccount {
    fn new(key: AccountKey, terms: Arc<LiveTerms>) -> OpenAccount {
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
        }
    }

    /// Goes by the terms as they are by now: what is drawn ahead was so by others.
    fn follow_terms(&self, now_ns: u64) {
        let version = self.terms.version();
        if self.version.load(Ordering::Relaxed) == version
            || self.version.swap(version, Ordering::Relaxed) == version
        {
            return;
        }
        for bucket in [&self.beginnings, &self.upload, &self.download, &self.datagrams] {
            bucket.restart(now_ns);
        }
    }

    /// Counts a session; under the lock of its part. What it took of the rate of new ones, where there is one.
    fn enter(&self, kind: SessionKind, now_ns: u64) -> Result<Option<Drawn>, Reached> {
        self.follow_terms(now_ns);
        if self.sessions.load(Ordering::Relaxed) >= self.terms.connections() {
            return Err(Reached::Connections);
        }
        let associations = self.associations.load(Ordering::Relaxed);
        if kind == SessionKind::Association && associations >= self.terms.udp_associations() {
            return Err(Reached::Associations);
        }
        let begun = match self.terms.new_per_second() {
            Some(rate) => Some(self.beginnings.take(1, rate, now_ns).ok_or(Reached::NewSessions)?),
            None => None,
        };
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.associations.fetch_add(u64::from(kind == SessionKind::Association), Ordering::Relaxed);
        Ok(begun)
    }

    fn is_unused(&self) -> bool {
        self.sessions.load(Ordering::Relaxed) == 0
    }

    fn is_left_since(&self, left_ns: u64) -> bool {
        self.is_unused() && self.left_ns.load(Ordering::Relaxed) == left_ns
    }

    /// Whether a new account in its place would allow the same.
    fn is_as_new(&self, now_ns: u64) -> bool {
        let buckets = [&self.beginnings, &self.upload, &self.download, &self.datagrams];
        buckets.iter().all(|bucket| bucket.is_full(now_ns))
    }
}

/// How a session came into an account.
struct LimitEntry {
    kind: SessionKind,
    begun: Option<Drawn>,
    now_ns: u64,
}

impl LimitPlace {
    fn new(accounts: &Arc<Accounts>, account: Arc<OpenAccount>, entry: LimitEntry) -> LimitPlace {
        let LimitEntry { kind, begun, now_ns: seen_ns } = entry;
        let share = Share::default();
        LimitPlace {
            accounts: accounts.clone(),
            account,
            kind,
            begun,
            up: share,
            down: share,
            datagrams: share,
            seen_ns,
        }
    }

    /// How many bytes may go this way now.
    pub fn allowance(&mut self, way: LimitedWay, now: Instant) -> Allowance {
        let LimitPlace { accounts, account, up, down, seen_ns, .. } = self;
        let now_ns = accounts.moment(now);
        account.follow_terms(now_ns);
        let (share, bucket, rate) = match way {
            LimitedWay::Up => (up, &account.upload, account.terms.upload()),
            LimitedWay::Down => (down, &account.download, account.terms.download()),
        };
        let Some(rate) = rate else { return Allowance::Unlimited };
        *seen_ns = now_ns;
        let draw = rate.share(account.sessions.load(Ordering::Relaxed), limits::SHARE_BYTES);
        share.allowance(bucket, rate, draw, *seen_ns)
    }

    /// Whether it holds a session back this way from now on, and did not when it was last asked.
    fn begins_wait(&mut self, way: LimitedWay) -> bool {
        match way {
            LimitedWay::Up => self.up.begins_wait(self.seen_ns),
            LimitedWay::Down => self.down.begins_wait(self.seen_ns),
        }
    }

    /// Another limit makes the session wait until this moment: what it drew here it may use then.
    fn hold_until(&mut self, way: LimitedWay, moment_ns: u64) {
        match way {
            LimitedWay::Up => self.up.hold_until(moment_ns),
            LimitedWay::Down => self.down.hold_until(moment_ns),
        }
    }

    /// So many bytes went this way.
    pub fn spend(&mut self, way: LimitedWay, bytes: u64) {
        match way {
            LimitedWay::Up => self.up.spend(bytes),
            LimitedWay::Down => self.down.spend(bytes),
        }
    }

    /// Whether one more datagram may pass; it is counted if so.
    pub fn passes_datagram(&mut self, now: Instant) -> bool {
        let LimitPlace { accounts, account, datagrams, seen_ns, .. } = self;
        let Some(rate) = account.terms.datagrams() else { return true };
        *seen_ns = accounts.moment(now);
        account.follow_terms(*seen_ns);
        let draw = rate.share(account.sessions.load(Ordering::Relaxed), limits::SHARE_DATAGRAMS);
        datagrams.take_one(&account.datagrams, rate, draw, *seen_ns)
    }

    /// A datagram that it let pass does not pass elsewhere: it is not counted.
    fn put_datagram_back(&mut self) {
        if self.account.terms.datagrams().is_some() {
            self.datagrams.put_back_one();
        }
    }

    /// The session does not go on: it has not begun.
    fn withdraw(self) {
        if let (Some(begun), Some(rate)) = (self.begun, self.account.terms.new_per_second()) {
            self.account.beginnings.give_back(1, rate, begun);
        }
    }

    /// When what is allowed from this moment on may be had.
    pub fn instant(&self, moment_ns: u64) -> Instant {
        self.accounts.instant(moment_ns)
    }
}

impl Drop for LimitPlace {
    fn drop(&mut self) {
        let LimitPlace { accounts, account, kind, up, down, datagrams, seen_ns, .. } = self;
        let terms = &account.terms;
        for (share, bucket, rate) in [
            (up, &account.upload, terms.upload()),
            (down, &account.download, terms.download()),
            (datagrams, &account.datagrams, terms.datagrams()),
        ] {
            if let Some(rate) = rate {
                share.end(bucket, rate, *seen_ns);
            }
        }
        if !account.shared {
            return;
        }
        let mut part = accounts.part(&account.key);
        account.associations.fetch_sub(u64::from(*kind == SessionKind::Association), Ordering::Relaxed);
        if account.sessions.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Without a clock: by the moment of its last question it may look less new than it is, and is looked at again.
            part.let_go(account, *seen_ns);
        }
    }
}

#[cfg(test)]
mod tests;
