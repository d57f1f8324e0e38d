//! Names: a handshake that has one resolved, or asks for that of an address.

use std::net::IpAddr;

use super::connection::Connection;
use super::core::Core;
use super::handshake::{Handshake, Waits};
use super::next::Next;
use crate::dns::{Answer, PointerAnswer};
use crate::limits;
use crate::observe::Timed;
use crate::proto::address::Name;
use crate::session::Input;

impl Handshake {
    /// Has a name resolved.
    pub(super) fn resolve(&mut self, core: &mut Core, connection: &mut Connection, name: &Name) -> Next {
        // What a connection leads to that may serve the request is an address of its name.
        let session = &self.session;
        if let Some(kept) = self
            .kept
            .as_ref()
            .filter(|kept| session.exchanges() && !kept.by_name && kept.is_for(session.facts()))
        {
            return Next::Answer(Input::Resolved(Ok([kept.dialed.address.ip()].into())));
        }
        let limit = connection.snapshot.config.timeouts.dns + limits::DNS_SLACK;
        self.enter(core, connection, limit, Waits::Addresses);
        let (client, ticket) = (connection.peer.ip().into(), connection.key.ticket());
        match core.lookups.lookup(name.as_str(), client, ticket, &core.registry, core.now) {
            Some(answer) => {
                connection.times.dns_ms = Some(core.time(Timed::Dns, core.now));
                core.note_answer(&answer);
                Next::Answer(Input::Resolved(answer))
            }
            None => self.wait(core, connection),
        }
    }

    /// The answer to a name.
    pub(super) fn resolved(&self, core: &mut Core, connection: &mut Connection, answer: Answer) -> Next {
        connection.times.dns_ms = Some(core.time(Timed::Dns, self.phase_began));
        core.note_answer(&answer);
        Next::Answer(Input::Resolved(answer))
    }

    /// Has an address's name asked for.
    pub(super) fn reverse(&mut self, core: &mut Core, connection: &mut Connection, ip: IpAddr) -> Next {
        let limit = connection.snapshot.config.timeouts.dns + limits::DNS_SLACK;
        self.enter(core, connection, limit, Waits::Name);
        let (client, ticket) = (connection.peer.ip().into(), connection.key.ticket());
        match core.lookups.reverse(ip, client, ticket, &core.registry, core.now) {
            Some(answer) => self.named(core, connection, answer),
            None => self.wait(core, connection),
        }
    }

    /// The answer to an address.
    pub(super) fn named(&self, core: &mut Core, connection: &mut Connection, answer: PointerAnswer) -> Next {
        connection.times.dns_ms = Some(core.time(Timed::Dns, self.phase_began));
        core.note_answer(&answer);
        Next::Answer(Input::Named(answer))
    }
}
