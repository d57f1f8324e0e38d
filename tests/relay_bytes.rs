//! Every byte once and in order: pipelined payload, odd chunks, both directions at once, urgent data.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::Engine;
use crate::support::client::connect_ip;
use crate::support::keyed::{End, Keyed};
use crate::support::pairs::{
    KIB, MIB, Pair, Shape, Stand, WAYS, Way, connect, expect_method, expect_success, finish, local,
    one_of_three, transfer,
};

engines!(payload_behind_the_request_arrives_once, short_sessions_and_a_large_transfer_keep_their_own_bytes);
ways!(auto: odd_chunks_arrive_whole, ping_pong_is_not_corked);
ways!(auto: urgent_data_does_not_stall_the_stream, urgent_data_alone_leaves_the_session_as_it_was);

/// HAZARDS 1: what the client sends behind its request belongs to the target, once.
fn payload_behind_the_request_arrives_once(engine: Engine) {
    let stand = Stand::new(engine);
    let mut sent = Keyed::new(1);
    let mut burst = vec![5, 1, 0];
    burst.extend(connect_ip(stand.target.addr()));
    burst.extend(sent.take(64 * 1024));
    let mut client = connect(stand.relay.addr(), Shape::Plain);
    client.write_all(&burst).expect("send everything at once");
    expect_method(&client);
    expect_success(&client);
    let target = stand.target.accept();
    let mut received = Keyed::new(1);
    received.receive(&target, 64 * KIB);
    thread::scope(|scope| {
        scope.spawn(|| sent.send(&client, MIB));
        received.receive(&target, MIB);
    });
    finish(&client);
    received.receive_all(&target, 64 * KIB + MIB);
    drop(target);
    assert_eq!(Keyed::new(2).receive_to_end(&client), End::Fin);
    let record = stand.record(local(&client));
    assert_eq!((record.up, record.down), (64 * KIB + MIB, 0));
}

/// Chunks that fit neither segment, page, buffer nor pipe, at both ends.
fn odd_chunks_arrive_whole(engine: Engine, way: Way) {
    const TOTAL: u64 = 10 * MIB;
    const SIZES: [u64; 8] = [1, 7, 1447, 4097, 65_537, 131_071, 3, 200_003];
    let stand = Stand::new(engine);
    let pair = stand.open();
    let (from, to) = pair.ends(way);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = Keyed::new(3);
            for &size in SIZES.iter().cycle() {
                sent.send(from, size.min(TOTAL - sent.count));
                if sent.count == TOTAL {
                    return finish(from);
                }
            }
        });
        let mut received = Keyed::new(3);
        for &size in SIZES.iter().rev().cycle().take(40) {
            received.receive(to, size);
        }
        received.receive_all(to, TOTAL);
    });
}

/// Two halves that both stay full do not mix, and neither waits for the other.
fn both_directions_at_once_keep_their_own_bytes(engine: Engine) {
    const TOTAL: u64 = 48 * MIB;
    let stand = Stand::new(engine);
    let pair = stand.open();
    thread::scope(|scope| {
        for (key, way) in [(4, Way::Up), (5, Way::Down)] {
            let (from, to) = pair.ends(way);
            scope.spawn(move || {
                Keyed::new(key).send(from, TOTAL);
                finish(from);
            });
            scope.spawn(move || Keyed::new(key).receive_all(to, TOTAL));
        }
    });
    let record = stand.record(pair.name());
    assert_eq!((record.up, record.down, record.reason.as_str()), (TOTAL, TOTAL, "completed"));
}

mod both_directions_at_once_keep_their_own_bytes {
    use super::Engine;

    #[test]
    fn copy() {
        super::both_directions_at_once_keep_their_own_bytes(Engine::Copy);
    }

    #[test]
    fn splice() {
        super::both_directions_at_once_keep_their_own_bytes(Engine::Splice);
    }

    #[test]
    fn auto() {
        super::both_directions_at_once_keep_their_own_bytes(Engine::Auto);
    }
}

/// With MORE on the last chunk (invariant 6) a round trip takes 200 ms and longer. Also after bulk, when a
/// half may still be a spliced one.
fn ping_pong_is_not_corked(engine: Engine, way: Way) {
    let stand = Stand::new(engine);
    let pair = stand.open();
    ping_pong_is_quick(&pair, way);
    for bulk in WAYS {
        let (from, to) = pair.ends(bulk);
        transfer(from, to, 6, 8 * MIB);
    }
    ping_pong_is_quick(&pair, way);
}

fn ping_pong_is_quick(pair: &Pair, way: Way) {
    let (near, far) = pair.ends(way);
    let (mut there, mut back) = (Keyed::new(7), Keyed::new(8));
    let (mut seen_there, mut seen_back) = (Keyed::new(7), Keyed::new(8));
    let mut took = Duration::ZERO;
    let quick = one_of_three(|| {
        let start = Instant::now();
        for _ in 0..50 {
            there.send(near, 32);
            seen_there.receive(far, 32);
            back.send(far, 32);
            seen_back.receive(near, 32);
        }
        took = start.elapsed();
        took < Duration::from_secs(1)
    });
    assert!(quick, "50 round trips took {took:?}");
}

/// splice stops before an urgent byte with EAGAIN although the socket is readable; recv steps over it.
fn urgent_data_does_not_stall_the_stream(engine: Engine, way: Way) {
    const BEFORE: u64 = 300 * KIB;
    const TOTAL: u64 = BEFORE + 2 * MIB;
    let stand = Stand::new(engine);
    let pair = stand.open();
    let (from, to) = pair.ends(way);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = Keyed::new(9);
            sent.send(from, BEFORE);
            SockRef::from(from).send_out_of_band(b"!").expect("send the urgent byte");
            sent.send(from, TOTAL - BEFORE);
            finish(from);
        });
        Keyed::new(9).receive_all(to, TOTAL);
    });
}

/// An urgent byte alone, and then silence, leaves the session as it was and the server at rest.
fn urgent_data_alone_leaves_the_session_as_it_was(engine: Engine, way: Way) {
    let stand = Stand::new(engine);
    let pair = stand.open();
    let (from, to) = pair.ends(way);
    for key in [10, 11] {
        pair.exchange(key, 256 * KIB);
        SockRef::from(from).send_out_of_band(b"!").expect("send the urgent byte");
        let at_rest = one_of_three(|| {
            let before = stand.relay.cpu_seconds();
            thread::sleep(Duration::from_millis(200));
            stand.relay.cpu_seconds() - before < 0.1
        });
        assert!(at_rest, "the server spins over an urgent byte");
    }
    pair.exchange(12, 256 * KIB);
    SockRef::from(from).send_out_of_band(b"!").expect("send the urgent byte");
    finish(from);
    Keyed::new(0).receive_all(to, 0);
}

/// A large transfer and 200 short sessions do not touch each other's bytes.
fn short_sessions_and_a_large_transfer_keep_their_own_bytes(engine: Engine) {
    const TOTAL: u64 = 256 * MIB;
    let stand = Stand::new(engine);
    let large = stand.open();
    let mut short = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            Keyed::new(13).send(&large.target, TOTAL);
            finish(&large.target);
        });
        scope.spawn(|| Keyed::new(13).receive_all(&large.client, TOTAL));
        short.extend((0..200).map(|key| (short_session(&stand, key), key)));
    });
    let name = large.name();
    finish(&large.client);
    Keyed::new(0).receive_all(&large.target, 0);
    for record in stand.records(201) {
        let key = short.iter().find(|(client, _)| *client == record.client).map(|(_, key)| key);
        let truth = match key {
            Some(key) => (100, KIB + key),
            None => (0, TOTAL),
        };
        assert_eq!((record.up, record.down), truth, "{record:?} {name}");
        assert_eq!(record.reason, "completed", "{record:?}");
    }
}

fn short_session(stand: &Stand, key: u64) -> std::net::SocketAddr {
    let pair = stand.open();
    Keyed::new(key).send(&pair.client, 100);
    Keyed::new(key).receive(&pair.target, 100);
    Keyed::new(!key).send(&pair.target, KIB + key);
    finish(&pair.target);
    Keyed::new(!key).receive_all(&pair.client, KIB + key);
    finish(&pair.client);
    Keyed::new(0).receive_all(&pair.target, 0);
    pair.name()
}
