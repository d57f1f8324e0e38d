//! RESOLVE and RESOLVE_PTR: judged, asked for, told, and the end.

use super::*;
use crate::policy::Refusal;
use crate::policy::rules::spec::Condition;

/// A greeting and RESOLVE of example.com.
const RESOLVE: &[u8] = b"\x05\x01\x00\x05\xf0\x00\x03\x0bexample.com\x00\x00";
/// A greeting and RESOLVE_PTR of 203.0.113.7.
const REVERSE: &[u8] = b"\x05\x01\x00\x05\xf1\x00\x01\xcb\x00\x71\x07\x00\x00";
/// 203.0.113.7, at no port.
const FOUND: &[u8] = b"\x05\x00\x00\x01\xcb\x00\x71\x07\x00\x00";

fn refused(rep: u8, failure: Failure) -> [Event; 2] {
    [Says(vec![5, rep, 0, 1, 0, 0, 0, 0, 0, 0]), Close(failure)]
}

#[test]
fn the_address_of_a_name_at_every_split() {
    let seen = World::open().every_split(&[RESOLVE, b"behind"].concat());
    let resolve = Event::Resolve("example.com".into());
    let tell = Event::Tell(socket("203.0.113.7:0"));
    assert_eq!(seen.events, [says(b"\x05\x00"), resolve, tell, says(FOUND), Event::Answered]);
    assert!(seen.facts.contains("command: Some(Resolve)"), "{}", seen.facts);
    assert!(seen.facts.contains("reply: Some(Succeeded)"), "{}", seen.facts);
}

#[test]
fn the_name_of_an_address_at_every_split() {
    let seen = World::open().every_split(REVERSE);
    let ask = Event::ResolvePtr(socket("203.0.113.7:0"));
    let told = says(b"\x05\x00\x00\x03\x10host.example.com\x00\x00");
    assert_eq!(seen.events, [says(b"\x05\x00"), ask, told, Event::Answered]);
    assert!(seen.facts.contains("command: Some(ResolvePtr)"), "{}", seen.facts);
}

#[test]
fn a_password_comes_first() {
    let login = b"\x05\x01\x02\x01\x05alice\x06secret";
    for request in [RESOLVE, REVERSE] {
        let seen = World::locked().every_split(&[login, &request[3..]].concat());
        assert_eq!(seen.events[1], verify(b"alice", b"secret"));
        assert_eq!(seen.events.last(), Some(&Event::Answered));
    }
}

/// torsocks and tor-resolve read four octets: an address of IPv6 is told where there is no other.
#[test]
fn ipv4_is_told_where_there_is_any() {
    let mut world = World::open();
    world.addresses = addresses(&["2606:4700::1111", "203.0.113.7"]);
    assert_eq!(world.every_split(RESOLVE).events[3], says(FOUND));
    world.addresses = addresses(&["2606:4700::1111"]);
    let six = b"\x05\x00\x00\x04\x26\x06\x47\x00\0\0\0\0\0\0\0\0\0\0\x11\x11\x00\x00";
    assert_eq!(world.every_split(RESOLVE).events[3], says(six));
}

// HAZARD 16, 18: a name server inside is no map of the network inside.
#[test]
fn what_the_guard_refuses_is_not_told() {
    let denied = |range| Failure::Denied(Refusal::SpecialPurpose(range).into());
    let mut world = World::open();
    world.addresses = addresses(&["127.0.0.1", "10.0.0.1"]);
    assert_eq!(world.every_split(RESOLVE).events[2..], refused(2, denied("private")));
    world.addresses = addresses(&["10.0.0.1", "203.0.113.7"]);
    assert_eq!(world.every_split(RESOLVE).events[3], says(FOUND), "the one that may be reached");
    let inside = b"\x05\x01\x00\x05\xf1\x00\x01\x0a\x00\x00\x01\x00\x00";
    let events = world.every_split(inside).events;
    assert_eq!(events[0], says(b"\x05\x00\x05\x02\0\x01\0\0\0\0\0\0"), "nobody is asked for its name");
    assert_eq!(events[1..], [Close(denied("private"))]);
}

#[test]
fn an_address_stands_for_itself_where_it_may_be_reached() {
    let request = |host: &[u8]| [b"\x05\x01\x00\x05\xf0\x00", host, b"\x00\x50"].concat();
    let seen = World::open().every_split(&request(b"\x01\xcb\x00\x71\x07"));
    let tell = || Event::Tell(socket("203.0.113.7:0"));
    assert_eq!(seen.events, [says(b"\x05\x00"), tell(), says(FOUND), Event::Answered]);
    assert!(seen.facts.contains("port: 0"), "a port means nothing: {}", seen.facts);
    let seen = World::open().every_split(&request(b"\x03\x0b203.0.113.7"));
    assert_eq!(seen.events[1], tell());
    let seen = World::open().every_split(&request(b"\x03\x05127.1"));
    let denied = Failure::Denied(Refusal::SpecialPurpose("loopback").into());
    assert_eq!(seen.events[1..], [Close(denied)]);
}

#[test]
fn only_addresses_have_names() {
    let events = World::open().every_split(b"\x05\x01\x00\x05\xf1\x00\x03\x0bexample.com\x00\x00").events;
    assert_eq!(events[1..], [closed_by(ProtoError::AddressType(3))]);
    assert!(matches!(&events[0], Says(said) if said[2..4] == [5, 8]), "{events:?}");
}

#[test]
fn what_is_not_there_has_its_reply() {
    let mut world = World::open();
    for (error, rep) in [(DnsError::NotFound, 4), (DnsError::Timeout, 6), (DnsError::Busy, 1)] {
        world.addresses = Err(error.clone());
        world.named = Err(error.clone());
        let failure = Failure::Dns(error);
        assert_eq!(world.every_split(RESOLVE).events[2..], refused(rep, failure.clone()));
        assert_eq!(world.every_split(REVERSE).events[2..], refused(rep, failure));
    }
}

#[test]
fn where_it_is_off_it_is_no_command() {
    let mut world = World::open();
    world.rules.resolve = false;
    for (request, code) in [(RESOLVE, 0xf0), (REVERSE, 0xf1)] {
        let events = world.every_split(request).events;
        assert_eq!(events[0], says(b"\x05\x00\x05\x07\0\x01\0\0\0\0\0\0"));
        assert_eq!(events[1..], [closed_by(ProtoError::Command(code))]);
    }
}

/// One word in a rule stands for both directions, and other commands are another matter.
#[test]
fn rules_judge_both_by_one_word() {
    let rule = |command, action| RuleSpec {
        name: "resolve".into(),
        commands: Condition { any_of: vec![command], none_of: Vec::new() },
        action,
        ..RuleSpec::default()
    };
    use crate::proto::request::RequestCommand;
    let closed = World::open().judged(Action::Allow, [rule(RequestCommand::Resolve, Action::Deny)]);
    for request in [RESOLVE, REVERSE] {
        let events = closed.every_split(request).events;
        assert!(matches!(&events[..], [Says(_), Close(Failure::Denied(_))]), "{events:?}");
    }
    assert_eq!(closed.every_split(&[b"\x05\x01\x00", CONNECT].concat()).events.last(), Some(&Relay));
    let open = World::open().judged(Action::Deny, [rule(RequestCommand::Resolve, Action::Allow)]);
    for request in [RESOLVE, REVERSE] {
        assert_eq!(open.every_split(request).events.last(), Some(&Event::Answered));
    }
    let other = World::open().judged(Action::Deny, [rule(RequestCommand::Connect, Action::Allow)]);
    for request in [RESOLVE, REVERSE] {
        assert!(matches!(other.every_split(request).events.last(), Some(Close(Failure::Denied(_)))));
    }
}

/// SOCKS4a has RESOLVE alone, and room for IPv4.
#[test]
fn socks4a_resolves_names() {
    const NAME: &[u8] = b"\x04\xf0\x00\x00\x00\x00\x00\x01\0example.com\0";
    let mut world = World::open();
    let seen = world.every_split(NAME);
    let (resolve, tell) = (Event::Resolve("example.com".into()), Event::Tell(socket("203.0.113.7:0")));
    assert_eq!(seen.events, [resolve, tell, says(b"\x00\x5a\x00\x00\xcb\x00\x71\x07"), Event::Answered]);
    world.addresses = addresses(&["2606:4700::1111"]);
    let none = Close(Failure::Dns(DnsError::NoAddress));
    assert_eq!(world.every_split(NAME).events[1..], [says(b"\x00\x5b\0\0\0\0\0\0"), none]);
    let reverse = world.every_split(b"\x04\xf1\x00\x00\xcb\x00\x71\x07\0").events;
    assert_eq!(reverse, [says(b"\x00\x5b\0\0\0\0\0\0"), closed_by(ProtoError::Command(0xf1))]);
}
