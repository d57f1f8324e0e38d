//! Policy over addresses, as they are asked for and as names resolve: what was checked is what is dialled.

use std::net::IpAddr;

use super::*;
use crate::policy::{Denial, Locals, Refusal};

const REFUSED: &[u8] = b"\x05\x02\x00\x01\0\0\0\0\0\0";
const ASK_NAME: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50";

/// One address of every range that HAZARD 16 lists.
const SPECIAL: [&str; 28] = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001:0:1::1",
    "fd00::1",
    "fe80::1",
    "ff02::1",
];

/// A greeting and a CONNECT to port 80 of an address.
fn connect_to(ip: IpAddr) -> Vec<u8> {
    let greeting = b"\x05\x01\x00\x05\x01\x00";
    match ip {
        IpAddr::V4(v4) => [greeting, &b"\x01"[..], &v4.octets(), b"\x00\x50"].concat(),
        IpAddr::V6(v6) => [greeting, &b"\x04"[..], &v6.octets(), b"\x00\x50"].concat(),
    }
}

fn denied(seen: &Seen) -> Option<Refusal> {
    assert!(!seen.events.iter().any(|event| matches!(event, Dial(_))), "dialled: {seen:?}");
    match &seen.events[..] {
        [.., Says(said), Close(Failure::Denied(Denial::Guard(refusal)))] if said.ends_with(REFUSED) => {
            Some(*refusal)
        }
        _ => None,
    }
}

// HAZARD 16: as an address.
#[test]
fn special_addresses_are_refused_as_they_are_asked_for() {
    for ip in SPECIAL {
        let seen = World::open().every_split(&connect_to(ip.parse().unwrap()));
        assert!(matches!(denied(&seen), Some(Refusal::SpecialPurpose(_))), "{ip}: {seen:?}");
    }
}

// HAZARD 16: as what a name resolves to.
#[test]
fn special_addresses_are_refused_as_what_a_name_resolves_to() {
    for ip in SPECIAL {
        let mut world = World::open();
        world.addresses = addresses(&[ip]);
        let seen = world.every_split(ASK_NAME);
        assert!(matches!(denied(&seen), Some(Refusal::SpecialPurpose(_))), "{ip}: {seen:?}");
    }
    let mut world = World::open();
    world.addresses = addresses(&SPECIAL);
    assert!(denied(&world.every_split(ASK_NAME)).is_some());
}

// HAZARD 18.
#[test]
fn of_a_mixed_answer_only_allowed_addresses_are_dialled_in_their_order() {
    let mut world = World::open();
    world.addresses = addresses(&["127.0.0.1", "2606:4700::1111", "10.0.0.1", "203.0.113.7", "::1"]);
    let seen = world.every_split(ASK_NAME);
    let expected = [
        says(b"\x05\x00"),
        Event::Resolve("a".into()),
        Dial(vec![socket("[2606:4700::1111]:80"), socket("203.0.113.7:80")]),
        says(SUCCEEDED),
        Relay,
    ];
    assert_eq!(seen.events, expected);
}

// HAZARD 18.
#[test]
fn a_name_is_resolved_once_and_its_addresses_are_the_ones_dialled() {
    let world = World::open();
    let mut session = Session::new(INCOMING);
    let asked = session.handle(Input::Bytes(ASK_NAME), world.rules.lend()).command;
    assert!(matches!(asked, Command::Resolve(_)), "{asked:?}");
    let step = session.handle(Input::Resolved(addresses(&["203.0.113.9"])), world.rules.lend());
    let Command::Dial(dialled) = step.command else { panic!("{step:?}") };
    assert_eq!(dialled.iter().map(|to| to.address).collect::<Vec<_>>(), [socket("203.0.113.9:80")]);
    // Another answer, as a rebinding server would give, changes nothing any more.
    let step = session.handle(Input::Resolved(addresses(&["127.0.0.1"])), world.rules.lend());
    assert!(matches!(step.command, Command::Close(Failure::Internal(_))), "{step:?}");
}

#[test]
fn an_answer_without_an_address_is_a_host_that_cannot_be_reached() {
    let mut world = World::open();
    world.addresses = addresses(&[]);
    let seen = world.every_split(ASK_NAME);
    assert_eq!(seen.events[2], says(b"\x05\x04\x00\x01\0\0\0\0\0\0"));
    assert_eq!(seen.events[3], Close(Failure::Dns(DnsError::NoAddress)));
}

// HAZARD 17.
#[test]
fn our_own_listener_is_refused_by_any_alias_even_where_private_addresses_are_allowed() {
    let own = vec![socket("0.0.0.0:80")];
    let locals = Locals::new(["203.0.113.1".parse::<IpAddr>().unwrap()]);
    let guard = || Guard::new(true, Vec::new(), own.clone()).with_locals(locals.clone());
    for alias in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "203.0.113.1", "::", "::1", "::ffff:127.0.0.1"] {
        let mut world = World::open();
        world.rules.policy = Policy::new(guard());
        world.addresses = addresses(&[alias]);
        let as_address = denied(&world.every_split(&connect_to(alias.parse().unwrap())));
        assert_eq!(as_address, Some(Refusal::OwnListener), "{alias}");
        assert_eq!(denied(&world.every_split(ASK_NAME)), Some(Refusal::OwnListener), "{alias} by name");
    }
    let mut world = World::open();
    world.rules.policy = Policy::new(guard());
    world.addresses = addresses(&["127.0.0.1", "203.0.113.7"]);
    assert_eq!(world.every_split(ASK_NAME).events[2], dial("203.0.113.7:80"));
}
