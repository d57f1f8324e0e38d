//! Translators (NAT64) in a namespace where every address leads to another machine: what is dialled by mistake does
//! arrive, and is seen. The machine stands for the translator, too.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::support::client::Client;
use crate::support::dns::{AAAA, Query, Send};
use crate::support::netns::{self, Far};
use crate::support::relay::Builder;
use crate::support::udp::{Association, Target, expect_drops};
use crate::support::wait::{self, PATIENCE};
use crate::support::{DnsServer, Origin, Relay};

/// A way to IPv6, though one that ends here.
const IPV6: &str = "ip -6 route add default dev lo; ip -6 addr add 2600:1::1/64 dev lo nodad";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Answers AAAA for ipv4only.arpa with these, for `site.example` with this one, and knows no other name.
fn server(shown: &'static [&'static str], site: &'static str) -> DnsServer {
    DnsServer::scripted(move |query| vec![answer(query, shown, site)])
}

fn answer(query: &Query, shown: &[&str], site: &str) -> Send {
    let ips: Vec<IpAddr> = match (query.name.as_str(), query.qtype) {
        ("ipv4only.arpa", AAAA) => shown.iter().map(|text| ip(text)).collect(),
        ("ipv4only.arpa", _) => vec![ip("192.0.0.170"), ip("192.0.0.171")],
        ("site.example", AAAA) => vec![ip(site)],
        ("site.example", _) => Vec::new(),
        _ => return query.nxdomain(),
    };
    query.addresses(&ips, 60)
}

/// A relay under the guard that asks for translators.
fn asking(server: &DnsServer) -> Builder {
    Relay::builder().guarded().dns(server).set("dns", "dns64", "\"auto\"")
}

fn rep(relay: &Relay, to: &str, port: u16) -> u8 {
    Client::greeted(relay.addr()).request_ip(SocketAddr::new(ip(to), port)).rep
}

/// Waits for the first answer; another tells of it in the log.
fn await_prefix(relay: &Relay) {
    wait::until_true("the prefix in the log", PATIENCE, || relay.log().contains("NAT64 prefix"));
}

/// An IPv6-only host reaches what has IPv4 alone, and nothing private.
#[test]
fn a_site_behind_nat64_is_reached() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let server = server(&["64:ff9b::192.0.0.170", "64:ff9b::192.0.0.171"], "64:ff9b::8.8.8.8");
        let (relay, origin) = (asking(&server).start(), far.inside(Origin::everywhere));
        let port = origin.addr.port();
        await_prefix(&relay);
        wait::until_true("a site behind the translator", PATIENCE, || {
            Client::greeted(relay.addr()).request_name(b"site.example", port).rep == 0x00
        });
        assert_eq!(rep(&relay, "64:ff9b::9.9.9.9", port), 0x00);
        let private =
            ["64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::192.0.0.170"];
        for text in private.into_iter().chain(["64:ff9b:1::8.8.8.8", "fd00::8.8.8.8"]) {
            assert_eq!(rep(&relay, text, port), 0x02, "{text}");
        }
        // This machine's own address at the other end of the wire, by way of the translator.
        assert_eq!(rep(&relay, &format!("64:ff9b::{}", netns::NEAR_V4), port), 0x02);
        assert!(
            origin
                .dialled()
                .iter()
                .all(|to| ["64:ff9b::808:808", "64:ff9b::909:909"].contains(&to.ip().to_string().as_str()))
        );
        // Datagrams, too, and by name.
        let target = far.inside(|| Target::at("[::]:0".parse().expect("an address")));
        let client = Association::open(relay.addr());
        client.send(SocketAddr::new(ip("64:ff9b::10.0.0.1"), target.addr.port()), b"private");
        client.send_name(b"site.example", target.addr.port(), b"public");
        target.expect(b"public");
        expect_drops(&relay, &[("denied", 1)]);
    });
}

/// A translator of the network's own prefix: the private addresses behind it are refused as soon as it is known.
#[test]
fn a_private_address_behind_a_public_prefix_is_refused() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let server = server(&["2600:64::c0:0:aa00:0"], "2600:64::8:808:800:0");
        let (relay, origin) = (asking(&server).start(), far.inside(Origin::everywhere));
        let port = origin.addr.port();
        wait::until_true("the prefix", PATIENCE, || rep(&relay, "2600:64::a:0:100:0", port) == 0x02);
        assert_eq!(Client::greeted(relay.addr()).request_name(b"site.example", port).rep, 0x00);
    });
}

/// A name server that lies gains nothing, and the operator hears of it.
#[test]
fn a_prefix_that_was_made_up_opens_nothing() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        for (shown, target) in [
            (&["fd00::192.0.0.170"][..], "fd00::8.8.8.8"),
            (&["64:ff9b:1:a00:0:100:192.0.0.170"], "64:ff9b:1:a00:0:100:8.8.8.8"),
        ] {
            let server = server(shown, target);
            let (relay, origin) = (asking(&server).start(), far.inside(Origin::everywhere));
            await_prefix(&relay);
            assert!(relay.log().contains("not believed"), "{}", relay.log());
            let port = origin.addr.port();
            assert_eq!(Client::greeted(relay.addr()).request_name(b"site.example", port).rep, 0x02);
            assert_eq!(rep(&relay, target, port), 0x02);
            assert_eq!(origin.dialled(), []);
        }
    });
}

/// The operator's word opens what a name server's does not, and then nobody is asked; nor where it is off.
#[test]
fn a_prefix_that_was_named_is_not_asked_for() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let server = server(&["64:ff9b::192.0.0.170"], "64:ff9b:1:fffe::8.8.8.8");
        let named = asking(&server).set("dns", "dns64", "[\"64:ff9b:1:fffe::/96\", \"fd64::/96\"]").start();
        let off = asking(&server).set("dns", "dns64", "\"off\"").start();
        let origin = far.inside(Origin::everywhere);
        let port = origin.addr.port();
        for (relay, wanted) in [(&named, 0x00), (&off, 0x02)] {
            assert_eq!(Client::greeted(relay.addr()).request_name(b"site.example", port).rep, wanted);
            assert_eq!(rep(relay, "fd64::8.8.8.8", port), wanted);
            assert_eq!(rep(relay, "64:ff9b:1:fffe::10.0.0.1", port), 0x02);
            assert_eq!(rep(relay, "fd64::10.0.0.1", port), 0x02);
            assert_eq!(rep(relay, "64:ff9b::8.8.8.8", port), 0x02);
        }
        assert_eq!(server.asked("ipv4only.arpa", AAAA), 0);
    });
}

/// Whoever has no way to IPv6 reaches no translator: there is nothing to ask for until that changes.
#[test]
fn a_host_without_ipv6_asks_for_no_translators() {
    netns::run(&test_name!(), "", || {
        let server = server(&["64:ff9b::192.0.0.170"], "2001:db8::1");
        let relay = asking(&server).start();
        // The question would have been the first of all.
        assert_eq!(Client::greeted(relay.addr()).request_name(b"site.example", 80).rep, 0x02);
        assert_eq!((server.asked("site.example", AAAA), server.asked("ipv4only.arpa", AAAA)), (1, 0));
        netns::shell(IPV6);
        await_prefix(&relay);
    });
}

/// A server that makes addresses up asks others twice before: its answer is later than that for A.
#[test]
fn a_late_answer_counts() {
    netns::run(&test_name!(), IPV6, || {
        let server = DnsServer::scripted(|query| {
            let answer = answer(query, &["64:ff9b::192.0.0.170"], "::");
            vec![if query.qtype == AAAA { answer.after(Duration::from_millis(300)) } else { answer }]
        });
        let relay = asking(&server).start();
        await_prefix(&relay);
    });
}

/// Who asks waits for nobody, and nobody waits for him.
#[test]
fn a_silent_name_server_does_not_hold_up_the_start() {
    netns::run(&test_name!(), IPV6, || {
        let server = DnsServer::dead();
        let relay = Relay::builder().dns(&server).set("dns", "dns64", "\"auto\"").start();
        let origin = Origin::echo();
        let mut client = Client::through(relay.addr(), origin.addr);
        client.send(b"served");
        client.expect(b"served");
        wait::until_true("the question", PATIENCE, || server.asked("ipv4only.arpa", AAAA) > 0);
    });
}
