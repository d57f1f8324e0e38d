//! How other threads reach a worker: a bounded channel, and a waker for its poll.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::Waker;

use super::snapshot::Snapshot;
use super::tokens::Key;
use crate::auth::Verified;
use crate::auth::gssapi::Exchanged;

/// What a worker is told from outside.
#[derive(Debug)]
pub enum Mail {
    /// The answer to a login.
    Login(Ticket, Verified),
    /// What came of a security context's token.
    Context(Ticket, Exchanged),
    /// The users have changed, that often by now: these are gone or have another password.
    Users(u64, Arc<HashSet<Arc<str>>>),
    /// What to go by from the next turn on.
    Snapshot(Arc<Snapshot>),
    /// Accept what is queued, close the listeners, end by then.
    Drain {
        /// When whatever is left is cut off.
        by: Instant,
    },
    /// Fail in the middle of a turn: how what follows is tested.
    #[doc(hidden)]
    Drill(Drill),
}

/// What a test has a worker do.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Drill {
    /// Panic.
    Panic,
    /// Panic, and once more over the first record of a session that this costs.
    PanicTwice,
    /// Panic where nothing catches it: the thread ends.
    EndThread,
    /// Do nothing for so long.
    Stall(Duration),
}

/// Which session an answer is for.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(pub(super) Key);

/// The sending end.
#[derive(Clone, Debug)]
pub struct Mailbox {
    sender: Sender<Mail>,
    waker: Arc<Waker>,
}

impl Mailbox {
    pub(super) fn new(sender: Sender<Mail>, waker: Arc<Waker>) -> Mailbox {
        Mailbox { sender, waker }
    }

    /// Sends; nothing happens where the worker is gone.
    pub fn send(&self, mail: Mail) {
        if self.sender.send(mail).is_ok() {
            self.wake();
        }
    }

    /// Has the worker look for letters that are there already.
    pub(super) fn wake(&self) {
        let _ = self.waker.wake();
    }
}
