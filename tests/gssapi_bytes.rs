//! Bulk under protection: both ways at once, slow readers, half-closes, resets.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::gssapi_realm::realm;
use crate::gssapi_session::every_level;
use crate::support::Relay;
use crate::support::client::{connect_ip, reset};
use crate::support::gss::{GssClient, Initiator, USUAL};
use crate::support::keyed::{End, Keyed};
use crate::support::origin::Origin;
use crate::support::pairs::{KIB, Listener, MIB, Shape, finish};
use crate::support::realm::Realm;
use crate::support::sealed::{Receiver, Sender, split};
use crate::support::wait::{self, PATIENCE};

/// A session whose far end is the test's, too.
fn open(relay: &Relay, realm: &Realm, level: u8, shape: Shape) -> (Sender, Receiver, TcpStream) {
    let listener = Listener::new(shape);
    let client = GssClient::through(relay.addr(), realm, level, listener.addr());
    let (sender, receiver) = split(client);
    (sender, receiver, listener.accept())
}

/// Both ways at once, in messages of odd lengths, to a clean end of each.
fn both_ways(level: u8, total: u64) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let (mut sender, mut receiver, target) = open(&relay, realm, level, Shape::Plain);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(sender.stream(&mut Keyed::new(1), total), "the server is gone");
            sender.finish();
        });
        scope.spawn(|| {
            Keyed::new(2).send(&target, total);
            finish(&target);
        });
        scope.spawn(|| Keyed::new(1).receive_all(&target, total));
        let mut keyed = Keyed::new(2);
        assert_eq!((receiver.receive_to_end(&mut keyed), keyed.count), (End::Fin, total));
    });
    let record = relay.record();
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&total.into(), &total.into()), "{record}");
    assert_eq!(record["reason"], "completed", "{record}");
}

#[test]
fn every_byte_of_100_megabytes_arrives() {
    both_ways(2, 100_000_000);
}

fn every_byte_of_a_bulk_transfer_arrives(level: u8) {
    both_ways(level, 8 * MIB);
}
protected!(
    every_byte_of_a_bulk_transfer_arrives,
    a_fin_arrives_behind_every_byte,
    slow_readers_cost_bounded_memory,
    a_reset_arrives_as_a_reset
);

/// The sender's FIN waits behind every byte, however long the reader does not read.
fn a_fin_arrives_behind_every_byte(level: u8) {
    const TOTAL: u64 = 6 * MIB;
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let (mut sender, mut receiver, target) = open(&relay, realm, level, Shape::Narrow);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(sender.stream(&mut Keyed::new(3), TOTAL), "the server is gone");
            sender.finish();
        });
        // The reader does nothing for a while: that is the case itself, no event stands for it.
        thread::sleep(Duration::from_secs(1));
        Keyed::new(3).receive_all(&target, TOTAL);
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            Keyed::new(4).send(&target, TOTAL);
            finish(&target);
        });
        thread::sleep(Duration::from_secs(1));
        let mut keyed = Keyed::new(4);
        assert_eq!((receiver.receive_to_end(&mut keyed), keyed.count), (End::Fin, TOTAL));
    });
    assert_eq!(relay.record()["reason"], "completed");
}

/// HAZARDS 35: what a protected client sends in tiny messages costs the server much more than the bytes say. Another
/// session on the same worker is answered all the while, before the flood's request and behind it.
#[test]
fn a_flood_of_tiny_messages_leaves_the_others_their_turns() {
    const MESSAGES: u32 = 60_000;
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let mut other = GssClient::through(relay.addr(), realm, 0, origin.addr);
    for (behind_the_request, body) in [(false, &b""[..]), (true, b""), (true, b"x")] {
        let mut client = GssClient::at_level(relay.addr(), realm, 2);
        let request = connect_ip(origin.addr);
        if behind_the_request {
            assert_eq!(client.request(0x01, origin.addr).rep, 0);
        }
        let flood = client.gss.flood(MESSAGES, body, true);
        let last = client.seal(if behind_the_request { b"!" } else { &request });
        let stream = client.client.stream.try_clone().expect("a second handle");
        let began = Instant::now();
        let longest = thread::scope(|scope| {
            scope.spawn(move || (&stream).write_all(&[flood, last].concat()).expect("send"));
            let flooded = scope.spawn(move || match behind_the_request {
                false => assert_eq!(client.reply().rep, 0),
                true => while client.recv_message().last() != Some(&b'!') {},
            });
            let mut longest = Duration::ZERO;
            while !flooded.is_finished() {
                let asked = Instant::now();
                other.send(b"ping");
                other.expect(b"ping");
                longest = longest.max(asked.elapsed());
            }
            longest
        });
        let all = began.elapsed();
        assert!(longest < all / 3, "{longest:?} of {all:?} for one answer: {body:?}, {behind_the_request}");
    }
}

/// Resident memory of the server.
pub(crate) fn resident(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).expect("read status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    KIB * line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number")
}

/// Sessions whose readers rest on both sides hold what their buffers hold, and work on afterwards.
fn slow_readers_cost_bounded_memory(level: u8) {
    const SESSIONS: u64 = 6;
    const TOTAL: u64 = 24 * MIB;
    const MOST: u64 = MIB;
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| open(&relay, realm, level, Shape::Narrow)).collect();
    let before = resident(&relay);
    thread::scope(|scope| {
        for (sender, receiver, target) in &mut sessions {
            let target = &*target;
            scope.spawn(move || {
                // Stops when the session is reset, at the end of the test.
                let _ = sender.stream(&mut Keyed::new(5), TOTAL);
            });
            scope.spawn(move || {
                let _ = Keyed::new(6).try_send(target, TOTAL);
            });
            scope.spawn(move || {
                // Nothing is read for a while: that is the case itself.
                thread::sleep(Duration::from_secs(2));
                let mut keyed = Keyed::new(6);
                while keyed.count < MIB {
                    keyed.insist(&receiver.message().expect("more of the stream"));
                }
                Keyed::new(5).receive(target, MIB);
                let _ = target.shutdown(std::net::Shutdown::Both);
            });
        }
        thread::sleep(Duration::from_millis(1200));
        let grown = resident(&relay).saturating_sub(before);
        assert!(grown < SESSIONS * MOST, "{grown} bytes for {SESSIONS} sessions");
    });
}

/// RFC 1961 section 6: a context is deleted when its connection is closed.
#[test]
fn contexts_are_deleted_with_their_sessions() {
    const SESSIONS: usize = 400;
    const MOST: u64 = MIB;
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let sessions = |count, mut gss| {
        for _ in 0..count {
            let mut client = GssClient::established_with(relay.addr(), gss, USUAL);
            assert_eq!(client.ask_level(2), Some(2));
            assert_eq!(client.request(0x01, origin.addr).rep, 0);
            gss = client.gss;
        }
        gss
    };
    let gss = sessions(SESSIONS / 4, Initiator::of(realm, "alice"));
    let before = resident(&relay);
    sessions(SESSIONS, gss);
    let grown = resident(&relay).saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes for {SESSIONS} sessions that are over");
}

/// RST in, RST out, both ways.
fn a_reset_arrives_as_a_reset(level: u8) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    for (n, len) in [0, 100, MIB].into_iter().enumerate() {
        let exchanged = || {
            let (mut sender, mut receiver, target) = open(&relay, realm, level, Shape::Plain);
            thread::scope(|scope| {
                scope.spawn(|| assert!(sender.stream(&mut Keyed::new(7), len), "the server is gone"));
                Keyed::new(7).receive(&target, len);
            });
            thread::scope(|scope| {
                scope.spawn(|| Keyed::new(8).send(&target, len));
                receiver.stream(&mut Keyed::new(8), len);
            });
            (sender, receiver, target)
        };
        let (sender, receiver, target) = exchanged();
        drop(receiver);
        reset(sender.into_stream());
        assert_eq!(Keyed::new(0).receive_to_end(&target), End::Reset, "after {len} bytes");
        relay.records(2 * n + 1);

        let (_sender, mut receiver, target) = exchanged();
        reset(target);
        assert_eq!(receiver.receive_to_end(&mut Keyed::new(0)), End::Reset, "after {len} bytes");
        let reasons: Vec<_> =
            relay.records(2 * n + 2).iter().map(|record| record["reason"].clone()).collect();
        assert_eq!(reasons[2 * n..], ["client_reset", "target_reset"]);
    }
}

/// A great many small messages: every one arrives, and none waits for another.
#[test]
fn small_messages_do_not_wait_for_each_other() {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let (mut sender, mut receiver, target) = open(&relay, realm, 2, Shape::Plain);
    let (mut there, mut back) = (Keyed::new(9), Keyed::new(10));
    let (mut seen_there, mut seen_back) = (Keyed::new(9), Keyed::new(10));
    let ((), lasted) = wait::timed(|| {
        for _ in 0..500 {
            assert!(sender.message(there.take(32)));
            seen_there.receive(&target, 32);
            back.send(&target, 32);
            receiver.stream(&mut seen_back, 32);
        }
    });
    // A delay of the kernel's, 40 ms, in each would be 20 s.
    assert!(lasted < PATIENCE, "500 round trips in {lasted:?}");
    assert!((0..20_000).all(|_| sender.message(there.take(1))));
    seen_there.receive(&target, 20_000);
}
