//! SOCKS4 and 4a: one message, one reply or two, and nobody who has to log in.

use super::*;
use crate::policy::Refusal;
use crate::proto::NameError;

/// CONNECT 203.0.113.7:443 as "fred".
const CONNECT: &[u8] = b"\x04\x01\x01\xbb\xcb\x00\x71\x07fred\0";
/// CONNECT example.com:80 as nobody.
const CONNECT_NAME: &[u8] = b"\x04\x01\x00\x50\x00\x00\x00\x01\0example.com\0";
/// BIND for 203.0.113.7:21.
const BIND: &[u8] = b"\x04\x02\x00\x15\xcb\x00\x71\x07\0";
/// Granted, 198.51.100.9:4660.
const GRANTED: &[u8] = b"\x00\x5a\x12\x34\xc6\x33\x64\x09";
const REJECTED: &[u8] = b"\x00\x5b\0\0\0\0\0\0";

fn refused(failure: Failure) -> [Event; 2] {
    [says(REJECTED), Close(failure)]
}

#[test]
fn a_connect_at_every_split() {
    let seen = World::open().every_split(&[CONNECT, b"\x04\x01payload"].concat());
    assert_eq!(seen.events, [dial("203.0.113.7:443"), says(GRANTED), Relay]);
    assert_eq!(seen.pending, b"\x04\x01payload");
    assert!(seen.facts.contains("method: Some(None), identity: Some(Anonymous)"), "{}", seen.facts);
}

#[test]
fn a_named_target_at_every_split() {
    let seen = World::open().every_split(&[CONNECT_NAME, b"payload"].concat());
    let resolved = Event::Resolve("example.com".into());
    assert_eq!(seen.events, [resolved, dial("203.0.113.7:80"), says(GRANTED), Relay]);
    assert_eq!(seen.pending, b"payload");
    assert!(seen.facts.contains("claimed_user: None"), "{}", seen.facts);
}

#[test]
fn bind_has_two_replies_at_every_split() {
    let seen = World::open().every_split(&[BIND, b"PORT done\r\n"].concat());
    let [Event::Bind(Peers::Only(peers)), first, Event::Accept, second, Relay] = &seen.events[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(peers.iter().map(|peer| peer.address).collect::<Vec<_>>(), [socket("203.0.113.7:21")]);
    assert_eq!((first, second), (&says(GRANTED), &says(b"\x00\x5a\x00\x14\xcb\x00\x71\x07")));
    assert_eq!(seen.pending, b"PORT done\r\n");
    let anybody = World::open().every_split(b"\x04\x02\x00\x00\0\0\0\0\0").events;
    assert!(matches!(anybody[0], Event::Bind(Peers::Any(..))), "{anybody:?}");
}

#[test]
fn the_second_reply_says_that_nobody_came() {
    let mut world = World::open();
    world.accepted = Err(DialError::NobodyCame);
    let seen = world.every_split(BIND);
    let failed = refused(Failure::Dial(DialError::NobodyCame));
    assert_eq!(seen.events[1..3], [says(GRANTED), Event::Accept]);
    assert_eq!(seen.events[3..], failed);
    assert!(seen.facts.contains("reply: Some(TtlExpired)"), "{}", seen.facts);
}

/// An address of IPv6 has no room in the reply; the port is told, as a peer of BIND needs it.
#[test]
fn an_ipv6_address_is_told_as_zeros() {
    let mut world = World::open();
    world.bound = Ok(socket("[2001:db8::5]:40000"));
    assert_eq!(world.every_split(BIND).events[1], says(b"\x00\x5a\x9c\x40\0\0\0\0"));
}

/// What a client calls itself is shown and believed by nobody.
#[test]
fn a_user_id_is_a_claim_and_no_identity() {
    let seen = World::open().every_split(CONNECT);
    let claimed = r#"identity: Some(Anonymous), claimed_user: Some("fred")"#;
    assert!(seen.facts.contains(claimed), "{}", seen.facts);
    let seen = World::open().every_split(b"\x04\x01\x01\xbb\xcb\x00\x71\x07\xff\n\0");
    assert!(seen.facts.contains("claimed_user: Some(\"\u{fffd}\\n\")"), "{}", seen.facts);
}

/// SOCKS4 has no password: where one is wanted nobody gets in by leaving it out.
#[test]
fn where_everybody_logs_in_it_is_refused() {
    for methods in
        [&[AuthMethod::Password][..], &[AuthMethod::Gssapi], &[AuthMethod::Gssapi, AuthMethod::Password]]
    {
        for request in [CONNECT, CONNECT_NAME, BIND] {
            let seen = World::new(methods).every_split(&[request, b"payload"].concat());
            assert_eq!(seen.events, refused(Failure::NoMethod));
            assert!(
                seen.facts.contains("method: None, identity: None, claimed_user: None"),
                "{}",
                seen.facts
            );
        }
    }
    let both = World::new(&[AuthMethod::Password, AuthMethod::None]);
    assert_eq!(both.every_split(CONNECT).events, [dial("203.0.113.7:443"), says(GRANTED), Relay]);
}

#[test]
fn where_it_is_not_spoken_it_is_told_so_before_it_is_read() {
    let world = World::open().speaking(&[Protocol::Socks5, Protocol::Http]);
    for bytes in [&b"\x04"[..], CONNECT, b"\x04\x09\xff"] {
        assert_eq!(world.every_split(bytes).events, refused(Failure::Protocol(ProtoError::NotSpoken)));
    }
    let only = World::open().speaking(&[Protocol::Socks4]);
    assert_eq!(only.every_split(CONNECT).events.last(), Some(&Relay));
    let socks5 = only.every_split(b"\x05\x01\x00").events;
    assert_eq!(socks5, [says(b"\x05\xff"), closed_by(ProtoError::NotSpoken)]);
}

#[test]
fn what_is_no_request_is_rejected_on_its_byte() {
    let long = [b"\x04\x01\x00\x50\xcb\x00\x71\x07".as_slice(), &[b'u'; 256]].concat();
    let cases: [(&[u8], ProtoError); 5] = [
        (b"\x04\x03", ProtoError::Command(3)),
        (b"\x04\x01\0\0", ProtoError::PortZero),
        (b"\x04\x01\x00\x50\0\0\0\x01\0\0", NameError::Empty.into()),
        (b"\x04\x01\x00\x50\0\0\0\x01\0a b\0", NameError::Character(b' ').into()),
        (&long, ProtoError::UserTooLong),
    ];
    for (bytes, error) in cases {
        let seen = World::open().every_split(&[bytes, b"payload"].concat());
        assert_eq!(seen.events, refused(Failure::Protocol(error)));
    }
}

// HAZARD 14, 16.
#[test]
fn every_failure_is_rejected_and_the_record_has_its_cause() {
    let loopback = World::open().every_split(b"\x04\x01\x00\x50\x7f\x00\x00\x01\0");
    let denied = Failure::Denied(Refusal::SpecialPurpose("loopback").into());
    assert_eq!(loopback.events, refused(denied));
    assert!(loopback.facts.contains("reply: Some(NotAllowed)"), "{}", loopback.facts);
    let mut world = World::open();
    world.addresses = Err(DnsError::NotFound);
    let unknown = world.every_split(CONNECT_NAME);
    assert_eq!(unknown.events[1..], refused(Failure::Dns(DnsError::NotFound)));
    assert!(unknown.facts.contains("reply: Some(HostUnreachable)"), "{}", unknown.facts);
    world.dialed = Err(DialError::Refused);
    let failed = world.every_split(CONNECT);
    assert_eq!(failed.events[1..], refused(Failure::Dial(DialError::Refused)));
    assert!(failed.facts.contains("reply: Some(ConnectionRefused)"), "{}", failed.facts);
}

/// A client that gave up, or that never asked, is told nothing.
#[test]
fn who_is_gone_or_never_asked_is_told_nothing() {
    let world = World::open();
    for (bytes, failure, told) in [
        (&b"\x04\x01\x01"[..], Failure::HandshakeTimeout, false),
        (CONNECT, Failure::ClientLeft, false),
        (CONNECT, Failure::SourceLimit, true),
    ] {
        let mut session = Session::new(INCOMING);
        session.handle(Input::Bytes(bytes), world.rules.lend());
        let expected = if told { REJECTED } else { b"" };
        assert_eq!(session.give_up(&failure), expected, "{failure:?}");
    }
}

fn by_name() -> World {
    let mut world = World::locked();
    world.rules.socks4_ident = true;
    world
}

/// The name is asked about, as one without a password, and the request is served once it is somebody's.
#[test]
fn where_names_are_enough_the_user_id_is_asked_about() {
    let request = b"\x04\x01\x01\xbb\xcb\x00\x71\x07alice\0";
    let seen = by_name().every_split(&[&request[..], b"payload"].concat());
    assert_eq!(seen.events, [verify(b"alice", b""), dial("203.0.113.7:443"), says(GRANTED), Relay]);
    assert_eq!(seen.pending, b"payload");
    assert!(seen.facts.contains("method: None, identity: Some(User(\"alice\"))"), "{}", seen.facts);
    assert!(seen.facts.contains("claimed_user: None, by_name: true"), "{}", seen.facts);
}

/// The memo has a code for it: the user id is none that may be gone by.
#[test]
fn a_user_id_that_is_nobodys_is_refused_with_its_own_code() {
    let refused = || [says(b"\x00\x5d\0\0\0\0\0\0"), Close(Failure::AuthFailed)];
    for world in [by_name(), {
        let mut open = World::open();
        open.rules.socks4_ident = true;
        open
    }] {
        let seen = world.every_split(CONNECT);
        assert_eq!(seen.events[0], verify(b"fred", b""));
        assert_eq!(seen.events[1..], refused());
        assert!(seen.facts.contains("identity: None, claimed_user: Some(\"fred\")"), "{}", seen.facts);
        assert_eq!(world.every_split(CONNECT_NAME).events, refused(), "no user id at all");
    }
}

/// What lets a client of SOCKS4 in by its name asks everybody else for what it asked before.
#[test]
fn names_are_enough_for_no_other_protocol() {
    let seen = by_name().every_split(b"\x05\x01\x00");
    assert_eq!(seen.events, [says(b"\x05\xff"), Close(Failure::NoMethod)]);
}
