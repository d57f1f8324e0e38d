//! Bounds of pools of addresses: how their health is judged, and in what their ports are counted.

use std::time::Duration;

/// The first cooldown of an address; each further one is twice as long, up to the pool's `cooldown.max`. Short, for a probe costs
/// one session, and an address that only restarts is back by then.
pub const COOLDOWN_FIRST: Duration = Duration::from_secs(1);
/// How long one session probes an address before another may: longer than most connects take, shorter than `timeouts.connect`.
pub const PROBE_TIME: Duration = Duration::from_secs(5);
/// For how long failures of an address are counted together: the rates of a pool's `cooldown` are those of such a window.
pub const HEALTH_WINDOW: Duration = Duration::from_secs(60);
/// How often the kernel's settings about ports are read again.
pub const SYSCTLS_REFRESH: Duration = Duration::from_secs(10);
/// Addresses of which the log says within a second that they are left alone or serve again; of more it says how many.
pub const EGRESS_NEWS_TOLD: usize = 20;
/// In how many classes the targets of failures are told apart: one target is one class for ever.
pub const FAILED_TARGETS: usize = 16;
/// Of how many classes failures have to be before they are an address's: fewer may be a few targets' own.
pub const FAILED_TARGETS_MIN: usize = 4;
/// In how many classes the clients of failures are told apart, each with a count for each class of targets: 2 KiB for each address
/// that has failed once.
pub const FAILED_CLIENTS: usize = 16;
/// Of how many clients, and of how many networks, failures have to be before an address is left alone by all.
pub const FAILED_CLIENTS_MIN: usize = 4;
/// Clients that leave an address alone, each by itself; and those whose probes of one failed and that let others go first, each with
/// its network. Of more the ones before are forgotten.
pub const CLIENTS_CONCERNED: usize = 8;
/// Sessions that a client has had from other addresses before it is said that one is bad which it found so: as many as targets
/// that it takes to find that.
pub const SERVED_ELSEWHERE_MIN: u32 = 4;
/// Addresses of one prefix that are known to have failed or are set by hand, a power of two: 10 KiB for each prefix of which any is,
/// and the failures of each.
pub const KNOWN_OF_PREFIX: usize = 64;
/// Places in which one of them is looked for.
pub const KNOWN_WAYS: usize = 4;
/// Columns of the sketch that counts (source, target) pairs, a power of two that a `u16` has room for: with ten thousand pairs in use two
/// of a hundred share both their cells with others.
pub const PAIR_COLUMNS: usize = 1 << 15;
/// Rows of it: a pair is counted in one cell of each, and the smaller of them says how many ports it has.
pub const PAIR_ROWS: usize = 2;
/// Pairs of which is known who they are, the fullest first.
pub const FULLEST_PAIRS: usize = 32;
/// TIME_WAIT lasts 60 s (net/tcp.h TCP_TIMEWAIT_LEN): so many turns of so long, and the one that is being written.
pub const TIME_WAIT_TURN: Duration = Duration::from_secs(10);
/// See [`TIME_WAIT_TURN`].
pub const TIME_WAIT_TURNS: usize = 7;
/// Where `net.ipv4.tcp_tw_reuse` has a connection take the port of one in TIME_WAIT, it may after a second.
pub const TIME_WAIT_REUSED: Duration = Duration::from_secs(1);
/// See [`TIME_WAIT_REUSED`]: the turn that is being written and the one before it.
pub const TIME_WAIT_REUSED_TURNS: usize = 2;

const _: () = assert!(TIME_WAIT_TURN.as_secs() * (TIME_WAIT_TURNS as u64 - 1) == 60);
const _: () = assert!(PAIR_COLUMNS.is_power_of_two() && PAIR_COLUMNS <= 1 << 16);
const _: () = assert!(KNOWN_OF_PREFIX.is_multiple_of(KNOWN_WAYS) && KNOWN_OF_PREFIX.is_power_of_two());
const _: () = assert!(FAILED_TARGETS_MIN < FAILED_TARGETS && FAILED_CLIENTS_MIN < FAILED_CLIENTS);
