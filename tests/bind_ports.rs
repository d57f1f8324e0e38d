//! Where BIND listens, and what it says of it: `[bind]`, routes, and a server without descriptors.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::bind::{bind, peer};
use crate::support::client::{connect_ip, connect_name, request};
use crate::support::origin::{V4, V6};
use crate::support::udp::hold;
use crate::support::wait::PATIENCE;
use crate::support::{Client, DnsServer, Origin, Relay, netns};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn expect_refused(relay: &Relay, target: SocketAddr, rep: u8) {
    let mut client = Client::greeted(relay.addr());
    client.send(&request(0x02, target));
    client.expect_refusal(rep);
}

/// Every port of the range serves one listener at a time, no other port ever does, and the one too many gets 01.
#[test]
fn every_port_of_the_range_is_used_and_no_other() {
    netns::run(&test_name!(), "", || {
        for ip in [V4, V6] {
            let mut relay = Relay::builder().set("bind", "ports", "\"40000-40002\"").workers(2).start();
            let target = SocketAddr::new(ip, 21);
            let mut waiting: Vec<(Client, SocketAddr)> = (0..3).map(|_| bind(relay.addr(), target)).collect();
            let ports: BTreeSet<u16> = waiting.iter().map(|(_, bound)| bound.port()).collect();
            assert_eq!(ports, BTreeSet::from([40_000, 40_001, 40_002]));
            expect_refused(&relay, target, 0x01);
            // A port is free again as soon as its peer is there, though the connection still has its number.
            let (mut client, bound) = waiting.remove(1);
            let mut first = peer(ip, bound);
            assert_eq!(client.reply().rep, 0);
            let (mut next, again) = bind(relay.addr(), target);
            assert_eq!(again, bound);
            let mut second = peer(ip, again);
            assert_eq!(next.reply().bound, second.local());
            for (client, peer) in [(&mut client, &mut first), (&mut next, &mut second)] {
                peer.send(b"mine");
                client.expect(b"mine");
            }
            drop(waiting);
            relay.signal("TERM");
            drop((client, next, first, second));
            assert_eq!(relay.wait_exit(PATIENCE), Some(0));
            assert!(relay.log().contains("no_local_port=1"), "{}", relay.log());
        }
    });
}

/// A port on which somebody else listens is passed over.
#[test]
fn a_port_that_others_have_is_passed_over() {
    netns::run(&test_name!(), "", || {
        let _taken = std::net::TcpListener::bind("0.0.0.0:40000").expect("bind");
        let relay = Relay::builder().set("bind", "ports", "\"40000-40001\"").start();
        for _ in 0..8 {
            let (client, bound) = bind(relay.addr(), SocketAddr::new(V4, 21));
            assert_eq!(bound.port(), 40_001);
            client.reset();
            crate::support::wait::until_true("the port is free", PATIENCE, || {
                std::net::TcpListener::bind(bound).is_ok()
            });
        }
    });
}

/// A range without a free port costs a few tries a turn: who comes behind many such requests is served before they are.
fn a_full_range_holds_nobody_up(command: u8, table: &str) {
    const REQUESTS: usize = 20;
    netns::run(&format!("bind_ports::a_full_range_holds_nobody_up_{table}"), "", || {
        let taken: Vec<SocketAddr> = (40_000..40_256).map(|port| SocketAddr::new(V4, port)).collect();
        let _streams: Vec<_> =
            taken.iter().map(|at| std::net::TcpListener::bind(at).expect("bind")).collect();
        let _datagrams: Vec<_> =
            taken.iter().map(|at| std::net::UdpSocket::bind(at).expect("bind")).collect();
        let addresses: Vec<String> = (1..=20).map(|n| format!("127.0.5.{n}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let names = DnsServer::zone(&[("peers.example", &addresses)]);
        let relay = Relay::builder().dns(&names).set(table, "ports", "\"40000-40255\"").start();
        let origin = Origin::echo();
        let ask = || {
            let mut asked = connect_name(b"peers.example", 21);
            asked[1] = command;
            asked
        };
        // The name's addresses are in the cache before they are counted on.
        let mut first = Client::greeted(relay.addr());
        first.send(&ask());
        first.expect_refusal(0x01);
        hold(&relay);
        let mut clients: Vec<Client> = (0..REQUESTS)
            .map(|_| {
                let mut client = Client::connect(relay.addr());
                client.send(&[&[0x05, 0x01, 0x00][..], &ask()].concat());
                client
            })
            .collect();
        let mut other = Client::connect(relay.addr());
        other.send(&[&[0x05, 0x01, 0x00][..], &connect_ip(origin.addr), b"hello"].concat());
        relay.signal("CONT");
        other.expect(&[0x05, 0x00]);
        assert_eq!(other.reply().rep, 0);
        other.expect(b"hello");
        let answered = |client: &&mut Client| client.stream.peek(&mut [0; 12]).is_ok_and(|bytes| bytes >= 10);
        for client in &mut clients {
            client.expect(&[0x05, 0x00]);
            client.stream.set_nonblocking(true).expect("non-blocking");
        }
        let before = clients.iter_mut().filter(answered).count();
        for client in &mut clients {
            client.stream.set_nonblocking(false).expect("blocking");
            client.expect_refusal(0x01);
        }
        assert!(before < REQUESTS / 2, "{before} of {REQUESTS} were answered before the one behind them");
    });
}

#[test]
fn a_full_range_holds_nobody_up_bind() {
    a_full_range_holds_nobody_up(0x02, "bind");
}

#[test]
fn a_full_range_holds_nobody_up_udp() {
    a_full_range_holds_nobody_up(0x03, "udp");
}

/// Behind NAT clients are told the addresses outside; the port and the record are the real ones.
#[test]
fn an_advertised_address_is_told() {
    let both = Relay::builder().set("bind", "advertise", "[\"203.0.113.7\", \"2001:db8::7\"]").start();
    let single = Relay::builder().set("bind", "advertise", "\"203.0.113.7\"").start();
    for (relay, ip, told) in [
        (&both, V4, "203.0.113.7"),
        (&both, V6, "2001:db8::7"),
        (&single, V4, "203.0.113.7"),
        (&single, V6, "::1"),
    ] {
        let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip, 21));
        assert_eq!(bound.ip().to_string(), told);
        let real = SocketAddr::new(ip, bound.port());
        let peer = peer(ip, real);
        assert_eq!(client.reply().bound, peer.local());
        drop((client, peer));
        crate::support::wait::until_true("its record", PATIENCE, || {
            relay.records_now().iter().any(|record| record["local"] == real.to_string())
        });
    }
}

/// The listener has the address from which a CONNECT would leave; no route has its own reply.
#[test]
fn the_listener_has_the_address_that_a_connect_would_have() {
    let setup = "ip addr add 192.0.2.9/32 dev lo; ip addr add 2001:db8::9/128 dev lo; \
                 ip route add 45.9.100.0/24 dev lo src 192.0.2.9; \
                 ip -6 route add 2a10:1::/48 dev lo src 2001:db8::9; \
                 ip route add unreachable 45.9.100.128/25; ip route add prohibit 45.9.100.64/26";
    netns::run(&test_name!(), setup, || {
        let relay = Relay::builder().guarded().start();
        for (target, local) in [("45.9.100.1:21", "192.0.2.9"), ("[2a10:1::1]:0", "2001:db8::9")] {
            let (_client, bound) = bind(relay.addr(), target.parse().expect("an address"));
            assert_eq!(bound.ip().to_string(), local);
        }
        for (target, rep) in [
            ("45.9.113.1:21", 0x03),
            ("[2600::1]:21", 0x03),
            ("45.9.100.200:21", 0x04),
            ("45.9.100.65:21", 0x02),
        ] {
            expect_refused(&relay, target.parse().expect("an address"), rep);
        }
    });
}

/// HAZARD 36: an accept that met EMFILE is made again, though no second event tells of the peer.
#[test]
fn a_peer_that_met_emfile_is_accepted_later() {
    let relay = Relay::start();
    let (mut client, bound) = bind(relay.addr(), SocketAddr::new(V4, 21));
    relay.set_nofile(&format!("{}:1024", relay.fds()));
    // Descriptors that are free between others still serve a few.
    let mut idle = Vec::new();
    loop {
        let mut filler = Client::connect(relay.addr());
        filler.send(&[5, 1, 0]);
        let served = !filler.silent_for(Duration::from_millis(200));
        idle.push(filler);
        if !served {
            break;
        }
        assert!(idle.len() < 40, "the limit holds nobody off");
    }
    let mut peer = peer(V4, bound);
    client.expect_silence(Duration::from_millis(300));
    relay.set_nofile("1024:1024");
    assert_eq!(client.reply().rep, 0);
    peer.send(b"patient");
    client.expect(b"patient");
}

/// HAZARD 41: a listener that waits is cut off at the end of the drain.
#[test]
fn the_drain_closes_a_listener_that_waits() {
    let mut relay = Relay::builder().timeout("drain", 300).start();
    let (mut client, _) = bind(relay.addr(), ANY);
    relay.signal("TERM");
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    client.expect_closed();
    assert_eq!(relay.record()["reason"], "drained");
}
