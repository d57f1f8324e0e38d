//! Greeting and sub-negotiation as bytes on a socket: splits, floods, foreign protocols, slowness.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::client::{connect_ip, userpass};
use crate::support::origin::pattern;
use crate::support::pairs::{expect_method, expect_success};
use crate::support::wait::timed;
use crate::support::{Client, Engine, Origin, Relay};

const ALICE: &[(&str, &[u8])] = &[("alice", b"wonderland")];

/// Sends `stream` in the pieces that `cuts` makes, each read by the relay before the next is sent, and checks
/// that the answers and the payload that comes back are the same as ever.
fn converse_in_pieces(relay: SocketAddr, stream: &[u8], cuts: &[usize], wanted: &[u8]) {
    let mut client = Client::connect(relay);
    let mut from = 0;
    for &cut in cuts.iter().chain([&stream.len()]) {
        client.send(&stream[from..cut]);
        client.wait_until_read();
        from = cut;
    }
    let head = client.recv(wanted.len());
    assert!(head == wanted, "cut at {cuts:?}: {head:02x?}");
    // The rest of the reply is BND, which differs from session to session.
    let bound = client.recv(6);
    assert_ne!(bound[4..], [0, 0], "cut at {cuts:?}: BND port");
    client.expect(b"payload");
}

/// HAZARD 1: a message split at any byte, or sent byte by byte, means what it meant whole.
#[test]
fn a_greeting_and_request_mean_the_same_at_every_split() {
    let (relay, origin) = (Relay::start(), Origin::echo());
    let stream = [&[0x05, 0x01, 0x00][..], &connect_ip(origin.addr), b"payload"].concat();
    let wanted = [0x05, 0x00, 0x05, 0x00, 0x00, 0x01];
    for cut in 0..stream.len() {
        converse_in_pieces(relay.addr(), &stream, &[cut], &wanted);
    }
    let each: Vec<usize> = (1..stream.len()).collect();
    converse_in_pieces(relay.addr(), &stream, &each, &wanted);
}

/// HAZARD 1: a login split at any byte, or sent byte by byte, means what it meant whole.
#[test]
fn a_login_means_the_same_at_every_split() {
    // Byte by byte it takes a while on a busy machine, and the deadline is another test's.
    let (relay, origin) =
        (Relay::builder().users(ALICE).timeout("handshake", 60_000).start(), Origin::echo());
    let login = userpass(b"alice", b"wonderland");
    let stream = [&[0x05, 0x02, 0x00, 0x02][..], &login, &connect_ip(origin.addr), b"payload"].concat();
    let wanted = [0x05, 0x02, 0x01, 0x00, 0x05, 0x00, 0x00, 0x01];
    for cut in 0..stream.len() {
        converse_in_pieces(relay.addr(), &stream, &[cut], &wanted);
    }
    let each: Vec<usize> = (1..stream.len()).collect();
    converse_in_pieces(relay.addr(), &stream, &each, &wanted);
}

/// HAZARD 1: everything in one write with 64 KiB behind it: replies in order, the payload delivered once.
fn payload_behind_the_request_arrives_once(engine: Engine) {
    let (relay, origin) = (Relay::builder().engine(engine).users(ALICE).start(), Origin::echo());
    let payload = pattern(0, 64 * 1024);
    let login = userpass(b"alice", b"wonderland");
    let mut client = Client::connect(relay.addr());
    client.send(&[&[0x05, 0x01, 0x02][..], &login, &connect_ip(origin.addr), &payload].concat());
    client.finish();
    client.expect(&[0x05, 0x02, 0x01, 0x00]);
    assert_eq!(client.reply().rep, 0);
    let echoed = client.recv_to_eof();
    assert!(echoed == payload, "{} bytes came back of {}", echoed.len(), payload.len());
    let record = relay.record();
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&65536.into(), &65536.into()), "{record}");
}
engines!(payload_behind_the_request_arrives_once);

/// HAZARD 2: none offered where a password is demanded; what is pipelined behind it is not parsed.
#[test]
fn a_session_without_the_demanded_method_ends() {
    let (relay, origin) = (Relay::builder().users(ALICE).start(), Origin::echo());
    let mut client = Client::connect(relay.addr());
    client.send(&[&[0x05, 0x01, 0x00][..], &connect_ip(origin.addr)].concat());
    client.expect(&[0x05, 0xff]);
    client.expect_eof();
    assert_eq!(relay.record()["reason"], "no_method");
    assert_eq!(origin.accepted(), 0);
}

/// HAZARD 5: a sub-negotiation of another version, or with a length of zero, fails and ends the session.
#[test]
fn a_malformed_login_fails() {
    let (relay, origin) = (Relay::builder().users(ALICE).start(), Origin::echo());
    let mut malformed: Vec<Vec<u8>> = [0x00, 0x02, 0x05, 0xff]
        .iter()
        .map(|version| [&[*version][..], &userpass(b"alice", b"wonderland")[1..]].concat())
        .collect();
    malformed.push(userpass(b"", b"wonderland"));
    malformed.push(userpass(b"alice", b""));
    malformed.push(userpass(b"", b""));
    for (i, login) in malformed.iter().enumerate() {
        let source = SocketAddr::from(([127, 0, 5, i as u8 + 1], 0));
        let mut client = Client::connect_from(source, relay.addr());
        client.send(&[&[0x05, 0x01, 0x02][..], login, &connect_ip(origin.addr)].concat());
        client.expect(&[0x05, 0x02]);
        let answer = client.recv_to_eof();
        assert!(
            answer.len() == 2 && answer[0] == 0x01 && answer[1] != 0,
            "{login:02x?} was answered with {answer:02x?}"
        );
    }
    relay.records(malformed.len());
    assert_eq!(origin.accepted(), 0);
}

/// HAZARD 5: authentication before the greeting is no greeting.
#[test]
fn a_login_before_the_greeting_is_no_greeting() {
    let relay = Relay::builder().users(ALICE).start();
    let mut client = Client::connect(relay.addr());
    client.send(&userpass(b"alice", b"wonderland"));
    client.expect_eof();
    assert_eq!(relay.record()["reason"], "protocol");
}

/// HAZARD 6: no method, unknown methods, 255 of them without ours: 05 FF, then the end.
#[test]
fn a_greeting_without_our_method_is_refused() {
    let relay = Relay::start();
    let mut many = vec![0x05, 0xff];
    many.extend((1..=254).chain([0xff]));
    let without: [&[u8]; 5] =
        [&[0x05, 0x00], &[0x05, 0x01, 0x02], &[0x05, 0x03, 0x80, 0xfe, 0x80], &[0x05, 0x01, 0xff], &many];
    for greeting in without {
        let mut client = Client::connect(relay.addr());
        client.send(greeting);
        client.expect(&[0x05, 0xff]);
        client.expect_eof();
    }
    for record in relay.records(without.len()) {
        assert_eq!(record["reason"], "no_method");
    }
}

/// HAZARD 6: ours among 255, or repeated, is ours.
#[test]
fn a_long_or_repetitive_greeting_is_accepted() {
    let relay = Relay::start();
    let mut many = vec![0x05, 0xff];
    many.extend((0..=254).rev());
    for greeting in [&many[..], &[0x05, 0x04, 0x00, 0x00, 0x00, 0x00], &[0x05, 0x03, 0x80, 0x02, 0x00]] {
        let mut client = Client::connect(relay.addr());
        client.send(greeting);
        client.expect(&[0x05, 0x00]);
    }
}

/// HAZARD 6: a browser that takes us for an HTTP proxy is told so.
#[test]
fn an_http_client_gets_a_hint() {
    let relay = Relay::start();
    let requests: [&[u8]; 4] = [
        b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        b"G",
    ];
    for request in requests {
        let mut client = Client::connect(relay.addr());
        client.send(request);
        let hint = String::from_utf8(client.recv_to_eof()).expect("text");
        assert!(hint.starts_with("HTTP/1.") && hint.contains(" 400 "), "{hint:?}");
    }
    for record in relay.records(requests.len()) {
        assert_eq!(record["reason"], "http");
    }
}

/// HAZARD 6: protocols that are none of ours get no answer at all.
#[test]
fn a_foreign_protocol_gets_no_answer() {
    let relay = Relay::start();
    // One that begins TLS gets an alert.
    let openings: [&[u8]; 2] = [&[0x00], &[0xff, 0xff]];
    for opening in openings {
        let mut client = Client::connect(relay.addr());
        client.send(opening);
        client.expect_eof();
    }
    for record in relay.records(openings.len()) {
        assert_eq!(record["reason"], "protocol");
    }
}

/// Sends `opening`, then one byte of `rest` every 100 ms, until the relay closes; gives the time from the
/// connect to the close.
fn dribble(relay: SocketAddr, opening: &[u8], answer: &[u8], rest: &[u8]) -> Duration {
    let (mut client, connecting) = timed(|| Client::connect(relay));
    let ((), lasting) = timed(|| {
        client.send(opening);
        client.expect(answer);
        for &byte in rest {
            if !client.silent_for(Duration::from_millis(100)) || client.try_send(&[byte]).is_err() {
                return;
            }
        }
        panic!("{} bytes at leisure and still open", rest.len());
    });
    client.drain_to_end(); // a login that was not finished may be told so
    connecting + lasting
}

/// HAZARD 10: the deadline of the handshake is absolute, whatever arrives and in whatever phase.
#[test]
fn a_slow_client_is_closed_at_the_deadline() {
    let relay = Relay::builder().users(ALICE).timeout("handshake", 500).start();
    let login = userpass(b"alice", b"wonderland");
    let mut greeting = vec![0x05, 0xff];
    greeting.extend([0x02; 40]);
    let logged_in = [&[0x05, 0x01, 0x02][..], &login].concat();
    let name = [&[0x05, 0x01, 0x00, 0x03, 60][..], &[b'a'; 40]].concat();
    let user = userpass(&[b'a'; 40], b"x");
    let cases: [(&[u8], &[u8], &[u8]); 3] = [
        (&[], &[], &greeting),
        (&[0x05, 0x01, 0x02], &[0x05, 0x02], &user),
        (&logged_in, &[0x05, 0x02, 0x01, 0x00], &name),
    ];
    for (opening, answer, rest) in cases {
        let lasted = dribble(relay.addr(), opening, answer, rest);
        let bounds = Duration::from_millis(400)..Duration::from_millis(1500);
        assert!(bounds.contains(&lasted), "closed after {lasted:?} of {opening:02x?}");
    }
    for record in relay.records(3) {
        assert_eq!(record["reason"], "handshake_timeout");
    }
}

/// HAZARD 10: a client that says nothing at all is closed too.
#[test]
fn a_silent_client_is_closed_at_the_deadline() {
    let relay = Relay::builder().timeout("handshake", 300).start();
    let mut client = Client::connect(relay.addr());
    let ((), lasted) = timed(|| client.expect_closed());
    assert!((200..1200).contains(&lasted.as_millis()), "closed after {lasted:?}");
    assert_eq!(relay.record()["reason"], "handshake_timeout");
}

/// Who writes a message in two pieces has the second held back by Nagle's algorithm until the first is acknowledged,
/// which the kernel puts off by 40 ms where it expects an answer to go along.
#[test]
fn half_a_message_is_acknowledged_at_once() {
    const ATTEMPTS: usize = 10;
    let (relay, origin) = (Relay::start(), Origin::echo());
    let request = connect_ip(origin.addr);
    let quickest = (0..ATTEMPTS).map(|_| {
        let mut client = TcpStream::connect(relay.addr()).expect("connect to the server");
        client.write_all(b"\x05\x01\x00").expect("send the greeting");
        expect_method(&client);
        timed(|| {
            client.write_all(&request[..4]).expect("send half of the request");
            client.write_all(&request[4..]).expect("send the rest");
            expect_success(&client);
        })
        .1
    });
    let quickest = quickest.min().expect("attempts");
    assert!(quickest < Duration::from_millis(30), "{quickest:?} at least");
}
