//! Where sessions leave from, as targets see it: over wires and routes, in namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::support::client::{Client, request};
use crate::support::crowd::{Crowd, EndsFirst, SourceBook};
use crate::support::netns::{self, Far};
use crate::support::relay::{Builder, quoted};
use crate::support::udp::{Association, Target};
use crate::support::{Relay, wait};

/// Four addresses, none of which is that of the wire.
pub(crate) const FOUR: [&str; 4] = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];
/// A minute's TIME_WAIT is what the proofs are about.
const PORTS: &str = "echo 20000 60999 > /proc/sys/net/ipv4/ip_local_port_range";
/// The whole numbers take minutes.
const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Targets far away, each at an address of its own.
pub(crate) fn targets(port: u16, count: u16) -> Vec<SocketAddr> {
    (0..count).map(|nth| SocketAddr::from(([45, 1, (nth >> 8) as u8, nth as u8], port))).collect()
}

/// A relay whose sessions all leave from one pool of these addresses.
pub(crate) fn pooled(addresses: &[&str], keys: &[(&str, &str)]) -> Builder {
    let builder = Relay::builder()
        .workers(2)
        .rules(&["name = \"out\"\naction = \"allow\"\negress = \"area\""])
        .set("[egress]", "name", "\"area\"")
        .set("[egress]", "addresses", &list(addresses));
    keys.iter().fold(builder, |builder, (key, value)| builder.set("[egress]", key, value))
}

fn list(addresses: &[&str]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| quoted(address)).collect();
    format!("[{}]", quoted.join(", "))
}

/// Runs the crowd to its end: no session is refused, and each is told of.
fn came(crowd: &Crowd, book: &SourceBook) -> BTreeMap<u32, SocketAddr> {
    assert_eq!(crowd.run(), [(0, crowd.sessions)].into());
    let came = book.take();
    assert_eq!(came.len(), crowd.sessions as usize);
    came
}

/// What the proofs count with: every session is told of, whoever ends it.
#[test]
fn a_crowd_without_a_pool_comes_from_the_gateways_own_address() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let book = far.inside(SourceBook::open);
        let relay = Relay::start();
        let crowd = Crowd::new(relay.addr(), targets(book.port, 16), 500, EndsFirst::Either);
        assert_eq!(SourceBook::shares(&came(&crowd, &book)), [(ip(netns::NEAR_V4), 500)].into());
        wait::until_true("a record of each", wait::PATIENCE, || relay.records(500).len() == 500);
    });
}

/// So many sessions through four addresses of 1,000 ports each to 64 targets, of which every other one is closed by the client
/// first and leaves its port in TIME_WAIT: nobody is refused, each address has its share within 5 %, and no port is of
/// another slice.
fn shares(select: &str, sessions: u32) {
    let far = Far::open();
    far.pool(&FOUR);
    let book = far.inside(SourceBook::open);
    let relay = pooled(&FOUR, &[("select", &quoted(select)), ("ports", "\"30000-30999\"")]);
    let relay = relay.set("log", "access", "\"off\"").start();
    let crowd = Crowd::new(relay.addr(), targets(book.port, 64), sessions, EndsFirst::Either);
    let came = came(&crowd, &book);
    assert!(
        came.values().all(|source| (30_000..=30_999).contains(&source.port())),
        "a port of another slice"
    );
    let shares = SourceBook::shares(&came);
    assert_eq!(shares.len(), FOUR.len(), "{shares:?}");
    for (address, share) in &shares {
        let part = *share as f64 / (f64::from(sessions) / FOUR.len() as f64);
        assert!(FOUR.map(ip).contains(address) && (0.95..=1.05).contains(&part), "{shares:?}");
    }
    println!("{sessions} sessions, {select}: {shares:?}");
}

#[test]
fn each_address_has_its_share_at_random() {
    netns::run(&test_name!(), PORTS, || shares("random", 20_000));
}

#[test]
fn each_address_has_its_share_in_turn() {
    netns::run(&test_name!(), PORTS, || shares("round-robin", 4_000));
}

#[test]
#[ignore = "takes minutes: a million sessions"]
fn a_million_sessions_at_random_use_up_no_port() {
    netns::run_within(LONG, &test_name!(), PORTS, || shares("random", 1_000_000));
}

#[test]
#[ignore = "takes minutes: a million sessions"]
fn a_million_sessions_in_turn_use_up_no_port() {
    netns::run_within(LONG, &test_name!(), PORTS, || shares("round-robin", 1_000_000));
}

/// All to one target, whose every session ends with our side first: from one address a minute has ports for 28,000.
fn distinct(sessions: u32) {
    let far = Far::open();
    far.pool(&["2600:c::/64"]);
    let book = far.inside(SourceBook::open);
    let relay = pooled(&["2600:c::/64"], &[("select", "\"random\"")]);
    let relay = relay.set("log", "access", "\"off\"").start();
    let target = SocketAddr::new(ip("2600::5"), book.port);
    let came = came(&Crowd::new(relay.addr(), vec![target], sessions, EndsFirst::Client), &book);
    let sources: BTreeSet<IpAddr> = came.values().map(|source| source.ip()).collect();
    assert_eq!(sources.len(), sessions as usize);
    let block: ipnet::Ipv6Net = "2600:c::/64".parse().expect("a block");
    assert!(sources.iter().all(|source| matches!(source, IpAddr::V6(source) if block.contains(source))));
}

#[test]
fn no_two_sessions_of_a_block_have_one_source() {
    netns::run(&test_name!(), "", || distinct(3_000));
}

#[test]
#[ignore = "takes a minute: 64,000 sessions"]
fn no_two_of_64_000_sessions_of_a_block_have_one_source() {
    netns::run_within(LONG, &test_name!(), "", || distinct(64_000));
}

/// A key for each client's address.
fn keyed(relay: &Relay, book: &SourceBook, keys: u32) -> Crowd {
    let from = |number: u32| IpAddr::from([127, 9, (number >> 8) as u8, number as u8]);
    let crowd = Crowd::new(relay.addr(), targets(book.port, 1), keys, EndsFirst::Target);
    Crowd { from: Some(from), ..crowd }
}

fn sources(came: BTreeMap<u32, SocketAddr>) -> BTreeMap<u32, IpAddr> {
    came.into_iter().map(|(number, source)| (number, source.ip())).collect()
}

/// The same key has the same address at two gateways that know nothing of each other, after a restart and after a reload; an
/// address that goes takes its own keys along and moves no other, and when it is back it has them again.
#[test]
fn a_key_keeps_its_address_over_gateways_restarts_and_reloads() {
    const KEYS: u32 = 400;
    netns::run(&test_name!(), "", || {
        let sticky = || pooled(&FOUR, &[("select", "\"sticky\""), ("sticky_on", "[\"source\"]")]);
        let far = Far::open();
        far.pool(&FOUR);
        let book = far.inside(SourceBook::open);
        let mut relay = sticky().start();
        let first = sources(came(&keyed(&relay, &book, KEYS), &book));
        let used: BTreeSet<&IpAddr> = first.values().collect();
        assert_eq!(used.len(), FOUR.len());
        assert_eq!(sources(came(&keyed(&relay, &book, KEYS), &book)), first, "again");
        relay.reload(&[("timeouts", "connect", "\"9s\"")]);
        assert_eq!(sources(came(&keyed(&relay, &book, KEYS), &book)), first, "after a reload");
        // Another process, of which the addresses stand in another order.
        let turned: Vec<&str> = FOUR.iter().rev().copied().collect();
        let other = sticky().set("[egress]", "addresses", &list(&turned)).start();
        assert_eq!(sources(came(&keyed(&other, &book, KEYS), &book)), first, "after a restart");
        // Without one of them its own keys move.
        relay.reload(&[("[egress]", "addresses", &list(&FOUR[..3]))]);
        let fewer = sources(came(&keyed(&relay, &book, KEYS), &book));
        for (key, source) in &first {
            let moved = fewer[key] != *source;
            assert_eq!(moved, *source == ip(FOUR[3]), "key {key}: {source} to {}", fewer[key]);
        }
        relay.reload(&[("[egress]", "addresses", &list(&FOUR))]);
        assert_eq!(sources(came(&keyed(&relay, &book, KEYS), &book)), first, "with it again");
        // Another machine takes over the addresses.
        let gateway = far.gateway();
        far.pool_at(&gateway, &FOUR);
        let there = gateway.machine.inside(|| {
            let relay = sticky().start();
            sources(came(&keyed(&relay, &book, KEYS), &book))
        });
        assert_eq!(there, first, "at another gateway");
    });
}

/// What is written otherwise and means the same gives the same answers: in another order, a block and its addresses one by one,
/// single addresses as blocks, IPv4 within IPv6, another spelling.
#[test]
fn gateways_that_are_configured_in_other_words_give_the_same_answers() {
    const KEYS: u32 = 200;
    const OWN: [&str; 4] = ["198.51.100.0/29", "203.0.113.9", "2600:c::/64", "2600:d::7"];
    let words: [&[&str]; 4] = [
        &OWN,
        &["2600:d::7", "2600:c::/64", "203.0.113.9", "198.51.100.0/29"],
        &["203.0.113.9/32", "2600:000C:0:0::0/64", "198.51.100.0/29", "2600:D:0:0:0:0:0:7/128"],
        &[
            "198.51.100.6",
            "198.51.100.2/31",
            "2600:d::0.0.0.7",
            "198.51.100.5/32",
            "::ffff:198.51.100.4",
            "203.0.113.9",
            "2600:c::/64",
            "198.51.100.1",
        ],
    ];
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let book = far.inside(SourceBook::open);
        let mut answers = Vec::new();
        for (nth, words) in words.into_iter().enumerate() {
            // Each is another machine, which takes over the addresses.
            let gateway = far.gateway();
            far.pool_at(&gateway, &OWN);
            answers.push(gateway.machine.inside(|| {
                let relay = pooled(words, &[("select", "\"sticky\""), ("sticky_on", "[\"source\"]")]).start();
                ["45.1.0.1", "2600:1::1"].map(|target| {
                    let targets = vec![SocketAddr::new(ip(target), book.port)];
                    let crowd = Crowd { targets, ..keyed(&relay, &book, KEYS) };
                    sources(came(&crowd, &book))
                })
            }));
            assert_eq!(answers[nth], answers[0], "{words:?}");
        }
        let [v4, v6] = answers[0].each_ref().map(|of| of.values().collect::<BTreeSet<_>>());
        assert_eq!(v4.len(), 7, "all of them are used: {v4:?}");
        assert!(v6.contains(&ip("2600:d::7")) && v6.len() > 50, "{v6:?}");
    });
}

/// Both have the same addresses and a slice each: at one target, where a collision would be refused, none is.
#[test]
fn two_processes_share_an_address_by_slices() {
    netns::run(&test_name!(), PORTS, || {
        let far = Far::open();
        far.pool(&FOUR[..1]);
        let book = far.inside(SourceBook::open);
        let sliced =
            |ports: &str| pooled(&FOUR[..1], &[("ports", &quoted(ports)), ("select", "\"random\"")]).start();
        let relays = [sliced("30000-30999"), sliced("31000-31999")];
        // Each uses up most of its own.
        let crowds = relays.each_ref().map(|relay| Crowd {
            at_once: 24,
            ..Crowd::new(relay.addr(), targets(book.port, 1), 700, EndsFirst::Client)
        });
        let replies = std::thread::scope(|scope| {
            crowds.each_ref().map(|crowd| scope.spawn(|| crowd.run())).map(|one| one.join().expect("a crowd"))
        });
        assert_eq!(replies, [BTreeMap::from([(0, 700)]), BTreeMap::from([(0, 700)])]);
        for (relay, slice) in relays.iter().zip([30_000..=30_999, 31_000..=31_999]) {
            let ports: BTreeSet<u16> = relay
                .records(700)
                .iter()
                .map(|record| {
                    let local: SocketAddr =
                        record["local"].as_str().expect("local").parse().expect("an address");
                    local.port()
                })
                .collect();
            assert!(ports.len() == 700 && ports.iter().all(|port| slice.contains(port)), "{ports:?}");
        }
    });
}

/// The datagrams and the peers of a client meet the address that its connections come from, and its ports.
#[test]
fn datagrams_and_peers_meet_the_address_of_the_pool() {
    netns::run(&test_name!(), PORTS, || {
        let far = Far::open();
        far.pool(&FOUR);
        let book = far.inside(SourceBook::open);
        let relay = pooled(&FOUR, &[("select", "\"sticky\""), ("ports", "\"30000-30999\"")]).start();
        let crowd = keyed(&relay, &book, 24);
        let connected = sources(came(&crowd, &book));
        let target = far.inside(|| Target::at("0.0.0.0:0".parse().expect("an address")));
        let there = SocketAddr::new(ip("45.1.0.0"), target.addr.port());
        for (number, source) in connected {
            let from = SocketAddr::new(ip(&format!("127.9.0.{number}")), 0);
            let greeted = || {
                let mut client = Client::connect_from(from, relay.addr());
                client.greet_none();
                client
            };
            let association = Association::over(greeted(), "0.0.0.0:0".parse().expect("an address"));
            association.send(there, b"datagram");
            let external = target.expect(b"datagram");
            assert_eq!(external.ip(), source, "client {number}");
            assert!((30_000..=30_999).contains(&external.port()), "{external}");
            let mut binding = greeted();
            binding.send(&request(0x02, there));
            let first = binding.reply();
            assert_eq!((first.rep, first.bound.ip()), (0, source), "client {number}");
            assert!((30_000..=30_999).contains(&first.bound.port()), "{first:?}");
            let mut peer = far.inside(|| Client::connect_from(SocketAddr::new(there.ip(), 0), first.bound));
            assert_eq!(binding.reply().bound, peer.local());
            peer.send(b"from the peer");
            binding.expect(b"from the peer");
        }
    });
}
