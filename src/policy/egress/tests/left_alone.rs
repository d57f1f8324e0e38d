//! What a session gets of a pool whose addresses are left alone, drained or short of ports.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::policy::egress::by_hand;
use crate::policy::egress::client::PoolClient;
use crate::policy::egress::health::{AddressState, Outcome};
use crate::policy::egress::standing::EntryStanding;

const SELECTS: [PoolSelect; 4] =
    [PoolSelect::Sticky, PoolSelect::Random, PoolSelect::RoundRobin, PoolSelect::LeastUsed];

fn of(pool: &AddressPool, state: AddressState, now: Instant) -> usize {
    pool.standings().iter().filter(|standing| standing.state(now) == state).count()
}

#[test]
fn what_is_left_alone_is_passed_over_and_where_all_are_the_least_bad_serves() {
    let began = Instant::now();
    let all = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"];
    let egress = by_hand::egress(&[("fleet", &all)], began);
    let pool = egress.pool(EgressId(1)).unwrap();
    let source = |last: u8| IpAddr::from([192, 0, 2, last]);
    let first = |at: Instant| {
        let mut leaving = pool.choose(&from(1), &mut PoolTurns::new(1));
        pool.next(&mut leaving, V4_TARGET, at)
    };
    let home = first(began).unwrap();
    // One after the other, each with a longer cooldown than the one before.
    for nth in 0..3_u32 {
        let at = began + Duration::from_millis(u64::from(nth));
        let next = first(at).unwrap();
        pool.note(PoolClient::default(), (next, V4_TARGET), Outcome::AddressMissing, at);
        if nth < 2 {
            assert_ne!(first(at), Some(next), "it is left alone");
        }
    }
    let at = began + Duration::from_millis(3);
    assert_eq!(first(at), Some(home), "the least bad is the one whose time is over first");
    pool.standing(home).unwrap().set_drained(home.into(), true, at).unwrap();
    assert!(first(at).is_some_and(|ip| ip != home), "one that is drained comes behind all others");
    for last in 1..=3 {
        pool.standing(source(last)).unwrap().set_drained(source(last).into(), true, at).unwrap();
    }
    assert!(first(at).is_some(), "a pool is never left alone as a whole");
}

/// A session to this target that came to this; from which address it left.
fn session(pool: &AddressPool, asked: &LeavingAsked<'_>, target: u8, ends: fn(IpAddr) -> Outcome) -> IpAddr {
    let (now, target) = (Instant::now(), IpAddr::from([203, 0, 113, target]));
    let mut leaving = pool.choose(asked, &mut PoolTurns::new(1));
    let source = pool.next(&mut leaving, target, now).unwrap();
    assert!(pool.take(source, leaving.client(), now));
    let _used = pool.standing(source).unwrap().begin(source, (target, 443).into());
    pool.note(leaving.client(), (source, target), ends(source), now);
    source
}

/// Forty targets that refuse everybody, asked for from six addresses of one network, had all addresses but one left alone.
#[test]
fn dead_targets_of_one_client_move_nobody_else() {
    let choosing = Choosing { failover: 2, ..Choosing::default() };
    let pool = pool(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], choosing);
    let honest: Vec<u32> = (0..64).map(|network| 0x0a00_0007 + (network << 12)).collect();
    let homes = || -> Vec<IpAddr> {
        let served = |source: &u32| session(&pool, &from(*source), 1, |_| Outcome::Connected);
        honest.iter().map(served).collect()
    };
    let before = homes();
    for source in 1..=6 {
        (0..40)
            .for_each(|target| _ = session(&pool, &from(0xc633_6400 + source), target, |_| Outcome::Refused));
    }
    assert_eq!(of(&pool, AddressState::Serving, Instant::now()), 4);
    assert_eq!(homes(), before);
}

/// It is alone, so that nobody else can say that the address is dead.
#[test]
fn the_only_client_leaves_a_dead_address_alone_at_once() {
    let choosing = Choosing { select: PoolSelect::Random, failover: 2, ..Choosing::default() };
    let pool = pool(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], choosing);
    let dead = IpAddr::from([192, 0, 2, 2]);
    let mut turns = PoolTurns::new(7);
    let sources: Vec<IpAddr> = (0..400_u32)
        .map(|nth| {
            let now = Instant::now();
            let target = IpAddr::from([203, 0, 113, nth as u8]);
            let mut leaving = pool.choose(&from(1), &mut turns);
            let source = pool.next(&mut leaving, target, now).unwrap();
            let _used = pool.standing(source).unwrap().begin(source, (target, 443).into());
            let outcome = if source == dead { Outcome::TimedOut } else { Outcome::Connected };
            pool.note(leaving.client(), (source, target), outcome, now);
            source
        })
        .collect();
    assert_eq!(sources.iter().filter(|source| **source == dead).count(), 20, "`min_samples`");
}

/// Associations, and attempts that their client gave up, counted as if they had been answered: with two of them for each session
/// that came to nothing a dead address served on.
#[test]
fn what_nothing_came_of_hides_no_dead_address() {
    let pool = pool(&["192.0.2.1", "192.0.2.2"], Choosing::default());
    let dead = IpAddr::from([192, 0, 2, 1]);
    let standing = pool.standing(dead).unwrap();
    let left_alone = (0..200_u8).any(|nth| {
        let (now, target) = (Instant::now(), IpAddr::from([203, 0, 113, nth]));
        let client = PoolClient { own: u32::from(nth % 8) + 1, network: u32::from(nth % 8) + 1 };
        pool.note(client, (dead, target), Outcome::Bound, now);
        drop((standing.begin_for_any(), standing.begin(dead, (target, 443).into())));
        let _used = standing.begin(dead, (target, 443).into());
        pool.note(client, (dead, target), Outcome::TimedOut, now);
        of(&pool, AddressState::Serving, now) == 1
    });
    assert!(left_alone);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails, and whoever drains what, a session has an address; and once all of it is over, all of them serve.
    #[test]
    fn a_pool_always_has_an_address_and_all_of_them_in_the_end(
        select in 0..SELECTS.len(),
        failover in 0u8..3,
        events in prop::collection::vec((0u8..6, 0u8..4, 0u64..3_000), 0..200),
    ) {
        let mut now = Instant::now();
        let choosing = Choosing { select: SELECTS[select], failover, ..Choosing::default() };
        let pool = pool(&["192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3"], choosing);
        let mut turns = PoolTurns::new(1);
        for (what, last, passes) in events {
            now += Duration::from_millis(passes);
            let source = IpAddr::from([192, 0, 2, last]);
            let standing: &Arc<EntryStanding> = pool.standing(source).unwrap();
            let client = |n: u8| PoolClient { own: u32::from(n % 8) + 1, network: u32::from(n % 8) + 1 };
            let note = |n, target, outcome| pool.note(client(n), (source, target), outcome, now);
            match what {
                0 => note(0, V4_TARGET, Outcome::AddressMissing),
                1 => (0..40_u8).for_each(|n| note(n, [10, 0, 0, n].into(), Outcome::Refused)),
                2 => standing.set_drained(source.into(), true, now).map(|_| ()).unwrap_or_default(),
                3 if standing.take(source, client(last), now) => {}
                3 => {}
                4 => note(last, V4_TARGET, Outcome::TimedOut),
                _ => note(last, V4_TARGET, Outcome::Connected),
            }
            let mut leaving = pool.choose(&from(passes as u32), &mut turns);
            prop_assert!(pool.next(&mut leaving, V4_TARGET, now).is_some());
        }
        for one in pool.standings() {
            let _ = one.set_drained(one.network(), false, now);
        }
        prop_assert_eq!(of(&pool, AddressState::Serving, now), 4);
    }
}
