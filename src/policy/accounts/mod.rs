//! What subjects have at a time and may move: one account for a subject, over all workers.
//!
//! A session looks its accounts up once, when its request is judged; from there on it holds them. What it moves it draws
//! from their buckets, a quantum at a time, by one atomic each: no lock, and nothing for each read.

mod account;
mod bucket;
mod changes;
mod fill;
mod holder;
mod kept;
mod kinds;
mod live;
mod members;
mod period;
mod plan;
mod quota;
mod share;
mod terms;
mod uses;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use self::account::{AccountHolder, AccountKey, LimitId, LimitedWay, QuotaUse, Reached, SessionKind};
pub use self::bucket::BurstRate;
pub use self::changes::QuotaChanges;
pub use self::fill::{AccountFill, FillWalk};
pub use self::holder::HolderNames;
pub use self::kinds::LimitKind;
pub use self::live::{CarriedUses, LIVE_RATES, LiveUse, LiveUses};
pub use self::members::{LimitedUsers, UserLimits};
pub use self::period::{QuotaCalendar, QuotaPeriod};
pub use self::plan::{Exceeded, Limit, LimitPlaces, LimitPlan, Per};
pub use self::quota::{OnReached, QuotaDirection, QuotaSpan, QuotaTerms};
pub use self::share::Allowance;
pub use self::terms::LimitTerms;
pub use self::uses::AccountsCursor;

use self::account::{OpenAccount, QuotaState};
use self::bucket::Drawn;
use self::changes::ChangeQueue;
use self::kept::KeptAccounts;
use self::share::Share;
use self::terms::LiveTerms;
use crate::limits;

/// All accounts. Each worker meets another only at the same part of the table, and there when sessions begin and end.
#[derive(Debug)]
pub struct Accounts {
    hasher: RandomState,
    parts: Box<[Mutex<AccountPart>]>,
    /// What moments are counted from.
    start: Instant,
    /// What limits allow, by their numbers.
    terms: Mutex<HashMap<LimitId, Arc<LiveTerms>>>,
    changes: ChangeQueue,
    /// A quota may be used up that ends sessions, of which nobody has been told yet.
    spent: AtomicBool,
}

#[derive(Debug, Default)]
struct AccountPart {
    accounts: HashMap<AccountKey, Arc<OpenAccount>>,
    /// Accounts that nobody holds and that are not as new, the one that was let go of first in front. One that somebody
    /// came back to stands here still.
    idle: VecDeque<(AccountKey, u64)>,
    kept: KeptAccounts,
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
        let (changes, spent) = (ChangeQueue::default(), AtomicBool::new(false));
        Accounts { hasher: RandomState::new(), parts, start, terms: Mutex::default(), changes, spent }
    }

    /// Has this limit allow this from now on. What is there already is not ended, and counts.
    pub fn set_terms(&self, limit: LimitId, terms: &LimitTerms) {
        let mut all = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        match all.entry(limit) {
            Entry::Occupied(live) => {
                if live.get().set(terms) {
                    self.spent.store(true, Ordering::Release);
                }
            }
            Entry::Vacant(place) => drop(place.insert(Arc::new(LiveTerms::new(terms)))),
        }
    }

    /// Says in which period a quota is.
    pub fn set_span(&self, limit: LimitId, span: QuotaSpan) {
        self.terms_of(limit).set_span(span);
    }

    /// Whether a quota may be used up that ends sessions: those that move nothing have to be told. Once for each time.
    pub fn take_spent(&self) -> bool {
        self.spent.swap(false, Ordering::AcqRel)
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
        match is_new {
            true => drop(part.accounts.insert(key, account.clone())),
            false => part.kept.take_back(&account),
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
        if let Some(used) = account.used_of_quota() {
            self.kept.put(account, used);
            self.kept.spare(&mut self.accounts, now_ns);
        } else if account.is_as_new(now_ns) {
            self.accounts.remove(&account.key);
        } else {
            account.left_ns.store(now_ns, Ordering::Relaxed);
            self.idle.push_back((account.key.clone(), now_ns));
        }
    }

    /// The use of an account is another, without a session: with one it is let go of when that ends. It may have rates to
    /// recover, and the clock is not asked: it is looked at again.
    fn put_anew(&mut self, account: &Arc<OpenAccount>) {
        if account.is_unused() {
            self.kept.take_back(account);
            self.let_go(account, 0);
        }
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
        match account.quota_state() {
            QuotaState::Lifts => return Allowance::Unlimited,
            QuotaState::Ends => return Allowance::Ended,
            QuotaState::Stands | QuotaState::Refuses => {}
        }
        let Some(rate) = rate else { return Allowance::Unlimited };
        *seen_ns = now_ns;
        if let Some(at_hand) = share.at_hand(now_ns) {
            return at_hand;
        }
        let draw = rate.share(account.sessions.load(Ordering::Relaxed), limits::SHARE_BYTES);
        share.allowance(bucket, rate, draw, *seen_ns)
    }

    /// Whether it holds a session back this way from now on, and did not when it was last asked.
    fn begins_wait(&mut self, way: LimitedWay) -> bool {
        let seen_ns = self.seen_ns;
        self.share(way).begins_wait(seen_ns)
    }

    /// Another limit makes the session wait until this moment: what it drew here it may use then.
    fn hold_until(&mut self, way: LimitedWay, moment_ns: u64) {
        self.share(way).hold_until(moment_ns);
    }

    fn share(&mut self, way: LimitedWay) -> &mut Share {
        match way {
            LimitedWay::Up => &mut self.up,
            LimitedWay::Down => &mut self.down,
        }
    }

    /// So many bytes went this way.
    pub fn spend(&mut self, way: LimitedWay, bytes: u64) {
        let rate = match way {
            LimitedWay::Up => self.account.terms.upload(),
            LimitedWay::Down => self.account.terms.download(),
        };
        // What moves while no rate holds is no debt of the time when one does.
        if rate.is_some() && self.account.quota_state() != QuotaState::Lifts {
            self.share(way).spend(bytes);
        }
    }

    /// The other ends have so many bytes more: whether the session is to end for it.
    pub fn count(&self, up: u64, down: u64) -> bool {
        let LimitPlace { accounts, account, .. } = self;
        let Some(quota) = account.terms.quota() else { return false };
        account.used.follow(quota.span);
        account.used.add(up, down);
        accounts.changes.note(account);
        let ends = account.quota_state() == QuotaState::Ends;
        if ends {
            accounts.spent.store(true, Ordering::Release);
        }
        ends
    }

    /// Whether the session is to end, as its quota is used up.
    fn is_ended(&self) -> bool {
        self.account.quota_state() == QuotaState::Ends
    }

    /// Whether one more datagram may pass; it is counted if so.
    pub fn passes_datagram(&mut self, now: Instant) -> bool {
        let LimitPlace { accounts, account, datagrams, seen_ns, .. } = self;
        let Some(rate) = account.terms.datagrams() else { return true };
        *seen_ns = accounts.moment(now);
        account.follow_terms(*seen_ns);
        if datagrams.takes_at_hand(*seen_ns) {
            return true;
        }
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
