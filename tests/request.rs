//! Requests that are malformed, or whose name is not what it seems.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::client::{connect_ip, connect_name, request};
use crate::support::dns::{A, AAAA};
use crate::support::{Client, DnsServer, Origin, Relay, socket_table, wait};

/// HAZARD 11: version, reserved byte, command and address type each get their own reply.
#[test]
fn each_malformed_request_gets_its_own_reply() {
    let (relay, origin) = (Relay::start(), Origin::echo());
    let good = connect_ip(origin.addr);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        (with(0, 0x04), 0x01),
        (with(0, 0x00), 0x01),
        (with(2, 0x01), 0x01),
        (with(2, 0xff), 0x01),
        (with(1, 0x00), 0x07),
        (with(1, 0x04), 0x07),
        (with(1, 0xff), 0x07),
        (with(3, 0x00), 0x08),
        (with(3, 0x02), 0x08),
        (with(3, 0x05), 0x08),
        (with(3, 0xff), 0x08),
    ];
    for (bytes, rep) in &cases {
        let mut client = Client::greeted(relay.addr());
        client.send(bytes);
        client.expect_refusal(*rep);
    }
    relay.records(cases.len());
    assert_eq!(origin.accepted(), 0);
}

/// HAZARD 11: the reply is readable although much that the client sent was never read as a request.
#[test]
fn a_reply_is_readable_behind_unread_input() {
    let relay = Relay::start();
    for _ in 0..20 {
        let mut client = Client::greeted(relay.addr());
        let mut bytes = request(0xff, relay.addr());
        bytes.extend(vec![0xaa; 128 * 1024]);
        client.send(&bytes);
        client.expect_refusal(0x07);
    }
}

/// HAZARD 11: after an error reply the connection ends within 10 s, whether the client reacts or not.
#[test]
fn a_refused_client_is_closed_on_time() {
    let relay = Relay::start();
    let mut silent = Client::greeted(relay.addr());
    silent.send(&request(0x04, relay.addr()));
    silent.expect_refusal(0x07);
    let mut talkative = Client::greeted(relay.addr());
    talkative.send(&request(0x04, relay.addr()));
    talkative.expect_refusal(0x07);
    // Each byte is read and thrown away, which must not count as a sign of life.
    wait::until_true("the relay gives up a client that will not stop", Duration::from_secs(10), || {
        talkative.try_send(&[0xaa]).is_err()
            || socket_table::between(relay.addr(), talkative.local()).is_none()
    });
    silent.wait_until_released(Duration::from_secs(10));
    relay.records(2);
}

/// Asks for `name` behind the guard and gives the reply code.
fn ask_by_name(relay: &Relay, name: &[u8], port: u16) -> u8 {
    let mut client = Client::greeted(relay.addr());
    let reply = client.request_name(name, port);
    if reply.rep != 0 {
        client.expect_eof();
    }
    reply.rep
}

/// HAZARD 12: every spelling of a loopback address is known as one before policy looks.
#[test]
fn every_spelling_of_loopback_is_refused_by_the_guard() {
    let (server, origin) = (DnsServer::zone(&[("127.1", &["127.0.0.1"])]), Origin::echo());
    let relay = Relay::builder().guarded().dns(&server).start();
    let spellings: [&[u8]; 18] = [
        b"127.0.0.1",
        b"127.0.0.1.",
        b"127.1",
        b"127.0.1",
        b"0x7f.1",
        b"0X7F000001",
        b"2130706433",
        b"0177.0.0.1",
        b"017700000001",
        "１２７.０.０.１".as_bytes(),
        "127。0。0。1".as_bytes(),
        b"0",
        b"0.0.0.0",
        b"::1",
        b"[::1]",
        b"::ffff:127.0.0.1",
        b"[::ffff:7f00:1]",
        b"0:0:0:0:0:0:0:1",
    ];
    for name in spellings {
        let rep = ask_by_name(&relay, name, origin.addr.port());
        assert_eq!(rep, 0x02, "{:?}", String::from_utf8_lossy(name));
    }
    assert_eq!(origin.accepted(), 0);
    assert!(server.queries().is_empty(), "an address was looked up: {:?}", server.queries());
}

/// HAZARD 12: with permission the same spellings reach the address that they mean.
#[test]
fn an_address_sent_as_a_name_is_that_address() {
    let (server, origin) = (DnsServer::zone(&[]), Origin::echo());
    let relay = Relay::builder().dns(&server).start();
    for name in [&b"127.0.0.1"[..], b"127.1", b"0x7f.1", b"2130706433", b"127.0.0.1.", b"::ffff:127.0.0.1"] {
        let rep = ask_by_name(&relay, name, origin.addr.port());
        assert_eq!(rep, 0x00, "{:?}", String::from_utf8_lossy(name));
    }
    assert!(server.queries().is_empty());
}

/// HAZARD 12: what is neither a name nor an address is refused, and no resolver hears of it.
#[test]
fn a_name_that_cannot_be_is_refused() {
    let server = DnsServer::zone(&[]);
    let relay = Relay::builder().dns(&server).start();
    let long_label = [&[b'a'; 64][..], b".example"].concat();
    let too_long = [b"abcdefg.".repeat(31), b"abcdefg".to_vec()].concat();
    assert_eq!(too_long.len(), 255);
    let impossible: [&[u8]; 18] = [
        b"",
        b".",
        b"..",
        b"a..example",
        b".example",
        b"a\0.example",
        b"127.0.0.1\0.example",
        b"a b.example",
        b"a/b.example",
        b"a\r\n.example",
        b"[::1",
        b"::1]",
        b"fe80::1%lo",
        b"[fe80::1%25lo]",
        b"256.0.0.1",
        b"1.2.3.4.5",
        &long_label,
        &too_long,
    ];
    for name in impossible {
        let rep = ask_by_name(&relay, name, 80);
        assert!(rep == 0x01 || rep == 0x04, "{rep:02x} for {:?}", String::from_utf8_lossy(name));
    }
    for record in relay.records(impossible.len()) {
        assert_eq!(record["reason"], "protocol", "{record}");
    }
    assert!(server.queries().is_empty(), "{:?}", server.queries());
}

/// HAZARD 12: case, a trailing dot and the greatest length are still the name.
#[test]
fn a_strange_but_valid_name_is_resolved() {
    let longest = [&b"a".repeat(61)[..], &b"b".repeat(63), &b"c".repeat(63), &b"d".repeat(63)].join(&b'.');
    assert_eq!(longest.len(), 253);
    let text = String::from_utf8(longest.clone()).expect("ASCII");
    let server = DnsServer::zone(&[("echo.example", &["127.0.0.1"]), (&text, &["127.0.0.1"])]);
    let (relay, origin) = (Relay::builder().dns(&server).start(), Origin::echo());
    let dotted = [&longest[..], b"."].concat();
    for name in [&b"echo.example"[..], b"EcHo.ExAmPlE", b"echo.example.", &longest, &dotted] {
        let rep = ask_by_name(&relay, name, origin.addr.port());
        assert_eq!(rep, 0x00, "{:?}", String::from_utf8_lossy(name));
    }
    assert_eq!(server.asked("echo.example", A), 1, "one name, whatever its case: {:?}", server.queries());
    assert!(server.asked("echo.example", AAAA) <= 1);
}

/// HAZARD 12: a name beyond ASCII is the one that the DNS has, whether its client or the relay makes A-labels of it; what is
/// mapped to an address is that address, and the guard's business.
#[test]
fn a_name_beyond_ascii_is_asked_for_by_its_a_labels() {
    let server = DnsServer::zone(&[("xn--bcher-kva.example", &["127.0.0.1"])]);
    let (relay, origin) = (Relay::builder().dns(&server).start(), Origin::echo());
    for name in ["b\u{fc}cher.example", "BU\u{308}CHER\u{3002}example.", "xn--bcher-kva.example"] {
        assert_eq!(ask_by_name(&relay, name.as_bytes(), origin.addr.port()), 0x00, "{name:?}");
    }
    assert_eq!(server.asked("xn--bcher-kva.example", A), 1, "one name: {:?}", server.queries());
    let asked = server.queries().len();
    for name in ["a\u{5d0}.example", "a\u{85}.example", "\u{fc}\r.example", "a\u{2f}\u{fc}.example"] {
        let rep = ask_by_name(&relay, name.as_bytes(), 80);
        assert!(rep == 0x01 || rep == 0x04, "{rep:02x} for {name:?}");
    }
    let guarded = Relay::builder().guarded().dns(&server).start();
    let circled = "\u{2460}\u{2461}\u{2466}.0.0.1";
    assert_eq!(ask_by_name(&guarded, circled.as_bytes(), origin.addr.port()), 0x02);
    assert_eq!(server.queries().len(), asked, "{:?}", server.queries());
}

/// HAZARD 13: port 0 is refused, by address and by name, before anything is asked or dialled.
#[test]
fn port_zero_is_refused() {
    let server = DnsServer::zone(&[("echo.example", &["127.0.0.1"])]);
    let relay = Relay::builder().dns(&server).start();
    let targets: [SocketAddr; 2] = ["127.0.0.1:0".parse().expect("v4"), "[::1]:0".parse().expect("v6")];
    let requests = targets.map(connect_ip).into_iter().chain([connect_name(b"echo.example", 0)]);
    for bytes in requests {
        let mut client = Client::greeted(relay.addr());
        client.send(&bytes);
        client.expect_refusal(0x01);
    }
    for record in relay.records(3) {
        assert_eq!((&record["reason"], &record["address"]), (&"protocol".into(), &serde_json::Value::Null));
    }
    assert!(server.queries().is_empty());
}
