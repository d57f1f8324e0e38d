//! An address and port, and the interface that scopes a link-local one: by its name, as it is typed, for an index
//! holds only until the interface is made anew.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::limits;

/// Whether one of two addresses takes the other's connections, or its place.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (one_ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (one_ip == other_ip || one_ip.is_unspecified() || other_ip.is_unspecified())
}

/// An address and port as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address, without the index of a named interface.
    pub address: SocketAddr,
    /// The name of the interface, where one was typed.
    pub zone: Option<Box<str>>,
}

impl Endpoint {
    /// Reads an address and port, "[fe80::1%eth0]:53", or without a port where there is one to fill in.
    pub fn parse(typed: &str, port: Option<u16>) -> Option<Endpoint> {
        let (bare, zone) = split_zone(typed);
        let address = bare.parse::<SocketAddr>().ok().or_else(|| {
            let ip = match bare.strip_prefix('[') {
                Some(rest) => rest.strip_suffix(']')?.parse().ok().filter(IpAddr::is_ipv6)?,
                None => bare.parse().ok()?,
            };
            port.map(|port| SocketAddr::new(ip, port))
        })?;
        let Some(zone) = zone else { return Some(Endpoint::from(address)) };
        let SocketAddr::V6(mut v6) = address else { return None };
        if let Ok(index) = zone.parse::<u32>() {
            v6.set_scope_id(index);
            return Some(Endpoint::from(SocketAddr::V6(v6)));
        }
        let is_name = |c: char| c != '/' && c != ':' && !c.is_whitespace() && !c.is_control();
        let is_one = (1..=limits::INTERFACE_NAME_MAX).contains(&zone.len()) && zone.chars().all(is_name);
        (is_one && v6.ip().is_unicast_link_local())
            .then(|| Endpoint { address: SocketAddr::V6(v6), zone: Some(zone.into()) })
    }

    /// The address with the index of its interface; `None` where there is no interface of that name.
    pub fn scoped(&self, index_of: impl FnOnce(&str) -> Option<u32>) -> Option<SocketAddr> {
        let mut address = self.address;
        if let (Some(zone), SocketAddr::V6(v6)) = (&self.zone, &mut address) {
            v6.set_scope_id(index_of(zone)?);
        }
        Some(address)
    }

    /// This endpoint, with an IPv4-mapped address as IPv4.
    pub(super) fn canonical(&self) -> Endpoint {
        match self.ip() {
            IpAddr::V4(v4) => SocketAddr::from((v4, self.address.port())).into(),
            IpAddr::V6(_) => self.clone(),
        }
    }

    /// The IP address without its port; an IPv4-mapped one as IPv4.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// Splits what is typed into an address and its zone.
fn split_zone(typed: &str) -> (String, Option<&str>) {
    let Some((front, rest)) = typed.split_once('%') else { return (typed.to_owned(), None) };
    let (zone, back) = rest.split_at(rest.find(']').unwrap_or(rest.len()));
    (format!("{front}{back}"), Some(zone))
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint { address, zone: None }
    }
}

impl FromStr for Endpoint {
    type Err = ();

    fn from_str(typed: &str) -> Result<Endpoint, ()> {
        Endpoint::parse(typed, None).ok_or(())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "[{}%{zone}]:{}", self.address.ip(), self.address.port()),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_kept_as_typed_and_scoped_by_index() {
        let named = Endpoint::parse("[fe80::1%eth0]:1080", None).unwrap();
        assert_eq!(named.to_string(), "[fe80::1%eth0]:1080");
        let index = |name: &str| (name == "eth0").then_some(7);
        assert_eq!(named.scoped(index).unwrap().to_string(), "[fe80::1%7]:1080");
        assert_eq!(named.scoped(|_| None), None);
        let by_number = Endpoint::parse("[fe80::1%2]:1080", None).unwrap();
        assert_eq!((by_number.to_string(), by_number.zone), ("[fe80::1%2]:1080".to_owned(), None));
        for server in ["fe80::53%eth0", "[fe80::53%eth0]", "[fe80::53%eth0]:53"] {
            let server = Endpoint::parse(server, Some(53)).unwrap();
            assert_eq!(server.to_string(), "[fe80::53%eth0]:53");
        }
        for plain in ["192.0.2.1", "192.0.2.1:53"] {
            assert_eq!(Endpoint::parse(plain, Some(53)).unwrap().to_string(), "192.0.2.1:53");
        }
    }

    #[test]
    fn what_has_no_zone_is_refused_one() {
        for bad in [
            "192.0.2.1%eth0",
            "192.0.2.1%2:53",
            "[2001:db8::1%eth0]:53",
            "[fe80::1%]:53",
            "[fe80::1%a b]:53",
            "[fe80::1%a/b]:53",
            "[fe80::1%abcdefghijklmnop]:53",
            "fe80::1%eth0]:53",
            "[192.0.2.1]",
        ] {
            assert_eq!(Endpoint::parse(bad, Some(53)), None, "{bad}");
        }
        assert_eq!(Endpoint::parse("fe80::1%eth0", None), None, "a port is needed");
    }
}
