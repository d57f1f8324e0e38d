//! Messages that are not what the client sent, or not under what was agreed on: the session ends, the target gets no
//! byte of them, and no clean end either (HAZARD 7).

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use crate::gssapi_realm::realm;
use crate::gssapi_session::every_level;
use crate::support::Relay;
use crate::support::gss::{ABORT, AUTHENTICATION, ENCAPSULATED, GssClient, PROTECTION, frame};
use crate::support::origin::pattern;
use crate::support::pairs::{Listener, Shape};
use crate::support::realm::Realm;

protected!(
    a_message_that_is_not_the_clients_ends_the_stream,
    a_wrong_frame_ends_the_stream,
    a_fault_in_the_segment_of_the_request_is_found,
    a_message_cut_by_the_fin_ends_in_a_reset
);

/// What is sent behind the message `before`, which the target has read; the messages of it that are good.
type Fault = fn(&mut GssClient) -> (Vec<u8>, &'static [u8]);

fn open(relay: &Relay, realm: &Realm, level: u8) -> (GssClient, TcpStream) {
    let listener = Listener::new(Shape::Plain);
    let mut client = GssClient::through(relay.addr(), realm, level, listener.addr());
    let mut target = listener.accept();
    client.send(b"before");
    let mut heard = [0; 6];
    target.read_exact(&mut heard).expect("the message before");
    assert_eq!(&heard, b"before");
    (client, target)
}

/// All that the target hears up to a reset; a FIN is a fault.
fn up_to_the_reset(mut target: TcpStream, what: &str) -> Vec<u8> {
    let mut heard = Vec::new();
    match target.read_to_end(&mut heard) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => heard,
        Ok(_) => panic!("{what}: a clean end after {heard:02x?}"),
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Runs each fault in a session of its own.
fn each(level: u8, faults: &[(&str, Fault)]) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    for (n, (what, fault)) in faults.iter().enumerate() {
        let (mut client, target) = open(&relay, realm, level);
        let (mut bytes, good) = fault(&mut client);
        bytes.extend(client.seal(b"AFTER"));
        client.client.send(&bytes);
        let heard = up_to_the_reset(target, what);
        // A reset may overtake what was good.
        assert!(good.starts_with(&heard), "{what}: the target heard {:02x?}", &heard[..heard.len().min(64)]);
        client.client.drain_to_end();
        let record = &relay.records(n + 1)[n];
        let reason = record["reason"].as_str().expect("a reason");
        assert!(
            !["", "completed", "idle", "target_reset", "client_reset", "internal"].contains(&reason),
            "{what}: {record}"
        );
        assert!(
            record["bytes_up"].as_u64().is_some_and(|up| up <= 6 + good.len() as u64),
            "{what}: {record}"
        );
    }
}

/// A message whose byte at `at` from the end was changed.
fn changed(client: &mut GssClient, at: usize) -> Vec<u8> {
    let mut sealed = client.seal(b"TAMPERED WITH");
    let place = sealed.len() - 1 - at;
    sealed[place] ^= 0x01;
    sealed
}

fn a_message_that_is_not_the_clients_ends_the_stream(level: u8) {
    each(
        level,
        &[
            ("its last byte changed", |client| (changed(client, 0), b"")),
            ("a byte of its middle changed", |client| (changed(client, 14), b"")),
            ("its token's first byte changed", |client| {
                let mut sealed = client.seal(b"TAMPERED WITH");
                sealed[4] ^= 0x01;
                (sealed, b"")
            }),
            ("its flags changed", |client| {
                let mut sealed = client.seal(b"TAMPERED WITH");
                sealed[4 + 2] ^= 0x02;
                (sealed, b"")
            }),
            ("its sequence number changed", |client| {
                let mut sealed = client.seal(b"TAMPERED WITH");
                sealed[4 + 15] ^= 0x01;
                (sealed, b"")
            }),
            ("sent twice", |client| {
                let sealed = client.seal(b"once");
                ([sealed.clone(), sealed].concat(), b"once")
            }),
            ("sent again much later", |client| {
                let first = client.seal(b"1");
                let others: Vec<u8> = (0..20).flat_map(|_| client.seal(b"2")).collect();
                ([first.clone(), others, first].concat(), b"122222222222222222222")
            }),
            ("out of order", |client| {
                let (first, second) = (client.seal(b"FIRST"), client.seal(b"SECOND"));
                ([second, first].concat(), b"")
            }),
            ("one is missing", |client| {
                client.seal(b"MISSING");
                (client.seal(b"NEXT"), b"")
            }),
            ("from another direction", |client| {
                // What the server itself has wrapped comes back to it.
                let own = client.gss.wrap(b"MIRRORED", true);
                (frame(ENCAPSULATED, &mirrored(own)), b"")
            }),
        ],
    );
}

/// A token that says it is the acceptor's (RFC 4121 section 4.2.2, bit 0 of the flags).
fn mirrored(mut token: Vec<u8>) -> Vec<u8> {
    token[2] ^= 0x01;
    token
}

fn a_wrong_frame_ends_the_stream(level: u8) {
    each(
        level,
        &[
            ("a token message", |client| (frame(AUTHENTICATION, &client.gss.wrap(b"DATA", true)), b"")),
            ("a level message", |client| (frame(PROTECTION, &client.gss.wrap(&[0], false)), b"")),
            ("an unknown type", |client| (frame(0x04, &client.gss.wrap(b"DATA", true)), b"")),
            ("giving up", |_| (ABORT.to_vec(), b"")),
            ("version 5", |client| ([&[5], &client.seal(b"DATA")[1..]].concat(), b"")),
            ("an empty token", |_| (frame(ENCAPSULATED, b""), b"")),
            ("one byte", |_| (frame(ENCAPSULATED, &[5]), b"")),
            ("junk as long as can be", |_| (frame(ENCAPSULATED, &pattern(0, 65_535)), b"")),
            ("the plain text in a frame", |_| (frame(ENCAPSULATED, b"DATA"), b"")),
            ("the plain text", |_| (b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"")),
            ("a cut token", |client| {
                let token = client.gss.wrap(b"DATA", true);
                (frame(ENCAPSULATED, &token[..token.len() - 1]), b"")
            }),
            ("a token with a byte behind it", |client| {
                let token = client.gss.wrap(b"DATA", true);
                (frame(ENCAPSULATED, &[&token[..], &[0]].concat()), b"")
            }),
        ],
    );
}

/// The request, a good message and one that is none, in one segment: the relay begins and ends in the same turn.
fn a_fault_in_the_segment_of_the_request_is_found(level: u8) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let faults: [Fault; 3] = [
        |client| (changed(client, 0), b""),
        |client| ([client.seal(b"good"), frame(ENCAPSULATED, b"DATA")].concat(), b"good"),
        |_| (b"GET / HTTP/1.1\r\n\r\n".to_vec(), b""),
    ];
    for (n, fault) in faults.iter().enumerate() {
        for finishes in [false, true] {
            let listener = Listener::new(Shape::Plain);
            let mut client = GssClient::at_level(relay.addr(), realm, level);
            let mut bytes = client.seal(&crate::support::client::connect_ip(listener.addr()));
            let (bad, good) = fault(&mut client);
            bytes.extend(bad);
            client.client.send(&bytes);
            if finishes {
                // It may have been reset by now.
                let _ = client.client.stream.shutdown(std::net::Shutdown::Write);
            }
            let heard = up_to_the_reset(listener.accept(), "in the segment of the request");
            assert!(good.starts_with(&heard), "{heard:02x?}");
            client.client.drain_to_end();
            let record = &relay.records(2 * n + usize::from(finishes) + 1)[2 * n + usize::from(finishes)];
            assert_eq!(record["reason"], "protection", "{record}");
        }
    }
}

/// Level 2 was agreed on: a message that is not encrypted is not under it, though it is whole and in its turn.
#[test]
fn a_message_without_encryption_is_refused_at_level_2() {
    each(
        2,
        &[
            ("not encrypted", |client| (frame(ENCAPSULATED, &client.gss.wrap(b"READABLE", false)), b"")),
            ("an empty one that is not encrypted", |client| {
                (frame(ENCAPSULATED, &client.gss.wrap(b"", false)), b"")
            }),
        ],
    );
}

/// Level 2 was agreed on: a request that is not encrypted gets no reply of success, and no connection.
#[test]
fn a_request_without_encryption_is_refused_at_level_2() {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let origin = crate::support::Origin::echo();
    let mut client = GssClient::at_level(relay.addr(), realm, 2);
    let asked = crate::support::client::connect_ip(origin.addr);
    let token = client.gss.wrap(&asked, false);
    client.send_frame(ENCAPSULATED, &token);
    client.client.drain_to_end();
    assert_eq!(relay.record()["address"], serde_json::Value::Null);
    assert_eq!(origin.accepted(), 0);
}

/// The bytes of one session's message are nothing in another's.
#[test]
fn a_message_of_another_session_ends_the_stream() {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    let (mut first, _kept) = open(&relay, realm, 2);
    let (mut second, target) = open(&relay, realm, 2);
    let stolen = first.seal(b"STOLEN");
    second.client.send(&stolen);
    assert_eq!(up_to_the_reset(target, "stolen"), b"");
    second.client.drain_to_end();
}

/// A FIN within a message is no end of the stream: somebody has cut it.
fn a_message_cut_by_the_fin_ends_in_a_reset(level: u8) {
    let realm = realm!();
    let relay = every_level(Relay::builder(), realm);
    for at in [1, 3, 4, 20] {
        let (mut client, target) = open(&relay, realm, level);
        let sealed = client.seal(b"THE WHOLE MESSAGE");
        client.client.send(&sealed[..at]);
        client.client.finish();
        assert_eq!(up_to_the_reset(target, "cut"), b"", "cut at {at}");
        client.client.drain_to_end();
    }
    assert!(relay.records(4).iter().all(|record| record["reason"] != "completed"));
}
