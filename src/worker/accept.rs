//! Accepting: a budget a turn, a ceiling, and a pause by timer when the kernel has no descriptor to give.

use std::sync::Arc;

use super::Worker;
use super::acceptance::Accepting;
use super::connection::Connection;
use super::errno::{ends_one_connection, pause_cause};
use super::handshake::Handshake;
use super::header_due::HeaderDue;
use super::proxied::place_of;
use super::slot::{Phase, Slot};
use super::snapshot::Snapshot;
use super::tokens::{CLIENT_SOCKET, Key};
use super::watch::watch_stream;
use crate::limits;
use crate::observe::{Counted, DenialCause};
use crate::outcome::Reason;
use crate::policy::Incoming;
use crate::session::Failure;
use crate::sys::Errno;
use crate::sys::stream::Stream;

impl Worker {
    /// Takes what is queued, within this turn's budget, and closes listeners that go and have nothing more to give.
    pub(super) fn accept(&mut self) {
        self.accept_some();
        self.acceptance.close_emptied(self.core.now, &self.core.registry);
    }

    fn accept_some(&mut self) {
        if !self.acceptance.eager(self.core.now) {
            return;
        }
        self.acceptance.paused_until = None;
        for _ in 0..limits::ACCEPTS_PER_TURN {
            if self.core.full() && !self.make_room() {
                return self.say_full();
            }
            if !self.accept_one() {
                return;
            }
        }
    }

    /// Closes an idle connection to a parent, or one that is kept for another request, one of each in turn: who comes goes before who may come again.
    fn make_room(&mut self) -> bool {
        if self.core.spare_warm() {
            return true;
        }
        let (places, begin) = (self.slots.capacity(), self.made_room_at);
        let turn = (begin..places).chain(0..begin.min(places));
        let kept = (self.core.kept > 0)
            .then_some(turn)
            .into_iter()
            .flatten()
            .find(|at| self.slots.get(*at).is_some_and(|slot| !slot.phase.is_session()));
        if let Some(at) = kept {
            self.made_room_at = at + 1;
            self.close(at, Reason::Completed);
        }
        kept.is_some()
    }

    /// No connection is taken for want of places.
    fn say_full(&mut self) {
        if let Some(waiting) = self.acceptance.waiting_at_ceiling(self.core.now) {
            let (worker, sessions) = (self.core.number, self.slots.len());
            tracing::warn!(worker, sessions, waiting, "as many sessions as there may be: connections wait");
        }
    }

    /// Takes one connection from the next listener that has one. False when none has.
    fn accept_one(&mut self) -> bool {
        let Some(at) = self.acceptance.next_ready() else { return false };
        let Accepting { number, socket, leaving, .. } = &self.acceptance.listeners[at];
        match socket.accept() {
            Ok((client, peer)) => {
                let peer = peer.unwrap_or(limits::UNIX_CLIENT);
                let incoming = Incoming { client: peer, listener: *number };
                match leaving {
                    Some(leaving) => self.admit_under(Arc::clone(&leaving.snapshot), client, incoming),
                    None => self.admit(client, incoming),
                }
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
        self.admit_under(Arc::clone(&self.core.snapshot), client, incoming);
    }

    /// Begins a session that goes by this snapshot.
    fn admit_under(&mut self, snapshot: Arc<Snapshot>, client: Stream, incoming: Incoming) {
        let now = self.core.now;
        let Some(header_due) = HeaderDue::of(&snapshot, incoming) else {
            self.core.counters.count(Counted::Denied(DenialCause::Listener));
            self.core.tell_refusal(incoming.client.ip(), &Failure::NoBalancer, None);
            return client.reset_on_close();
        };
        // Whose place it takes the header says.
        let place = match header_due {
            HeaderDue::No => place_of(&mut self.core, &snapshot, incoming.client),
            HeaderDue::Perhaps | HeaderDue::Yes => Ok(None),
        };
        // Nothing was read of it and nothing is owed: no TIME_WAIT of ours for it either.
        let Ok(place) = place else { return client.reset_on_close() };
        let entry = self.slots.vacant_entry();
        let key = Key::new(entry.key(), self.core.take_serial());
        if watch_stream(&self.core.registry, key, CLIENT_SOCKET, &client).is_err() {
            tracing::error!("a client cannot be watched and is dropped");
            return;
        }
        let handshake = Handshake::new((client, header_due), incoming, now, &snapshot);
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
