//! The users file, read again when it has changed.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::limited_users::{check_users, users_limit, users_pool};
use super::rules::OperatorRules;
use super::user_orders::{FileChange, UserOrder, await_workers, change_file};
use crate::admin::{Done, Order, OrderError, with_whom};
use crate::auth::{AttributeChange, Users, UsersError, Verifier, concerns, load_users};
use crate::config::Config;
use crate::limits;
use crate::sys::files::Stamp;
use crate::threads::{self, survive};
use crate::worker::{Latch, Mail, Mailbox};

/// What an operator is told who wants users changed where there are none.
pub(super) const NO_USERS_FILE: &str = "there is no users file: nobody is asked for a password";

/// A thread that looks at the file now and then, away from the workers. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct UsersWatch {
    /// `None` once the thread has been told to end.
    look: Option<Sender<()>>,
    shared: Arc<WatchShared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told, and what it tells.
#[derive(Debug)]
struct WatchShared {
    /// What to do first when it looks next.
    orders: Mutex<Vec<WatchOrder>>,
    /// What operators want changed, then.
    changes: Mutex<VecDeque<UserOrder>>,
    /// The users by which logins are judged.
    users: Mutex<Arc<Users>>,
    /// The rules in effect, whose groups users may come to or leave.
    governing: Mutex<Governing>,
}

/// The rules whose groups are followed.
#[derive(Debug, Default)]
struct Governing {
    rules: Option<RuledBy>,
    /// What they are in place of those rules, with those in their groups who are by now.
    regrouped: Option<Arc<OperatorRules>>,
    /// Whether the groups are to be looked at though the file has not changed.
    unseen: bool,
}

/// The rules in effect.
#[derive(Clone, Debug)]
pub(super) struct RuledBy {
    /// The configuration that says them.
    pub(super) config: Arc<Config>,
    pub(super) rules: Arc<OperatorRules>,
    /// Told when there are others in their place.
    pub(super) changed: Sender<()>,
}

#[derive(Debug)]
struct WatchOrder {
    /// Which file to follow from now on, unless it is the same.
    follow: Option<Option<UsersFile>>,
    /// Let go of once the workers were told of whatever has changed.
    _told: Arc<Latch>,
}

/// A users file as it was read.
#[derive(Clone, Debug)]
pub(super) struct UsersFile {
    pub(super) path: PathBuf,
    /// The stamp of the file that was read last, whether or not it could be; `None` where there was none.
    pub(super) stamp: Option<Stamp>,
    pub(super) users: Arc<Users>,
}

/// Who is told.
#[derive(Debug)]
struct WatchedUsers {
    /// `None` while nobody is asked for a password.
    file: Option<UsersFile>,
    verifier: Arc<Verifier>,
    workers: Vec<Mailbox>,
    shared: Arc<WatchShared>,
}

impl UsersWatch {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        file: UsersFile,
        verifier: Arc<Verifier>,
        workers: Vec<Mailbox>,
    ) -> io::Result<UsersWatch> {
        let (look, looks) = bounded(1);
        let users = Mutex::new(Arc::clone(&file.users));
        let (orders, changes, governing) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Arc::new(WatchShared { orders, changes, users, governing });
        let mut watched = WatchedUsers { file: Some(file), verifier, workers, shared: Arc::clone(&shared) };
        let mut generation = 0;
        let thread = threads::spawn("users", move || watch(&mut watched, &mut generation, &looks))?;
        Ok(UsersWatch { look: Some(look), shared, thread: Some(thread) })
    }

    /// Has the thread look at once.
    pub(super) fn look(&self) {
        // Full: it is about to.
        let _ = self.look.as_ref().map(|look| look.try_send(()));
    }

    /// Has the thread follow this file from now on, or none; `told` is let go of once the workers were told.
    pub(super) fn follow(&self, file: Option<UsersFile>, told: Arc<Latch>) {
        lock(&self.shared.orders).push(WatchOrder { follow: Some(file), _told: told });
        self.look();
    }

    /// Has the thread carry out an order about users, which tells the outcome.
    ///
    /// # Errors
    /// Gives it back where too many are under way.
    pub(super) fn give(&self, order: UserOrder) -> Result<(), UserOrder> {
        let mut changes = lock(&self.shared.changes);
        if changes.len() >= limits::USER_ORDERS_MAX {
            return Err(order);
        }
        changes.push_back(order);
        drop(changes);
        self.look();
        Ok(())
    }

    /// Has the thread follow the groups of these rules from now on.
    pub(super) fn follow_groups(&self, rules: RuledBy) {
        *lock(&self.shared.governing) = Governing { rules: Some(rules), regrouped: None, unseen: true };
        self.look();
    }

    /// The rules to go by in place of those that are followed, where others are in their groups.
    pub(super) fn take_regrouped(&self) -> Option<Arc<OperatorRules>> {
        lock(&self.shared.governing).regrouped.take()
    }

    /// The users by which logins are judged.
    pub(super) fn users(&self) -> Arc<Users> {
        Arc::clone(&lock(&self.shared.users))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for UsersWatch {
    fn drop(&mut self) {
        self.look = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn watch(watched: &mut WatchedUsers, generation: &mut u64, looks: &Receiver<()>) {
    while let Ok(()) | Err(RecvTimeoutError::Timeout) = looks.recv_timeout(limits::USERS_LOOK) {
        // Between two changes, too: however many come, whoever waits for a reload does not wait for them.
        loop {
            let orders = std::mem::take(&mut *lock(&watched.shared.orders));
            for order in &orders {
                if let Some(file) = &order.follow {
                    watched.follow(file.clone(), generation);
                }
            }
            watched.look(generation);
            if std::mem::take(&mut lock(&watched.shared.governing).unseen) {
                watched.regroup();
            }
            drop(orders);
            let change = lock(&watched.shared.changes).pop_front();
            let Some(UserOrder { order, tell }) = change else { break };
            // Whoever waits is told of a panic, too.
            let outcome = survive(|| watched.carry_out(&order, generation));
            tell(outcome.unwrap_or_else(|| Err(OrderError::Failed("it panicked: see the log".to_owned()))));
        }
    }
}

impl WatchedUsers {
    /// Goes by this file from now on.
    fn follow(&mut self, file: Option<UsersFile>, generation: &mut u64) {
        if let Some(file) = &file {
            let at_hand = self.file.as_ref().is_some_and(|known| known.path == file.path);
            if at_hand && Stamp::of(&file.path).ok() != file.stamp {
                // It was written since the reload read it: users who were removed meanwhile would come back.
                return;
            }
            *generation += 1;
            self.replace(Arc::clone(&file.users), *generation);
        }
        self.file = file;
    }

    /// Reads the file if it has changed and if nobody writes it at the moment; a file that cannot be used changes
    /// nothing, and is said once.
    fn look(&mut self, generation: &mut u64) {
        let Some(file) = &mut self.file else { return };
        let stamp = Stamp::of(&file.path).ok();
        if stamp == file.stamp {
            return;
        }
        // Who does not replace a file but writes it has it empty for a moment, and then in parts.
        std::thread::sleep(limits::USERS_SETTLE);
        if Stamp::of(&file.path).ok() != stamp {
            return;
        }
        file.stamp = stamp;
        if let Err(error) = self.read(generation) {
            tracing::error!("{}: the users stay what they were", with_whom(error.to_string()));
        }
    }

    /// Reads the file and has logins judged by it from now on.
    ///
    /// # Errors
    /// It cannot be used: nothing has changed.
    fn read(&mut self, generation: &mut u64) -> Result<(), UsersError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let (users, read) = load_users(&file.path)?;
        if let Some(RuledBy { config, .. }) = &lock(&self.shared.governing).rules {
            check_users(config, &users, &file.path)?;
        }
        (file.users, file.stamp) = (Arc::new(users), read);
        *generation += 1;
        concerns(&file.path, &file.users).iter().for_each(|concern| tracing::warn!("{concern}"));
        let (users, count) = (Arc::clone(&file.users), file.users.len());
        let gone = self.replace(users, *generation);
        tracing::info!(users = count, changed = gone, "the users file has changed and was read");
        Ok(())
    }

    /// Carries out an order. Once it is done every login is judged by the new file, and whoever is revoked has no session.
    fn carry_out(&mut self, order: &Order, generation: &mut u64) -> Result<Done, OrderError> {
        let Some(file) = &self.file else {
            return Err(OrderError::NotFound(NO_USERS_FILE.to_owned()));
        };
        let (name, revoke) = match order {
            Order::SetUser { name, revoke, .. } | Order::RemoveUser { name, revoke } => (name, *revoke),
            _ => return Err(OrderError::Invalid("this changes no user".to_owned())),
        };
        self.check_named(order)?;
        let change = change_file(&file.path, order)?;
        self.read(generation).map_err(|error| {
            let what = "the users file was written, and cannot be used";
            OrderError::Failed(format!("{what}: {error}: the users stay what they were"))
        })?;
        let (name, ended) = (name.clone(), await_workers(&self.workers, name, revoke));
        Ok(match change {
            FileChange::Removed => Done::UserRemoved { name, ended },
            change => Done::UserSet { name, added: change == FileChange::Added, ended },
        })
    }

    /// Whether the limits and the pool that an order gives a user are there.
    fn check_named(&self, order: &Order) -> Result<(), OrderError> {
        let governing = lock(&self.shared.governing);
        let Order::SetUser { attributes: AttributeChange { limits, egress, .. }, .. } = order else {
            return Ok(());
        };
        let Some(RuledBy { config, .. }) = &governing.rules else { return Ok(()) };
        let limit = limits.iter().flatten().find_map(|name| users_limit(config, name).err());
        let pool = egress.iter().flatten().find_map(|name| users_pool(config, name).err());
        let limit = limit.map(|what| format!("`limits`: {what}"));
        let wrong = limit.or(pool.map(|what| format!("`egress`: {what}")));
        wrong.map_or(Ok(()), |what| Err(OrderError::Invalid(what)))
    }

    /// Has logins judged by these users; how many of those before are gone or have another password.
    fn replace(&mut self, users: Arc<Users>, generation: u64) -> usize {
        let before = std::mem::replace(&mut *lock(&self.shared.users), Arc::clone(&users));
        let changed = Arc::new(before.changed_in(&users));
        self.verifier.replace(users, Arc::clone(&changed));
        for worker in &self.workers {
            worker.send(Mail::Users(generation, Arc::clone(&changed)));
        }
        self.regroup();
        changed.len()
    }

    /// Has the rules know who is in their groups by now, away from the control thread: a million users take a while.
    fn regroup(&self) {
        let Some(RuledBy { config, rules, changed }) = lock(&self.shared.governing).rules.clone() else {
            return;
        };
        let users = Arc::clone(&lock(&self.shared.users));
        // A reload may have taken a limit away just when the file was read that names it.
        let path = self.file.as_ref().map(|file| &*file.path);
        if let Some(Err(error)) = path.map(|path| check_users(&config, &users, path)) {
            tracing::error!("{error}: whoever has it can begin no session");
        }
        let Some(Some(new)) = survive(|| rules.regrouped(&config, &users)) else { return };
        let mut governing = lock(&self.shared.governing);
        // Others may be in effect by now: they are looked at next.
        if governing.rules.as_ref().is_some_and(|now| Arc::ptr_eq(&now.rules, &rules)) {
            governing.regrouped = Some(new);
            // Full: whoever reads it will look in any case.
            let _ = changed.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::auth::{hash_password, remove_user, set_user};
    use crate::control::snapshot::start_verifier;

    /// Each change takes a hash, and they may come without an end.
    #[test]
    fn a_file_to_follow_does_not_wait_for_all_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        std::fs::write(&path, "").unwrap();
        let users = Arc::new(load_users(&path).unwrap().0);
        let verifier = start_verifier(Arc::clone(&users)).unwrap();
        let file = UsersFile { path, stamp: None, users };
        let watch = UsersWatch::start(file.clone(), verifier, Vec::new()).unwrap();
        let (settled, told) = bounded(1);
        let (go_on, wait) = bounded::<()>(1);
        let remove = |tell: Box<dyn FnOnce(Result<Done, OrderError>) + Send>| UserOrder {
            order: Box::new(Order::RemoveUser { name: "ann".to_owned(), revoke: false }),
            tell,
        };
        watch.give(remove(Box::new(move |_| wait.recv().unwrap()))).unwrap();
        let latch = Arc::new(Latch::new(settled));
        let held = Arc::downgrade(&latch);
        let (sender, at_the_second) = bounded(1);
        watch.give(remove(Box::new(move |_| sender.send(held.strong_count()).unwrap()))).unwrap();
        watch.follow(Some(file), latch);
        go_on.send(()).unwrap();
        assert_eq!(at_the_second.recv(), Ok(0), "the reload was told before the second change");
        told.recv().unwrap();
    }

    fn read(path: &Path) -> UsersFile {
        let (users, stamp) = load_users(path).unwrap();
        UsersFile { path: path.to_owned(), stamp, users: Arc::new(users) }
    }

    /// A reload reads the file, an operator removes a user, and then the reload is taken.
    #[test]
    fn who_is_removed_does_not_come_back_by_what_a_reload_read_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let hash = hash_password(b"secret").unwrap();
        for name in ["ann", "bob"] {
            set_user(&path, name, &hash).unwrap();
        }
        let (first, second) = (read(&path), read(&path));
        let users = Mutex::new(Arc::clone(&first.users));
        let (orders, changes, governing) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Arc::new(WatchShared { orders, changes, users, governing });
        let verifier = start_verifier(Arc::clone(&first.users)).unwrap();
        let mut watched = WatchedUsers { file: Some(first), verifier, workers: Vec::new(), shared };
        let names = |watched: &WatchedUsers| {
            lock(&watched.shared.users).names().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let mut generation = 0;
        remove_user(&path, "bob").unwrap();
        watched.read(&mut generation).unwrap();
        watched.follow(Some(second), &mut generation);
        assert_eq!(names(&watched), ["ann"]);
        set_user(&path, "eve", &hash).unwrap();
        watched.follow(Some(read(&path)), &mut generation);
        assert_eq!(names(&watched), ["ann", "eve"]);
    }
}
