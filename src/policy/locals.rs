//! The addresses at which this machine answers: those of its interfaces, and the blocks that a `local` route delivers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A set of addresses, looked up in the logarithm of its size: it is asked for every address that a client names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locals {
    /// First and last address of each block; disjoint, in order.
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
}

impl Locals {
    /// The set of all that these blocks cover. IPv4-mapped ones are the IPv4 blocks that they stand for.
    pub fn new(nets: impl IntoIterator<Item = impl Into<IpNet>>) -> Locals {
        let nets: Vec<IpNet> = nets.into_iter().map(|net| unmapped(net.into())).collect();
        let mut locals = Locals::default();
        for net in IpNet::aggregate(&nets) {
            match net {
                IpNet::V4(net) => locals.v4.push((net.network(), net.broadcast())),
                IpNet::V6(net) => locals.v6.push((net.network(), net.broadcast())),
            }
        }
        locals.v4.sort_unstable();
        locals.v6.sort_unstable();
        locals
    }

    /// Whether canonical `ip` is one of them.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => covers(&self.v4, ip),
            IpAddr::V6(ip) => covers(&self.v6, ip),
        }
    }

    /// Whether one of the blocks that they are known by holds all of a canonical one.
    pub fn covers(&self, net: &IpNet) -> bool {
        match net {
            IpNet::V4(net) => covers_all(&self.v4, net.network(), net.broadcast()),
            IpNet::V6(net) => covers_all(&self.v6, net.network(), net.broadcast()),
        }
    }

    /// How many blocks it takes to say which.
    pub fn blocks(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

fn covers<T: Ord + Copy>(blocks: &[(T, T)], ip: T) -> bool {
    let behind = blocks.partition_point(|(first, _)| *first <= ip);
    behind.checked_sub(1).is_some_and(|at| ip <= blocks[at].1)
}

fn covers_all<T: Ord + Copy>(blocks: &[(T, T)], first: T, last: T) -> bool {
    let behind = blocks.partition_point(|(begin, _)| *begin <= first);
    behind.checked_sub(1).is_some_and(|at| last <= blocks[at].1)
}

/// A CIDR within ::ffff:0:0/96 as the IPv4 CIDR that it is.
pub(super) fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(base), Some(length)) => IpNet::new(base.into(), length).unwrap_or(net),
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_its_blocks_cover_and_nothing_else() {
        let nets = ["203.0.114.0/24", "192.0.2.9/32", "203.0.114.7/32", "::1/128", "2001:db8::/64"];
        let locals = Locals::new(nets.map(|net| net.parse::<IpNet>().unwrap()));
        let has = |ip: &str| locals.contains(ip.parse().unwrap());
        for ip in ["203.0.114.0", "203.0.114.255", "192.0.2.9", "::1", "2001:db8::ffff:1"] {
            assert!(has(ip), "{ip}");
        }
        for ip in ["203.0.113.255", "203.0.115.0", "192.0.2.8", "192.0.2.10", "::", "::2", "2001:db8:0:1::"] {
            assert!(!has(ip), "{ip}");
        }
        assert!(!Locals::default().contains("0.0.0.0".parse().unwrap()));
        let covers = |net: &str| locals.covers(&net.parse().unwrap());
        for net in ["203.0.114.0/24", "203.0.114.128/25", "2001:db8::/64", "2001:db8::7:0/112", "::1/128"] {
            assert!(covers(net), "{net}");
        }
        for net in ["203.0.114.0/23", "203.0.115.0/24", "2001:db8::/63", "::/0", "192.0.2.8/31"] {
            assert!(!covers(net), "{net}");
        }
    }

    #[test]
    fn a_mapped_block_is_an_ipv4_block() {
        let locals = Locals::new([IpNet::new("::ffff:192.0.2.0".parse().unwrap(), 120).unwrap()]);
        assert!(locals.contains("192.0.2.200".parse().unwrap()));
    }

    #[test]
    fn everything_can_be_local() {
        let locals = Locals::new(["0.0.0.0/0".parse::<IpNet>().unwrap(), "::/0".parse().unwrap()]);
        assert_eq!(locals.blocks(), 2);
        assert!(locals.contains("255.255.255.255".parse().unwrap()));
        assert!(locals.contains("::".parse().unwrap()));
    }
}
