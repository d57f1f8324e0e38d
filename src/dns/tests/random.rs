//! Random octets and random histories: never a panic, and each lookup has exactly one answer in time.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::limits::{DNS_NAMES_IN_FLIGHT, DNS_NAMES_LINGERING, DNS_SECONDS};

#[derive(Clone, Debug)]
enum Step {
    Lookup(u8, u8),
    Cancel(usize),
    /// Octets for a live exchange.
    Noise(usize, Vec<u8>),
    /// A response to a query, with a few octets changed.
    Reply {
        query: usize,
        flags: u16,
        addresses: u8,
        ttl: u32,
        damage: Vec<(usize, u8)>,
    },
    Fail(usize),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![4 => Just(0u16), 1 => Just(0x0200), 4 => 0u16..6];
    let damage = prop_oneof![3 => Just(Vec::new()), 1 => vec((any::<usize>(), any::<u8>()), 1..4)];
    prop_oneof![
        4 => (0u8..12, 0u8..4).prop_map(|(name, client)| Step::Lookup(name, client)),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => (any::<usize>(), vec(any::<u8>(), 0..600)).prop_map(|(at, noise)| Step::Noise(at, noise)),
        4 => (any::<usize>(), flags, 0u8..4, 0u32..4, damage).prop_map(
            |(query, flags, addresses, ttl, damage)| Step::Reply { query, flags, addresses, ttl, damage }
        ),
        1 => any::<usize>().prop_map(Step::Fail),
        2 => (0u16..2500).prop_map(Step::Pass),
    ]
}

/// Lookups that wait, with their deadlines.
type Waiting = HashMap<u64, Instant>;

fn play(world: &mut World, waiting: &mut Waiting, history: &mut Vec<Sent>, step: Step) {
    let pick = |list: &[Sent], at: usize| list.get(at % list.len().max(1)).cloned();
    match step {
        Step::Lookup(name, client) => {
            let client = format!("192.0.{}.{}", client / 2, client % 2);
            if let Ok(ticket) = world.lookup_of(&format!("n{name}.example"), &client) {
                waiting.insert(ticket, world.now + 5 * SECOND);
            }
        }
        Step::Cancel(at) => {
            let mut tickets: Vec<u64> = waiting.keys().copied().collect();
            tickets.sort_unstable();
            if let Some(&ticket) = tickets.get(at % tickets.len().max(1)) {
                waiting.remove(&ticket);
                world.cancel(ticket);
            }
        }
        Step::Noise(at, noise) => {
            if let Some(query) = pick(history, at) {
                world.bytes(&query, &noise);
            }
        }
        Step::Reply { query, flags, addresses, ttl, damage } => {
            let Some(query) = pick(history, query) else { return };
            let text = |n| if query.kind() == A { format!("192.0.2.{n}") } else { format!("2001:db8::{n}") };
            let records: Vec<_> = (0..addresses).map(|n| address(&text(n), ttl)).collect();
            let mut reply = query.reply(flags, &records, &[]);
            for (at, value) in damage {
                let at = at % reply.len();
                reply[at] = value;
            }
            world.give(&query, &reply);
        }
        Step::Fail(at) => {
            if let Some(query) = pick(history, at) {
                world.failed(&query);
            }
        }
        Step::Pass(time) => world.pass(u32::from(time) * MS),
    }
    let sent = world.take();
    history.extend(sent);
    let old = history.len().saturating_sub(32);
    history.drain(..old);
}

proptest! {
    #[test]
    fn each_lookup_is_answered_once_by_its_deadline(
        servers in 1usize..4,
        few in any::<bool>(),
        steps in vec(step(), 1..120),
    ) {
        let (names, spare) = if few { (3, 3) } else { (DNS_NAMES_IN_FLIGHT, DNS_NAMES_LINGERING + DNS_SECONDS) };
        let mut world = World::with(servers, |settings| (settings.names, settings.spare) = (names, spare));
        let mut waiting = Waiting::new();
        let mut history = Vec::new();
        for step in steps.into_iter().chain([Step::Pass(2500), Step::Pass(2500)]) {
            play(&mut world, &mut waiting, &mut history, step);
            for (ticket, answer) in world.answers.drain(..) {
                prop_assert!(waiting.remove(&ticket).is_some(), "twice, or after its end: {ticket}");
                prop_assert!(answer.as_ref().map_or(true, |list| !list.is_empty()));
            }
            // `pass` stops at every deadline, so nothing is owed at its end.
            prop_assert!(waiting.values().all(|deadline| *deadline > world.now));
            prop_assert!(world.open.len() <= names + spare);
        }
        prop_assert!(waiting.is_empty());
        world.pass(2 * SECOND);
        prop_assert!(world.resolver.is_idle() && world.resolver.next_deadline().is_none());
    }

    #[test]
    fn random_octets_never_panic(transport in any::<bool>(), pieces in vec(vec(any::<u8>(), 0..300), 0..40)) {
        let mut world = World::new(1);
        let (mut a, mut aaaa) = world.ask("a.example");
        if transport {
            world.give(&a, &a.reply(0x0200, &[], &[]));
            world.give(&aaaa, &aaaa.reply(0x0200, &[], &[]));
            (a, aaaa) = world.pair();
        }
        for piece in pieces {
            world.bytes(&a, &piece);
            // The same octets behind a header and question that fit.
            let mut message = aaaa.reply(0, &[], &[]);
            message[7] = 3;
            message.extend(piece);
            world.give(&aaaa, &message);
        }
        world.pass(6 * SECOND);
        prop_assert!(world.open.is_empty());
    }
}
