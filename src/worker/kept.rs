//! Connections between two requests of HTTP: no session, in no count and with no record. The client's socket is there, and the
//! target's where it may serve another request.

use std::ops::ControlFlow;
use std::time::Instant;

use zeroize::{Zeroize, Zeroizing};

use super::answerable::Answerable;
use super::connection::{Connection, Led};
use super::core::Core;
use super::dial::Upstream;
use super::left::Left;
use super::next::{Change, Next};
use super::tls_client::TlsClient;
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::auth::{Identity, SessionParameters};
use crate::limits;
use crate::outcome::Reason;
use crate::policy::{Allowed, RoutedAddress};
use crate::proto::address::Target;
use crate::relay::ExchangeLeft;
use crate::session::{Dialed, Facts};
use crate::sys::Read;
use crate::tls::TlsOpened;

/// What is there between two requests.
#[derive(Debug)]
pub(super) struct Kept {
    client: Answerable,
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
    pub(super) parameters: Option<Box<SessionParameters>>,
    /// A parent was told the target's name: `dialed` has the parent's address.
    pub(super) by_name: bool,
    /// The parent that it leads through.
    pub(super) led: Option<Box<Led>>,
    pub(super) dialed: Dialed,
    /// What it has of the pool that it left from.
    pub(super) left: Option<Box<Left>>,
}

/// What a request begins with on a connection that was kept.
#[derive(Debug)]
pub(super) struct NextRequest {
    pub(super) client: Answerable,
    pub(super) edges: Edge,
    pub(super) upstream: Option<Box<KeptUpstream>>,
    pub(super) last_index: u8,
}

impl Kept {
    pub(super) fn new(
        client: Answerable,
        left: ExchangeLeft,
        upstream: Option<Box<KeptUpstream>>,
        last_index: u8,
        until: Instant,
    ) -> Kept {
        Kept { client, edges: left.client, behind: left.behind.into(), upstream, last_index, until }
    }

    /// The session that is over had this of a pool, which stays its connection's.
    pub(super) fn keep_left(&mut self, left: Option<Box<Left>>) {
        if let Some(kept) = &mut self.upstream {
            kept.left = left;
        }
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
            self.edges.add_unread(edge);
            return self.read();
        }
        if self.upstream.as_ref().is_some_and(|kept| kept.is_spent_by(socket_index, edge)) {
            self.upstream = None;
        }
        Next::Wait
    }

    /// Takes what the client sent, with which a session begins.
    pub(super) fn read(&mut self) -> Next {
        if let Some(tls) = self.client.tls.take() {
            return self.read_tls(tls);
        }
        while self.edges.readable {
            let mut buffer = [0; limits::HANDSHAKE_READ_BYTES];
            match self.client.socket.recv(&mut buffer) {
                Read::Bytes(count) => {
                    self.edges.note_read(count, buffer.len());
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

    /// The same behind TLS, where a client may say that it is done, and much that is no request. What comes to neither soon is
    /// left to a session, which bounds it.
    fn read_tls(&mut self, mut tls: Box<TlsClient>) -> Next {
        for _ in 0..limits::HANDSHAKE_READS_PER_TURN {
            if !tls.has_record() {
                match self.receive(&mut tls) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(next) => {
                        self.client.tls = Some(tls);
                        return next;
                    }
                }
            }
            let (mut content, mut replies) = (Zeroizing::default(), Vec::new());
            let opened = tls.open(&mut content, &mut replies);
            if !self.client.send(&replies) {
                return Next::Close(Reason::Completed);
            }
            match opened {
                Ok(TlsOpened::Content) => {
                    if let Some(bytes) = request_in(&content) {
                        self.client.tls = Some(tls);
                        return Next::Change(Change::Request(bytes));
                    }
                }
                Ok(TlsOpened::More) if tls.held_bytes() <= limits::HANDSHAKE_HELD_FREE => {}
                Ok(TlsOpened::More) => break,
                Ok(TlsOpened::Ended) => {
                    self.client.tls = Some(tls);
                    return Next::Close(Reason::Completed);
                }
                // The alert is said, and behind it nothing.
                Err(_) => return Next::Close(Reason::Completed),
            }
        }
        self.client.tls = Some(tls);
        Next::Change(Change::Request(Zeroizing::default()))
    }

    /// Takes bytes of the socket; what is next where there are none.
    fn receive(&mut self, tls: &mut TlsClient) -> ControlFlow<Next> {
        if !self.edges.readable {
            let next = if self.edges.fin { Next::Close(Reason::Completed) } else { Next::Wait };
            return ControlFlow::Break(next);
        }
        let mut buffer = [0; limits::TLS_HANDSHAKE_READ_BYTES];
        match self.client.socket.recv(&mut buffer) {
            Read::Bytes(count) => {
                self.edges.note_read(count, buffer.len());
                tls.receive(&buffer[..count]);
                ControlFlow::Continue(())
            }
            Read::Blocked => {
                self.edges.readable = false;
                ControlFlow::Break(if self.edges.fin { Next::Close(Reason::Completed) } else { Next::Wait })
            }
            Read::End | Read::Failed(_) => ControlFlow::Break(Next::Close(Reason::Completed)),
        }
    }

    /// Whether the client's side is TLS.
    pub(super) fn speaks_tls(&self) -> bool {
        self.client.tls.is_some()
    }

    /// It is closed without another request.
    pub(super) fn end(&mut self) {
        self.client.say_end();
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
        facts.target.as_ref() == Some(&self.target)
            && facts.identity == self.identity
            && facts.parameters == self.parameters
    }

    /// Its connection, where policy allows a session the target's name by this very way.
    pub(super) fn take_by_name(self, allowed: Allowed) -> Option<(Upstream, Allowed, Dialed)> {
        let KeptUpstream { upstream, allowed: before, dialed, .. } = self;
        let same = (allowed.route, allowed.way) == (before.route, before.way);
        same.then_some((upstream, allowed, Dialed { decision: allowed.decision, ..dialed }))
    }

    /// Its connection, where policy allows a session this very address by this very route.
    pub(super) fn take(self, addresses: &[RoutedAddress]) -> Option<(Upstream, Allowed, Dialed)> {
        let KeptUpstream { upstream, allowed: before, dialed, by_name: false, .. } = self else {
            return None;
        };
        let is_this = |one: &&RoutedAddress| {
            one.address == dialed.address
                && (one.allowed.route, one.allowed.way) == (before.route, before.way)
        };
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
