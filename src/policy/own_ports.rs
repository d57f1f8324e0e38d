//! The UDP ports that associations have open, all workers' together: a datagram to one of them would be a loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// How many sockets of ours are bound to each port, those of IPv4 before those of IPv6: a number may be ours in one and
/// a client's in the other. Written when a socket comes or goes, read for each datagram.
#[derive(Debug)]
pub struct OwnPorts(Box<[AtomicU16]>);

/// Ports of one family.
const PORTS: usize = u16::MAX as usize + 1;

/// Keeps a port on the list; dropped after its socket is closed.
#[derive(Debug)]
pub struct HeldPort {
    ports: Arc<OwnPorts>,
    at: usize,
}

impl Default for OwnPorts {
    fn default() -> OwnPorts {
        OwnPorts((0..2 * PORTS).map(|_| AtomicU16::new(0)).collect())
    }
}

impl OwnPorts {
    /// Whether a socket of ours is bound to the port of `address` in its family, at whatever address.
    pub fn has(&self, address: SocketAddr) -> bool {
        self.0[index(address)].load(Ordering::Relaxed) > 0
    }

    /// Puts the port of a socket bound to `address` on the list for as long as the returned value lives.
    #[must_use]
    pub fn hold(self: &Arc<OwnPorts>, address: SocketAddr) -> HeldPort {
        let at = index(address);
        self.0[at].fetch_add(1, Ordering::Relaxed);
        HeldPort { ports: self.clone(), at }
    }
}

/// An IPv4-mapped address is an IPv4 address.
fn index(address: SocketAddr) -> usize {
    let family = usize::from(address.ip().to_canonical().is_ipv6());
    family * PORTS + usize::from(address.port())
}

impl Drop for HeldPort {
    fn drop(&mut self) {
        self.ports.0[self.at].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_ours_until_its_last_holder_is_gone() {
        let ports = Arc::new(OwnPorts::default());
        let here = at("127.0.0.1:65535");
        assert!(!ports.has(here));
        let (one, other) = (ports.hold(here), ports.hold(at("0.0.0.0:65535")));
        drop(one);
        assert!(ports.has(here) && !ports.has(at("127.0.0.1:65534")));
        drop(other);
        assert!(!ports.has(here));
    }

    #[test]
    fn a_number_is_taken_in_both_families_at_once() {
        let ports = Arc::new(OwnPorts::default());
        let (_six, _four) = (ports.hold(at("[::]:7")), ports.hold(at("0.0.0.0:65535")));
        assert!(ports.has(at("[::1]:7")) && !ports.has(at("127.0.0.1:7")));
        assert!(!ports.has(at("[::1]:65535")) && !ports.has(at("[::1]:0")));
        assert!(ports.has(at("[::ffff:127.0.0.1]:65535")) && !ports.has(at("[::ffff:127.0.0.1]:7")));
    }
}
