//! The users file, read again when it has changed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::auth::{Users, Verifier, concerns, load_users};
use crate::limits;
use crate::sys::files::Stamp;
use crate::threads;
use crate::worker::{Mail, Mailbox};

/// A thread that looks at the file now and then, away from the workers. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct UsersWatch {
    /// `None` once the thread has been told to end.
    look: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is watched, and who is told.
#[derive(Debug)]
pub(super) struct WatchedUsers {
    pub(super) path: PathBuf,
    /// The stamp of the file that was read last, whether or not it could be; `None` where there was none.
    pub(super) stamp: Option<Stamp>,
    pub(super) users: Arc<Users>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) workers: Vec<Mailbox>,
}

impl UsersWatch {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(mut watched: WatchedUsers) -> io::Result<UsersWatch> {
        let (look, looks) = bounded(1);
        let mut generation = 0;
        let thread = threads::spawn("users", move || watch(&mut watched, &mut generation, &looks))?;
        Ok(UsersWatch { look: Some(look), thread: Some(thread) })
    }

    /// Has the thread look at once.
    pub(super) fn look(&self) {
        // Full: it is about to.
        let _ = self.look.as_ref().map(|look| look.try_send(()));
    }
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
        watched.look(generation);
    }
}

impl WatchedUsers {
    /// Reads the file if it has changed and if nobody writes it at the moment; a file that cannot be used changes
    /// nothing, and is said once.
    fn look(&mut self, generation: &mut u64) {
        let stamp = Stamp::of(&self.path).ok();
        if stamp == self.stamp {
            return;
        }
        // Who does not replace a file but writes it has it empty for a moment, and then in parts.
        std::thread::sleep(limits::USERS_SETTLE);
        if Stamp::of(&self.path).ok() != stamp {
            return;
        }
        self.stamp = stamp;
        match load_users(&self.path) {
            Ok((users, read)) => {
                self.stamp = read;
                *generation += 1;
                self.replace(users, *generation);
            }
            Err(error) => tracing::error!("{error}: the users stay what they were"),
        }
    }

    fn replace(&mut self, users: Users, generation: u64) {
        let changed = Arc::new(self.users.changed_in(&users));
        let (count, gone) = (users.len(), changed.len());
        concerns(&self.path, &users).iter().for_each(|concern| tracing::warn!("{concern}"));
        self.users = Arc::new(users);
        self.verifier.replace(Arc::clone(&self.users), Arc::clone(&changed));
        for worker in &self.workers {
            worker.send(Mail::Users(generation, Arc::clone(&changed)));
        }
        tracing::info!(users = count, changed = gone, "the users file has changed and was read");
    }
}
