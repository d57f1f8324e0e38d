//! Sessions that leave from a pool of addresses: 127.0.0.0/8 has them, and each of its addresses is this machine's.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::bind::{bind, peer};
use crate::support::client::{connect_name, request};
use crate::support::origin::{BlackHole, V4, V6};
use crate::support::relay::Builder;
use crate::support::socket_table::{TcpState, tcp4};
use crate::support::udp::{Association, Target};
use crate::support::wait::{self, PATIENCE};
use crate::support::web::{Peer, get};
use crate::support::{Client, DnsServer, Engine, Origin, Relay, netns};

/// What has every session leave from a pool of these keys.
fn pool(keys: &str) -> String {
    format!("name = \"all\"\naction = \"allow\"\negress = \"pool\"\n\n[[egress]]\nname = \"pool\"\n{keys}")
}

/// A relay whose sessions all do.
pub(crate) fn pooled(keys: &str) -> Builder {
    Relay::builder().rules(&[&pool(keys)])
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const TWO: &str = "addresses = [\"127.9.0.1\", \"127.9.0.2\"]";

fn two() -> BTreeSet<IpAddr> {
    [1, 2].map(|last| IpAddr::from([127, 9, 0, last])).into()
}

/// The address of the pool that a record has.
fn source_in(record: &Value) -> IpAddr {
    record["egress_address"].as_str().expect("an address").parse().expect("an address")
}

fn a_connection_leaves_from_the_pool_whatever_is_spoken(engine: Engine) {
    let listener =
        "name = \"one\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"socks5\", \"socks4\", \"http\"]";
    let relay = pooled(TWO).engine(engine).listeners(&[listener]).start();
    let origin = Origin::echo();
    let IpAddr::V4(ip) = origin.addr.ip() else { unreachable!("it listens on 127.0.0.1") };
    let socks5 = [&[5, 1, 0][..], &request(1, origin.addr)].concat();
    let socks4 = [&[4, 1][..], &origin.addr.port().to_be_bytes(), &ip.octets(), &[0]].concat();
    let http = format!("CONNECT {} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr).into_bytes();
    for (nth, (asked, answer)) in
        [(socks5, 12), (socks4, 8), (http, ESTABLISHED.len())].into_iter().enumerate()
    {
        let mut client = Client::connect(relay.addr());
        client.send(&asked);
        client.recv(answer);
        client.send(b"ping");
        client.expect(b"ping");
        client.finish();
        client.expect_eof();
        let record = relay.records(nth + 1).pop().expect("its record");
        let came = origin.peer(nth + 1);
        assert!(two().contains(&came.ip()), "{came}");
        assert_eq!((record["egress"].as_str(), source_in(&record)), (Some("pool"), came.ip()), "{record}");
        assert_eq!(record["local"], came.to_string(), "{record}");
        let key = record["session_key"].as_str().expect("a key");
        assert!(key.len() == 16 && key.bytes().all(|digit| digit.is_ascii_hexdigit()), "{record}");
    }
    // One source is one key.
    assert_eq!(origin.peers().iter().map(|peer| peer.ip()).collect::<BTreeSet<_>>().len(), 1);
}
engines!(a_connection_leaves_from_the_pool_whatever_is_spoken);

#[test]
fn a_session_without_a_pool_has_none_in_its_record() {
    let relay = Relay::builder().start();
    let origin = Origin::echo();
    drop(Client::through(relay.addr(), origin.addr));
    let record = relay.record();
    assert!(
        ["egress", "egress_address", "session_key"].iter().all(|field| record[field].is_null()),
        "{record}"
    );
}

/// Ports are used up by (source, target): whoever finds none goes on to the next source, for this target alone.
fn a_source_whose_ports_are_used_up_is_passed_over_for_that_target(engine: Engine) {
    netns::run(
        &format!(
            "egress::a_source_whose_ports_are_used_up_is_passed_over_for_that_target::{}",
            engine.name()
        ),
        "",
        || {
            let relay = pooled(&format!("{TWO}\nports = \"40100-40103\"")).engine(engine).start();
            let (origin, other) = (Origin::echo(), Origin::echo());
            let mut held: Vec<Client> = (0..8).map(|_| Client::through(relay.addr(), origin.addr)).collect();
            let sources: Vec<IpAddr> = origin.peers().iter().map(|peer| peer.ip()).collect();
            assert!(sources[..4].iter().all(|source| *source == sources[0]), "{sources:?}");
            assert!(sources[4..].iter().all(|source| *source == sources[4]), "{sources:?}");
            assert_eq!(BTreeSet::from([sources[0], sources[4]]), two());
            let ports: BTreeSet<u16> = origin.peers().iter().map(|peer| peer.port()).collect();
            assert_eq!(ports, (40_100..=40_103).collect());
            // Another target has all of them from the first on.
            held.push(Client::through(relay.addr(), other.addr));
            assert_eq!(other.peer(1).ip(), sources[0]);
            // None is left for the first one, until one is free again: a client's reset leaves nothing behind.
            let mut late = Client::greeted(relay.addr());
            late.send(&request(1, origin.addr));
            late.expect_refusal(0x01);
            let refused = relay.record();
            assert_eq!(
                (&refused["reason"], &refused["reply"]),
                (&"no_local_port".into(), &1.into()),
                "{refused}"
            );
            // Nobody could tell of which pool the ports were used up.
            assert!(refused["egress"].is_string() && refused["egress_address"].is_null(), "{refused}");
            held.remove(0).reset();
            wait::until_true("a port is free", PATIENCE, || relay.records_now().len() == 2);
            held.push(Client::through(relay.addr(), origin.addr));
            assert_eq!(origin.peer(9).ip(), sources[0]);
            for client in &mut held {
                client.send(b"mine");
                client.expect(b"mine");
            }
        },
    );
}
engines!(a_source_whose_ports_are_used_up_is_passed_over_for_that_target);

/// RFC 1928 section 6: 08 is for a type of address, and that of a name is served.
#[test]
fn a_target_of_another_family_than_the_pools_is_refused_with_words() {
    let server = DnsServer::zone(&[("six.example", &["::1"]), ("both.example", &["::1", "127.0.0.1"])]);
    let four = Origin::echo();
    for keys in [TWO, "addresses = [\"127.9.0.1\"]\nfamily = \"v4\""] {
        let relay = pooled(keys).dns(&server).set("log", "level", "\"debug\"").start();
        let mut client = Client::greeted(relay.addr());
        client.send(&request(1, SocketAddr::new(V6, four.addr.port())));
        client.expect_refusal(0x08);
        let mut client = Client::greeted(relay.addr());
        client.send(&connect_name(b"six.example", four.addr.port()));
        client.expect_refusal(0x04);
        relay.logged(&["no way to the target's address family"]);
        // Of a name with both the one that it leads to.
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_name(b"both.example", four.addr.port()).rep, 0);
    }
    let relay = pooled("addresses = [\"::1\"]\nfamily = \"v6\"").start();
    let mut client = Client::greeted(relay.addr());
    client.send(&request(1, four.addr));
    client.expect_refusal(0x08);
    let six = Origin::echo_on(V6);
    drop(Client::through(relay.addr(), six.addr));
}

/// An address that this machine does not have is no reason to refuse a session that may leave from another.
#[test]
fn an_address_that_is_not_there_is_passed_over() {
    netns::run(&test_name!(), "", || {
        let origin = Origin::echo();
        let addresses = "addresses = [\"192.0.2.1\", \"192.0.2.2\", \"127.9.0.1\"]";
        let relay = pooled(&format!("{addresses}\nselect = \"round-robin\"")).start();
        for nth in 1..=6 {
            drop(Client::through(relay.addr(), origin.addr));
            assert_eq!(origin.peer(nth).ip(), IpAddr::from([127, 9, 0, 1]));
        }
        let relay = pooled("addresses = [\"192.0.2.1\"]").start();
        let mut client = Client::greeted(relay.addr());
        client.send(&request(1, origin.addr));
        client.expect_refusal(0x01);
    });
}

/// RFC 4787 REQ-2, RFC 6888 REQ-2: what a user has open is seen as one host.
fn bind_and_datagrams_leave_from_the_address_of_the_connections(engine: Engine) {
    let relay = pooled(TWO).engine(engine).start();
    let origin = Origin::echo();
    drop(Client::through(relay.addr(), origin.addr));
    let source = origin.peer(1).ip();
    for anybody in [SocketAddr::new(V4, 21), SocketAddr::from(([0, 0, 0, 0], 0))] {
        let (mut client, bound) = bind(relay.addr(), anybody);
        assert_eq!(bound.ip(), source);
        let mut peer = peer(V4, bound);
        assert_eq!(client.reply().bound, peer.local());
        peer.send(b"data");
        client.expect(b"data");
        drop((client, peer));
    }
    let association = Association::open(relay.addr());
    let targets = [Target::on(V4), Target::on(V4)];
    let mut came = BTreeSet::new();
    for target in &targets {
        association.send(target.addr, b"ping");
        let from = target.expect(b"ping");
        target.send(from, b"pong");
        association.expect(target.addr, b"pong");
        came.insert(from);
    }
    assert_eq!(came.len(), 1, "one address and port for all targets");
    assert_eq!(came.first().map(SocketAddr::ip), Some(source));
    drop(association);
    let records = relay.records(4);
    assert!(records.iter().all(|record| source_in(record) == source), "{records:#?}");
    let keys: BTreeSet<_> = records.iter().map(|record| record["session_key"].as_str()).collect();
    assert_eq!(keys.len(), 1, "{records:#?}");
}
engines!(bind_and_datagrams_leave_from_the_address_of_the_connections);

/// Listeners and associations have their ports of the slice, too, and the next address when it is used up.
#[test]
fn listeners_and_associations_have_ports_of_the_slice() {
    netns::run(&test_name!(), "", || {
        let slice = 40_100..=40_101;
        let relay = pooled(&format!("{TWO}\nports = \"40100-40101\""))
            .set("bind", "ports", "\"50000-50009\"")
            .start();
        let bound: Vec<_> = (0..4).map(|_| bind(relay.addr(), SocketAddr::new(V4, 21))).collect();
        assert!(bound.iter().all(|(_, at)| slice.contains(&at.port())), "{bound:?}");
        assert_eq!(bound.iter().map(|(_, at)| at.ip()).collect::<BTreeSet<_>>(), two());
        let mut none = Client::greeted(relay.addr());
        none.send(&request(2, SocketAddr::new(V4, 21)));
        none.expect_refusal(0x01);
        let target = Target::on(V4);
        let associations: Vec<_> = (0..4).map(|_| Association::open(relay.addr())).collect();
        let from = associations.iter().map(|association| {
            association.send(target.addr, b"ping");
            target.expect(b"ping")
        });
        let from: Vec<SocketAddr> = from.collect();
        assert!(from.iter().all(|at| slice.contains(&at.port())), "{from:?}");
        assert_eq!(from.iter().map(SocketAddr::ip).collect::<BTreeSet<_>>(), two());
    });
}

/// A connection that is kept for another request keeps its address, and each request's record has it.
#[test]
fn requests_over_one_connection_leave_from_one_address() {
    let listener = "name = \"one\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"http\"]";
    let relay = pooled(&format!("{TWO}\nselect = \"round-robin\"")).listeners(&[listener]).start();
    let origin = Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            peer.send(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let mut client = Peer::connect(relay.addr());
    for _ in 0..3 {
        client.send(get(origin.addr, "/").as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 204 "));
    }
    drop(client);
    assert_eq!(origin.accepted(), 1);
    let source = origin.peer(1).ip();
    assert!(relay.records(3).iter().all(|record| source_in(record) == source));
}

/// What is under way goes on from the pool that it began with.
fn a_dial_outlasts_a_reload_without_its_pool(engine: Engine) {
    netns::run(&format!("egress::a_dial_outlasts_a_reload_without_its_pool::{}", engine.name()), "", || {
        let hole = BlackHole::at("127.3.2.1:9000".parse().expect("an address"));
        let mut relay = pooled(TWO).engine(engine).start();
        let mut client = Client::greeted(relay.addr());
        client.send(&request(1, hole.addr));
        wait::until_true("it dials", PATIENCE, || {
            tcp4().iter().any(|entry| {
                entry.state == TcpState::SynSent
                    && entry.remote == hole.addr
                    && two().contains(&entry.local.ip())
            })
        });
        relay.put_rules(&["name = \"all\"\naction = \"allow\""]);
        relay.reload(&[]);
        hole.open();
        let reply = client.reply();
        assert_eq!((reply.rep, two().contains(&reply.bound.ip())), (0x00, true), "{reply:?}");
        let origin = Origin::echo();
        drop(Client::through(relay.addr(), origin.addr));
        assert_eq!(origin.peer(1).ip(), V4, "who comes later has no pool");
        client.reset();
        let records = relay.records(2);
        assert_eq!(records.iter().filter(|record| record["egress"] == "pool").count(), 1, "{records:#?}");
    });
}
engines!(a_dial_outlasts_a_reload_without_its_pool);

/// The states of our sockets towards a target.
fn states(target: SocketAddr) -> Vec<TcpState> {
    tcp4().into_iter().filter(|entry| entry.remote == target).map(|entry| entry.state).collect()
}

/// The side that closes first keeps TIME_WAIT (RFC 9293 section 3.3.2); a reset leaves none, and is passed on as one.
fn an_orderly_end_stays_one_and_a_reset_leaves_no_time_wait(engine: Engine) {
    netns::run(
        &format!("egress::an_orderly_end_stays_one_and_a_reset_leaves_no_time_wait::{}", engine.name()),
        "",
        || {
            let relay = pooled(TWO).engine(engine).start();
            let ended =
                |nth: usize| wait::until_true("its record", PATIENCE, || relay.records_now().len() == nth);
            let orderly = Origin::echo();
            let mut client = Client::through(relay.addr(), orderly.addr);
            client.send(b"ping");
            client.expect(b"ping");
            client.finish();
            client.expect_eof();
            ended(1);
            wait::until_true("TIME_WAIT", PATIENCE, || states(orderly.addr) == [TcpState::TimeWait]);
            let cut = Origin::echo();
            let mut client = Client::through(relay.addr(), cut.addr);
            client.send(b"ping");
            client.expect(b"ping");
            client.reset();
            ended(2);
            wait::until_true("nothing is left", PATIENCE, || states(cut.addr).is_empty());
            let first = Origin::serve(drop);
            let mut client = Client::through(relay.addr(), first.addr);
            client.expect_eof();
            client.finish();
            ended(3);
            wait::until_true("nothing is left", PATIENCE, || states(first.addr).is_empty());
            let reasons: Vec<Value> =
                relay.records(3).iter().map(|record| record["reason"].clone()).collect();
            assert_eq!(reasons, ["completed", "client_reset", "completed"]);
        },
    );
}
engines!(an_orderly_end_stays_one_and_a_reset_leaves_no_time_wait);
