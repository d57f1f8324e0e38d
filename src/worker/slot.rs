//! One connection: what it owns while it shakes hands, relays and closes.

use super::association::FrontSearch;
use super::dial::Dial;
use super::listening::{ListenerSearch, Listening};
use super::snapshot::Snapshot;
use super::tokens::Key;
use super::watch::Edge;
use crate::auth::Pending;
use crate::limits;
use crate::outcome::Reason;
use crate::policy::Incoming;
use crate::policy::sources::SourcePlace;
use crate::proto::userpass::Credentials;
use crate::relay::datagram::Association;
use crate::relay::{Engine, Kit, Relay, Side};
use crate::session::{Facts, Input, Session};
use crate::shares::Lent;
use crate::sys::gssapi::Context;
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A connection in the slab of its worker.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    /// Closed before the session ends only where the client is gone and the target lingers.
    pub(super) client: Option<Stream>,
    pub(super) upstream: Option<Stream>,
    pub(super) upstream_index: u8,
    /// Stands in the queue of those with more to do.
    pub(super) queued: bool,
    /// Reserved for its record, in bytes; 0 where nothing is.
    pub(super) record_room: u16,
    /// Keepalive and the user timeout are on for the upstream socket.
    pub(super) lively: bool,
    pub(super) phase: Phase,
    /// What it was accepted under: its time limits, its ports and its engines stay what they were then. Addresses it is
    /// judged by are facts, and always those that its worker knows now.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) peer: SocketAddr,
    /// Its place among those of its source, where these are limited; kept until its sockets are closed.
    pub(super) place: Option<Box<SourcePlace>>,
    pub(super) facts: Facts,
    pub(super) address: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) times: Times,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// What moved its bytes, once its relay is over.
    pub(super) engine: Engine,
}

/// Moments and durations of a session in milliseconds since the worker's start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) accepted_ms: u64,
    pub(super) active_ms: u64,
    pub(super) handshake_ms: Option<u32>,
    pub(super) dns_ms: Option<u32>,
    pub(super) connect_ms: Option<u32>,
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    Handshake(Box<Handshake>),
    Relay(Relay),
    Association(Box<Association>),
    Linger(Linger),
}

/// Everything that only the handshake needs; freed at the relay.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) session: Session,
    /// What the events of the client's socket promised.
    pub(super) edges: Edge,
    pub(super) waits_for: Waits,
    pub(super) deadline: Instant,
    /// The client sent FIN with nothing behind its request: when it is taken to have left.
    pub(super) left_at: Option<Instant>,
    pub(super) accepted: Instant,
    pub(super) phase_began: Instant,
    /// Opened for the reply, taken by the phase that follows.
    pub(super) association: Option<Box<Association>>,
    /// A security context between two of its rounds.
    pub(super) context: Option<Context>,
    /// What it has of the pool of half messages, once that is more than a little.
    pub(super) held: Option<Lent>,
}

/// Which answer a session waits for.
#[derive(Debug)]
pub(super) enum Waits {
    Bytes,
    Login {
        _pending: Pending,
    },
    /// A login to hand over again: the verifier's queue was full.
    Retry {
        credentials: Arc<Credentials>,
        at: Instant,
    },
    /// The answer to a wrong login that was answered before, held back.
    Penalty {
        until: Instant,
    },
    /// What the library makes of a token.
    Context {
        _pending: Pending,
    },
    /// A token to hand over again: the queue was full.
    RetryContext {
        context: Context,
        token: Vec<u8>,
        at: Instant,
    },
    Addresses,
    Connection(Box<Dial>),
    /// A port to listen on.
    Listener(Box<ListenerSearch>),
    /// A port for datagrams.
    Front(Box<FrontSearch>),
    /// A connection to a listener.
    Peer(Box<Listening>),
}

/// A closing connection: its side has our FIN and may still take bytes; what it sends is dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linger {
    pub(super) side: Side,
    pub(super) reason: Reason,
    pub(super) until: Instant,
    /// When even bytes that are not acknowledged are given up.
    pub(super) last: Instant,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Close(Reason),
}

/// What a handshake does next.
pub(super) enum Next {
    Read,
    Input(Input<'static>),
    /// Hand this input to the session, which goes on waiting for what it waits for.
    Tell(Input<'static>),
    /// Wait for an event or an answer.
    Wait,
    End(Fate),
}

impl Slot {
    /// A connection that was just accepted.
    pub(super) fn new(
        key: Key,
        client: Stream,
        incoming: Incoming,
        handshake: Handshake,
        snapshot: Arc<Snapshot>,
        now_ms: u64,
    ) -> Slot {
        Slot {
            key,
            client: Some(client),
            upstream: None,
            upstream_index: 0,
            queued: false,
            record_room: 0,
            lively: false,
            phase: Phase::Handshake(Box::new(handshake)),
            snapshot,
            peer: incoming.client,
            place: None,
            facts: Facts::default(),
            address: None,
            local: None,
            times: Times { accepted_ms: now_ms, active_ms: now_ms, ..Times::default() },
            bytes_up: 0,
            bytes_down: 0,
            engine: Engine::Copy,
        }
    }

    /// Keeps what an ending relay counted and gives back what it was lent.
    pub(super) fn settle(&mut self, kit: &mut Kit<Pipe>) {
        if let Phase::Relay(relay) = &mut self.phase {
            self.bytes_up = relay.bytes(Side::Client);
            self.bytes_down = relay.bytes(Side::Target);
            self.engine = relay.engine();
            relay.release(kit);
        }
    }

    pub(super) fn socket(&self, side: Side) -> Option<&Stream> {
        match side {
            Side::Client => self.client.as_ref(),
            Side::Target => self.upstream.as_ref(),
        }
    }
}

impl Handshake {
    pub(super) fn new(incoming: Incoming, now: Instant, deadline: Instant) -> Handshake {
        Handshake {
            session: Session::new(incoming),
            edges: Edge::default(),
            waits_for: Waits::Bytes,
            deadline,
            left_at: None,
            accepted: now,
            phase_began: now,
            association: None,
            context: None,
            held: None,
        }
    }

    /// Whether a client that sends FIN now is taken to have left. RFC 1928 has no word for it: FIN with bytes behind
    /// the request is a half-close, FIN with none is nearly always a client that is gone, and only the next moments can
    /// tell. While a peer is waited for it has left in any case, whatever it sent before: there is nobody yet who could
    /// answer, and a listener is more than a half-close may hold.
    pub(super) fn is_left_by_fin(&self, client: &Stream) -> bool {
        matches!(self.waits_for, Waits::Listener(_) | Waits::Peer(_))
            || !(self.session.has_pending() || client.has_bytes())
    }

    /// Whether it waits to learn who the client is.
    pub(super) fn authenticates(&self) -> bool {
        matches!(
            self.waits_for,
            Waits::Login { .. }
                | Waits::Retry { .. }
                | Waits::Penalty { .. }
                | Waits::Context { .. }
                | Waits::RetryContext { .. }
        )
    }

    /// Whether its second socket listens.
    pub(super) fn listens(&self) -> bool {
        matches!(self.waits_for, Waits::Peer(_))
    }

    /// When this handshake has to be looked at without an event.
    pub(super) fn wake_at(&self) -> Instant {
        let waits = match &self.waits_for {
            Waits::Retry { at, .. } | Waits::RetryContext { at, .. } => Some(*at),
            Waits::Penalty { until } => Some(*until),
            Waits::Connection(dial) => dial.next_at(),
            Waits::Peer(listening) => listening.retry_at(),
            Waits::Listener(_) | Waits::Front(_) => None,
            Waits::Bytes | Waits::Login { .. } | Waits::Context { .. } | Waits::Addresses => None,
        };
        [waits, self.left_at].into_iter().flatten().fold(self.deadline, Instant::min)
    }
}

pub(super) fn since(began: Instant, now: Instant) -> u32 {
    u32::try_from(now.saturating_duration_since(began).as_millis()).unwrap_or(u32::MAX)
}

// An idle relay costs a slot, a timer's link and what the allocators add: see the bound in limits.rs.
const _: () = assert!(size_of::<Slot>() <= limits::SLOT_BYTES_MAX);
