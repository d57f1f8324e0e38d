//! How much a relay may move before it waits, and for what it waits then.

use crate::limits;

/// When a relay is to be driven again; the earlier is the smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resume {
    /// In the next turn, without waiting for an event: its share of this one is spent.
    NextTurn,
    /// Behind this millisecond of the worker's clock: what it may take until then is spent.
    AtMs(u64),
    /// With the next event of one of its sockets.
    #[default]
    OnEvent,
}

/// What one direction may move before it waits. It belongs to one turn: a relay keeps nothing of it.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Once a turn has moved so many bytes, it reads no more. Its last read may bring more than that.
    share_bytes: usize,
    /// Reads of one turn, however little each of them brings.
    rounds: usize,
    /// Bytes that may be taken from the source's socket, and not one more.
    left_bytes: usize,
    /// When to ask for more of them.
    more: Resume,
}

impl Budget {
    /// The turn of a session without a limit.
    pub const TURN: Budget = Budget {
        share_bytes: limits::PUMP_BYTES_MAX,
        rounds: limits::PUMP_ROUNDS_MAX,
        left_bytes: usize::MAX,
        more: Resume::NextTurn,
    };

    /// A turn of a session that may take so many bytes, and may be given more with its next turn.
    pub fn of(left_bytes: usize) -> Budget {
        Budget { left_bytes, ..Budget::TURN }
    }

    /// A turn of a session that may take so many bytes until this millisecond of the worker's clock is over.
    pub fn until(more_at_ms: u64, left_bytes: usize) -> Budget {
        Budget { left_bytes, more: Resume::AtMs(more_at_ms), ..Budget::TURN }
    }

    /// Reads of one turn.
    pub(super) fn rounds(&self) -> usize {
        self.rounds
    }

    /// How much one read may take.
    pub(super) fn left_bytes(&self) -> usize {
        self.left_bytes
    }

    /// Takes bytes out of the budget.
    pub(super) fn draw(&mut self, bytes: usize) {
        self.left_bytes -= bytes;
    }

    /// What a half that has something to read waits for, once it has moved so many bytes in this turn; `None` where it
    /// may read on.
    pub(super) fn waits_for(&self, moved_bytes: usize) -> Option<Resume> {
        if self.left_bytes == 0 {
            Some(self.more)
        } else if moved_bytes >= self.share_bytes {
            Some(Resume::NextTurn)
        } else {
            None
        }
    }
}

/// The budgets of a relay's two directions.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// Client to target.
    pub up: Budget,
    /// Target to client.
    pub down: Budget,
}

impl Budgets {
    /// The turn of a session without a limit.
    pub const TURN: Budgets = Budgets { up: Budget::TURN, down: Budget::TURN };
}
