//! The special-purpose ranges of both families.
//!
//! They are those of IANA's registries (RFC 6890) that are not globally reachable, and some more: multicast, what carries
//! an IPv4 address for a translator or a tunnel, and what was retired but may still be routed somewhere. The test beside
//! this file holds them against both registries, row by row.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The special-purpose IPv4 ranges: base, prefix length, name.
const SPECIAL_V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::BROADCAST, 32, "broadcast"),
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared address space"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "IETF protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    // RFC 7526 retired it; where it is routed it leads into somebody's tunnels.
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay anycast"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The name of ::ffff:0:0/96, which is judged as IPv4 first.
pub(super) const MAPPED: &str = "IPv4-mapped";

const DOCUMENTATION: &str = "documentation";

/// The special-purpose IPv6 ranges, the narrower first: base, prefix length, name; without one it is a public part of the
/// range that follows.
const SPECIAL_V6: &[(Ipv6Addr, u32, Option<&str>)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Some("unspecified")),
    (Ipv6Addr::LOCALHOST, 128, Some("loopback")),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, Some("IPv4-compatible")),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Some(MAPPED)),
    // RFC 2765: stateless translators read the IPv4 address out of it.
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, Some("IPv4-translated")),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, Some("NAT64")),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Some("local NAT64")),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Some("discard-only")),
    // RFC 9780.
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64, Some("dummy prefix")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Some("Teredo")),
    // Public services at ordinary addresses: AMT relays (RFC 7450), and AS112's name servers (RFC 7535).
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32, None),
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48, None),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Some("IETF protocol assignments")),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Some(DOCUMENTATION)),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Some("6to4")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Some(DOCUMENTATION)),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, Some("segment routing")),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Some("unique local")),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Some("link-local")),
    // RFC 3879 retired them; networks that route them remain.
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Some("site-local")),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Some("multicast")),
];

/// The special-purpose range of an address.
pub(super) fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let covers = |base: Ipv4Addr, length: u32| (address.to_bits() ^ base.to_bits()) >> (32 - length) == 0;
    SPECIAL_V4.iter().find(|(base, length, _)| covers(*base, *length)).map(|(.., range)| *range)
}

/// For each first octet whether a range has addresses that begin with it: most public ones do not, and this is asked for
/// each datagram.
const FIRST_OCTETS: [bool; 256] = {
    let mut touched = [false; 256];
    let mut at = 0;
    while at < SPECIAL_V6.len() {
        let (base, length, _) = SPECIAL_V6[at];
        let first = (base.to_bits() >> 120) as usize;
        let mut further = if length < 8 { 1 << (8 - length) } else { 1 };
        while further > 0 {
            further -= 1;
            touched[first + further] = true;
        }
        at += 1;
    }
    touched
};

/// The special-purpose range of an address.
pub(super) fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if !FIRST_OCTETS[usize::from(address.octets()[0])] {
        return None;
    }
    let covers = |base: Ipv6Addr, length: u32| (address.to_bits() ^ base.to_bits()) >> (128 - length) == 0;
    SPECIAL_V6.iter().find(|(base, length, _)| covers(*base, *length)).and_then(|(.., range)| *range)
}

/// Whether a block has an address of a special-purpose range.
pub(super) fn touches_special_v6(base: Ipv6Addr, length: u32) -> bool {
    let meets = |other: Ipv6Addr, other_length: u32| {
        (base.to_bits() ^ other.to_bits()).checked_shr(128 - length.min(other_length)).unwrap_or(0) == 0
    };
    SPECIAL_V6.iter().any(|(other, other_length, range)| range.is_some() && meets(*other, *other_length))
}

#[cfg(test)]
mod tests;
