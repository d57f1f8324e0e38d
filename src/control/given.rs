//! Listeners that another process opened and has, too: the server before this one, or a service manager.
//!
//! Nothing of such a socket is changed before the server goes by it alone ([`super::acceptor::Acceptor::settle`]): until then
//! it is as much the other's, who may have to go on.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::listener_kind::ListenerKind;
use crate::admin::SocketFile;
use crate::config::ListenAddress;
use crate::sys::listener::Listener;

/// One of them.
#[derive(Debug)]
pub(super) struct GivenListener {
    /// As whoever gave it knows it.
    pub(super) number: Option<u16>,
    /// What it is called; empty where that is not known. Of several with port 0 it tells which is which.
    pub(super) called: Arc<str>,
    /// As it is, or was, configured; without that as it is bound.
    pub(super) address: ListenAddress,
    /// Where it is bound; a unix socket is nowhere.
    pub(super) bound: Option<SocketAddr>,
    pub(super) only_v6: bool,
    /// A service manager keeps its sockets for whoever comes next.
    pub(super) kept: bool,
    /// Those of its group, in the order in which they were bound.
    pub(super) sockets: Vec<Listener>,
    /// The file of a unix socket that is to go with this server; `None` where another looks after it.
    pub(super) file: Option<SocketFile>,
}

impl GivenListener {
    /// That of these sockets, which are bound to one address.
    ///
    /// # Errors
    /// One of them does not listen, or is bound elsewhere than the first, or there is none.
    pub(super) fn of(sockets: Vec<OwnedFd>) -> io::Result<GivenListener> {
        let sockets = sockets.into_iter().map(Listener::given).collect::<io::Result<Vec<_>>>()?;
        let first = sockets.first().ok_or(io::ErrorKind::InvalidInput)?;
        let (address, bound) = place_of(first)?;
        let wildcard = Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let only_v6 = bound.map(|bound| bound.ip()) == wildcard && first.is_only_v6();
        for other in &sockets[1..] {
            if place_of(other)?.0 != address {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "its sockets are bound to several addresses",
                ));
            }
        }
        Ok(GivenListener {
            number: None,
            called: Arc::from(""),
            address,
            bound,
            only_v6,
            kept: false,
            sockets,
            file: None,
        })
    }

    pub(super) fn kind(&self) -> ListenerKind {
        ListenerKind { called: self.called.clone(), address: self.address.clone(), only_v6: self.only_v6 }
    }
}

/// Where a socket is bound.
fn place_of(socket: &Listener) -> io::Result<(ListenAddress, Option<SocketAddr>)> {
    if let Some(path) = socket.path() {
        return Ok((ListenAddress::Unix(path), None));
    }
    let bound = socket.address()?;
    Ok((ListenAddress::Tcp(bound.into()), Some(bound)))
}

#[cfg(test)]
mod tests;
