//! Whether a worker stands still: it is at one thing, and has been for long.

use crate::limits;
use crate::observe::Pulse;

/// What is remembered of a worker between two looks, a second apart.
#[derive(Debug, Default)]
pub(super) struct Still {
    turn: u64,
    looks: u64,
}

impl Still {
    /// Looks at it.
    pub(super) fn look(&mut self, pulse: &Pulse) {
        let (turn, activity) = pulse.read();
        let same = turn == self.turn && !activity.is_rest();
        *self = Still { turn, looks: if same { self.looks + 1 } else { 0 } };
    }

    /// Whether it has been in one turn for longer than one may take.
    pub(super) fn is_stall(&self) -> bool {
        self.looks >= limits::STALL_PATIENCE.as_secs() / limits::HISTORY_INTERVAL.as_secs()
    }
}
