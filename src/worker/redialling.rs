//! A request whose kept connection ended before anything came of it: it is sent once more, over a connection of its own (RFC
//! 9110 section 9.2.2, RFC 9112 section 9.3.1).

use super::answerable::Answerable;
use super::connection::Connection;
use super::core::Core;
use super::dial::{Dial, DialedBy, Won};
use super::dialling::dialler;
use super::leaving::pools_towards;
use super::next::{Change, Next};
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::outcome::Reason;
use crate::policy::RoutedAddress;
use crate::proto::http::ForwardRequest;
use crate::session::{DialError, Failure};
use crate::shares::Source;

/// The request, and the attempt at another connection.
#[derive(Debug)]
pub(super) struct Redialling {
    pub(super) client: Answerable,
    /// What the events of the client's socket promised.
    pub(super) edges: Edge,
    pub(super) order: Box<ForwardRequest>,
    /// What the client sent behind the request.
    pub(super) behind: Vec<u8>,
    pub(super) way: DialedBy,
    dial: Option<Dial>,
}

impl Redialling {
    pub(super) fn new(
        client: Answerable,
        edges: Edge,
        (order, behind): (Box<ForwardRequest>, Vec<u8>),
        way: DialedBy,
    ) -> Redialling {
        Redialling { client, edges, order, behind, way, dial: None }
    }

    /// Dials the address that was allowed, by the route that was.
    pub(super) fn begin(&mut self, core: &mut Core, connection: &Connection) -> Next {
        let Some(address) = connection.address else { return Next::Close(Reason::Internal) };
        let address = RoutedAddress { address, allowed: self.way.allowed };
        let until = core.now + connection.snapshot.config.timeouts.connect;
        let second = core.pools.second_attempts.nothing(Source::from(connection.peer.ip()));
        let (facts, client) = (&connection.facts, &self.client.socket);
        let pools = pools_towards(core, connection, facts, client, &[address]);
        let mut dial = Dial::new(vec![address], connection.snapshot.congestion, until, second)
            .from_pools(pools)
            .behind(self.way.last_index);
        let started = dial.start_next(&dialler(core, connection));
        self.dial = Some(dial);
        core.arm(connection.key, until);
        match started {
            Ok(()) => Next::Wait,
            Err(error) => refuse(error),
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
            self.edges.add_unread(edge);
            let failed = edge.failed && self.client.socket.take_error().is_some();
            return if failed { Next::Close(Reason::ClientReset) } else { Next::Wait };
        }
        let Some(dial) = self.dial.as_mut().filter(|dial| dial.has(socket_index)) else { return Next::Wait };
        match dial.event(socket_index, edge, &dialler(core, connection)) {
            Ok(None) => Next::Wait,
            Ok(Some(Won { upstream, dialed, way, left })) => {
                (self.way, connection.left) = (way, left);
                connection.local = Some(dialed.local);
                Next::Change(Change::ExchangeAgain(upstream))
            }
            Err(error) => refuse(error),
        }
    }

    pub(super) fn timer(&self, core: &mut Core, connection: &Connection) -> Next {
        match self.dial.as_ref().map(Dial::deadline) {
            Some(deadline) if core.now < deadline => {
                core.arm(connection.key, deadline);
                Next::Wait
            }
            _ => refuse(DialError::TimedOut),
        }
    }

    /// The client, which is owed an answer in place of a response, and whether that is to a HEAD.
    pub(super) fn into_client(self) -> (Answerable, bool) {
        (self.client, self.order.is_head)
    }

    pub(super) fn reset_on_close(&self) {
        self.client.socket.reset_on_close();
    }
}

fn refuse(error: DialError) -> Next {
    Next::Change(Change::Answer(Failure::Dial(error)))
}
