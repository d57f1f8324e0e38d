//! Bounds of the accounts that limits are counted in.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{PIPE_BYTES, PUMP_BYTES_MAX};

/// Parts of the table of accounts, each with a lock: two workers seldom meet at one of so many.
pub const ACCOUNT_PARTS: usize = 64;
/// Accounts of subjects without a session that are kept until their rates have recovered; beyond it the oldest are
/// forgotten. About 75 MB. Those of subjects with a session are as many as there are sessions.
pub const ACCOUNTS_IDLE_MAX: usize = 262_144;
/// How often in a second a session that is alone draws from a bucket: each draw is an atomic that others write, too.
pub const SHARES_PER_SECOND: u64 = 20;
/// How often a session that is alone draws at most: so much of its rate at a time is a few milliseconds', which is what
/// timers tell apart, or two that wait for one rate would take turns by chance.
pub const SHARES_PER_SECOND_MAX: u64 = 250;
/// Bytes of one draw. A smaller one would cost more calls than it moves bytes; a larger one would have the others wait. It
/// is enough for a turn when half of it is left, so that a limit that is not reached cuts none short.
pub const SHARE_BYTES: RangeInclusive<u64> = 8 * 1024..=4 * 1024 * 1024;
/// Datagrams of one draw.
pub const SHARE_DATAGRAMS: RangeInclusive<u64> = 1..=64;
/// For how long a session may use what it drew, in nanoseconds: what many silent ones hold would be a burst beyond the
/// limit's own. Longer than a busy machine keeps a session waiting, which would go to the end of the line.
pub const SHARE_LAPSES_NS: u64 = 100_000_000;
/// How long a session that waits for a rate goes without looking at its limit again, which a reload may have raised.
pub const LIMIT_LOOKED_AT: Duration = Duration::from_secs(1);
/// Accounts that are looked at in one go, to tell how full they are: some 50 us in which nobody gets at one part of the table.
pub const FILL_ACCOUNTS_PER_LOOK: usize = 256;
/// Limits of a configuration: each is asked by its number, and a session holds those that it counts in.
pub const LIMITS_MAX: usize = 1_000;
/// Limits that one rule names: a session has a place in each of them.
pub const RULE_LIMITS_MAX: usize = 16;
/// The highest rate and burst of things that are counted one by one.
pub const RATE_MAX: u64 = 1_000_000_000;
/// The highest rate and burst of bytes: 1 TB a second, more than a machine moves.
pub const RATE_BYTES_MAX: u64 = 1_000_000_000_000;

/// The most bytes of a quota: an exabyte.
pub const QUOTA_BYTES_MAX: u64 = 1_000_000_000_000_000_000;
/// Accounts of subjects without a session that are kept for what they have used of a quota; beyond it those with the least use
/// are forgotten. About 350 MB. Whoever wants another's use forgotten has to use as much as he did, this many times over.
pub const QUOTA_ACCOUNTS_MAX: usize = 1_048_576;
/// Accounts whose use has changed that wait to be taken note of. Past it all are looked through instead.
pub const QUOTA_CHANGES_MAX: usize = 65_536;
/// Kept accounts of each part that are looked at in one step for whether their period is over, by the control thread in each
/// second, and by whoever lets go of one where there are too many.
pub const QUOTA_SWEEP_STEP: usize = 32;
/// What one session may move, each way, once the quota is used up that ends it: what a turn moves, and what its last read
/// brings beyond that.
pub const QUOTA_OVERRUN_BYTES: u64 = (super::PUMP_BYTES_MAX + super::PIPE_BYTES) as u64;
/// What one association may move then, each way: as many datagrams as a turn takes, each of them of the largest size.
pub const QUOTA_OVERRUN_DATAGRAM_BYTES: u64 = (super::UDP_TURN_DATAGRAMS * 65_536) as u64;
/// How far the clock may get ahead of time that passes before it has leapt: a minute is no leap, which moves nobody's quota.
pub const CLOCK_LEAP: Duration = Duration::from_secs(60);
/// For how long a clock that leapt ahead has to stand there before a quota's period is over by it. A machine that slept leaps,
/// too, and so does one whose clock is wrong for a moment.
pub const CLOCK_LEAP_STANDS: Duration = Duration::from_secs(120);

const _: () =
    assert!((PUMP_BYTES_MAX + PIPE_BYTES) as u64 <= *SHARE_BYTES.end() / 2, "a turn's last read is not cut");
const _: () = assert!(SHARES_PER_SECOND <= SHARES_PER_SECOND_MAX);
const _: () = assert!(ACCOUNTS_IDLE_MAX.is_multiple_of(ACCOUNT_PARTS));
const _: () = assert!(QUOTA_ACCOUNTS_MAX.is_multiple_of(ACCOUNT_PARTS));
