//! What of each limit was reached: one writer for each worker, like all its counters.

use super::numbered::NumberedCounts;
use crate::policy::accounts::{LimitId, LimitKind};

/// How often what of a limit was reached, in the order of [`LimitKind::ALL`].
pub type ReachedOf = [u64; LimitKind::ALL.len()];

/// A worker's counts. Only that worker writes them.
#[derive(Debug, Default)]
pub struct LimitHits(NumberedCounts<{ LimitKind::ALL.len() }>);

impl LimitHits {
    /// This of the limit was reached so many times more.
    pub fn add(&self, LimitId(number): LimitId, kind: LimitKind, count: u64) {
        self.0.add(number, kind as usize, count);
    }

    /// How often what of a limit was reached.
    pub fn of(&self, LimitId(number): LimitId) -> ReachedOf {
        self.0.of(number)
    }
}
