//! Connections that shake hands: reads what the session wants, keeps its time limits, and what it waits for.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroize;

use super::answerable::Answerable;
use super::connection::Connection;
use super::core::Core;
use super::dial::{Dial, DialedBy, Upstream};
use super::front::FrontSearch;
use super::goal::LedHandshake;
use super::header_due::HeaderDue;
use super::kept::{KeptUpstream, NextRequest};
use super::listening::{ListenerSearch, Listening};
use super::next::{Change, Next};
use super::reaching::Reaching;
use super::snapshot::Snapshot;
use super::watch::Edge;
use crate::auth::{Identity, Pending};
use crate::limits;
use crate::observe::{Counted, DenialCause, DialFailure, LoginMethod, LoginResult, Timed, record_room};
use crate::outcome::Reason;
use crate::policy::Incoming;
use crate::policy::accounts::{LimitId, LimitKind};
use crate::proto::userpass::Credentials;
use crate::relay::datagram::Association;
use crate::session::{Command, DialError, Failure, Input, Session, Step};
use crate::shares::{Lent, Source};
use crate::sys::Read;
use crate::sys::gssapi::Context;
use crate::sys::stream::Stream;

/// Everything that only the handshake needs; freed at the relay.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) session: Session,
    pub(super) client: Answerable,
    /// What the events of the client's socket promised.
    pub(super) edges: Edge,
    pub(super) waits_for: Waits,
    pub(super) deadline: Instant,
    /// The client sent FIN with nothing behind its request: when it is taken to have left.
    left_at: Option<Instant>,
    /// What stands in front of its first byte.
    pub(super) header_due: HeaderDue,
    /// By when its first byte has to have come, where that has a time limit of its own.
    pub(super) first_byte_by: Option<Instant>,
    accepted: Instant,
    /// When the time limit began that holds now.
    pub(super) phase_began: Instant,
    /// When the client was first asked who it is, until that is answered.
    pub(super) auth_began: Option<Instant>,
    /// A security context between two of its rounds.
    pub(super) context: Option<Context>,
    /// What it has of the pool of half messages, once that is more than a little.
    held: Option<Lent>,
    /// A target's connection that was kept of an earlier request.
    pub(super) kept: Option<Box<KeptUpstream>>,
    /// How the upstream was come by.
    pub(super) way: DialedBy,
    /// The datagrams that are to go through a parent.
    pub(super) led: Option<Box<LedHandshake>>,
}

/// What a handshake waits for, and what it holds for that.
#[derive(Debug)]
pub(super) enum Waits {
    /// Bytes of the client.
    Bytes,
    /// Whether a login is right.
    Login { _pending: Pending },
    /// Room for a login in the verifier's queue, which was full: it is handed over again.
    Retry { credentials: Arc<Credentials>, at: Instant },
    /// The moment for the answer to a wrong login that was answered before.
    Penalty { until: Instant },
    /// What the library makes of a token.
    Context { _pending: Pending },
    /// Room for a token in the queue, which was full: it is handed over again.
    RetryContext { context: Context, token: Vec<u8>, at: Instant },
    /// The addresses of a name.
    Addresses,
    /// The name of an address.
    Name,
    /// A connection to a target.
    Connection(Box<Dial>),
    /// A connection to a target through a parent.
    Parent(Box<Reaching>),
    /// A port to listen on.
    Listener(Box<ListenerSearch>),
    /// A connection to a listener.
    Peer(Box<Listening>),
    /// A port for datagrams.
    Front(Box<FrontSearch>),
    /// The session's word that it relays to this.
    Connected(Upstream),
    /// The session's word that it relays these datagrams.
    Associated(Box<Association>),
}

impl Handshake {
    pub(super) fn new(
        (client, header_due): (Stream, HeaderDue),
        incoming: Incoming,
        now: Instant,
        snapshot: &Snapshot,
    ) -> Handshake {
        let first_byte = snapshot.listener_table(incoming.listener).and_then(|table| table.first_byte);
        let client = Answerable::new(client, snapshot.tls(incoming.listener));
        Handshake {
            header_due,
            first_byte_by: first_byte.map(|limit| now + limit),
            ..Handshake::over(client, incoming, now, snapshot)
        }
    }

    /// A handshake on a connection that was kept of an earlier request.
    pub(super) fn again(
        next: NextRequest,
        incoming: Incoming,
        now: Instant,
        snapshot: &Snapshot,
    ) -> Handshake {
        let NextRequest { client, edges, upstream, last_index } = next;
        let way = DialedBy { last_index, ..DialedBy::default() };
        Handshake { edges, kept: upstream, way, ..Handshake::over(client, incoming, now, snapshot) }
    }

    fn over(client: Answerable, incoming: Incoming, now: Instant, snapshot: &Snapshot) -> Handshake {
        Handshake {
            session: Session::new(incoming),
            client,
            edges: Edge::default(),
            waits_for: Waits::Bytes,
            deadline: now + snapshot.config.timeouts.handshake,
            left_at: None,
            header_due: HeaderDue::No,
            first_byte_by: None,
            accepted: now,
            phase_began: now,
            auth_began: None,
            context: None,
            held: None,
            kept: None,
            way: DialedBy::default(),
            led: None,
        }
    }

    /// Takes what it waits for, to go on with it.
    pub(super) fn take_waits(&mut self) -> Waits {
        std::mem::replace(&mut self.waits_for, Waits::Bytes)
    }

    /// An event of the client's socket.
    pub(super) fn client_event(&mut self, core: &mut Core, connection: &Connection, edge: Edge) -> Next {
        self.edges.add_unread(edge);
        if edge.failed && self.client.socket.take_error().is_some() {
            return Next::Close(Reason::ClientReset);
        }
        if self.session.wants_bytes() {
            return Next::Read;
        }
        if edge.fin && self.is_left_by_fin() {
            if self.authenticates() {
                // No request can follow: what is verified for it need not be.
                return Next::Close(Reason::ClientLeft);
            }
            self.begin_grace(core);
            return self.wait(core, connection);
        }
        Next::Wait
    }

    /// Whether the client's FIN came, and it is taken to have left.
    pub(super) fn is_left(&self) -> bool {
        self.edges.fin && self.is_left_by_fin()
    }

    /// Whether a client that sends FIN now is taken to have left. RFC 1928 has no word for it: FIN with bytes behind
    /// the request is a half-close, FIN with none is nearly always a client that is gone, and only the next moments can
    /// tell. While a peer is waited for it has left in any case, whatever it sent before: there is nobody yet who could
    /// answer, and a listener is more than a half-close may hold.
    fn is_left_by_fin(&self) -> bool {
        matches!(self.waits_for, Waits::Listener(_) | Waits::Peer(_))
            || !(self.session.has_pending() || self.client.socket.has_bytes())
    }

    /// Whether a client that is taken to have left has had its moment of grace by then.
    pub(super) fn left_before(&self, now: Instant) -> bool {
        self.left_at.is_some_and(|at| at <= now)
    }

    /// Whether it waits to learn who the client is.
    fn authenticates(&self) -> bool {
        matches!(
            self.waits_for,
            Waits::Login { .. }
                | Waits::Retry { .. }
                | Waits::Penalty { .. }
                | Waits::Context { .. }
                | Waits::RetryContext { .. }
        )
    }

    /// Waits, with its timer armed for the moment at which it has to be looked at without an event.
    pub(super) fn wait(&self, core: &mut Core, connection: &Connection) -> Next {
        core.arm(connection.key, self.wake_at());
        Next::Wait
    }

    /// When this handshake has to be looked at without an event.
    pub(super) fn wake_at(&self) -> Instant {
        let waits = match &self.waits_for {
            Waits::Retry { at, .. } | Waits::RetryContext { at, .. } => Some(*at),
            Waits::Penalty { until } => Some(*until),
            Waits::Connection(dial) => dial.next_at(),
            Waits::Parent(reaching) => Some(reaching.next_at()),
            Waits::Peer(listening) => listening.retry_at,
            Waits::Listener(_) | Waits::Front(_) | Waits::Connected(_) | Waits::Associated(_) => None,
            Waits::Bytes | Waits::Login { .. } | Waits::Context { .. } => None,
            Waits::Addresses | Waits::Name => None,
        };
        [waits, self.left_at, self.first_byte_by].into_iter().flatten().fold(self.deadline, Instant::min)
    }

    /// Whether it has sent nothing, and the time for that is up.
    pub(super) fn is_silent_at(&self, now: Instant) -> bool {
        self.first_byte_by.is_some_and(|by| by <= now)
    }

    /// Ends what the handshake waits for, as the time for it is up.
    pub(super) fn expire(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        match &self.waits_for {
            Waits::Connection(dial) => {
                dial.give_up(core.now);
                connection.left = dial.left_in_vain(connection.address);
                let failed = Counted::DialFailed(DialFailure::TimedOut);
                core.counters.add(failed, dial.under_way() as u64);
                Next::Answer(Input::Dialed(Err(DialError::TimedOut)))
            }
            Waits::Peer(_) => Next::Answer(Input::Accepted(Err(DialError::NobodyCame))),
            Waits::Listener(_) => Next::Answer(Input::Bound(Err(DialError::NobodyCame))),
            Waits::Addresses => Next::Answer(Input::Resolved(core.give_up_lookup(connection.key))),
            Waits::Name => Next::Answer(Input::Named(core.give_up_lookup(connection.key))),
            _ => self.give_up(connection, Failure::HandshakeTimeout),
        }
    }

    /// Hands the session what the client sent, if it has sent anything.
    pub(super) fn read(&mut self, core: &Core, connection: &Connection) -> ControlFlow<Next, Step> {
        if !self.may_hold(core, connection) {
            return ControlFlow::Continue(self.end_greedy());
        }
        if !self.edges.readable {
            // Everything before the FIN was read, and no request came of it.
            return if self.edges.fin { left(Failure::ClientLeft) } else { self.nothing_yet() };
        }
        let mut buffer = [0; limits::HANDSHAKE_READ_BYTES];
        match self.client.socket.recv(&mut buffer) {
            Read::Bytes(count) => {
                self.first_byte_by = None;
                self.edges.note_read(count, buffer.len());
                let step = self.session.handle(
                    Input::Bytes(&buffer[..count]),
                    core.rules(&connection.snapshot, connection.listener),
                );
                // They may be a password.
                buffer[..count].zeroize();
                ControlFlow::Continue(step)
            }
            Read::Blocked => {
                self.edges.readable = false;
                self.nothing_yet()
            }
            Read::End => left(Failure::ClientLeft),
            Read::Failed(_) => left(Failure::ClientReset),
        }
    }

    /// Waits for more bytes. Half a message is acknowledged at once, or Nagle's algorithm may hold back its other half.
    pub(super) fn nothing_yet(&self) -> ControlFlow<Next, Step> {
        if self.session.has_pending() || self.client.tls.as_ref().is_some_and(|tls| tls.held_bytes() > 0) {
            self.client.socket.acknowledge();
        }
        ControlFlow::Break(Next::Wait)
    }

    /// Ends the session of a client that sends halves of messages and no end of them.
    pub(super) fn end_greedy(&mut self) -> Step {
        let failure = Failure::Internal("handshakes from there hold as much as they may");
        let output = self.session.give_up(&failure);
        Step { output, command: Command::Close(failure) }
    }

    /// Whether the handshake may keep what it has of a message: it takes its part of the pool of half messages.
    pub(super) fn may_hold(&mut self, core: &Core, connection: &Connection) -> bool {
        let bytes = self.session.held_bytes() + self.client.tls.as_ref().map_or(0, |tls| tls.held_bytes());
        if bytes <= limits::HANDSHAKE_HELD_FREE {
            self.held = None;
            return true;
        }
        let nothing = || core.pools.half_messages.nothing(Source::from(connection.peer.ip()));
        self.held.get_or_insert_with(nothing).is_now(bytes)
    }

    /// Why a session is not to go on past its request, though its protocol would.
    pub(super) fn refusal(&self, core: &mut Core, connection: &mut Connection) -> Option<Failure> {
        if !connection.place.as_mut().is_none_or(|place| place.become_session()) {
            core.counters.count(Counted::SourceRefused);
            core.counters.limits.add(LimitId::PER_SOURCE, LimitKind::Connections, 1);
            return Some(Failure::SourceLimit);
        }
        if !self.may_be_recorded(core, connection) {
            core.counters.count(Counted::RefusedUnrecorded);
            return Some(Failure::Unrecorded);
        }
        None
    }

    /// Whether a session that made its request may go on: its record has room, where it must have.
    fn may_be_recorded(&self, core: &mut Core, connection: &mut Connection) -> bool {
        if !core.records.reserves() || connection.record_room > 0 {
            return true;
        }
        let facts = self.session.facts();
        let user = facts.identity.as_ref().and_then(Identity::user).map(|user| &**user);
        let led = if core.snapshot.parents.is_some() { limits::RECORD_PARENT_BYTES } else { 0 };
        let room = led
            + record_room(
                [user.or(facts.claimed_user.as_deref()), facts.user_typed()],
                facts.target.as_ref(),
                connection.proxied.as_deref(),
            );
        let had = core.records.reserve(room);
        if had {
            connection.record_room = u16::try_from(room).unwrap_or(u16::MAX);
        }
        had
    }

    /// Waits for what `waits_for` says, for `limit` at most.
    pub(super) fn enter(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        limit: Duration,
        waits_for: Waits,
    ) {
        self.begin_limit(core, connection, limit);
        self.waits_for = waits_for;
        // A FIN that came before this has had its event.
        if self.is_left() {
            self.begin_grace(core);
        }
    }

    /// Begins a phase of the handshake that may take until `limit` from now.
    pub(super) fn begin_limit(&mut self, core: &mut Core, connection: &mut Connection, limit: Duration) {
        self.note_handshake(core, connection);
        self.phase_began = core.now;
        self.deadline = core.now + limit;
    }

    /// The client is taken to have left, unless something comes about in the next moments.
    pub(super) fn begin_grace(&mut self, core: &Core) {
        self.left_at.get_or_insert(core.now + limits::LEFT_GRACE);
    }

    /// Keeps how long the request took to come, unless that is known.
    pub(super) fn note_handshake(&self, core: &mut Core, connection: &mut Connection) {
        connection.times.handshake_ms.get_or_insert_with(|| core.time(Timed::Handshake, self.accepted));
    }

    /// Counts how long it took to know who the client is.
    pub(super) fn note_auth(&mut self, core: &mut Core) {
        if let Some(began) = self.auth_began.take() {
            core.time(Timed::Auth, began);
        }
    }

    /// Ends the session for a cause that lies outside its protocol, with what its client is owed.
    pub(super) fn give_up(&mut self, connection: &Connection, failure: Failure) -> Next {
        let output = self.session.give_up(&failure);
        self.client.say(&output);
        refused(connection, failure)
    }

    /// The client's socket with a FIN behind its last words, for a moment in which they may arrive.
    pub(super) fn close_refused(
        self: Box<Self>,
        core: &mut Core,
        connection: &mut Connection,
        failure: &Failure,
    ) -> Stream {
        core.tell_refusal(connection.peer.ip(), failure, Some(self.session.facts()));
        if let Some(cause) = DenialCause::of(failure) {
            core.counters.count(Counted::Denied(cause));
        }
        if let Failure::Parameters(fault) = failure {
            // Nobody verifies such a login.
            let method = LoginMethod::of(self.session.facts());
            core.counters.count(Counted::Login(method, LoginResult::Failed));
            core.counters.count(Counted::ParametersRefused(*fault));
        }
        self.close_answered(core, connection)
    }

    /// The client's socket with a FIN behind what it asked for, for a moment in which that may arrive.
    pub(super) fn close_answered(
        mut self: Box<Self>,
        core: &mut Core,
        connection: &mut Connection,
    ) -> Stream {
        self.leave_facts(core, connection);
        drop(self.take_waits());
        self.client.finish();
        self.client.socket
    }

    /// The connection ends before it relays anything.
    pub(super) fn end(&mut self, core: &mut Core, connection: &mut Connection) {
        if let Waits::Addresses | Waits::Name | Waits::Parent(_) = self.waits_for {
            core.lookups.cancel(connection.key.ticket(), &core.registry, core.now);
        }
        self.leave_facts(core, connection);
    }

    /// Leaves what the session learnt to its connection, as the last that it does, and counts its request.
    pub(super) fn leave_facts(&mut self, core: &mut Core, connection: &mut Connection) {
        connection.facts = self.session.take_facts();
        core.counters.listeners.count(connection.listener, connection.facts.protocol);
        if let Some(request) = Counted::request_of(&connection.facts) {
            core.counters.count(request);
        }
        if let Some(decision) = connection.facts.decision {
            core.note_decision(&decision);
            if decision.logged && decision.allowed {
                core.tell_allowed(connection.peer.ip(), decision);
            }
        }
    }
}

/// Ends the session for a failure that its client was told of.
pub(super) fn refused(connection: &Connection, failure: Failure) -> Next {
    tracing::debug!(client = %connection.peer, %failure, "session refused");
    Next::Change(Change::Refuse(failure))
}

pub(super) fn left(failure: Failure) -> ControlFlow<Next, Step> {
    ControlFlow::Break(Next::Close(failure.reason()))
}
