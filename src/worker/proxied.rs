//! Clients behind a load balancer: who they are the balancer says in front of what they send (the PROXY protocol), where the
//! listener believes it.
//!
//! The header is looked at before it is taken: nothing of what stands behind it is read, so that whatever follows finds the
//! socket as if there had been no header.

use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::Connection;
use super::core::Core;
use super::handshake::Handshake;
use super::header_due::HeaderDue;
use super::next::Next;
use super::snapshot::Snapshot;
use crate::limits;
use crate::observe::live::Proxied;
use crate::observe::{Counted, DenialCause};
use crate::outcome::Reason;
use crate::policy::accounts::{LimitId, LimitKind};
use crate::policy::sources::SourcePlace;
use crate::proto::ProtoError;
use crate::proto::proxy_protocol::{ProxyHeader, decode};
use crate::session::Failure;
use crate::shares::Source;
use crate::sys::Read;

/// A place among the sessions of a client's source, where those are limited; `Err` where it has no more, which is counted.
pub(super) fn place_of(
    core: &mut Core,
    snapshot: &Snapshot,
    client: SocketAddr,
) -> Result<Option<Box<SourcePlace>>, ()> {
    let Some(sources) = &snapshot.sources else { return Ok(None) };
    if let Some(place) = sources.enter(Source::from(client.ip())) {
        return Ok(Some(Box::new(place)));
    }
    core.counters.count(Counted::SourceTurnedAway);
    core.counters.limits.add(LimitId::PER_SOURCE, LimitKind::Connections, 1);
    core.counters.count(Counted::Denied(DenialCause::TurnedAway));
    core.tell_refusal(client.ip(), &Failure::SourceLimit, None);
    Err(())
}

impl Handshake {
    /// Looks for the header that is due, and takes it once it is there.
    pub(super) fn take_header(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        if !self.edges.readable {
            return if self.edges.fin { Next::Close(Reason::ClientLeft) } else { Next::Wait };
        }
        let mut buffer = [0; limits::PROXY_HEADER_MAX];
        let seen = match self.client.socket.peek(&mut buffer) {
            Read::Bytes(count) => &buffer[..count],
            Read::Blocked => {
                self.edges.readable = false;
                return Next::Wait;
            }
            Read::End => return Next::Close(Reason::ClientLeft),
            Read::Failed(_) => return Next::Close(Reason::ClientReset),
        };
        match decode(seen) {
            Ok(Some((header, used))) => {
                // What was seen is there to be taken.
                if !matches!(self.client.socket.recv(&mut buffer[..used]), Read::Bytes(count) if count == used)
                {
                    return Next::Close(Reason::ClientReset);
                }
                self.come_from(core, connection, header)
            }
            Ok(None) if self.edges.fin => Next::Close(Reason::ClientLeft),
            Ok(None) => Next::Wait,
            Err(ProtoError::NoProxyHeader) if self.header_due == HeaderDue::Perhaps => {
                self.come_from(core, connection, ProxyHeader::default())
            }
            Err(error) => {
                tracing::debug!(balancer = %connection.peer, %error, "a connection without a PROXY header is closed");
                core.tell_refusal(connection.peer.ip(), &Failure::Protocol(error), None);
                Next::Close(Reason::Protocol)
            }
        }
    }

    /// Goes on as a connection of the client that the header names, or else of whoever connected.
    fn come_from(&mut self, core: &mut Core, connection: &mut Connection, header: ProxyHeader) -> Next {
        let ProxyHeader { client, unique_id, authority } = header;
        if client.is_some() || unique_id.is_some() || authority.is_some() {
            connection.proxied = Some(Arc::new(Proxied { peer: connection.peer, unique_id, authority }));
        }
        if let Some(client) = client {
            connection.peer = client;
            self.session.come_from(connection.incoming());
        }
        self.header_due = HeaderDue::No;
        match place_of(core, &connection.snapshot, connection.peer) {
            Ok(place) => {
                connection.place = place;
                Next::Read
            }
            Err(()) => {
                self.client.socket.reset_on_close();
                Next::Close(Reason::Denied)
            }
        }
    }
}
