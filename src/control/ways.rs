//! The pools that sessions leave from, and the parents that they go through: made of the configuration, and kept for as long as it says the same of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::numbers::Numbers;
use super::parents::OperatorParents;
use super::rules::concerns::RuleRemark;
use crate::auth::Users;
use crate::config::{Config, EgressConfig, RuleConfig};
use crate::outbound::OutboundOptions;
use crate::policy::egress::{Egress, PoolSockets, PoolSpec};
use crate::policy::{EgressId, OwnPools, UserPools, Way};
use crate::sys::outbound::open_namespace;
use crate::worker::ListenerName;

/// The pools and parents in effect.
#[derive(Clone, Debug)]
pub(super) struct OperatorWays {
    pools: Vec<PoolSpec>,
    /// Those of the names of pools; 0 stands for none.
    numbers: Numbers,
    /// The pools that the users file gives users.
    users: Arc<UserPools>,
    /// `None`: there is none.
    pub(super) egress: Option<Arc<Egress>>,
    pub(super) parents: Arc<OperatorParents>,
}

impl Default for OperatorWays {
    fn default() -> OperatorWays {
        // No pool can be called by nothing.
        OperatorWays {
            pools: Vec::new(),
            numbers: Numbers::beginning_with([""]),
            users: Arc::default(),
            egress: None,
            parents: Arc::default(),
        }
    }
}

impl OperatorWays {
    /// Those of a configuration and of these users, in place of these.
    ///
    /// # Errors
    /// The first pool or parent for whose name no number is left; the first pool whose network namespace cannot be entered.
    pub(super) fn with(&self, config: &Config, users: Option<&Users>) -> Result<OperatorWays, RuleRemark> {
        let parents = self.parents.follow(config, Instant::now())?;
        let pools: Vec<PoolSpec> = config.egress.iter().map(EgressConfig::spec).collect();
        if pools == self.pools {
            return Ok(OperatorWays { parents, ..self.clone() }.with_users(users));
        }
        let numbers = self.numbers.with(pools.iter().map(|pool| &pool.name));
        let numbers = numbers.map_err(|none| (("egress", none.nth, "name"), none.of("pools")))?;
        let mut numbered = Vec::with_capacity(pools.len());
        for (nth, pool) in pools.iter().enumerate() {
            let options = options(&pool.sockets).map_err(|words| (("egress", nth, "netns"), words))?;
            numbered.extend(numbers.of(&pool.name).map(|number| (EgressId(number), pool.clone(), options)));
        }
        let egress = (!pools.is_empty())
            .then(|| Arc::new(Egress::new(numbered, self.egress.as_deref(), Instant::now())));
        let users_before = Arc::clone(&self.users);
        let ways = OperatorWays { pools, numbers, users: users_before, egress, parents };
        Ok(ways.with_users(users))
    }

    /// These where the users file says other things by now.
    #[must_use]
    pub(super) fn with_users(&self, users: Option<&Users>) -> OperatorWays {
        let own = users.into_iter().flat_map(Users::pools);
        // A number stays that of a name, also of one that is not there any more.
        let there = |name: &Arc<str>| self.pools.iter().any(|pool| pool.name == *name);
        let number = |name: &Arc<str>| self.numbers.of(name).filter(|_| there(name)).map(EgressId);
        let own: UserPools = own.map(|(user, pool)| (Arc::clone(user), number(pool))).collect();
        let users = if own == *self.users { Arc::clone(&self.users) } else { Arc::new(own) };
        OperatorWays { users, ..self.clone() }
    }

    /// Who leaves from which pool where no rule says so: users, and clients of listeners that have one.
    pub(super) fn own_pools(&self, config: &Config, names: &[Arc<ListenerName>]) -> Option<Arc<OwnPools>> {
        let tables = config.all_listeners().map(|one| one.table());
        let own = names.iter().zip(tables).filter_map(|(name, table)| {
            let pool = table?.egress.as_ref()?;
            Some((name.number, EgressId(self.numbers.of(pool)?)))
        });
        OwnPools::new(self.egress.clone(), Arc::clone(&self.users), own).map(Arc::new)
    }

    /// Whether another has the same pools and parents, and users the same pools.
    pub(super) fn is_as(&self, other: &OperatorWays) -> bool {
        self.pools == other.pools && self.users == other.users && Arc::ptr_eq(&self.parents, &other.parents)
    }

    /// The way of a rule, by what it names.
    pub(super) fn way(&self, rule: &RuleConfig) -> Way {
        let egress = rule.egress.as_ref().and_then(|name| self.numbers.of(name)).map(EgressId);
        Way { egress, parent: rule.parent.as_ref().and_then(|name| self.parents.number_of(name)) }
    }
}

/// What the sockets of a pool are given.
///
/// # Errors
/// Why its network namespace cannot be entered.
pub(super) fn options(sockets: &PoolSockets) -> Result<OutboundOptions, String> {
    let open = |path: &PathBuf| {
        open_namespace(path).map(Arc::new).map_err(|error| {
            format!("sockets cannot be opened in {}: {error} (it takes CAP_SYS_ADMIN)", path.display())
        })
    };
    let PoolSockets { ports, interface, fwmark, dscp, freebind, netns, .. } = sockets;
    Ok(OutboundOptions {
        ports: ports.clone(),
        interface: interface.clone(),
        mark: *fwmark,
        dscp: *dscp,
        freebind: *freebind,
        netns: netns.as_ref().map(open).transpose()?,
    })
}
