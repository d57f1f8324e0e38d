//! Accepting: a budget a turn, a ceiling, and a pause by timer when the kernel has no descriptor to give.
//!
//! A listener's edge that meets EMFILE gives no further event, so what an edge promised is remembered until
//! EAGAIN disproves it.

use super::errno::ends_one_connection;
use super::slot::{Handshake, Slot};
use super::tokens::{CLIENT_PORT, Key, Source};
use super::watch::interests;
use super::{Setup, Worker};
use crate::limits;
use crate::observe::Counted;
use crate::session::Failure;
use crate::shares;
use crate::sys::Errno;
use crate::sys::listener::Listener;
use crate::sys::stream::Stream;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

/// The listeners of one worker and what their edges promised.
#[derive(Debug)]
pub(super) struct Acceptance {
    listeners: Vec<(Arc<Listener>, bool)>,
    /// Whose turn it is: a flooded listener must not shut the others out.
    turn: usize,
    paused_until: Option<Instant>,
    logged_at: Option<Instant>,
    /// When those that wait at the ceiling were counted last, and when they were last spoken of.
    counted_at: Option<Instant>,
    ceiling_said_at: Option<Instant>,
}

impl Acceptance {
    pub(super) fn register(registry: &Registry, setup: &mut Setup) -> io::Result<Acceptance> {
        for (index, listener) in setup.listeners.iter().enumerate() {
            let token = Source::Listener(index).token();
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

    /// Whether there may be a connection to take now.
    pub(super) fn eager(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && self.listeners.iter().any(|(_, ready)| *ready)
    }

    /// When a pause ends.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.listeners.iter().any(|(_, ready)| *ready))
    }

    /// How many connections wait while there is no place for them, where it is time to say so: once a minute.
    fn waiting_at_ceiling(&mut self, now: Instant) -> Option<u32> {
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

    /// When those that wait at the ceiling are to be spoken of again.
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
    fn pause(&mut self, now: Instant) -> bool {
        self.paused_until = Some(now + limits::ACCEPT_PAUSE);
        let say = self.logged_at.is_none_or(|at| now - at >= limits::PAUSE_LOG_INTERVAL);
        if say {
            self.logged_at = Some(now);
        }
        say
    }
}

impl Worker {
    /// Takes what is queued, within this turn's budget.
    pub(super) fn accept(&mut self) {
        if !self.acceptance.eager(self.core.now) {
            return;
        }
        self.acceptance.paused_until = None;
        for _ in 0..limits::ACCEPTS_PER_TURN {
            if self.core.full() {
                return self.say_full();
            }
            if !self.accept_one() {
                return;
            }
        }
    }

    /// No connection is taken for want of places.
    fn say_full(&mut self) {
        if let Some(waiting) = self.acceptance.waiting_at_ceiling(self.core.now) {
            let (worker, sessions) = (self.core.number, self.slots.len());
            tracing::warn!(worker, sessions, waiting, "as many sessions as there may be: connections wait");
        }
    }

    /// Takes everything that is queued, for the drain.
    pub(super) fn accept_all(&mut self) {
        self.acceptance.paused_until = None;
        for (_, ready) in &mut self.acceptance.listeners {
            *ready = true;
        }
        while !self.core.full() && self.accept_one() {}
    }

    /// Takes one connection from the next listener that has one. False when none has.
    fn accept_one(&mut self) -> bool {
        let Some(at) = self.acceptance.next_ready() else { return false };
        match self.acceptance.listeners[at].0.accept() {
            Ok((client, peer)) => {
                self.admit(client, peer);
                true
            }
            Err(Errno::EAGAIN) => {
                self.acceptance.listeners[at].1 = false;
                true
            }
            Err(errno) if ends_one_connection(errno) => true,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, or anything that may be there to stay.
            Err(errno) => {
                self.core.counters.count(Counted::AcceptPaused);
                if self.acceptance.pause(self.core.now) {
                    tracing::warn!(worker = self.core.number, cause = %errno, "accepting pauses");
                }
                false
            }
        }
    }

    pub(super) fn admit(&mut self, client: Stream, peer: SocketAddr) {
        let now = self.core.now;
        let mut place = None;
        if let Some(sources) = &self.core.sources {
            place = sources.enter(shares::Source::from(peer.ip())).map(Box::new);
            if place.is_none() {
                self.core.counters.count(Counted::SourceTurnedAway);
                self.core.refusals.note(peer.ip(), &Failure::SourceLimit, now);
                // Nothing was read of it and nothing is owed: no TIME_WAIT of ours for it either.
                return client.reset_on_close();
            }
        }
        let handshake = Handshake::new(now, now + self.core.config.timeouts.handshake);
        let wake_at = handshake.wake_at();
        let entry = self.slots.vacant_entry();
        let key = Key::new(entry.key(), self.next_serial);
        self.next_serial += 1;
        let token = Source::Session { key, port: CLIENT_PORT }.token();
        if self.core.registry.register(&mut SourceFd(&client.as_raw_fd()), token, interests()).is_err() {
            tracing::error!("a client cannot be watched and is dropped");
            return;
        }
        let slot = Slot { place, ..Slot::new(key.serial, client, peer, handshake, self.core.ms(now)) };
        entry.insert(slot);
        self.core.counters.accept();
        self.core.sessions += 1;
        self.core.arm(key, wake_at);
    }
}
