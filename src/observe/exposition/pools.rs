//! What a scrape tells of pools of addresses: nothing where there is none. A label has the name of a pool, never an address.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType as Kind;

use crate::observe::egress_told::PoolTold;
use crate::policy::egress::health::{AddressState, Fault};

/// What is told of each pool, in the order in which it is told.
pub(super) fn pools(encoder: &mut DescriptorEncoder<'_>, pools: &[PoolTold]) -> fmt::Result {
    if pools.is_empty() {
        return Ok(());
    }
    let about = "Sessions and attempts that leave from a pool now.";
    gauge(encoder, "egress_sessions_active", about, pools, |pool| pool.active)?;
    let mut family = encoder.encode_descriptor("egress_sessions", SESSIONS, None, Kind::Counter)?;
    for pool in pools {
        let labels = [("egress", &*pool.name)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&pool.sessions, None)?;
    }
    let mut family = encoder.encode_descriptor("egress_addresses", ADDRESSES, None, Kind::Gauge)?;
    for pool in pools {
        for (state, count) in AddressState::NAMES.iter().zip(&pool.addresses) {
            family.encode_family(&[("egress", &*pool.name), ("state", state)])?.encode_gauge(count)?;
        }
    }
    let mut family = encoder.encode_descriptor("egress_cooldowns", COOLDOWNS, None, Kind::Counter)?;
    for pool in pools {
        for (fault, count) in Fault::ALL.iter().zip(&pool.cooldowns) {
            let labels = [("egress", &*pool.name), ("cause", fault.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
    }
    let mut family = encoder.encode_descriptor("egress_ports_in_use", PORTS, None, Kind::Gauge)?;
    for pool in pools {
        for (state, count) in [("open", &pool.ports_open), ("time_wait", &pool.ports_waiting)] {
            family.encode_family(&[("egress", &*pool.name), ("state", state)])?.encode_gauge(count)?;
        }
    }
    let about = "Ports in use of the pair of an address of the pool and a target that has the most.";
    let fullest = |pool: &PoolTold| u64::from(pool.fullest.first().map_or(0, |pair| pair.in_use));
    gauge(encoder, "egress_fullest_pair_ports", about, pools, fullest)?;
    let about = "Ports that an address of the pool has for each target.";
    gauge(encoder, "egress_ports_max", about, pools, |pool| u64::from(pool.ports_most))
}

const SESSIONS: &str = "Sessions that left from a pool.";
const ADDRESSES: &str = "Addresses and prefixes of a pool, by how they stand.";
const COOLDOWNS: &str = "How often an address of a pool was left alone, by why.";
const PORTS: &str = "Ports that connections from a pool to targets use.";

fn gauge<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    about: &str,
    pools: &[PoolTold],
    value: impl Fn(&PoolTold) -> V,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, about, None, Kind::Gauge)?;
    pools
        .iter()
        .try_for_each(|pool| family.encode_family(&[("egress", &*pool.name)])?.encode_gauge(&value(pool)))
}
