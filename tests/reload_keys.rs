//! Keys that show late in a session, in what it leaves, or in what a listener takes: each is obeyed by what comes after the
//! reload that changes it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::gssapi_realm::realm;
use crate::support::client::request;
use crate::support::gss::{
    ABORT, AUTHENTICATION, GssClient, Initiator, PROTECTION, SERVICE, USUAL, demand_levels,
};
use crate::support::origin::{V4, V6};
use crate::support::relay::quoted;
use crate::support::udp::{Association, Target, expect_drops, fragment};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Origin, Relay, netns};

/// The last fragment of a sequence (RFC 1928 section 7).
const END: u8 = 0x80;
/// An IPv4 address in a DNS question.
const A: u16 = 1;

/// Has the server read a file that it refuses, and say these words.
fn refused(relay: &mut Relay, keys: &[(&str, &str, &str)], words: &[&str]) {
    let before = relay.log().matches("nothing has changed").count();
    relay.write(keys);
    relay.signal("HUP");
    wait::until_true("the refusal", PATIENCE, || relay.log().matches("nothing has changed").count() > before);
    relay.logged(words);
}

#[test]
fn ports_are_those_of_the_file() {
    netns::run(&test_name!(), "true", || {
        let mut relay = Relay::start();
        let target = Target::on(V4);
        let before = Association::open(relay.addr());
        relay.reload(&[("bind", "ports", "\"40000-40001\""), ("udp", "ports", "\"41000-41001\"")]);
        let mut bound = BTreeSet::new();
        let _waiting: Vec<Client> = (0..2)
            .map(|_| {
                let mut client = Client::greeted(relay.addr());
                client.send(&request(2, SocketAddr::new(V4, 9)));
                bound.insert(client.reply().bound.port());
                client
            })
            .collect();
        assert_eq!(bound, BTreeSet::from([40_000, 40_001]));
        let after: Vec<Association> = (0..2).map(|_| Association::open(relay.addr())).collect();
        let doors: BTreeSet<u16> = after.iter().map(|client| client.door.port()).collect();
        assert_eq!(doors, BTreeSet::from([41_000, 41_001]));
        for client in after.iter().chain([&before]) {
            client.send(target.addr, b"served");
            target.expect(b"served");
        }
    });
}

/// An association keeps what it began with, and the next one goes by the file.
#[test]
fn datagrams_are_taken_as_the_file_says() {
    let mut relay = Relay::start();
    let (target, stranger) = (Target::on(V4), Target::at("127.0.0.2:0".parse().expect("an address")));
    let before = Association::open(relay.addr());
    relay.reload(&[("udp", "fragments", "false"), ("udp", "filtering", "\"endpoint-independent\"")]);
    let after = Association::open(relay.addr());
    for client in [&before, &after] {
        client.send_raw(&fragment(1, target.addr, b"one "));
        client.send_raw(&fragment(2 | END, target.addr, b"two"));
    }
    target.expect(b"one two");
    let outside = [&before, &after].map(|client| {
        client.send(target.addr, b"fence");
        target.expect(b"fence")
    });
    outside.iter().for_each(|external| stranger.send(*external, b"unasked"));
    after.expect(stranger.addr, b"unasked");
    target.send(outside[0], b"asked");
    before.expect(target.addr, b"asked");
    expect_drops(&relay, &[("filtered", 1), ("fragment", 2)]);
}

#[test]
fn targets_of_datagrams_are_recorded_while_the_file_says_so() {
    let mut relay = Relay::start();
    let target = Target::on(V4);
    let mut records = 0;
    for (wanted, more) in [("true", 2), ("false", 1)] {
        relay.reload(&[("log", "udp_targets", wanted)]);
        let association = Association::open(relay.addr());
        association.send(target.addr, b"four");
        target.expect(b"four");
        drop(association);
        records += more;
        let told = relay.records(records);
        let of_targets = told.iter().filter(|record| record["record"] == "udp_target");
        assert_eq!(of_targets.map(|record| record["bytes_up"].clone()).collect::<Vec<Value>>(), [4]);
    }
}

/// In a namespace where the way to a translator ends here: what is refused is told from what only fails.
#[test]
fn translators_are_those_of_the_file() {
    let setup = "ip -6 route add default dev lo; ip -6 addr add 2600:1::1/64 dev lo nodad";
    netns::run(&test_name!(), setup, || {
        let mut relay = Relay::builder().guarded().timeout("connect", 300).start();
        let behind: SocketAddr = "[64:ff9b:1:fffe::8.8.8.8]:9".parse().expect("an address");
        let is_refused = |relay: &Relay| Client::greeted(relay.addr()).request_ip(behind).rep == 0x02;
        assert!(is_refused(&relay));
        relay.reload(&[("dns", "dns64", "[\"64:ff9b:1:fffe::/96\"]")]);
        assert!(!is_refused(&relay));
        let private = "[64:ff9b:1:fffe::10.0.0.1]:9".parse().expect("an address");
        assert_eq!(Client::greeted(relay.addr()).request_ip(private).rep, 0x02);
        relay.reload(&[("dns", "dns64", "\"off\"")]);
        assert!(is_refused(&relay));
    });
}

#[test]
fn as_many_names_are_remembered_as_the_file_says() {
    let server = DnsServer::zone(&[("a.test", &["127.0.0.1"]), ("b.test", &["127.0.0.1"])]);
    let (mut relay, origin) = (Relay::builder().dns(&server).start(), Origin::echo());
    let asked_by_two_rounds = |relay: &Relay| {
        let before = server.asked("a.test", A);
        for name in [b"a.test", b"b.test", b"a.test", b"b.test"] {
            assert_eq!(Client::greeted(relay.addr()).request_name(name, origin.addr.port()).rep, 0);
        }
        server.asked("a.test", A) - before
    };
    assert_eq!(asked_by_two_rounds(&relay), 1);
    relay.reload(&[("dns", "cache_entries", "1")]);
    assert_eq!(asked_by_two_rounds(&relay), 2);
    relay.reload(&[("dns", "cache_entries", "100")]);
    asked_by_two_rounds(&relay);
    assert_eq!(asked_by_two_rounds(&relay), 0);
}

#[test]
fn a_half_closed_session_lasts_as_the_file_says() {
    let (mut relay, target) = (Relay::start(), TcpListener::bind((V4, 0)).expect("a port"));
    let session = |relay: &Relay| {
        let client = Client::through(relay.addr(), target.local_addr().expect("an address"));
        (client, target.accept().expect("the relay").0)
    };
    let mut before = session(&relay);
    relay.reload(&[("timeouts", "half_close", "\"200ms\"")]);
    let mut after = session(&relay);
    before.0.finish();
    after.0.finish();
    after.0.expect_closed();
    assert_eq!(relay.record()["reason"], "half_close");
    before.0.expect_silence(Duration::from_millis(300));
}

/// A wildcard without a password listens where the file says that it may, and from then on no file without that is taken.
#[test]
fn an_open_proxy_is_one_where_the_file_says_so() {
    netns::run(&test_name!(), "ip addr add 10.9.9.9/32 dev lo", || {
        let builder = Relay::builder().listen(&[]).set("server", "listen", "[\"127.0.0.1:1080\"]");
        let mut relay = builder.start();
        let open = ("server", "listen", "[\"0.0.0.0:1080\"]");
        let outside: SocketAddr = "10.9.9.9:1080".parse().expect("an address");
        refused(&mut relay, &[open], &["is an open proxy"]);
        assert!(TcpStream::connect(outside).is_err());
        relay.reload(&[open, ("server", "open_proxy", "true")]);
        Client::greeted(outside);
        Client::greeted(relay.addr());
        refused(&mut relay, &[("server", "open_proxy", "false")], &["is an open proxy"]);
        Client::greeted(outside);
        relay.reload(&[("server", "listen", "[\"127.0.0.1:1080\"]")]);
        assert!(TcpStream::connect(outside).is_err());
    });
}

/// The wildcard of IPv6 gives IPv4 up to the one of IPv4 and takes it back: both families are served after each reload.
#[test]
fn the_wildcard_shares_with_the_other_family_as_the_file_says() {
    netns::run(&test_name!(), "true", || {
        let builder = Relay::builder().workers(2).listen(&[]).set("server", "open_proxy", "true");
        let mut relay = builder.set("server", "listen", "[\"[::]:1080\"]").start();
        let served = || {
            for ip in [V4, V6] {
                Client::greeted(SocketAddr::new(ip, 1080));
            }
        };
        served();
        for list in ["\"[::]:1080\", \"0.0.0.0:1080\"", "\"[::]:1080\"", "\"0.0.0.0:1080\", \"[::]:1080\""] {
            relay.reload(&[("server", "listen", &format!("[{list}]"))]);
            served();
        }
        relay.reload(&[("server", "listen", "[\"0.0.0.0:1080\"]")]);
        Client::greeted(SocketAddr::new(V4, 1080));
        assert!(TcpStream::connect(SocketAddr::new(V6, 1080)).is_err());
    });
}

/// Levels, the bare variant, the service and its keys: what cannot be had changes nothing.
#[test]
fn contexts_are_accepted_as_the_file_says() {
    let realm = realm!();
    let mut relay = demand_levels(Relay::builder(), realm, &["confidentiality"]).start();
    let level = |relay: &Relay, asked| GssClient::established(relay.addr(), realm, "alice").ask_level(asked);
    let mut begun = GssClient::established(relay.addr(), realm, "alice");
    assert_eq!((level(&relay, 2), level(&relay, 1)), (Some(2), None));
    relay.reload(&[("auth.gssapi", "protection", "[\"integrity\"]")]);
    assert_eq!((level(&relay, 2), level(&relay, 1)), (Some(1), Some(1)));
    assert_eq!(begun.ask_level(2), Some(2), "who began before has the levels of then");

    let bare = |relay: &Relay| {
        let mut client = GssClient::established(relay.addr(), realm, "alice");
        client.send_frame(PROTECTION, &[1]);
        client
    };
    bare(&relay).client.expect(&ABORT);
    relay.reload(&[("auth.gssapi", "nec", "true")]);
    assert_eq!(bare(&relay).recv_frame(PROTECTION), [1]);

    let keytab = |path: &std::path::Path| quoted(path.to_str().expect("UTF-8"));
    let (right, other) = (keytab(&realm.keytab()), keytab(&realm.other_keytab()));
    refused(&mut relay, &[("auth.gssapi", "keytab", &other)], &["[auth.gssapi] key `keytab`"]);
    let host = [("auth.gssapi", "keytab", &*right), ("auth.gssapi", "service", "\"host\"")];
    refused(&mut relay, &host, &["no key for the service \"host\""]);
    assert_eq!(level(&relay, 1), Some(1), "nothing has changed");
    relay.reload(&[("auth.gssapi", "service", "\"rcmd@localhost\"")]);
    assert_eq!(level(&relay, 1), Some(1));
    // The keys are read for each context: those of the path that the file names by then.
    let moved = realm.path("moved.keytab");
    std::fs::copy(realm.keytab(), &moved).expect("copy the keytab");
    relay.reload(&[("auth.gssapi", "keytab", &keytab(&moved))]);
    assert_eq!(level(&relay, 1), Some(1));
    std::fs::remove_file(&moved).expect("remove the copy");
    let mut without = GssClient::greeted(relay.addr(), Initiator::of(realm, "alice"));
    let token = without.gss.initiate(SERVICE, USUAL).expect("a token").token;
    without.send_frame(AUTHENTICATION, &token);
    without.client.expect(&ABORT);
    relay.reload(&[("auth.gssapi", "keytab", &right)]);
    assert_eq!(level(&relay, 1), Some(1));
}
