//! The special-purpose ranges of both families.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The special-purpose IPv4 ranges: base, prefix length, name (RFC 6890 and its registry).
const SPECIAL_V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::BROADCAST, 32, "broadcast"),
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared address space"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "IETF protocol assignments"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The name of ::ffff:0:0/96, which is judged as IPv4 first.
pub(super) const MAPPED: &str = "IPv4-mapped";

/// The special-purpose IPv6 ranges, the narrower first: base, prefix length, name.
const SPECIAL_V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, "IPv4-compatible"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, MAPPED),
    // RFC 2765: stateless translators read the IPv4 address out of it.
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4-translated"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "NAT64"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "local NAT64"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique local"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    // RFC 3879 retired them; networks that route them remain.
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

pub(super) fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let covers = |base: Ipv4Addr, length: u32| (address.to_bits() ^ base.to_bits()) >> (32 - length) == 0;
    SPECIAL_V4.iter().find(|(base, length, _)| covers(*base, *length)).map(|(.., range)| *range)
}

pub(super) fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let covers = |base: Ipv6Addr, length: u32| (address.to_bits() ^ base.to_bits()) >> (128 - length) == 0;
    SPECIAL_V6.iter().find(|(base, length, _)| covers(*base, *length)).map(|(.., range)| *range)
}
