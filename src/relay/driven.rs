//! What one turn of a relay did, and how a relay ends.

use super::moved::Moved;
use super::side::Side;

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Both directions ended with FIN, every byte delivered.
    Completed,
    /// This side was reset (or lost); what it had sent was handed to the other side's socket, which is to be
    /// reset in turn: as without a relay, a reset may overtake bytes.
    Reset {
        /// Whose socket failed.
        failed: Side,
    },
    /// This side is gone after a FIN of its own; the other has every byte and its FIN, and is to be given a
    /// moment to take them before it is closed.
    Linger {
        /// Whose socket failed.
        gone: Side,
    },
}

/// What one turn of a relay did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Driven {
    /// Client to target.
    pub up: Moved,
    /// Target to client.
    pub down: Moved,
    /// Set once the relay is over.
    pub finish: Option<Finish>,
}

impl Driven {
    /// Whether there is more to do without waiting for an event.
    pub fn again(&self) -> bool {
        self.finish.is_none() && (self.up.again || self.down.again)
    }

    /// Whether any byte was read or written.
    pub fn progressed(&self) -> bool {
        [self.up, self.down].iter().any(|moved| moved.taken + moved.bytes() > 0)
    }
}
