//! The pools that sessions leave from, and the parents that they go through: made of the configuration, and kept for as long as it says the same of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::numbers::Numbers;
use super::parents::OperatorParents;
use super::rules::concerns::RuleRemark;
use crate::config::{Config, EgressConfig, RuleConfig};
use crate::outbound::OutboundOptions;
use crate::policy::egress::{Egress, PoolSockets, PoolSpec};
use crate::policy::{EgressId, Way};
use crate::sys::outbound::open_namespace;

/// The pools and parents in effect.
#[derive(Clone, Debug)]
pub(super) struct OperatorWays {
    pools: Vec<PoolSpec>,
    /// Those of the names of pools; 0 stands for none.
    numbers: Numbers,
    /// `None`: there is none.
    pub(super) egress: Option<Arc<Egress>>,
    pub(super) parents: Arc<OperatorParents>,
}

impl Default for OperatorWays {
    fn default() -> OperatorWays {
        // No pool can be called by nothing.
        let numbers = Numbers::beginning_with([""]);
        OperatorWays { pools: Vec::new(), numbers, egress: None, parents: Arc::default() }
    }
}

impl OperatorWays {
    /// Those of a configuration, in place of these.
    ///
    /// # Errors
    /// The first pool or parent for whose name no number is left; the first pool whose network namespace cannot be entered.
    pub(super) fn with(&self, config: &Config) -> Result<OperatorWays, RuleRemark> {
        let parents = self.parents.follow(config, Instant::now())?;
        let pools: Vec<PoolSpec> = config.egress.iter().map(EgressConfig::spec).collect();
        if pools == self.pools {
            return Ok(OperatorWays { parents, ..self.clone() });
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
        Ok(OperatorWays { pools, numbers, egress, parents })
    }

    /// Whether another has the same pools and parents.
    pub(super) fn is_as(&self, other: &OperatorWays) -> bool {
        self.pools == other.pools && Arc::ptr_eq(&self.parents, &other.parents)
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
