//! IPv4 addresses that IPv6 addresses carry for a translator or a tunnel.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An IPv4 address that an IPv6 address carries for some translator or tunnel.
pub(super) struct Embedded {
    pub(super) v4: Ipv4Addr,
    /// Length of the prefix that says so.
    pub(super) prefix: u32,
}

/// What `address` carries, IPv4-mapped ones apart.
pub(super) fn embedded(address: Ipv6Addr) -> Option<Embedded> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let found = |high: u16, low: u16, prefix| {
        Some(Embedded { v4: Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)), prefix })
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => found(g, h, 96),
        [0, 0, 0, 0, 0xffff, 0] => found(g, h, 96),
        // RFC 6052 section 2.1.
        [0x64, 0xff9b, 0, 0, 0, 0] => found(g, h, 96),
        // RFC 3056 section 2.
        [0x2002, ..] => found(b, c, 16),
        // RFC 4380 section 4: the client's address, inverted.
        [0x2001, 0, ..] => found(!g, !h, 32),
        _ => None,
    }
}
