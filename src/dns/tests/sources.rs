//! What one source's names may cost another's, and its own.

use std::collections::HashMap;

use super::*;
use crate::limits::*;

const GREEDY: &str = "192.0.2.66";
const OTHER: &str = "198.51.100.1";

fn only_v4() -> World {
    World::with(1, |settings| settings.prefer = Prefer::Ipv4Only)
}

/// Asks for dead names in the name of a client, as many as are taken.
fn dead(world: &mut World, client: &str, names: std::ops::Range<usize>) {
    for n in names {
        let taken = world.lookup_of(&format!("{}n{n}.dead", client.replace([':', '.'], "-")), client);
        assert!(matches!(taken, Ok(_) | Err(Err(DnsError::Busy))));
    }
}

/// Whether a name is asked for in the very call that wants it, and answered then.
fn is_served_at_once(world: &mut World, name: &str, client: &str) -> bool {
    world.take();
    let ticket = world.lookup_of(name, client).unwrap();
    let Some(query) = world.take().into_iter().find(|query| query.name() == name) else { return false };
    world.answers.clear();
    world.answer(&query, &[address("192.0.2.1", 0)]);
    world.answers.contains(&(ticket, found(&["192.0.2.1"])))
}

#[test]
fn dead_names_of_one_source_hold_up_nobody_else() {
    let mut world = only_v4();
    for round in 0..20 {
        dead(&mut world, GREEDY, round * 600..(round + 1) * 600);
        for n in 0..5 {
            assert!(is_served_at_once(&mut world, &format!("g{n}r{round}.example"), OTHER), "round {round}");
        }
        world.pass(250 * MS);
    }
}

#[test]
fn names_that_take_the_server_long_are_all_answered() {
    let mut world = only_v4();
    let mut due: Vec<(Instant, Sent)> = Vec::new();
    let mut asked = 0;
    for _ in 0..4000 {
        if asked < 2400 {
            world.lookup_of(&format!("slow{asked}.example"), GREEDY).unwrap();
            asked += 1;
        }
        world.pass(MS * 5 / 2);
        let at = world.now + 800 * MS;
        due.extend(world.take().into_iter().map(|query| (at, query)));
        while due.first().is_some_and(|(at, _)| *at <= world.now) {
            let (_, query) = due.remove(0);
            world.answer(&query, &[address("192.0.2.1", 60)]);
        }
    }
    assert_eq!(world.answers.len(), 2400);
    assert!(world.answers.iter().all(|(_, answer)| answer.is_ok()));
}

/// Of the same source, too: what nobody has answered within a second is no better than what is new.
#[test]
fn dead_names_hold_up_their_own_sources_good_ones_for_a_second() {
    let mut world = only_v4();
    dead(&mut world, GREEDY, 0..DNS_NAMES_IN_FLIGHT);
    world.take();
    let ticket = world.lookup_of("good.example", GREEDY).unwrap();
    let behind = DNS_NAMES_IN_FLIGHT / 2;
    assert!(world.take().is_empty(), "behind {behind} names in flight and {behind} in the queue");
    world.pass(DNS_YIELD + DNS_QUEUE_TICK);
    world.pass(DNS_YIELD + DNS_QUEUE_TICK);
    let query = world.take().into_iter().find(|query| query.name() == "good.example").expect("asked for");
    world.answer(&query, &[address("192.0.2.1", 60)]);
    assert_eq!(world.answers, [(ticket, found(&["192.0.2.1"]))]);
}

#[test]
fn a_name_that_gave_its_place_away_is_asked_for_again() {
    let mut world = only_v4();
    let ticket = world.lookup_of("slow.example", GREEDY).unwrap();
    dead(&mut world, GREEDY, 0..600);
    world.pass(DNS_YIELD + DNS_QUEUE_TICK);
    let again: Vec<_> = world.take().into_iter().filter(|query| query.name() == "slow.example").collect();
    assert!(again.len() >= 2, "{}", again.len());
    assert_ne!(again[0].exchange, again[1].exchange, "from a fresh port");
    world.answer(&again[again.len() - 1], &[address("192.0.2.1", 60)]);
    assert!(world.answers.contains(&(ticket, found(&["192.0.2.1"]))));
    world.pass(6 * SECOND);
    assert!(world.resolver.is_idle());
}

/// The name stands in the queue of everyone who waits for it.
#[test]
fn who_joins_a_name_in_anothers_queue_does_not_wait_there() {
    let mut world = only_v4();
    dead(&mut world, GREEDY, 0..2000);
    let first = world.lookup_of("shared.example", GREEDY).unwrap();
    world.take();
    let second = world.lookup_of("shared.example", OTHER).unwrap();
    let query = world.one();
    assert_eq!(query.name(), "shared.example");
    world.answer(&query, &[address("192.0.2.1", 60)]);
    assert_eq!(world.answers, [(first, found(&["192.0.2.1"])), (second, found(&["192.0.2.1"]))]);
}

#[test]
fn a_new_source_finds_a_place_where_greedy_ones_have_them_all() {
    let mut world = only_v4();
    for n in 0..40 {
        dead(&mut world, &format!("10.0.{n}.1"), 0..300);
    }
    assert!(world.open.len() >= DNS_NAMES_IN_FLIGHT, "{}", world.open.len());
    assert!(is_served_at_once(&mut world, "good.example", OTHER));
    // With one name each there is nothing to share out: the oldest gives way, in its time.
    let mut world = only_v4();
    for n in 0..DNS_NAMES_IN_FLIGHT {
        dead(&mut world, &format!("10.{}.{}.1", n / 250, n % 250), 0..1);
    }
    assert!(!is_served_at_once(&mut world, "good.example", OTHER));
    world.pass(DNS_YIELD + DNS_QUEUE_TICK);
    assert!(world.take().iter().any(|query| query.name() == "good.example"));
}

/// A LAN is one network: its share may be used up by a neighbour.
#[test]
fn greedy_neighbours_of_one_network_hold_up_no_other_of_it() {
    for net in ["192.0.2.", "2001:db8:1:"] {
        let client =
            |n: usize| if net.contains(':') { format!("{net}{n:x}::1") } else { format!("{net}{n}") };
        let mut world = only_v4();
        for n in 1..20 {
            dead(&mut world, &client(n), 0..300);
        }
        for n in 20..100 {
            assert!(is_served_at_once(&mut world, &format!("g{n}.example"), &client(n)), "{}", client(n));
        }
        assert!(is_served_at_once(&mut world, "good.example", OTHER));
    }
}

/// As many sources as an IPv6 /48 has, each with a name.
#[test]
fn a_network_full_of_sources_holds_up_no_other_network() {
    let mut world = only_v4();
    for n in 0..4000 {
        dead(&mut world, &format!("2001:db8:1:{n:x}::1"), 0..1);
        if n % 500 == 499 {
            assert!(is_served_at_once(&mut world, &format!("g{n}.example"), OTHER), "{n}");
        }
    }
    world.pass(6 * SECOND);
    assert!(world.resolver.is_idle());
}

#[test]
fn few_sockets_are_enough_for_names_of_both_families_and_tcp() {
    for (names, spare) in [(1, 0), (6, 2), (45, 14)] {
        let mut world = World::with(1, |settings| (settings.names, settings.spare) = (names, spare));
        let tickets: Vec<u64> = (0..400).map(|n| world.lookup(&format!("n{n}.example")).unwrap()).collect();
        let mut turns = 0;
        while let Some(query) = world.sent.pop() {
            let answers = if query.kind() == A { vec![address("192.0.2.1", 60)] } else { Vec::new() };
            let flags = if query.transport == Transport::Udp { 0x0200 } else { 0 };
            if world.open.contains_key(&query.exchange.0) {
                world.give(&query, &query.reply(flags, &answers, &[]));
            }
            turns += 1;
            assert!(turns < 10_000);
        }
        world.pass(SECOND);
        let answers: HashMap<u64, Answer> = world.answers.drain(..).collect();
        assert!(tickets.iter().all(|ticket| answers[ticket] == found(&["192.0.2.1"])), "{names}");
        assert!(world.peak <= names + spare, "{} of {names} and {spare}", world.peak);
        assert!(world.resolver.is_idle());
    }
}
