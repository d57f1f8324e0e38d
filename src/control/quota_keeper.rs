//! The thread that keeps what is used of quotas, and alone meets the store: a disk that stalls holds up nobody else.
//!
//! Accounts count in memory. Once a second, where anything has changed, the control thread wakes this one, which writes how
//! much each has used by then: what is written twice is written once. What cannot be written is counted on in memory and tried
//! again, and said.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, after, at, bounded, never, select};

use super::plural::count_of;
use super::quota_orders::{QuotaOrder, SetBack, set_back};
use crate::admin::{Done, OrderError, with_whom};
use crate::config::quoted;
use crate::limits;
use crate::policy::accounts::{AccountHolder, Accounts, AccountsCursor, HolderNames, LimitId, QuotaUse};
use crate::state::{
    KeptUse, QuotaStore, QuotaStoreError, SetAside, StateDir, StoreHealth, StoreOpened, StoreTold,
};
use crate::threads;

mod can_keep;
mod paused;

pub(super) use can_keep::can_keep;
pub(super) use paused::PausedKeeper;

/// The control thread's end of it. Dropping it ends the thread, once all is written.
#[derive(Debug)]
pub(super) struct QuotaKeeper {
    shared: Arc<KeeperShared>,
    wake: Sender<()>,
    orders: Sender<QuotaOrder>,
    stop: Sender<()>,
    /// Closed by the thread once all is written.
    ended: Receiver<()>,
}

#[derive(Debug)]
struct KeeperShared {
    path: PathBuf,
    accounts: Arc<Accounts>,
    /// How limits and holders are called by now.
    names: Mutex<Arc<HolderNames>>,
    health: Arc<StoreHealth>,
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct Keeping {
    shared: Arc<KeeperShared>,
    directory: StateDir,
    /// `None` while it cannot be opened.
    store: Option<QuotaStore>,
    /// What is not in the store, or not as it is by now.
    unkept: HashMap<(LimitId, AccountHolder), QuotaUse>,
    /// Whether all accounts are to be looked at: not all that changed are known.
    all: bool,
    /// When the next try is due, and how long the one after it waits, where one failed.
    retry: Option<(Instant, Duration)>,
    /// In which period each limit was when old rows were last looked for.
    swept: HashMap<Arc<str>, u64>,
    sweeps: Vec<Sweep>,
    /// The limits whose accounts have what the store had of them.
    restored: HashSet<LimitId>,
    /// What was set back, and of whom, that the store may still have: none of it counts on.
    set_back: HashSet<(LimitId, Option<AccountHolder>)>,
}

/// A look for rows of periods that are over.
#[derive(Debug)]
struct Sweep {
    quota: Arc<str>,
    /// How far it has come.
    behind: String,
    before: i64,
}

impl QuotaKeeper {
    /// Takes the directory, has accounts begin with what its store has, and keeps from then on what changes.
    ///
    /// # Errors
    /// Why the directory or its store cannot be used by anybody. A store that is corrupt, or has no room, is no reason.
    pub(super) fn start(
        path: &Path,
        accounts: &Arc<Accounts>,
        names: Arc<HolderNames>,
    ) -> Result<QuotaKeeper, String> {
        let shared = KeeperShared {
            path: path.to_owned(),
            accounts: accounts.clone(),
            names: Mutex::new(names),
            health: Arc::default(),
        };
        shared.accounts.keep_changes();
        QuotaKeeper::keep_for(Arc::new(shared), HashSet::new())
    }

    /// Keeps what changes of these accounts, of which those of some limits have what the store has of them.
    fn keep_for(shared: Arc<KeeperShared>, restored: HashSet<LimitId>) -> Result<QuotaKeeper, String> {
        let path = &shared.path;
        let directory = StateDir::take(path).map_err(|error| format!("{path:?} {error}"))?;
        let mut keeping = Keeping {
            shared: shared.clone(),
            directory,
            store: None,
            unkept: HashMap::new(),
            // Those that go on may have changed while nobody kept it.
            all: !restored.is_empty(),
            retry: None,
            swept: HashMap::new(),
            sweeps: Vec::new(),
            restored,
            set_back: HashSet::new(),
        };
        keeping.begin().map_err(|error| format!("{:?} {error}", QuotaStore::path(&keeping.directory)))?;
        let ((wake, woken), (orders, ordered)) = (bounded(1), bounded(limits::QUOTA_ORDERS_MAX));
        let ((stop, stopped), (end, ended)) = (bounded(1), bounded::<()>(0));
        let mut keeping = Some((keeping, end));
        threads::spawn("quotas", move || {
            keeping.iter_mut().for_each(|(keeping, _)| keeping.run(&woken, &ordered, &stopped));
            // The directory is free before whoever waits for the end is told.
            keeping = None;
        })
        .map_err(|error| format!("no thread can be had: {error}"))?;
        Ok(QuotaKeeper { shared, wake, orders, stop, ended })
    }

    /// Has what changed since the last look written. Without changes nobody wakes.
    pub(super) fn look(&self, now: Instant) {
        if self.shared.accounts.has_changes() {
            self.shared.health.note_unkept(now);
            // Full: it is about to.
            let _ = self.wake.try_send(());
        }
    }

    /// Knows limits and holders by these names from now on. A quota that comes back counts on.
    pub(super) fn set_names(&self, names: Arc<HolderNames>) {
        *self.shared.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        // Full: it is about to look.
        let _ = self.wake.try_send(());
    }

    /// Has an order carried out.
    ///
    /// # Errors
    /// Gives it back where too many are under way.
    pub(super) fn give(&self, order: QuotaOrder) -> Result<(), QuotaOrder> {
        self.orders.try_send(order).map_err(|refused| refused.into_inner())
    }

    /// How the store fares.
    pub(super) fn health(&self) -> &Arc<StoreHealth> {
        &self.shared.health
    }

    /// What is wrong with it, if anything is.
    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        let StoreTold { trouble, behind, .. } = self.shared.health.told(now);
        trouble.or_else(|| {
            let silent = behind >= limits::QUOTA_STORE_SILENCE;
            silent.then(|| {
                format!("quotas are not kept: their store has not answered for {}s", behind.as_secs())
            })
        })
    }
}

/// Whatever ends the server: all that was used is written first. That has some time, and what is not done by then is said.
impl Drop for QuotaKeeper {
    fn drop(&mut self) {
        let _ = self.stop.try_send(());
        let patience = limits::QUOTA_LAST_WRITE;
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                "the store of quotas does not answer for {patience:?}: what was used last may be lost"
            );
        }
    }
}

impl KeeperShared {
    fn names(&self) -> Arc<HolderNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Keeping {
    /// Opens the store for the first time.
    fn begin(&mut self) -> Result<(), QuotaStoreError> {
        let started = Instant::now();
        match self.open() {
            Ok(restored) => {
                let (rows, took) = (self.store.as_ref().map_or(0, QuotaStore::rows), started.elapsed());
                if rows > 0 {
                    tracing::info!(rows, restored, ?took, "what was used of quotas before counts on");
                }
                Ok(())
            }
            // Others use it, or would be kept from using it.
            Err(error @ (QuotaStoreError::Newer(_) | QuotaStoreError::Busy | QuotaStoreError::File(_))) => {
                Err(error)
            }
            Err(error) => {
                self.fail(&error, started);
                Ok(())
            }
        }
    }

    /// Opens the store, or another in its place, and has accounts begin with what it has; how many do.
    fn open(&mut self) -> Result<u64, QuotaStoreError> {
        let (names, accounts) = (self.shared.names(), self.shared.accounts.clone());
        let (mut count, mut quotas) = (0_u64, Vec::<Arc<str>>::new());
        let Keeping { restored, set_back, .. } = &*self;
        let take = |one: KeptUse| {
            if quotas.last() != Some(&one.quota) {
                quotas.push(one.quota.clone());
            }
            let used = use_of(&names, one).filter(|used| !is_set_back(set_back, used));
            count += u64::from(used.is_some_and(|used| match restored.contains(&used.limit) {
                true => accounts.restore_use(used),
                // They have begun at nothing meanwhile.
                false => accounts.add_use(used),
            }));
        };
        let StoreOpened { store, set_aside } = QuotaStore::open(&self.directory, &time_now(), take)?;
        if let Some(aside) = set_aside {
            self.say_lost(&aside);
        }
        self.shared.health.note_rows(store.rows());
        self.store = Some(store);
        self.restored.extend(limits_with_quotas(&names, &accounts));
        quotas.into_iter().for_each(|quota| self.plan_sweep(&names, quota));
        Ok(count)
    }

    /// Has accounts of quotas that are new in this process go on with what the store has of them.
    fn restore_new(&mut self) -> Result<(), QuotaStoreError> {
        let (names, accounts) = (self.shared.names(), self.shared.accounts.clone());
        let new: Vec<LimitId> =
            limits_with_quotas(&names, &accounts).filter(|limit| !self.restored.contains(limit)).collect();
        for limit in new {
            let (Some(quota), Some(store)) = (names.limit_name(limit), &self.store) else { continue };
            let mut uses = Vec::new();
            store.read_of(quota, |one| uses.extend(use_of(&names, one)))?;
            for used in uses.into_iter().filter(|used| !is_set_back(&self.set_back, used)) {
                accounts.add_use(used);
            }
            self.restored.insert(limit);
            // What was noted of them until now is less.
            self.all = true;
            self.plan_sweep(&names, quota.clone());
        }
        Ok(())
    }

    fn say_lost(&self, SetAside { cause, path, rescued }: &SetAside) {
        let rescued = count_of(usize::try_from(*rescued).unwrap_or(usize::MAX), "use");
        let store = QuotaStore::path(&self.directory);
        tracing::error!(
            "{} {cause}: it is {} now, and quotas go on in a new one with the {rescued} that could be read",
            store.display(),
            path.display()
        );
        let words =
            format!("what was used of quotas may be lost: their store {cause}; {rescued} could be read");
        self.shared.health.note_lost(words);
    }

    fn run(&mut self, woken: &Receiver<()>, ordered: &Receiver<QuotaOrder>, stopped: &Receiver<()>) {
        loop {
            let retry = self.retry.map_or_else(never, |(due, _)| at(due));
            let sweep = if self.sweeps.is_empty() { never() } else { after(limits::QUOTA_SWEEP_PAUSE) };
            select! {
                recv(woken) -> end => match end {
                    Ok(()) => self.keep(Instant::now()),
                    Err(_) => break,
                },
                recv(ordered) -> order => order.map(|order| self.carry_out(order)).unwrap_or_default(),
                recv(retry) -> _ => self.keep(Instant::now()),
                recv(sweep) -> _ => self.sweep(Instant::now()),
                recv(stopped) -> _ => break,
            }
        }
        self.retry = None;
        self.keep(Instant::now());
        if !self.unkept.is_empty() {
            let accounts = count_of(self.unkept.len(), "account");
            tracing::error!("what {accounts} used of quotas since the last write is lost: it cannot be kept");
        }
        if let Some(Err(error)) = self.store.take().map(QuotaStore::close) {
            tracing::warn!(%error, "the journal of the store of quotas stays beside it, and is read by the next start");
        }
    }

    /// Writes what has changed, unless it is too soon after a failure.
    fn keep(&mut self, now: Instant) {
        self.gather();
        if self.retry.is_some_and(|(due, _)| due > now) {
            return;
        }
        match self.write() {
            Ok(rows) => {
                self.retry = None;
                if self.shared.health.note_kept(now, rows) {
                    tracing::info!("the store of quotas can be written: they are kept");
                }
                self.look_for_old_rows();
                self.unkept.clear();
                self.set_back.clear();
            }
            Err(error) => self.fail(&error, now),
        }
    }

    /// Learns what has changed.
    fn gather(&mut self) {
        let Keeping { shared, unkept, .. } = self;
        let mut more = true;
        while more {
            let changes = shared.accounts.take_changes(limits::QUOTA_USES_PER_STEP);
            (more, self.all) = (changes.more, self.all || changes.missed);
            unkept.extend(changes.uses.into_iter().map(|one| ((one.limit, one.holder.clone()), one)));
        }
        if self.unkept.len() > limits::QUOTA_CHANGES_MAX {
            // A look at all finds them again, but not those who are to have nothing.
            self.all = true;
            self.unkept.retain(|_, used| used.up == 0 && used.down == 0);
        }
    }

    /// Writes it; how many rows there are then.
    fn write(&mut self) -> Result<u64, QuotaStoreError> {
        if self.store.as_ref().is_some_and(|store| !store.is_in_place()) {
            self.store = None;
        }
        if self.store.is_none() {
            self.open()?;
            self.all = true;
        }
        // What is counted from nothing must not be written over what is kept.
        self.restore_new()?;
        let Keeping { shared, store, unkept, all, set_back, .. } = self;
        let Some(store) = store else { return Ok(0) };
        let names = shared.names();
        let whole = set_back.iter().filter(|(_, holder)| holder.is_none());
        for quota in whole.filter_map(|(limit, _)| names.limit_name(*limit)) {
            store.remove_all(quota)?;
        }
        let rows: Vec<KeptUse> = unkept.values().filter_map(|one| kept(&names, one)).collect();
        if !rows.is_empty() {
            store.write(&rows)?;
        }
        let mut cursor = AccountsCursor::default();
        while *all && !cursor.is_over() {
            let uses = shared.accounts.quota_uses(&mut cursor, limits::QUOTA_USES_PER_STEP);
            let rows: Vec<KeptUse> = uses.iter().filter_map(|one| kept(&names, one)).collect();
            store.write(&rows)?;
        }
        *all = false;
        Ok(store.rows())
    }

    /// Says what is wrong, once, and when to try again.
    fn fail(&mut self, error: &QuotaStoreError, now: Instant) {
        let store = QuotaStore::path(&self.directory);
        let what = with_whom(format!("quotas are not kept: {} {error}", store.display()));
        if self.shared.health.note_trouble(what.clone()) {
            tracing::error!("{what}; what is used is counted in memory, and this is tried again");
        }
        if matches!(error, QuotaStoreError::Corrupt(_)) {
            // The next try looks at the whole of it.
            self.store = None;
        }
        let (first, longest) = (*limits::QUOTA_RETRY.start(), *limits::QUOTA_RETRY.end());
        let wait = self.retry.map_or(first, |(_, wait)| wait);
        self.retry = Some((now + wait, (wait * 2).min(longest)));
    }

    /// Looks for rows of the periods before in the limits that changed and have gone over to another.
    fn look_for_old_rows(&mut self) {
        let names = self.shared.names();
        let mut changed: Vec<LimitId> = self.unkept.keys().map(|(limit, _)| *limit).collect();
        changed.sort_unstable();
        changed.dedup();
        for quota in changed.into_iter().filter_map(|limit| names.limit_name(limit)) {
            self.plan_sweep(&names, quota.clone());
        }
    }

    fn plan_sweep(&mut self, names: &HolderNames, quota: Arc<str>) {
        let terms = names.limit(&quota).and_then(|limit| self.shared.accounts.quota_of(limit));
        // A whole period more is kept: a clock that steps back over its end comes there once more.
        let before = match terms {
            Some(terms) => (terms.span.since * 2).saturating_sub(terms.span.until),
            None => seconds_now().saturating_sub(limits::QUOTA_ORPHANS_KEPT.as_secs()),
        };
        if terms.is_none() || self.swept.insert(quota.clone(), before) != Some(before) {
            let before = i64::try_from(before).unwrap_or(i64::MAX);
            self.sweeps.push(Sweep { quota, behind: String::new(), before });
        }
    }

    /// Takes one step of the first sweep.
    fn sweep(&mut self, now: Instant) {
        let (Some(sweep), Some(store)) = (self.sweeps.first_mut(), &mut self.store) else { return };
        match store.sweep(&sweep.quota, &sweep.behind, sweep.before) {
            Ok(further) => {
                self.shared.health.note_rows(store.rows());
                match further {
                    Some(behind) => sweep.behind = behind,
                    None => drop(self.sweeps.remove(0)),
                }
            }
            Err(error) => {
                // The next change of the period looks for them again.
                self.sweeps.clear();
                self.fail(&error, now);
            }
        }
    }

    /// Carries out an order, and tells what came of it once that is in the store, or cannot be.
    fn carry_out(&mut self, QuotaOrder { limit, holder, tell }: QuotaOrder) {
        let shared = self.shared.clone();
        let set_back = match set_back(&shared.accounts, &shared.names(), &limit, holder.as_deref()) {
            Ok(set_back) => set_back,
            Err(error) => return tell(Err(error)),
        };
        let (accounts, bytes) = (set_back.accounts, set_back.bytes);
        let kept = self.forget(set_back);
        tell(match &holder {
            Some(holder) if accounts == 0 => Err(OrderError::NotFound(format!(
                "{} has used nothing of the quota of {}",
                quoted(holder),
                quoted(&limit)
            ))),
            _ => Ok(Done::QuotaReset { limit, holder, accounts, bytes, kept }),
        });
    }

    /// Sees to it that the store has nothing of what was set back, whether or not its account is in memory. Whether it could be
    /// written.
    fn forget(&mut self, SetBack { limit, holder, .. }: SetBack) -> bool {
        self.gather();
        if let Some(holder) = &holder {
            let nothing = QuotaUse { limit, holder: holder.clone(), since: 0, up: 0, down: 0 };
            self.unkept.entry((limit, holder.clone())).or_insert(nothing);
        }
        self.set_back.insert((limit, holder));
        self.keep(Instant::now());
        self.retry.is_none()
    }
}

/// The limits that have a quota.
fn limits_with_quotas(names: &HolderNames, accounts: &Accounts) -> impl Iterator<Item = LimitId> {
    let all = (0..=u16::MAX).take(names.limits.len()).map(LimitId);
    all.filter(|limit| accounts.quota_of(*limit).is_some())
}

/// Whether this was set back.
fn is_set_back(set_back: &HashSet<(LimitId, Option<AccountHolder>)>, used: &QuotaUse) -> bool {
    let is = |holder| set_back.contains(&(used.limit, holder));
    !set_back.is_empty() && (is(None) || is(Some(used.holder.clone())))
}

/// A use as it stands in the store; `None` where it has no name any more.
fn kept(names: &HolderNames, used: &QuotaUse) -> Option<KeptUse> {
    let (quota, holder) = (names.limit_name(used.limit)?.clone(), names.text(&used.holder)?);
    let period = i64::try_from(used.since).unwrap_or(i64::MAX);
    Some(KeptUse { quota, holder, period, up: used.up, down: used.down })
}

/// A use as accounts have it; `None` where there is no such limit or holder.
fn use_of(names: &HolderNames, kept: KeptUse) -> Option<QuotaUse> {
    let KeptUse { quota, holder, period, up, down } = kept;
    let (limit, holder) = (names.limit(&quota)?, names.holder(&holder)?);
    Some(QuotaUse { limit, holder, since: u64::try_from(period).ok()?, up, down })
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// This moment as it can stand in the name of a file.
fn time_now() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests;
