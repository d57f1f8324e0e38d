//! Connections between two requests of HTTP: no session, in no count and with no record. The client's socket is there, and the
//! target's where it may serve another request.

use std::time::Instant;

use zeroize::{Zeroize, Zeroizing};

use super::connection::Connection;
use super::core::Core;
use super::dial::Upstream;
use super::next::{Change, Next};
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::auth::Identity;
use crate::limits;
use crate::outcome::Reason;
use crate::policy::{Allowed, RoutedAddress};
use crate::proto::address::Target;
use crate::relay::ExchangeLeft;
use crate::session::{Dialed, Facts};
use crate::sys::Read;
use crate::sys::stream::Stream;

/// What is there between two requests.
#[derive(Debug)]
pub(super) struct Kept {
    client: Stream,
    /// What the events of the client's socket promised.
    edges: Edge,
    /// What the client sent behind its last request.
    behind: Zeroizing<Vec<u8>>,
    upstream: Option<Box<KeptUpstream>>,
    /// The socket index that was given last.
    last_index: u8,
    until: Instant,
}

/// A target's connection that may serve another request, and what it was opened for.
#[derive(Debug)]
pub(super) struct KeptUpstream {
    pub(super) upstream: Upstream,
    pub(super) allowed: Allowed,
    pub(super) target: Target,
    pub(super) identity: Option<Identity>,
    pub(super) dialed: Dialed,
}

/// What a request begins with on a connection that was kept.
#[derive(Debug)]
pub(super) struct NextRequest {
    pub(super) client: Stream,
    pub(super) edges: Edge,
    pub(super) upstream: Option<Box<KeptUpstream>>,
    pub(super) last_index: u8,
}

impl Kept {
    pub(super) fn new(
        client: Stream,
        left: ExchangeLeft,
        upstream: Option<Box<KeptUpstream>>,
        last_index: u8,
        until: Instant,
    ) -> Kept {
        Kept { client, edges: left.client, behind: left.behind.into(), upstream, last_index, until }
    }

    /// Goes on with what came behind the last request.
    pub(super) fn begin(&mut self, core: &mut Core, connection: &Connection) -> Next {
        core.arm(connection.key, self.until);
        let behind = std::mem::take(&mut self.behind);
        match request_in(&behind) {
            Some(bytes) => Next::Change(Change::Request(bytes)),
            None => self.read(),
        }
    }

    pub(super) fn event(&mut self, socket_index: u8, edge: Edge) -> Next {
        if socket_index == CLIENT_SOCKET {
            self.edges.readable |= edge.readable;
            self.edges.fin |= edge.fin;
            self.edges.failed |= edge.failed;
            self.edges.urgent |= edge.urgent;
            return self.read();
        }
        if self.upstream.as_ref().is_some_and(|kept| kept.is_spent_by(socket_index, edge)) {
            self.upstream = None;
        }
        Next::Wait
    }

    /// Takes what the client sent, with which a session begins.
    pub(super) fn read(&mut self) -> Next {
        while self.edges.readable {
            let mut buffer = [0; limits::HANDSHAKE_READ_BYTES];
            match self.client.recv(&mut buffer) {
                Read::Bytes(count) => {
                    self.edges.readable = count == buffer.len() || self.edges.urgent || self.edges.failed;
                    let request = request_in(&buffer[..count]);
                    buffer.zeroize();
                    if let Some(bytes) = request {
                        return Next::Change(Change::Request(bytes));
                    }
                }
                Read::Blocked => self.edges.readable = false,
                Read::End | Read::Failed(_) => return Next::Close(Reason::Completed),
            }
        }
        if self.edges.fin { Next::Close(Reason::Completed) } else { Next::Wait }
    }

    pub(super) fn timer(&self, core: &mut Core, connection: &Connection) -> Next {
        if self.until <= core.now {
            return Next::Close(Reason::Completed);
        }
        core.arm(connection.key, self.until);
        Next::Wait
    }

    pub(super) fn into_request(self) -> NextRequest {
        let Kept { client, edges, upstream, last_index, .. } = self;
        NextRequest { client, edges, upstream, last_index }
    }
}

impl KeptUpstream {
    /// Whether an event says that it serves nothing more: it has ended, or says what nobody asked for.
    pub(super) fn is_spent_by(&self, socket_index: u8, edge: Edge) -> bool {
        self.upstream.socket_index == socket_index && (edge.readable || edge.fin || edge.failed)
    }

    /// Whether it was opened for what this session asks for, and for whom.
    pub(super) fn is_for(&self, facts: &Facts) -> bool {
        facts.target.as_ref() == Some(&self.target) && facts.identity == self.identity
    }

    /// Its connection, where policy allows a session this very address by this very route.
    pub(super) fn take(self, addresses: &[RoutedAddress]) -> Option<(Upstream, Allowed, Dialed)> {
        let KeptUpstream { upstream, allowed: before, dialed, .. } = self;
        let is_this =
            |one: &&RoutedAddress| one.address == dialed.address && one.allowed.route == before.route;
        let allowed = addresses.iter().find(is_this)?.allowed;
        Some((upstream, allowed, Dialed { decision: allowed.decision, ..dialed }))
    }
}

/// What a client sent without the empty lines in front: RFC 9112 section 2.2 has them be nothing, for old clients send one
/// behind each body. Absent where there is nothing else.
fn request_in(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let empty = bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    (empty < bytes.len()).then(|| bytes[empty..].to_vec().into())
}
