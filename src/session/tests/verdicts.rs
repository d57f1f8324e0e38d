//! Who is judged, for what, and what a denial comes to.

use super::*;
use crate::policy::{Denial, Refusal, Route, RoutedAddress};

/// No rule has a route of its own for it.
const ALLOW: Verdict = Verdict::Allow(Route { source: None, mark: None });

const LOGIN: &[u8] = b"\x05\x01\x02\x01\x05alice\x06secret";
const ASK_NAME: &[u8] = b"\x05\x01\x00\x03\x01a\x01\xbb";
const BIND: &[u8] = b"\x05\x02\x00\x01\xcb\x00\x71\x07\x00\x15";

/// Rule 7: alice, by the fourth listener, may not connect to port 443 of 203.0.113.7.
fn rule_7(subject: &Subject<'_>, object: Object) -> Verdict {
    let alice = Identity::User("alice".into());
    let whom = Subject { incoming: INCOMING, identity: &alice, command: RequestCommand::Connect };
    match (*subject == whom, object) {
        (true, Object::To(address)) if address == socket("203.0.113.7:443") => Verdict::Deny(Denial::Rule(7)),
        _ => ALLOW,
    }
}

/// Rule 8: nobody may have a connection from 203.0.113.7.
fn rule_8(subject: &Subject<'_>, object: Object) -> Verdict {
    match (subject.command, object) {
        (RequestCommand::Bind, Object::From(peer)) if peer.ip() == socket("203.0.113.7:0").ip() => {
            Verdict::Deny(Denial::Rule(8))
        }
        _ => ALLOW,
    }
}

/// Rule 9: nothing is opened for alice before it is known for whom.
fn rule_9(subject: &Subject<'_>, object: Object) -> Verdict {
    let alice = subject.identity.user().is_some_and(|user| &**user == "alice");
    match alice && object == Object::AnyPeer {
        true => Verdict::Deny(Denial::Rule(9)),
        false => ALLOW,
    }
}

fn allow_all(_: &Subject<'_>, _: Object) -> Verdict {
    ALLOW
}

/// What a client that logs in as alice gets for a request, behind the login.
fn alice_asks(world: &World, request: &[u8]) -> Vec<Event> {
    world.every_split(&[LOGIN, request].concat()).events.split_off(3)
}

fn denied_by(rule: u16) -> [Event; 1] {
    [Close(Failure::Denied(Denial::Rule(rule)))]
}

#[test]
fn a_rule_is_told_the_whole_subject_and_each_address() {
    let world = World::locked().ruled(rule_7);
    assert_eq!(alice_asks(&world, CONNECT), denied_by(7));
    assert!(alice_asks(&world, ASK_NAME).ends_with(&denied_by(7)));
    assert_eq!(alice_asks(&World::locked(), CONNECT)[0], dial("203.0.113.7:443"));
    let port_80 = [&CONNECT[..8], b"\x00\x50"].concat();
    assert_eq!(alice_asks(&world, &port_80)[0], dial("203.0.113.7:80"));
    assert!(matches!(alice_asks(&world, BIND)[0], Event::Bind(_)));
    let anonymous = World::open().ruled(rule_7).every_split(&[b"\x05\x01\x00", CONNECT].concat());
    assert_eq!(anonymous.events[1], dial("203.0.113.7:443"));
}

#[test]
fn of_several_addresses_those_that_a_rule_denies_are_not_dialled() {
    let mut world = World::locked().ruled(rule_7);
    world.addresses = addresses(&["203.0.113.7", "203.0.113.8"]);
    assert!(alice_asks(&world, ASK_NAME).contains(&dial("203.0.113.8:443")));
}

#[test]
fn a_rule_says_whose_connection_a_bind_takes() {
    let world = World::open().ruled(rule_8);
    let seen = world.every_split(&[b"\x05\x01\x00", BIND].concat());
    assert!(seen.events.ends_with(&denied_by(8)), "{seen:?}");
    let seen = world.every_split(&[b"\x05\x01\x00", CONNECT].concat());
    assert_eq!(seen.events[1], dial("203.0.113.7:443"));
}

#[test]
fn a_rule_says_who_has_an_association_or_a_listener_for_anybody() {
    let (world, other) = (World::locked().ruled(rule_9), World::open().ruled(rule_9));
    for (request, opens) in [
        (&b"\x05\x03\x00\x01\0\0\0\0\0\0"[..], Event::Associate(Announced { ip: None, port: None })),
        (b"\x05\x02\x00\x01\0\0\0\0\0\0", Event::Bind(Peers::Any(Route::default()))),
    ] {
        assert_eq!(alice_asks(&world, request), denied_by(9));
        let anonymous = other.every_split(&[b"\x05\x01\x00", request].concat());
        assert_eq!(anonymous.events[1], opens);
    }
    assert!(matches!(alice_asks(&world, BIND)[0], Event::Bind(_)));
}

#[test]
fn no_rule_overrides_the_guard() {
    let world = World::open().ruled(allow_all);
    let seen = world.every_split(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\x01\xbb");
    let by_guard = Close(Failure::Denied(Refusal::SpecialPurpose("loopback").into()));
    assert_eq!(seen.events.last(), Some(&by_guard));
}

#[test]
fn a_denial_says_which_rule_it_is_of() {
    assert_eq!(Failure::Denied(Denial::Rule(7)).to_string(), "policy: rule 7");
    assert_eq!(Failure::Denied(Refusal::OwnListener.into()).to_string(), "policy: our own listener");
}

/// Rule 10: port 443 is reached from 198.51.100.1, everything else with mark 7.
fn rule_10(_: &Subject<'_>, object: Object) -> Verdict {
    Verdict::Allow(route_of(match object {
        Object::To(address) | Object::From(address) => Some(address),
        Object::AnyPeer => None,
    }))
}

fn route_of(address: Option<SocketAddr>) -> Route {
    match address.is_some_and(|address| address.port() == 443) {
        true => Route { source: Some(socket("198.51.100.1:0").ip()), mark: None },
        false => Route { source: None, mark: Some(7) },
    }
}

#[test]
fn the_worker_is_told_the_route_of_each_verdict() {
    let world = World::open().ruled(rule_10);
    let command_of = |request: &[u8]| {
        let mut session = Session::new(INCOMING);
        let bytes = [b"\x05\x01\x00", request].concat();
        match session.handle(Input::Bytes(&bytes), world.rules.lend()).command {
            Command::Resolve(_) => {
                let two = addresses(&["203.0.113.7", "203.0.113.8"]);
                session.handle(Input::Resolved(two), world.rules.lend()).command
            }
            command => command,
        }
    };
    let to = |text: &str| RoutedAddress { address: socket(text), route: route_of(Some(socket(text))) };
    let Command::Dial(dialled) = command_of(CONNECT) else { panic!("CONNECT") };
    assert_eq!(dialled, [to("203.0.113.7:443")]);
    let Command::Dial(dialled) = command_of(ASK_NAME) else { panic!("CONNECT by name") };
    assert_eq!(dialled, [to("203.0.113.7:443"), to("203.0.113.8:443")]);
    let Command::Bind(peers) = command_of(BIND) else { panic!("BIND") };
    assert_eq!(peers, Peers::Only(vec![to("203.0.113.7:21")]));
    let Command::Bind(peers) = command_of(b"\x05\x02\x00\x01\0\0\0\0\0\0") else {
        panic!("BIND for anybody")
    };
    assert_eq!(peers, Peers::Any(route_of(None)));
    let associate = command_of(b"\x05\x03\x00\x01\0\0\0\0\0\0");
    let Command::Associate(_, route) = associate else { panic!("ASSOCIATE") };
    assert_eq!(route, route_of(None));
}
