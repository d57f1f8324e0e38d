//! Bounds of what is learned from live traffic.

use std::time::Duration;

/// Needs on their way to the thread that gathers them: it takes them at once but while it writes.
pub const NEEDS_QUEUED_MAX: usize = 4_096;
/// Needs that a worker remembers to have told: 32 KiB.
pub const NEEDS_REMEMBERED: usize = 4_096;
/// Targets of one association that are told of in one turn.
pub const UDP_NEEDS_PER_TURN: usize = 32;
/// Needs that are learned: some 15 MB in memory, and as many lines in the file.
pub const LEARNED_MAX: usize = 65_536;
/// Bytes of a file of needs: each in its longest form.
pub const LEARNED_FILE_BYTES_MAX: u64 = 128 << 20;
/// From a need that is new to when it is in the file, with all that came meanwhile.
pub const LEARNED_WRITE: Duration = Duration::from_secs(2);
/// Until a file that could not be written is tried again.
pub const LEARNED_RETRY: Duration = Duration::from_secs(30);
/// How long the end of the process waits for the last write.
pub const LEARNED_LAST_WRITE: Duration = Duration::from_secs(2);

const _: () =
    assert!(LEARNED_MAX as u64 * 2_000 <= LEARNED_FILE_BYTES_MAX, "a name and a user, each byte escaped");
