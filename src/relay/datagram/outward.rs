//! By which way an association's datagrams leave for targets, and the socket of each family that they leave by.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::limits;
use crate::policy::egress::SessionPool;
use crate::policy::egress::health::Outcome;
use crate::policy::egress::standing::SourceUse;
use crate::policy::{Allowed, Route, Way};
use crate::sys::Errno;
use crate::sys::udp::DatagramSocket;

/// By which way the datagrams of an association leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outward {
    /// By this route.
    pub route: Route,
    /// By this way.
    pub way: Way,
}

impl Outward {
    /// Whether what leaves so leaves as policy wants.
    pub(super) fn obeys(&self, wanted: &Allowed) -> bool {
        wanted.is_met_by(&self.route, self.way)
    }
}

/// The pool that an association leaves from: one address of each family for as long as it lasts, of the same key as the
/// user's connections (RFC 4787 REQ-2).
#[derive(Debug)]
pub(super) struct AssociationPool {
    pool: SessionPool,
    /// What it has of the pool, by family.
    left: [Option<(IpAddr, Option<SourceUse>)>; 2],
}

impl AssociationPool {
    pub(super) fn new(pool: SessionPool) -> AssociationPool {
        AssociationPool { pool, left: [None, None] }
    }

    /// The pool.
    pub(super) fn pool(&self) -> &SessionPool {
        &self.pool
    }

    /// The first of its addresses that it leaves from.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.left.iter().flatten().map(|(source, _)| *source).next()
    }

    /// A socket for targets of this one's family. Where the address that it had before is of no use any more it has another.
    pub(super) fn open(&mut self, target: IpAddr, now: Instant) -> Option<DatagramSocket> {
        let AssociationPool { pool, left } = self;
        let options = pool.pool()?.options();
        let own = &mut left[usize::from(target.is_ipv6())];
        let before = own.take().map(|(source, _)| source);
        for source in before.into_iter().chain(pool.sources_for_any(target, now)) {
            let at = SocketAddr::new(source, 0);
            match DatagramSocket::bind_as(at, limits::UDP_RECEIVE_BUFFER_BYTES, options) {
                Ok(socket) => {
                    pool.note(source, target, Outcome::Bound, now);
                    *own = Some((source, pool.begin_for_any(source)));
                    return Some(socket);
                }
                Err(Errno::EADDRNOTAVAIL | Errno::EACCES) => {
                    pool.note(source, target, Outcome::AddressMissing, now);
                }
                Err(Errno::EADDRINUSE) => pool.note(source, target, Outcome::PortsUsedUp, now),
                Err(_) => return None,
            }
        }
        None
    }
}
