//! Prefixes of translators (NAT64) whose addresses carry IPv4 addresses (RFC 6052).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::special::touches_special_v6;
use crate::limits;

/// An IPv4 address that an IPv6 address carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) v4: Ipv4Addr,
    /// Length of the prefix that says so.
    pub(super) prefix: u32,
}

/// A translator's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64(Ipv6Net);

/// The lengths that RFC 6052 section 2.2 allows, the most usual first.
const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// What ipv4only.arpa has for its A records (RFC 7050 section 8.2).
const WELL_KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];

/// RFC 6052 section 2.1.
const WELL_KNOWN_PREFIX: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

impl Nat64 {
    /// `None` where RFC 6052 section 2.2 has no such prefix: for its length, or for octet 8, which must be zero.
    pub fn new(net: Ipv6Net) -> Option<Nat64> {
        let net = net.trunc();
        (LENGTHS.contains(&net.prefix_len()) && net.network().octets()[8] == 0).then_some(Nat64(net))
    }

    /// The prefixes that the addresses of ipv4only.arpa show (RFC 7050 section 3), none twice. What has something in octet
    /// 8 or behind the IPv4 address shows none.
    pub fn shown_by(addresses: &[IpAddr]) -> Vec<Nat64> {
        let mut shown = Vec::new();
        for address in addresses {
            let IpAddr::V6(address) = address else { continue };
            let fits = |length: u8| {
                let net = Nat64::new(Ipv6Net::new(*address, length).ok()?)?;
                let v4 = behind(*address, length.into());
                (WELL_KNOWN.contains(&v4) && net.address_of(v4) == *address).then_some(net)
            };
            let mut fitting = LENGTHS.into_iter().filter_map(fits);
            if let (Some(prefix), None) = (fitting.next(), fitting.next())
                && !shown.contains(&prefix)
                && shown.len() < limits::NAT64_PREFIXES_MAX
            {
                shown.push(prefix);
            }
        }
        shown
    }

    /// Whether it may be believed when a name server shows it. Nobody answers for name servers, so what they show must not
    /// open anything: the well-known prefix has one layout, and of public addresses fewer are permitted than before.
    /// Anything else that is special-purpose, 64:ff9b:1::/48 included, is the operator's to name.
    pub fn is_credible(&self) -> bool {
        self.is_well_known() || !touches_special_v6(self.0.network(), self.0.prefix_len().into())
    }

    /// Whether it is 64:ff9b::/96.
    pub(super) fn is_well_known(&self) -> bool {
        self.0.network() == WELL_KNOWN_PREFIX && self.0.prefix_len() == 96
    }

    /// The length of the prefix, in bits.
    pub(super) fn length(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether `address` is of this prefix.
    pub(super) fn covers(&self, address: Ipv6Addr) -> bool {
        self.0.contains(&address)
    }

    /// What an address of this prefix carries.
    pub(super) fn carried(&self, address: Ipv6Addr) -> Option<Carried> {
        let prefix = self.0.prefix_len().into();
        self.covers(address).then(|| Carried { v4: behind(address, prefix), prefix })
    }

    /// An IPv4 address behind this prefix, zeros behind it (RFC 6052 section 2.2).
    fn address_of(&self, v4: Ipv4Addr) -> Ipv6Addr {
        let (base, length) = (self.0.network().to_bits(), u32::from(self.0.prefix_len()));
        if length == 96 {
            return Ipv6Addr::from_bits(base | u128::from(v4.to_bits()));
        }
        let without_octet_8 = u128::from(v4.to_bits()) << (120 - 32 - length);
        let (high, low) = (without_octet_8 >> 56 << 64, without_octet_8 & ((1 << 56) - 1));
        Ipv6Addr::from_bits(base | high | low)
    }
}

/// The IPv4 address behind a prefix of this length: octet 8 of the address is left out (RFC 6052 section 2.2).
pub(super) fn behind(address: Ipv6Addr, prefix: u32) -> Ipv4Addr {
    let bits = address.to_bits();
    if prefix == 96 {
        return Ipv4Addr::from_bits(bits as u32);
    }
    let without_octet_8 = (bits >> 64) << 56 | (bits & ((1 << 56) - 1));
    Ipv4Addr::from_bits((without_octet_8 >> (120 - 32 - prefix)) as u32)
}

impl fmt::Display for Nat64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
