//! Whatever comes, from whoever, at whatever rate (HAZARD 49): the relay stands, and the others do not notice.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::origin::{V4, V6, pattern};
use crate::support::random::Random;
use crate::support::udp::{
    Association, Echo, Sides, Stand, Target, counters, fragment, receive, serving, socket, wrap, wrap_name,
};
use crate::support::wait::PATIENCE;
use crate::support::{DnsServer, Relay, netns};

/// Rounds of random bytes, each with a fence behind it.
const ROUNDS: u64 = 200;
const ROUND: usize = 40;

/// Bytes that are no datagram, that nearly are one, and that are one for nobody knows whom.
fn junk(random: &mut Random) -> Vec<u8> {
    let length = random.index(80);
    let mut bytes = random.bytes(length);
    let stages = random.index(4);
    if stages >= 1 && length >= 2 {
        bytes[..2].fill(0);
    }
    if stages >= 2 && length >= 3 {
        bytes[2] = *random.pick(&[0, 0, 0, 1, 2, 0x81, 0x82]);
    }
    if stages >= 3 && length >= 6 {
        bytes[3] = *random.pick(&[1, 3, 4]);
        if bytes[3] == 3 {
            bytes[4] %= 80;
        }
    }
    bytes
}

/// HAZARD 49: from the client, from strangers, and from a target, over both families.
fn random_bytes_end_nothing(seed: u64, front: IpAddr) {
    let server = DnsServer::zone(&[]);
    let relay = serving(Relay::builder().workers(2).dns(&server), front);
    let mut random = Random::new(seed);
    let client = Association::open(relay.addr());
    let unused = Association::open(relay.addr());
    let targets = [Target::on(V4), Target::on(V6)];
    let stranger = socket(SocketAddr::new(front, 0));
    for round in 0..ROUNDS {
        for _ in 0..ROUND {
            client.send_raw(&junk(&mut random));
            // May make a stranger of itself, or the first of an association that nobody uses.
            let _ = stranger.send_to(&junk(&mut random), unused.door);
        }
        let target = &targets[random.index(2)];
        client.send(target.addr, &round.to_be_bytes());
        // A random header may name this very target: what it brings is no fence.
        let external = std::iter::repeat_with(|| target.receive())
            .find(|(payload, _)| *payload == round.to_be_bytes())
            .expect("endless")
            .1;
        let length = random.index(1500);
        let answer = random.bytes(length);
        target.send(external, &answer);
        let got = std::iter::repeat_with(|| client.receive()).find(|d| d.payload == answer);
        assert_eq!(got.expect("endless").from, target.addr);
    }
    let next = Association::open(relay.addr());
    next.send(targets[0].addr, b"still here");
    let external =
        std::iter::repeat_with(|| targets[0].receive()).find(|(payload, _)| payload == b"still here");
    targets[0].send(external.expect("endless").1, b"answer");
    next.expect(targets[0].addr, b"answer");
    assert!(
        counters(&relay).get("udp_dropped_header").is_some_and(|count| *count > ROUNDS),
        "nothing dropped"
    );
}

#[test]
fn random_bytes_end_nothing_over_v4() {
    netns::run(&test_name!(), "true", || random_bytes_end_nothing(0x5eed_0001, V4));
}

#[test]
fn random_bytes_end_nothing_over_v6() {
    netns::run(&test_name!(), "true", || random_bytes_end_nothing(0x5eed_0002, V6));
}

/// HAZARD 49: random bytes at every UDP port that the server holds, from a socket that nobody knows.
#[test]
fn random_bytes_to_every_port_end_nothing() {
    netns::run(&test_name!(), "true", || {
        let server = DnsServer::zone(&[]);
        let relay = Relay::builder().workers(2).dns(&server).start();
        let mut random = Random::new(0x5eed_0003);
        let target = Target::on(V4);
        let stranger = socket(SocketAddr::new(V4, 0));
        let clients: Vec<Association> = (0..8).map(|_| Association::open(relay.addr())).collect();
        for client in &clients {
            client.send(target.addr, b"first");
            target.expect(b"first");
        }
        for _ in 0..100 {
            for held in crate::support::socket_table::udp_of(relay.pid()) {
                for _ in 0..4 {
                    let _ = stranger.send_to(&junk(&mut random), SocketAddr::new(V4, held.port()));
                }
            }
        }
        for client in &clients {
            client.send(target.addr, b"up");
            let external = target.expect(b"up");
            target.send(external, b"down");
            // A neighbour of the target's at its address may answer, too: from there random bytes are answers.
            let got = std::iter::repeat_with(|| client.receive()).find(|d| d.from == target.addr);
            assert_eq!(got.expect("endless").payload, b"down");
        }
    });
}

/// How long a flood lasts, and how many datagrams must pass beside it meanwhile.
const FLOOD: Duration = Duration::from_secs(4);
const ENOUGH: u64 = 2000;

/// Sends without pause until told to stop.
fn flood(client: &Association, bytes: &[Vec<u8>], stop: &AtomicBool, sent: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        for bytes in bytes {
            // ECONNREFUSED and a full buffer are no reason to stop.
            let _ = client.socket.send_to(bytes, client.door);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Eight at a time, each time all eight back, for so long and until enough were sent to tell one in a thousand;
/// how many were sent and how many never came back.
fn converse(client: &Association, echo: &Echo, span: Duration, enough: u64) -> (u64, u64) {
    let start = Instant::now();
    let (mut sent, mut lost) = (0_u64, 0_u64);
    // On a busy machine an answer may be late; only one that never comes is lost.
    client.socket.set_read_timeout(Some(PATIENCE)).expect("read timeout");
    let mut room = [0; 256];
    while start.elapsed() < span || (sent < enough && start.elapsed() < 8 * span) {
        for n in 0..8 {
            client.send(echo.addr, &(sent + n).to_be_bytes());
        }
        let mut missing: Vec<u64> = (sent..sent + 8).collect();
        sent += 8;
        while !missing.is_empty() {
            let length = match client.socket.recv_from(&mut room) {
                Ok((length, _)) => length,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let number = u64::from_be_bytes(room[length - 8..length].try_into().expect("eight"));
            missing.retain(|awaited| *awaited != number);
        }
        lost += missing.len() as u64;
    }
    (sent, lost)
}

/// HAZARD 49: one association is flooded with `bytes`; another one on the same worker loses under 0.1 %.
fn a_flood_drowns_a_neighbour(builder: crate::support::relay::Builder, bytes: &[Vec<u8>]) {
    let relay = builder.start();
    let (loud, quiet, echo) =
        (Association::open(relay.addr()), Association::open(relay.addr()), Echo::on(V4));
    let (stop, flooded) = (AtomicBool::new(false), AtomicU64::new(0));
    let (sent, lost) = thread::scope(|scope| {
        scope.spawn(|| flood(&loud, bytes, &stop, &flooded));
        let counts = converse(&quiet, &echo, FLOOD, ENOUGH);
        stop.store(true, Ordering::Relaxed);
        counts
    });
    let flooded = flooded.into_inner();
    println!("{flooded} flooded, {sent} beside them, {lost} lost");
    assert!(sent >= ENOUGH && flooded >= 20_000, "{sent} beside a flood of {flooded}");
    assert!(lost * 1000 < sent, "{lost} of {sent} lost beside {flooded}");
    let (sent, lost) = converse(&quiet, &echo, FLOOD / 40, 8);
    assert!(sent > 0 && lost == 0, "{lost} of {sent} lost after the flood");
}

/// Datagrams that are passed on, to somebody who does not read.
#[test]
fn a_flood_of_datagrams_leaves_neighbours_served() {
    let sink = Target::on(V4);
    a_flood_drowns_a_neighbour(Relay::builder(), &[wrap(sink.addr, &pattern(0, 200))]);
}

/// Datagrams that are dropped.
#[test]
fn a_flood_of_junk_leaves_neighbours_served() {
    let closed = Target::on(V4).addr;
    let bytes = [vec![0xff; 64], b"\x00\x00".to_vec(), fragment(2, closed, b"of no sequence"), Vec::new()];
    a_flood_drowns_a_neighbour(Relay::builder(), &bytes);
}

/// Names without end, of which none has an address.
#[test]
fn a_flood_of_names_leaves_neighbours_served() {
    let server = DnsServer::dead();
    let bytes: Vec<Vec<u8>> =
        (0..500).map(|n| wrap_name(format!("n{n}.example").as_bytes(), 9, b"to nobody")).collect();
    a_flood_drowns_a_neighbour(Relay::builder().dns(&server), &bytes);
}

/// HAZARD 49 from the other side: a target that answers without pause, to a client that does not read.
#[test]
fn a_flood_from_a_target_leaves_neighbours_served() {
    let stand = Stand::new(Sides::V4_TO_V4);
    let external = stand.fence();
    let (quiet, echo) = (Association::open(stand.relay.addr()), Echo::on(V4));
    let stop = AtomicBool::new(false);
    let (sent, lost) = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = stand.target.socket.send_to(&[0x5a; 200], external);
            }
        });
        let counts = converse(&quiet, &echo, FLOOD, ENOUGH);
        stop.store(true, Ordering::Relaxed);
        counts
    });
    assert!(sent >= ENOUGH, "{sent} beside a flood");
    assert!(lost * 1000 < sent, "{lost} of {sent} lost");
    // The one who was flooded is served still, once it has read what came.
    stand.client.socket.set_read_timeout(Some(Duration::from_millis(200))).expect("read timeout");
    while stand.client.socket.recv_from(&mut [0; 512]).is_ok() {}
    stand.client.send(stand.target.addr, b"after it");
    let (payload, _) = receive(&stand.target.socket);
    assert_eq!(payload, b"after it");
}
