//! The verdict: whether a subject may have what it asks for, and what both are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::guard::Refusal;
use crate::auth::Identity;
use crate::proto::request::RequestCommand;

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The listener that took it, by its place in `server.listen`.
    pub listener: u16,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// How its connection came in.
    pub incoming: Incoming,
    /// Who it is.
    pub identity: &'a Identity,
    /// What its request is for.
    pub command: RequestCommand,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// What the command opens before it is known for whom: a listener for any peer, an association.
    AnyPeer,
    /// A connection or a datagram to this address, as it would be dialled.
    To(SocketAddr),
    /// A connection or a datagram from this address.
    From(SocketAddr),
}

/// By which way something goes out, where that is not the kernel's to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The address that it leaves from; to addresses of the other family there is no way then.
    pub source: Option<IpAddr>,
    /// The mark of its packets (SO_MARK), for the machine's own rules to choose by.
    pub mark: Option<u32>,
}

impl Route {
    /// Whether it leads to addresses of this one's family.
    pub fn serves(&self, ip: IpAddr) -> bool {
        self.source.is_none_or(|source| source.is_ipv4() == ip.to_canonical().is_ipv4())
    }

    /// Whether what leaves by this route leaves as `wanted` says: what that leaves open may be anything.
    pub fn obeys(&self, wanted: &Route) -> bool {
        let source = |route: &Route| route.source.map(|ip| ip.to_canonical());
        (wanted.source.is_none() || source(self) == source(wanted))
            && (wanted.mark.is_none() || self.mark == wanted.mark)
    }
}

/// An address that was allowed, and by which route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedAddress {
    /// The address, as it is dialled.
    pub address: SocketAddr,
    /// The route by which it is dialled.
    pub route: Route,
}

/// What policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The subject may have it, by this route.
    Allow(Route),
    /// The subject may not have it.
    Deny(Denial),
}

/// Why something is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The guard refuses the address.
    Guard(Refusal),
    /// This rule says so, by its number.
    Rule(u16),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::Guard(refusal) => refusal.fmt(f),
            Denial::Rule(number) => write!(f, "rule {number}"),
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Denial {
        Denial::Guard(refusal)
    }
}
