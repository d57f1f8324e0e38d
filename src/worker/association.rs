//! Sessions that relay datagrams: opens their sockets, watches them, asks for names, ends them with their control
//! connection (RFC 1928 section 7).

use super::core::Core;
use super::errno::associate_error;
use super::ports::PortSearch;
use super::slot::{Fate, Next, Phase, Slot, Waits, since};
use super::tokens::CLIENT_SOCKET;
use super::watch::{Edge, watch};
use crate::config::Config;
use crate::dns::Answer;
use crate::limits;
use crate::outcome::Reason;
use crate::relay::datagram::{Association, Expected, Family, Pumped, Tally, World};
use crate::session::{Announced, AssociateError, Input};
use crate::shares;
use crate::sys::stream::Stream;
use crate::sys::udp::DatagramSocket;
use crate::sys::{Errno, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The socket indices of an association's sockets.
const FRONT_SOCKET: u8 = 1;
const TARGET_SOCKETS: [u8; 2] = [2, 3];

/// A client-facing socket that is looked for, where the control connection ends.
#[derive(Debug)]
pub(super) struct FrontSearch {
    here: IpAddr,
    expected: Expected,
    search: PortSearch,
}

impl Core {
    /// Looks for the client-facing socket.
    pub(super) fn associate(&mut self, slot: &mut Slot, announced: Announced) -> Next {
        let search = match self.begin_search(slot, announced) {
            Ok(search) => Box::new(search),
            Err(error) => return Next::Input(Input::Associated(Err(error))),
        };
        let Phase::Handshake(handshake) = &mut slot.phase else { return Next::Wait };
        handshake.waits_for = Waits::Front(search);
        let mut tries = limits::PORT_TRIES_AT_ONCE;
        self.seek_front(slot, &mut tries)
    }

    fn begin_search(&self, slot: &Slot, announced: Announced) -> Result<FrontSearch, AssociateError> {
        let here = slot.client.as_ref().map_or(Err(Errno::ENOTCONN), Stream::local_address);
        let here = here.map_err(|errno| AssociateError::Local(errno as i32))?;
        let ip = announced.ip.unwrap_or(slot.peer.ip().to_canonical());
        if ip.is_ipv4() != here.ip().to_canonical().is_ipv4() {
            return Err(AssociateError::Family);
        }
        let expected = Expected { ip, port: announced.port };
        Ok(FrontSearch {
            here: here.ip(),
            expected,
            search: PortSearch::new(here, slot.snapshot.config.udp.ports),
        })
    }

    /// Opens the client-facing socket and tells the session where the client is to send its datagrams, or goes on in the
    /// next turn.
    pub(super) fn seek_front(&mut self, slot: &mut Slot, tries: &mut usize) -> Next {
        let full = self.full();
        let Phase::Handshake(handshake) = &mut slot.phase else { return Next::Wait };
        let Waits::Front(search) = &mut handshake.waits_for else { return Next::Wait };
        let bind = |at| DatagramSocket::bind(at, limits::UDP_RECEIVE_BUFFER_BYTES);
        let found = match full {
            true => Err(AssociateError::Full),
            false => match search.search.go_on(tries, bind) {
                Some(found) => found.map_err(associate_error),
                None => {
                    self.searches.push(slot.peer.ip().into(), slot.key);
                    return Next::Wait;
                }
            },
        };
        let (here, expected) = (search.here, search.expected);
        let told = found.and_then(|front| self.found_front(slot, here, expected, front));
        Next::Input(Input::Associated(told))
    }

    /// The association for what was opened; where the client is to send.
    fn found_front(
        &self,
        slot: &mut Slot,
        here: IpAddr,
        expected: Expected,
        front: DatagramSocket,
    ) -> Result<SocketAddr, AssociateError> {
        let at = front.local_address().map_err(|errno| AssociateError::Local(errno as i32))?;
        let Phase::Handshake(handshake) = &mut slot.phase else { return Err(AssociateError::Local(0)) };
        let source = shares::Source::from(slot.peer.ip());
        let held = self.pools.datagrams.nothing(source);
        let mut association = Association::new(expected, front, at, &self.own_ports, held);
        if slot.snapshot.config.log.udp_targets && self.records.wanted() {
            association.count_targets(Tally::new(self.pools.targets.nothing(source)));
        }
        handshake.association = Some(Box::new(association));
        Ok(SocketAddr::new(slot.snapshot.config.udp.advertise.instead_of(here), at.port()))
    }

    /// The reply is out: datagrams may come.
    pub(super) fn begin_association(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        let Some(mut association) = handshake.association.take() else {
            return Fate::Close(Reason::Internal);
        };
        if let Some((seal, _)) = handshake.session.take_seal() {
            association.seal(seal);
        }
        let edges = handshake.edges;
        slot.times.handshake_ms = Some(since(handshake.accepted, self.now));
        slot.facts = handshake.session.take_facts();
        if !watch(&self.registry, slot.key, FRONT_SOCKET, association.front()) {
            return Fate::Close(Reason::Internal);
        }
        slot.phase = Phase::Association(association);
        slot.times.active_ms = self.ms(self.now);
        self.associations += 1;
        self.counters.associations(self.associations);
        self.arm(slot.key, self.now + slot.snapshot.config.timeouts.udp_idle);
        // What the client sent behind its request is nothing, but its end is an end.
        if edges.readable || edges.fin || edges.failed { self.control_event(slot) } else { Fate::Keep }
    }

    pub(super) fn association_event(&mut self, slot: &mut Slot, socket_index: u8, edge: Edge) -> Fate {
        if socket_index == CLIENT_SOCKET {
            return self.control_event(slot);
        }
        let Phase::Association(association) = &mut slot.phase else { return Fate::Keep };
        if !edge.readable {
            return Fate::Keep;
        }
        match Family::ALL.into_iter().find(|family| TARGET_SOCKETS[*family as usize] == socket_index) {
            Some(family) => association.target_ready(family),
            None => association.front_ready(),
        }
        self.pump_association(slot)
    }

    /// Moves datagrams, and does what that asks for.
    pub(super) fn pump_association(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Association(association) = &mut slot.phase else { return Fate::Keep };
        let mut kit = self.datagrams.take().unwrap_or_default();
        let pumped = association.pump(&mut kit, &self.world(&slot.snapshot.config));
        self.note_pumped(slot, &pumped);
        for (lookup, name) in std::mem::take(&mut kit.asks) {
            let ticket = slot.key.lookup_ticket(lookup);
            let client = slot.peer.ip().into();
            if let Some(answer) =
                self.lookups.lookup_beside(name.as_str(), client, ticket, &self.registry, self.now)
                && let Phase::Association(association) = &mut slot.phase
            {
                let pumped =
                    association.resolved(lookup, answer, &mut kit, &self.world(&slot.snapshot.config));
                self.note_pumped(slot, &pumped);
            }
        }
        self.datagrams = Some(kit);
        if pumped.again {
            self.enqueue(slot);
        }
        Fate::Keep
    }

    /// A name that datagrams wait for has an answer.
    pub(super) fn association_answer(&mut self, slot: &mut Slot, lookup: u8, answer: Answer) -> Fate {
        let Phase::Association(association) = &mut slot.phase else { return Fate::Keep };
        let mut kit = self.datagrams.take().unwrap_or_default();
        let pumped = association.resolved(lookup, answer, &mut kit, &self.world(&slot.snapshot.config));
        self.datagrams = Some(kit);
        self.note_pumped(slot, &pumped);
        Fate::Keep
    }

    pub(super) fn association_timer(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Association(association) = &mut slot.phase else { return Fate::Keep };
        let now_ms = self.ms(self.now);
        let pumped = association.expire(now_ms);
        let fragments = association.fragments_expire_ms();
        self.counters.datagrams(&pumped);
        let idle_ms = self.idle_ms(slot);
        if idle_ms <= now_ms {
            return Fate::Close(Reason::Idle);
        }
        let next_ms = fragments.map_or(idle_ms, |fragments| fragments.min(idle_ms));
        self.arm(slot.key, self.start + Duration::from_millis(next_ms));
        Fate::Keep
    }

    /// What an ending association leaves to its record, and to the others.
    pub(super) fn settle_association(&mut self, slot: &mut Slot) {
        let Phase::Association(association) = &slot.phase else { return };
        for lookup in association.lookups() {
            self.lookups.cancel(slot.key.lookup_ticket(lookup), &self.registry, self.now);
        }
        slot.bytes_up = association.up.bytes;
        slot.bytes_down = association.down.bytes;
        slot.local = Family::ALL
            .into_iter()
            .find_map(|family| association.target(family))
            .and_then(|socket| socket.local_address().ok());
        self.associations -= 1;
        self.counters.associations(self.associations);
    }

    /// A session that had more to do.
    pub(super) fn resume_association(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Association(association) = &mut slot.phase else { return Fate::Keep };
        if std::mem::take(&mut association.control_waits)
            && let Fate::Close(reason) = self.control_event(slot)
        {
            return Fate::Close(reason);
        }
        self.pump_association(slot)
    }

    /// The control connection: what it sends is nothing, its end is the association's.
    fn control_event(&mut self, slot: &mut Slot) -> Fate {
        let Some(client) = &slot.client else { return Fate::Close(Reason::Internal) };
        for _ in 0..limits::PUMP_ROUNDS_MAX {
            match client.recv(self.kit.scratch()) {
                Read::Bytes(_) => {}
                Read::Blocked => return Fate::Keep,
                Read::End => return Fate::Close(Reason::Completed),
                Read::Failed(_) => return Fate::Close(Reason::ClientReset),
            }
        }
        if let Phase::Association(association) = &mut slot.phase {
            association.control_waits = true;
        }
        self.enqueue(slot);
        Fate::Keep
    }

    fn note_pumped(&mut self, slot: &mut Slot, pumped: &Pumped) {
        let Phase::Association(association) = &mut slot.phase else { return };
        for family in association.take_opened() {
            if let Some(socket) = association.target(family)
                && !watch(&self.registry, slot.key, TARGET_SOCKETS[family as usize], socket)
            {
                // Its answers would never be seen: the next datagram opens another.
                association.close_target(family);
            }
        }
        if pumped.up.datagrams + pumped.down.datagrams > 0 {
            slot.times.active_ms = self.ms(self.now);
        }
        self.turn.several |= self.moved_last.replace(slot.key) != Some(slot.key);
        self.turn.datagrams += pumped.up.datagrams + pumped.down.datagrams;
        self.counters.datagrams(pumped);
        if let Some(expires_ms) = association.fragments_expire_ms() {
            // They are no life: the silence around them goes on.
            self.arm(slot.key, self.start + Duration::from_millis(expires_ms.min(self.idle_ms(slot))));
        }
    }

    /// When an association that stays silent ends, in milliseconds of the worker's clock.
    fn idle_ms(&self, slot: &Slot) -> u64 {
        slot.times.active_ms + slot.snapshot.config.timeouts.udp_idle.as_millis() as u64
    }

    fn world(&self, config: &Config) -> World<'_> {
        World {
            guard: self.rules.policy.guard(),
            guard_version: self.rules_version,
            own_ports: &self.own_ports,
            filtering: config.udp.filtering,
            fragments: config.udp.fragments,
            prefer: config.dns.prefer,
            now_ms: self.ms(self.now),
        }
    }
}
