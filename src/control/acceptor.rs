//! The SO_REUSEPORT groups: one listener for each worker and address, all opened before the first worker runs
//! and none closed before the drain, for a listener that closes takes its queue with it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::config::{Config, Endpoint, Steer};
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::{Listener, Options};
use crate::sys::machine;

/// Every listener, by group and worker.
#[derive(Debug)]
pub(super) struct Acceptor {
    groups: Vec<Vec<Arc<Listener>>>,
    addresses: Vec<SocketAddr>,
}

impl Acceptor {
    /// Opens every group.
    ///
    /// # Errors
    /// Which of the addresses, and what the kernel said of it.
    pub(super) fn open(
        config: &Config,
        congestion: CongestionControl,
    ) -> Result<Acceptor, (usize, io::Error)> {
        let mut acceptor = Acceptor { groups: Vec::new(), addresses: Vec::new() };
        for (nth, endpoint) in config.server.listen.iter().enumerate() {
            let opened = scoped(endpoint).and_then(|address| open_group(address, config, congestion));
            let (group, bound) = opened.map_err(|error| (nth, error))?;
            acceptor.groups.push(group);
            acceptor.addresses.push(bound);
        }
        Ok(acceptor)
    }

    /// The addresses as bound.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// One listener of every group.
    pub(super) fn for_worker(&self, worker: usize) -> Vec<Arc<Listener>> {
        self.groups.iter().map(|group| group[worker].clone()).collect()
    }

    /// Lets go of the listeners: each closes once its worker has emptied its queue.
    pub(super) fn close(&mut self) {
        self.groups.clear();
    }
}

/// Whether this address can be listened on; nothing listens on it afterwards.
///
/// # Errors
/// What the kernel said of it.
pub(super) fn probe(endpoint: &Endpoint, config: &Config, congestion: CongestionControl) -> io::Result<()> {
    let address = scoped(endpoint)?;
    Listener::probe(address, &options(address, config, congestion))
}

/// The address with the index of its interface.
fn scoped(endpoint: &Endpoint) -> io::Result<SocketAddr> {
    let no_interface = || io::Error::other("there is no such interface");
    endpoint.scoped(machine::interface_index).ok_or_else(no_interface)
}

fn options(address: SocketAddr, config: &Config, congestion: CongestionControl) -> Options {
    // Nothing less than all of IPv4 takes IPv4 away from the wildcard of IPv6, and from no other address: one of IPv4
    // may be written as one of IPv6.
    let shares_port = |other: &Endpoint| {
        address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            && other.address.port() == address.port()
            && other.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    Options {
        backlog: config.server.backlog,
        only_v6: config.server.listen.iter().any(shares_port),
        liveness: crate::worker::liveness(config),
        congestion,
    }
}

fn open_group(
    mut address: SocketAddr,
    config: &Config,
    congestion: CongestionControl,
) -> io::Result<(Vec<Arc<Listener>>, SocketAddr)> {
    let options = options(address, config, congestion);
    // SO_REUSEPORT would let two servers of one user share the address unnoticed: ask without it first.
    Listener::probe(address, &options)?;
    let mut group: Vec<Arc<Listener>> = Vec::with_capacity(config.server.workers);
    for _ in 0..config.server.workers {
        let listener = Listener::open(address, &options)?;
        // Port 0 becomes a port with the first listener; the others share it.
        address = listener.address()?;
        group.push(Arc::new(listener));
    }
    if config.server.steer == Steer::Cpu {
        group[0].steer_by_cpu(u32::try_from(group.len()).unwrap_or(u32::MAX))?;
    }
    Ok((group, address))
}
