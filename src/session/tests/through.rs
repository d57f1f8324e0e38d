//! Ways that lead through a parent: which names are told to it, which are resolved here, and what does not go through one.

use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::policy::parents::{Fallback, Parent, ParentSpec, ResolveAt, by_hand};
use crate::policy::rules::by_hand::{allow, deny, to};
use crate::policy::{ParentId, Refusal, Way};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;

/// A greeting and CONNECT to example.com:80.
const CONNECT_NAME: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x00\x50";
/// A greeting and CONNECT to 203.0.113.7:443.
const CONNECT_IP: &[u8] = b"\x05\x01\x00\x05\x01\x00\x01\xcb\x00\x71\x07\x01\xbb";
/// A greeting and an association of a client that knows nothing yet.
const ASSOCIATE: &[u8] = b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0";

const UP: Way = Way { egress: None, parent: Some(ParentId(1)) };
const OTHER: Way = Way { egress: None, parent: Some(ParentId(2)) };

fn parent(number: u16, change: impl FnOnce(&mut ParentSpec)) -> Arc<Parent> {
    let mut spec = by_hand::spec(&format!("up{number}"), vec![by_hand::server("192.0.2.1", number, 1)]);
    change(&mut spec);
    Arc::new(Parent::new(spec, None, Instant::now()))
}

/// Where these rules hold, and the first parent is of this kind; the second one resolves, too.
fn led_by(rules: impl IntoIterator<Item = RuleSpec>, change: impl FnOnce(&mut ParentSpec)) -> World {
    let mut world = World::open().ruled(rules);
    let parents = [(ParentId(1), parent(1, change)), (ParentId(2), parent(2, |_| {}))];
    world.rules.parents = Some(Parents::new(parents));
    world
}

/// Where everything is led through it.
fn led(change: impl FnOnce(&mut ParentSpec)) -> World {
    led_by([allow(|rule| rule.way = UP)], change)
}

fn here(spec: &mut ParentSpec) {
    spec.resolve = ResolveAt::Here;
}

fn there(_: &mut ParentSpec) {}

fn refused(rep: u8, failure: Failure) -> [Event; 2] {
    [Says(vec![5, rep, 0, 1, 0, 0, 0, 0, 0, 0]), Close(failure)]
}

/// The greeting's answer left out, whether or not it stands by itself.
fn behind_greeting(mut events: Vec<Event>) -> Vec<Event> {
    match events.first_mut() {
        Some(Says(said)) if said == b"\x05\x00" => drop(events.remove(0)),
        Some(Says(said)) => drop(said.drain(..2)),
        _ => panic!("{events:?}"),
    }
    events
}

/// A session that has asked for this, with what it asks its worker for.
fn asked(world: &World, bytes: &[u8]) -> (Session, Command) {
    let mut session = Session::new(INCOMING);
    let command = session.handle(Input::Bytes(bytes), world.rules.lend()).command;
    (session, command)
}

#[test]
fn a_name_is_told_to_a_parent_that_resolves_at_every_split() {
    let seen = led(there).every_split(&[CONNECT_NAME, b"early"].concat());
    assert_eq!(seen.events, [says(b"\x05\x00"), Event::Through(UP), says(SUCCEEDED), Relay]);
    assert_eq!(seen.pending, b"early");
    assert!(seen.facts.contains("reply: Some(Succeeded)"), "{}", seen.facts);
}

/// All of them ask alike: no dialect has a name resolved here that is the parent's.
#[test]
fn names_of_every_protocol_are_told() {
    let socks4a = b"\x04\x01\x00\x50\x00\x00\x00\x01\0example.com\0";
    let seen = led(there).every_split(socks4a);
    assert_eq!(seen.events, [Event::Through(UP), says(b"\x00\x5a\x12\x34\xc6\x33\x64\x09"), Relay]);
    let tunnel = b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n";
    let seen = led(there).every_split(tunnel);
    let established = says(b"HTTP/1.1 200 Connection established\r\n\r\n");
    assert_eq!(seen.events, [Event::Through(UP), established, Relay]);
    let request = b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let events = led(there).every_split(request).events;
    assert!(matches!(events[..], [Event::Through(UP), Event::Exchange(_)]), "{events:?}");
}

/// Its addresses are judged as always, and each is dialled by the way that its rule says.
#[test]
fn a_name_that_is_resolved_here_is_dialled_by_address() {
    let mut world = led(here);
    world.addresses = addresses(&["127.0.0.1", "203.0.113.7"]);
    let events = world.every_split(CONNECT_NAME).events;
    let resolve = Event::Resolve("example.com".into());
    assert_eq!(events, [says(b"\x05\x00"), resolve, dial("203.0.113.7:80"), says(SUCCEEDED), Relay]);
    let (mut session, _) = asked(&world, CONNECT_NAME);
    let step = session.handle(Input::Resolved(world.addresses.clone()), world.rules.lend());
    let Command::Dial(dialled) = step.command else { panic!("{step:?}") };
    assert!(dialled.iter().all(|one| one.allowed.way == UP), "{dialled:?}");
}

#[test]
fn an_address_is_dialled_and_judged_whoever_resolves() {
    for world in [led(here), led(there)] {
        let (_, command) = asked(&world, CONNECT_IP);
        let Command::Dial(dialled) = command else { panic!("{command:?}") };
        assert_eq!((dialled[0].address, dialled[0].allowed.way), (socket("203.0.113.7:443"), UP));
        let events = world.every_split(b"\x05\x01\x00\x05\x01\x00\x03\x09127.0.0.1\x00\x50").events;
        let denied = Failure::Denied(Refusal::SpecialPurpose("loopback").into());
        assert_eq!(behind_greeting(events), refused(2, denied));
    }
}

/// What is resolved there is seen by no rule that goes by address, neither by one that denies nor by one that leads.
#[test]
fn rules_by_address_do_not_see_a_name_that_is_told() {
    let denied_block = || deny(|rule| rule.to = to(["203.0.113.0/24"]));
    let rules = || [denied_block(), allow(|rule| rule.way = UP)];
    let events = led_by(rules(), there).every_split(CONNECT_NAME).events;
    assert_eq!(events[1], Event::Through(UP));
    let events = led_by(rules(), here).every_split(CONNECT_NAME).events;
    assert_eq!(events[1], Event::Resolve("example.com".into()));
    assert!(matches!(events[2..], [Says(_), Close(Failure::Denied(_))]), "{events:?}");
    // A rule that leads by address leads no name: it is resolved here, and its addresses go that way.
    let by_block = allow(|rule| (rule.to, rule.way) = (to(["203.0.113.0/24"]), UP));
    let events = led_by([by_block], there).every_split(CONNECT_NAME).events;
    assert_eq!(events[1..3], [Event::Resolve("example.com".into()), dial("203.0.113.7:80")]);
}

#[test]
fn a_name_that_a_rule_denies_is_told_to_nobody() {
    let rules = [deny(|rule| rule.to = to(["example.com"])), allow(|rule| rule.way = UP)];
    let events = led_by(rules, there).every_split(CONNECT_NAME).events;
    assert!(matches!(events[..], [Says(_), Close(Failure::Denied(_))]), "{events:?}");
}

// HAZARD 14: what the parent says is what the client is told.
#[test]
fn what_comes_of_a_parent_has_its_reply() {
    for (error, rep) in [
        (DialError::Replied(Rep::NotAllowed), 2),
        (DialError::Replied(Rep::HostUnreachable), 4),
        (DialError::Replied(Rep::ConnectionRefused), 5),
        (DialError::Replied(Rep::TtlExpired), 6),
        (DialError::ParentAway, 1),
        (DialError::TimedOut, 6),
        (DialError::Ourselves, 2),
    ] {
        let mut world = led(there);
        world.dialed = Err(error);
        let events = world.every_split(CONNECT_NAME).events;
        assert_eq!(events[1], Event::Through(UP));
        assert_eq!(events[2..], refused(rep, Failure::Dial(error)));
    }
}

/// Where the session is to go on without its parent, its name is resolved here, and what it finds is judged.
#[test]
fn a_name_without_its_parent_is_resolved_and_judged_here() {
    let world = led(there);
    let (mut session, command) = asked(&world, CONNECT_NAME);
    assert!(matches!(command, Command::Through(_)), "{command:?}");
    let step = session.handle(Input::Direct, world.rules.lend());
    assert!(step.output.is_empty(), "{step:?}");
    let Command::Resolve(resolved) = step.command else { panic!("{step:?}") };
    assert_eq!(resolved, name("example.com"));
    let answer = addresses(&["10.0.0.1", "203.0.113.7"]);
    let step = session.handle(Input::Resolved(answer), world.rules.lend());
    let Command::Dial(dialled) = step.command else { panic!("{step:?}") };
    let straight: Vec<_> = dialled.iter().map(|one| (one.address, one.allowed.way)).collect();
    assert_eq!(straight, [(socket("203.0.113.7:80"), Way::default())]);
    let step = session.handle(Input::Dialed(world.dialed), world.rules.lend());
    assert_eq!(step.output, SUCCEEDED);
    assert!(matches!(step.command, Command::Relay), "{step:?}");
    // Behind a parent that is away there is no way into our own network.
    let (mut session, _) = asked(&world, CONNECT_NAME);
    session.handle(Input::Direct, world.rules.lend());
    let step = session.handle(Input::Resolved(addresses(&["10.0.0.1"])), world.rules.lend());
    assert_eq!(step.output, b"\x05\x02\x00\x01\0\0\0\0\0\0");
    assert!(matches!(step.command, Command::Close(Failure::Denied(_))), "{step:?}");
}

/// That one parent may be done without says nothing of another, to which a rule leads one of the addresses.
#[test]
fn only_the_parent_that_is_away_is_done_without() {
    let by_block = allow(|rule| (rule.to, rule.way) = (to(["203.0.113.9"]), OTHER));
    let world = led_by([by_block, allow(|rule| rule.way = UP)], there);
    let (mut session, _) = asked(&world, CONNECT_NAME);
    session.handle(Input::Direct, world.rules.lend());
    let answer = addresses(&["203.0.113.9", "203.0.113.7"]);
    let step = session.handle(Input::Resolved(answer), world.rules.lend());
    let Command::Dial(dialled) = step.command else { panic!("{step:?}") };
    let ways: Vec<Way> = dialled.iter().map(|one| one.allowed.way).collect();
    assert_eq!(ways, [OTHER, Way::default()]);
}

/// Nobody goes without a parent that did not ask for one.
#[test]
fn doing_without_is_no_answer_to_anything_else() {
    for (world, bytes) in [(led(there), CONNECT_IP), (led(here), CONNECT_NAME), (led(there), &ASSOCIATE[..3])]
    {
        let (mut session, _) = asked(&world, bytes);
        let step = session.handle(Input::Direct, world.rules.lend());
        assert!(matches!(step.command, Command::Close(Failure::Internal(_))), "{step:?}");
    }
}

/// Nobody comes through a parent. Our own servers were once asked for a name that is the parent's to resolve, and then it was
/// refused all the same.
#[test]
fn a_bind_does_not_go_through_a_parent() {
    let not_through = || refused(7, Failure::NotThrough(RequestCommand::Bind));
    for host in [&b"\x01\xcb\x00\x71\x07"[..], b"\x01\0\0\0\0", b"\x03\x0bexample.com"] {
        let request = [b"\x05\x01\x00\x05\x02\x00", host, b"\x00\x15"].concat();
        let events = behind_greeting(led(there).every_split(&request).events);
        assert_eq!(events, not_through(), "{}", host.escape_ascii());
        let mut events = behind_greeting(led(here).every_split(&request).events);
        if host[0] == 3 {
            assert_eq!(events.remove(0), Event::Resolve("example.com".into()));
        }
        assert_eq!(events, not_through(), "{}", host.escape_ascii());
    }
    let straight =
        led_by([allow(|rule| rule.to = to(["203.0.113.0/24"])), allow(|rule| rule.way = UP)], there);
    let events = straight.every_split(b"\x05\x01\x00\x05\x02\x00\x01\xcb\x00\x71\x07\x00\x15").events;
    assert!(matches!(events[1], Event::Bind(Peers::Only(_))), "{events:?}");
}

/// A datagram would show the address that the parent hides, unless the parent takes it or may be done without.
#[test]
fn datagrams_go_where_the_parent_takes_them_or_may_be_done_without() {
    let not_through = refused(7, Failure::NotThrough(RequestCommand::UdpAssociate));
    assert_eq!(behind_greeting(led(there).every_split(ASSOCIATE).events), not_through);
    let takes: [fn(&mut ParentSpec); 2] = [|spec| spec.udp = true, |spec| spec.fallback = Fallback::Direct];
    for take in takes {
        let world = led(take);
        let events = world.every_split(ASSOCIATE).events;
        assert_eq!(events.last(), Some(&Event::Datagrams), "{events:?}");
        let (_, command) = asked(&world, ASSOCIATE);
        assert!(matches!(command, Command::Associate(_, _, UP)), "{command:?}");
    }
    // A parent that is gone with a reload takes nothing.
    let mut world = led(|spec| spec.udp = true);
    world.rules.parents = Some(Parents::default());
    assert_eq!(behind_greeting(world.every_split(ASSOCIATE).events), not_through);
}

/// Nothing asks a parent for that, and our own servers are not told of a name that is the parent's to resolve.
#[test]
fn a_name_that_is_the_parents_is_resolved_for_nobody() {
    let resolve = b"\x05\x01\x00\x05\xf0\x00\x03\x0bexample.com\x00\x00";
    let events = behind_greeting(led(there).every_split(resolve).events);
    assert_eq!(events, refused(7, Failure::NotThrough(RequestCommand::Resolve)));
    let events = behind_greeting(led(here).every_split(resolve).events);
    assert_eq!(events[..2], [Event::Resolve("example.com".into()), Event::Tell(socket("203.0.113.7:0"))]);
}
