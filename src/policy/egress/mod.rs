//! Pools of addresses that sessions leave from.
//!
//! A verdict says which pool ([`Way`](crate::policy::Way)); [`Pool::choose`] says how the session comes to an address of it, and
//! [`Pool::next`] gives the addresses, one for each attempt.

pub mod health;
pub mod key;
mod known;
pub mod ledger;
mod marks;
mod pool;
pub mod ports;
mod sliding;
pub mod spec;
pub mod standing;
mod suspicion;
mod turns;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use pool::{Leaving, LeavingAsked, Pool, listed};
pub use spec::{Choosing, Cooldown, PoolFamily, PoolSelect, PoolSockets, PoolSpec, StickyOn};
pub use turns::PoolTurns;

use super::way::EgressId;

/// All pools.
#[derive(Debug, Default)]
pub struct Egress {
    /// By their numbers.
    pools: Vec<Option<Arc<Pool>>>,
    by_name: HashMap<Arc<str>, EgressId>,
    /// In the order in which they are configured.
    order: Vec<EgressId>,
}

impl Egress {
    /// These pools, each with its number. One that is as it was before stays what it was, with all that is known of it.
    pub fn new(specs: impl IntoIterator<Item = (EgressId, PoolSpec)>, before: Option<&Egress>) -> Egress {
        let mut egress = Egress::default();
        for (id, spec) in specs {
            let place = usize::from(id.0);
            if egress.pools.len() <= place {
                egress.pools.resize(place + 1, None);
            }
            let old = before.and_then(|before| before.shared(id));
            let pool = match old {
                Some(old) if *old.spec() == spec => Arc::clone(old),
                old => Arc::new(Pool::new(id, spec, old.map(|old| &**old))),
            };
            egress.by_name.insert(Arc::clone(pool.name()), id);
            egress.order.push(id);
            egress.pools[place] = Some(pool);
        }
        egress
    }

    fn shared(&self, EgressId(number): EgressId) -> Option<&Arc<Pool>> {
        self.pools.get(usize::from(number))?.as_ref()
    }

    /// The pool of this number; `None` where there is none any more.
    pub fn pool(&self, id: EgressId) -> Option<&Pool> {
        self.shared(id).map(|pool| &**pool)
    }

    /// All pools, in the order in which they are configured.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.order.iter().filter_map(|id| self.shared(*id))
    }

    /// The pool of this name.
    pub fn named(&self, name: &str) -> Option<EgressId> {
        self.by_name.get(name).copied()
    }

    /// The first pool that has all of these tags.
    pub fn tagged<'a>(&self, tags: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Option<EgressId> {
        let has = |pool: &&Arc<Pool>| {
            tags.clone().all(|(tag, value)| pool.spec().tags.get(tag).is_some_and(|own| **own == *value))
        };
        self.pools().find(has).map(|pool| pool.id())
    }
}
