//! Layouts of RFC 6052, and what ipv4only.arpa shows.

use super::*;

fn prefix(text: &str) -> Nat64 {
    Nat64::new(text.parse().unwrap()).unwrap()
}

/// RFC 6052 section 2.4, its table of 192.0.2.33 behind each length of prefix.
const TABLE: [(&str, &str); 6] = [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
];

#[test]
fn an_address_is_read_and_written_as_the_standard_has_it() {
    let v4 = Ipv4Addr::new(192, 0, 2, 33);
    for (net, text) in TABLE {
        let (net, address) = (prefix(net), text.parse().unwrap());
        let length = net.length().into();
        assert_eq!(net.address_of(v4), address, "{net}");
        assert_eq!(net.carried(address), Some(Carried { v4, prefix: length }), "{net}");
        // What stands in octet 8 and behind the IPv4 address is not looked at: no translator does.
        let noise: u128 = if length == 96 { 0 } else { 0xff << 56 | ((1 << (88 - length).min(24)) - 1) };
        let noisy = Ipv6Addr::from_bits(address.to_bits() | noise);
        assert_eq!(net.carried(noisy), Some(Carried { v4, prefix: length }), "{noisy}");
    }
    assert_eq!(prefix("2001:db8::/32").carried("2001:db9::".parse().unwrap()), None);
}

#[test]
fn prefixes_that_the_standard_does_not_have_are_none() {
    for text in ["64:ff9b::/95", "64:ff9b::/97", "64:ff9b::/128", "::/0", "64:ff9b:0:0:100::/96"] {
        assert_eq!(Nat64::new(text.parse().unwrap()), None, "{text}");
    }
}

#[test]
fn each_length_is_found_in_what_a_server_shows() {
    for (net, _) in TABLE {
        let net = prefix(net);
        for v4 in WELL_KNOWN {
            assert_eq!(Nat64::shown_by(&[net.address_of(v4).into()]), [net]);
        }
        let both = WELL_KNOWN.map(|v4| net.address_of(v4).into());
        assert_eq!(Nat64::shown_by(&both), [net]);
    }
    let shown = |text: &str| Nat64::shown_by(&[text.parse().unwrap()]);
    assert_eq!(shown("64:ff9b::192.0.0.170"), [prefix("64:ff9b::/96")]);
    for nothing in [
        "192.0.0.170",
        "64:ff9b::192.0.0.172",
        "2001:db8::1",
        // Something behind the IPv4 address, something in octet 8.
        "2001:db8:122:344:c0:0:aa00:1",
        "2001:db8:122:344:1c0:0:aa00::",
    ] {
        assert_eq!(shown(nothing), [], "{nothing}");
    }
}

#[test]
fn a_server_that_shows_too_many_is_heard_so_far() {
    let v4 = WELL_KNOWN[0];
    let many = (0..100_u16).map(|n| prefix(&format!("2600:{n:x}::/96")).address_of(v4).into());
    assert_eq!(Nat64::shown_by(&many.collect::<Vec<_>>()).len(), limits::NAT64_PREFIXES_MAX);
}

#[test]
fn only_what_opens_nothing_is_believed() {
    for text in ["64:ff9b::/96", "2600:1::/96", "2600:1::/32", "2a00:1:2:3::/64"] {
        assert!(prefix(text).is_credible(), "{text}");
    }
    for text in [
        "fd00::/96",
        "fd00:1::/32",
        "::/96",
        "64:ff9b::/64",
        "64:ff9b:1::/48",
        "64:ff9b:1::/96",
        "2002:a00::/48",
        "fe80::/64",
        "2001::/32",
        "2001:db8::/32",
    ] {
        assert!(!prefix(text).is_credible(), "{text}");
    }
}
