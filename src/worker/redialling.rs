//! A request whose kept connection ended before anything came of it: it is sent once more, over a connection of its own (RFC
//! 9110 section 9.2.2, RFC 9112 section 9.3.1).

use std::sync::Arc;
use std::time::Instant;

use super::answerable::Answerable;
use super::connection::Connection;
use super::core::Core;
use super::dial::{Dial, DialedBy, Won};
use super::dialling::dialler;
use super::goal::{Goal, ReachStep};
use super::leaving::{pool_by, pools_towards};
use super::next::{Change, Next};
use super::reaching::Reaching;
use super::through::{asked, caller};
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::dns::Answer;
use crate::outcome::Reason;
use crate::policy::{ParentId, RoutedAddress};
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
    attempts: Attempts,
}

/// What is tried.
#[derive(Debug, Default)]
enum Attempts {
    #[default]
    Nothing,
    Dial(Dial),
    Parent(Box<Reaching>),
}

impl Redialling {
    pub(super) fn new(
        client: Answerable,
        edges: Edge,
        (order, behind): (Box<ForwardRequest>, Vec<u8>),
        way: DialedBy,
    ) -> Redialling {
        Redialling { client, edges, order, behind, way, attempts: Attempts::Nothing }
    }

    /// Dials the address that was allowed, by the way that was.
    pub(super) fn begin(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        let until = core.now + connection.snapshot.config.timeouts.connect;
        if let Some(id) = self.way.allowed.way.parent {
            return self.reach(core, connection, id, until);
        }
        let Some(address) = connection.address else { return Next::Close(Reason::Internal) };
        let address = RoutedAddress { address, allowed: self.way.allowed };
        let second = core.pools.second_attempts.nothing(Source::from(connection.peer.ip()));
        let (facts, client) = (&connection.facts, &self.client.socket);
        let pools = pools_towards(core, connection, facts, client, &[address]);
        let mut dial = Dial::new(vec![address], connection.snapshot.congestion, until, second)
            .leaving_from(pools)
            .behind(self.way.last_index);
        let started = dial.start_next(&dialler(core, connection));
        self.attempts = Attempts::Dial(dial);
        core.arm(connection.key, until);
        match started {
            Ok(()) => Next::Wait,
            Err(error) => refuse(error),
        }
    }

    /// The same through the parent that led there.
    fn reach(&mut self, core: &mut Core, connection: &mut Connection, id: ParentId, until: Instant) -> Next {
        let parents = core.snapshot.parents.as_ref();
        let parent = parents.and_then(|parents| parents.parent(id)).map(Arc::clone);
        let allowed = self.way.allowed;
        let goal = match connection.address {
            Some(address) => Some(Goal::Addresses(vec![RoutedAddress { address, allowed }])),
            None => connection.facts.target.clone().map(|target| Goal::Named(target, allowed)),
        };
        let (Some(parent), Some(goal)) = (parent, goal) else { return refuse(DialError::ParentAway) };
        let (facts, client) = (&connection.facts, &self.client.socket);
        let pools = pool_by(core, connection, facts, client, allowed.way).into_iter().collect();
        let asked = asked(&connection.facts, connection);
        let reaching = Reaching::new((id, parent), goal, &asked, until, self.way.last_index);
        let mut reaching = Box::new(reaching.leaving_from(pools));
        let reached = reaching.try_next(core, caller(connection));
        self.reached(core, connection, reaching, reached)
    }

    fn reached(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        reaching: Box<Reaching>,
        reached: ReachStep,
    ) -> Next {
        match reached {
            ReachStep::Pending => {
                core.arm(connection.key, reaching.next_at());
                self.attempts = Attempts::Parent(reaching);
                Next::Wait
            }
            ReachStep::Stands(won) => {
                core.put_led(connection.key, reaching.held());
                self.connected(connection, won)
            }
            ReachStep::Failed(error) => refuse(error),
            // Part of a request may have gone through the parent: the rest goes nowhere else.
            ReachStep::Direct => refuse(DialError::ParentAway),
        }
    }

    fn connected(&mut self, connection: &mut Connection, won: Won) -> Next {
        let Won { upstream, dialed, way, left } = won;
        (self.way, connection.left) = (way, left);
        connection.local = Some(dialed.local);
        Next::Change(Change::ExchangeAgain(upstream))
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
        match std::mem::take(&mut self.attempts) {
            Attempts::Nothing => Next::Wait,
            Attempts::Dial(mut dial) => {
                let event = match dial.has(socket_index) {
                    true => dial.event(socket_index, edge, &dialler(core, connection)),
                    false => Ok(None),
                };
                match event {
                    Ok(None) => {
                        self.attempts = Attempts::Dial(dial);
                        Next::Wait
                    }
                    Ok(Some(won)) => self.connected(connection, won),
                    Err(error) => refuse(error),
                }
            }
            Attempts::Parent(mut reaching) => {
                let reached = reaching.event(core, caller(connection), socket_index, edge);
                self.reached(core, connection, reaching, reached)
            }
        }
    }

    /// The addresses of a server of the parent.
    pub(super) fn resolved(&mut self, core: &mut Core, connection: &mut Connection, answer: &Answer) -> Next {
        match std::mem::take(&mut self.attempts) {
            Attempts::Parent(mut reaching) => {
                let reached = reaching.resolved(core, caller(connection), answer);
                self.reached(core, connection, reaching, reached)
            }
            attempts => {
                self.attempts = attempts;
                Next::Wait
            }
        }
    }

    pub(super) fn timer(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        match std::mem::take(&mut self.attempts) {
            Attempts::Parent(mut reaching) => {
                let reached = reaching.timer(core, caller(connection));
                self.reached(core, connection, reaching, reached)
            }
            Attempts::Dial(dial) if core.now < dial.deadline() => {
                core.arm(connection.key, dial.deadline());
                self.attempts = Attempts::Dial(dial);
                Next::Wait
            }
            Attempts::Dial(dial) => {
                dial.give_up(core.now);
                refuse(DialError::TimedOut)
            }
            Attempts::Nothing => refuse(DialError::TimedOut),
        }
    }

    /// The connection ends before its request was sent once more.
    pub(super) fn end(&self, core: &mut Core, connection: &Connection) {
        if let Attempts::Parent(_) = self.attempts {
            core.lookups.cancel(connection.key.ticket(), &core.registry, core.now);
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
