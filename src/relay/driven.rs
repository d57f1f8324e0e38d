//! What one turn of a relay did, and how a relay ends.

use super::budget::Resume;
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
    /// An exchange is over: the client has all of the response.
    Exchanged {
        /// Whether the target has all of the request, too.
        whole_request: bool,
    },
    /// The target ended, or was reset, with nothing for the client in what it sent.
    Unanswered,
    /// What this side sent is no HTTP, and nothing of a response has gone to the client.
    Malformed {
        /// Whose message it is.
        by: Side,
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
    /// When to drive the relay again.
    pub fn resume(&self) -> Resume {
        if self.finish.is_some() { Resume::OnEvent } else { self.up.resume.min(self.down.resume) }
    }

    /// Whether any byte was read or written.
    pub fn progressed(&self) -> bool {
        [self.up, self.down].iter().any(|moved| moved.taken + moved.bytes() > 0)
    }
}
