//! A connection in the slab of its worker: what every connection has, and the phase that it is in.

use super::associated::Associated;
use super::connection::Connection;
use super::handshake::Handshake;
use super::kept::Kept;
use super::linger::Linger;
use super::redialling::Redialling;
use super::relaying::Relaying;
use crate::limits;
use crate::outcome::Reason;
use crate::policy::accounts::LimitId;

/// A connection in the slab of its worker.
#[derive(Debug)]
pub(super) struct Slot {
    // Dropped first: a source has its place back once the sockets are closed.
    pub(super) phase: Phase,
    pub(super) connection: Connection,
}

/// Where a connection stands. Each phase owns its sockets.
#[derive(Debug)]
pub(super) enum Phase {
    Handshake(Box<Handshake>),
    Relaying(Relaying),
    Redialling(Box<Redialling>),
    Associated(Associated),
    Linger(Linger),
    /// Between two requests: it is no session.
    Kept(Box<Kept>),
    /// On the way from one phase to the next, for as long as that takes.
    Between,
}

impl Slot {
    /// The limit whose quota is used up and ends the session, if one is. What lingers has ended.
    pub(super) fn spent(&mut self) -> Option<LimitId> {
        match self.phase {
            Phase::Linger(_) | Phase::Kept(_) | Phase::Between => None,
            Phase::Handshake(_) | Phase::Relaying(_) | Phase::Redialling(_) | Phase::Associated(_) => {
                self.connection.places.as_mut()?.get_mut().ended()
            }
        }
    }

    /// Its record names this limit.
    pub(super) fn put_limit(&mut self, limit: LimitId) {
        match &mut self.phase {
            Phase::Handshake(handshake) => handshake.session.put_limit(limit),
            Phase::Relaying(_)
            | Phase::Redialling(_)
            | Phase::Associated(_)
            | Phase::Linger(_)
            | Phase::Kept(_)
            | Phase::Between => {
                self.connection.facts.limit = Some(limit);
            }
        }
    }
}

impl Phase {
    /// Whether there is a session: between two requests there is none.
    pub(super) fn is_session(&self) -> bool {
        !matches!(self, Phase::Kept(_))
    }

    /// Has every socket tell its peer, once it is closed, that the connection was cut off, whatever is still on its way.
    pub(super) fn reset_on_close(&self) {
        match self {
            Phase::Handshake(handshake) => handshake.client.socket.reset_on_close(),
            Phase::Relaying(relaying) => relaying.reset_on_close(),
            Phase::Redialling(redialling) => redialling.reset_on_close(),
            Phase::Associated(associated) => associated.reset_on_close(),
            Phase::Linger(linger) => linger.reset_on_close(),
            Phase::Kept(_) | Phase::Between => {}
        }
    }
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Close(Reason),
}

// An idle relay costs a slot, a timer's link and what the allocators add: see the bound in limits.rs.
const _: () = assert!(size_of::<Slot>() <= limits::SLOT_BYTES_MAX);
