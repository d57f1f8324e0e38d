//! Which addresses are dialled (HAZARDS 16 to 18), in a namespace where every address leads to another machine: what
//! is dialled by mistake does arrive, and is seen.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::client::{Client, connect_ip};
use crate::support::dns::A;
use crate::support::{DnsServer, Origin, Relay, netns};

/// Addresses of every special-purpose range, its edges among them.
pub(crate) const SPECIAL: &[&str] = &[
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::1",
    "100::1",
    "100:0:0:1::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2001::1",
    "2001:0:ffff::1",
    "2001:1::1",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "2600::5efe:10.0.0.1",
    "2600::200:5efe:127.0.0.1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "ff00::1",
    "ff02::1",
];

/// The neighbours of those ranges, which are no concern of the guard.
pub(crate) const ORDINARY: &[&str] = &[
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.254",
    "2001:3::1",
    "2001:4:112::1",
    "2001:200::1",
    "2600::1",
    "2600::200:5efe:8.8.8.8",
    "2003::1",
    "2a00::1",
];

/// HAZARD 16: by address.
#[test]
fn a_special_purpose_address_is_not_dialled() {
    netns::run(&test_name!(), "", || {
        let far = netns::Far::open();
        let (relay, origin) = (Relay::builder().guarded().start(), far.inside(Origin::everywhere));
        for text in SPECIAL {
            let ip: IpAddr = text.parse().expect("an address");
            let mut client = Client::greeted(relay.addr());
            let reply = client.request_ip(SocketAddr::new(ip, origin.addr.port()));
            assert_eq!(reply.rep, 0x02, "{text}");
            client.expect_eof();
        }
        for record in relay.records(SPECIAL.len()) {
            assert_eq!(record["reason"], "denied", "{record}");
        }
        assert_eq!(origin.dialled(), []);
        for text in ORDINARY {
            let ip: IpAddr = text.parse().expect("an address");
            let mut client = Client::through(relay.addr(), SocketAddr::new(ip, origin.addr.port()));
            client.expect(b"hello");
            assert_eq!(origin.dialled().last().expect("a connection").ip(), ip, "{text}");
        }
    });
}

/// HAZARD 16: as what a name resolves to.
#[test]
fn a_name_of_a_special_purpose_address_is_not_dialled() {
    netns::run(&test_name!(), "", || {
        let far = netns::Far::open();
        let names: Vec<String> = (0..SPECIAL.len()).map(|n| format!("n{n}.example")).collect();
        let zone: Vec<(&str, &[&str])> =
            names.iter().zip(SPECIAL.chunks(1)).map(|(name, ips)| (name.as_str(), ips)).collect();
        let (server, origin) = (DnsServer::zone(&zone), far.inside(Origin::everywhere));
        let relay = Relay::builder().guarded().dns(&server).start();
        for (name, ip) in names.iter().zip(SPECIAL) {
            let mut client = Client::greeted(relay.addr());
            let reply = client.request_name(name.as_bytes(), origin.addr.port());
            assert_eq!(reply.rep, 0x02, "{ip}");
            client.expect_eof();
        }
        assert_eq!(origin.dialled(), []);
    });
}

/// `guard.allow` exempts what it names and no more.
#[test]
fn an_exemption_exempts_what_it_names_alone() {
    netns::run(&test_name!(), "", || {
        let far = netns::Far::open();
        let origin = far.inside(Origin::everywhere);
        let relay =
            Relay::builder().guarded().set("guard", "allow", "[\"10.1.0.0/16\", \"fd00:1::/32\"]").start();
        for (ip, rep) in [
            ("10.1.2.3", 0x00),
            ("::ffff:10.1.2.3", 0x00),
            ("fd00:1::5", 0x00),
            ("10.2.0.0", 0x02),
            ("10.0.255.255", 0x02),
            ("127.0.0.1", 0x02),
            ("fd00:2::5", 0x02),
        ] {
            let target = SocketAddr::new(ip.parse().expect("an address"), origin.addr.port());
            assert_eq!(Client::greeted(relay.addr()).request_ip(target).rep, rep, "{ip}");
        }
    });
}

/// HAZARD 17: the server's own listeners, by any alias, whatever is allowed.
#[test]
fn the_server_does_not_relay_to_itself() {
    netns::run(&test_name!(), "ip addr add 192.0.2.9/32 dev lo", || {
        let server = DnsServer::zone(&[("me.example", &["127.0.0.1"])]);
        let single = Relay::builder().dns(&server).start();
        let wild = Relay::builder().listen(&["0.0.0.0:0"]).set("server", "open_proxy", "true").start();
        let six = Relay::builder().listen(&["[::1]:0"]).start();
        let cases = [
            (&single, &["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::ffff:0.0.0.0", "::"][..]),
            (&wild, &["127.0.0.1", "127.0.0.2", "127.5.6.7", "192.0.2.9", "0.0.0.0", "::ffff:192.0.2.9"]),
            (&six, &["::1", "::"]),
        ];
        for (relay, aliases) in cases {
            let front = relay.addr();
            let door = match front.ip() {
                ip if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], front.port())),
                _ => front,
            };
            for alias in aliases {
                let target = SocketAddr::new(alias.parse().expect("an address"), front.port());
                let mut client = Client::greeted(door);
                client.send(&connect_ip(target));
                client.expect_refusal(0x02);
            }
        }
        let mut client = Client::greeted(single.addr());
        assert_eq!(client.request_name(b"me.example", single.addr().port()).rep, 0x02);
    });
}

/// HAZARD 17: with one port to dial from, a dial to that port meets itself.
#[test]
fn a_socket_that_met_itself_is_refused() {
    let setup = "echo '40000 40000' > /proc/sys/net/ipv4/ip_local_port_range";
    netns::run(&test_name!(), setup, || {
        let relay = Relay::builder().listen(&["127.0.0.1:1080"]).start();
        let target: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
        let control = std::net::TcpStream::connect(target).expect("a socket that meets itself");
        assert_eq!(control.local_addr().expect("local"), control.peer_addr().expect("peer"));
        crate::support::client::reset(control);
        let source: SocketAddr = "127.0.0.1:30000".parse().expect("an address");
        let mut client = Client::connect_from(source, relay.addr());
        client.greet_none();
        client.send(&connect_ip(target));
        client.expect_refusal(0x05);
    });
}

/// HAZARD 18: a name that answers differently each time is judged by the answer that is dialled.
#[test]
fn a_rebound_name_is_not_dialled() {
    netns::run(&test_name!(), "", || {
        let far = netns::Far::open();
        let turn = AtomicUsize::new(0);
        let server = DnsServer::scripted(move |query| {
            let ips: [IpAddr; 2] = ["8.8.8.8".parse().expect("ip"), "127.0.0.1".parse().expect("ip")];
            if query.qtype != A {
                return vec![query.addresses(&[], 0)];
            }
            vec![query.addresses(&ips[turn.fetch_add(1, Ordering::Relaxed) % 2..][..1], 0)]
        });
        let (relay, origin) =
            (Relay::builder().guarded().dns(&server).start(), far.inside(Origin::everywhere));
        let reps: Vec<u8> = (0..20)
            .map(|_| Client::greeted(relay.addr()).request_name(b"turn.example", origin.addr.port()).rep)
            .collect();
        assert!(reps.iter().all(|rep| matches!(rep, 0x00 | 0x02)), "{reps:?}");
        assert!(reps.contains(&0x00), "{reps:?}");
        let dialled = origin.dialled();
        assert!(dialled.iter().all(|addr| addr.ip().to_string() == "8.8.8.8"), "{dialled:?}");
    });
}

/// HAZARD 18: of a mixed answer only the allowed addresses are tried, even when none of them answers.
#[test]
fn a_forbidden_address_in_a_mixed_answer_is_not_tried() {
    netns::run(&test_name!(), "", || {
        let far = netns::Far::open();
        let server = DnsServer::zone(&[
            ("mixed.example", &["127.0.0.1", "8.8.8.8", "10.0.0.1", "::1"]),
            ("dead.example", &["45.9.113.1", "127.0.0.1"]),
        ]);
        netns::shell("ip route add unreachable 45.9.113.0/24");
        let (relay, origin) =
            (Relay::builder().guarded().dns(&server).start(), far.inside(Origin::everywhere));
        let mixed = Client::greeted(relay.addr()).request_name(b"mixed.example", origin.addr.port());
        assert_eq!(mixed.rep, 0x00);
        origin.peer(1);
        assert_eq!(origin.dialled()[0].ip().to_string(), "8.8.8.8");
        let dead = Client::greeted(relay.addr()).request_name(b"dead.example", origin.addr.port());
        assert_eq!(dead.rep, 0x04);
        assert_eq!(origin.dialled().len(), 1);
    });
}
