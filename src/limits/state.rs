//! Bounds of what a server keeps for the time after it: the store of quotas.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Until what the store could not be written with is tried again: longer after each failure, up to the last of these. A full
/// disk is asked seldom, and is used again within a minute of having room.
pub const QUOTA_RETRY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
/// How long a start waits for another program that has the store open.
pub const QUOTA_STORE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of the process waits for the last write. A disk that hangs must not keep a supervisor waiting.
pub const QUOTA_LAST_WRITE: Duration = Duration::from_secs(10);
/// Rows of the store that one step looks through for those of periods that are over: about 20 ms, between which what was used
/// is written.
pub const QUOTA_SWEEP_ROWS: u32 = 20_000;
/// How long the use of a limit that the configuration does not have is kept: past the longest period, and whoever takes a
/// limit out by mistake and puts it back loses nothing.
pub const QUOTA_ORPHANS_KEPT: Duration = Duration::from_secs(32 * 24 * 3600);
/// Bytes of the store's journal that stay allocated on disk once they are written into the store.
pub const QUOTA_JOURNAL_BYTES: u32 = 4 << 20;
/// KiB of the store that are kept in memory: a batch of all accounts is larger, and is then written in more than one go.
pub const QUOTA_CACHE_KIB: i32 = 16 * 1024;
/// Bytes of the name of a limit or a holder in a row of the store: a longer one is none of ours.
pub const QUOTA_NAME_BYTES_MAX: usize = 512;
/// Between two such steps.
pub const QUOTA_SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// Accounts whose use is asked for in one step: others meet at the lock of their part meanwhile.
pub const QUOTA_USES_PER_STEP: usize = 1_000;
/// Such steps of a question for what is used that the endpoint takes before it looks after others: some milliseconds.
pub const QUOTA_STEPS_AT_ONCE: usize = 10;
/// For how long what is used may be in memory alone before that is said: a write takes milliseconds, and is begun each second.
pub const QUOTA_STORE_SILENCE: Duration = Duration::from_secs(10);
/// Orders to set quotas back that wait for the store.
pub const QUOTA_ORDERS_MAX: usize = 8;
