//! What a session has of the pool of addresses that it leaves from, and what comes of that.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::observe::live::LiveEgress;
use crate::policy::EgressId;
use crate::policy::egress::SessionPool;
use crate::policy::egress::health::Outcome;
use crate::policy::egress::standing::SourceUse;
use crate::session::DialError;
use crate::sys::Errno;

/// What a session, or an attempt of one, has of its pool. Given back when dropped.
#[derive(Debug)]
pub(super) struct Left {
    pool: SessionPool,
    /// `None`: from whichever it was tried, it came to nothing.
    source: Option<IpAddr>,
    target: IpAddr,
    used: Option<SourceUse>,
}

impl Left {
    /// A connection from this address of the pool to this target.
    pub(super) fn towards(pool: &SessionPool, source: IpAddr, target: SocketAddr) -> Left {
        let used = pool.begin(source, target);
        Left { pool: pool.clone(), source: Some(source), target: target.ip(), used }
    }

    /// A socket at this address of the pool, for any target.
    pub(super) fn for_any(pool: &SessionPool, source: IpAddr) -> Left {
        let used = pool.begin_for_any(source);
        Left { pool: pool.clone(), source: Some(source), target: source, used }
    }

    /// Nothing left by the pool that was meant for this target.
    pub(super) fn in_vain(pool: &SessionPool, target: SocketAddr) -> Left {
        Left { pool: pool.clone(), source: None, target: target.ip(), used: None }
    }

    /// The peer came that a listener was for.
    pub(super) fn met(&mut self, peer: IpAddr, now: Instant) {
        self.target = peer;
        self.note(Outcome::Connected, now);
    }

    /// What came of it.
    pub(super) fn note(&self, outcome: Outcome, now: Instant) {
        self.source.iter().for_each(|source| self.pool.note(*source, self.target, outcome, now));
    }

    /// The target has its FIN from us before its own came, or will have: the port stays in TIME_WAIT (RFC 9293 section 3.3.2).
    pub(super) fn closes_first(&mut self) {
        self.used.iter_mut().for_each(SourceUse::closes_first);
    }

    /// The target closed first, or was reset: the port is free once the socket is closed.
    pub(super) fn leaves_port_free(&mut self) {
        self.used.iter_mut().for_each(SourceUse::was_reset);
    }

    /// The pool, and the address of it that was left from.
    pub(super) fn from(&self) -> Option<(EgressId, IpAddr)> {
        Some((self.pool.id(), self.source?))
    }

    /// The pool's name.
    pub(super) fn name(&self) -> Option<&str> {
        self.pool.pool().map(|pool| &**pool.name())
    }

    /// What records have of it.
    pub(super) fn seen(&self) -> Option<LiveEgress> {
        let (name, session_key) = (self.name()?.into(), self.pool.session_key());
        Some(LiveEgress { name, address: self.source, session_key })
    }
}

/// Whether another address of the pool may do where the kernel said this of one.
pub(super) fn another_may_do(error: DialError) -> bool {
    matches!(outcome_of(error), Some(Outcome::PortsUsedUp | Outcome::AddressMissing | Outcome::Unreachable))
}

/// What a failed attempt says of the address that it left from; `None` where that is nothing.
pub(super) fn outcome_of(error: DialError) -> Option<Outcome> {
    match error {
        DialError::Refused => Some(Outcome::Refused),
        DialError::TimedOut => Some(Outcome::TimedOut),
        DialError::HostUnreachable | DialError::NetworkUnreachable => Some(Outcome::Unreachable),
        DialError::NoLocalPort => Some(Outcome::PortsUsedUp),
        DialError::Local(errno) => {
            let missing = [Errno::EADDRNOTAVAIL, Errno::EACCES].contains(&Errno::from_raw(errno));
            missing.then_some(Outcome::AddressMissing)
        }
        _ => None,
    }
}
