//! Requests, replies and messages under protection (RFC 1961 section 5).

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::gssapi_realm::realm;
use crate::support::client::{connect_ip, request};
use crate::support::gss::{ENCAPSULATED, GssClient, demand_levels, frame};
use crate::support::keyed::Keyed;
use crate::support::origin::{ClosedPort, Origin, V4, once, pattern};
use crate::support::pairs::{Listener, Shape};
use crate::support::realm::Realm;
use crate::support::relay::Builder;
use crate::support::{Client, Engine, Relay};

const ALL: [&str; 4] = ["none", "integrity", "per-message", "confidentiality"];
const BIND: u8 = 0x02;

/// A server that grants every level as it is asked for.
pub(crate) fn every_level(builder: Builder, realm: &Realm) -> Relay {
    demand_levels(builder, realm, &ALL).start()
}

levels!(
    every_byte_arrives_and_is_counted,
    one_fin_ends_its_own_direction,
    a_failed_request_gets_a_sealed_reply,
    both_replies_of_bind_are_sealed
);
protected!(
    many_messages_in_one_segment_all_arrive,
    empty_messages_end_nothing,
    payload_behind_the_request_arrives,
    a_message_arrives_whole_at_every_split
);

/// All of an echo, in small and large messages; the record counts the client's bytes, not those of the wrapping.
fn every_byte_arrives_and_is_counted(level: u8) {
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let mut client = GssClient::through(relay.addr(), realm, level, origin.addr);
    let mut sent = Keyed::new(u64::from(level));
    let mut total = 0;
    for length in [1, 2, 3, 100, 1448, 16_384, 60_000, 65_000, 7] {
        let bytes = sent.take(length);
        client.send(bytes);
        client.expect(bytes);
        total += length;
    }
    client.client.finish();
    client.client.expect_eof();
    let record = relay.record();
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&total.into(), &total.into()), "{record}");
    assert_eq!((&record["reason"], &record["user"]), (&"completed".into(), &"alice".into()), "{record}");
}

/// Level 0 is a session like any other: its bulk may be spliced, and arrives as it is.
#[test]
fn a_session_at_level_none_is_relayed_as_any_other() {
    let realm = realm!();
    for engine in [Engine::Copy, Engine::Splice] {
        let relay = every_level(Relay::builder().engine(engine), realm);
        let source = Origin::source(32 << 20);
        let mut client = GssClient::through(relay.addr(), realm, 0, source.addr);
        assert!(client.client.recv(32 << 20) == pattern(0, 32 << 20));
        client.client.expect_eof();
        client.client.finish();
        assert_eq!(relay.record()["bytes_down"], 32 << 20);
    }
}

/// Each direction ends for itself, first ours, then first the target's.
fn one_fin_ends_its_own_direction(level: u8) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let late = once(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("all of it, then a FIN");
        std::io::Write::write_all(&mut stream, b"said afterwards").expect("send");
        heard
    });
    let mut client = GssClient::through(relay.addr(), realm, level, late.addr);
    client.send(b"all of it");
    client.client.finish();
    client.expect(b"said afterwards");
    client.client.expect_eof();
    assert_eq!(late.join(), b"all of it");

    let early = once(|mut stream| {
        std::io::Write::write_all(&mut stream, b"hello").expect("send");
        stream.shutdown(std::net::Shutdown::Write).expect("FIN");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("all of it, then a FIN");
        heard
    });
    let mut client = GssClient::through(relay.addr(), realm, level, early.addr);
    client.expect(b"hello");
    client.client.expect_eof();
    client.send(b"still ");
    client.send(b"heard");
    client.client.finish();
    assert_eq!(early.join(), b"still heard");
    assert!(relay.records(2).iter().all(|record| record["reason"] == "completed"));
}

/// Refusals are wrapped as replies of success are, and readable before the end.
fn a_failed_request_gets_a_sealed_reply(level: u8) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let closed = ClosedPort::new();
    let zero = SocketAddr::new(V4, 0);
    let mut unknown_type = connect_ip(closed.addr);
    unknown_type[3] = 0x07;
    for (bytes, rep) in [
        (connect_ip(closed.addr), 0x05),
        (request(0x04, closed.addr), 0x07),
        (unknown_type, 0x08),
        (connect_ip(relay.addr()), 0x02),
    ] {
        let mut client = GssClient::at_level(relay.addr(), realm, level);
        client.send(&bytes);
        let reply = client.reply();
        assert_eq!(
            (reply.rep, reply.bound.ip().is_unspecified(), reply.bound.port()),
            (rep, true, zero.port())
        );
        client.client.expect_eof();
    }
    // A request under protection that is none: the client hears of it, or of nothing.
    let mut client = GssClient::at_level(relay.addr(), realm, level);
    client.send(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00");
    client.client.drain_to_end();
}

fn both_replies_of_bind_are_sealed(level: u8) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let mut client = GssClient::at_level(relay.addr(), realm, level);
    let first = client.request(BIND, SocketAddr::new(V4, 21));
    assert_eq!((first.rep, first.bound.ip()), (0, V4));
    let mut peer = Client::connect_from(SocketAddr::new(V4, 0), first.bound);
    let second = client.reply();
    assert_eq!((second.rep, second.bound), (0, peer.local()));
    client.send(b"question");
    peer.expect(b"question");
    peer.send(b"the answer");
    client.expect(b"the answer");
    client.client.finish();
    peer.expect_eof();
    peer.send(b"and more");
    peer.finish();
    client.expect(b"and more");
    client.client.expect_eof();
    let record = relay.record();
    assert_eq!((&record["command"], &record["reason"]), (&"bind".into(), &"completed".into()), "{record}");
}

/// Many messages in one segment are many messages.
fn many_messages_in_one_segment_all_arrive(level: u8) {
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let mut client = GssClient::through(relay.addr(), realm, level, origin.addr);
    let mut keyed = Keyed::new(1);
    let bodies: Vec<&[u8]> = (0..500).map(|n| keyed.take(n % 61)).collect();
    let burst: Vec<u8> = bodies.iter().flat_map(|body| client.seal(body)).collect();
    client.client.send(&burst);
    client.expect(&bodies.concat());
}

/// Level 3 leaves encryption to each message; the empty ones carry nothing, and end nothing.
fn empty_messages_end_nothing(level: u8) {
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let mut client = GssClient::through(relay.addr(), realm, level, origin.addr);
    for n in 0..20_u8 {
        client.send(b"");
        if level == 3 && n % 2 == 0 {
            let token = client.gss.wrap(&[n; 3], false);
            client.send_frame(ENCAPSULATED, &token);
        } else {
            client.send(&[n; 3]);
        }
        client.send(b"");
        client.expect(&[n; 3]);
    }
    client.client.finish();
    client.client.expect_eof();
    assert_eq!(relay.record()["bytes_up"], 60);
}

/// In the same message as the request, and in messages of the same segment behind it.
fn payload_behind_the_request_arrives(level: u8) {
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let mut client = GssClient::at_level(relay.addr(), realm, level);
    let payload = pattern(3, 30_000);
    client.send(&[&connect_ip(origin.addr), &payload[..]].concat());
    assert_eq!(client.reply().rep, 0);
    client.expect(&payload);
    client.client.finish();
    client.client.expect_eof();

    let mut client = GssClient::at_level(relay.addr(), realm, level);
    let mut burst = client.seal(&connect_ip(origin.addr));
    for part in payload.chunks(999) {
        burst.extend(client.seal(part));
    }
    client.client.send(&burst);
    client.client.finish();
    assert_eq!(client.reply().rep, 0);
    client.expect(&payload);
    client.client.expect_eof();
    for record in relay.records(2) {
        assert_eq!(
            (&record["bytes_up"], &record["reason"]),
            (&30_000.into(), &"completed".into()),
            "{record}"
        );
    }
}

/// A message arrives in two pieces, cut at each of its bytes.
fn a_message_arrives_whole_at_every_split(level: u8) {
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let mut client = GssClient::through(relay.addr(), realm, level, origin.addr);
    let length = client.seal(b"fifteen octets.").len();
    // The one that was made to be measured is missing now, which is a fault: a new session.
    let mut client = GssClient::through(relay.addr(), realm, level, origin.addr);
    for at in 1..length {
        let sealed = client.seal(b"fifteen octets.");
        assert_eq!(sealed.len(), length);
        client.client.send(&sealed[..at]);
        client.client.wait_until_read();
        client.client.send(&sealed[at..]);
        client.expect(b"fifteen octets.");
    }
}

/// A slow link takes longer for a message than the idle limit is long.
#[test]
fn a_message_that_trickles_in_is_not_idle() {
    const IDLE: u64 = 1000;
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder().timeout("idle", IDLE), realm), Origin::echo());
    let mut client = GssClient::through(relay.addr(), realm, 2, origin.addr);
    let message = client.seal(b"a slow one");
    let (pieces, rest) = message.split_at(25);
    for piece in pieces.chunks(1) {
        client.client.send(piece);
        thread::sleep(Duration::from_millis(IDLE / 10));
    }
    client.client.send(rest);
    client.expect(b"a slow one");
}

/// The target must not take the FIN of a session that is given up for the end of what the client had to say.
#[test]
fn half_a_message_at_the_idle_limit_ends_in_a_reset() {
    let realm = realm!();
    let relay = every_level(Relay::builder().timeout("idle", 300), realm);
    for half in [false, true] {
        let listener = Listener::new(Shape::Plain);
        let mut client = GssClient::through(relay.addr(), realm, 2, listener.addr());
        let mut target = listener.accept();
        let message = client.seal(b"all of it");
        client.client.send(if half { &message[..message.len() - 1] } else { &message });
        let mut arrived = Vec::new();
        match (half, target.read_to_end(&mut arrived)) {
            (false, Ok(_)) => assert_eq!(arrived, b"all of it"),
            (true, Err(error)) => {
                assert_eq!((error.kind(), &arrived[..]), (ErrorKind::ConnectionReset, &b""[..]))
            }
            (_, how) => panic!("{how:?}, half a message: {half}"),
        }
    }
    assert!(relay.records(2).iter().all(|record| record["reason"] == "idle"));
}

/// What goes over the wire under each level: the text itself at 0 and 1, and nothing of it at 2.
#[test]
fn a_recording_shows_what_its_level_leaves_readable() {
    let realm = realm!();
    let (relay, origin) = (every_level(Relay::builder(), realm), Origin::echo());
    let secret = b"the plain text that nobody else is to see";
    let holds = |recording: &[u8], text: &[u8]| recording.windows(text.len()).any(|window| window == text);
    for level in [0, 1, 2] {
        let mut client = GssClient::at_level(relay.addr(), realm, level);
        let asked = connect_ip(origin.addr);
        let mut sent = client.seal(&asked);
        client.client.send(&sent);
        let mut received = Vec::new();
        let mut said = Vec::new();
        if level == 0 {
            received.extend(client.client.recv(10));
        } else {
            let token = client.recv_frame(ENCAPSULATED);
            received.extend(frame(ENCAPSULATED, &token));
            said.extend(client.open(&token));
            assert_eq!(said[1], 0, "the reply: {said:02x?}");
        }
        let sealed = client.seal(secret);
        client.client.send(&sealed);
        sent.extend(sealed);
        let mut echoed = 0;
        while echoed < secret.len() {
            let bytes = if level == 0 {
                let bytes = client.client.recv(secret.len());
                received.extend(&bytes);
                bytes
            } else {
                let token = client.recv_frame(ENCAPSULATED);
                received.extend(frame(ENCAPSULATED, &token));
                client.open(&token)
            };
            assert_eq!(bytes, secret[echoed..echoed + bytes.len()]);
            echoed += bytes.len();
        }
        for (way, recording) in [("sent", &sent), ("received", &received)] {
            assert_eq!(holds(recording, secret), level != 2, "{way} at level {level}");
            let pieces = secret.windows(6).filter(|piece| holds(recording, piece)).count();
            assert!(level != 2 || pieces == 0, "{way} at level {level}: pieces of the text");
        }
        assert_eq!(holds(&sent, &asked), level != 2, "the request at level {level}");
        assert!(level != 2 || !holds(&received, &said), "the reply at level {level}");
    }
}
