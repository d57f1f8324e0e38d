//! Where load may go: this machine, unless its operator says that another host is theirs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// The option that opens the scope.
pub(crate) const OPTION: &str = "--i-own-this-host";

/// The addresses that load may be sent to.
pub(crate) struct Scope {
    /// Addresses of this machine's interfaces.
    local: Vec<IpAddr>,
    anywhere: bool,
}

/// What load must not be sent to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OutOfScope {
    /// Neither loopback nor an address of this machine.
    Elsewhere(IpAddr),
    /// Unspecified, broadcast or multicast: no single host has it, so nobody can own it.
    NoHost(IpAddr),
    /// A name that another host may have.
    Name(String),
}

impl Scope {
    /// This machine, or every host for an operator who says so (`anywhere`).
    pub(crate) fn new(anywhere: bool) -> Result<Self, nix::Error> {
        let of_interface = |address: nix::sys::socket::SockaddrStorage| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        };
        let local = getifaddrs()?.filter_map(|interface| of_interface(interface.address?)).collect();
        Ok(Self { local, anywhere })
    }

    /// Whether the operator said that other hosts are theirs.
    pub(crate) fn is_open(&self) -> bool {
        self.anywhere
    }

    /// Refuses an address that is out of scope.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), OutOfScope> {
        let ip = address.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(OutOfScope::NoHost(ip));
        }
        let allowed = ip.is_loopback() || self.anywhere || self.local.contains(&ip);
        if allowed { Ok(()) } else { Err(OutOfScope::Elsewhere(ip)) }
    }

    /// Refuses a name that the server may resolve to another host: what this machine resolves it to says
    /// nothing about that, so that only the names of RFC 6761 section 6.3 and addresses in scope are left.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), OutOfScope> {
        if let Ok(ip) = name.parse() {
            return self.check(SocketAddr::new(ip, 0));
        }
        // A server may cut a name at a NUL or a blank, and then what it calls is another name.
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let lower = name.to_ascii_lowercase();
        let local = plain && (lower == "localhost" || lower.ends_with(".localhost"));
        if local || self.anywhere { Ok(()) } else { Err(OutOfScope::Name(name.to_owned())) }
    }
}

impl fmt::Display for OutOfScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere(ip) => write!(
                f,
                "{ip} is not an address of this machine: load goes to no other host unless {OPTION} says that it \
                 is yours"
            ),
            Self::NoHost(ip) => write!(f, "{ip} is no address of a host"),
            Self::Name(name) => write!(
                f,
                "{name:?} may be the name of another host: without {OPTION} a name is localhost, ends in \
                 .localhost, or is an address of this machine"
            ),
        }
    }
}

impl std::error::Error for OutOfScope {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scope: &Scope, ip: &str) -> Result<(), OutOfScope> {
        scope.check(SocketAddr::new(ip.parse().expect("an address"), 1080))
    }

    #[test]
    fn this_machine_alone() {
        let scope = Scope { local: vec!["192.0.2.7".parse().expect("an address")], anywhere: false };
        for here in ["127.0.0.1", "127.9.9.9", "::1", "192.0.2.7", "::ffff:127.0.0.1", "::ffff:192.0.2.7"] {
            assert_eq!(check(&scope, here), Ok(()), "{here}");
        }
        for elsewhere in ["192.0.2.8", "2001:db8::1", "::ffff:192.0.2.8", "10.0.0.1"] {
            let ip = elsewhere.parse::<IpAddr>().expect("an address").to_canonical();
            assert_eq!(check(&scope, elsewhere), Err(OutOfScope::Elsewhere(ip)), "{elsewhere}");
        }
    }

    #[test]
    fn an_owner_may_name_any_host_but_no_group_of_hosts() {
        let scope = Scope { local: Vec::new(), anywhere: true };
        assert_eq!(check(&scope, "192.0.2.8"), Ok(()));
        for none in ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"] {
            let ip = none.parse::<IpAddr>().expect("an address").to_canonical();
            assert_eq!(check(&scope, none), Err(OutOfScope::NoHost(ip)), "{none}");
        }
    }

    #[test]
    fn a_name_is_of_this_machine() {
        let scope = Scope { local: vec!["192.0.2.7".parse().expect("an address")], anywhere: false };
        for here in ["localhost", "LocalHost", "a.b.localhost", "127.0.0.1", "::1", "192.0.2.7"] {
            assert_eq!(scope.check_name(here), Ok(()), "{here}");
        }
        for other in ["host.test", "notlocalhost", "localhost.test", "", "0x7f.1", "a.test\0.localhost"] {
            assert_eq!(scope.check_name(other), Err(OutOfScope::Name(other.to_owned())), "{other}");
        }
        let ip = "192.0.2.8".parse().expect("an address");
        assert_eq!(scope.check_name("192.0.2.8"), Err(OutOfScope::Elsewhere(ip)));
        let scope = Scope { local: Vec::new(), anywhere: true };
        assert_eq!((scope.check_name("host.test"), scope.check_name("192.0.2.8")), (Ok(()), Ok(())));
        assert!(scope.check_name("0.0.0.0").is_err());
    }

    #[test]
    fn the_refusal_names_the_option() {
        let refusal = OutOfScope::Elsewhere("192.0.2.8".parse().expect("an address")).to_string();
        assert!(refusal.contains("192.0.2.8") && refusal.contains("--i-own-this-host"), "{refusal}");
    }

    #[test]
    fn interfaces_are_read() {
        let scope = Scope::new(false).expect("the interfaces of this machine");
        assert!(scope.local.iter().any(|ip| ip.is_loopback()), "{:?}", scope.local);
    }
}
