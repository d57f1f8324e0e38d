//! Connections that relay datagrams: watches their sockets, asks for names, and ends them with their control connection
//! (RFC 1928 section 7).

use std::net::SocketAddr;
use std::time::Duration;

use super::answerable::Answerable;
use super::connection::Connection;
use super::core::Core;
use super::learning;
use super::limited;
use super::next::Next;
use super::tokens::{CLIENT_SOCKET, PARENT_SOCKET};
use super::watch::{Edge, watch_datagrams};
use crate::dns::Answer;
use crate::limits;
use crate::outcome::Reason;
use crate::policy::accounts::LimitId;
use crate::proto::request::RequestCommand;
use crate::relay::datagram::{Association, DatagramKit, Family, Pumped, Terms};
use crate::sys::Read;
use crate::sys::stream::Stream;

/// The socket indices of an association's target-facing sockets.
const TARGET_SOCKETS: [u8; 2] = [2, 3];

/// An association and its control connection.
#[derive(Debug)]
pub(super) struct Associated {
    pub(super) association: Box<Association>,
    control: Answerable,
    /// The control connection to the parent that takes its datagrams.
    parent: Option<Stream>,
}

impl Associated {
    /// The client-facing socket is watched already.
    pub(super) fn new(association: Box<Association>, control: Answerable) -> Associated {
        Associated { association, control, parent: None }
    }

    /// The same where a parent takes the datagrams for as long as this is open.
    pub(super) fn beside(self, parent: Option<Stream>) -> Associated {
        Associated { parent, ..self }
    }

    pub(super) fn begin(&mut self, core: &mut Core, connection: &mut Connection, edges: Edge) -> Next {
        connection.times.active_ms = core.ms(core.now);
        core.associations += 1;
        core.counters.associations(core.associations);
        core.arm(connection.key, core.now + connection.snapshot.config.timeouts.udp_idle);
        // It may have ended before this was there to see it.
        if let Next::Close(reason) = self.parent_event(core, connection) {
            return Next::Close(reason);
        }
        // What the client sent behind its request is nothing, but its end is an end.
        match edges.readable || edges.fin || edges.failed || self.control.tls.is_some() {
            true => self.control_event(core, connection),
            false => Next::Wait,
        }
    }

    pub(super) fn event(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        socket_index: u8,
        edge: Edge,
    ) -> Next {
        if socket_index == CLIENT_SOCKET {
            return self.control_event(core, connection);
        }
        if !edge.readable {
            return Next::Wait;
        }
        if socket_index == PARENT_SOCKET {
            return self.parent_event(core, connection);
        }
        match Family::ALL.into_iter().find(|family| TARGET_SOCKETS[*family as usize] == socket_index) {
            Some(family) => self.association.target_ready(family),
            None => self.association.front_ready(),
        }
        self.pump(core, connection)
    }

    /// Moves datagrams, and does what that asks for.
    fn pump(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        let mut kit = core.datagrams.take().unwrap_or_default();
        let pumped = self.association.pump(&mut kit, &terms(core, connection));
        let (pumped, mut spent) = limited::with_stopped(core, connection, pumped);
        self.note(core, connection, &pumped);
        for (lookup, name) in std::mem::take(&mut kit.asks) {
            let (client, ticket) = (connection.peer.ip().into(), connection.key.lookup_ticket(lookup));
            let answer = core.lookups.lookup_beside(name.as_str(), client, ticket, &core.registry, core.now);
            if let Some(answer) = answer {
                core.note_answer(&answer);
                let terms = terms(core, connection);
                let pumped = self.association.resolved(lookup, answer, &mut kit, &terms);
                let (pumped, now_spent) = limited::with_stopped(core, connection, pumped);
                spent = spent.or(now_spent);
                self.note(core, connection, &pumped);
            }
        }
        note_decisions(core, connection, &mut kit);
        core.datagrams = Some(kit);
        self.note_needs(core, connection);
        if let Some(limit) = spent {
            return self.end_spent(core, connection, limit);
        }
        if pumped.again {
            core.enqueue(connection);
        }
        Next::Wait
    }

    /// A quota is used up.
    fn end_spent(&self, core: &Core, connection: &mut Connection, limit: LimitId) -> Next {
        self.reset_on_close();
        limited::end_spent(core, connection, limit)
    }

    /// A name that datagrams wait for has an answer.
    pub(super) fn resolved(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        lookup: u8,
        answer: Answer,
    ) -> Next {
        core.note_answer(&answer);
        let mut kit = core.datagrams.take().unwrap_or_default();
        let terms = terms(core, connection);
        let pumped = self.association.resolved(lookup, answer, &mut kit, &terms);
        let (pumped, spent) = limited::with_stopped(core, connection, pumped);
        note_decisions(core, connection, &mut kit);
        core.datagrams = Some(kit);
        self.note_needs(core, connection);
        self.note(core, connection, &pumped);
        spent.map_or(Next::Wait, |limit| self.end_spent(core, connection, limit))
    }

    fn note_needs(&mut self, core: &mut Core, connection: &Connection) {
        if !self.association.needs.is_empty() {
            learning::sent(core, connection, std::mem::take(&mut self.association.needs));
        }
    }

    pub(super) fn timer(&mut self, core: &mut Core, connection: &Connection) -> Next {
        let now_ms = core.ms(core.now);
        let pumped = self.association.expire(now_ms);
        let fragments = self.association.fragments_expire_ms();
        core.counters.datagrams(&pumped);
        let idle_ms = idle_ms(connection);
        if idle_ms <= now_ms {
            return Next::Close(Reason::Idle);
        }
        let next_ms = fragments.map_or(idle_ms, |fragments| fragments.min(idle_ms));
        core.arm(connection.key, core.start + Duration::from_millis(next_ms));
        Next::Wait
    }

    /// There was more to do than one turn's share.
    pub(super) fn resume(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        if std::mem::take(&mut self.association.control_waits)
            && let Next::Close(reason) = match self.control_event(core, connection) {
                Next::Wait => self.parent_event(core, connection),
                next => next,
            }
        {
            return Next::Close(reason);
        }
        self.pump(core, connection)
    }

    /// The control connection: what it sends is nothing, its end is the association's.
    fn control_event(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        if let Some(reason) = self.hear(&[]) {
            return Next::Close(reason);
        }
        for _ in 0..limits::PUMP_ROUNDS_MAX {
            let buffer = core.kit.scratch();
            let room =
                if self.control.tls.is_some() { limits::TLS_HANDSHAKE_READ_BYTES } else { buffer.len() };
            match self.control.socket.recv(&mut buffer[..room]) {
                Read::Bytes(count) => {
                    if let Some(reason) = self.hear(&buffer[..count]) {
                        return Next::Close(reason);
                    }
                }
                Read::Blocked => return Next::Wait,
                Read::End => return Next::Close(Reason::Completed),
                Read::Failed(_) => return Next::Close(Reason::ClientReset),
            }
        }
        self.association.control_waits = true;
        core.enqueue(connection);
        Next::Wait
    }

    /// The control connection to a parent: as with a client's, what it says is nothing, and its end is the association's.
    fn parent_event(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        let Some(parent) = &self.parent else { return Next::Wait };
        for _ in 0..limits::PUMP_ROUNDS_MAX {
            match parent.recv(core.kit.scratch()) {
                Read::Bytes(_) => {}
                Read::Blocked => return Next::Wait,
                Read::End | Read::Failed(_) => return Next::Close(Reason::ParentFailed),
            }
        }
        self.association.control_waits = true;
        core.enqueue(connection);
        Next::Wait
    }

    /// Takes bytes of the control connection, where they are TLS: why it ends by them, if it does.
    fn hear(&mut self, bytes: &[u8]) -> Option<Reason> {
        let mut replies = Vec::new();
        let heard = self.control.tls.as_mut()?.skip(bytes, &mut replies);
        self.control.send(&replies);
        match heard {
            Ok(true) => Some(Reason::Completed),
            Ok(false) => None,
            Err(_) => Some(Reason::Protection),
        }
    }

    fn note(&mut self, core: &mut Core, connection: &mut Connection, pumped: &Pumped) {
        let key = connection.key;
        for family in self.association.take_opened() {
            if let Some(socket) = self.association.target(family)
                && !watch_datagrams(&core.registry, key, TARGET_SOCKETS[family as usize], socket)
            {
                // Its answers would never be seen: the next datagram opens another.
                self.association.close_target(family);
            }
        }
        if pumped.up.datagrams + pumped.down.datagrams > 0 {
            connection.times.active_ms = core.ms(core.now);
        }
        core.traffic.several |= core.moved_last.replace(key) != Some(key);
        core.traffic.datagrams += pumped.up.datagrams + pumped.down.datagrams;
        core.counters.datagrams(pumped);
        if let Some(expires_ms) = self.association.fragments_expire_ms() {
            // They are no life: the silence around them goes on.
            core.arm(key, core.start + Duration::from_millis(expires_ms.min(idle_ms(connection))));
        }
    }

    /// The address of its first target-facing socket, if it has one.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        let socket = Family::ALL.into_iter().find_map(|family| self.association.target(family));
        socket.and_then(|socket| socket.local_address().ok())
    }

    /// The control connection is told that it was cut off.
    pub(super) fn reset_on_close(&self) {
        self.control.socket.reset_on_close();
    }

    /// What an ending association leaves to the others.
    pub(super) fn end(&mut self, core: &mut Core, connection: &Connection) {
        for lookup in self.association.lookups() {
            core.lookups.cancel(connection.key.lookup_ticket(lookup), &core.registry, core.now);
        }
        self.control.say_end();
        core.associations -= 1;
        core.counters.associations(core.associations);
    }
}

/// Counts what rules decided about datagrams; the record has the first of the rules that would have denied one.
fn note_decisions(core: &Core, connection: &mut Connection, kit: &mut DatagramKit) {
    for decision in kit.decisions.drain(..) {
        core.note_decision(&decision);
        if let (Some(rule), Some(kept)) = (decision.would_deny(), &mut connection.facts.decision) {
            kept.would.get_or_insert(rule);
        }
    }
}

/// When an association that stays silent ends, in milliseconds of the worker's clock.
fn idle_ms(connection: &Connection) -> u64 {
    connection.times.active_ms + connection.snapshot.config.timeouts.udp_idle.as_millis() as u64
}

fn terms<'a>(core: &'a Core, connection: &'a Connection) -> Terms<'a> {
    let config = &connection.snapshot.config;
    Terms {
        policy: &core.policy,
        policy_version: core.policy_version << 32 | u64::from(core.policy.epoch()),
        subject: connection.subject(RequestCommand::UdpAssociate),
        own_ports: &core.own_ports,
        filtering: config.udp.filtering,
        fragments: config.udp.fragments,
        prefer: config.dns.prefer,
        learns: core.needs.is_some(),
        plan: core.snapshot.limits.as_deref(),
        places: connection.places.as_deref(),
        now: core.now,
        now_ms: core.ms(core.now),
    }
}
