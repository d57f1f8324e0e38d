//! The guard: which addresses no client may reach, whatever the rules say.
//!
//! Two refusals. Special-purpose destinations (loopback, private, link-local and so on, in every form that an
//! address can take) are refused unless the operator exempts them. Our own listeners are refused always: a
//! relay to itself is a loop. The guard judges addresses after resolution and never names; it reads no
//! interface and no clock.

use super::carried::embedded;
use super::special::{MAPPED, special_v4, special_v6};
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why the guard refuses an address. Policy is at fault in the reply's sense, except for `SelfConnect`, which
/// stands for a port that nobody listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The address is of a special-purpose range; which one.
    SpecialPurpose(&'static str),
    /// The address is one of our listeners, by whatever alias.
    OwnListener,
    /// The connection that was made leads to itself: a socket whose local port was the one it dialled.
    SelfConnect,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecialPurpose(range) => write!(f, "special-purpose destination ({range})"),
            Self::OwnListener => f.write_str("our own listener"),
            Self::SelfConnect => f.write_str("the socket connected to itself"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Judges addresses. Immutable once built: a reload or a change of interfaces builds another.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow_private: bool,
    allow: Vec<IpNet>,
    own: Vec<SocketAddr>,
    locals: Vec<IpAddr>,
}

impl Guard {
    /// A guard that exempts what `allow` covers from the special-purpose refusal, or everything with
    /// `allow_private`. `own` are the addresses that we listen on as they are bound (real ports, wildcards
    /// included); nothing exempts them.
    pub fn new(allow_private: bool, allow: Vec<IpNet>, own: Vec<SocketAddr>) -> Self {
        Self {
            allow_private,
            allow: allow.into_iter().map(unmapped).collect(),
            own: own.into_iter().map(|listener| canonical(listener.ip(), listener.port())).collect(),
            locals: Vec::new(),
        }
    }

    /// Adds the addresses of the local interfaces, at each of which a wildcard listener answers. An address
    /// that the kernel delivers locally without an interface having it (a `local` route) belongs here too.
    #[must_use]
    pub fn with_locals(mut self, locals: Vec<IpAddr>) -> Self {
        self.locals = locals.into_iter().map(|local| local.to_canonical()).collect();
        self
    }

    /// Whether a client may reach `address`.
    ///
    /// # Errors
    /// [`Refusal::OwnListener`] first, then [`Refusal::SpecialPurpose`]; never [`Refusal::SelfConnect`],
    /// which [`check_connected`] finds.
    pub fn check(&self, address: SocketAddr) -> Result<(), Refusal> {
        if self.is_own(address) {
            return Err(Refusal::OwnListener);
        }
        self.check_purpose(address.ip())
    }

    /// The same for what has ports of its own: our listeners are TCP's, and a datagram never reaches them.
    ///
    /// # Errors
    /// [`Refusal::SpecialPurpose`].
    pub fn check_purpose(&self, ip: IpAddr) -> Result<(), Refusal> {
        if self.allow_private {
            return Ok(());
        }
        match ip {
            IpAddr::V4(v4) => self.check_v4(v4),
            IpAddr::V6(v6) => self.check_v6(v6),
        }
        .map_err(Refusal::SpecialPurpose)
    }

    /// Whether a connection to `address` would reach one of our listeners, by any alias. The unspecified
    /// address is one of every listener's: the kernel takes it for loopback, or for the source address that
    /// the socket is bound to.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        if self.own.iter().all(|listener| listener.port() != address.port()) {
            return false;
        }
        let plain = canonical(address.ip(), address.port());
        let carried = match plain.ip() {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => embedded(v6).map(|inner| SocketAddr::new(inner.v4.into(), address.port())),
        };
        self.own.iter().any(|listener| {
            self.reaches(plain, *listener) || carried.is_some_and(|inner| self.reaches(inner, *listener))
        })
    }

    /// Whether packets to `ip` stay on this machine, whatever listens there.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_unspecified() || ip.is_loopback() || self.locals.contains(&ip)
    }

    /// Whether canonical `address` ends at canonical `listener`.
    fn reaches(&self, address: SocketAddr, listener: SocketAddr) -> bool {
        if address.port() != listener.port() {
            return false;
        }
        let ip = address.ip();
        if ip.is_unspecified() || ip == listener.ip() {
            return true;
        }
        listener.ip().is_unspecified() && (ip.is_loopback() || self.locals.contains(&ip))
    }

    fn check_v4(&self, address: Ipv4Addr) -> Result<(), &'static str> {
        match special_v4(address) {
            Some(range) if self.exemption(address.into()).is_none() => Err(range),
            _ => Ok(()),
        }
    }

    fn check_v6(&self, address: Ipv6Addr) -> Result<(), &'static str> {
        if let Some(v4) = address.to_ipv4_mapped() {
            // The kernel connects to the IPv4 address: an exemption of that is one of this.
            return match self.exemption(v4.into()) {
                Some(_) => Ok(()),
                None => Err(special_v4(v4).unwrap_or(MAPPED)),
            };
        }
        let Some(range) = special_v6(address) else { return Ok(()) };
        let Some(prefix) = self.exemption(address.into()) else { return Err(range) };
        match embedded(address) {
            // To exempt a translator's prefix is not to exempt the private addresses behind it; a CIDR
            // longer than that prefix names them and does.
            Some(inner) if u32::from(prefix) <= inner.prefix => self.check_v4(inner.v4),
            _ => Ok(()),
        }
    }

    /// The length of the longest exempt prefix that covers canonical `address`.
    fn exemption(&self, address: IpAddr) -> Option<u8> {
        self.allow.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()
    }
}

/// Finds a connection that leads to itself: dialling a port of the ephemeral range on a local address can
/// take that very port for the local end, and TCP's simultaneous open does the rest.
///
/// # Errors
/// [`Refusal::SelfConnect`] when the two ends are one.
pub fn check_connected(local: SocketAddr, peer: SocketAddr) -> Result<(), Refusal> {
    if canonical(local.ip(), local.port()) == canonical(peer.ip(), peer.port()) {
        return Err(Refusal::SelfConnect);
    }
    Ok(())
}

/// The address without flow label and scope, IPv4 where it is mapped.
fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// A CIDR within ::ffff:0:0/96 as the IPv4 CIDR that it is.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(base), Some(length)) => IpNet::new(base.into(), length).unwrap_or(net),
        _ => net,
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
