//! What the sockets of a pool are given, as routes and targets see it: blocks of addresses, an interface, a mark, another network
//! namespace.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::bind::bind;
use crate::egress::pooled;
use crate::support::client::request;
use crate::support::crowd::{Crowd, EndsFirst, SourceBook};
use crate::support::netns::{self, Far, shell};
use crate::support::udp::{Association, Target};
use crate::support::{Client, Relay};

/// What a session to this target is answered.
fn reply(relay: &Relay, target: SocketAddr) -> u8 {
    Client::greeted(relay.addr()).request_ip(target).rep
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

/// No interface has them: a route delivers the block here, and the socket is free to be bound to any of it.
#[test]
fn any_address_of_a_block_is_left_from() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        far.pool(&["2600:c::/64", "198.51.96.0/20"]);
        let book = far.inside(SourceBook::open);
        let relay = pooled("addresses = [\"2600:c::/64\", \"198.51.96.0/20\"]\nselect = \"random\"").start();
        for (target, is_v6) in [("2600:1::1", true), ("45.1.0.1", false)] {
            let crowd = Crowd::new(relay.addr(), vec![at(target, book.port)], 64, EndsFirst::Either);
            assert_eq!(crowd.run(), [(0, 64)].into(), "{target}");
            let sources: BTreeSet<IpAddr> = book.take().values().map(SocketAddr::ip).collect();
            let of_block = |ip: &IpAddr| match ip {
                IpAddr::V6(ip) => is_v6 && ip.segments()[..4] == [0x2600, 0xc, 0, 0],
                IpAddr::V4(ip) => !is_v6 && ip.octets()[..2] == [198, 51] && ip.octets()[2] >> 4 == 6,
            };
            assert!(sources.iter().all(of_block), "{sources:?}");
            // Of 4,094 two may be one.
            assert!(sources.len() >= 56, "{} of 64", sources.len());
        }
        let (_client, bound) = bind(relay.addr(), at("2600:1::1", 21));
        assert!(bound.to_string().starts_with("[2600:c:"), "{bound}");
        let target = far.inside(|| Target::at("[2a0f::2]:0".parse().expect("an address")));
        let association = Association::open(relay.addr());
        association.send(target.addr, b"ping");
        let from = target.expect(b"ping");
        assert!(from.to_string().starts_with("[2600:c:"), "{from}");
        target.send(from, b"pong");
        association.expect(target.addr, b"pong");
    });
}

#[test]
fn sessions_leave_by_the_interface_of_their_pool() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let book = far.inside(SourceBook::open);
        let by = |interface| {
            let keys = format!("addresses = [\"{}\"]\ninterface = \"{interface}\"", netns::NEAR_V4);
            pooled(&keys).timeout("connect", 500).start()
        };
        let relay = by("near");
        let crowd = Crowd::new(relay.addr(), vec![at("45.1.0.1", book.port)], 4, EndsFirst::Client);
        assert_eq!(crowd.run(), [(0, 4)].into());
        // What goes by the other one comes nowhere.
        assert_eq!(reply(&by("lo"), at("45.1.0.1", book.port)), 0x06);
        assert_eq!(reply(&by("gone"), at("45.1.0.1", book.port)), 0x01);
    });
}

/// The machine's own rules go by the mark: of connections, of listeners' answers and of datagrams.
#[test]
fn what_leaves_has_the_mark_of_its_pool() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let book = far.inside(SourceBook::open);
        shell("ip rule add fwmark 7 prohibit");
        let marked = |mark| pooled(&format!("addresses = [\"{}\"]\nfwmark = {mark}", netns::NEAR_V4)).start();
        let (free, bound) = (marked(8), marked(7));
        assert_eq!(reply(&free, at("45.1.0.1", book.port)), 0x00);
        assert_eq!(reply(&bound, at("45.1.0.1", book.port)), 0x02);
        let target = far.inside(|| Target::at("25.0.0.2:0".parse().expect("an address")));
        for (relay, comes) in [(&bound, false), (&free, true)] {
            let association = Association::open(relay.addr());
            association.send(target.addr, if comes { b"free" } else { b"mark" });
            if comes {
                target.expect(b"free");
            }
        }
    });
}

/// Sockets are opened there, and the server stays where it is.
#[test]
fn sessions_leave_from_another_network_namespace() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let gateway = far.gateway();
        far.pool_at(&gateway, &["198.51.100.9"]);
        let book = far.inside(SourceBook::open);
        let place = gateway.machine.path();
        let relay = pooled(&format!("addresses = [\"198.51.100.9\"]\nnetns = \"{place}\"")).start();
        let crowd = Crowd::new(relay.addr(), vec![at("45.1.0.1", book.port)], 16, EndsFirst::Either);
        assert_eq!(crowd.run(), [(0, 16)].into());
        let source = "198.51.100.9".parse().expect("an address");
        assert_eq!(SourceBook::shares(&book.take()), [(source, 16)].into());
        let (_client, bound) = bind(relay.addr(), at("45.1.0.1", 21));
        assert_eq!(bound.ip(), source);
        let target = far.inside(|| Target::at("25.0.0.2:0".parse().expect("an address")));
        let association = Association::open(relay.addr());
        association.send(target.addr, b"ping");
        assert_eq!(target.expect(b"ping").ip(), source);
        // Whoever has no way there is refused as ever.
        let nowhere = pooled("addresses = [\"198.51.100.9\"]").start();
        let mut client = Client::greeted(nowhere.addr());
        client.send(&request(1, at("45.1.0.1", book.port)));
        client.expect_refusal(0x01);
    });
}

/// What is no network namespace is said before anybody is served.
#[test]
fn a_namespace_that_cannot_be_entered_is_refused() {
    let output = pooled("addresses = [\"127.9.0.1\"]\nnetns = \"/dev/null\"").check();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("/dev/null") && said.contains("netns"), "{said}");
}

/// Before Linux 6.3 the ports of a pool would have no effect: nobody is served as if they had.
#[test]
fn ports_of_a_pool_are_refused_where_the_kernel_does_not_have_them() {
    let output =
        pooled("addresses = [\"127.9.0.1\"]\nports = \"40000-40009\"").refusing(&["port-ranges"]).check();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("Linux 6.3") && said.contains("ports"), "{said}");
}
