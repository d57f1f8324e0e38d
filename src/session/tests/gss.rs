//! GSSAPI: a mechanism made of paper, so that every byte around its tokens can be seen.

use super::*;
use crate::auth::gssapi::Peer;
use crate::config::{Protection, ProtectionLevel};
use crate::seal::paper::{Paper, token};
use crate::seal::{MessageOrder, Opened, Protect, SealError};

/// The greeting, and a token at which the context is established.
const GREETING: &[u8] = b"\x05\x01\x01\x01\x01\x00\x05hello";
/// What is answered.
const WELCOME: &[u8] = b"\x05\x01\x01\x01\x00\x07welcome";

/// What the library makes of a token: `again` wants another, `hello` and `mute` are enough.
pub(super) fn round(sent: &[u8]) -> Round {
    let peer = |detection| Peer {
        identity: Identity::User("alice".into()),
        replay_detection: detection,
        sequence_detection: detection,
        confidentiality: true,
        integrity: true,
    };
    let established = |detection| RoundOutcome::Established(peer(detection), Box::new(Paper::default()));
    match sent {
        b"again" => Round { token: b"more".to_vec(), outcome: RoundOutcome::Continue },
        b"hello" => Round { token: b"welcome".to_vec(), outcome: established(true) },
        b"mute" => Round { token: Vec::new(), outcome: established(true) },
        b"hollow" => Round {
            token: Vec::new(),
            outcome: RoundOutcome::Established(peer(true), Box::new(Hollow(Paper::default()))),
        },
        b"naive" => Round { token: Vec::new(), outcome: established(false) },
        _ => Round { token: Vec::new(), outcome: RoundOutcome::Failed("no such ticket".to_owned()) },
    }
}

/// A mechanism whose messages hold nothing.
#[derive(Debug)]
struct Hollow(Paper);

impl Protect for Hollow {
    fn wrap(&mut self, plain: &[u8], confidential: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.0.wrap(plain, confidential, out)
    }

    fn unwrap(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<Opened, SealError> {
        self.0.unwrap(token, out)
    }

    fn plain_max(&self, _: bool, _: usize) -> Result<usize, SealError> {
        Ok(0)
    }
}

fn world(levels: &[ProtectionLevel], nec: bool) -> World {
    let mut world = World::new(&[AuthMethod::Gssapi]);
    world.rules.gssapi.protection = Protection::new(levels).expect("levels");
    world.rules.gssapi.nec = nec;
    world
}

fn any_level() -> World {
    world(&[Confidentiality, Integrity, PerMessage, None], false)
}

use ProtectionLevel::{Confidentiality, Integrity, None, PerMessage};

fn framed(kind: u8, token: &[u8]) -> Vec<u8> {
    [&[1, kind][..], &(token.len() as u16).to_be_bytes(), token].concat()
}

/// The client's message that asks for a level, the first that it wraps.
fn asks(level: u8) -> Vec<u8> {
    framed(2, &token(false, 0, &[level]))
}

/// What a client that sends `bytes` behind the establishment sees behind WELCOME.
fn behind_welcome(world: &World, bytes: &[u8]) -> Vec<Event> {
    let mut events = world.every_split(&[GREETING, bytes].concat()).events;
    assert_eq!(events[..2], [says(b"\x05\x01"), Event::Establish(b"hello".to_vec())]);
    events.drain(..2);
    let Some(Says(said)) = events.first_mut() else { panic!("{events:?}") };
    assert!(said.starts_with(&WELCOME[2..]), "{said:?}");
    said.drain(..WELCOME.len() - 2);
    if said.is_empty() {
        events.remove(0);
    }
    events
}

fn refused(failure: Failure) -> Vec<Event> {
    vec![says(b"\x01\xff"), Close(failure)]
}

#[test]
fn a_sealed_session_at_every_split() {
    for (asked, confidential) in [(1, false), (2, true), (3, true)] {
        let request = framed(3, &token(asked == 2, 1, CONNECT));
        let payload = framed(3, &token(true, 2, b"GET /"));
        let seen = any_level().every_split(&[GREETING, &asks(asked), &request, &payload].concat());
        let answer = framed(2, &token(false, 0, &[asked]));
        let expected = [
            says(b"\x05\x01"),
            Event::Establish(b"hello".to_vec()),
            says(&[&WELCOME[2..], &answer].concat()),
            dial("203.0.113.7:443"),
            says(&framed(3, &token(confidential, 1, SUCCEEDED))),
            Relay,
        ];
        assert_eq!(seen.events, expected, "level {asked}");
        assert_eq!(seen.pending, payload, "what stands behind the request is left to the relay, sealed");
        assert!(
            seen.facts.contains(r#"method: Some(Gssapi), identity: Some(User("alice"))"#),
            "{}",
            seen.facts
        );
    }
}

#[test]
fn a_request_in_many_messages_with_empty_ones_between() {
    let mut sealed = Vec::new();
    for (number, part) in (1..).zip([&CONNECT[..1], b"", &CONNECT[1..9], b"", &CONNECT[9..]]) {
        sealed.extend(framed(3, &token(true, number, part)));
    }
    let events = behind_welcome(&any_level(), &[asks(2), sealed].concat());
    assert_eq!(events.last(), Some(&Relay), "{events:?}");
}

#[test]
fn content_behind_the_request_in_its_own_message_is_pending() {
    let request = framed(3, &token(true, 1, &[CONNECT, b"GET /"].concat()));
    let seen = any_level().every_split(&[GREETING, &asks(2), &request].concat());
    assert_eq!((seen.events.last(), &seen.pending[..]), (Some(&Relay), &b"GET /"[..]));
}

#[test]
fn nothing_is_sealed_at_level_0() {
    let events = behind_welcome(&any_level(), &[&asks(0), CONNECT].concat());
    let answer = framed(2, &token(false, 0, &[0]));
    assert_eq!(events, [says(&answer), dial("203.0.113.7:443"), says(SUCCEEDED), Relay]);
}

#[test]
fn a_client_that_expects_no_protection_gets_none_whatever_it_asks_for() {
    for asked in 0..=3 {
        let events = behind_welcome(&world(&[None], false), &[&asks(asked), CONNECT].concat());
        let answer = framed(2, &token(false, 0, &[0]));
        assert_eq!(events, [says(&answer), dial("203.0.113.7:443"), says(SUCCEEDED), Relay], "{asked}");
    }
}

#[test]
fn a_level_below_the_least_or_of_nobody_is_refused() {
    for (levels, asked) in [
        (&[Confidentiality][..], 0),
        (&[Confidentiality], 1),
        (&[Confidentiality], 3),
        (&[Integrity, Confidentiality], 0),
        (&[None], 4),
        (&[Confidentiality, Integrity, PerMessage, None], 4),
        (&[Confidentiality, Integrity, PerMessage, None], 255),
    ] {
        let events = behind_welcome(&world(levels, false), &[&asks(asked), CONNECT].concat());
        assert_eq!(events, refused(Failure::Level(asked)), "{levels:?}");
    }
}

#[test]
fn the_bare_octet_is_taken_only_where_it_is_configured() {
    let bytes = [b"\x01\x02\x00\x01\x02", &framed(3, &token(true, 0, CONNECT))[..]].concat();
    let events = behind_welcome(&world(&[Confidentiality], true), &bytes);
    let success = framed(3, &token(true, 0, SUCCEEDED));
    assert_eq!(events, [says(b"\x01\x02\x00\x01\x02"), dial("203.0.113.7:443"), says(&success), Relay]);
    let events = behind_welcome(&world(&[Confidentiality], false), &bytes);
    assert_eq!(events, refused(Failure::Seal(SealError::Library("defective token".to_owned()))));
    // Where it may be bare it may be wrapped, too.
    let bytes = [asks(2), framed(3, &token(true, 1, CONNECT))].concat();
    assert_eq!(behind_welcome(&world(&[Confidentiality], true), &bytes).last(), Some(&Relay));
}

#[test]
fn a_level_that_is_not_one_octet_in_order_is_refused() {
    let library = |text: &str| Failure::Seal(SealError::Library(text.to_owned()));
    let octets = || Failure::Context("a level of protection that is not one octet".to_owned());
    for (message, failure) in [
        (framed(2, &token(false, 0, b"")), octets()),
        (framed(2, &token(false, 0, b"\x01\x01")), octets()),
        (framed(2, &token(false, 1, b"\x01")), Failure::Seal(SealError::Order(MessageOrder::Gap))),
        (framed(2, b""), library("defective token")),
        (framed(2, b"\x01"), library("defective token")),
        (framed(3, &token(false, 0, b"\x01")), Failure::Protocol(ProtoError::GssType(3))),
        (framed(1, &token(false, 0, b"\x01")), Failure::Protocol(ProtoError::GssType(1))),
        (CONNECT.to_vec(), Failure::Protocol(ProtoError::GssVersion(5))),
    ] {
        assert_eq!(behind_welcome(&any_level(), &message), refused(failure), "{message:?}");
    }
}

#[test]
fn establishing_takes_as_many_rounds_as_it_needs_but_not_endless_ones() {
    let again = b"\x01\x01\x00\x05again";
    let events =
        any_level().every_split(&[b"\x05\x01\x01", &again[..], &again[..], &GREETING[3..]].concat()).events;
    let [greeting, .., welcome] = &events[..] else { panic!("{events:?}") };
    assert_eq!((greeting, welcome), (&says(b"\x05\x01"), &says(&WELCOME[2..])));
    assert_eq!(events.iter().filter(|event| **event == says(b"\x01\x01\x00\x04more")).count(), 2);

    let endless = [&b"\x05\x01\x01"[..], &again.repeat(50)].concat();
    let events = any_level().whole(&endless).events;
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Establish(_))).count(), 8);
    assert_eq!(events.last(), Some(&Close(Failure::Context("too many rounds".to_owned()))));
}

#[test]
fn a_mechanism_with_nothing_to_say_says_so_in_an_empty_token() {
    let seen = any_level().every_split(b"\x05\x01\x01\x01\x01\x00\x04mute");
    assert_eq!(
        seen.events,
        [says(b"\x05\x01"), Event::Establish(b"mute".to_vec()), says(b"\x01\x01\x00\x00")]
    );
}

#[test]
fn no_context_no_request() {
    let failures: [(&[u8], Failure); 5] = [
        (b"\x01\x01\x00\x00", Failure::Context("an empty token".to_owned())),
        (b"\x01\x02\x00\x05hello", Failure::Protocol(ProtoError::GssType(2))),
        (b"\x02\x01\x00\x05hello", Failure::Protocol(ProtoError::GssVersion(2))),
        (CONNECT, Failure::Protocol(ProtoError::GssVersion(5))),
        (b"\x01\x01\x00\x05wrong", Failure::Context("no such ticket".to_owned())),
    ];
    for (message, failure) in failures {
        let seen = any_level().every_split(&[b"\x05\x01\x01", message, &asks(0), CONNECT].concat());
        let told: Vec<u8> = seen
            .events
            .iter()
            .filter_map(|event| match event {
                Says(said) => Some(said.clone()),
                _ => Option::None,
            })
            .flatten()
            .collect();
        assert_eq!(told, b"\x05\x01\x01\xff", "{message:?}");
        assert_eq!(seen.events.last(), Some(&Close(failure)));
        assert!(seen.facts.contains("identity: None"), "{}", seen.facts);
    }
    // A client that gives up is not told so.
    let seen = any_level().every_split(b"\x05\x01\x01\x01\xff");
    assert_eq!(seen.events, [says(b"\x05\x01"), closed_by(ProtoError::GssAbort)]);
}

#[test]
fn behind_a_level_that_cannot_be_kept_nothing_is_said() {
    let hollow = b"\x05\x01\x01\x01\x01\x00\x06hollow";
    let seen = any_level().every_split(&[&hollow[..], &asks(2), CONNECT].concat());
    let answer = framed(2, &token(false, 0, &[2]));
    let [.., Says(said), end] = &seen.events[..] else { panic!("{seen:?}") };
    assert_eq!(*said, [&[1, 1, 0, 0][..], &answer].concat());
    assert_eq!(*end, Close(Failure::Seal(SealError::NotOffered)));
}

#[test]
fn a_context_that_detects_nothing_protects_nothing() {
    let naive = b"\x05\x01\x01\x01\x01\x00\x05naive";
    for asked in 1..=3 {
        let seen = any_level().every_split(&[&naive[..], &asks(asked)].concat());
        assert_eq!(seen.events.last(), Some(&Close(Failure::Seal(SealError::NoReplayDetection))));
    }
    assert_eq!(
        any_level().every_split(&[&naive[..], &asks(0), CONNECT].concat()).events.last(),
        Some(&Relay)
    );
}

#[test]
fn a_message_that_is_not_the_next_one_ends_a_session_without_a_reply() {
    let first = framed(3, &token(true, 1, &CONNECT[..4]));
    for (second, error) in [
        (framed(3, &token(true, 1, &CONNECT[4..])), SealError::Order(MessageOrder::Duplicate)),
        (framed(3, &token(true, 3, &CONNECT[4..])), SealError::Order(MessageOrder::Gap)),
        (framed(3, &token(false, 2, &CONNECT[4..])), SealError::NotConfidential),
        (framed(3, b"T"), SealError::Library("defective token".to_owned())),
        (framed(3, b""), SealError::Library("defective token".to_owned())),
        (framed(2, &token(true, 2, &CONNECT[4..])), SealError::Frame(ProtoError::GssType(2))),
        (CONNECT.to_vec(), SealError::Frame(ProtoError::GssVersion(5))),
    ] {
        let events = behind_welcome(&any_level(), &[&asks(2), &first[..], &second].concat());
        let answer = says(&framed(2, &token(false, 0, &[2])));
        assert_eq!(events, [answer, Close(Failure::Seal(error))]);
    }
}

#[test]
fn a_failed_request_is_answered_in_a_sealed_reply() {
    let request = framed(3, &token(true, 1, b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"));
    let events = behind_welcome(&any_level(), &[asks(2), request].concat());
    let reply = token(true, 1, b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00");
    let answer = framed(2, &token(false, 0, &[2]));
    assert_eq!(events[0], says(&[answer, framed(3, &reply)].concat()));
    assert!(matches!(events[1], Close(Failure::Denied(_))));
}

#[test]
fn both_replies_of_bind_are_sealed() {
    let request = framed(3, &token(true, 1, b"\x05\x02\x00\x01\xcb\x00\x71\x07\x00\x15"));
    let events = behind_welcome(&any_level(), &[asks(2), request].concat());
    let said: Vec<_> = events.iter().filter(|event| matches!(event, Says(_))).collect();
    let first = says(&framed(3, &token(true, 1, SUCCEEDED)));
    let second = says(&framed(3, &token(true, 2, b"\x05\x00\x00\x01\xcb\x00\x71\x07\x00\x14")));
    assert_eq!(said[1..], [&first, &second]);
}
