//! Pools for tests that are about something else than how pools are made.

use std::sync::Arc;
use std::time::Instant;

use super::{Egress, PoolSpec};
use crate::outbound::OutboundOptions;
use crate::policy::way::EgressId;

/// Pools of these names and addresses, whose numbers are their places from 1 on and whose addresses have 1,000 ports each.
pub(crate) fn egress(pools: &[(&str, &[&str])], now: Instant) -> Arc<Egress> {
    let pool = |(place, (name, texts)): (usize, &(&str, &[&str]))| {
        let addresses = texts.iter().map(|text| text.parse().expect("a block")).collect();
        let options = OutboundOptions { ports: Some(50_001..=51_000), ..OutboundOptions::default() };
        (
            EgressId(place as u16 + 1),
            PoolSpec { name: (*name).into(), addresses, ..PoolSpec::default() },
            options,
        )
    };
    Arc::new(Egress::new(pools.iter().enumerate().map(pool), None, now))
}
