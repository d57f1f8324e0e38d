//! Bounds of `auth`: users, caches, the pace of guesses, security contexts.

use std::time::Duration;

/// Longest user name in bytes: RFC 1929 section 2 gives its length one octet.
pub const USER_NAME_MAX: usize = 255;
/// Longest password in bytes: RFC 1929 section 2 gives its length one octet.
pub const PASSWORD_MAX: usize = 255;
/// Groups that the users file puts one user in.
pub const USER_GROUPS_MAX: usize = 64;
/// Limits that the users file gives one user: a session has a place in each of them.
pub const USER_LIMITS_MAX: usize = 16;
/// Bytes of a group's name.
pub const GROUP_NAME_MAX: usize = 64;
/// Largest users file in bytes: about half a million entries, read whole at start and at reload.
pub const USERS_FILE_MAX: u64 = 64 << 20;
/// Most memory in KiB that one argon2id hash may ask for: every verifier thread takes this much at
/// once, so a mistyped or hostile parameter must not reach the machine's memory.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;
/// Most memory times passes (KiB) of one argon2id hash: about two seconds of one CPU, so that a login
/// that waits for another one still ends within the handshake deadline.
pub const ARGON2_WORK_KIB_MAX: u64 = 2 << 20;
/// Most lanes of one argon2id hash; the lanes are computed in sequence, so more only wastes memory.
pub const ARGON2_LANES_MAX: u32 = 16;
/// Shortest argon2id output in bytes: below this a wrong password could match by chance.
pub const ARGON2_OUTPUT_MIN: usize = 16;
/// Highest bcrypt cost (2 to this power rounds): about two seconds of one CPU, as for argon2id.
pub const BCRYPT_COST_MAX: u32 = 15;
/// Memory in KiB that `outflow user add` asks of argon2id (OWASP's recommendation: 19 MiB).
pub const ARGON2_MEMORY_KIB: u32 = 19 << 10;
/// Passes that `outflow user add` asks of argon2id (OWASP's recommendation with 19 MiB).
pub const ARGON2_PASSES: u32 = 2;
/// Lanes that `outflow user add` asks of argon2id (OWASP's recommendation with 19 MiB).
pub const ARGON2_LANES: u32 = 1;
/// Longest life of a refusal in the cache of verified credentials: long enough to answer a client
/// that repeats itself, short enough that a password just set is soon accepted.
pub const REFUSED_TTL: Duration = Duration::from_secs(10);
/// Wrong passwords of one source at one user that are verified without a wait: whoever mistypes his, or tries the few
/// that he has, is answered at once.
pub const GUESSES_AT_ONCE: u32 = 5;
/// Past [`GUESSES_AT_ONCE`], one in this time. The delay is before the verification, so that no answer says nothing; and
/// short enough for the right password of someone whose address guesses to be answered within its handshake deadline.
pub const GUESS_INTERVAL: Duration = Duration::from_secs(3);
/// Wrong passwords of one source, at all users together, that are verified without a wait: many clients stand behind one
/// address, and some of them are wrong.
pub const SOURCE_GUESSES_AT_ONCE: u32 = 64;
/// Past [`SOURCE_GUESSES_AT_ONCE`], one in this time: a source that tries one password at many users.
pub const SOURCE_GUESS_INTERVAL: Duration = Duration::from_millis(100);
/// Wrong passwords of one network, at all users together, that are verified without a wait: an IPv6 /48 has 65,536
/// sources.
pub const NETWORK_GUESSES_AT_ONCE: u32 = 256;
/// Past [`NETWORK_GUESSES_AT_ONCE`], one in this time.
pub const NETWORK_GUESS_INTERVAL: Duration = Duration::from_millis(25);
/// Sources, networks or users of a source whose guesses are remembered, in each table.
pub const PACE_KEYS: usize = 65_536;
/// Users who were right, each at a source, that are remembered: they take turns apart from those who never were.
pub const REGULARS_MAX: usize = 65_536;
/// Entries that a full table of guesses looks at for one to forget, a bound on the cost of one guess.
pub const PACE_EVICTION_STEPS: usize = 8;
/// How long the answer waits to wrong credentials that the same source was refused with before, and that are not
/// verified again: a client that cannot but repeat itself must not do so as fast as it can.
pub const REPEATED_FAILURE_DELAY: Duration = Duration::from_secs(1);
/// Most threads of one verifier: each may hold `ARGON2_MEMORY_KIB_MAX` of memory.
pub const VERIFIER_POOL_MAX: usize = 64;
/// Logins that wait for or are in verification in all; more are handed back to the worker.
pub const VERIFY_JOBS_MAX: usize = 16_384;
/// Logins of one network that wait for or are in verification; see `shares`. Nobody may have more than is left free,
/// either, so that there is always room for whoever comes from elsewhere.
pub const VERIFY_JOBS_PER_NETWORK_MAX: usize = 4_096;
/// Distinct logins of one source that wait for verification; more are handed back to the worker. Those of a source that
/// guesses wait long, and a right one must find a place among them.
pub const VERIFY_JOBS_PER_SOURCE_MAX: usize = 2_048;
/// Distinct logins of one source at one user that wait for verification: one who guesses a password leaves places to the
/// others behind his address.
pub const VERIFY_JOBS_PER_USER_MAX: usize = 512;
/// Logins of one source that wait for verification, those that share one included; more are handed
/// back to the worker. A client that opens this many sessions at once pays for one verification, and
/// one that repeats a wrong password cannot fill what all sources share.
pub const VERIFY_SHARED_PER_SOURCE_MAX: usize = 2_048;
/// Logins in the verifier's queue, those among them whose clients have left. At this many the latter are dropped, and as
/// many must have left since the last time: looking at all costs each of them a moment.
pub const VERIFY_QUEUE_MAX: usize = 2 * VERIFY_JOBS_MAX;
/// Counters that hold how many jobs of a source, a network or a user wait; those that meet in one share its bound, which
/// is why there are many more of them than sources that fill theirs.
pub const ADMISSION_COUNTERS: usize = 4_096;
/// How long a verifier thread keeps memory that no hash needed which `user add` writes.
pub const VERIFIER_MEMORY_KEPT: Duration = Duration::from_secs(1);

// ---- gssapi: contexts and what the library says

/// Bytes of the longest `auth.gssapi.service`: a name, and a host of as many bytes as DNS has.
pub const GSS_SERVICE_MAX: usize = 255;

/// Threads of the acceptor, unless there are fewer CPUs: a context costs about 0.2 ms of one (benches/gssapi.rs).
pub const GSS_THREADS_MAX: usize = 4;
/// Most threads of one acceptor.
pub const GSS_POOL_MAX: usize = 64;
/// Tokens that wait for the acceptor or are in it; more are handed back to the worker. Each may have 64 KiB.
pub const GSS_JOBS_MAX: usize = 1_024;
/// Tokens of one source that wait for the acceptor or are in it: first come, first served, so this many contexts are what
/// a source can hold up others by.
pub const GSS_JOBS_PER_SOURCE_MAX: usize = 64;
/// Tokens of one network that wait for the acceptor or are in it.
pub const GSS_JOBS_PER_NETWORK_MAX: usize = 256;
/// Parts of one status message that are asked of the library; a library that never ends would hold the thread.
pub const GSS_STATUS_PARTS_MAX: usize = 8;
/// Bytes of each part of a status message: a path and a principal have room, a log line stays one.
pub const GSS_STATUS_BYTES_MAX: usize = 1_024;

const _: () = assert!(VERIFY_JOBS_PER_SOURCE_MAX <= VERIFY_SHARED_PER_SOURCE_MAX);
const _: () = assert!(VERIFY_JOBS_PER_USER_MAX * 4 <= VERIFY_JOBS_PER_SOURCE_MAX);
const _: () = assert!(VERIFY_SHARED_PER_SOURCE_MAX * 8 <= VERIFY_JOBS_MAX);
const _: () = assert!(VERIFY_JOBS_PER_NETWORK_MAX * 4 <= VERIFY_JOBS_MAX);
const _: () = assert!(GSS_JOBS_PER_NETWORK_MAX * 4 <= GSS_JOBS_MAX);
const _: () = assert!(GSS_JOBS_PER_SOURCE_MAX * 8 <= GSS_JOBS_MAX);
const _: () = assert!(GSS_THREADS_MAX <= GSS_POOL_MAX);
const _: () = assert!(ARGON2_MEMORY_KIB <= ARGON2_MEMORY_KIB_MAX);
const _: () = assert!(ARGON2_MEMORY_KIB as u64 * ARGON2_PASSES as u64 <= ARGON2_WORK_KIB_MAX);
