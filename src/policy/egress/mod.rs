//! Pools of addresses that sessions leave from.
//!
//! A verdict says which pool ([`Way`](crate::policy::Way)); [`AddressPool::choose`] says how the session comes to an address of it, and
//! [`AddressPool::next`] gives the addresses, one for each attempt.

#[cfg(test)]
pub(crate) mod by_hand;
mod client;
mod fault;
pub mod health;
pub mod key;
mod known;
pub mod ledger;
mod marks;
mod pool;
pub mod ports;
mod session;
mod sliding;
pub mod spec;
pub mod standing;
mod suspicion;
mod turns;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::tagged_pools;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

pub use client::PoolClient;
pub use fault::CooldownTerms;
pub use pool::{AddressPool, Candidates, LeavingAsked};
pub use session::{SessionPool, SourcesTowards};
pub use spec::{Choosing, PoolFamily, PoolSelect, PoolSockets, PoolSpec, StickyOn, listed};
pub use turns::PoolTurns;

use self::ledger::Ledger;
use super::way::EgressId;
use crate::outbound::OutboundOptions;

/// All pools.
#[derive(Clone, Debug)]
pub struct Egress {
    /// By their numbers.
    pools: Vec<Option<Arc<AddressPool>>>,
    by_name: HashMap<Arc<str>, EgressId>,
    /// In the order in which they are configured.
    order: Vec<EgressId>,
    /// How their entries stand.
    ledger: Arc<Ledger>,
}

impl Egress {
    /// These pools, each with its number and what its sockets are given. One that is as it was before stays what it was, with all
    /// that is known of it, and so does an address that a pool keeps.
    pub fn new(
        specs: impl IntoIterator<Item = (EgressId, PoolSpec, OutboundOptions)>,
        before: Option<&Egress>,
        now: Instant,
    ) -> Egress {
        let specs: Vec<_> = specs.into_iter().collect();
        let wanted = specs.iter().flat_map(|(id, spec, _)| spec.entries().map(|entry| (*id, entry)));
        let ledger = before.map_or_else(|| Ledger::new(now), |before| Ledger::clone(&before.ledger));
        let ledger = Arc::new(ledger.with(wanted));
        let (mut pools, mut by_name, mut order) = (Vec::new(), HashMap::new(), Vec::new());
        for (id, spec, options) in specs {
            let place = usize::from(id.0);
            if pools.len() <= place {
                pools.resize(place + 1, None);
            }
            let old = before.and_then(|before| before.shared(id));
            let pool = match old {
                // What its sockets are given follows from that, but for the namespace that stands at a path.
                Some(old) if (old.spec(), &old.options().netns) == (&spec, &options.netns) => Arc::clone(old),
                _ => Arc::new(AddressPool::new(id, spec, options, &ledger)),
            };
            by_name.insert(Arc::clone(pool.name()), id);
            order.push(id);
            pools[place] = Some(pool);
        }
        Egress { pools, by_name, order, ledger }
    }

    /// How the entries of all pools stand.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn shared(&self, EgressId(number): EgressId) -> Option<&Arc<AddressPool>> {
        self.pools.get(usize::from(number))?.as_ref()
    }

    /// The pool of this number; `None` where there is none any more.
    pub fn pool(&self, id: EgressId) -> Option<&AddressPool> {
        self.shared(id).map(|pool| &**pool)
    }

    /// All pools, in the order in which they are configured.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<AddressPool>> {
        self.order.iter().filter_map(|id| self.shared(*id))
    }

    /// The pool of this name.
    pub fn named(&self, name: &str) -> Option<EgressId> {
        self.by_name.get(name).copied()
    }

    /// The first pool of these that has all of these tags.
    pub fn tagged<'a>(
        &self,
        tags: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        of: impl Fn(EgressId) -> bool,
    ) -> Option<EgressId> {
        self.order.iter().copied().find(|id| of(*id) && self.has_tags(*id, tags.clone()))
    }

    /// Whether a pool has all of these tags.
    pub fn has_tags<'a>(&self, id: EgressId, mut tags: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
        self.pool(id).is_some_and(|pool| {
            tags.all(|(tag, value)| pool.spec().tags.get(tag).is_some_and(|own| **own == *value))
        })
    }
}
