//! UDP ASSOCIATE: the reply, and whose datagrams an association takes (HAZARD 42).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::support::client::request;
use crate::support::dns::A;
use crate::support::origin::V4;
use crate::support::udp::{
    Association, Sides, Stand, Target, associate, drops, expect_drops, expect_empty, expect_released,
    serving, socket, while_stopped, wrap, zeros,
};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Relay, netns, socket_table};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// RFC 1928 section 6: BND is where the datagrams go. Each association has a port of its own.
fn the_reply_names_where_datagrams_go(sides: Sides) {
    let relay = serving(Relay::builder(), sides.client);
    let clients: Vec<Association> = (0..8).map(|_| Association::open(relay.addr())).collect();
    let doors: BTreeSet<SocketAddr> = clients.iter().map(|client| client.door).collect();
    assert_eq!(doors.len(), clients.len(), "two associations share a port: {doors:?}");
    assert!(doors.iter().all(|door| door.ip() == relay.addr().ip() && door.port() != 0), "{doors:?}");
    let held = socket_table::udp_of(relay.pid());
    assert!(doors.iter().all(|door| held.contains(door)), "{doors:?} of {held:?}");
}
families!(the_reply_names_where_datagrams_go);

/// A listener on every address says which of them the client dialled, in the family that the client uses.
#[test]
fn a_wildcard_listener_names_the_address_that_was_dialled() {
    netns::run(&test_name!(), "ip addr add fd00::2/128 dev lo", || {
        for (listen, dialled) in [
            ("0.0.0.0:0", &["127.0.0.1", "127.0.0.2"][..]),
            ("[::]:0", &["::1", "fd00::2", "127.0.0.1", "127.0.0.2"]),
        ] {
            let relay = Relay::builder().listen(&[listen]).set("server", "open_proxy", "true").start();
            for dialled in dialled.iter().map(|text| ip(text)) {
                let front = SocketAddr::new(dialled, relay.addr().port());
                let client = Association::open(front);
                assert_eq!(client.door.ip(), dialled, "{listen}");
                reaches_a_target(&client);
            }
        }
    });
}

/// What this client sends arrives, and the answer comes back.
fn reaches_a_target(client: &Association) {
    let target = Target::on(V4);
    client.send(target.addr, b"up");
    let external = target.expect(b"up");
    target.send(external, b"down");
    client.expect(target.addr, b"down");
}

/// `udp.advertise` replaces the address of its family; the port is the real one.
#[test]
fn an_advertised_address_is_named() {
    for (advertise, v4, v6) in [
        ("\"203.0.113.7\"", "203.0.113.7", "::1"),
        ("[\"203.0.113.7\"]", "203.0.113.7", "::1"),
        ("[\"2001:db8::7\"]", "127.0.0.1", "2001:db8::7"),
        ("[\"203.0.113.7\", \"2001:db8::7\"]", "203.0.113.7", "2001:db8::7"),
    ] {
        let relay =
            Relay::builder().listen(&["127.0.0.1:0", "[::1]:0"]).set("udp", "advertise", advertise).start();
        for (front, named) in relay.addrs().iter().zip([v4, v6]) {
            let mut client = Association::open(*front);
            assert_eq!(client.door.ip(), ip(named), "{advertise}");
            client.door.set_ip(front.ip());
            reaches_a_target(&client);
        }
    }
}

/// `udp.ports` bounds the ports over all workers: each is used once, a taken one is passed over, none left is
/// 01, and what an association leaves is used again.
#[test]
fn every_port_given_is_of_the_range() {
    netns::run(&test_name!(), "true", || {
        let taken = socket("127.0.0.1:40002".parse().expect("an address"));
        let relay = Relay::builder().workers(2).set("udp", "ports", "\"40000-40008\"").start();
        let target = Target::on(V4);
        let mut clients: Vec<Association> = (0..8).map(|_| Association::open(relay.addr())).collect();
        let ports: BTreeSet<u16> = clients.iter().map(|client| client.door.port()).collect();
        let range: BTreeSet<u16> = (40_000..=40_008).filter(|port| *port != 40_002).collect();
        assert_eq!(ports, range);
        let refuse = |control: &mut Client| {
            control.send(&request(0x03, zeros(V4)));
            control.expect_refusal(0x01);
        };
        for _ in 0..8 {
            refuse(&mut Client::greeted(relay.addr()));
        }
        for client in &clients {
            client.send(target.addr, b"served");
            target.expect(b"served");
        }
        let left = clients.swap_remove(3).door.port();
        expect_released(&relay, &[left]);
        let next = Association::open(relay.addr());
        assert_eq!(next.door.port(), left);
        refuse(&mut Client::greeted(relay.addr()));
        expect_empty(&taken);
    });
}

/// DST of a family that the client cannot send from: 08. The other family's zeros say nothing, as any zeros.
#[test]
fn a_family_that_cannot_send_is_refused() {
    let relay = Relay::builder().listen(&["127.0.0.1:0", "[::1]:0"]).start();
    let (four, six) = (relay.addrs()[0], relay.addrs()[1]);
    for (front, dst) in [
        (four, "[2001:db8::1]:0"),
        (four, "[2001:db8::1]:5000"),
        (four, "[::1]:5000"),
        (six, "192.0.2.1:0"),
        (six, "192.0.2.1:5000"),
        (six, "127.0.0.1:5000"),
    ] {
        let mut control = Client::greeted(front);
        control.send(&request(0x03, dst.parse().expect("an address")));
        control.expect_refusal(0x08);
    }
    for (front, dst) in [(four, "[::]:0"), (six, "0.0.0.0:0")] {
        let reply = associate(&mut Client::greeted(front), dst.parse().expect("an address"));
        assert_eq!((reply.rep, reply.bound.ip()), (0, front.ip()), "{dst} over {front}");
    }
    assert!(relay.records(8).iter().all(|record| record["command"] == "udp_associate"));
}

/// Some clients write the zeros as a name; the port beside them counts.
#[test]
fn zeros_that_are_written_as_a_name_are_zeros() {
    let relay = Relay::start();
    for name in [&b"0"[..], b"0.0.0.0"] {
        let (own, stranger, target) = (socket(zeros(V4)), socket(zeros(V4)), Target::on(V4));
        let port = own.local_addr().expect("address").port();
        let mut control = Client::greeted(relay.addr());
        let length = u8::try_from(name.len()).expect("short");
        control.send(&[&[0x05, 0x03, 0x00, 0x03, length], name, &port.to_be_bytes()].concat());
        let reply = control.reply();
        assert_eq!((reply.rep, reply.bound.ip()), (0, V4));
        let before = drops(&relay).remove("stranger").unwrap_or_default();
        stranger.send_to(&wrap(target.addr, b"stranger"), reply.bound).expect("send");
        own.send_to(&wrap(target.addr, b"own"), reply.bound).expect("send");
        target.expect(b"own");
        expect_drops(&relay, &[("stranger", before + 1)]);
    }
}

/// A name as DST says nothing of who sends: neither the addresses that it has nor the port beside it hold anybody off.
/// The control connection's address is what is expected (RFC 1928 section 7), from any port.
#[test]
fn a_name_says_nothing_of_who_sends() {
    let server = DnsServer::zone(&[("client.example", &["127.0.0.2"])]);
    let relay = Relay::builder().dns(&server).start();
    for name in [&b"client.example"[..], b"no-such.example", b"localhost"] {
        let (own, elsewhere, target) =
            (socket(SocketAddr::new(V4, 0)), socket(SocketAddr::new(ip("127.0.0.2"), 0)), Target::on(V4));
        let named = elsewhere.local_addr().expect("address").port();
        let mut control = Client::greeted(relay.addr());
        let length = u8::try_from(name.len()).expect("short");
        control.send(&[&[0x05, 0x03, 0x00, 0x03, length], name, &named.to_be_bytes()].concat());
        let reply = control.reply();
        assert_eq!(reply.rep, 0);
        let before = drops(&relay).remove("stranger").unwrap_or_default();
        elsewhere.send_to(&wrap(target.addr, b"elsewhere"), reply.bound).expect("send");
        own.send_to(&wrap(target.addr, b"own"), reply.bound).expect("send");
        target.expect(b"own");
        expect_drops(&relay, &[("stranger", before + 1)]);
    }
    assert_eq!(server.asked("client.example", A), 0, "nothing is resolved for it");
}

/// HAZARD 42: an address other than the control connection's is nobody, be it first or last.
fn a_foreign_address_is_not_served(own: IpAddr, foreign: IpAddr) {
    let relay = serving(Relay::builder(), own);
    let (client, target) = (Association::open(relay.addr()), Target::on(own));
    let stranger = socket(SocketAddr::new(foreign, 0));
    for n in 0..3_u8 {
        client.send_raw_from(&stranger, &wrap(target.addr, &[n]));
    }
    client.send(target.addr, b"own");
    let external = target.expect(b"own");
    expect_drops(&relay, &[("stranger", 3)]);
    target.send(external, b"answer");
    client.expect(target.addr, b"answer");
    // From here on the kernel refuses strangers by itself: what it drops is not counted.
    client.send_raw_from(&stranger, &wrap(target.addr, b"late"));
    client.send(target.addr, b"fence");
    target.expect(b"fence");
    expect_empty(&stranger);
}

#[test]
fn a_foreign_address_is_not_served_over_v4() {
    a_foreign_address_is_not_served(V4, ip("127.0.0.2"));
}

#[test]
fn a_foreign_address_is_not_served_over_v6() {
    netns::run(&test_name!(), "ip addr add fd00::2/128 dev lo", || {
        a_foreign_address_is_not_served(ip("::1"), ip("fd00::2"));
    });
}

/// HAZARD 42: the first valid datagram decides; what stood behind it is judged by it, too, however much that is.
fn no_other_port_is_served_after_the_first(sides: Sides) {
    let stand = Stand::new(sides);
    let other = socket(SocketAddr::new(sides.client, 0));
    let from_other = || stand.client.send_raw_from(&other, &wrap(stand.target.addr, b"other"));
    while_stopped(&stand.relay, || {
        for n in 0..100_u8 {
            stand.client.send(stand.target.addr, &[n]);
            from_other();
        }
    });
    for n in 0..100 {
        stand.target.expect(&[n]);
    }
    stand.fence();
    expect_drops(&stand.relay, &[("stranger", 100)]);
    from_other();
    stand.fence();
    expect_empty(&other);
}
families!(no_other_port_is_served_after_the_first);

/// What is no datagram of RFC 1928 decides nothing: the next socket at the same address may be the first.
fn a_malformed_datagram_is_not_the_first(sides: Sides) {
    let stand = Stand::new(sides);
    let other = socket(SocketAddr::new(sides.client, 0));
    for bytes in [&b""[..], b"\x00", b"\x00\x00\x00\x01\x7f", b"\x00\x01\x00\x01\x7f\x00\x00\x01\x00\x09x"] {
        stand.client.send_raw_from(&other, bytes);
    }
    stand.fence();
    expect_drops(&stand.relay, &[("header", 4)]);
}
families!(a_malformed_datagram_is_not_the_first);

/// One that DST.ADDR and DST.PORT of the request permit or not, by what they say.
struct Claim {
    dst: SocketAddr,
    strangers: Vec<UdpSocket>,
    own: UdpSocket,
}

/// DST says who may be first: an address, a port, or both; what it leaves zero is the control connection's
/// address, and any port.
#[test]
fn the_request_says_who_is_first() {
    let relay = Relay::start();
    let at = |ip: &str| socket(SocketAddr::new(ip.parse().expect("an address"), 0));
    let port = |socket: &UdpSocket| socket.local_addr().expect("address").port();
    let dst = |ip: &str, port: u16| SocketAddr::new(ip.parse().expect("an address"), port);
    let (near, far) = (at("127.0.0.1"), at("127.0.0.2"));
    let claims = [
        Claim {
            dst: dst("0.0.0.0", port(&near)),
            strangers: vec![at("127.0.0.1"), at("127.0.0.2")],
            own: near,
        },
        Claim {
            dst: dst("127.0.0.2", port(&far)),
            strangers: vec![at("127.0.0.1"), at("127.0.0.2")],
            own: far,
        },
        Claim {
            dst: dst("127.0.0.2", 0),
            strangers: vec![at("127.0.0.1"), at("127.0.0.3")],
            own: at("127.0.0.2"),
        },
    ];
    let target = Target::on(V4);
    for (n, claim) in (1..).zip(claims) {
        let mut client = Association::over(Client::greeted(relay.addr()), claim.dst);
        for stranger in &claim.strangers {
            client.send_raw_from(stranger, &wrap(target.addr, b"stranger"));
        }
        client.socket = claim.own;
        client.send(target.addr, b"own");
        let external = target.expect(b"own");
        expect_drops(&relay, &[("stranger", 2 * n)]);
        target.send(external, b"answer");
        client.expect(target.addr, b"answer");
    }
}

/// Two associations to one target: each gets its own answers, and each is known by a port of its own.
fn each_answer_goes_to_its_own_association(sides: Sides) {
    let stand = Stand::new(sides);
    let second = Association::open(stand.relay.addr());
    let first = stand.up(b"of the first");
    second.send(stand.target.addr, b"of the second");
    let other = stand.target.expect(b"of the second");
    assert_ne!(first, other);
    stand.target.send(other, b"to the second");
    stand.target.send(first, b"to the first");
    stand.client.expect(stand.target.addr, b"to the first");
    second.expect(stand.target.addr, b"to the second");
    expect_empty(&stand.client.socket);
    expect_empty(&second.socket);
}
sides!(each_answer_goes_to_its_own_association);

/// HAZARD 42: what comes for an association that is gone goes nowhere, from either side.
fn a_datagram_without_an_association_goes_nowhere(sides: Sides) {
    let stand = Stand::new(sides);
    let external = stand.fence();
    let Stand { relay, client, target } = stand;
    let Association { control, socket, door } = client;
    drop(control);
    expect_released(&relay, &[door.port(), external.port()]);
    socket.send_to(&wrap(target.addr, b"late"), door).expect("send");
    target.send(external, b"late");
    let next = Association::open(relay.addr());
    next.send(target.addr, b"fence");
    target.expect(b"fence");
    expect_empty(&socket);
}
sides!(a_datagram_without_an_association_goes_nowhere);

/// Associations of two workers, all at once, each with datagrams both ways: none is mixed up with another.
fn every_worker_serves_associations(sides: Sides) {
    let relay = serving(Relay::builder().workers(2), sides.client);
    let target = Target::on(sides.target);
    let clients: Vec<Association> = (0..32).map(|_| Association::open(relay.addr())).collect();
    for round in 0..4_u8 {
        for (n, client) in (0_u8..).zip(&clients) {
            client.send(target.addr, &[round, n]);
        }
        let mut seen = BTreeSet::new();
        for _ in &clients {
            let (payload, from) = target.receive();
            target.send(from, &payload);
            assert!(seen.insert((payload, from)), "twice");
        }
        for (n, client) in (0_u8..).zip(&clients) {
            client.expect(target.addr, &[round, n]);
        }
    }
    drop(clients);
    let workers: BTreeSet<String> = relay.records(32).iter().map(|r| r["worker"].to_string()).collect();
    assert_eq!(workers.len(), 2, "32 associations and one worker");
}
families!(every_worker_serves_associations);

/// Where the greeting and the request were split does not show, and nothing of an association stays.
#[test]
fn a_request_means_the_same_at_every_split() {
    let relay = Relay::start();
    let bytes = [&[0x05, 0x01, 0x00][..], &request(0x03, zeros(V4))].concat();
    for at in 1..bytes.len() {
        let mut control = Client::connect(relay.addr());
        control.send(&bytes[..at]);
        control.wait_until_read();
        control.send(&bytes[at..]);
        control.expect(&[0x05, 0x00]);
        assert_eq!(control.reply().rep, 0);
    }
    wait::until_true("all associations are gone", PATIENCE, || {
        relay.records_now().len() == bytes.len() - 1 && socket_table::udp_of(relay.pid()).is_empty()
    });
}
