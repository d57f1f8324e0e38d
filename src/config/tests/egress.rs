//! `[[egress]]`, and those who name pools.

use super::*;

/// Each key, with a value that is no default.
const EVERY_KEY: &str = "[[egress]]\nname = \"carrier\"\naddresses = [\"198.51.100.0/28\", \"2001:db8::/64\"]\nselect = \"sticky\"\n\
    sticky_on = [\"user\", \"session\"]\nttl = \"10m\"\nsliding = true\nfailover = 1\n\
    cooldown = { refused = 20, reset_rate = 30, min_samples = 50, max = \"5m\" }\nfamily = \"match\"\nports = \"40000-44999\"\nreserve = 10\n\
    per_target = 100\ninterface = \"eth1\"\nfwmark = 7\ndscp = 10\nfreebind = true\nnetns = \"uplink2\"\ntags = { area = \"de\" }\n";

/// A configuration in which each key is typed.
pub(super) fn every_key() -> Vec<EgressConfig> {
    config(EVERY_KEY).egress
}

#[test]
fn every_key_of_a_pool_is_read_and_prints_as_it_is_read() {
    let read = config(EVERY_KEY);
    let printed = read.to_toml();
    assert_eq!(config(&printed).egress, read.egress);
    let pool = read.egress[0].spec();
    assert_eq!(pool.sockets.ports, Some(40_000..=44_999));
    assert_eq!(pool.sockets.netns.as_deref(), Some(Path::new("/run/netns/uplink2")));
    assert_eq!((pool.cooldown.refused, pool.cooldown.max), (20, Duration::from_secs(300)));
    assert_eq!(pool.tags.get("area").map(|tag| &**tag), Some("de"));
}

#[test]
fn a_pool_that_cannot_be_is_refused_with_its_place() {
    let complains = |keys: &str, expected: &str| {
        let said = parse(&format!("[[egress]]\nname = \"a\"\n{keys}\n")).expect_err(keys).to_string();
        assert!(said.contains(expected), "{keys}: {said}");
    };
    for (keys, expected) in [
        ("", "1: [[egress]] 1: needs `addresses`"),
        ("addresses = []", "3: [[egress]] 1 key `addresses`: is empty: it needs an address"),
        ("addresses = \"198.51.100.1/28\"", "did you mean \"198.51.100.0/28\"?"),
        ("addresses = \"0.0.0.0\"", "nothing leaves from the unspecified address"),
        ("addresses = \"::\"", "nothing leaves from the unspecified address"),
        ("addresses = \"224.0.0.0/24\"", "nothing leaves from multicast"),
        ("addresses = \"ff02::1\"", "nothing leaves from multicast"),
        ("addresses = \"255.255.255.255\"", "nothing leaves from the broadcast address"),
        ("addresses = \"fe80::1\"", "nothing leaves from link-local"),
        ("addresses = \"10.0.0.0/7\"", "is too large: a block of a pool is a /8 at most"),
        ("addresses = \"2000::/3\"", "is too large: a block of a pool is a /19 at most"),
        ("addresses = \"example.com\"", "3: [[egress]] 1 key `addresses`"),
        (
            "addresses = \"2001:db8::/48\"\nselect = \"round-robin\"",
            "4: [[egress]] 1 key `select`: \"round-robin\" goes from address to address, and 2001:db8::/48 has too many",
        ),
        (
            "addresses = \"2001:db8::/48\"\nselect = \"least-used\"",
            "\"least-used\" goes from address to address",
        ),
        (
            "addresses = [\"192.0.2.1\", \"2001:db8::1\"]\nfamily = \"v6\"",
            "4: [[egress]] 1 key `family`: \"v6\" leads to no target that 192.0.2.1/32 could be used for",
        ),
        ("addresses = \"192.0.2.1\"\nselect = \"stiky\"", "did you mean \"sticky\"?"),
        ("addresses = \"192.0.2.1\"\nsticky_on = []", "is empty: it needs a part of a session"),
        ("addresses = \"192.0.2.1\"\nsliding = true", "has a `ttl` begin anew, and there is none"),
        (
            "addresses = \"192.0.2.1\"\nselect = \"random\"\nttl = \"1m\"",
            "5: [[egress]] 1 key `ttl`: is about select = \"sticky\", and this pool's is \"random\"",
        ),
        ("addresses = \"192.0.2.1\"\nttl = \"0s\"", "out of range"),
        ("addresses = \"192.0.2.1\"\nfailover = 17", "17 is out of range: 0 to 16"),
        ("addresses = \"192.0.2.1\"\nports = \"0-9\"", "4: [[egress]] 1 key `ports`"),
        ("addresses = \"192.0.2.1\"\ninterface = \"much/too/long\"", "no name of an interface"),
        ("addresses = \"192.0.2.1\"\ndscp = 64", "64 is out of range: 0 to 63"),
        ("addresses = \"192.0.2.1\"\nnetns = \"a b\"", "no name of a network namespace"),
        ("addresses = \"192.0.2.1\"\ntags = { area = \"DE\" }", "did you mean \"de\"?"),
        ("addresses = \"192.0.2.1\"\ntags = { area = 1 }", "expected a string"),
        ("addresses = \"192.0.2.1\"\ncooldown = { refusd = 1 }", "did you mean `refused`?"),
        ("addresses = \"192.0.2.1\"\ncooldown = { refused = 101 }", "101 is out of range: 1 to 100"),
        ("addresses = \"192.0.2.1\"\nadresses = \"192.0.2.2\"", "did you mean `addresses`?"),
    ] {
        complains(keys, expected);
    }
}

/// Two pools that have an address know each but half of the ports that it has left.
#[test]
fn an_address_is_of_one_pool_unless_its_ports_are_shared_out() {
    let pools = |one: &str, other: &str| {
        parse(&format!("[[egress]]\nname = \"a\"\n{one}\n[[egress]]\nname = \"b\"\n{other}\n"))
    };
    for (one, other, expected) in [
        (
            "addresses = \"192.0.2.0/28\"",
            "addresses = \"192.0.2.3\"",
            "6: [[egress]] 2 key `addresses`: 192.0.2.3 is of [[egress]] \"a\", too",
        ),
        (
            "addresses = \"192.0.2.3\"",
            "addresses = [\"192.0.1.1\", \"192.0.2.0/28\"]",
            "6: [[egress]] 2 key `addresses`: 192.0.2.3 is of",
        ),
        ("addresses = \"2001:db8::/48\"", "addresses = \"2001:db8:0:1::/64\"", "2001:db8:0:1::/64 is of"),
        (
            "addresses = [\"192.0.2.1\", \"192.0.2.1\"]",
            "addresses = \"192.0.2.2\"",
            "3: [[egress]] 1 key `addresses`: 192.0.2.1 is there twice",
        ),
        (
            "addresses = \"192.0.2.1\"\nports = \"40000-40999\"",
            "addresses = \"192.0.2.1\"\nports = \"40999-41999\"",
            "give the two different `ports`",
        ),
        (
            "addresses = \"192.0.2.1\"\nports = \"40000-40999\"",
            "addresses = \"192.0.2.1\"",
            "give the two different `ports`",
        ),
    ] {
        let said = pools(one, other).expect_err(one).to_string();
        assert!(said.contains(expected), "{one} {other}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for (one, other) in [
        ("addresses = \"192.0.2.0/28\"", "addresses = \"192.0.2.16/28\""),
        (
            "addresses = \"192.0.2.1\"\nports = \"40000-40999\"",
            "addresses = \"192.0.2.1\"\nports = \"41000-41999\"",
        ),
        ("addresses = \"192.0.2.1\"\nnetns = \"one\"", "addresses = \"192.0.2.1\"\nnetns = \"two\""),
    ] {
        assert!(pools(one, other).is_ok(), "{one} {other}");
    }
}

#[test]
fn a_listener_names_a_pool_that_is_there() {
    let text = "[[listener]]\naddress = \"127.0.0.1:1080\"\negress = \"carier\"\n[[egress]]\nname = \"carrier\"\naddresses = \"192.0.2.1\"\n";
    let said = parse(text).expect_err("no such pool").to_string();
    assert!(
        said.contains(
            "3: [[listener]] 1 key `egress`: there is no [[egress]] \"carier\"; did you mean \"carrier\"?"
        ),
        "{said}"
    );
    assert!(parse(&text.replace("carier", "carrier")).is_ok());
}

#[test]
fn an_ipv4_mapped_address_is_an_ipv4_address() {
    let read = config("[[egress]]\nname = \"a\"\naddresses = \"::ffff:192.0.2.1\"\n");
    assert_eq!(read.egress[0].addresses, ["192.0.2.1/32".parse().unwrap()]);
}

#[test]
fn a_rule_names_a_pool_that_is_there_and_allows_what_leaves_by_it() {
    let pool = "[[egress]]\nname = \"carrier\"\naddresses = \"192.0.2.1\"\n";
    let rule = |keys: &str| format!("{pool}[[rule]]\nname = \"r\"\n{keys}\n");
    assert_eq!(
        config(&rule("action = \"allow\"\negress = \"carrier\"")).rules[0].egress.as_deref(),
        Some("carrier")
    );
    let said = |keys: &str| parse(&rule(keys)).expect_err(keys).to_string();
    let unknown = said("action = \"allow\"\negress = \"carier\"");
    assert!(
        unknown.contains(
            "7: [[rule]] 1 key `egress`: there is no [[egress]] \"carier\"; did you mean \"carrier\"?"
        ),
        "{unknown}"
    );
    for keys in [
        "action = \"deny\"\negress = \"carrier\"",
        "action = \"allow\"\nmode = \"report\"\negress = \"carrier\"",
    ] {
        assert!(said(keys).contains("this rule allows nothing: leave it out"), "{keys}");
    }
    let twice = parse(&format!("{pool}{pool}")).expect_err("two of a name").to_string();
    assert!(twice.contains("\"carrier\" is the name of [[egress]] 1, too"), "{twice}");
}
