//! Policy by the datagram (HAZARDS 16 to 18, 21) in a namespace where every address leads to another machine:
//! what is sent by mistake does arrive, and is seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::guard::{ORDINARY, SPECIAL};
use crate::support::dns::A;
use crate::support::netns::{self, Far};
use crate::support::origin::V4;
use crate::support::udp::{
    Association, Target, expect_drops, expect_empty, fragment, serving, while_stopped, wrap,
};
use crate::support::{DnsServer, Relay};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Takes datagrams at every address of the other machine.
fn everywhere(far: &Far) -> Target {
    far.inside(|| Target::at(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)))
}

/// An ordinary address at the target's port.
fn ordinary(target: &Target) -> SocketAddr {
    SocketAddr::new(ip(ORDINARY[0]), target.addr.port())
}

/// Special-purpose addresses but the one whose IPv4 address is ordinary, which has a test of its own.
fn special() -> impl Iterator<Item = &'static str> + Clone {
    SPECIAL.iter().copied().filter(|text| *text != MAPPED)
}

/// ::ffff:0:0/96 is special as a whole: CONNECT refuses it, too.
const MAPPED: &str = "::ffff:8.8.8.8";

/// HAZARDS 16 and 21: by address, in one piece and in fragments, from a client of either family.
#[test]
fn a_special_purpose_address_is_not_sent_to() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        for front in [V4, ip("::1")] {
            let relay = serving(Relay::builder().guarded(), front);
            let (client, target) = (Association::open(relay.addr()), everywhere(&far));
            for text in special() {
                let addr = SocketAddr::new(ip(text), target.addr.port());
                client.send(addr, text.as_bytes());
                client.send(ordinary(&target), text.as_bytes());
                // What is denied does not hold up what stands behind it.
                target.expect(text.as_bytes());
            }
            expect_drops(&relay, &[("denied", special().count() as u64)]);
            for text in special() {
                let addr = SocketAddr::new(ip(text), target.addr.port());
                client.send_raw(&fragment(1, addr, text.as_bytes()));
                client.send_raw(&fragment(0x82, addr, b" in fragments"));
            }
            for text in ORDINARY {
                client.send(SocketAddr::new(ip(text), target.addr.port()), text.as_bytes());
                target.expect(text.as_bytes());
            }
            expect_empty(&target.socket);
            expect_empty(&client.socket);
        }
    });
}

/// HAZARD 16: ::ffff:0:0/96, whatever it maps: as an address, as a name that spells it, as what a name resolves to.
#[test]
fn a_mapped_address_is_not_sent_to() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let server = DnsServer::zone(&[("mapped.example", &[MAPPED])]);
        let relay = Relay::builder().guarded().dns(&server).start();
        let (client, target) = (Association::open(relay.addr()), everywhere(&far));
        client.send(SocketAddr::new(ip(MAPPED), target.addr.port()), b"by address");
        client.send_name(b"mapped.example", target.addr.port(), b"by name");
        client.send_name(MAPPED.as_bytes(), target.addr.port(), b"spelt");
        expect_drops(&relay, &[("denied", 3)]);
        client.send(ordinary(&target), b"fence");
        target.expect(b"fence");
    });
}

/// HAZARD 21: a denied datagram in the midst of allowed ones of the same batch.
#[test]
fn each_datagram_of_a_batch_is_judged() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let relay = Relay::builder().guarded().start();
        let (client, target) = (Association::open(relay.addr()), everywhere(&far));
        let denied = SocketAddr::new(ip("10.0.0.1"), target.addr.port());
        while_stopped(&relay, || {
            for n in 0..64_u8 {
                let addr = if n % 3 == 1 { denied } else { ordinary(&target) };
                client.send(addr, &[n]);
            }
        });
        for n in (0..64_u8).filter(|n| n % 3 != 1) {
            target.expect(&[n]);
        }
        expect_empty(&target.socket);
        expect_drops(&relay, &[("denied", 21)]);
    });
}

/// HAZARD 16: as what a name resolves to.
#[test]
fn a_name_of_a_special_purpose_address_is_not_sent_to() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let special: Vec<&str> = special().collect();
        let names: Vec<String> = (0..special.len()).map(|n| format!("n{n}.example")).collect();
        let mut zone: Vec<(&str, &[&str])> =
            names.iter().zip(special.chunks(1)).map(|(name, ips)| (name.as_str(), ips)).collect();
        zone.push(("mixed.example", &["127.0.0.1", "8.8.8.8", "10.0.0.1", "::1"]));
        let server = DnsServer::zone(&zone);
        let relay = Relay::builder().guarded().dns(&server).start();
        let (client, target) = (Association::open(relay.addr()), everywhere(&far));
        for (n, name) in (1_u64..).zip(&names) {
            client.send_name(name.as_bytes(), target.addr.port(), b"by name");
            if n % 4 == 0 || n == names.len() as u64 {
                expect_drops(&relay, &[("denied", n)]);
            }
        }
        // HAZARD 12: an address that is written as a name is judged as that address.
        let spellings = [&b"127.0.0.1"[..], b"127.1", b"0x7f.1", b"2130706433", b"::1", b"[::ffff:7f00:1]"];
        for name in spellings {
            client.send_name(name, target.addr.port(), b"spelt");
        }
        expect_drops(&relay, &[("denied", (names.len() + spellings.len()) as u64)]);
        // HAZARD 18: of a mixed answer the allowed address is taken.
        client.send_name(b"mixed.example", target.addr.port(), b"mixed");
        let external = target.expect(b"mixed");
        expect_empty(&target.socket);
        let external = SocketAddr::new(external.ip().to_canonical(), external.port());
        let eight = far.inside(|| Target::at("8.8.8.8:0".parse().expect("an address")));
        eight.send(external, b"from there");
        client.expect(eight.addr, b"from there");
    });
}

/// HAZARD 18: a name that answers differently each time is judged by the answer that is sent to.
#[test]
fn a_rebound_name_is_not_sent_to() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let turn = AtomicUsize::new(0);
        let server = DnsServer::scripted(move |query| {
            let ips = [ip("127.0.0.1"), ip("8.8.8.8")];
            if query.qtype != A {
                return vec![query.addresses(&[], 0)];
            }
            vec![query.addresses(&ips[turn.fetch_add(1, Ordering::Relaxed) % 2..][..1], 0)]
        });
        let relay = Relay::builder().guarded().dns(&server).start();
        let allowed = far.inside(|| Target::at("8.8.8.8:0".parse().expect("an address")));
        let port = allowed.addr.port();
        let forbidden = Target::at(SocketAddr::new(V4, port));
        for n in 0..10_u8 {
            let client = Association::open(relay.addr());
            for part in 0..4 {
                client.send_name(b"turn.example", port, &[n, part]);
                client.send(allowed.addr, b"fence");
            }
            for _ in 0..4 {
                while allowed.receive().0 != b"fence" {}
            }
        }
        expect_empty(&forbidden.socket);
    });
}

/// `guard.allow` exempts what it names and no more.
#[test]
fn an_exemption_exempts_what_it_names_alone() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let allow = "[\"10.1.0.0/16\", \"fd00:1::/32\"]";
        let relay = Relay::builder().guarded().set("guard", "allow", allow).start();
        let (client, target) = (Association::open(relay.addr()), everywhere(&far));
        for (text, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00:1::5", true),
            ("10.2.0.0", false),
            ("10.0.255.255", false),
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("fd00:2::5", false),
        ] {
            client.send(SocketAddr::new(ip(text), target.addr.port()), text.as_bytes());
            if allowed {
                target.expect(text.as_bytes());
            }
        }
        client.send(ordinary(&target), b"fence");
        target.expect(b"fence");
        expect_drops(&relay, &[("denied", 5)]);
    });
}

// ---- HAZARD 47: never a loop

/// Nested datagrams to every port that the relay holds, by every alias that leads there: none arrives anywhere.
/// `clients` have sent already, and their ports towards the targets are known.
fn nothing_comes_back(relay: &Relay, clients: &[(Association, SocketAddr)], target: &Target, before: u64) {
    let nested = wrap(target.addr, b"came back");
    let aliases = |ips: &[&str], port: u16| -> Vec<SocketAddr> {
        ips.iter().map(|text| SocketAddr::new(ip(text), port)).collect()
    };
    let mut ours = Vec::new();
    for (client, external) in clients {
        let mapped = ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::ffff:0.0.0.0"];
        ours.extend(aliases(&mapped, external.port()));
        ours.extend(aliases(&["127.0.0.2", "127.5.6.7", "192.0.2.9", "224.0.0.1"], external.port()));
        if client.door.is_ipv4() {
            ours.extend(aliases(&mapped, client.door.port()));
        } else {
            ours.extend(aliases(&["::1", "::"], client.door.port()));
        }
    }
    for (client, _) in clients {
        for addr in &ours {
            client.send(*addr, &nested);
        }
        client.send(target.addr, b"fence");
        target.expect(b"fence");
    }
    expect_drops(relay, &[("loop", before + (clients.len() * ours.len()) as u64)]);
    expect_empty(&target.socket);
    clients.iter().for_each(|(client, _)| expect_empty(&client.socket));
}

/// An association that has sent, and its address towards IPv4 targets.
fn used(relay: SocketAddr, target: &Target) -> (Association, SocketAddr) {
    let client = Association::open(relay);
    client.send(target.addr, b"first");
    let external = target.expect(b"first");
    (client, external)
}

/// HAZARD 47: to its own ports, and to those of another association, of the same worker and of another one.
#[test]
fn no_datagram_comes_back_to_the_relay() {
    netns::run(&test_name!(), "ip addr add 192.0.2.9/32 dev lo", || {
        for (front, workers) in [(V4, 1), (ip("::1"), 1), (V4, 2)] {
            for filtering in ["address", "endpoint-independent"] {
                let builder = Relay::builder().workers(workers).set(
                    "udp",
                    "filtering",
                    &crate::support::relay::quoted(filtering),
                );
                let (relay, target) = (serving(builder, front), Target::on(V4));
                let clients: Vec<_> = (0..6).map(|_| used(relay.addr(), &target)).collect();
                nothing_comes_back(&relay, &clients, &target, 0);
            }
        }
    });
}

/// HAZARD 47: the relay's own datagram, from an address that may be the first, pins nobody's association.
#[test]
fn another_association_is_never_the_first() {
    netns::run(&test_name!(), "true", || {
        let relay = Relay::builder().workers(2).start();
        let target = Target::on(V4);
        let (client, _) = used(relay.addr(), &target);
        let unused: Vec<Association> = (0..8).map(|_| Association::open(relay.addr())).collect();
        for other in &unused {
            client.send(other.door, &wrap(target.addr, b"came back"));
        }
        client.send(target.addr, b"fence");
        target.expect(b"fence");
        expect_drops(&relay, &[("loop", 8)]);
        for other in &unused {
            other.send(target.addr, b"own");
            let external = target.expect(b"own");
            target.send(external, b"answer");
            other.expect(target.addr, b"answer");
        }
        expect_empty(&target.socket);
    });
}

/// A name that leads to the relay is no way around.
#[test]
fn no_name_leads_back_to_the_relay() {
    netns::run(&test_name!(), "true", || {
        let server = DnsServer::zone(&[("me.example", &["127.0.0.1"])]);
        let relay = Relay::builder().dns(&server).start();
        let target = Target::on(V4);
        let (client, external) = used(relay.addr(), &target);
        for port in [client.door.port(), external.port()] {
            for name in [&b"me.example"[..], b"127.0.0.1", b"127.1"] {
                client.send_name(name, port, &wrap(target.addr, b"came back"));
            }
        }
        expect_drops(&relay, &[("loop", 6)]);
        client.send_name(b"me.example", target.addr.port(), b"fence");
        target.expect(b"fence");
        expect_empty(&client.socket);
    });
}

/// What is refused is so for its port: datagrams behind it that wait for the same name are judged by their own.
#[test]
fn a_refused_port_leaves_what_waits_for_its_name() {
    netns::run(&test_name!(), "true", || {
        let server = DnsServer::zone(&[("me.example", &["127.0.0.1"])]);
        let relay = Relay::builder().dns(&server).start();
        let (client, target) = (Association::open(relay.addr()), Target::on(V4));
        while_stopped(&relay, || {
            client.send_name(b"me.example", client.door.port(), b"refused");
            client.send_name(b"me.example", client.door.port(), b"refused");
            client.send_name(b"me.example", target.addr.port(), b"behind");
            client.send_name(b"me.example", client.door.port(), b"refused");
        });
        target.expect(b"behind");
        expect_drops(&relay, &[("loop", 3)]);
    });
}

/// The number of a TCP listener is nothing to UDP: at that port of this machine there may be any service.
#[test]
fn the_number_of_a_tcp_listener_is_allowed() {
    netns::run(&test_name!(), "true", || {
        let relay = Relay::builder().listen(&["127.0.0.1:1080"]).start();
        let (client, target) = (Association::open(relay.addr()), Target::on(V4));
        for at in ["127.0.0.1:1080", "127.0.0.2:1080"] {
            let service = Target::at(at.parse().expect("an address"));
            client.send(service.addr, b"to the service");
            client.send(target.addr, b"fence");
            target.expect(b"fence");
            expect_drops(&relay, &[]);
            service.expect(b"to the service");
        }
    });
}

/// A number that is an association's in IPv6 may be anybody's in IPv4: a service's, and a client's.
#[test]
fn a_number_of_the_other_family_is_not_ours() {
    netns::run(&test_name!(), "", || {
        let relay = Relay::start();
        let (six, four) = (Target::on(IpAddr::V6(Ipv6Addr::LOCALHOST)), Target::on(V4));
        let (first, second) = (Association::open(relay.addr()), Association::open(relay.addr()));
        first.send(six.addr, b"opens the port");
        let port = six.expect(b"opens the port").port();
        let other = Target::at(SocketAddr::new(V4, port));
        first.send(other.addr, b"to a service");
        other.expect(b"to a service");
        second.send_raw_from(&other.socket, &wrap(four.addr, b"of a client"));
        four.expect(b"of a client");
        expect_drops(&relay, &[]);
    });
}

/// A port that was an association's is anybody's again.
#[test]
fn a_port_that_was_ours_is_anybodys() {
    netns::run(&test_name!(), "true", || {
        let relay = Relay::start();
        let target = Target::on(V4);
        let (client, _) = used(relay.addr(), &target);
        let (gone, external) = used(relay.addr(), &target);
        let ports = [gone.door.port(), external.port()];
        drop(gone);
        crate::support::udp::expect_released(&relay, &ports);
        for port in ports {
            let heir = Target::at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
            client.send(heir.addr, b"to the heir");
            heir.expect(b"to the heir");
        }
        expect_drops(&relay, &[]);
    });
}
