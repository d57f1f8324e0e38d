//! The listeners of a worker: what their edges promised, whose turn it is, and pauses.
//!
//! A listener's edge that meets EMFILE gives no further event, so what an edge promised is remembered until
//! EAGAIN disproves it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::setup::Setup;
use super::tokens::EventSource;
use crate::limits;
use crate::sys::listener::Listener;

/// The listeners of one worker and what their edges promised.
#[derive(Debug)]
pub(super) struct Acceptance {
    pub(super) listeners: Vec<(Arc<Listener>, bool)>,
    /// Whose turn it is: a flooded listener must not shut the others out.
    turn: usize,
    pub(super) paused_until: Option<Instant>,
    logged_at: Option<Instant>,
    /// When the connections that wait at the ceiling were last counted, and (`ceiling_said_at`) last logged.
    counted_at: Option<Instant>,
    ceiling_said_at: Option<Instant>,
}

impl Acceptance {
    pub(super) fn register(registry: &Registry, setup: &mut Setup) -> io::Result<Acceptance> {
        for (index, listener) in setup.listeners.iter().enumerate() {
            let token = EventSource::Listener(index).token();
            registry.register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)?;
        }
        // Nobody else may hold them: at the drain, the last one who does keeps them open.
        let listeners =
            std::mem::take(&mut setup.listeners).into_iter().map(|listener| (listener, true)).collect();
        Ok(Acceptance {
            listeners,
            turn: 0,
            paused_until: None,
            logged_at: None,
            counted_at: None,
            ceiling_said_at: None,
        })
    }

    pub(super) fn ready(&mut self, index: usize) {
        if let Some((_, ready)) = self.listeners.get_mut(index) {
            *ready = true;
        }
    }

    /// Where each listener is reached.
    pub(super) fn addresses(&self) -> Vec<Option<SocketAddr>> {
        self.listeners.iter().map(|(listener, _)| listener.address().ok()).collect()
    }

    /// Whether there may be a connection to take now.
    pub(super) fn eager(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && self.listeners.iter().any(|(_, ready)| *ready)
    }

    /// When a pause ends.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.listeners.iter().any(|(_, ready)| *ready))
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
        let waiting = self.listeners.iter().map(|(listener, _)| listener.waiting()).sum();
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
    pub(super) fn give_back(&mut self, registry: &Registry) -> Vec<Arc<Listener>> {
        for (listener, _) in &self.listeners {
            let _ = registry.deregister(&mut SourceFd(&listener.as_raw_fd()));
        }
        self.listeners.drain(..).map(|(listener, _)| listener).collect()
    }

    /// The next listener with a promise, each in its turn.
    pub(super) fn next_ready(&mut self) -> Option<usize> {
        let count = self.listeners.len();
        let at = (0..count).map(|step| (self.turn + step) % count).find(|&at| self.listeners[at].1)?;
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
