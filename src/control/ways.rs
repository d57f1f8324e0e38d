//! The pools that sessions leave from: made of the configuration, and kept for as long as it says the same of them.

use std::sync::Arc;

use super::numbers::{NoNumber, Numbers};
use crate::config::{Config, EgressConfig};
use crate::policy::egress::{Egress, PoolSpec};
use crate::policy::{EgressId, Way};

/// The pools in effect.
#[derive(Clone, Debug)]
pub(super) struct OperatorWays {
    pools: Vec<PoolSpec>,
    /// Those of the names of pools; 0 stands for none.
    numbers: Numbers,
    /// `None`: there is none.
    pub(super) egress: Option<Arc<Egress>>,
}

impl Default for OperatorWays {
    fn default() -> OperatorWays {
        // No pool can be called by nothing.
        OperatorWays { pools: Vec::new(), numbers: Numbers::beginning_with([""]), egress: None }
    }
}

impl OperatorWays {
    /// Those of a configuration, in place of these.
    ///
    /// # Errors
    /// The first pool for whose name no number is left.
    pub(super) fn with(&self, config: &Config) -> Result<OperatorWays, NoNumber> {
        let pools: Vec<PoolSpec> = config.egress.iter().map(EgressConfig::spec).collect();
        if pools == self.pools {
            return Ok(self.clone());
        }
        let numbers = self.numbers.with(pools.iter().map(|pool| &pool.name))?;
        let number = |pool: &PoolSpec| numbers.of(&pool.name).map(EgressId);
        let numbered = pools.iter().filter_map(|pool| Some((number(pool)?, pool.clone())));
        let egress = (!pools.is_empty()).then(|| Arc::new(Egress::new(numbered, self.egress.as_deref())));
        Ok(OperatorWays { pools, numbers, egress })
    }

    /// Whether another has the same pools.
    pub(super) fn is_as(&self, other: &OperatorWays) -> bool {
        self.pools == other.pools
    }

    /// The way of a rule that names this pool.
    pub(super) fn way(&self, egress: Option<&Arc<str>>) -> Way {
        let number = |name: &Arc<str>| self.numbers.of(name).map(EgressId);
        Way { egress: egress.and_then(number), parent: None }
    }
}
