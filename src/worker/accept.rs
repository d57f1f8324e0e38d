//! Accepting: a budget a turn, a ceiling, and a pause by timer when the kernel has no descriptor to give.

use super::Worker;
use super::acceptance::Accepting;
use super::connection::Connection;
use super::errno::{ends_one_connection, pause_cause};
use super::handshake::Handshake;
use super::slot::{Phase, Slot};
use super::snapshot::NumberedListener;
use super::tokens::{CLIENT_SOCKET, Key};
use super::watch::watch_stream;
use crate::limits;
use crate::observe::{Counted, DenialCause};
use crate::policy::Incoming;
use crate::session::Failure;
use crate::shares;
use crate::sys::Errno;
use crate::sys::stream::Stream;

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
        for here in &mut self.acceptance.listeners {
            here.ready = true;
        }
        while !self.core.full() && self.accept_one() {}
    }

    /// Closes the listeners that are not among these: each after all that is queued was taken, for a listener that closes
    /// takes its queue with it. No others are touched.
    pub(super) fn close_leaving(&mut self, wanted: &[NumberedListener]) {
        while let Some(leaving) = self.acceptance.take_leaving(wanted) {
            for _ in 0..limits::MAX_BACKLOG {
                if self.core.full() {
                    break;
                }
                match leaving.socket.accept() {
                    Ok((client, peer)) => {
                        self.admit(client, Incoming { client: peer, listener: leaving.number })
                    }
                    Err(errno) if ends_one_connection(errno) => {}
                    Err(_) => break,
                }
            }
            leaving.forget(&self.core.registry);
        }
    }

    /// Takes one connection from the next listener that has one. False when none has.
    fn accept_one(&mut self) -> bool {
        let Some(at) = self.acceptance.next_ready() else { return false };
        let Accepting { number, socket, .. } = &self.acceptance.listeners[at];
        match socket.accept() {
            Ok((client, peer)) => {
                let listener = *number;
                self.admit(client, Incoming { client: peer, listener });
                true
            }
            Err(Errno::EAGAIN) => {
                self.acceptance.listeners[at].ready = false;
                true
            }
            Err(errno) if ends_one_connection(errno) => true,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, or anything that may be there to stay.
            Err(errno) => {
                self.core.counters.count(Counted::AcceptPaused(pause_cause(errno)));
                if self.acceptance.pause(self.core.now) {
                    tracing::warn!(worker = self.core.number, cause = %errno, "accepting pauses");
                }
                false
            }
        }
    }

    pub(super) fn admit(&mut self, client: Stream, incoming: Incoming) {
        let (now, peer) = (self.core.now, incoming.client);
        let mut place = None;
        if let Some(sources) = &self.core.snapshot.sources {
            place = sources.enter(shares::Source::from(peer.ip())).map(Box::new);
            if place.is_none() {
                self.core.counters.count(Counted::SourceTurnedAway);
                self.core.counters.count(Counted::Denied(DenialCause::TurnedAway));
                self.core.tell_refusal(peer.ip(), &Failure::SourceLimit, None);
                // Nothing was read of it and nothing is owed: no TIME_WAIT of ours for it either.
                return client.reset_on_close();
            }
        }
        let entry = self.slots.vacant_entry();
        let key = Key::new(entry.key(), self.next_serial);
        self.next_serial += 1;
        if watch_stream(&self.core.registry, key, CLIENT_SOCKET, &client).is_err() {
            tracing::error!("a client cannot be watched and is dropped");
            return;
        }
        let snapshot = self.core.snapshot.clone();
        let handshake = Handshake::new(client, incoming, now, now + snapshot.config.timeouts.handshake);
        let wake_at = handshake.wake_at();
        entry.insert(Slot {
            phase: Phase::Handshake(Box::new(handshake)),
            connection: Connection::new(key, incoming, place, snapshot, self.core.ms(now)),
        });
        self.core.counters.accept();
        self.core.sessions += 1;
        self.core.arm(key, wake_at);
    }
}
