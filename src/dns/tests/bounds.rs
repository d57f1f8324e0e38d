//! Many names, dead servers, lookups that leave (HAZARDS 20).

use super::*;
use crate::limits::*;

const SOCKETS: usize = DNS_NAMES_IN_FLIGHT + DNS_NAMES_LINGERING + DNS_SECONDS;

#[test]
fn one_query_per_name_and_everyone_is_answered() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    for _ in 0..99 {
        world.lookup("a.example").unwrap();
    }
    assert!(world.sent.is_empty());
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.answers.len(), 100);
    assert!(world.answers.iter().all(|(_, answer)| *answer == found(&["192.0.2.1"])));
}

#[test]
fn ten_thousand_names_and_a_dead_resolver() {
    let mut world = World::new(2);
    for n in 0..10_000 {
        let client = if n % 2 == 0 { "192.0.2.1" } else { "198.51.100.1" };
        world.lookup_of(&format!("n{n}.example"), client).unwrap();
        world.lookup_of(&format!("n{n}.example"), client).unwrap();
    }
    world.pass(5 * SECOND - MS);
    assert!(world.answers.is_empty());
    world.pass(MS);
    assert_eq!(world.answers.len(), 20_000);
    assert!(world.answers.iter().all(|(_, answer)| *answer == Err(DnsError::Timeout)));
    assert!(world.peak <= SOCKETS, "{}", world.peak);
    assert!(world.open.is_empty() && world.resolver.next_deadline().is_none());
    let asked: std::collections::HashSet<_> = world.take().iter().map(Sent::name).collect();
    // Their places, each given up after a second for the next name, while there is time.
    assert!((DNS_NAMES_IN_FLIGHT..=4 * DNS_NAMES_IN_FLIGHT).contains(&asked.len()), "{}", asked.len());
    assert!(world.resolver.is_idle());
    // The servers are back, and so is everything else.
    let (a, aaaa) = world.ask("fresh.example");
    world.answers.clear();
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.result(), found(&["192.0.2.1"]));
}

#[test]
fn names_beyond_the_bound_are_refused_at_once_and_listed_ones_are_not() {
    let mut world = World::new(1);
    for n in 0..DNS_NAMES / 2 {
        world.lookup(&format!("n{n}.example")).unwrap();
    }
    assert_eq!(world.lookup("more.example"), Err(Err(DnsError::Busy)));
    assert!(world.lookup("n1.example").is_ok(), "joins its name");
    assert!(world.lookup("localhost").is_err());
    assert!(world.lookup_of("more.example", "198.51.100.1").is_ok(), "another source has room");
    world.pass(5 * SECOND);
    let timeouts = world.answers.iter().filter(|(_, answer)| *answer == Err(DnsError::Timeout)).count();
    assert_eq!((timeouts, world.answers.len()), (DNS_NAMES / 2 + 2, DNS_NAMES / 2 + 2));
    assert!(world.lookup("yet.more.example").is_ok());
}

#[test]
fn lookups_beyond_the_bound_are_refused_at_once() {
    let mut world = World::new(1);
    for _ in 0..DNS_LOOKUPS / 2 {
        world.lookup("a.example").unwrap();
    }
    assert_eq!(world.lookup("a.example"), Err(Err(DnsError::Busy)));
    assert!(world.lookup_of("a.example", "198.51.100.1").is_ok(), "another source has room");
    world.pass(5 * SECOND);
    assert_eq!(world.answers.len(), DNS_LOOKUPS / 2 + 1);
    assert!(world.resolver.is_idle());
}

#[test]
fn queued_names_take_their_turn_as_others_are_answered() {
    let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
    for n in 0..1000 {
        world.lookup(&format!("n{n}.example")).unwrap();
    }
    let mut answered = 0;
    while let Some(query) = world.sent.pop() {
        world.answer(&query, &[address("192.0.2.1", 60)]);
        answered += 1;
    }
    assert_eq!((answered, world.answers.len(), world.peak), (1000, 1000, DNS_NAMES_IN_FLIGHT / 2));
}

/// Servers that drop AAAA are common: they must not make names wait for a turn.
#[test]
fn a_family_that_never_answers_does_not_hold_the_queue() {
    let mut world = World::new(1);
    for n in 0..2000 {
        world.lookup(&format!("n{n}.example")).unwrap();
    }
    for _ in 0..20 {
        for query in world.take() {
            if query.kind() == A {
                world.answer(&query, &[address("192.0.2.1", 600)]);
            }
        }
        world.pass(50 * MS);
    }
    assert_eq!(world.answers.len(), 2000, "within a second");
    assert!(world.answers.iter().all(|(_, answer)| answer.is_ok()));
    assert!(world.peak <= SOCKETS);
    world.pass(SECOND);
    assert!(world.open.is_empty() && world.resolver.next_deadline().is_none());
}

#[test]
fn who_joins_late_has_a_full_deadline_of_its_own() {
    let mut world = World::new(1);
    let first = world.lookup("a.example").unwrap();
    world.pass(4900 * MS);
    let second = world.lookup("a.example").unwrap();
    world.take();
    world.pass(100 * MS);
    assert_eq!(world.answers, [(first, Err(DnsError::Timeout))]);
    let (a, aaaa) = world.pair();
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.answers[1..], [(second, found(&["192.0.2.1"]))]);
}

#[test]
fn a_cancelled_lookup_has_no_answer_and_its_query_still_serves_the_cache() {
    let mut world = World::new(1);
    let ticket = world.lookup("a.example").unwrap();
    let (a, aaaa) = world.pair();
    world.cancel(ticket);
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.answer(&aaaa, &[]);
    assert!(world.answers.is_empty() && world.open.is_empty());
    assert_eq!(world.lookup("a.example"), Err(found(&["192.0.2.1"])));
}

#[test]
fn a_cancelled_lookup_is_not_retried_and_another_can_take_it_up() {
    let mut world = World::new(1);
    let ticket = world.lookup("a.example").unwrap();
    let (a, aaaa) = world.pair();
    world.cancel(ticket);
    world.pass(500 * MS);
    let again = world.lookup("a.example").unwrap();
    assert!(world.sent.is_empty(), "it joins what is under way");
    world.answer(&a, &[address("192.0.2.1", 0)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.answers, [(again, found(&["192.0.2.1"]))]);
    let ticket = world.lookup("b.example").unwrap();
    world.take();
    world.cancel(ticket);
    world.pass(10 * SECOND);
    assert!(world.sent.is_empty() && world.open.is_empty());
    assert!(world.lookup("b.example").is_ok(), "a failure that nobody waited for is not remembered");
}

#[test]
fn lookups_that_leave_at_once_leave_nothing_behind() {
    let mut world = World::new(1);
    for n in 0..20_000 {
        let ticket = world.lookup(&format!("n{}.example", n % 5000)).unwrap();
        world.cancel(ticket);
        world.take();
        assert!(world.open.len() <= SOCKETS);
    }
    let kept = world.lookup("hot.example").unwrap();
    for _ in 0..20_000 {
        let ticket = world.lookup("hot.example").unwrap();
        world.cancel(ticket);
    }
    world.pass(5 * SECOND);
    assert_eq!(world.answers, [(kept, Err(DnsError::Timeout))]);
    assert!(world.open.is_empty() && world.resolver.next_deadline().is_none());
}

#[test]
fn a_turn_that_a_cancel_frees_is_taken_at_the_next_expire() {
    let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
    let tickets: Vec<_> =
        (0..=DNS_NAMES_IN_FLIGHT / 2).map(|n| world.lookup(&format!("n{n}.example")).unwrap()).collect();
    assert_eq!(world.take().len(), DNS_NAMES_IN_FLIGHT / 2);
    world.cancel(tickets[0]);
    world.pass(Duration::ZERO);
    assert_eq!(world.one().name(), format!("n{}.example", DNS_NAMES_IN_FLIGHT / 2));
}
