//! The listeners of a worker: what their edges promised, whose turn it is, and pauses.
//!
//! A listener's edge that meets EMFILE gives no further event, so what an edge promised is remembered until
//! EAGAIN disproves it.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::setup::Setup;
use super::snapshot::NumberedListener;
use super::tokens::EventSource;
use crate::limits;
use crate::sys::listener::Listener;

/// The listeners of one worker and what their edges promised.
#[derive(Debug)]
pub(super) struct Acceptance {
    pub(super) listeners: Vec<Accepting>,
    /// Whose turn it is: a flooded listener must not shut the others out.
    turn: usize,
    pub(super) paused_until: Option<Instant>,
    logged_at: Option<Instant>,
    /// When the connections that wait at the ceiling were last counted, and (`ceiling_said_at`) last logged.
    counted_at: Option<Instant>,
    ceiling_said_at: Option<Instant>,
}

/// A listener that is watched.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) number: u16,
    pub(super) socket: Arc<Listener>,
    /// Whether there may be a connection.
    pub(super) ready: bool,
}

impl Acceptance {
    pub(super) fn register(registry: &Registry, setup: &mut Setup) -> io::Result<Acceptance> {
        let mut acceptance = Acceptance {
            listeners: Vec::new(),
            turn: 0,
            paused_until: None,
            logged_at: None,
            counted_at: None,
            ceiling_said_at: None,
        };
        // Nobody else may hold them: the last one who does keeps them open.
        std::mem::take(&mut setup.listeners)
            .into_iter()
            .try_for_each(|one| acceptance.watch(one, registry))?;
        Ok(acceptance)
    }

    fn watch(&mut self, one: NumberedListener, registry: &Registry) -> io::Result<()> {
        let NumberedListener { number, socket } = one;
        let token = EventSource::Listener(number).token();
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        self.listeners.push(Accepting { number, socket, ready: true });
        Ok(())
    }

    /// Has these watched that are not yet. One that cannot be is closed, so that the kernel gives its share to the others.
    pub(super) fn open(&mut self, wanted: Vec<NumberedListener>, registry: &Registry) {
        for one in wanted {
            let number = one.number;
            if self.listeners.iter().all(|here| here.number != number)
                && let Err(error) = self.watch(one, registry)
            {
                tracing::error!(listener = number, %error, "a listener cannot be watched by one of the workers");
            }
        }
    }

    /// Takes the next listener that is not among these.
    pub(super) fn take_leaving(&mut self, wanted: &[NumberedListener]) -> Option<Accepting> {
        let leaves = |here: &Accepting| wanted.iter().all(|one| one.number != here.number);
        let at = self.listeners.iter().position(leaves)?;
        Some(self.listeners.remove(at))
    }

    pub(super) fn ready(&mut self, number: u16) {
        self.listeners.iter_mut().filter(|here| here.number == number).for_each(|here| here.ready = true);
    }

    /// Whether there may be a connection to take now.
    pub(super) fn eager(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && self.listeners.iter().any(|here| here.ready)
    }

    /// When a pause ends.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.listeners.iter().any(|here| here.ready))
    }

    /// How many connections wait while there is no place for them, where it is time to say so: once a minute.
    pub(super) fn waiting_at_ceiling(&mut self, now: Instant) -> Option<u32> {
        let since = |at: Option<Instant>, interval| at.is_none_or(|at| now - at >= interval);
        // That an edge came does not say that somebody waits still.
        if !since(self.ceiling_said_at, limits::CEILING_LOG_INTERVAL)
            || !since(self.counted_at, limits::PAUSE_LOG_INTERVAL)
        {
            return None;
        }
        self.counted_at = Some(now);
        let waiting = self.listeners.iter().map(|here| here.socket.waiting()).sum();
        if waiting == 0 {
            return None;
        }
        self.ceiling_said_at = Some(now);
        Some(waiting)
    }

    /// When connections that wait at the ceiling may be logged again.
    pub(super) fn says_ceiling_at(&self) -> Option<Instant> {
        self.ceiling_said_at.map(|at| at + limits::CEILING_LOG_INTERVAL)
    }

    /// Lets go of the listeners: for the drain, or for the worker that replaces this one.
    pub(super) fn give_back(&mut self, registry: &Registry) -> Vec<NumberedListener> {
        self.listeners.iter().for_each(|here| here.forget(registry));
        self.listeners
            .drain(..)
            .map(|Accepting { number, socket, .. }| NumberedListener { number, socket })
            .collect()
    }

    /// The next listener with a promise, each in its turn.
    pub(super) fn next_ready(&mut self) -> Option<usize> {
        let count = self.listeners.len();
        let at = (0..count).map(|step| (self.turn + step) % count).find(|&at| self.listeners[at].ready)?;
        self.turn = at + 1;
        Some(at)
    }

    /// Pauses after a refusal of the kernel; true once a second, when it is time to say so.
    pub(super) fn pause(&mut self, now: Instant) -> bool {
        self.paused_until = Some(now + limits::ACCEPT_PAUSE);
        let say = self.logged_at.is_none_or(|at| now - at >= limits::PAUSE_LOG_INTERVAL);
        if say {
            self.logged_at = Some(now);
        }
        say
    }
}

impl Accepting {
    /// Has it watched no more.
    pub(super) fn forget(&self, registry: &Registry) {
        let _ = registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()));
    }
}
