//! What a listener of the configuration is, and what it is opened with.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::config::{Config, ConfiguredListener, Endpoint, ListenAddress};
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Options;
use crate::sys::machine;

/// What makes a listener the same as another: all of it, or else the address, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenerKind {
    pub(super) called: Arc<str>,
    pub(super) address: ListenAddress,
    /// A socket of IPv6 that leaves IPv4 to another. It cannot change its mind.
    pub(super) only_v6: bool,
}

impl ListenerKind {
    pub(super) fn has_address_of(&self, other: &ListenerKind) -> bool {
        (&self.address, self.only_v6) == (&other.address, other.only_v6)
    }
}

pub(super) fn kind_of(one: ConfiguredListener<'_>, config: &Config) -> ListenerKind {
    let only_v6 = one.endpoint().is_some_and(|endpoint| only_v6(endpoint.address, config));
    ListenerKind { called: one.name(), address: one.address(), only_v6 }
}

/// The address with the index of its interface.
pub(super) fn scoped(endpoint: &Endpoint) -> io::Result<SocketAddr> {
    let no_interface = || io::Error::other("there is no such interface");
    endpoint.scoped(machine::interface_index).ok_or_else(no_interface)
}

/// Nothing less than all of IPv4 takes IPv4 away from the wildcard of IPv6, and from no other address: one of IPv4 may be
/// written as one of IPv6.
fn only_v6(address: SocketAddr, config: &Config) -> bool {
    let shares_port = |other: &Endpoint| {
        address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            && other.address.port() == address.port()
            && other.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    endpoints(config).any(shares_port)
}

/// Where the listeners listen, in their order.
fn endpoints(config: &Config) -> impl Iterator<Item = &Endpoint> {
    config.all_listeners().filter_map(|one| one.endpoint())
}

pub(super) fn options(address: SocketAddr, config: &Config, congestion: CongestionControl) -> Options {
    Options {
        backlog: config.server.backlog,
        only_v6: only_v6(address, config),
        liveness: crate::worker::liveness(config),
        congestion,
    }
}
