//! Requests: what is dialled or asked for, and what is refused before anything is.

use super::*;
use crate::proto::NameError;

/// What comes of a request behind a greeting that was accepted.
fn asked(world: &World, request: &[u8]) -> Vec<Event> {
    let mut seen = world.every_split(&[b"\x05\x01\x00", request].concat());
    let Some(Says(first)) = seen.events.first_mut() else { panic!("{seen:?}") };
    assert_eq!(first.drain(..2).as_slice(), b"\x05\x00");
    if first.is_empty() {
        seen.events.remove(0);
    }
    seen.events
}

/// CONNECT to port 80 of a name.
fn connect_to(name: &[u8]) -> Vec<u8> {
    [b"\x05\x01\x00\x03", &[name.len() as u8][..], name, b"\x00\x50"].concat()
}

fn failed(rep: u8) -> Event {
    Says(vec![0x05, rep, 0x00, 0x01, 0, 0, 0, 0, 0, 0])
}

fn refused_as(rep: u8, error: ProtoError) -> [Event; 2] {
    [failed(rep), closed_by(error)]
}

// HAZARD 11.
#[test]
fn every_bad_field_has_its_own_reply() {
    let world = World::open();
    for version in [0x00, 0x01, 0x04, 0x06, 0xff] {
        let request = [&[version], &CONNECT[1..]].concat();
        assert_eq!(asked(&world, &request), refused_as(0x01, ProtoError::Version(version)));
    }
    for command in [0x00, 0x04, 0xff] {
        let request = [&[0x05, command], &CONNECT[2..]].concat();
        assert_eq!(asked(&world, &request), refused_as(0x07, ProtoError::Command(command)));
    }
    for reserved in [0x01, 0xff] {
        let request = [&[0x05, 0x01, reserved], &CONNECT[3..]].concat();
        assert_eq!(asked(&world, &request), refused_as(0x01, ProtoError::Reserved(reserved)));
    }
    for kind in [0x00, 0x02, 0x05, 0xff] {
        let request = [&[0x05, 0x01, 0x00, kind], &CONNECT[4..]].concat();
        assert_eq!(asked(&world, &request), refused_as(0x08, ProtoError::AddressType(kind)));
    }
}

/// A listener that takes one command refuses the others as if there were none.
#[test]
fn what_the_listener_does_not_take_is_no_command() {
    let mut world = World::open();
    world.rules.commands = vec![RequestCommand::Bind];
    assert_eq!(asked(&world, CONNECT), [failed(0x07), Close(Failure::NotTaken)]);
    let associate = [&[0x05, 0x03], &CONNECT[2..]].concat();
    assert_eq!(asked(&world, &associate), [failed(0x07), Close(Failure::NotTaken)]);
    let bind = [&[0x05, 0x02], &CONNECT[2..]].concat();
    assert!(!asked(&world, &bind).contains(&failed(0x07)));
}

// HAZARD 12.
#[test]
fn an_address_in_any_spelling_is_judged_as_the_address_and_never_resolved() {
    let spellings = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "0x7f.1",
        "0X7F000001",
        "2130706433",
        "0177.0.0.1",
        "１２７．０．０．１",
        "[::ffff:127.0.0.1]",
        "::ffff:7f00:1",
    ];
    for spelling in spellings {
        let request = connect_to(spelling.as_bytes());
        let events = asked(&World::open(), &request);
        let [reply, Close(Failure::Denied(_))] = &events[..] else { panic!("{spelling}: {events:?}") };
        assert_eq!(*reply, failed(0x02), "{spelling}");
        let events = asked(&World::open().allowing_private(), &request);
        let Some(Dial(dialled)) = events.first() else { panic!("{spelling}: {events:?}") };
        assert_eq!(dialled[0].ip().to_canonical().to_string(), "127.0.0.1", "{spelling}");
        assert_eq!((dialled.len(), dialled[0].port()), (1, 80));
    }
}

// HAZARD 12.
#[test]
fn names_are_resolved_in_their_canonical_form() {
    let longest = [&[b'a'; 63][..], &[b'b'; 63], &[b'c'; 63], &[b'd'; 61]].join(&b'.');
    assert_eq!(longest.len(), 253);
    let with_dot = [&longest[..], b"."].concat();
    let cases: [(&[u8], &str); 4] = [
        (b"ExAmPlE.CoM", "example.com"),
        (b"example.com.", "example.com"),
        (&longest, std::str::from_utf8(&longest).unwrap()),
        (&with_dot, std::str::from_utf8(&longest).unwrap()),
    ];
    for (typed, canonical) in cases {
        assert_eq!(asked(&World::open(), &connect_to(typed))[0], Event::Resolve(canonical.into()));
    }
}

// HAZARD 12.
#[test]
fn what_is_no_name_is_refused_before_anything_is_asked() {
    let label = [b'a'; 64];
    let long = b"a.".repeat(127);
    let over = [&long[..], b"b"].concat();
    let cases: [(&[u8], NameError); 9] = [
        (b"", NameError::Empty),
        (b".", NameError::Empty),
        (b"a\x00.example", NameError::Control(0)),
        (b"a\r\n.example", NameError::Control(b'\r')),
        (b"a..example", NameError::EmptyLabel),
        (&label, NameError::LabelTooLong(64)),
        (&over, NameError::TooLong(255)),
        (b"[fe80::1%eth0]", NameError::Zone),
        (b"1.2.3.4.5", NameError::NotAnAddress),
    ];
    for (typed, error) in cases {
        assert_eq!(asked(&World::open(), &connect_to(typed)), refused_as(0x01, error.into()));
    }
}

// HAZARD 13.
#[test]
fn port_0_is_refused_before_anything_is_asked() {
    let v6 = b"\x05\x01\x00\x04\x26\x06\x47\x00\0\0\0\0\0\0\0\0\0\0\x11\x11\x00\x00";
    for request in [&b"\x05\x01\x00\x01\xcb\x00\x71\x07\x00\x00"[..], b"\x05\x01\x00\x03\x01a\x00\x00", v6] {
        assert_eq!(asked(&World::open(), request), refused_as(0x01, ProtoError::PortZero));
    }
}

#[test]
fn nobody_gets_past_the_methods_by_not_speaking_of_them() {
    for (world, dials) in [(World::open(), true), (World::locked(), false)] {
        let mut session = Session::new(INCOMING);
        session.state = SessionState::Reading(Reading::Request);
        let step = session.handle(Input::Bytes(CONNECT), world.rules.lend());
        let refused = matches!(step.command, Command::Close(Failure::NoMethod));
        assert_eq!((refused, step.output.is_empty()), (!dials, dials), "{:?}", step.command);
        assert_eq!(session.facts().identity.is_some(), dials);
    }
}
