//! What a session gets of a pool whose addresses are left alone, drained or short of ports.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::policy::egress::by_hand;
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
        pool.note(next, V4_TARGET, Outcome::AddressMissing, at);
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
            match what {
                0 => pool.note(source, V4_TARGET, Outcome::AddressMissing, now),
                1 => (0..40_u8).for_each(|n| pool.note(source, [10, 0, 0, n].into(), Outcome::Refused, now)),
                2 => standing.set_drained(source.into(), true, now).map(|_| ()).unwrap_or_default(),
                3 if standing.take(source, now) => {}
                3 => {}
                4 => pool.note(source, V4_TARGET, Outcome::TimedOut, now),
                _ => pool.note(source, V4_TARGET, Outcome::Connected, now),
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
