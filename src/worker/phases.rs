//! What an event, a timer or an answer means to a session in the phase that it is in, and how it goes from one phase to
//! the next.

use super::core::Core;
use super::dial::Dial;
use super::slot::{Fate, Next, Phase, Slot, Waits};
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::limits;
use crate::outcome::Reason;
use crate::relay::{Relay, Side};
use crate::session::{Command, Input};
use crate::shares::Source;
use std::ops::ControlFlow;
use std::sync::Arc;

impl Core {
    /// An event of one of a session's sockets.
    pub(super) fn event(&mut self, slot: &mut Slot, socket_index: u8, edge: Edge) -> Fate {
        self.turn.streams |= !matches!(slot.phase, Phase::Association(_));
        match &slot.phase {
            Phase::Handshake(_) if socket_index == CLIENT_SOCKET => self.client_event(slot, edge),
            Phase::Handshake(handshake) if handshake.listens() => self.accept_peer(slot),
            Phase::Handshake(_) => self.dial_event(slot, socket_index, edge),
            Phase::Relay(_) => self.relay_event(slot, socket_index, edge),
            Phase::Association(_) => self.association_event(slot, socket_index, edge),
            Phase::Linger(_) => self.linger_event(slot),
        }
    }

    /// A session that had more to do.
    pub(super) fn resume(&mut self, slot: &mut Slot) -> Fate {
        match &slot.phase {
            Phase::Handshake(handshake) if handshake.listens() => self.accept_peer(slot),
            Phase::Handshake(handshake) if handshake.session.wants_bytes() => self.advance(slot, Next::Read),
            Phase::Handshake(_) => Fate::Keep,
            Phase::Relay(_) => self.drive(slot),
            Phase::Association(_) => self.resume_association(slot),
            Phase::Linger(_) => self.linger_event(slot),
        }
    }

    /// A session's timer fired; it may be early.
    pub(super) fn timer(&mut self, slot: &mut Slot) -> Fate {
        match &slot.phase {
            Phase::Handshake(_) => self.handshake_timer(slot),
            Phase::Relay(_) => self.relay_timer(slot),
            Phase::Association(_) => self.association_timer(slot),
            Phase::Linger(_) => self.linger_timer(slot),
        }
    }

    pub(super) fn resume_search(&mut self, slot: &mut Slot, tries: &mut usize) -> Fate {
        let next = match &slot.phase {
            Phase::Handshake(handshake) => match &handshake.waits_for {
                Waits::Listener(_) => self.seek_listener(slot, tries),
                Waits::Front(_) => self.seek_front(slot, tries),
                _ => return Fate::Keep,
            },
            Phase::Relay(_) | Phase::Association(_) | Phase::Linger(_) => return Fate::Keep,
        };
        self.advance(slot, next)
    }

    /// Goes on until the session waits for something or is over.
    pub(super) fn advance(&mut self, slot: &mut Slot, mut next: Next) -> Fate {
        let mut reads = 0;
        loop {
            let step = match (next, &mut slot.phase) {
                // Whatever the phase is by now: the next one may have begun and ended in this very turn.
                (Next::End(fate), _) => return fate,
                (Next::Wait, Phase::Handshake(handshake)) => {
                    let wake_at = handshake.wake_at();
                    self.arm(slot.key, wake_at);
                    return Fate::Keep;
                }
                (Next::Input(input), Phase::Handshake(handshake)) => {
                    handshake.waits_for = Waits::Bytes;
                    handshake.session.handle(input, &self.rules)
                }
                (Next::Tell(input), Phase::Handshake(handshake)) => {
                    handshake.session.handle(input, &self.rules)
                }
                (Next::Read, Phase::Handshake(_)) if reads == limits::HANDSHAKE_READS_PER_TURN => {
                    // Empty sealed messages come to no request, however many there are.
                    self.enqueue(slot);
                    return Fate::Keep;
                }
                (Next::Read, Phase::Handshake(handshake)) => {
                    let Some(client) = &slot.client else { return Fate::Close(Reason::Internal) };
                    reads += 1;
                    match self.read(handshake, client, slot.peer.ip()) {
                        ControlFlow::Continue(step) => step,
                        ControlFlow::Break(fate) => return fate,
                    }
                }
                (_, Phase::Relay(_) | Phase::Association(_) | Phase::Linger(_)) => return Fate::Keep,
            };
            if !self.send(slot, &step.output) {
                return Fate::Close(Reason::ClientReset);
            }
            next = self.perform(slot, step.command);
        }
    }

    fn perform(&mut self, slot: &mut Slot, command: Command) -> Next {
        if command.serves_request()
            && let Some(failure) = self.refusal(slot)
        {
            return Next::End(self.refuse(slot, &failure));
        }
        match command {
            Command::Read => Next::Read,
            Command::Verify(credentials) => self.verify(slot, Arc::new(credentials), true),
            Command::Establish(token) => {
                let Phase::Handshake(handshake) = &mut slot.phase else { return Next::Wait };
                let context = handshake.context.take();
                self.establish(slot, context, token)
            }
            Command::Resolve(name) => {
                self.enter(slot, slot.snapshot.config.timeouts.dns + limits::DNS_SLACK, Waits::Addresses);
                let client = slot.peer.ip().into();
                match self.lookups.lookup(name.as_str(), client, slot.key.ticket(), &self.registry, self.now)
                {
                    Some(answer) => {
                        slot.times.dns_ms = Some(0);
                        Next::Input(Input::Resolved(answer))
                    }
                    None => Next::Wait,
                }
            }
            Command::Dial(addresses) => {
                slot.address = addresses.first().copied();
                let deadline = self.now + slot.snapshot.config.timeouts.connect;
                let second = self.pools.second_attempts.nothing(Source::from(slot.peer.ip()));
                let mut dial = Box::new(Dial::new(addresses, slot.snapshot.congestion, deadline, second));
                let started = dial.start_next(&self.registry, slot.key, self.now);
                self.enter(slot, slot.snapshot.config.timeouts.connect, Waits::Connection(dial));
                match started {
                    Ok(()) => Next::Wait,
                    Err(error) => Next::Input(self.dial_failed(error)),
                }
            }
            Command::Bind(peers) => self.bind(slot, peers),
            Command::Accept => Next::Wait,
            Command::Relay => Next::End(self.begin_relay(slot)),
            Command::Associate(announced) => self.associate(slot, announced),
            Command::Datagrams => Next::End(self.begin_association(slot)),
            Command::Close(failure) => {
                tracing::debug!(client = %slot.peer, %failure, "session refused");
                Next::End(self.part(slot, &failure))
            }
        }
    }

    /// The handshake's memory goes, the relay begins with what its edges promised.
    fn begin_relay(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        let seal = handshake.session.take_seal();
        let pending = handshake.session.pending();
        let mut relay = match seal {
            Some((seal, begun)) => Relay::sealed(pending, seal, begun, &mut self.kit),
            None => Relay::new(slot.snapshot.config.server.relay, pending, &mut self.kit),
        };
        relay.event(Side::Client, handshake.edges);
        slot.facts = handshake.session.take_facts();
        slot.phase = Phase::Relay(relay);
        slot.times.active_ms = self.ms(self.now);
        self.arm_relay(slot);
        self.drive(slot)
    }
}
