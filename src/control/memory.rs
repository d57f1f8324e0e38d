//! What memory there is for more sessions: of what the process's cgroup allows, less what is used. A look a second finds what
//! was used until then, by this process, by the kernel for it, and by others of the group; what sessions take that begin
//! until the next look is counted by what one is known to cost.

use super::running::RunningWorker;
use crate::limits;
use crate::observe::Totals;
use crate::sys::cgroup::{MemoryGroups, MemoryUse};

/// The groups of the process, found once: it does not leave them.
#[derive(Debug)]
pub(super) struct MemoryWatch(MemoryGroups);

impl MemoryWatch {
    pub(super) fn new() -> MemoryWatch {
        MemoryWatch(MemoryGroups::here())
    }

    /// Looks, and tells each worker how many sessions it may have.
    pub(super) fn tell(&self, workers: &[RunningWorker]) {
        let held = |worker: &RunningWorker| Totals::of([&*worker.counters]).active() as usize;
        let room = self.look(&workers.iter().map(held).collect::<Vec<_>>());
        for (number, worker) in workers.iter().enumerate() {
            worker.memory.set(room.as_ref().map_or(usize::MAX, |room| room[number]));
        }
    }

    /// How many sessions each worker may have that has so many now; `None`: as many as there may be otherwise.
    fn look(&self, sessions: &[usize]) -> Option<Vec<usize>> {
        self.0.tightest().map(|memory| room(memory, sessions))
    }
}

/// The same where so much is used: what is left is shared, and no session that is there ends.
fn room(memory: MemoryUse, sessions: &[usize]) -> Vec<usize> {
    let spare = memory.limit / limits::MEMORY_SPARE_PART;
    let more = memory.left().saturating_sub(spare) / limits::SESSION_MEMORY_BYTES;
    let share = usize::try_from(more).unwrap_or(usize::MAX) / sessions.len().max(1);
    sessions.iter().map(|held| held.saturating_add(share)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_left_is_shared_and_a_part_stays_free() {
        let of = |limit, used| room(MemoryUse { limit: limit * MIB, used: used * MIB }, &[10, 0]);
        // 16 of 256 MiB stay free: 224 are left for sessions of 16 KiB, of two workers.
        assert_eq!(of(256, 16), [10 + 7168, 7168]);
        assert_eq!(of(256, 240), [10, 0]);
        assert_eq!(of(256, 300), [10, 0], "it was made smaller");
    }
}
