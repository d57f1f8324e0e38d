//! What the client is told about its connect (HAZARD 14), and when.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::client::connect_ip;
use crate::support::dns::{A, AAAA, NOERROR, SERVFAIL};
use crate::support::origin::{self, ClosedPort, V4, V6};
use crate::support::wait::timed;
use crate::support::{BlackHole, Client, DnsServer, Origin, Relay, netns};

/// One CONNECT that must be refused with `rep` and leave a record with `reason`.
fn refused(relay: &Relay, target: SocketAddr, rep: u8) {
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_ip(target));
    client.expect_refusal(rep);
}

#[test]
fn a_closed_port_is_refused_05() {
    let (relay, closed) = (Relay::start(), ClosedPort::new());
    refused(&relay, closed.addr, 0x05);
    let record = relay.record();
    assert_eq!((&record["reply"], &record["reason"]), (&5.into(), &"connect_failed".into()), "{record}");
}

#[test]
fn a_target_that_never_answers_is_given_up() {
    let relay = Relay::builder().timeout("connect", 300).start();
    let hole = BlackHole::new();
    let ((), lasted) = timed(|| refused(&relay, hole.addr, 0x06));
    assert!((250..1500).contains(&lasted.as_millis()), "given up after {lasted:?}");
    let record = relay.record();
    assert_eq!((&record["reply"], &record["reason"]), (&6.into(), &"connect_timeout".into()), "{record}");
}

/// The kernel's errors: no route to the host 04, to the network 03, forbidden by our own rules 02.
#[test]
fn an_unreachable_target_gets_its_own_code() {
    let routes = "ip route add unreachable 203.0.113.0/24; ip route add prohibit 198.51.100.0/24; \
                  ip -6 route add unreachable 2001:db8:1::/48";
    netns::run(&test_name!(), routes, || {
        let relay = Relay::start();
        for (target, rep) in [
            ("203.0.113.1:80", 0x04),
            ("[2001:db8:1::1]:80", 0x04),
            ("8.8.8.8:80", 0x03),
            ("[2600::1]:80", 0x03),
            ("198.51.100.1:80", 0x02),
        ] {
            refused(&relay, target.parse().expect("an address"), rep);
        }
        for record in relay.records(5) {
            assert_eq!(record["reason"], "connect_failed", "{record}");
        }
    });
}

#[test]
fn a_blackhole_route_gets_a_reply() {
    netns::run(&test_name!(), "ip route add blackhole 192.0.2.0/24", || {
        let relay = Relay::start();
        let mut client = Client::greeted(relay.addr());
        let reply = client.request_ip("192.0.2.1:80".parse().expect("an address"));
        assert!(matches!(reply.rep, 0x01 | 0x03 | 0x04), "{reply:?}");
        client.expect_eof();
    });
}

#[test]
fn a_name_without_addresses_gets_its_own_code() {
    let server = DnsServer::scripted(|query| match query.name.as_str() {
        "servfail.example" => vec![query.respond(SERVFAIL, &[])],
        "nodata.example" => vec![query.respond(NOERROR, &[])],
        _ => vec![query.nxdomain()],
    });
    let relay = Relay::builder().dns(&server).timeout("dns", 1500).start();
    for name in [&b"none.example"[..], b"nodata.example", b"servfail.example"] {
        let mut client = Client::greeted(relay.addr());
        let reply = client.request_name(name, 80);
        assert_eq!(reply.rep, 0x04, "{}", String::from_utf8_lossy(name));
        client.expect_eof();
    }
    for record in relay.records(3) {
        assert_eq!(record["reason"], "dns_failed", "{record}");
    }
}

#[test]
fn a_dead_name_server_is_waited_for_as_long_as_configured() {
    let server = DnsServer::dead();
    let relay = Relay::builder().dns(&server).timeout("dns", 400).start();
    let mut client = Client::greeted(relay.addr());
    let (reply, lasted) = timed(|| client.request_name(b"late.example", 80));
    assert_eq!(reply.rep, 0x06);
    assert!((300..1500).contains(&lasted.as_millis()), "answered after {lasted:?}");
    assert_eq!(relay.record()["reason"], "dns_failed");
}

/// Success is said only once the target has answered.
#[test]
fn success_is_said_once_the_target_has_answered() {
    let (relay, hole) = (Relay::start(), BlackHole::new());
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_ip(hole.addr));
    client.expect_silence(Duration::from_millis(300));
    hole.open();
    assert_eq!(client.reply().rep, 0x00);
    let mut target = hole.accept();
    target.write_all(b"late").expect("write");
    client.expect(b"late");
}

/// BND is the address and port that the target sees, in the family of the target.
#[test]
fn bnd_is_what_the_target_sees() {
    let relay = Relay::start();
    for ip in [V4, V6] {
        let origin = Origin::echo_on(ip);
        let mut client = Client::greeted(relay.addr());
        let reply = client.request_ip(origin.addr);
        assert_eq!((reply.rep, reply.bound), (0x00, origin.peer(1)));
    }
}

/// A name with two families, the first of which leads nowhere.
#[test]
fn one_dead_family_does_not_hold_up_the_other() {
    let server = DnsServer::zone(&[("both.example", &["::1", "127.0.0.1"])]);
    let relay = Relay::builder().dns(&server).start();
    let origin = Origin::echo();
    let _hole = BlackHole::at(SocketAddr::new(V6, origin.addr.port()));
    let mut client = Client::greeted(relay.addr());
    let (reply, lasted) = timed(|| client.request_name(b"both.example", origin.addr.port()));
    assert_eq!(reply.rep, 0x00);
    assert!(lasted < Duration::from_millis(1200), "connected after {lasted:?}");
    assert_eq!(reply.bound, origin.peer(1));
}

/// A family that refuses at once is not waited for.
#[test]
fn one_refusing_family_leaves_the_other_to_try() {
    let server = DnsServer::zone(&[("both.example", &["::1", "127.0.0.1"])]);
    let relay = Relay::builder().dns(&server).start();
    let origin = Origin::echo();
    let mut client = Client::greeted(relay.addr());
    let reply = client.request_name(b"both.example", origin.addr.port());
    assert_eq!((reply.rep, reply.bound), (0x00, origin.peer(1)));
}

/// An AAAA answer that never comes does not hold up the A answer that did.
#[test]
fn a_missing_answer_for_one_family_does_not_hold_up_the_other() {
    let server = DnsServer::scripted(|query| match query.qtype {
        A => vec![query.addresses(&[V4], 60)],
        _ => Vec::new(),
    });
    let (relay, origin) = (Relay::builder().dns(&server).start(), Origin::echo());
    let mut client = Client::greeted(relay.addr());
    let (reply, lasted) = timed(|| client.request_name(b"half.example", origin.addr.port()));
    assert_eq!(reply.rep, 0x00);
    assert!(lasted < Duration::from_millis(1200), "connected after {lasted:?}");
    assert!(server.asked("half.example", AAAA) >= 1);
}

/// A target that answers and closes at once is still a success.
#[test]
fn a_target_that_closes_at_once_is_a_success() {
    let relay = Relay::start();
    let target = origin::once(drop);
    let mut client = Client::through(relay.addr(), target.addr);
    client.expect_eof();
    target.join();
}
