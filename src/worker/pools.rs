//! What the sessions of one worker share and anyone can fill, each with a share for every source.

use crate::limits;
use crate::shares::Pool;

/// The pools of one worker.
#[derive(Debug)]
pub(super) struct Pools {
    /// Bytes of half messages in handshakes, beyond a little each: a message of RFC 1961 may have 64 KiB, and anyone may
    /// send all of it but its last byte.
    pub(super) half_messages: Pool,
    /// Bytes of datagrams that wait for the rest of their fragments or for a name.
    pub(super) datagrams: Pool,
    /// Targets that are counted for the records of associations.
    pub(super) targets: Pool,
    /// Descriptors for second connect attempts, beside the one that each session's budget holds.
    pub(super) second_attempts: Pool,
}

impl Pools {
    pub(super) fn new(second_attempts: usize) -> Pools {
        Pools {
            half_messages: Pool::of(limits::HANDSHAKES_HELD_MAX),
            datagrams: Pool::of(limits::UDP_HELD_MAX),
            targets: Pool::of(limits::UDP_TARGETS_HELD_MAX),
            second_attempts: Pool::of(second_attempts),
        }
    }
}
