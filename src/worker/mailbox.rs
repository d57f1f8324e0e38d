//! How other threads reach a worker: a bounded channel, and a waker for its poll.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use mio::Waker;

use super::snapshot::Changeover;
use super::tokens::Key;
use crate::auth::Verified;
use crate::auth::gssapi::Exchanged;
use crate::observe::Latencies;
use crate::observe::filter::{Selection, SessionFilter};
use crate::observe::live::LiveSession;
use crate::observe::talkers::TalkersFound;
use crate::policy::Policy;
use crate::policy::accounts::LimitPlan;
use crate::policy::egress::Egress;
use crate::policy::rule_names::RuleNames;
use crate::policy::rules::RuleSet;
use crate::policy::sources::Sources;
use crate::session::{Explanation, Supposed};

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
    Snapshot(Box<Changeover>),
    /// Accept what is queued, close the listeners, end by then.
    Drain {
        /// When whatever is left is cut off.
        by: Instant,
    },
    /// Add to this how long things took since the worker's start, those before a panic among them, and give it back. It
    /// costs the worker a quarter of what memory of its own would, which has to come from the kernel first.
    Latencies(Box<Latencies>, Reply<Box<Latencies>>),
    /// Tell of the sessions that pass: page by page, then how that ended.
    List {
        /// Who passes.
        filter: Arc<SessionFilter>,
        /// Where the pages go. It has to have room for all of them: a listing that finds none ends.
        reply: Reply<Listed>,
    },
    /// End these sessions, with a record each, and say how many there were.
    Kill {
        /// Which sessions.
        which: Arc<Selection>,
        /// Where the number goes.
        reply: Reply<Killed>,
    },
    /// Count what moved until now, and tell who was busiest in the last minute. Nobody was where the snapshot is not watched.
    Talkers {
        /// Where that goes.
        reply: Reply<TalkersTold>,
    },
    /// Say what would come of this request; by these rules, if there are some, and not by those in effect.
    Explain(Box<(Supposed, Option<RuleSet>)>, Reply<SupposedTold>),
    /// End the sessions whose quota is used up.
    EndSpent,
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
    /// Take so much longer for each turn from now on.
    Slow(Duration),
    /// Run this.
    Run(fn()),
}

/// How a walk of a worker over its sessions ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// It met every session that was there all the while.
    Whole,
    /// It did not begin: too many others are under way.
    Refused,
    /// It did not get to its end, for the worker ended or began anew.
    Broken,
}

/// What comes of [`Mail::List`].
#[derive(Clone, Debug)]
pub enum Listed {
    /// Some of the sessions, in no order. None is told of twice, and none that stayed is left out.
    Page(Vec<LiveSession>),
    /// The worker tells of no more.
    End {
        /// Which worker.
        worker: usize,
        /// Whether it told of all.
        walked: Walked,
        /// How many sessions it has, whether they passed or not.
        total: usize,
    },
}

/// What comes of [`Mail::Kill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// Which worker.
    pub worker: usize,
    /// Whether it met all that were meant.
    pub walked: Walked,
    /// How many it ended.
    pub ended: u64,
}

/// What comes of [`Mail::Talkers`].
#[derive(Clone, Debug)]
pub struct TalkersTold {
    /// Which worker.
    pub worker: usize,
    /// Whether what is still under way is counted up to now.
    pub walked: Walked,
    /// Who was busy there.
    pub found: TalkersFound,
}

/// What comes of [`Mail::Explain`]. Where the worker begins anew before it knows, nothing does.
#[derive(Clone, Debug)]
pub enum SupposedTold {
    /// What would come of the request, and by what.
    Told(Box<SupposedOutcome>),
    /// What of the request cannot be.
    Wrong(String),
    /// Too many others wait for names.
    Busy,
}

/// What would come of a request, and what can say more of it without a worker.
#[derive(Clone, Debug)]
pub struct SupposedOutcome {
    /// What would come of it.
    pub told: Explanation,
    /// How rules are called.
    pub names: Arc<RuleNames>,
    /// What can say what each of them comes to ([`Explanation::tell_steps`]).
    pub policy: Arc<Policy>,
    /// The pools in effect ([`Explanation::tell_egress`]).
    pub egress: Option<Arc<Egress>>,
    /// The limits in effect ([`Explanation::tell_limits`]).
    pub limits: Option<Arc<LimitPlan>>,
    /// The sessions of sources, where these are limited.
    pub sources: Option<Arc<Sources>>,
}

/// Where the answer to a letter goes, and what is woken for it: whoever asks a worker does not wait for it in a call.
#[derive(Debug)]
pub struct Reply<T> {
    sender: Sender<T>,
    waker: Option<Arc<Waker>>,
}

/// Whatever the answer is.
impl<T> Clone for Reply<T> {
    fn clone(&self) -> Reply<T> {
        Reply { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<T> Reply<T> {
    /// Answers into this channel, and wakes that poll if there is one.
    pub fn new(sender: Sender<T>, waker: Option<Arc<Waker>>) -> Reply<T> {
        Reply { sender, waker }
    }

    /// Answers without waiting; false where the channel is full or nobody reads it any more.
    pub fn send(&self, answer: T) -> bool {
        let sent = self.sender.try_send(answer).is_ok();
        if let Some(waker) = self.waker.as_ref().filter(|_| sent) {
            let _ = waker.wake();
        }
        sent
    }
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

    /// Sends without waiting, or gives the letter back where there is no room for it; nothing happens where the worker is
    /// gone.
    ///
    /// # Errors
    /// The letter itself.
    pub fn try_send(&self, mail: Mail) -> Result<(), Mail> {
        match self.sender.try_send(mail) {
            Ok(()) => self.wake(),
            Err(TrySendError::Full(mail)) => return Err(mail),
            Err(TrySendError::Disconnected(_)) => {}
        }
        Ok(())
    }

    /// Sends without waiting; false where the mailbox is full or the worker gone.
    pub fn offer(&self, mail: Mail) -> bool {
        let sent = self.sender.try_send(mail).is_ok();
        if sent {
            self.wake();
        }
        sent
    }

    /// How many letters wait, of at most [`crate::limits::MAILBOX_MAX`].
    pub fn waiting(&self) -> usize {
        self.sender.len()
    }

    /// Has the worker look for letters that are there already.
    pub(super) fn wake(&self) {
        let _ = self.waker.wake();
    }
}
