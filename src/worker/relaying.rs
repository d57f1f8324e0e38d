//! Connections that relay: the two sockets, what moves between them, and their time limits.

use std::time::{Duration, Instant};

use super::answerable::Answerable;
use super::connection::Connection;
use super::core::Core;
use super::dial::{DialedBy, Upstream};
use super::kept::{Kept, KeptUpstream};
use super::limited;
use super::next::{Change, Next};
use super::redialling::Redialling;
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::config::Config;
use crate::limits;
use crate::observe::{Direction, Timed};
use crate::outcome::Reason;
use crate::policy::accounts::{LimitId, LimitedWay};
use crate::policy::egress::health::Outcome;
use crate::relay::{Budgets, Driven, Engine, ExchangeLeft, Finish, MessageError, Relay, Resume, Side};
use crate::session::{Dialed, Failure, ResponseError};
use crate::sys::stream::{Liveness, Stream};

/// A relay and its two sockets.
#[derive(Debug)]
pub(super) struct Relaying {
    pub(super) relay: Relay,
    client: Stream,
    upstream: Upstream,
    /// Keepalive and the user timeout are on for the upstream socket.
    lively: bool,
    /// When the upstream was connected, until the target has said something.
    silent_since: Option<Instant>,
    /// How an exchange came by its upstream.
    way: Option<Box<DialedBy>>,
}

impl Relaying {
    pub(super) fn new(relay: Relay, client: Stream, upstream: Upstream) -> Relaying {
        Relaying { relay, client, upstream, lively: false, silent_since: None, way: None }
    }

    /// The same for an exchange, which may go on to another.
    pub(super) fn by(self, way: DialedBy) -> Relaying {
        Relaying { way: Some(Box::new(way)), ..self }
    }

    /// Moves what is there already. The first look at the clock comes soon enough to make the upstream socket lively.
    pub(super) fn begin(&mut self, core: &mut Core, connection: &mut Connection, edges: Edge) -> Next {
        self.silent_since = Some(core.now);
        self.relay.event(Side::Client, edges);
        connection.times.active_ms = core.ms(core.now);
        let limit = connection.snapshot.config.timeouts.idle.min(limits::LIVENESS_AFTER);
        core.arm(connection.key, core.now + limit);
        self.drive(core, connection)
    }

    pub(super) fn event(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        socket_index: u8,
        edge: Edge,
    ) -> Next {
        let side = match socket_index {
            CLIENT_SOCKET => Side::Client,
            socket_index if socket_index == self.upstream.socket_index => Side::Target,
            // An attempt that lost and was closed in this very batch of events.
            _ => return Next::Wait,
        };
        self.relay.event(side, edge);
        self.drive(core, connection)
    }

    /// Moves what can be moved in a turn, as far as the limits of the session let it.
    pub(super) fn drive(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        let mut budgets = match &mut connection.places {
            None => Budgets::TURN,
            Some(places) => match limited::budgets(places.get_mut(), &self.relay, core) {
                Ok(budgets) => budgets,
                Err(limit) => return self.end_spent(core, connection, limit),
            },
        };
        self.drive_within(core, connection, &mut budgets)
    }

    /// Moves what can be moved within these budgets, and sees to it that the session goes on when they allow it.
    pub(super) fn drive_within(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        budgets: &mut Budgets,
    ) -> Next {
        let was_half_closed = self.relay.half_closed();
        if core.drains
            && let Some(exchange) = self.relay.as_exchange()
        {
            exchange.keep_no_longer();
        }
        let driven = self.relay.drive(&self.client, &self.upstream.stream, &mut core.kit, budgets);
        let half_closed = self.relay.half_closed();
        if half_closed && !was_half_closed && !self.relay.target_still_open() {
            connection.left.iter_mut().for_each(|left| left.leaves_port_free());
        }
        let mut spent = None;
        if driven.progressed() {
            count(core, &driven);
            if let Some(places) = &mut connection.places {
                places.get_mut().spend(LimitedWay::Up, driven.up.taken as u64);
                places.get_mut().spend(LimitedWay::Down, driven.down.taken as u64);
                spent = places.get_mut().count(driven.up.bytes() as u64, driven.down.bytes() as u64);
            }
            if driven.down.taken > 0
                && let Some(connected) = self.silent_since.take()
            {
                core.time(Timed::FirstByte, connected);
            }
            connection.times.active_ms = core.ms(core.now);
            if let Some(exchange) = self.relay.as_exchange() {
                connection.facts.status = exchange.status();
            }
        }
        if let Some(finish) = driven.finish {
            return self.finish(core, connection, finish);
        }
        if let Some(limit) = spent {
            return self.end_spent(core, connection, limit);
        }
        if half_closed && !was_half_closed {
            // The half-close time counts from the FIN.
            connection.times.active_ms = core.ms(core.now);
            let limit = connection.snapshot.config.timeouts.half_close.min(limits::LIVENESS_AFTER);
            core.arm(connection.key, core.now + limit);
        }
        match driven.resume() {
            Resume::OnEvent => {}
            Resume::NextTurn => core.enqueue(connection),
            Resume::AtMs(at_ms) => core.hold_back(connection.key, at_ms),
        }
        Next::Wait
    }

    /// A quota is used up: neither end is to take what it has for the whole.
    fn end_spent(&self, core: &Core, connection: &mut Connection, limit: LimitId) -> Next {
        self.reset_on_close();
        limited::end_spent(core, connection, limit)
    }

    fn finish(&mut self, core: &Core, connection: &mut Connection, finish: Finish) -> Next {
        let reason_of = |side| match side {
            Side::Client => Reason::ClientReset,
            Side::Target => Reason::TargetReset,
        };
        match finish {
            Finish::Completed => Next::Close(Reason::Completed),
            Finish::Reset { failed } => {
                if let Some(left) = &mut connection.left {
                    left.leaves_port_free();
                    if failed == Side::Target {
                        left.note(Outcome::Reset, core.now);
                    }
                }
                self.socket(failed.opposite()).reset_on_close();
                let Some((error, told)) = self.relay.untranslated() else {
                    return Next::Close(reason_of(failed));
                };
                tracing::debug!(client = %connection.peer, %error, "session cut off");
                if !told {
                    // This side did not fail, but what it gets is not all either.
                    self.socket(failed).reset_on_close();
                }
                Next::Close(Reason::Protection)
            }
            Finish::Linger { gone } => Next::Change(Change::Linger { gone, reason: reason_of(gone) }),
            Finish::Exchanged { whole_request } => self.exchanged(core, connection, whole_request),
            Finish::Unanswered if self.may_redial() => Next::Change(Change::Redial),
            Finish::Unanswered => Next::Change(Change::Answer(Failure::Response(ResponseError::Missing))),
            Finish::Malformed { .. } => Next::Change(Change::Answer(self.malformed())),
        }
    }

    pub(super) fn timer(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        let timeouts = &connection.snapshot.config.timeouts;
        let (limit, reason) = match self.relay.half_closed() {
            true => (timeouts.half_close, Reason::HalfClose),
            false => (timeouts.idle, Reason::Idle),
        };
        // What a budget holds back is not idle: it goes on as soon as the budget allows it.
        let held_back = self.relay.ready() && !connection.queued;
        if held_back {
            connection.times.active_ms = core.ms(core.now);
        }
        let deadline = core.start + Duration::from_millis(connection.times.active_ms) + limit;
        if deadline <= core.now {
            let unanswered = self.relay.as_exchange().is_some_and(|exchange| exchange.unanswered());
            return match unanswered {
                true => Next::Change(Change::Answer(Failure::Response(ResponseError::TimedOut))),
                false => Next::Close(reason),
            };
        }
        let age_ms = core.ms(core.now) - connection.times.accepted_ms;
        let mut next = rounded(core, deadline, limit);
        if !self.lively {
            if age_ms >= limits::LIVENESS_AFTER.as_millis() as u64 {
                self.lively = true;
                self.upstream.stream.set_liveness(&liveness(&connection.snapshot.config));
            } else {
                next = next.min(core.now + limits::LIVENESS_AFTER);
            }
        }
        core.arm(connection.key, next);
        if held_back { self.drive(core, connection) } else { Next::Wait }
    }

    /// The side that is left, where the other is gone.
    pub(super) fn leave(mut self, core: &mut Core, connection: &mut Connection, gone: Side) -> Stream {
        self.settle(core, connection);
        match gone {
            Side::Client => self.upstream.stream,
            Side::Target => self.client,
        }
    }

    /// The relay is cut off, or over: a side that misses bytes is reset, as a FIN would tell it that it has everything.
    pub(super) fn end(&mut self, core: &mut Core, connection: &mut Connection) {
        let cut = [Side::Client, Side::Target].map(|side| (side, self.relay.pending_bytes(side)));
        self.settle(core, connection);
        core.note_pipes();
        for (side, _) in cut.into_iter().filter(|(_, pending_bytes)| *pending_bytes > 0) {
            self.socket(side).reset_on_close();
        }
    }

    /// Both sides are told that they were cut off.
    pub(super) fn reset_on_close(&self) {
        self.client.reset_on_close();
        self.upstream.stream.reset_on_close();
    }

    /// An exchange is over: its connection is kept, or closed once the client has its response.
    fn exchanged(&mut self, core: &Core, connection: &mut Connection, whole_request: bool) -> Next {
        if !self.relay.target_still_open() {
            connection.left.iter_mut().for_each(|left| left.leaves_port_free());
        }
        let Some(exchange) = self.relay.as_exchange() else { return Next::Close(Reason::Internal) };
        let (left, asked_to_keep) = (exchange.leave(), exchange.order().keep_alive);
        let listens = core.snapshot.listener_name(connection.listener).is_some();
        if whole_request && left.keeps_client && listens && !core.drains {
            return Next::Change(Change::Keep(left));
        }
        exchange.end_client(&self.client);
        if whole_request && !asked_to_keep && !left.client.readable && left.behind.is_empty() {
            return Next::Close(Reason::Completed);
        }
        // The client may be sending: a close now could take the response from it.
        self.client.shut_down_writing();
        Next::Change(Change::Linger { gone: Side::Target, reason: Reason::Completed })
    }

    /// Why what one side sent is no HTTP.
    fn malformed(&mut self) -> Failure {
        match self.relay.as_exchange().and_then(|exchange| exchange.error()) {
            Some(MessageError::Head(error)) => Failure::Response(ResponseError::Head(error.clone())),
            Some(MessageError::Chunks(error)) => Failure::Body(*error),
            None => Failure::Internal("nothing is wrong with either message"),
        }
    }

    /// Whether the request may be sent once more: over a connection that served another one, and was closed on this one.
    fn may_redial(&mut self) -> bool {
        let reused = self.way.as_ref().is_some_and(|way| way.reused);
        reused && self.relay.as_exchange().is_some_and(|exchange| exchange.is_repeatable())
    }

    /// The request and the client, where another upstream is to be had.
    pub(super) fn redial(mut self, core: &mut Core) -> Option<Redialling> {
        self.relay.release(&mut core.kit);
        let Relaying { relay, client, way, .. } = self;
        let exchange = relay.into_exchange()?;
        let edges = exchange.promised_by_client();
        let (order, behind, tls) = exchange.take_order();
        Some(Redialling::new(Answerable::again(client, tls), edges, (order, behind), *way?))
    }

    /// What there is between two requests.
    pub(super) fn keep(
        mut self,
        core: &mut Core,
        connection: &mut Connection,
        left: ExchangeLeft,
    ) -> Option<Kept> {
        self.settle(core, connection);
        let tls = self.relay.as_exchange().and_then(|exchange| exchange.take_tls());
        let Relaying { client, upstream, way, .. } = self;
        let way = *way?;
        let client = Answerable::again(client, tls);
        let facts = &connection.facts;
        let address = connection.address.or(way.led_by);
        let by_name = connection.address.is_none();
        let ends = address.zip(connection.local).zip(facts.decision);
        // Where the last read may have left something, the socket says whether it did.
        let quiet = left.keeps_target && !(left.target_unread && upstream.stream.is_readable());
        let kept =
            ends.zip(facts.target.clone()).filter(|_| quiet).map(|(((address, local), decision), target)| {
                KeptUpstream {
                    upstream,
                    allowed: way.allowed,
                    target,
                    identity: facts.identity.clone(),
                    parameters: facts.parameters.clone(),
                    by_name,
                    led: core.led(connection.key).cloned().map(Box::new),
                    dialed: Dialed { address, local, bound: local, decision },
                    left: None,
                }
            });
        let until = core.now + core.snapshot.config.http.keep_alive;
        Some(Kept::new(client, left, kept.map(Box::new), way.last_index, until))
    }

    /// The client, which is owed an answer in place of a response, and whether that is to a HEAD.
    pub(super) fn answer(mut self, core: &mut Core, connection: &mut Connection) -> (Answerable, bool) {
        let to_head = self.relay.as_exchange().is_some_and(|exchange| exchange.order().is_head);
        self.settle(core, connection);
        let tls = self.relay.as_exchange().and_then(|exchange| exchange.take_tls());
        self.upstream.stream.reset_on_close();
        (Answerable::again(self.client, tls), to_head)
    }

    /// Keeps what the relay counted and gives back what it was lent.
    fn settle(&mut self, core: &mut Core, connection: &mut Connection) {
        connection.bytes_up = self.relay.bytes(Side::Client);
        connection.bytes_down = self.relay.bytes(Side::Target);
        connection.engine = Some(self.relay.engine());
        self.relay.release(&mut core.kit);
    }

    fn socket(&self, side: Side) -> &Stream {
        match side {
            Side::Client => &self.client,
            Side::Target => &self.upstream.stream,
        }
    }
}

fn count(core: &mut Core, driven: &Driven) {
    for (direction, moved) in [(Direction::Up, &driven.up), (Direction::Down, &driven.down)] {
        for engine in Engine::ALL {
            core.counters.relay(direction, engine, moved.by(engine));
        }
    }
    if driven.up.by(Engine::Splice) + driven.down.by(Engine::Splice) > 0 {
        core.note_pipes();
    }
}

/// Long limits share wake-ups: their deadlines are rounded up.
fn rounded(core: &Core, deadline: Instant, limit: Duration) -> Instant {
    let step = limits::IDLE_ROUNDING.as_millis() as u64;
    if limit < limits::IDLE_ROUNDING * 16 {
        return deadline;
    }
    core.start + Duration::from_millis(core.ms(deadline).div_ceil(step) * step)
}

/// How a socket notices a peer that is gone, from the configuration.
pub(crate) fn liveness(config: &Config) -> Liveness {
    Liveness {
        keepalive_idle: limits::KEEPALIVE_IDLE.min(config.timeouts.idle).max(Duration::from_secs(1)),
        keepalive_interval: limits::KEEPALIVE_INTERVAL,
        unacked: config.timeouts.unacked,
    }
}
