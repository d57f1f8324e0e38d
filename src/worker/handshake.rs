//! Sessions that shake hands: reads what the session wants, performs what it commands, feeds the answers back.

use super::core::Core;
use super::slot::{Fate, Handshake, Next, Phase, Slot, Waits, since};
use super::watch::Edge;
use crate::auth::Identity;
use crate::limits;
use crate::observe::{Counted, record_room};
use crate::outcome::Reason;
use crate::relay::Side;
use crate::session::{Command, DialError, Failure, Input, Step};
use crate::shares::{Pool, Source};
use crate::sys::stream::Stream;
use crate::sys::{Read, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::Duration;
use zeroize::Zeroize;

/// What a read of the client's handshake bytes gave.
enum Bytes {
    Some(usize),
    NoneYet,
    Left(Failure),
}

impl Core {
    /// An event of the client's socket before the relay.
    pub(super) fn client_event(&mut self, slot: &mut Slot, edge: Edge) -> Fate {
        let (Phase::Handshake(handshake), Some(client)) = (&mut slot.phase, &slot.client) else {
            return Fate::Keep;
        };
        handshake.edges.readable |= edge.readable;
        handshake.edges.fin |= edge.fin;
        handshake.edges.failed |= edge.failed;
        handshake.edges.urgent |= edge.urgent;
        if edge.failed && client.take_error().is_some() {
            return Fate::Close(Reason::ClientReset);
        }
        if handshake.session.wants_bytes() {
            return self.advance(slot, Next::Read);
        }
        if edge.fin && handshake.is_left_by_fin(client) {
            if handshake.authenticates() {
                // No request can follow: what is verified for it need not be.
                return Fate::Close(Reason::ClientLeft);
            }
            handshake.left_at.get_or_insert(self.now + limits::LEFT_GRACE);
            let wake_at = handshake.wake_at();
            self.arm(slot.key, wake_at);
        }
        Fate::Keep
    }

    /// An event of one of the connect attempts.
    pub(super) fn dial_event(&mut self, slot: &mut Slot, socket_index: u8, edge: Edge) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        let Waits::Connection(dial) = &mut handshake.waits_for else { return Fate::Keep };
        if !dial.has(socket_index) {
            return Fate::Keep;
        }
        match dial.event(socket_index, edge, &self.rules.policy, &self.registry, self.now, slot.key) {
            Ok(None) => {
                let wake_at = handshake.wake_at();
                self.arm(slot.key, wake_at);
                Fate::Keep
            }
            Ok(Some(won)) => {
                slot.times.connect_ms = Some(since(handshake.phase_began, self.now));
                slot.upstream = Some(won.stream);
                slot.upstream_index = won.socket_index;
                slot.address = Some(won.dialed.address);
                slot.local = Some(won.dialed.local);
                let fate = self.advance(slot, Next::Input(Input::Dialed(Ok(won.dialed))));
                if fate == Fate::Keep && edge.readable && matches!(slot.phase, Phase::Relay(_)) {
                    return self.relay_event(slot, socket_index, edge);
                }
                fate
            }
            Err(error) => self.advance(slot, Next::Input(self.dial_failed(error))),
        }
    }

    /// The answer to something that the session asked for.
    pub(super) fn answer(&mut self, slot: &mut Slot, input: Input<'static>) -> Fate {
        let Phase::Handshake(handshake) = &slot.phase else { return Fate::Keep };
        if let Input::Resolved(_) = input {
            if !matches!(handshake.waits_for, Waits::Addresses) {
                return Fate::Keep;
            }
            slot.times.dns_ms = Some(since(handshake.phase_began, self.now));
        }
        self.advance(slot, Next::Input(input))
    }

    pub(super) fn handshake_timer(&mut self, slot: &mut Slot) -> Fate {
        let now = self.now;
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        if handshake.left_at.is_some_and(|at| at <= now) {
            return Fate::Close(Reason::ClientLeft);
        }
        if handshake.deadline <= now {
            return self.deadline(slot);
        }
        match std::mem::replace(&mut handshake.waits_for, Waits::Bytes) {
            Waits::Penalty { until } if until <= now => {
                self.advance(slot, Next::Input(Input::Verified(None)))
            }
            Waits::Retry { credentials, at } if at <= now => {
                // The answer may be known by now: then the session reads on, and only this timer bounds it.
                let deadline = handshake.deadline;
                self.arm(slot.key, deadline);
                let next = self.verify(slot, credentials, false);
                self.advance(slot, next)
            }
            Waits::RetryContext { context, token, at } if at <= now => {
                let next = self.establish(slot, Some(context), token);
                self.advance(slot, next)
            }
            Waits::Connection(mut dial) if dial.next_at().is_some_and(|at| at <= now) => {
                let started = dial.start_next(&self.registry, slot.key, now);
                handshake.waits_for = Waits::Connection(dial);
                match started {
                    Ok(()) => self.advance(slot, Next::Wait),
                    Err(error) => self.advance(slot, Next::Input(self.dial_failed(error))),
                }
            }
            Waits::Peer(listening) if listening.retry_at().is_some_and(|at| at <= now) => {
                handshake.waits_for = Waits::Peer(listening);
                self.accept_peer(slot)
            }
            waits => {
                handshake.waits_for = waits;
                self.advance(slot, Next::Wait)
            }
        }
    }

    /// The time of the present phase is up.
    fn deadline(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        match &handshake.waits_for {
            Waits::Connection(_) => {
                let input = Input::Dialed(Err(DialError::TimedOut));
                self.advance(slot, Next::Input(input))
            }
            Waits::Peer(_) => {
                let input = Input::Accepted(Err(DialError::NobodyCame));
                self.advance(slot, Next::Input(input))
            }
            Waits::Listener(_) => {
                let input = Input::Bound(Err(DialError::NobodyCame));
                self.advance(slot, Next::Input(input))
            }
            Waits::Addresses => {
                let ticket = slot.key.ticket();
                self.lookups.cancel(ticket, &self.registry, self.now);
                let input = Input::Resolved(Err(crate::dns::DnsError::Timeout));
                self.advance(slot, Next::Input(input))
            }
            _ => self.refuse(slot, &Failure::HandshakeTimeout),
        }
    }

    /// Hands the session what the client sent, if it has sent anything.
    pub(super) fn read(
        &self,
        handshake: &mut Handshake,
        client: &Stream,
        peer: IpAddr,
    ) -> ControlFlow<Fate, Step> {
        if !may_hold(&self.pools.half_messages, peer, handshake) {
            let failure = Failure::Internal("handshakes from there hold as much as they may");
            let output = handshake.session.give_up(&failure);
            return ControlFlow::Continue(Step { output, command: Command::Close(failure) });
        }
        let mut buffer = [0; limits::HANDSHAKE_READ_BYTES];
        match read(handshake, |buffer| client.recv(buffer), &mut buffer) {
            Bytes::Some(count) => {
                let step = handshake.session.handle(Input::Bytes(&buffer[..count]), &self.rules);
                // They may be a password.
                buffer[..count].zeroize();
                ControlFlow::Continue(step)
            }
            Bytes::NoneYet => {
                // Half a message: Nagle's algorithm may hold the rest back until this is acknowledged.
                if handshake.session.has_pending() {
                    client.acknowledge();
                }
                ControlFlow::Break(Fate::Keep)
            }
            Bytes::Left(failure) => ControlFlow::Break(Fate::Close(failure.reason())),
        }
    }

    /// Whether a session that made its request may go on: its record has room, where it must have.
    fn may_be_recorded(&mut self, slot: &mut Slot) -> bool {
        let Phase::Handshake(handshake) = &slot.phase else { return true };
        if !self.records.reserves() || slot.record_room > 0 {
            return true;
        }
        let facts = handshake.session.facts();
        let user = facts.identity.as_ref().and_then(Identity::user).map(|user| &**user);
        let room = record_room(user.or(facts.claimed_user.as_deref()), facts.target.as_ref());
        let had = self.records.reserve(room);
        if had {
            slot.record_room = u16::try_from(room).unwrap_or(u16::MAX);
        }
        had
    }

    /// Why a session is not to go on past its request, though its protocol would.
    pub(super) fn refusal(&mut self, slot: &mut Slot) -> Option<Failure> {
        if !slot.place.as_mut().is_none_or(|place| place.become_session()) {
            self.counters.count(Counted::SourceRefused);
            return Some(Failure::SourceLimit);
        }
        if !self.may_be_recorded(slot) {
            self.counters.count(Counted::RefusedUnrecorded);
            return Some(Failure::Unrecorded);
        }
        None
    }

    /// A phase that has a time limit of its own begins.
    pub(super) fn enter(&mut self, slot: &mut Slot, limit: Duration, waits_for: Waits) {
        let (Phase::Handshake(handshake), Some(client)) = (&mut slot.phase, &slot.client) else { return };
        if slot.times.handshake_ms.is_none() {
            slot.times.handshake_ms = Some(since(handshake.accepted, self.now));
        }
        handshake.phase_began = self.now;
        handshake.deadline = self.now + limit;
        handshake.waits_for = waits_for;
        // A FIN that came before this phase has had its event.
        if handshake.edges.fin && handshake.is_left_by_fin(client) {
            handshake.left_at.get_or_insert(self.now + limits::LEFT_GRACE);
        }
    }

    pub(super) fn dial_failed(&self, error: DialError) -> Input<'static> {
        if error == DialError::NoLocalPort {
            self.counters.count(Counted::NoLocalPort);
        }
        Input::Dialed(Err(error))
    }

    /// Sends handshake bytes. They are few: a socket that has no room for them is not being read.
    pub(super) fn send(&self, slot: &Slot, output: &[u8]) -> bool {
        if output.is_empty() {
            return true;
        }
        let Some(client) = &slot.client else { return false };
        matches!(client.send(output), Write::Bytes(count) if count == output.len())
    }

    /// Ends a session for a cause that lies outside its protocol, with what its client is owed.
    pub(super) fn refuse(&mut self, slot: &mut Slot, failure: &Failure) -> Fate {
        if let Phase::Handshake(handshake) = &mut slot.phase {
            let output = handshake.session.give_up(failure);
            self.send(slot, &output);
        }
        tracing::debug!(client = %slot.peer, %failure, "session refused");
        self.part(slot, failure)
    }

    /// A failed session: FIN behind its last words, and a moment for them to arrive.
    pub(super) fn part(&mut self, slot: &mut Slot, failure: &Failure) -> Fate {
        self.refusals.note(slot.peer.ip(), failure, self.now);
        if let Phase::Handshake(handshake) = &mut slot.phase {
            slot.facts = handshake.session.take_facts();
        }
        slot.upstream = None;
        if let Some(client) = &slot.client {
            client.shut_down_writing();
        }
        self.linger(slot, Side::Client, failure.reason(), limits::LINGER)
    }
}

/// Whether a handshake may wait for the rest of a message with what it holds of it.
fn may_hold(pool: &Pool, from: IpAddr, handshake: &mut Handshake) -> bool {
    let bytes = handshake.session.held_bytes();
    if bytes <= limits::HANDSHAKE_HELD_FREE {
        handshake.held = None;
        return true;
    }
    handshake.held.get_or_insert_with(|| pool.nothing(Source::from(from))).is_now(bytes)
}

/// Reads what the client sent, as far as its edges promise anything.
fn read(handshake: &mut Handshake, recv: impl FnOnce(&mut [u8]) -> Read, buffer: &mut [u8]) -> Bytes {
    let edges = &mut handshake.edges;
    if !edges.readable {
        // Everything before the FIN was read, and no request came of it.
        return if edges.fin { Bytes::Left(Failure::ClientLeft) } else { Bytes::NoneYet };
    }
    match recv(buffer) {
        Read::Bytes(count) => {
            edges.readable = count == buffer.len() || edges.urgent || edges.failed;
            Bytes::Some(count)
        }
        Read::Blocked => {
            edges.readable = false;
            Bytes::NoneYet
        }
        Read::End => Bytes::Left(Failure::ClientLeft),
        Read::Failed(_) => Bytes::Left(Failure::ClientReset),
    }
}
