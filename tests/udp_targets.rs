//! The side towards the targets: one port for all (HAZARD 46), who may answer, and names.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::dns::{A, AAAA};
use crate::support::origin::{V4, V6, pattern};
use crate::support::udp::{
    Association, Echo, Sides, Stand, Target, expect_drops, expect_empty, serving, while_stopped, wrap,
};
use crate::support::{DnsServer, Relay};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// HAZARD 46: one address and port for all IPv4 targets, one for all IPv6 targets, for as long as it lives.
fn all_targets_see_one_port(sides: Sides) {
    let relay = serving(Relay::builder(), sides.client);
    let client = Association::open(relay.addr());
    let four: Vec<Target> =
        ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|text| Target::on(ip(text))).into();
    let six: Vec<Target> = (0..2).map(|_| Target::on(V6)).collect();
    let mut seen = BTreeSet::new();
    for round in 0..3_u8 {
        for target in four.iter().chain(&six) {
            client.send(target.addr, &[round]);
            let external = target.expect(&[round]);
            target.send(external, b"answer");
            client.expect(target.addr, b"answer");
            seen.insert((target.addr.is_ipv4(), external.port()));
        }
    }
    assert_eq!(seen.len(), 2, "one port a family: {seen:?}");
}
families!(all_targets_see_one_port);

/// HAZARD 46: an IPv4 target is IPv4 in the header of its answer, however the client spelt it.
fn a_mapped_target_answers_as_ipv4(sides: Sides) {
    let stand = Stand::new(sides);
    let IpAddr::V4(four) = stand.target.addr.ip() else { panic!("an IPv4 target") };
    let mapped = SocketAddr::new(four.to_ipv6_mapped().into(), stand.target.addr.port());
    assert!(mapped.is_ipv6());
    stand.client.send(mapped, b"mapped");
    let external = stand.target.expect(b"mapped");
    stand.down(external, b"answer");
    assert_eq!(stand.up(b"plain"), external, "one port for both spellings");
}

#[test]
fn a_mapped_target_answers_as_ipv4_to_v4() {
    a_mapped_target_answers_as_ipv4(Sides::V4_TO_V4);
}

#[test]
fn a_mapped_target_answers_as_ipv4_to_v6() {
    a_mapped_target_answers_as_ipv4(Sides::V6_TO_V4);
}

/// `udp.filtering`: an address that was sent to answers from any port, and by default no other does.
#[test]
fn only_an_address_that_was_sent_to_may_answer() {
    for (filtering, open) in
        [(None, false), (Some("\"address\""), false), (Some("\"endpoint-independent\""), true)]
    {
        let builder = Relay::builder();
        let builder = match filtering {
            Some(text) => builder.set("udp", "filtering", text),
            None => builder,
        };
        let stand = Stand::over(builder, Sides::V4_TO_V4);
        let (twin, other) = (Target::on(V4), Target::on(ip("127.0.0.2")));
        let external = stand.fence();
        twin.send(external, b"another port");
        stand.client.expect(twin.addr, b"another port");
        other.send(external, b"another address");
        if open {
            stand.client.expect(other.addr, b"another address");
        }
        stand.fence();
        expect_drops(&stand.relay, if open { &[] } else { &[("filtered", 1)] });
        stand.client.send(other.addr, b"known from now on");
        other.expect(b"known from now on");
        other.send(external, b"another address");
        stand.client.expect(other.addr, b"another address");
        expect_empty(&twin.socket);
    }
}

/// The port towards the other family filters by what was sent through it.
#[test]
fn only_a_family_that_was_sent_to_may_answer() {
    let stand = Stand::new(Sides::V4_TO_V6);
    let four = Target::on(ip("127.0.0.2"));
    stand.fence();
    stand.client.send(four.addr, b"up");
    let external = four.expect(b"up");
    // Neither the client's own address nor a neighbour of the target's was sent to.
    for unasked in [Target::on(V4), Target::on(ip("127.0.0.3"))] {
        unasked.send(external, b"unasked");
    }
    four.send(external, b"down");
    stand.client.expect(four.addr, b"down");
    expect_drops(&stand.relay, &[("filtered", 2)]);
}

// ---- names

/// A name is resolved by the worker, in the family that it has; its answers name the address.
fn a_name_is_resolved(sides: Sides) {
    let server = DnsServer::zone(&[("target.example", &[&sides.target.to_string()])]);
    let stand = Stand::over(Relay::builder().dns(&server), sides);
    // A large one waits for the answer as well as a small one.
    let large = pattern(0, 60_000);
    stand.client.send_name(b"target.example", stand.target.addr.port(), &large);
    stand.target.expect(&large);
    for name in [&b"target.example"[..], b"TARGET.Example", b"target.example."] {
        stand.client.send_name(name, stand.target.addr.port(), name);
        let external = stand.target.expect(name);
        stand.down(external, b"answer");
    }
    expect_drops(&stand.relay, &[]);
    assert!(server.asked("target.example", A) <= 1 && server.asked("target.example", AAAA) <= 1);
}
sides!(a_name_is_resolved);

/// A server that answers after this long, with this address.
fn slow_names(address: IpAddr, delay: Duration) -> DnsServer {
    DnsServer::scripted(move |query| vec![query.addresses(&[address], 60).after(delay)])
}

/// What waits for the answer leaves in the order in which it came; what needs no answer does not wait for it.
fn datagrams_of_a_name_keep_their_order(sides: Sides) {
    let server = slow_names(sides.target, Duration::from_millis(400));
    let stand = Stand::over(Relay::builder().dns(&server), sides);
    let beside = Target::on(sides.target);
    for n in 0..16_u8 {
        stand.client.send_name(b"slow.example", stand.target.addr.port(), &[n]);
    }
    stand.client.send(beside.addr, b"beside");
    beside.expect(b"beside");
    expect_empty(&stand.target.socket);
    for n in 0..16_u8 {
        stand.target.expect(&[n]);
    }
    for n in 16..32_u8 {
        stand.client.send_name(b"slow.example", stand.target.addr.port(), &[n]);
        stand.target.expect(&[n]);
    }
    stand.fence();
    expect_drops(&stand.relay, &[]);
    let asked = server.asked("slow.example", A) + server.asked("slow.example", AAAA);
    assert!(asked <= 2, "one question a name: {:?}", server.queries());
}
sides!(datagrams_of_a_name_keep_their_order);

/// Two ports of one name, and two associations: each datagram waits for the same answer.
#[test]
fn two_ports_of_a_name_wait_for_the_same_answer() {
    let server = slow_names(V4, Duration::from_millis(200));
    let stand = Stand::over(Relay::builder().dns(&server), Sides::V4_TO_V4);
    let (twin, second) = (Target::on(V4), Association::open(stand.relay.addr()));
    while_stopped(&stand.relay, || {
        for n in 0..4_u8 {
            stand.client.send_name(b"slow.example", stand.target.addr.port(), &[n]);
            stand.client.send_name(b"slow.example", twin.addr.port(), &[10 + n]);
        }
        second.send_name(b"slow.example", twin.addr.port(), b"second");
    });
    let mut at_twin = Vec::new();
    for n in 0..4_u8 {
        stand.target.expect(&[n]);
    }
    for _ in 0..5 {
        at_twin.push(twin.receive().0);
    }
    at_twin.retain(|payload| payload != b"second");
    assert_eq!(at_twin, [[10], [11], [12], [13]]);
}

/// A burst to a name that needs no question: only what one batch holds has to wait for it.
#[test]
fn a_burst_to_a_name_at_hand_arrives() {
    let stand = Stand::new(Sides::V4_TO_V4);
    while_stopped(&stand.relay, || {
        for n in 0..150_u8 {
            stand.client.send_name(b"localhost", stand.target.addr.port(), &[n]);
        }
    });
    for n in 0..150_u8 {
        stand.target.expect(&[n]);
    }
    expect_drops(&stand.relay, &[]);
}

/// A name keeps its address while the association lives, whatever the server says next, TTL 0 or not.
#[test]
fn a_name_keeps_its_address_during_an_association() {
    let turn = AtomicUsize::new(0);
    let server = DnsServer::scripted(move |query| {
        let ips = [ip("127.0.0.1"), ip("127.0.0.2"), ip("127.0.0.3")];
        if query.qtype != A {
            return vec![query.addresses(&[], 0)];
        }
        vec![query.addresses(&ips[turn.fetch_add(1, Ordering::Relaxed) % 3..][..1], 0)]
    });
    let relay = Relay::builder().dns(&server).start();
    // One port at three addresses.
    let first = Target::on(V4);
    let port = first.addr.port();
    let others = ["127.0.0.2", "127.0.0.3"].map(|text| Target::at(SocketAddr::new(ip(text), port)));
    let client = Association::open(relay.addr());
    for n in 0..20_u8 {
        client.send_name(b"turn.example", port, &[n]);
        let external = first.expect(&[n]);
        first.send(external, &[n]);
        client.expect(first.addr, &[n]);
    }
    others.iter().for_each(|other| expect_empty(&other.socket));
}

/// A name without an address costs its own datagrams and no others.
fn a_name_without_an_address_costs_its_own_datagrams_alone(sides: Sides) {
    let server = DnsServer::scripted(|query| match query.name.as_str() {
        "lost.example" => vec![],
        "broken.example" => vec![query.respond(crate::support::dns::SERVFAIL, &[])],
        "empty.example" => vec![query.addresses(&[], 60)],
        _ => vec![query.nxdomain()],
    });
    let stand = Stand::over(Relay::builder().dns(&server).timeout("dns", 1000), sides);
    let names = [&b"lost.example"[..], b"broken.example", b"empty.example", b"none.example"];
    for _ in 0..3 {
        for name in names {
            stand.client.send_name(name, stand.target.addr.port(), b"to nobody");
            stand.client.send(stand.target.addr, name);
            stand.target.expect(name);
        }
    }
    // The server that never answers is given up after a second.
    expect_drops_in_time(&stand, &[("name", 12)]);
    stand.fence();
}
families!(a_name_without_an_address_costs_its_own_datagrams_alone);

fn expect_drops_in_time(stand: &Stand, wanted: &[(&str, u64)]) {
    let sum: u64 = wanted.iter().map(|(_, n)| n).sum();
    crate::support::wait::until_true("the datagrams are given up", Duration::from_secs(5), || {
        crate::support::udp::drops(&stand.relay).values().sum::<u64>() >= sum
    });
    expect_drops(&stand.relay, wanted);
}

/// HAZARD 20: 20,000 datagrams for names that nobody answers for: bounded, counted, and nobody else waits.
#[test]
fn waiting_datagrams_are_bounded() {
    let server = DnsServer::dead();
    let stand = Stand::over(Relay::builder().dns(&server), Sides::V4_TO_V4);
    let (second, echo) = (Association::open(stand.relay.addr()), Echo::on(V4));
    let before = resident_kib(&stand.relay);
    let payload = [0x5a; 1200];
    for n in 0..20_000_u32 {
        let name = format!("n{}.example", n % 100);
        stand.client.send_name(name.as_bytes(), 9, &payload);
        if n % 50 == 0 {
            // What has arrived is dealt with before more is sent: no buffer of the kernel overflows.
            stand.client.send(stand.target.addr, &n.to_be_bytes());
            stand.target.expect(&n.to_be_bytes());
            second.send(echo.addr, b"beside");
            second.expect(echo.addr, b"beside");
        }
    }
    let grown = resident_kib(&stand.relay).saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB for datagrams that wait");
    let dropped = crate::support::udp::drops(&stand.relay);
    let queue = dropped.get("queue").copied().unwrap_or_default();
    assert!(queue >= 15_000, "{dropped:?}");
    stand.fence();
}

/// Resident memory of the server.
fn resident_kib(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).expect("read status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("a number").parse().expect("KiB")
}

/// What waits for a name ends with its association: the answer finds nobody, and another lives on.
#[test]
fn an_answer_for_a_name_finds_no_association_that_is_gone() {
    let server = slow_names(V4, Duration::from_millis(300));
    let stand = Stand::over(Relay::builder().dns(&server), Sides::V4_TO_V4);
    for round in 0..3_u8 {
        let gone = Association::open(stand.relay.addr());
        let name = format!("n{round}.example");
        gone.send_name(name.as_bytes(), stand.target.addr.port(), b"too late");
        gone.send(stand.target.addr, b"at once");
        stand.target.expect(b"at once");
        drop(gone);
        // The same name for an association that waits for it still.
        stand.client.send_name(name.as_bytes(), stand.target.addr.port(), &[round]);
        stand.target.expect(&[round]);
    }
    stand.fence();
    assert_eq!(stand.relay.records(3).len(), 3);
}

/// A datagram to a name that stands before one to its address, in one batch: each arrives.
#[test]
fn a_known_name_waits_for_nothing() {
    let server = DnsServer::zone(&[("known.example", &["127.0.0.1"])]);
    let stand = Stand::over(Relay::builder().dns(&server), Sides::V4_TO_V4);
    let port = stand.target.addr.port();
    stand.client.send_name(b"known.example", port, b"first");
    stand.target.expect(b"first");
    while_stopped(&stand.relay, || {
        for n in 0..8_u8 {
            stand.client.send_name(b"known.example", port, &[2 * n]);
            stand.client.send_raw(&wrap(stand.target.addr, &[2 * n + 1]));
        }
    });
    for n in 0..16_u8 {
        stand.target.expect(&[n]);
    }
}
