//! Bursts: what one bad datagram costs the others (HAZARD 45), and what UDP_SEGMENT sends as one.

use std::net::{IpAddr, SocketAddr};

use crate::support::origin::{V4, V6, pattern};
use crate::support::udp::{
    Association, Sides, Stand, Target, V4_MAX, V6_MAX, expect_dropped, expect_drops, expect_empty,
    send_segmented, serving, socket, while_stopped, wrap,
};
use crate::support::{Relay, netns};

/// What the kernel refuses to send to, each for a reason of its own: loopback's broadcast address, the limited
/// one, routes of three kinds, and no route at all.
const REFUSED: [&str; 7] = [
    "127.255.255.255:9",
    "255.255.255.255:9",
    "203.0.113.1:9",
    "198.51.100.1:9",
    "192.0.2.1:9",
    "8.8.8.8:9",
    "[2001:db8::1]:9",
];

const ROUTES: &str = "ip route add unreachable 203.0.113.0/24; ip route add blackhole 198.51.100.0/24;
    ip route add prohibit 192.0.2.0/24";

/// HAZARD 45: bad ones at the head, at the end, side by side and between others, each kind alone and all mixed.
#[test]
fn a_bad_datagram_is_dropped_alone() {
    netns::run(&test_name!(), ROUTES, || {
        let mut kinds: Vec<Vec<Vec<u8>>> = REFUSED
            .map(|text| vec![wrap(text.parse().expect("an address"), b"to nobody")])
            .into_iter()
            .collect();
        kinds.push(vec![wrap(SocketAddr::new(V4, 0), b"to port 0")]);
        kinds.push(vec![wrap(SocketAddr::new(V6, 0), b"to port 0")]);
        kinds.push(vec![b"\x00\x01".to_vec()]);
        kinds.push(kinds.concat());
        for front in [V4, V6] {
            let relay = serving(Relay::builder(), front);
            let client = Association::open(relay.addr());
            let targets = [Target::on(V4), Target::on(V4), Target::on(V6)];
            let mut bad = 0;
            for kind in &kinds {
                bad += burst_around(&relay, &client, &targets, kind);
                expect_dropped(&relay, bad);
            }
            client.send(targets[0].addr, b"fence");
            let external = targets[0].expect(b"fence");
            targets[0].send(external, b"answer");
            client.expect(targets[0].addr, b"answer");
            targets.iter().for_each(|target| expect_empty(&target.socket));
        }
    });
}

/// Sixty-four datagrams at once, some of them bad: all the others arrive, in order. How many were bad.
fn burst_around(relay: &Relay, client: &Association, targets: &[Target; 3], bad: &[Vec<u8>]) -> u64 {
    let is_bad = |n: usize| matches!(n, 0 | 1 | 7 | 30 | 31 | 32 | 50 | 63);
    // Runs of the same target, and changes from one to the next.
    let target = |n: usize| &targets[(n / 5 + usize::from(n.is_multiple_of(11))) % 3];
    while_stopped(relay, || {
        for n in 0..64_usize {
            if is_bad(n) {
                client.send_raw(&bad[n % bad.len()]);
            } else {
                client.send(target(n).addr, &pattern(n as u64, 20));
            }
        }
    });
    for n in (0..64).filter(|n| !is_bad(*n)) {
        target(n).expect(&pattern(n as u64, 20));
    }
    (0..64).filter(|n| is_bad(*n)).count() as u64
}

/// HAZARD 45: one that IPv4 cannot carry, which only a client over IPv6 can ask for.
#[test]
fn a_datagram_that_is_too_large_is_dropped_alone() {
    let stand = Stand::new(Sides::V6_TO_V4);
    let huge = wrap(stand.target.addr, &pattern(9, V4_MAX + 1));
    for before in [0, 1, 5] {
        while_stopped(&stand.relay, || {
            for n in 0..before {
                stand.client.send(stand.target.addr, &pattern(n, 30));
            }
            stand.client.send_raw(&huge);
            for n in before..12 {
                stand.client.send(stand.target.addr, &pattern(n, 30));
            }
        });
        for n in 0..12 {
            stand.target.expect(&pattern(n, 30));
        }
    }
    stand.fence();
    expect_drops(&stand.relay, &[("oversize", 3)]);
}

/// HAZARD 45 on the way back: an answer that does not fit behind its header.
fn an_answer_that_is_too_large_is_dropped_alone(sides: Sides) {
    let stand = Stand::new(sides);
    let external = stand.fence();
    let most = if sides.target.is_ipv4() { V4_MAX } else { V6_MAX };
    for before in [0, 1, 5] {
        while_stopped(&stand.relay, || {
            for n in 0..before {
                stand.target.send(external, &pattern(n, 30));
            }
            stand.target.send(external, &pattern(9, most));
            for n in before..12 {
                stand.target.send(external, &pattern(n, 30));
            }
        });
        for n in 0..12 {
            stand.client.expect(stand.target.addr, &pattern(n, 30));
        }
    }
    stand.fence();
    expect_drops(&stand.relay, &[("oversize", 3)]);
}
families!(an_answer_that_is_too_large_is_dropped_alone);

/// A burst to one target and one from it, of more than any batch holds: all of it arrives, in order.
fn a_burst_keeps_its_order(sides: Sides) {
    let stand = Stand::new(sides);
    let external = stand.fence();
    let length = |n: u64| [30, 30, 30, 200, 1][(n / 7 % 5) as usize];
    while_stopped(&stand.relay, || {
        for n in 0..150 {
            stand.client.send(stand.target.addr, &pattern(n, length(n)));
            stand.target.send(external, &pattern(1000 + n, length(n)));
        }
    });
    for n in 0..150 {
        stand.target.expect(&pattern(n, length(n)));
        stand.client.expect(stand.target.addr, &pattern(1000 + n, length(n)));
    }
    stand.fence();
    expect_drops(&stand.relay, &[]);
}
sides!(a_burst_keeps_its_order);

/// Sends these both ways at once and insists on all of them.
fn pour(stand: &Stand, payloads: &[Vec<u8>]) {
    let external = stand.fence();
    while_stopped(&stand.relay, || {
        payloads.iter().for_each(|payload| stand.client.send(stand.target.addr, payload));
        payloads.iter().for_each(|payload| stand.target.send(external, payload));
    });
    for payload in payloads {
        stand.target.expect(payload);
        stand.client.expect(stand.target.addr, payload);
    }
    stand.fence();
    expect_drops(&stand.relay, &[]);
}

/// Equal neighbours may leave as one: of nothing, of a byte, of more in all than one send carries, and of a few that
/// are large.
fn equal_neighbours_all_arrive(sides: Sides) {
    let stand = Stand::new(sides);
    for (count, length) in [(10, 0), (80, 1), (60, 1400), (3, 30_000), (3, 45_000)] {
        pour(&stand, &(0..count).map(|n| pattern(8 * n, length)).collect::<Vec<_>>());
    }
}
sides!(equal_neighbours_all_arrive);

/// Where they are larger than a packet of the way they cannot leave as one: each goes in fragments of IP.
#[test]
fn equal_neighbours_larger_than_a_packet_all_arrive() {
    netns::run(&test_name!(), "ip link set lo mtu 1500", || {
        for sides in [Sides::V4_TO_V4, Sides::V4_TO_V6, Sides::V6_TO_V4, Sides::V6_TO_V6] {
            let stand = Stand::new(sides);
            for length in [1400, 1450, 1451, 1452, 1462, 1463, 1472, 1473, 1474, 1500, 3000, 9000] {
                pour(&stand, &(0..6).map(|n| pattern(8 * n, length)).collect::<Vec<_>>());
                // The first of a run may be the one that tells.
                pour(&stand, &[pattern(1, 10), pattern(2, length), pattern(3, length), pattern(4, 10)]);
            }
        }
    });
}

// ---- UDP_SEGMENT

/// Datagrams of one length, the last one shorter: payloads that tell which they are.
fn segments(from: u64, count: u64, length: usize, last: usize) -> Vec<Vec<u8>> {
    (from..from + count).map(|n| pattern(8 * n, if n + 1 == from + count { last } else { length })).collect()
}

const SHAPES: [(u64, usize, usize); 7] =
    [(1, 100, 100), (2, 1, 1), (40, 1200, 1200), (40, 1200, 7), (60, 9, 9), (44, 1400, 1), (3, 20_000, 3)];

/// A client that sends many as one: each segment is a datagram with a header of its own.
fn each_segment_of_a_client_is_a_datagram(sides: Sides) {
    let stand = Stand::new(sides);
    for (n, (count, length, last)) in (0..).zip(SHAPES) {
        let payloads = segments(1000 * n, count, length, last);
        let datagrams: Vec<Vec<u8>> = payloads.iter().map(|p| wrap(stand.target.addr, p)).collect();
        send_segmented(&stand.client.socket, stand.client.door, &datagrams);
        for payload in &payloads {
            stand.target.expect(payload);
        }
    }
    stand.fence();
    expect_drops(&stand.relay, &[]);
}
sides!(each_segment_of_a_client_is_a_datagram);

/// Segments for different targets, with bad ones among them, in a row of such sends and plain ones.
fn each_segment_goes_to_its_own_target(sides: Sides) {
    let stand = Stand::new(sides);
    let twin = Target::on(sides.target);
    let external = stand.fence();
    let header = if sides.target.is_ipv4() { 10 } else { 22 };
    while_stopped(&stand.relay, || {
        for round in 0..4_u64 {
            let payloads = segments(1000 * round, 30, 300, 50);
            let datagrams: Vec<Vec<u8>> = (0..)
                .zip(&payloads)
                .map(|(n, payload)| match n % 5 {
                    3 => vec![0xff; header + payload.len()],
                    4 => wrap(twin.addr, payload),
                    _ => wrap(stand.target.addr, payload),
                })
                .collect();
            send_segmented(&stand.client.socket, stand.client.door, &datagrams);
            stand.client.send(twin.addr, b"plain");
        }
    });
    for round in 0..4_u64 {
        for (n, payload) in (0..).zip(segments(1000 * round, 30, 300, 50)) {
            match n % 5 {
                3 => {}
                4 => assert_eq!(twin.expect(&payload), external),
                _ => assert_eq!(stand.target.expect(&payload), external),
            }
        }
        twin.expect(b"plain");
    }
    stand.fence();
    expect_empty(&twin.socket);
    expect_drops(&stand.relay, &[("header", 4 * 6)]);
}
families!(each_segment_goes_to_its_own_target);

/// A target that answers with many as one: each becomes a datagram with a header.
fn each_segment_of_a_target_is_a_datagram(sides: Sides) {
    let stand = Stand::new(sides);
    let twin = Target::on(sides.target);
    let external = stand.fence();
    for (n, (count, length, last)) in (0..).zip(SHAPES) {
        let payloads = segments(1000 * n, count, length, last);
        send_segmented(&stand.target.socket, external, &payloads);
        twin.send(external, b"plain");
        payloads.iter().for_each(|payload| stand.client.expect(stand.target.addr, payload));
        stand.client.expect(twin.addr, b"plain");
    }
    let (first, second) = (segments(1, 30, 500, 20), segments(5000, 30, 500, 500));
    while_stopped(&stand.relay, || {
        send_segmented(&stand.target.socket, external, &first);
        send_segmented(&twin.socket, external, &second);
        send_segmented(&stand.target.socket, external, &second);
    });
    first.iter().for_each(|payload| stand.client.expect(stand.target.addr, payload));
    second.iter().for_each(|payload| stand.client.expect(twin.addr, payload));
    second.iter().for_each(|payload| stand.client.expect(stand.target.addr, payload));
    stand.fence();
    expect_drops(&stand.relay, &[]);
}
sides!(each_segment_of_a_target_is_a_datagram);

/// The first datagram of an association in a segmented send, behind that of a stranger.
#[test]
fn a_segmented_send_may_be_the_first() {
    let stand = Stand::new(Sides::V4_TO_V4);
    let stranger = socket(SocketAddr::new("127.0.0.2".parse::<IpAddr>().expect("an address"), 0));
    let payloads = segments(0, 20, 100, 10);
    let datagrams: Vec<Vec<u8>> = payloads.iter().map(|p| wrap(stand.target.addr, p)).collect();
    while_stopped(&stand.relay, || {
        send_segmented(&stranger, stand.client.door, &datagrams);
        send_segmented(&stand.client.socket, stand.client.door, &datagrams);
        send_segmented(&stranger, stand.client.door, &datagrams);
    });
    for payload in &payloads {
        stand.target.expect(payload);
    }
    stand.fence();
    expect_drops(&stand.relay, &[("stranger", 40)]);
}

/// The counts of a record are of datagrams, not of sends.
#[test]
fn each_datagram_of_a_segmented_send_is_counted() {
    let Stand { relay, client, target } = Stand::new(Sides::V4_TO_V4);
    let payloads = segments(0, 40, 1200, 7);
    let datagrams: Vec<Vec<u8>> = payloads.iter().map(|p| wrap(target.addr, p)).collect();
    send_segmented(&client.socket, client.door, &datagrams);
    let mut external = None;
    payloads.iter().for_each(|payload| external = Some(target.expect(payload)));
    send_segmented(&target.socket, external.expect("forty came"), &payloads);
    payloads.iter().for_each(|payload| client.expect(target.addr, payload));
    drop(client);
    let record = relay.record();
    for field in ["datagrams_up", "datagrams_down"] {
        assert_eq!(record[field], 40, "{field} in {record}");
    }
    for field in ["bytes_up", "bytes_down"] {
        assert_eq!(record[field], 39 * 1200 + 7, "{field} in {record}");
    }
}
