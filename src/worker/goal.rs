//! What a connection through a parent is for, and what comes of the attempts at it.

use std::net::{IpAddr, SocketAddr};

use super::dial::Won;
use super::tokens::{CHECK_LOOKUP, Key};
use crate::limits;
use crate::policy::{Allowed, RoutedAddress};
use crate::proto::address::{Host, Target};
use crate::proto::client::ProxyBound;
use crate::proto::request::RequestCommand;
use crate::relay::datagram::{LedDatagrams, Outward};
use crate::session::{Announced, DialError};
use crate::sys::stream::Stream;

/// For whom a connection is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) key: Key,
    /// The client, where there is one with an address.
    pub(super) client: Option<SocketAddr>,
    /// Whose shares of what anyone can fill it takes.
    pub(super) ip: IpAddr,
    /// Nobody waits for it: it is a look at whether the server serves.
    pub(super) checks: bool,
}

impl Caller {
    /// The ticket of its lookup.
    pub(super) fn ticket(&self) -> u64 {
        let lookup = if self.checks { CHECK_LOOKUP } else { 0 };
        self.key.lookup_ticket(lookup)
    }
}

/// What a parent is asked for.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// To connect to a name that it resolves.
    Named(Target, Allowed),
    /// To connect to one of these addresses, in this order of preference.
    Addresses(Vec<RoutedAddress>),
    /// To take datagrams.
    Datagrams(Allowed),
}

/// An association that is to go through a parent, before it begins.
#[derive(Debug)]
pub(super) struct LedHandshake {
    pub(super) announced: Announced,
    pub(super) outward: Outward,
    pub(super) datagrams: LedDatagrams,
    /// The parent's control connection: its end is the association's.
    pub(super) control: Option<Stream>,
}

/// What came of a step.
#[derive(Debug)]
pub(super) enum ReachStep {
    /// Nothing yet.
    Pending,
    /// The connection.
    Stands(Won),
    /// No connection.
    Failed(DialError),
    /// No server can be had, and the target is to be dialled without any.
    Direct,
}

impl Goal {
    pub(super) fn allowed(&self, nth: usize) -> Allowed {
        match self {
            Goal::Named(_, allowed) | Goal::Datagrams(allowed) => *allowed,
            Goal::Addresses(list) => list.get(nth).map(|one| one.allowed).unwrap_or_default(),
        }
    }

    /// What the last proxy of a chain is told.
    pub(super) fn target(&self, nth: usize) -> Target {
        match self {
            Goal::Named(target, _) => target.clone(),
            Goal::Addresses(list) => {
                let address = list.get(nth).map(|one| one.address);
                let address = address.unwrap_or_else(|| SocketAddr::from(([0; 4], 0)));
                Target { host: Host::Ip(address.ip()), port: address.port() }
            }
            // RFC 1928 section 7: from where datagrams will come we do not know before they do.
            Goal::Datagrams(_) => Target { host: Host::Ip(IpAddr::from([0; 4])), port: 0 },
        }
    }

    pub(super) fn command(&self) -> RequestCommand {
        match self {
            Goal::Named(..) | Goal::Addresses(_) => RequestCommand::Connect,
            Goal::Datagrams(_) => RequestCommand::UdpAssociate,
        }
    }

    /// How many targets it has, one of which is enough.
    pub(super) fn targets(&self) -> usize {
        match self {
            Goal::Named(..) | Goal::Datagrams(_) => 1,
            Goal::Addresses(list) => list.len().min(limits::DIAL_ADDRESSES_MAX),
        }
    }

    /// The target's address, where it is known.
    pub(super) fn address(&self, nth: usize) -> Option<SocketAddr> {
        match self {
            Goal::Addresses(list) => list.get(nth).map(|one| one.address),
            Goal::Named(..) | Goal::Datagrams(_) => None,
        }
    }

    /// What a server at one address tells of its side to us at the other: by which address the target sees it, or where it takes
    /// datagrams. All zeros are no address. Where they stand for one (RFC 1928 section 6 has it told, and many do not), the
    /// datagrams go to where the server is; and of a tunnel's other end our own is told.
    pub(super) fn bound(
        &self,
        ProxyBound(said): &ProxyBound,
        (server, local): (SocketAddr, SocketAddr),
    ) -> SocketAddr {
        let told = said.as_ref().and_then(|target| match target.host {
            Host::Ip(ip) if !ip.is_unspecified() => Some(SocketAddr::new(ip, target.port)),
            _ => None,
        });
        told.unwrap_or_else(|| match self {
            Goal::Datagrams(_) => SocketAddr::new(server.ip(), said.as_ref().map_or(0, |target| target.port)),
            Goal::Named(..) | Goal::Addresses(_) => local,
        })
    }
}
