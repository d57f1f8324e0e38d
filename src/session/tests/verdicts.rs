//! Who is judged, for what, and what a denial comes to.

use super::*;
use crate::policy::rules::RuleId;
use crate::policy::rules::by_hand::{allow, any, at, deny, rules, to};
use crate::policy::{Allowed, DecidedBy, Denial, Object, Refusal, Route, RoutedAddress, Way};

const LOGIN: &[u8] = b"\x05\x01\x02\x01\x05alice\x06secret";
const ASK_NAME: &[u8] = b"\x05\x01\x00\x03\x01a\x01\xbb";
const BIND: &[u8] = b"\x05\x02\x00\x01\xcb\x00\x71\x07\x00\x15";

/// Alice, by the fourth listener, may not connect to port 443 of 203.0.113.7.
fn not_alice() -> [RuleSpec; 1] {
    [deny(|rule| {
        rule.users = any(["alice".into()]);
        rule.listeners = any(["fourth".into()]);
        rule.commands = any([RequestCommand::Connect]);
        rule.to = to(["203.0.113.7"]);
        rule.ports = any([443..=443]);
    })]
}

/// What a client that logs in as alice gets for a request, behind the login.
fn alice_asks(world: &World, request: &[u8]) -> Vec<Event> {
    world.every_split(&[LOGIN, request].concat()).events.split_off(3)
}

/// What anybody gets for a request, behind the greeting, and what is known of it then.
fn anybody_asks(world: &World, request: &[u8]) -> (Vec<Event>, String) {
    let mut seen = world.every_split(&[b"\x05\x01\x00", request].concat());
    (seen.events.split_off(1), seen.facts)
}

fn denied_by(rule: u16) -> [Event; 1] {
    [Close(Failure::Denied(Denial::Rule(RuleId(rule))))]
}

#[test]
fn a_rule_is_told_the_whole_subject_and_each_address() {
    let world = World::locked().ruled(not_alice());
    assert_eq!(alice_asks(&world, CONNECT), denied_by(1));
    assert!(alice_asks(&world, ASK_NAME).ends_with(&denied_by(1)));
    assert_eq!(alice_asks(&World::locked(), CONNECT)[0], dial("203.0.113.7:443"));
    let port_80 = [&CONNECT[..8], b"\x00\x50"].concat();
    assert_eq!(alice_asks(&world, &port_80)[0], dial("203.0.113.7:80"));
    assert!(matches!(alice_asks(&world, BIND)[0], Event::Bind(_)));
    let anonymous = World::open().ruled(not_alice());
    assert_eq!(anybody_asks(&anonymous, CONNECT).0[0], dial("203.0.113.7:443"));
    let mut elsewhere = World::locked();
    let rules = at(&rules(Action::Allow, not_alice()), &[("fourth", 2)]);
    elsewhere.rules.policy = elsewhere.rules.policy.with_rules(Some(rules));
    assert_eq!(alice_asks(&elsewhere, CONNECT)[0], dial("203.0.113.7:443"), "by another listener");
}

#[test]
fn of_several_addresses_those_that_a_rule_denies_are_not_dialled() {
    let mut world = World::locked().ruled(not_alice());
    world.addresses = addresses(&["203.0.113.7", "203.0.113.8"]);
    assert!(alice_asks(&world, ASK_NAME).contains(&dial("203.0.113.8:443")));
}

#[test]
fn a_rule_says_whose_connection_a_bind_takes() {
    let bind = || {
        [deny(|rule| {
            rule.commands = any([RequestCommand::Bind]);
            rule.to = to(["203.0.113.7"]);
        })]
    };
    let world = World::open().ruled(bind());
    assert!(anybody_asks(&world, BIND).0.ends_with(&denied_by(1)));
    assert_eq!(anybody_asks(&world, CONNECT).0[0], dial("203.0.113.7:443"));
}

#[test]
fn a_rule_says_who_has_an_association_or_a_listener_for_anybody() {
    let not_alice = || {
        [deny(|rule| {
            rule.users = any(["alice".into()]);
            rule.commands = any([RequestCommand::Bind, RequestCommand::UdpAssociate]);
        })]
    };
    let (world, other) = (World::locked().ruled(not_alice()), World::open().ruled(not_alice()));
    for (request, opens) in [
        (&b"\x05\x03\x00\x01\0\0\0\0\0\0"[..], Event::Associate(Announced { ip: None, port: None })),
        (b"\x05\x02\x00\x01\0\0\0\0\0\0", Event::Bind(Peers::Any(Route::default(), Way::default()))),
    ] {
        assert_eq!(alice_asks(&world, request), denied_by(1));
        assert_eq!(anybody_asks(&other, request).0[0], opens);
    }
    assert_eq!(alice_asks(&world, CONNECT)[0], dial("203.0.113.7:443"));
}

/// Where something could be allowed, it is known only later.
#[test]
fn what_is_not_known_whole_is_denied_only_where_no_rule_could_allow_it() {
    let one_target = || [allow(|rule| rule.to = to(["203.0.113.7", ".example.com"]))];
    let world = World::open().judged(Action::Deny, one_target());
    assert!(matches!(anybody_asks(&world, b"\x05\x02\x00\x01\0\0\0\0\0\0").0[0], Event::Bind(_)));
    assert!(matches!(anybody_asks(&world, b"\x05\x03\x00\x01\0\0\0\0\0\0").0[0], Event::Associate(_)));
    let by_name_alone = World::open().judged(Action::Deny, [allow(|rule| rule.to = to([".example.com"]))]);
    // No address can make this name one of those: nobody is asked for it.
    assert_eq!(anybody_asks(&by_name_alone, ASK_NAME).0, denied_by(0));
    let (seen, facts) = anybody_asks(&by_name_alone, b"\x05\x01\x00\x03\x0eA.eXample.cOM.\x01\xbb");
    assert_eq!(seen[..2], [Event::Resolve("a.example.com".into()), dial("203.0.113.7:443")]);
    assert!(facts.contains("allowed: true"), "{facts}");
    assert_eq!(anybody_asks(&by_name_alone, CONNECT).0, denied_by(0), "an address is no name");
}

/// Whatever a name is, where it leads is what is denied.
#[test]
fn a_denied_block_stops_a_name_that_leads_there_and_an_allowed_name_opens_no_special_range() {
    let by_block = World::open().ruled([deny(|rule| rule.to = to(["203.0.113.0/24"]))]);
    assert!(anybody_asks(&by_block, ASK_NAME).0.ends_with(&denied_by(1)));
    let name = |private| {
        let mut world = World::open().judged(
            Action::Deny,
            [allow(|rule| {
                rule.to = to(["a"]);
                rule.allow_private = private;
            })],
        );
        world.addresses = addresses(&["127.0.0.1", "203.0.113.9", "10.0.0.1"]);
        anybody_asks(&world, ASK_NAME).0
    };
    assert_eq!(name(false)[1], dial("203.0.113.9:443"));
    assert_eq!(
        name(true)[1],
        Dial(vec![socket("127.0.0.1:443"), socket("203.0.113.9:443"), socket("10.0.0.1:443")])
    );
}

#[test]
fn an_address_behind_a_known_translator_is_denied_as_what_it_carries() {
    let prefix = "2001:db8:64::/96".parse().ok().and_then(crate::policy::Nat64::new).unwrap();
    let mut world = World::open();
    let guard = Guard::new(true, Vec::new(), Vec::new()).with_nat64(&[prefix]);
    world.rules.policy = Policy::new(guard);
    let to_v6 = |last: u8| {
        let mut asked = b"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x64\0\0\0\0\0\0\xcb\x00\x71".to_vec();
        asked.extend([last, 0x01, 0xbb]);
        asked
    };
    let world = world.ruled([
        allow(|rule| rule.to = to(["203.0.113.8"])),
        deny(|rule| rule.to = to(["203.0.113.0/24"])),
        allow(|rule| rule.to = to(["2001:db8:64::/96"])),
    ]);
    assert_eq!(anybody_asks(&world, &to_v6(7)).0, denied_by(2));
    assert_eq!(anybody_asks(&world, &to_v6(8)).0[0], dial("[2001:db8:64::cb00:7108]:443"));
}

#[test]
fn no_rule_overrides_the_guard() {
    let world = World::open().ruled([allow(|_| {})]);
    let seen = world.every_split(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\x01\xbb");
    let by_guard = Close(Failure::Denied(Refusal::SpecialPurpose("loopback").into()));
    assert_eq!(seen.events.last(), Some(&by_guard));
    // Not even one that may have private addresses makes a loop.
    let mut world = World::open();
    world.rules.policy = Policy::new(Guard::new(false, Vec::new(), vec![socket("127.0.0.1:443")]));
    let world = world.ruled([allow(|rule| rule.allow_private = true)]);
    let (seen, facts) = anybody_asks(&world, b"\x05\x01\x00\x01\x7f\0\0\x01\x01\xbb");
    assert_eq!(seen.last(), Some(&Close(Failure::Denied(Refusal::OwnListener.into()))));
    assert!(facts.contains("by: Guard"), "{facts}");
}

#[test]
fn a_denial_says_which_rule_it_is_of() {
    let by = |rule| Failure::Denied(Denial::Rule(RuleId(rule))).to_string();
    assert_eq!((by(7), by(0)), ("policy: rule 7".to_owned(), "policy: no rule allows it".to_owned()));
    assert_eq!(Failure::Denied(Refusal::OwnListener.into()).to_string(), "policy: our own listener");
}

#[test]
fn a_session_remembers_what_decided_and_what_would_have() {
    let reported = |mut rule: RuleSpec| {
        rule.mode = crate::policy::rules::spec::Mode::Report;
        rule
    };
    let world = World::open().ruled([
        reported(deny(|rule| rule.to = to(["203.0.113.0/24"]))),
        allow(|rule| rule.ports = any([443..=443])),
    ]);
    let mut session = Session::new(INCOMING);
    let bytes = [b"\x05\x01\x00", CONNECT].concat();
    let Command::Dial(dialled) = session.handle(Input::Bytes(&bytes), world.rules.lend()).command else {
        panic!("{session:?}")
    };
    let decision = dialled[0].allowed.decision;
    assert_eq!(decision.by, DecidedBy::Rule(RuleId(2)));
    assert_eq!((decision.allowed, decision.would_deny()), (true, Some(RuleId(1))));
    assert_eq!(session.facts().decision, Some(decision));
}

/// Port 443 is reached from 198.51.100.1, everything else with mark 7.
fn by_port(object: Object<'_>) -> Route {
    route_of(match object {
        Object::To(address, _) | Object::From(address, _) => Some(address),
        Object::AnyPeer | Object::Unresolved(..) | Object::Told(..) => None,
    })
}

fn route_of(address: Option<SocketAddr>) -> Route {
    match address.is_some_and(|address| address.port() == 443) {
        true => Route { source: Some(socket("198.51.100.1:0").ip()), mark: None },
        false => Route { source: None, mark: Some(7) },
    }
}

#[test]
fn the_worker_is_told_the_route_of_each_verdict() {
    let world = World::open().routed(by_port);
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
    let to = |text: &str| {
        let allowed = Allowed { route: route_of(Some(socket(text))), ..Allowed::default() };
        RoutedAddress { address: socket(text), allowed }
    };
    let Command::Dial(dialled) = command_of(CONNECT) else { panic!("CONNECT") };
    assert_eq!(dialled, [to("203.0.113.7:443")]);
    let Command::Dial(dialled) = command_of(ASK_NAME) else { panic!("CONNECT by name") };
    assert_eq!(dialled, [to("203.0.113.7:443"), to("203.0.113.8:443")]);
    let Command::Bind(peers) = command_of(BIND) else { panic!("BIND") };
    assert_eq!(peers, Peers::Only(vec![to("203.0.113.7:21")]));
    let Command::Bind(peers) = command_of(b"\x05\x02\x00\x01\0\0\0\0\0\0") else {
        panic!("BIND for anybody")
    };
    assert_eq!(peers, Peers::Any(route_of(None), Way::default()));
    let associate = command_of(b"\x05\x03\x00\x01\0\0\0\0\0\0");
    let Command::Associate(_, route, _) = associate else { panic!("ASSOCIATE") };
    assert_eq!(route, route_of(None));
}
