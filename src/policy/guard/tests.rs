//! What the guard refuses, and what it lets through.

use std::sync::Arc;

use super::*;
use crate::policy::{Allowed, Policy};

fn guard(allow: &[&str], own: &[&str]) -> Guard {
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    Guard::new(false, allow, own.iter().map(|own| own.parse().unwrap()).collect())
}

fn locals(ips: &[&str]) -> Locals {
    Locals::new(ips.iter().map(|ip| ip.parse::<IpAddr>().unwrap()))
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
        ("192.0.2.0", "192.0.2.255", "documentation", "192.0.1.255", "192.0.3.0"),
        ("192.88.99.0", "192.88.99.255", "6to4 relay anycast", "192.88.98.255", "192.88.100.0"),
        ("198.51.100.0", "198.51.100.255", "documentation", "198.51.99.255", "198.51.101.0"),
        ("203.0.113.0", "203.0.113.255", "documentation", "203.0.112.255", "203.0.114.0"),
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
        ("100::", "100::ffff:ffff:ffff:ffff", "discard-only", "ff:ffff::", "100:0:0:2::"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo", "2000:ffff::", "2001:200::"),
        ("2001:1::", "2001:2:ffff:ffff:ffff:ffff:ffff:ffff", "IETF protocol assignments", "", "2001:3::"),
        ("2001:5::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "IETF protocol assignments", "", "2001:200::"),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "documentation",
            "2001:db7:ffff::",
            "2001:db9::",
        ),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", "3ffe:ffff::", "3fff:1000::"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing", "5eff:ffff::", "5f01::"),
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
    for ip in ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"] {
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

/// Which of the lengths of RFC 6052 a network uses its addresses do not tell.
#[test]
fn an_exempt_local_translator_does_not_open_what_is_behind_it() {
    let translator = guard(&["64:ff9b:1::/48"], &[]);
    for (ip, refused) in [
        // 10.0.0.1 behind a prefix of 48, 56, 64 and 96 bits, and with noise behind it.
        ("64:ff9b:1:a00:0:100::", Some("private")),
        ("64:ff9b:1:a00:0:1ff:808:808", Some("private")),
        ("64:ff9b:1:a:0:1::", Some("private")),
        ("64:ff9b:1:0:a:0:100::", Some("private")),
        ("64:ff9b:1::10.0.0.1", Some("private")),
        ("64:ff9b:1:808:8:800:a00:1", Some("private")),
        ("64:ff9b:1::", Some("this network")),
        ("64:ff9b:1::8.8.8.8", None),
        ("64:ff9b:1:808:8:800::", None),
    ] {
        assert_eq!(range(&translator, ip), refused, "{ip}");
    }
    // The prefix that the network uses, which says where the address stands.
    let exact = guard(&["64:ff9b:1:fffe::/96"], &[]);
    assert_eq!(range(&exact, "64:ff9b:1:fffe::8.8.8.8"), None);
    assert_eq!(range(&exact, "64:ff9b:1:fffe::10.0.0.1"), Some("private"));
    assert_eq!(range(&exact, "64:ff9b:1::8.8.8.8"), Some("local NAT64"));
    assert_eq!(range(&guard(&["64:ff9b:1::/48", "10.0.0.0/8"], &[]), "64:ff9b:1::10.0.0.1"), None);
}

#[test]
fn the_end_of_a_tunnel_is_judged_by_its_ipv4_address() {
    let none = guard(&[], &[]);
    for ip in ["2600::5efe:10.0.0.1", "2600::200:5efe:10.0.0.1", "2600:1:2:3:0:5efe:192.168.1.1"] {
        assert_eq!(range(&none, ip), Some("private"), "{ip}");
    }
    for ip in
        ["2600::5efe:8.8.8.8", "2600::200:5efe:8.8.8.8", "2600::100:5efe:10.0.0.1", "2600::5eff:10.0.0.1"]
    {
        assert_eq!(range(&none, ip), None, "{ip}");
    }
    assert_eq!(range(&guard(&["10.0.0.0/8"], &[]), "2600::5efe:10.0.0.1"), None);
    assert!(own(&guard(&[], &["127.0.0.1:1080"]), "[2600::5efe:127.0.0.1]:1080"));
}

fn nat64(prefixes: &[&str]) -> Vec<Nat64> {
    prefixes.iter().map(|net| Nat64::new(net.parse().unwrap()).unwrap()).collect()
}

#[test]
fn behind_a_translator_that_is_shown_an_address_is_judged_by_what_it_carries() {
    let here = locals(&["45.9.9.9"]);
    let shown = guard(&[], &["0.0.0.0:1080"]).with_locals(here).with_shown_nat64(&nat64(&["64:ff9b::/96"]));
    assert_eq!(range(&shown, "64:ff9b::8.8.8.8"), None);
    for (ip, refused) in [
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b::45.9.9.9", "this host"),
        ("64:ff9b:1::8.8.8.8", "local NAT64"),
    ] {
        assert_eq!(range(&shown, ip), Some(refused), "{ip}");
    }
    assert!(own(&shown, "[64:ff9b::45.9.9.9]:1080"));
    // A network's own prefix permits less than nothing said of it.
    let public = guard(&[], &[]).with_shown_nat64(&nat64(&["2600:1::/64"]));
    assert_eq!(range(&public, "2600:1::8:808:800:0"), None);
    assert_eq!(range(&public, "2600:1::a:0:100:0"), Some("private"));
}

/// A name server that lies gains nothing: no prefix makes a refused address a permitted one.
#[test]
fn a_translator_that_a_name_server_made_up_opens_nothing() {
    for prefix in
        ["fd00::/96", "::/96", "64:ff9b:1:a00:0:100::/96", "64:ff9b:1::/48", "2002:a00:1::/96", "fe80::/64"]
    {
        let (without, with) = (guard(&[], &[]), guard(&[], &[]).with_shown_nat64(&nat64(&[prefix])));
        for ip in [
            "fd00::808:808",
            "::808:808",
            "64:ff9b:1:a00:0:100:808:808",
            "2002:a00:1::808:808",
            "fe80::8:808:800:0",
        ] {
            assert_eq!(range(&with, ip), range(&without, ip), "{ip} with {prefix}");
        }
    }
}

#[test]
fn a_translator_that_the_operator_names_is_believed() {
    let named = guard(&[], &[]).with_nat64(&nat64(&["64:ff9b:1:808::/96", "fd64::/96", "64:ff9b:1::/48"]));
    for (ip, refused) in [
        ("fd64::8.8.8.8", None),
        ("fd64::10.0.0.1", Some("private")),
        ("fd65::8.8.8.8", Some("unique local")),
        // The longest prefix says where the address stands.
        ("64:ff9b:1:808::10.0.0.1", Some("private")),
        ("64:ff9b:1:808::8.8.8.8", None),
        ("64:ff9b:1:10a:0:500::", None),
    ] {
        assert_eq!(range(&named, ip), refused, "{ip}");
    }
}

#[test]
fn what_turns_out_to_be_this_host_is_judged_without_a_list() {
    let at = |address: &str| address.parse::<SocketAddr>().unwrap();
    let blind = guard(&["45.9.9.8/32"], &["0.0.0.0:1080", "192.0.2.1:1090"]);
    assert!(!blind.knows_locals());
    for (address, refused) in [
        ("45.9.9.9:1080", Some(Refusal::OwnListener)),
        ("45.9.9.8:1080", Some(Refusal::OwnListener)),
        ("[::ffff:45.9.9.8]:1080", Some(Refusal::OwnListener)),
        ("192.0.2.1:1090", Some(Refusal::OwnListener)),
        ("45.9.9.9:80", Some(Refusal::SpecialPurpose("this host"))),
        ("45.9.9.8:1090", None),
        ("45.9.9.8:80", None),
    ] {
        assert_eq!(blind.check_same_host(at(address)).err(), refused, "{address}");
    }
    let open = Guard::new(true, vec![], vec![at("0.0.0.0:1080")]);
    assert_eq!(open.check_same_host(at("45.9.9.9:80")), Ok(()));
    assert_eq!(open.check_same_host(at("45.9.9.9:1080")), Err(Refusal::OwnListener));
}

#[test]
fn this_host_is_special_purpose_at_all_of_its_addresses() {
    let locals = Locals::new(
        ["45.9.9.9/32", "45.9.10.0/24", "2600:9::/64"].map(|net| net.parse::<ipnet::IpNet>().unwrap()),
    );
    let with = |allow: &[&str]| guard(allow, &[]).with_locals(locals.clone());
    for ip in ["45.9.9.9", "45.9.10.7", "2600:9::7"] {
        assert_eq!(range(&with(&[]), ip), Some("this host"), "{ip}");
        assert_eq!(range(&with(&["45.9.0.0/16", "2600:9::/64"]), ip), None, "{ip}");
    }
    assert_eq!(range(&with(&[]), "45.9.9.10"), None);
    let open = Guard::new(true, vec![], vec![]).with_locals(locals);
    assert_eq!(range(&open, "45.9.9.9"), None);
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
    let listeners: Vec<SocketAddr> = vec!["127.0.0.1:1080".parse().unwrap(), "[::1]:9180".parse().unwrap()];
    let allow = vec!["127.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
    for guard in [Guard::new(true, allow.clone(), listeners.clone()), Guard::new(false, allow, listeners)] {
        assert!(own(&guard, "127.0.0.1:1080") && own(&guard, "[::ffff:127.0.0.1]:1080"));
        assert!(own(&guard, "[::1]:9180") && own(&guard, "[::]:9180") && own(&guard, "0.0.0.0:9180"));
        assert_eq!(guard.check("127.0.0.1:80".parse().unwrap()), Ok(()));
    }
}

#[test]
fn a_wildcard_listener_is_every_local_address() {
    let locals = locals(&["198.51.100.7", "2001:db8::7"]);
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
    let guard = guard(&[], &["198.51.100.7:1080"]).with_locals(locals(&["198.51.100.9"]));
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

/// An address may become one of our listeners while it is dialled.
#[test]
fn a_connection_to_a_listener_that_is_new_is_found() {
    let at = |address: &str| address.parse::<SocketAddr>().unwrap();
    let policy = Policy::new(Guard::new(true, vec![], vec![at("127.0.0.1:9180")]));
    let made = |to: &str| policy.check_connected(at("127.0.0.1:4001"), at(to), &Allowed::default(), || false);
    assert_eq!(made("127.0.0.1:9180"), Err(Refusal::OwnListener));
    assert_eq!(made("[::ffff:127.0.0.1]:9180"), Err(Refusal::OwnListener));
    assert_eq!(made("127.0.0.1:9181"), Ok(()));
}

#[test]
fn refusals_read_well() {
    assert_eq!(Refusal::SpecialPurpose("loopback").to_string(), "special-purpose destination (loopback)");
    assert_eq!(Refusal::OwnListener.to_string(), "our own listener");
}

/// What the kernel says where it must not be asked.
fn not_asked(address: SocketAddr) -> bool {
    panic!("asked for {address}")
}

#[test]
fn a_datagram_to_a_port_of_ours_is_a_loop_where_it_stays_on_this_machine() {
    let ports = Arc::new(OwnPorts::default());
    let to = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 7_000);
    let _held = (ports.hold(to("0.0.0.0")), ports.hold(to("::")));
    for guard in [guard(&[], &[]).with_locals(locals(&["203.0.114.9"])), Guard::new(true, vec![], vec![])] {
        let check = |ip: &str, here: bool| guard.check_datagram(to(ip), &ports, |_| here);
        for here in ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1"] {
            assert_eq!(guard.check_datagram(to(here), &ports, not_asked), Err(Refusal::OwnPort), "{here}");
        }
        assert_eq!(check("8.8.8.8", true), Err(Refusal::OwnPort));
        assert_eq!(check("8.8.8.8", false), Ok(()));
        let other_port = SocketAddr::new("8.8.8.8".parse().unwrap(), 7_001);
        assert_eq!(guard.check_datagram(other_port, &ports, |_| false), Ok(()));
    }
}

#[test]
fn without_a_list_the_kernel_says_where_a_datagram_goes() {
    let (none, to) = (OwnPorts::default(), "8.8.8.8:53".parse().unwrap());
    let blind = guard(&[], &[]);
    assert_eq!(blind.check_datagram(to, &none, |_| true), Err(Refusal::SpecialPurpose(LOCAL)));
    assert_eq!(blind.check_datagram(to, &none, |_| false), Ok(()));
    let informed = guard(&[], &[]).with_locals(locals(&["203.0.114.9"]));
    assert_eq!(informed.check_datagram(to, &none, not_asked), Ok(()));
    let exempt = guard(&["8.8.8.0/24"], &[]);
    assert_eq!(exempt.check_datagram(to, &none, not_asked), Ok(()));
    let private = "10.0.0.1:53".parse().unwrap();
    assert_eq!(blind.check_datagram(private, &none, not_asked), Err(Refusal::SpecialPurpose("private")));
}

#[test]
fn a_datagram_from_a_port_of_ours_is_no_answer() {
    let ports = Arc::new(OwnPorts::default());
    let from = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 7_000);
    let _held = ports.hold(from("0.0.0.0"));
    let informed = guard(&[], &[]).with_locals(locals(&["203.0.114.9"]));
    for here in ["127.0.0.1", "203.0.114.9"] {
        assert_eq!(informed.check_answer(from(here), &ports, not_asked), Err(Refusal::OwnPort), "{here}");
    }
    assert_eq!(informed.check_answer(from("8.8.8.8"), &ports, not_asked), Ok(()));
    let blind = guard(&[], &[]);
    assert_eq!(blind.check_answer(from("8.8.8.8"), &ports, |_| true), Err(Refusal::OwnPort));
    assert_eq!(blind.check_answer(from("8.8.8.8"), &ports, |_| false), Ok(()));
    let other = "127.0.0.1:7001".parse().unwrap();
    assert_eq!(blind.check_answer(other, &ports, not_asked), Ok(()));
}
