//! The guard: which addresses no client may reach, whatever the rules say.
//!
//! Two refusals. Special-purpose destinations (loopback, private, link-local and so on, in every form that an
//! address can take) are refused unless the operator exempts them. Our own listeners are refused always: a
//! relay to itself is a loop. The guard judges addresses after resolution and never names; it reads no
//! interface and no clock.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why the guard refuses an address. Policy is at fault in the reply's sense, except for `SelfConnect`, which
/// stands for a port that nobody listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The address is of a special-purpose range; which one.
    SpecialPurpose(&'static str),
    /// The address is one of our listeners, by whatever alias.
    OwnListener,
    /// The connection that was made leads to itself: a socket whose local port was the one it dialled.
    SelfConnect,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecialPurpose(range) => write!(f, "special-purpose destination ({range})"),
            Self::OwnListener => f.write_str("our own listener"),
            Self::SelfConnect => f.write_str("the socket connected to itself"),
        }
    }
}

impl std::error::Error for Refusal {}

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
const MAPPED: &str = "IPv4-mapped";

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

/// Judges addresses. Immutable once built: a reload or a change of interfaces builds another.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow_private: bool,
    allow: Vec<IpNet>,
    own: Vec<SocketAddr>,
    locals: Vec<IpAddr>,
}

impl Guard {
    /// A guard that exempts what `allow` covers from the special-purpose refusal, or everything with
    /// `allow_private`. `own` are the addresses that we listen on as they are bound (real ports, wildcards
    /// included); nothing exempts them.
    pub fn new(allow_private: bool, allow: Vec<IpNet>, own: Vec<SocketAddr>) -> Self {
        Self {
            allow_private,
            allow: allow.into_iter().map(unmapped).collect(),
            own: own.into_iter().map(|listener| canonical(listener.ip(), listener.port())).collect(),
            locals: Vec::new(),
        }
    }

    /// Adds the addresses of the local interfaces, at each of which a wildcard listener answers. An address
    /// that the kernel delivers locally without an interface having it (a `local` route) belongs here too.
    #[must_use]
    pub fn with_locals(mut self, locals: Vec<IpAddr>) -> Self {
        self.locals = locals.into_iter().map(|local| local.to_canonical()).collect();
        self
    }

    /// Whether a client may reach `address`.
    ///
    /// # Errors
    /// [`Refusal::OwnListener`] first, then [`Refusal::SpecialPurpose`]; never [`Refusal::SelfConnect`],
    /// which [`check_connected`] finds.
    pub fn check(&self, address: SocketAddr) -> Result<(), Refusal> {
        if self.is_own(address) {
            return Err(Refusal::OwnListener);
        }
        self.check_purpose(address.ip())
    }

    /// The same for what has ports of its own: our listeners are TCP's, and a datagram never reaches them.
    ///
    /// # Errors
    /// [`Refusal::SpecialPurpose`].
    pub fn check_purpose(&self, ip: IpAddr) -> Result<(), Refusal> {
        if self.allow_private {
            return Ok(());
        }
        match ip {
            IpAddr::V4(v4) => self.check_v4(v4),
            IpAddr::V6(v6) => self.check_v6(v6),
        }
        .map_err(Refusal::SpecialPurpose)
    }

    /// Whether a connection to `address` would reach one of our listeners, by any alias. The unspecified
    /// address is one of every listener's: the kernel takes it for loopback, or for the source address that
    /// the socket is bound to.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        if self.own.iter().all(|listener| listener.port() != address.port()) {
            return false;
        }
        let plain = canonical(address.ip(), address.port());
        let carried = match plain.ip() {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => embedded(v6).map(|inner| SocketAddr::new(inner.v4.into(), address.port())),
        };
        self.own.iter().any(|listener| {
            self.reaches(plain, *listener) || carried.is_some_and(|inner| self.reaches(inner, *listener))
        })
    }

    /// Whether packets to `ip` stay on this machine, whatever listens there.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_unspecified() || ip.is_loopback() || self.locals.contains(&ip)
    }

    /// Whether canonical `address` ends at canonical `listener`.
    fn reaches(&self, address: SocketAddr, listener: SocketAddr) -> bool {
        if address.port() != listener.port() {
            return false;
        }
        let ip = address.ip();
        if ip.is_unspecified() || ip == listener.ip() {
            return true;
        }
        listener.ip().is_unspecified() && (ip.is_loopback() || self.locals.contains(&ip))
    }

    fn check_v4(&self, address: Ipv4Addr) -> Result<(), &'static str> {
        match special_v4(address) {
            Some(range) if self.exemption(address.into()).is_none() => Err(range),
            _ => Ok(()),
        }
    }

    fn check_v6(&self, address: Ipv6Addr) -> Result<(), &'static str> {
        if let Some(v4) = address.to_ipv4_mapped() {
            // The kernel connects to the IPv4 address: an exemption of that is one of this.
            return match self.exemption(v4.into()) {
                Some(_) => Ok(()),
                None => Err(special_v4(v4).unwrap_or(MAPPED)),
            };
        }
        let Some(range) = special_v6(address) else { return Ok(()) };
        let Some(prefix) = self.exemption(address.into()) else { return Err(range) };
        match embedded(address) {
            // To exempt a translator's prefix is not to exempt the private addresses behind it; a CIDR
            // longer than that prefix names them and does.
            Some(inner) if u32::from(prefix) <= inner.prefix => self.check_v4(inner.v4),
            _ => Ok(()),
        }
    }

    /// The length of the longest exempt prefix that covers canonical `address`.
    fn exemption(&self, address: IpAddr) -> Option<u8> {
        self.allow.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()
    }
}

/// Finds a connection that leads to itself: dialling a port of the ephemeral range on a local address can
/// take that very port for the local end, and TCP's simultaneous open does the rest.
///
/// # Errors
/// [`Refusal::SelfConnect`] when the two ends are one.
pub fn check_connected(local: SocketAddr, peer: SocketAddr) -> Result<(), Refusal> {
    if canonical(local.ip(), local.port()) == canonical(peer.ip(), peer.port()) {
        return Err(Refusal::SelfConnect);
    }
    Ok(())
}

/// The address without flow label and scope, IPv4 where it is mapped.
fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// A CIDR within ::ffff:0:0/96 as the IPv4 CIDR that it is.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(base), Some(length)) => IpNet::new(base.into(), length).unwrap_or(net),
        _ => net,
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let covers = |base: Ipv4Addr, length: u32| (address.to_bits() ^ base.to_bits()) >> (32 - length) == 0;
    SPECIAL_V4.iter().find(|(base, length, _)| covers(*base, *length)).map(|(.., range)| *range)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let covers = |base: Ipv6Addr, length: u32| (address.to_bits() ^ base.to_bits()) >> (128 - length) == 0;
    SPECIAL_V6.iter().find(|(base, length, _)| covers(*base, *length)).map(|(.., range)| *range)
}

/// An IPv4 address that an IPv6 address carries for some translator or tunnel.
struct Embedded {
    v4: Ipv4Addr,
    /// Length of the prefix that says so.
    prefix: u32,
}

/// What `address` carries, IPv4-mapped ones apart.
fn embedded(address: Ipv6Addr) -> Option<Embedded> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str], own: &[&str]) -> Guard {
        let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
        Guard::new(false, allow, own.iter().map(|own| own.parse().unwrap()).collect())
    }

    /// Whether `guard` refuses port 80 of `ip`, and as what.
    fn range(guard: &Guard, ip: &str) -> Option<&'static str> {
        match guard.check(SocketAddr::new(ip.parse().unwrap(), 80)) {
            Ok(()) => None,
            Err(Refusal::SpecialPurpose(range)) => Some(range),
            Err(other) => panic!("{ip}: {other}"),
        }
    }

    fn own(guard: &Guard, address: &str) -> bool {
        let address = address.parse().unwrap();
        let own = guard.is_own(address);
        assert_eq!(guard.check(address) == Err(Refusal::OwnListener), own, "{address}");
        own
    }

    #[test]
    fn every_special_range_is_refused_to_its_edges_and_not_beyond() {
        let guard = guard(&[], &[]);
        // First and last of each range, then the neighbours that are public.
        let ranges = [
            ("0.0.0.0", "0.255.255.255", "this network", "", "1.0.0.0"),
            ("10.0.0.0", "10.255.255.255", "private", "9.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.127.255.255", "shared address space", "100.63.255.255", "100.128.0.0"),
            ("127.0.0.0", "127.255.255.255", "loopback", "126.255.255.255", "128.0.0.0"),
            ("169.254.0.0", "169.254.255.255", "link-local", "169.253.255.255", "169.255.0.0"),
            ("172.16.0.0", "172.31.255.255", "private", "172.15.255.255", "172.32.0.0"),
            ("192.0.0.0", "192.0.0.255", "IETF protocol assignments", "191.255.255.255", "192.0.1.0"),
            ("192.168.0.0", "192.168.255.255", "private", "192.167.255.255", "192.169.0.0"),
            ("198.18.0.0", "198.19.255.255", "benchmarking", "198.17.255.255", "198.20.0.0"),
            ("224.0.0.0", "239.255.255.255", "multicast", "223.255.255.255", ""),
            ("240.0.0.0", "255.255.255.254", "reserved", "", ""),
            ("255.255.255.255", "255.255.255.255", "broadcast", "", ""),
            ("::", "::", "unspecified", "", ""),
            ("::1", "::1", "loopback", "", ""),
            ("::2", "::ffff:ffff", "IPv4-compatible", "", "::1:0:0"),
            ("::ffff:1.0.0.0", "::ffff:9.255.255.255", "IPv4-mapped", "::fffe:ffff:ffff", "::1:0:0:0"),
            ("::ffff:0:0:0", "::ffff:0:ffff:ffff", "IPv4-translated", "", "::ffff:1:0:0"),
            ("64:ff9b::", "64:ff9b::ffff:ffff", "NAT64", "64:ff9a:ffff::", "64:ff9b::1:0:0"),
            (
                "64:ff9b:1::",
                "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
                "local NAT64",
                "64:ff9b:0:ffff::",
                "64:ff9b:2::",
            ),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo", "2000:ffff::", "2001:1::"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4", "2001:ffff::", "2003::"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local", "fbff:ffff::", "fe00::"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local", "fe7f:ffff::", ""),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", "", ""),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast", "", ""),
        ];
        for (first, last, name, before, after) in ranges {
            assert_eq!(range(&guard, first), Some(name), "{first}");
            assert_eq!(range(&guard, last), Some(name), "{last}");
            for public in [before, after].into_iter().filter(|ip| !ip.is_empty()) {
                assert_eq!(range(&guard, public), None, "{public}");
            }
        }
    }

    #[test]
    fn public_addresses_pass() {
        for ip in ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"]
        {
            assert_eq!(range(&guard(&[], &[]), ip), None, "{ip}");
        }
    }

    #[test]
    fn a_mapped_address_is_judged_as_ipv4() {
        let none = guard(&[], &[]);
        for (ip, name) in [
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:0.0.0.0", "this network"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:8.8.8.8", "IPv4-mapped"),
        ] {
            assert_eq!(range(&none, ip), Some(name), "{ip}");
        }
    }

    #[test]
    fn exemptions_cover_their_cidr_and_its_mapped_form_alone() {
        for allow in ["10.1.0.0/16", "::ffff:10.1.0.0/112"] {
            let exempt = guard(&[allow], &[]);
            assert_eq!(range(&exempt, "10.1.2.3"), None, "{allow}");
            assert_eq!(range(&exempt, "::ffff:10.1.2.3"), None, "{allow}");
            assert_eq!(range(&exempt, "10.2.0.0"), Some("private"), "{allow}");
            assert_eq!(range(&exempt, "::ffff:10.2.0.0"), Some("private"), "{allow}");
            assert_eq!(range(&exempt, "127.0.0.1"), Some("loopback"), "{allow}");
            assert_eq!(range(&exempt, "64:ff9b::10.1.2.3"), Some("NAT64"), "{allow}");
        }
        let local = guard(&["fd00:1::/32", "::1/128"], &[]);
        assert_eq!(range(&local, "fd00:1::5"), None);
        assert_eq!(range(&local, "::1"), None);
        assert_eq!(range(&local, "fd00:2::5"), Some("unique local"));
    }

    #[test]
    fn an_exempt_translator_does_not_open_what_is_behind_it() {
        let translator = guard(&["64:ff9b::/96"], &[]);
        assert_eq!(range(&translator, "64:ff9b::8.8.8.8"), None);
        assert_eq!(range(&translator, "64:ff9b::10.0.0.1"), Some("private"));
        assert_eq!(range(&guard(&["2002::/16"], &[]), "2002:7f00:1::"), Some("loopback"));
        assert_eq!(range(&guard(&["2001::/32"], &[]), "2001::80ff:fffe"), Some("loopback"));
        assert_eq!(range(&guard(&["::/0"], &[]), "::127.0.0.1"), Some("loopback"));
        // Named in so many bits, or exempt as IPv4.
        assert_eq!(range(&guard(&["64:ff9b::a00:0/104"], &[]), "64:ff9b::10.0.0.1"), None);
        assert_eq!(range(&guard(&["64:ff9b::/96", "10.0.0.0/8"], &[]), "64:ff9b::10.0.0.1"), None);
    }

    #[test]
    fn own_loopback_listener_by_any_alias() {
        let guard = guard(&[], &["127.0.0.1:1080"]);
        for alias in [
            "127.0.0.1:1080",
            "0.0.0.0:1080",
            "[::]:1080",
            "[::ffff:127.0.0.1]:1080",
            "[::ffff:0.0.0.0]:1080",
            "[::127.0.0.1]:1080",
            "[64:ff9b::127.0.0.1]:1080",
            "[2002:7f00:1::]:1080",
            "[2001::80ff:fffe]:1080",
            "[::ffff:0:127.0.0.1]:1080",
        ] {
            assert!(own(&guard, alias), "{alias}");
        }
        for other in ["127.0.0.1:1081", "0.0.0.0:80", "127.0.0.2:1080", "[::1]:1080", "192.0.2.1:1080"] {
            assert!(!own(&guard, other), "{other}");
        }
    }

    #[test]
    fn nothing_exempts_an_own_listener() {
        let listeners: Vec<SocketAddr> =
            vec!["127.0.0.1:1080".parse().unwrap(), "[::1]:9180".parse().unwrap()];
        let allow =
            vec!["127.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
        for guard in [Guard::new(true, allow.clone(), listeners.clone()), Guard::new(false, allow, listeners)]
        {
            assert!(own(&guard, "127.0.0.1:1080") && own(&guard, "[::ffff:127.0.0.1]:1080"));
            assert!(own(&guard, "[::1]:9180") && own(&guard, "[::]:9180") && own(&guard, "0.0.0.0:9180"));
            assert_eq!(guard.check("127.0.0.1:80".parse().unwrap()), Ok(()));
        }
    }

    #[test]
    fn a_wildcard_listener_is_every_local_address() {
        let locals: Vec<IpAddr> = vec!["198.51.100.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        for wildcard in ["0.0.0.0:1080", "[::]:1080", "[::ffff:0.0.0.0]:1080"] {
            let guard = guard(&[], &[wildcard]).with_locals(locals.clone());
            for alias in [
                "0.0.0.0:1080",
                "[::]:1080",
                "127.0.0.1:1080",
                "127.9.9.9:1080",
                "[::1]:1080",
                "[::ffff:127.0.0.1]:1080",
                "198.51.100.7:1080",
                "[::ffff:198.51.100.7]:1080",
                "[2001:db8::7]:1080",
                "[64:ff9b::198.51.100.7]:1080",
            ] {
                assert!(own(&guard, alias), "{wildcard} as {alias}");
            }
            for other in ["198.51.100.8:1080", "198.51.100.7:1081", "[2001:db8::8]:1080"] {
                assert!(!own(&guard, other), "{wildcard} as {other}");
            }
        }
    }

    #[test]
    fn a_listener_on_one_address_is_not_the_others() {
        let guard = guard(&[], &["198.51.100.7:1080"]).with_locals(vec!["198.51.100.9".parse().unwrap()]);
        assert!(own(&guard, "198.51.100.7:1080") && !own(&guard, "198.51.100.9:1080"));
        // Dialled from a socket bound to 198.51.100.7, 0.0.0.0 is 198.51.100.7.
        assert!(own(&guard, "0.0.0.0:1080"));
    }

    #[test]
    fn flow_and_scope_do_not_hide_a_listener() {
        let guard = guard(&[], &["[fe80::1]:1080"]);
        let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 1080, 7, 3);
        assert!(guard.is_own(scoped.into()));
    }

    #[test]
    fn with_allow_private_all_else_passes() {
        let guard = Guard::new(true, vec![], vec![]);
        for ip in ["127.0.0.1", "10.0.0.1", "224.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::"] {
            assert_eq!(range(&guard, ip), None, "{ip}");
        }
    }

    #[test]
    fn a_socket_that_met_itself_is_found() {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        assert_eq!(check_connected(at("127.0.0.1:4000"), at("127.0.0.1:4000")), Err(Refusal::SelfConnect));
        assert_eq!(
            check_connected(at("[::ffff:127.0.0.1]:4000"), at("127.0.0.1:4000")),
            Err(Refusal::SelfConnect)
        );
        assert_eq!(check_connected(at("127.0.0.1:4001"), at("127.0.0.1:4000")), Ok(()));
    }

    #[test]
    fn refusals_read_well() {
        assert_eq!(Refusal::SpecialPurpose("loopback").to_string(), "special-purpose destination (loopback)");
        assert_eq!(Refusal::OwnListener.to_string(), "our own listener");
    }
}
