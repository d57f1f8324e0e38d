//! Both special-purpose registries of IANA, row by row, and what the guard makes of each.
//!
//! https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry, written by hand: block,
//! RFC, and "Globally Reachable". "N/A" stands for what is retired, or reachable as what it carries.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{special_v4, special_v6};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reachable {
    True,
    False,
    NotApplicable,
}

use Reachable::{False, NotApplicable, True};

const REGISTRY_V4: &[(&str, &str, Reachable)] = &[
    ("0.0.0.0/8", "RFC 791, this network", False),
    ("0.0.0.0/32", "RFC 1122, this host on this network", False),
    ("10.0.0.0/8", "RFC 1918, private use", False),
    ("100.64.0.0/10", "RFC 6598, shared address space", False),
    ("127.0.0.0/8", "RFC 1122, loopback", False),
    ("169.254.0.0/16", "RFC 3927, link local", False),
    ("172.16.0.0/12", "RFC 1918, private use", False),
    ("192.0.0.0/24", "RFC 6890, IETF protocol assignments", False),
    ("192.0.0.0/29", "RFC 7335, IPv4 service continuity prefix", False),
    ("192.0.0.8/32", "RFC 7600, IPv4 dummy address", False),
    ("192.0.0.9/32", "RFC 7723, Port Control Protocol anycast", True),
    ("192.0.0.10/32", "RFC 8155, TURN anycast", True),
    ("192.0.0.170/32", "RFC 7050, NAT64/DNS64 discovery", False),
    ("192.0.0.171/32", "RFC 7050, NAT64/DNS64 discovery", False),
    ("192.0.2.0/24", "RFC 5737, documentation (TEST-NET-1)", False),
    ("192.31.196.0/24", "RFC 7535, AS112-v4", True),
    ("192.52.193.0/24", "RFC 7450, AMT", True),
    ("192.88.99.0/24", "RFC 7526, deprecated (6to4 relay anycast)", NotApplicable),
    ("192.88.99.2/32", "RFC 6751, 6a44 relay anycast address", False),
    ("192.168.0.0/16", "RFC 1918, private use", False),
    ("192.175.48.0/24", "RFC 7534, direct delegation AS112 service", True),
    ("198.18.0.0/15", "RFC 2544, benchmarking", False),
    ("198.51.100.0/24", "RFC 5737, documentation (TEST-NET-2)", False),
    ("203.0.113.0/24", "RFC 5737, documentation (TEST-NET-3)", False),
    ("240.0.0.0/4", "RFC 1112, reserved", False),
    ("255.255.255.255/32", "RFC 919, limited broadcast", False),
];

const REGISTRY_V6: &[(&str, &str, Reachable)] = &[
    ("::1/128", "RFC 4291, loopback address", False),
    ("::/128", "RFC 4291, unspecified address", False),
    ("::ffff:0:0/96", "RFC 4291, IPv4-mapped address", False),
    ("64:ff9b::/96", "RFC 6052, IPv4-IPv6 translation", True),
    ("64:ff9b:1::/48", "RFC 8215, IPv4-IPv6 translation", False),
    ("100::/64", "RFC 6666, discard-only address block", False),
    ("100:0:0:1::/64", "RFC 9780, dummy IPv6 prefix", False),
    ("2001::/23", "RFC 2928, IETF protocol assignments", False),
    ("2001::/32", "RFC 4380, Teredo", NotApplicable),
    ("2001:1::1/128", "RFC 7723, Port Control Protocol anycast", True),
    ("2001:1::2/128", "RFC 8155, TURN anycast", True),
    ("2001:1::3/128", "RFC 9665, DNS-SD service registration anycast", True),
    ("2001:2::/48", "RFC 5180, benchmarking", False),
    ("2001:3::/32", "RFC 7450, AMT", True),
    ("2001:4:112::/48", "RFC 7535, AS112-v6", True),
    ("2001:10::/28", "RFC 4843, deprecated (ORCHID)", NotApplicable),
    ("2001:20::/28", "RFC 7343, ORCHIDv2", True),
    ("2001:30::/28", "RFC 9374, drone remote ID entity tags", True),
    ("2001:db8::/32", "RFC 3849, documentation", False),
    ("2002::/16", "RFC 3056, 6to4", NotApplicable),
    ("2620:4f:8000::/48", "RFC 7534, direct delegation AS112 service", True),
    ("3fff::/20", "RFC 9637, documentation", False),
    ("5f00::/16", "RFC 9602, segment routing (SRv6) SIDs", False),
    ("fc00::/7", "RFC 4193, unique local", False),
    ("fe80::/10", "RFC 4291, link-local unicast", False),
];

/// Globally reachable, and refused: by name, with the reason.
const REFUSED_ALL_THE_SAME: &[(&str, &str)] = &[
    ("192.0.0.9/32", "the nearest server of this network's own: it opens ports of this network's translator"),
    ("192.0.0.10/32", "the nearest server of this network's own"),
    ("64:ff9b::/96", "private addresses are behind it; [dns] dns64 judges by what it carries"),
    ("2001:1::1/128", "as 192.0.0.9"),
    ("2001:1::2/128", "as 192.0.0.10"),
    ("2001:1::3/128", "the nearest server of this network's own"),
    ("2001:20::/28", "names of hosts, not places: an overlay of this machine decides where they lead"),
    ("2001:30::/28", "names of aircraft, not places"),
];

/// Globally reachable and dialled, within a block that is not, or beside it.
const DIALLED: &[&str] = &[
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.175.48.0/24",
    "2001:3::/32",
    "2001:4:112::/48",
    "2620:4f:8000::/48",
];

fn range(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

#[test]
fn every_row_of_the_registries_is_refused_or_an_exception_with_a_name() {
    for (block, what, reachable) in REGISTRY_V4.iter().chain(REGISTRY_V6) {
        let net: IpNet = block.parse().unwrap();
        let dialled = DIALLED.contains(block);
        let excused = REFUSED_ALL_THE_SAME.iter().any(|(refused, _)| refused == block);
        assert_eq!(*reachable == True, dialled || excused, "{block} ({what}) needs a decision");
        assert!(!(dialled && excused), "{block}");
        for edge in [net.network(), net.broadcast()] {
            assert_eq!(range(edge).is_none(), dialled, "{edge} of {block} ({what})");
        }
    }
}

/// The first octet is looked at first: it must let every range through that has such addresses.
#[test]
fn no_range_is_missed_for_its_first_octet() {
    for (base, length, _) in super::SPECIAL_V6 {
        let last = std::net::Ipv6Addr::from_bits(base.to_bits() | (u128::MAX >> 1 >> (length - 1)));
        for octet in base.octets()[0]..=last.octets()[0] {
            assert!(super::FIRST_OCTETS[usize::from(octet)], "{octet:x} of {base}/{length}");
        }
    }
    assert!(!super::FIRST_OCTETS[0x2a] && !super::FIRST_OCTETS[0x26]);
}

#[test]
fn every_exception_is_a_row() {
    let rows = || REGISTRY_V4.iter().chain(REGISTRY_V6);
    for block in DIALLED.iter().chain(REFUSED_ALL_THE_SAME.iter().map(|(block, _)| block)) {
        assert!(rows().any(|(row, ..)| row == block), "{block}");
    }
}
