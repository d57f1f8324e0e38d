//! IPv4 addresses that IPv6 addresses carry for a translator or a tunnel.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::nat64::{Carried, Nat64, behind};

/// The lengths that a prefix in 64:ff9b:1::/48 may have (RFC 8215, RFC 6052 section 2.2). Which of them a network uses
/// its addresses do not tell.
const LOCAL_NAT64: [u32; 4] = [48, 56, 64, 96];

/// What `address` carries, IPv4-mapped ones apart; `nat64` is the translator's prefix that it is known to be of.
pub(super) fn carried(address: Ipv6Addr, nat64: Option<Nat64>) -> impl Iterator<Item = Carried> {
    let translated = match nat64 {
        Some(known) => [known.carried(address), None, None, None],
        None => guessed(address),
    };
    translated.into_iter().flatten().chain(isatap(address))
}

/// Whether the address might say by itself that it carries something: most do not, and this is asked for each datagram.
pub(super) fn may_carry(address: Ipv6Addr) -> bool {
    [0x00, 0x20].contains(&address.octets()[0]) || isatap(address).is_some()
}

/// What the address says by itself.
fn guessed(address: Ipv6Addr) -> [Option<Carried>; 4] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let found = |high: u16, low: u16, prefix| {
        let v4 = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
        [Some(Carried { v4, prefix }), None, None, None]
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => found(g, h, 96),
        [0, 0, 0, 0, 0xffff, 0] => found(g, h, 96),
        // RFC 6052 section 2.1.
        [0x64, 0xff9b, 0, 0, 0, 0] => found(g, h, 96),
        [0x64, 0xff9b, 1, ..] => local_nat64(address),
        // RFC 3056 section 2.
        [0x2002, ..] => found(b, c, 16),
        // RFC 4380 section 4: the client's address, inverted.
        [0x2001, 0, ..] => found(!g, !h, 32),
        _ => [None; 4],
    }
}

/// All that a translator could read out of it, whichever prefix it has. Where it would read one of 0.0.0.0/8, which nobody
/// sends to, it is of another prefix; one of them has to be something else.
fn local_nat64(address: Ipv6Addr) -> [Option<Carried>; 4] {
    let read = LOCAL_NAT64.map(|prefix| Carried { v4: behind(address, prefix), prefix });
    let some = read.iter().any(|carried| carried.v4.octets()[0] != 0);
    read.map(|carried| Some(carried).filter(|carried| !some || carried.v4.octets()[0] != 0))
}

/// The interface identifier of a tunnel's end (RFC 5214 section 6.1), with and without the bit for a global address.
fn isatap(address: Ipv6Addr) -> Option<Carried> {
    let [.., e, f, g, h] = address.segments();
    let v4 = Ipv4Addr::from_bits(u32::from(g) << 16 | u32::from(h));
    ([0, 0x200].contains(&e) && f == 0x5efe).then_some(Carried { v4, prefix: 96 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_something_is_looked_at() {
        for text in [
            "::8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1:808:8:800::",
            "2002:808:808::",
            "2001::f7f7:f7f7",
            "2600::5efe:8.8.8.8",
            "2600::200:5efe:8.8.8.8",
        ] {
            let address = text.parse().unwrap();
            assert!(may_carry(address), "{text}");
            assert!(carried(address, None).any(|inner| inner.v4 == Ipv4Addr::new(8, 8, 8, 8)), "{text}");
        }
        for text in ["2600::808:808", "2a00:1450:4001:80b::200e", "fd00::1", "::", "::1"] {
            assert_eq!(carried(text.parse().unwrap(), None).count(), 0, "{text}");
        }
    }
}
