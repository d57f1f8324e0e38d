//! BIND: its two replies, whose connection is asked for, and every way in which nobody comes.

use super::*;
use crate::outcome::Reason;
use crate::policy::{Allowed, Refusal, Route, RoutedAddress, Way};

/// A greeting and BIND for 203.0.113.7:21.
const BIND: &[u8] = b"\x05\x01\x00\x05\x02\x00\x01\xcb\x00\x71\x07\x00\x15";
/// A greeting and BIND for example.com:21.
const BIND_NAME: &[u8] = b"\x05\x01\x00\x05\x02\x00\x03\x0bexample.com\x00\x15";
/// The second success: 203.0.113.7:20 came.
const CAME: &[u8] = b"\x05\x00\x00\x01\xcb\x00\x71\x07\x00\x14";

fn only(peers: &[&str]) -> Event {
    let routed = |peer: &&str| RoutedAddress { address: socket(peer), allowed: Allowed::default() };
    Event::Bind(Peers::Only(peers.iter().map(routed).collect()))
}

fn failed(rep: u8) -> Event {
    Says(vec![0x05, rep, 0x00, 0x01, 0, 0, 0, 0, 0, 0])
}

/// What a BIND for this host comes to, the greeting's answer left out; port 21.
fn bind_for(world: &World, host: &[u8]) -> Vec<Event> {
    let request = [b"\x05\x01\x00\x05\x02\x00", host, b"\x00\x15"].concat();
    let mut events = world.every_split(&request).events;
    match events.first_mut() {
        Some(Says(said)) if said == b"\x05\x00" => drop(events.remove(0)),
        Some(Says(said)) => drop(said.drain(..2)),
        _ => panic!("{events:?}"),
    }
    events
}

// HAZARD 50.
#[test]
fn two_replies_at_every_split() {
    let seen = World::open().every_split(&[BIND, b"PORT done\r\n"].concat());
    let expected =
        [says(b"\x05\x00"), only(&["203.0.113.7:21"]), says(SUCCEEDED), Event::Accept, says(CAME), Relay];
    assert_eq!(seen.events, expected);
    assert_eq!(seen.pending, b"PORT done\r\n", "what is pipelined belongs to the peer");
    assert!(seen.facts.contains("reply: Some(Succeeded)"), "{}", seen.facts);
}

#[test]
fn a_password_comes_first() {
    let login = b"\x05\x01\x02\x01\x05alice\x06secret";
    let seen = World::locked().every_split(&[login, &BIND[3..]].concat());
    let expected = [
        says(b"\x05\x02"),
        verify(b"alice", b"secret"),
        says(b"\x01\x00"),
        only(&["203.0.113.7:21"]),
        says(SUCCEEDED),
        Event::Accept,
        says(CAME),
        Relay,
    ];
    assert_eq!(seen.events, expected);
}

#[test]
fn a_name_is_resolved_and_only_its_allowed_addresses_may_come() {
    let mut world = World::open();
    world.addresses = addresses(&["127.0.0.1", "2606:4700::1111", "203.0.113.7", "::ffff:8.8.8.8"]);
    let events = world.every_split(BIND_NAME).events;
    assert_eq!(events[1], Event::Resolve("example.com".into()));
    assert_eq!(events[2], only(&["[2606:4700::1111]:21", "203.0.113.7:21"]));
}

#[test]
fn an_ipv4_mapped_address_is_an_ipv4_peer() {
    let world = World::open().allowing_private();
    let events = bind_for(&world, b"\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\x07");
    assert_eq!(events[0], only(&["203.0.113.7:21"]));
}

#[test]
fn all_zeros_are_anybody_whatever_the_port() {
    for host in
        [&b"\x01\0\0\0\0"[..], b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"\x03\x070.0.0.0", b"\x03\x02::"]
    {
        let expected = [
            Event::Bind(Peers::Any(Route::default(), Way::default())),
            says(SUCCEEDED),
            Event::Accept,
            says(CAME),
            Relay,
        ];
        assert_eq!(bind_for(&World::open(), host), expected, "{}", host.escape_ascii());
    }
}

/// Only DST itself says "anybody": the unspecified address in disguise, or behind a name, is refused by the guard, and
/// is no peer where the guard lets it pass.
#[test]
fn the_unspecified_address_in_disguise_is_nobody() {
    let mapped = b"\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\0";
    let denied = [failed(0x02), Close(Failure::Denied(Refusal::SpecialPurpose("this network").into()))];
    assert_eq!(bind_for(&World::open(), mapped), denied);
    let nobody = [failed(0x04), Close(Failure::Dns(DnsError::NoAddress))];
    assert_eq!(bind_for(&World::open().allowing_private(), mapped), nobody);
    let mut world = World::open().allowing_private();
    world.addresses = addresses(&["0.0.0.0", "::"]);
    assert_eq!(world.every_split(BIND_NAME).events[2..], nobody);
    world.addresses = addresses(&["0.0.0.0", "203.0.113.7"]);
    assert_eq!(world.every_split(BIND_NAME).events[2], only(&["203.0.113.7:21"]));
}

// HAZARD 16: refused for BIND.
#[test]
fn the_guard_judges_whom_it_is_for() {
    for (host, range) in [
        (&b"\x01\x7f\x00\x00\x01"[..], "loopback"),
        (b"\x01\x0a\x00\x00\x01", "private"),
        (b"\x01\xa9\xfe\xa9\xfe", "link-local"),
        (b"\x03\x05127.1", "loopback"),
        (b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "loopback"),
        (b"\x04\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "unique local"),
    ] {
        let denied = [failed(0x02), Close(Failure::Denied(Refusal::SpecialPurpose(range).into()))];
        assert_eq!(bind_for(&World::open(), host), denied, "{}", host.escape_ascii());
        assert!(matches!(bind_for(&World::open().allowing_private(), host)[0], Event::Bind(Peers::Only(_))));
    }
    let mut world = World::open();
    world.addresses = addresses(&["::1", "10.0.0.1"]);
    let denied = [failed(0x02), Close(Failure::Denied(Refusal::SpecialPurpose("private").into()))];
    assert_eq!(world.every_split(BIND_NAME).events[2..], denied);
}

#[test]
fn a_name_without_an_address_ends_it() {
    let mut world = World::open();
    for (error, rep) in [(DnsError::NotFound, 0x04), (DnsError::Timeout, 0x06), (DnsError::Busy, 0x01)] {
        world.addresses = Err(error.clone());
        assert_eq!(world.every_split(BIND_NAME).events[2..], [failed(rep), Close(Failure::Dns(error))]);
    }
}

// HAZARD 14.
#[test]
fn every_failure_of_the_listener_has_its_reply() {
    for (error, rep, reason) in [
        (DialError::NoLocalPort, 0x01, Reason::NoLocalPort),
        (DialError::Local(24), 0x01, Reason::ConnectFailed),
        (DialError::NetworkUnreachable, 0x03, Reason::ConnectFailed),
        (DialError::HostUnreachable, 0x04, Reason::ConnectFailed),
        (DialError::Forbidden, 0x02, Reason::ConnectFailed),
    ] {
        let mut world = World::open();
        world.bound = Err(error);
        let expected = [only(&["203.0.113.7:21"]), failed(rep), Close(Failure::Dial(error))];
        assert_eq!(world.every_split(BIND).events[1..], expected);
        assert_eq!(Failure::Dial(error).reason(), reason);
    }
}

// HAZARD 50.
#[test]
fn a_second_reply_says_why_nobody_came() {
    for (error, rep, reason) in [
        (DialError::NobodyCame, 0x06, Reason::ConnectTimeout),
        (DialError::Local(24), 0x01, Reason::ConnectFailed),
    ] {
        let mut world = World::open();
        world.accepted = Err(error);
        let seen = world.every_split(BIND);
        let expected = [says(SUCCEEDED), Event::Accept, failed(rep), Close(Failure::Dial(error))];
        assert_eq!(seen.events[2..], expected);
        assert!(!seen.facts.contains("reply: Some(Succeeded)"), "the last reply counts: {}", seen.facts);
        assert_eq!(Failure::Dial(error).reason(), reason);
    }
}

#[test]
fn replies_are_in_the_family_of_what_they_name() {
    let mut world = World::open();
    world.bound = Ok(socket("[2001:db8::5]:40000"));
    world.accepted = Ok(came("[::ffff:203.0.113.7]:20"));
    let events = world.every_split(BIND).events;
    assert_eq!(events[2], says(b"\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x9c\x40"));
    assert_eq!(events[4], says(CAME));
}

/// Bytes of the client that come while the peer is awaited are not looked at.
#[test]
fn bytes_in_the_wait_are_kept() {
    let world = World::open();
    let mut session = Session::new(INCOMING);
    session.handle(Input::Bytes(BIND), world.rules.lend());
    session.handle(Input::Bytes(b"one"), world.rules.lend());
    session.handle(Input::Bound(world.bound), world.rules.lend());
    let step = session.handle(Input::Bytes(b"\x05\x01\x00two"), world.rules.lend());
    assert!(step.output.is_empty() && matches!(step.command, Command::Read), "{step:?}");
    let step = session.handle(Input::Accepted(world.accepted), world.rules.lend());
    assert!(matches!(step.command, Command::Relay), "{step:?}");
    assert_eq!(session.pending(), b"one\x05\x01\x00two");
}
