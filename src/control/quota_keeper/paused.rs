//! A store that is closed for another server, and opened again where that comes to nothing.

use std::collections::HashSet;
use std::sync::Arc;

use super::{KeeperShared, QuotaKeeper, limits_with_quotas};

/// What is counted meanwhile is counted in memory.
#[derive(Debug)]
pub(in crate::control) struct PausedKeeper(Arc<KeeperShared>);

impl QuotaKeeper {
    /// Writes everything and closes the store, which another process may open then. It takes as long as the disk does.
    pub(in crate::control) fn pause(self) -> PausedKeeper {
        PausedKeeper(self.shared.clone())
    }
}

impl PausedKeeper {
    /// Opens the store again, for accounts that have what it has of them and more.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(in crate::control) fn resume(self) -> Result<QuotaKeeper, String> {
        let PausedKeeper(shared) = self;
        let restored: HashSet<_> = limits_with_quotas(&shared.names(), &shared.accounts).collect();
        QuotaKeeper::keep_for(shared, restored)
    }
}
