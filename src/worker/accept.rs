//! Accepting: a budget a turn, a ceiling, and a pause by timer when the kernel has no descriptor to give. Who has stood too
//! long to be served in time is reset instead ([`super::queue_watch`]).

use std::sync::Arc;

use super::Worker;
use super::acceptance::Accepting;
use super::connection::Connection;
use super::errno::ends_one_connection;
use super::handshake::Handshake;
use super::header_due::HeaderDue;
use super::proxied::place_of;
use super::queue_watch::QueueVerdict;
use super::queues::InHand;
use super::slot::{Phase, Slot};
use super::snapshot::Snapshot;
use super::tokens::{CLIENT_SOCKET, Key};
use super::watch::watch_stream;
use crate::limits;
use crate::observe::{Counted, DenialCause, ShedCause};
use crate::outcome::Reason;
use crate::policy::Incoming;
use crate::session::Failure;
use crate::sys::Errno;
use crate::sys::stream::Stream;

/// What came of taking a connection from a listener.
enum TakenClient {
    /// One, from this listener.
    One(usize, Stream, Incoming),
    /// None, but another may be had.
    Missed,
    /// None, and none can be had for now.
    Nothing,
}

impl Worker {
    /// Takes what is queued, within this turn's budget, and closes listeners that go and have nothing more to give.
    pub(super) fn accept(&mut self) {
        self.accept_some();
        self.mind_queues();
        self.acceptance.close_emptied(self.core.now, &self.core.registry);
    }

    fn accept_some(&mut self) {
        if !self.acceptance.eager(self.core.now) {
            return;
        }
        self.acceptance.paused_until = None;
        if !self.may_take() {
            return;
        }
        let (mut accepts, mut sheds) = (limits::ACCEPTS_PER_TURN, limits::SHEDS_PER_TURN);
        while accepts > 0 && sheds > 0 {
            if accepts <= limits::ACCEPTS_PER_TURN - limits::ACCEPTS_PER_TURN_MIN && self.is_turn_long() {
                break;
            }
            if self.core.full() && !self.make_room() {
                return self.wait_for_room();
            }
            match self.take_one() {
                TakenClient::One(at, client, incoming) => {
                    let first = accepts == limits::ACCEPTS_PER_TURN && sheds == limits::SHEDS_PER_TURN;
                    match self.judge(at, &client, first) {
                        QueueVerdict::Serve => match self.admit_from(at, client, incoming) {
                            true => accepts -= 1,
                            // It cost as little as one that is reset: a source past its limit takes nobody's turn.
                            false => sheds -= 1,
                        },
                        QueueVerdict::Shed => {
                            sheds -= 1;
                            self.shed(&client, ShedCause::Queue);
                        }
                    }
                }
                TakenClient::Missed => accepts -= 1,
                TakenClient::Nothing => return,
            }
        }
        self.acceptance.turn_on();
    }

    /// Whether one that was taken is served. How long it stood is asked of the first of a turn, who has stood the longest,
    /// where the queue has not been empty for so long that this may be too long, and of everybody where more come than are
    /// served: otherwise nobody has to be asked.
    fn judge(&mut self, at: usize, client: &Stream, first: bool) -> QueueVerdict {
        let here = &mut self.acceptance.listeners[at];
        let asks = first && here.asks(self.core.now) || here.queue.is_overloaded();
        let (queue, socket) = (&mut here.queue, &here.socket);
        let verdict = match asks.then(|| client.queued()).flatten() {
            Some(queued) => queue.judge(queued, self.core.now, || socket.waiting()),
            None => QueueVerdict::Serve,
        };
        if verdict == QueueVerdict::Serve {
            queue.serve();
        }
        verdict
    }

    /// Gives queues the places that they are to have by what was served.
    fn mind_queues(&mut self) {
        let (now, most) = (self.core.now, self.core.snapshot.config.server.backlog);
        if !self.acceptance.set_places(now, most) {
            return;
        }
        self.core.counters.set(Counted::ShortQueues, self.acceptance.overload.queues as u64);
        if let Some(places) = self.acceptance.says_narrowed(now) {
            let worker = self.core.number;
            tracing::warn!(worker, places, "more clients come than are served: their queue is kept short");
        }
    }

    /// Resets a connection before anything is read.
    pub(super) fn shed(&mut self, client: &Stream, cause: ShedCause) {
        // Nothing was read of it and nothing is owed: no TIME_WAIT of ours for it either.
        client.reset_on_close();
        self.core.counters.count(Counted::Shed(cause));
        if let Some(count) = self.acceptance.overload.shed(cause, self.core.now) {
            let (worker, cause) = (self.core.number, cause.name());
            tracing::warn!(worker, cause, count, "reset connections that had waited too long");
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

    /// No connection is taken for want of places: the first of each queue is in hand, and reset once it has waited too long.
    fn wait_for_room(&mut self) {
        let (now, cause, mut sheds) = (self.core.now, self.core.shed_cause(), limits::SHEDS_PER_TURN);
        // Before anybody is reset: who is in hand is known to wait.
        for at in 0..self.acceptance.listeners.len() {
            self.take_in_hand(at);
        }
        self.say_full();
        for at in 0..self.acceptance.listeners.len() {
            while self.take_in_hand(at) && sheds > 0 {
                let Some(one) = self.acceptance.listeners[at].in_hand.take_if(|one| one.until <= now) else {
                    break;
                };
                sheds -= 1;
                self.shed(&one.client, cause);
            }
        }
    }

    /// Whether one of this listener is in hand, who is taken where nobody was.
    fn take_in_hand(&mut self, at: usize) -> bool {
        while self.acceptance.may_take_in_hand(at) {
            if let TakenClient::One(_, client, incoming) = self.take_from(at) {
                let one = InHand::of(client, incoming.client, self.core.now);
                self.acceptance.listeners[at].in_hand = one;
            }
        }
        self.acceptance.listeners[at].in_hand.is_some()
    }

    /// Says once a minute that connections wait for a place.
    fn say_full(&mut self) {
        if let Some(waiting) = self.acceptance.waiting_at_ceiling(self.core.now) {
            let (worker, sessions) = (self.core.number, self.slots.len());
            tracing::warn!(worker, sessions, waiting, "as many sessions as there may be: connections wait");
        }
    }

    /// Takes one connection from the next listener that has one, the one in hand first.
    fn take_one(&mut self) -> TakenClient {
        let Some(at) = self.acceptance.next_ready() else { return TakenClient::Nothing };
        let here = &mut self.acceptance.listeners[at];
        match here.in_hand.take() {
            Some(InHand { client, peer, .. }) => {
                TakenClient::One(at, client, Incoming { client: peer, listener: here.number })
            }
            None => self.take_from(at),
        }
    }

    /// Takes one connection from a listener's queue.
    fn take_from(&mut self, at: usize) -> TakenClient {
        let here = &mut self.acceptance.listeners[at];
        match here.socket.accept() {
            Ok((client, peer)) => {
                let peer = peer.unwrap_or(limits::UNIX_CLIENT);
                TakenClient::One(at, client, Incoming { client: peer, listener: here.number })
            }
            Err(Errno::EAGAIN) => {
                here.note_empty(self.core.now);
                TakenClient::Missed
            }
            Err(errno) if ends_one_connection(errno) => TakenClient::Missed,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, or anything that may be there to stay.
            Err(errno) => {
                if let Errno::EMFILE | Errno::ENFILE = errno {
                    self.shed_by_reserve(at);
                }
                self.pause_accepting(errno);
                TakenClient::Nothing
            }
        }
    }

    /// Begins a session of one that came by this listener; whether there is one.
    fn admit_from(&mut self, at: usize, client: Stream, incoming: Incoming) -> bool {
        let Accepting { leaving, .. } = &self.acceptance.listeners[at];
        match leaving {
            Some(leaving) => self.admit_under(Arc::clone(&leaving.snapshot), client, incoming),
            None => self.admit(client, incoming),
        }
    }

    pub(super) fn admit(&mut self, client: Stream, incoming: Incoming) -> bool {
        self.admit_under(Arc::clone(&self.core.snapshot), client, incoming)
    }

    /// Begins a session that goes by this snapshot; whether there is one.
    fn admit_under(&mut self, snapshot: Arc<Snapshot>, client: Stream, incoming: Incoming) -> bool {
        let now = self.core.now;
        let Some(header_due) = HeaderDue::of(&snapshot, incoming) else {
            self.core.counters.count(Counted::Denied(DenialCause::Listener));
            self.core.tell_refusal(incoming.client.ip(), &Failure::NoBalancer, None);
            client.reset_on_close();
            return false;
        };
        // Whose place it takes the header says.
        let place = match header_due {
            HeaderDue::No => place_of(&mut self.core, &snapshot, incoming.client),
            HeaderDue::Perhaps | HeaderDue::Yes => Ok(None),
        };
        // Nothing was read of it and nothing is owed: no TIME_WAIT of ours for it either.
        let Ok(place) = place else {
            client.reset_on_close();
            return false;
        };
        let entry = self.slots.vacant_entry();
        let key = Key::new(entry.key(), self.core.take_serial());
        if watch_stream(&self.core.registry, key, CLIENT_SOCKET, &client).is_err() {
            tracing::error!("a client cannot be watched and is dropped");
            return false;
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
        true
    }
}
