//! How a connection ends for good: its session ends, and its place in the slab is free again.

use super::Worker;
use super::core::Core;
use super::ending::end_session;
use super::slot::{Phase, Slot};
use crate::outcome::Reason;

impl Worker {
    /// The one way out of the slab.
    pub(super) fn close(&mut self, index: usize, reason: Reason) {
        let slot = self.slots.remove(index);
        close(&mut self.core, slot, reason);
    }
}

/// Gives a place in the slab back. Between two requests there is no session in it.
fn close(core: &mut Core, mut slot: Slot, reason: Reason) {
    core.wheel.cancel(slot.connection.key.index());
    core.held_back.cancel(slot.connection.key.index());
    core.sessions -= 1;
    match slot.phase {
        Phase::Kept(mut kept) => {
            core.kept -= 1;
            kept.end();
        }
        _ => end_session(core, &mut slot, reason),
    }
}
