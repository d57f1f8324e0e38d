//! Where others reach what is opened for a client: the ports it may take, and the addresses to name in place of its
//! own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::at::Typed;
use super::endpoint::Endpoint;
use super::form::{Form, ValueReader};
use super::list_form::{distinct, list};
use super::listed::AsList;
use super::nearest::with_nearest;
use super::problem::quoted;
use crate::limits;

/// Ports from a first to a last one, both included, none of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Addresses to name to others in place of our own, one for each family at most: those of a NAT in front of us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advertise {
    /// The address to name in place of an IPv4 address of ours.
    pub v4: Option<Ipv4Addr>,
    /// The address to name in place of an IPv6 address of ours.
    pub v6: Option<Ipv6Addr>,
}

impl PortRange {
    /// `None` for port 0, and where the last one lies before the first.
    pub fn new(first: u16, last: u16) -> Option<PortRange> {
        (first != 0 && first <= last).then_some(PortRange { first, last })
    }

    /// The number of ports, at least one.
    pub fn count(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }

    /// The first and the last one.
    pub fn ends(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// The `nth` port behind the `start`-th, around the end; both may be any number.
    pub fn nth(self, start: u32, nth: usize) -> u16 {
        let step = (u64::from(start) + nth as u64) % u64::from(self.count());
        (u64::from(self.first) + step) as u16
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.first, self.last)
    }
}

impl Advertise {
    /// What to say in place of `own`; an IPv4-mapped address is an IPv4 address.
    pub fn instead_of(&self, own: IpAddr) -> IpAddr {
        match own.to_canonical() {
            IpAddr::V4(own) => self.v4.unwrap_or(own).into(),
            IpAddr::V6(own) => self.v6.unwrap_or(own).into(),
        }
    }

    /// The addresses that were named.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::from).into_iter().chain(self.v6.map(IpAddr::from))
    }
}

impl AsList<IpAddr> for Advertise {
    fn of(addresses: Vec<IpAddr>) -> Option<Advertise> {
        Some(addresses.into_iter().collect())
    }

    fn values(&self) -> Vec<IpAddr> {
        self.addresses().collect()
    }
}

impl FromIterator<IpAddr> for Advertise {
    /// Of two of one family the last one counts.
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Advertise {
        let mut advertise = Advertise::default();
        for address in addresses {
            match address {
                IpAddr::V4(v4) => advertise.v4 = Some(v4),
                IpAddr::V6(v6) => advertise.v6 = Some(v6),
            }
        }
        advertise
    }
}

/// Reports each address to listen on that another one of the list has already.
pub(super) fn listeners(listen: &[Typed<Endpoint>], reader: &mut ValueReader) {
    // Port 0 asks for any free port: two of them differ.
    distinct(listen, |one| (one.address.port() != 0).then(|| one.canonical()), reader);
    for one in listen {
        if let Some(what) = covered(&one.value, listen.iter().map(|other| &other.value)) {
            reader.refuse(&one.at, what);
        }
    }
}

/// What is wrong with an address to listen on whose connections another one takes: the kernel gives nobody both.
pub(super) fn covered<'a>(
    one: &Endpoint,
    others: impl Iterator<Item = &'a Endpoint> + Clone,
) -> Option<String> {
    if one.address.port() == 0 {
        return None;
    }
    let covered_by = |covers: fn(SocketAddr, SocketAddr) -> bool| {
        others.clone().find(|wide| covers(wide.address, one.address))
    };
    if let Some(wide) = covered_by(covers) {
        return Some(format!("\"{one}\" is part of \"{wide}\": one of them is enough"));
    }
    let wide = covered_by(covers_both_families)?;
    Some(format!("\"{one}\" is part of \"{wide}\", which takes IPv4, too: one of them is enough"))
}

/// Whether whoever listens on `wide`, all addresses of a family, gets what comes to the single address `one`.
fn covers(wide: SocketAddr, one: SocketAddr) -> bool {
    let (wide_ip, one_ip) = (wide.ip().to_canonical(), one.ip().to_canonical());
    wide.port() == one.port()
        && wide_ip.is_unspecified()
        && !one_ip.is_unspecified()
        && wide_ip.is_ipv4() == one_ip.is_ipv4()
}

/// Whether listening on `wide`, if it is `[::]`, takes the IPv4 address of `one`, too: it does where `0.0.0.0` is not
/// listened on beside it.
fn covers_both_families(wide: SocketAddr, one: SocketAddr) -> bool {
    let one_ip = one.ip().to_canonical();
    wide.port() == one.port()
        && wide.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        && one_ip.is_ipv4()
        && !one_ip.is_unspecified()
}

/// Whether the kernel refuses the second of two listeners; `[::]` takes IPv4, too, and port 0 is a free one.
pub(super) fn collide(one: &Endpoint, other: &Endpoint) -> bool {
    let takes = |wide: &Endpoint, one: &Endpoint| {
        wide.ip().is_unspecified() && (wide.ip().is_ipv6() || one.ip().is_ipv4())
    };
    let port = one.address.port();
    port != 0
        && port == other.address.port()
        && (one.canonical() == other.canonical() || takes(one, other) || takes(other, one))
}

/// A range of ports as it is written, "40000-49999", or one port; nothing means any port.
pub(super) fn ports(typed: &str) -> Result<Option<PortRange>, String> {
    if typed.is_empty() { Ok(None) } else { range(typed).map(Some) }
}

/// A range of ports as it is written, "40000-49999", or one port.
pub(super) fn range(typed: &str) -> Result<PortRange, String> {
    let (first, last) = typed.split_once('-').unwrap_or((typed, typed));
    let range = port(first).zip(port(last)).and_then(|(first, last)| PortRange::new(first, last));
    range.ok_or_else(|| {
        let what =
            format!("{} is not a range of ports from 1 to 65535 such as \"40000-49999\"", quoted(typed));
        with_nearest(what, nearest_ports(typed).map(|range| format!("\"{range}\"")))
    })
}

/// A range of ports as `ports` reads it: nothing is any port.
pub(super) fn ports_text(ports: &Option<PortRange>) -> String {
    ports.map(|range| range.to_string()).unwrap_or_default()
}

/// Digits alone: a sign is none.
fn port(typed: &str) -> Option<u16> {
    typed.bytes().all(|byte| byte.is_ascii_digit()).then(|| typed.parse().ok()).flatten()
}

/// Two ports with something else between them, or in the wrong order.
pub(super) fn nearest_ports(typed: &str) -> Option<PortRange> {
    let numbers: Vec<&str> =
        typed.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let &[first, last] = numbers.as_slice() else { return None };
    let (first, last) = (port(first)?, port(last)?);
    PortRange::new(first.min(last), first.max(last))
}

/// Addresses to name in place of our own, one of each family.
pub(super) fn advertise() -> impl Form<Advertise> {
    list(limits::MAX_ADVERTISE, advertised).or_one().rule(one_of_each_family)
}

/// Reports each address whose family an earlier one has.
fn one_of_each_family(addresses: &[Typed<IpAddr>], reader: &mut ValueReader) {
    for (nth, one) in addresses.iter().enumerate() {
        let family = one.value.is_ipv4();
        if addresses[..nth].iter().any(|earlier| earlier.value.is_ipv4() == family) {
            let family = if family { "IPv4" } else { "IPv6" };
            reader.refuse(&one.at, format!("\"{}\" is a second {family} address: one is told", one.value));
        }
    }
}

/// An address that others can be told to connect to.
pub(super) fn advertised(typed: &str) -> Result<IpAddr, String> {
    let address: IpAddr = typed.parse().map_err(|_| {
        let what = format!("{} is not an address such as \"203.0.113.7\" or \"2001:db8::7\"", quoted(typed));
        with_nearest(what, nearest_address(typed).map(|ip| format!("\"{ip}\"")))
    })?;
    let plain = address.to_canonical();
    if plain != address {
        let what = format!("{} is an IPv4 address written as IPv6", quoted(typed));
        return Err(with_nearest(what, Some(format!("\"{plain}\""))));
    }
    match plain.is_unspecified() || plain.is_multicast() || plain == IpAddr::V4(Ipv4Addr::BROADCAST) {
        true => Err(format!("{} is not an address that others can connect to", quoted(typed))),
        false => Ok(address),
    }
}

/// The address without a port, brackets or spaces.
fn nearest_address(typed: &str) -> Option<IpAddr> {
    let typed = typed.trim();
    let with_port = typed.parse().map(|address: std::net::SocketAddr| address.ip());
    with_port.or_else(|_| typed.trim_matches(['[', ']']).parse()).ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(typed: &str) -> PortRange {
        ports(typed).unwrap().unwrap()
    }

    #[test]
    fn every_port_of_a_range_comes_once_from_wherever_it_starts() {
        let from = |start| [0, 1, 2].map(|nth| range("7-9").nth(start, nth));
        assert_eq!((from(0), from(1), from(5)), ([7, 8, 9], [8, 9, 7], [9, 7, 8]));
        assert_eq!(range("65535").nth(u32::MAX, usize::MAX >> 1), 65535);
        let all: Vec<u16> = (0..65_535).map(|nth| range("1-65535").nth(65_534, nth)).collect();
        assert_eq!((all.len(), all[0], all[1], all[65_534]), (65_535, 65_535, 1, 65_534));
    }

    #[test]
    fn ranges_are_read_and_printed() {
        assert_eq!(ports(""), Ok(None));
        assert_eq!(PortRange::new(40_000, 49_999), Some(range("40000-49999")));
        assert_eq!((range("80").to_string(), range("1-2").count()), ("80-80".to_owned(), 2));
        for bad in ["0", "0-5", "5-4", "-", "1-", "-1", "1-2-3", "+1-2", "1-65536", " 1-2", "x", "1 - 2"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_advertised_address_stands_for_its_family() {
        let ip = |typed: &str| typed.parse::<IpAddr>().unwrap();
        let both: Advertise = ["203.0.113.7", "2001:db8::7"].map(ip).into_iter().collect();
        assert_eq!(both.instead_of(ip("10.0.0.1")), ip("203.0.113.7"));
        assert_eq!(both.instead_of(ip("::ffff:10.0.0.1")), ip("203.0.113.7"));
        assert_eq!(both.instead_of(ip("fd00::1")), ip("2001:db8::7"));
        let one: Advertise = [ip("203.0.113.7")].into_iter().collect();
        assert_eq!(one.instead_of(ip("fd00::1")), ip("fd00::1"));
        assert_eq!(Advertise::default().instead_of(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
        assert_eq!(both.addresses().collect::<Vec<_>>(), ["203.0.113.7", "2001:db8::7"].map(ip));
    }
}
