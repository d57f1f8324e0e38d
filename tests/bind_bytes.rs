//! The relay behind BIND is the one behind CONNECT: bytes, half-closes and resets, over both engines and families.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::thread;

use crate::bind::{bind, peer};
use crate::support::client::{request, reset};
use crate::support::keyed::{End, Keyed};
use crate::support::origin::{V4, V6};
use crate::support::pairs::{
    KIB, MIB, Pair, Shape, WAYS, Way, connect, expect_method, expect_success, finish,
};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Relay};

ways!(auto: every_byte_of_a_bulk_transfer_arrives, one_fin_ends_its_own_direction, a_reset_arrives_as_a_reset);
engines!(payload_behind_the_request_arrives_once);

/// A session through BIND; the target is the peer that came.
fn open(relay: &Relay, ip: IpAddr) -> Pair {
    let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip, 21));
    let peer = peer(ip, bound);
    assert_eq!(client.reply().bound, peer.local());
    Pair { client: client.stream, target: peer.stream }
}

/// The reason, and the bytes up and down, of the session from this client.
fn record(relay: &Relay, client: SocketAddr) -> (String, u64, u64) {
    let client = client.to_string();
    let record = wait::until("the session's access record", PATIENCE, || {
        relay.records_now().into_iter().find(|record| record["client"] == *client)
    });
    let number = |field: &str| record[field].as_u64().expect("a number");
    let reason = record["reason"].as_str().expect("a word").to_owned();
    (reason, number("bytes_up"), number("bytes_down"))
}

/// Bulk one way, then both ways at once.
fn every_byte_of_a_bulk_transfer_arrives(engine: Engine, way: Way) {
    const TOTAL: u64 = 24 * MIB;
    let relay = Relay::builder().engine(engine).start();
    for ip in [V4, V6] {
        let pair = open(&relay, ip);
        let (from, to) = pair.ends(way);
        thread::scope(|scope| {
            scope.spawn(|| Keyed::new(1).send(from, TOTAL));
            Keyed::new(1).receive(to, TOTAL);
        });
        thread::scope(|scope| {
            for way in WAYS {
                let (from, to) = pair.ends(way);
                scope.spawn(move || {
                    Keyed::new(2).send(from, TOTAL);
                    finish(from);
                });
                scope.spawn(move || Keyed::new(2).receive_all(to, TOTAL));
            }
        });
        let (reason, up, down) = record(&relay, pair.name());
        assert_eq!((reason.as_str(), up + down), ("completed", 3 * TOTAL));
        assert_eq!(up.abs_diff(down), TOTAL);
    }
}

/// After the FIN of one direction the other works on.
fn one_fin_ends_its_own_direction(engine: Engine, way: Way) {
    let relay = Relay::builder().engine(engine).start();
    for ip in [V4, V6] {
        let pair = open(&relay, ip);
        let (from, to) = pair.ends(way);
        Keyed::new(3).send(from, 10);
        finish(from);
        Keyed::new(3).receive_all(to, 10);
        let (mut sent, mut received) = (Keyed::new(4), Keyed::new(4));
        for len in [1, 32, 20_000, 3 * MIB, 7] {
            thread::scope(|scope| {
                scope.spawn(|| sent.send(to, len));
                received.receive(from, len);
            });
        }
        finish(to);
        received.receive_all(from, received.count);
        let (reason, up, down) = record(&relay, pair.name());
        assert_eq!((reason.as_str(), up + down), ("completed", 10 + received.count));
    }
}

/// RST in, RST out.
fn a_reset_arrives_as_a_reset(engine: Engine, way: Way) {
    let relay = Relay::builder().engine(engine).start();
    for ip in [V4, V6] {
        for len in [0, 100, 4 * MIB] {
            let pair = open(&relay, ip);
            pair.exchange(5, len);
            let name = pair.name();
            let (from, to) = pair.into_ends(way);
            reset(from);
            assert_eq!(Keyed::new(0).receive_to_end(&to), End::Reset, "after {len} bytes each way");
            let (reason, up, down) = record(&relay, name);
            let culprit = if way == Way::Up { "client_reset" } else { "target_reset" };
            assert_eq!((reason.as_str(), up, down), (culprit, len, len));
        }
    }
}

/// HAZARD 1: what the client sends behind its BIND belongs to the peer, once.
fn payload_behind_the_request_arrives_once(engine: Engine) {
    let relay = Relay::builder().engine(engine).start();
    let mut sent = Keyed::new(6);
    let burst = [&[5, 1, 0][..], &request(0x02, SocketAddr::new(V4, 21)), sent.take(64 * 1024)].concat();
    let mut client = connect(relay.addr(), Shape::Plain);
    client.write_all(&burst).expect("send everything at once");
    expect_method(&client);
    let bound = expect_success(&client);
    let peer = peer(V4, bound);
    assert_eq!(expect_success(&client), peer.local());
    let pair = Pair { client, target: peer.stream };
    let mut received = Keyed::new(6);
    received.receive(&pair.target, 64 * KIB);
    thread::scope(|scope| {
        scope.spawn(|| sent.send(&pair.client, MIB));
        received.receive(&pair.target, MIB);
    });
    let name = pair.name();
    pair.finish();
    assert_eq!(record(&relay, name), ("completed".to_owned(), 64 * KIB + MIB, 0));
}
