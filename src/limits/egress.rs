//! Bounds of pools of addresses.

use std::time::Duration;

/// Pools of one configuration: each has ids for the life of the process, of which there are 65,535.
pub const EGRESS_POOLS_MAX: usize = 4_096;
/// Addresses and blocks typed for one pool.
pub const EGRESS_TYPED_MAX: usize = 1_024;
/// Entries of one pool, small blocks counted by their addresses: each is looked at when a session chooses, for a nanosecond.
pub const EGRESS_ENTRIES_MAX: usize = 1_024;
/// Addresses of a block that is taken for its addresses, one by one. A larger one is one entry, whose addresses the hash gives.
pub const EGRESS_BLOCK_LISTED_MAX: u32 = 256;
/// Addresses that a session tries beside its first: each costs it a connect.
pub const EGRESS_FAILOVER_MAX: u8 = 16;
/// For how long a key may keep its address where it does not keep it for good, in seconds: 30 days.
pub const EGRESS_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest of these times: epochs are counted in seconds.
pub const EGRESS_TTL_MIN: Duration = Duration::from_secs(1);
/// The longest time that an address is left alone before it is tried again.
pub const EGRESS_COOLDOWN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Attempts that a rate may be asked of at least: more would make it a rate of yesterday's.
pub const EGRESS_SAMPLES_MAX: u32 = 1_000_000;
/// Tags of one pool.
pub const EGRESS_TAGS_MAX: usize = 16;
/// Bytes of a tag or its value: users type them within their names, which have 255.
pub const EGRESS_TAG_LENGTH_MAX: usize = 32;
/// The shortest prefix of an IPv4 block of a pool: a shorter one is a slip.
pub const EGRESS_V4_PREFIX_MIN: u8 = 8;
/// The shortest prefix of an IPv6 block of a pool: nobody is given more.
pub const EGRESS_V6_PREFIX_MIN: u8 = 19;
/// Keys of which one pool with `sliding` remembers when they were used, a power of two: 1 MiB. Beyond them the one that was used
/// longest ago moves on as without `sliding`.
pub const EGRESS_SLIDING_KEYS: usize = 65_536;
/// Places that a key of such a table may have.
pub const EGRESS_SLIDING_WAYS: usize = 8;

const _: () =
    assert!(EGRESS_SLIDING_KEYS.is_power_of_two() && EGRESS_SLIDING_KEYS.is_multiple_of(EGRESS_SLIDING_WAYS));
const _: () = assert!(EGRESS_ENTRIES_MAX < u16::MAX as usize, "places of entries have 16 bits");
const _: () = assert!(EGRESS_POOLS_MAX * 4 <= 1 << 16, "pools that are renamed have other ids");
