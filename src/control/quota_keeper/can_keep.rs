//! What `check` tries of the directory in which quotas are kept.

use std::path::Path;

use crate::state::{QuotaStore, StateDir};

/// Whether a directory could keep quotas for a server that starts with it.
///
/// # Errors
/// Why not.
pub(in crate::control) fn can_keep(path: &Path) -> Result<(), String> {
    StateDir::check(path).map_err(|error| format!("{path:?} {error}"))?;
    QuotaStore::probe(path).map_err(|error| format!("the store of quotas in {path:?} {error}"))
}
