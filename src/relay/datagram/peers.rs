//! The addresses to which a client has sent: they may answer (RFC 4787 section 5, address-dependent filtering).

use std::net::{IpAddr, SocketAddr};

use super::drops::Drop;
use crate::config::Filtering;
use crate::limits;

/// A set of addresses in two generations: a full one becomes the old one, and what is used moves to the new one. So
/// it is bounded, and what is in use is never forgotten.
#[derive(Debug, Default)]
pub(super) struct KnownPeers {
    /// Sorted.
    young: Vec<IpAddr>,
    old: Vec<IpAddr>,
}

impl KnownPeers {
    /// Remembers an address that is sent to.
    pub(super) fn insert(&mut self, ip: IpAddr) {
        let Err(at) = self.young.binary_search(&ip) else { return };
        if self.young.len() < limits::UDP_PEERS_MAX / 2 {
            self.young.insert(at, ip);
        } else {
            self.old = std::mem::replace(&mut self.young, vec![ip]);
        }
    }

    /// Whether what this address sends is passed to the client.
    pub(super) fn may_answer(
        &self,
        from: IpAddr,
        filtering: Filtering,
        client: Option<SocketAddr>,
    ) -> Result<(), Drop> {
        if client.is_none() {
            return Err(Drop::NoClient);
        }
        match filtering {
            Filtering::Address if !self.has(from) => Err(Drop::Filtered),
            Filtering::Address | Filtering::EndpointIndependent => Ok(()),
        }
    }

    fn has(&self, ip: IpAddr) -> bool {
        self.young.binary_search(&ip).is_ok() || self.old.binary_search(&ip).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn what_is_in_use_is_kept_and_the_rest_is_bounded() {
        let ip = |number: usize| IpAddr::from(Ipv4Addr::from_bits(number as u32));
        let mut peers = KnownPeers::default();
        for number in 1..=4 * limits::UDP_PEERS_MAX {
            peers.insert(ip(0));
            peers.insert(ip(number));
            assert!(peers.has(ip(0)) && peers.has(ip(number)));
            assert!(peers.young.len() + peers.old.len() <= limits::UDP_PEERS_MAX);
        }
        assert!(!peers.has(ip(1)));
    }
}
