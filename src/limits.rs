//! Every bound of the program, each with its reason; relations between bounds are asserted below.
//!
//! A queue, pool, table or loop whose bound is not here has no bound, and that is a defect.

// ---- proto: sizes that the wire formats fix

/// Bytes of the longest greeting: VER, NMETHODS and 255 methods (RFC 1928 section 3).
pub const GREETING_MAX: usize = 257;
/// Bytes of the longest username/password request: VER, ULEN, 255, PLEN, 255 (RFC 1929 section 2).
pub const USERPASS_MAX: usize = 513;
/// Bytes of the longest request: VER, CMD, RSV, ATYP, a length, 255 of name, PORT (RFC 1928 section 4).
pub const REQUEST_MAX: usize = 262;
/// Bytes of the longest reply that we send: one with an IPv6 BND.ADDR (RFC 1928 section 6).
pub const REPLY_MAX: usize = 22;
/// Bytes of the longest name as a client may write it: what its length octet can say.
pub const NAME_TYPED_MAX: usize = 255;
/// Bytes of the longest canonical name: 255 on the wire less the root and the first length (RFC 1035
/// section 2.3.4).
pub const NAME_MAX: usize = 253;
/// Bytes of the longest label of a name (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;

// ---- auth: users, caches, throttling

// ---- dns: queries, cache

// ---- policy: guard
//
// The guard's tables hold what the operator configured (bounded there) and the addresses of this host's
// interfaces. The latter are never cut short: an address left out is a way back into ourselves.

// ---- config: file size, list lengths

// ---- session: handshake

// ---- relay: buffers, pipes, budgets

/// The worker's scratch buffer, in bytes: one read takes this much at most. Copying in 256 KiB pieces costs 0.6 of
/// the CPU that 64 KiB pieces cost; larger ones fall out of the second-level cache.
pub const SCRATCH_BYTES: usize = 256 * 1024;
/// What one read takes once slow sinks hold more than [`SPARE_BYTES_SOFT_MAX`].
pub const SCRATCH_TIGHT_BYTES: usize = 16 * 1024;
/// Memory for bytes that slow sinks did not take, per worker: past it, reads become small.
pub const SPARE_BYTES_SOFT_MAX: usize = 64 * 1024 * 1024;
/// Spare buffers kept for the next use, per worker: at most this many scratch buffers of memory.
pub const SPARES_POOLED_MAX: usize = 16;
/// What a pipe is asked to hold: fs.pipe-max-size's default, so that an unprivileged process may have it.
pub const PIPE_BYTES: usize = 1024 * 1024;
/// Empty pipes kept for the next use, per worker: one pump uses one, so few suffice; each costs two descriptors.
pub const PIPES_POOLED_MAX: usize = 16;
/// Pipes lent at a time, per worker; a share of the descriptor limit may lower it.
pub const PIPES_LENT_MAX: usize = 1024;
/// What one half moves in one turn, in bytes, before the others get theirs.
pub const PUMP_BYTES_MAX: usize = 1024 * 1024;
/// Rounds of one pump: bounds a source of tiny segments.
pub const PUMP_ROUNDS_MAX: usize = 16;
/// A read of this size counts as large; below it a copy costs less than two splices.
pub const PROMOTE_READ_BYTES: usize = 64 * 1024;
/// Large reads in a row that promote a half to splice.
pub const PROMOTE_AFTER_READS: u8 = 2;
/// A spliced move below this size counts as small.
pub const DEMOTE_MOVE_BYTES: usize = 16 * 1024;
/// Small moves in a row that demote a half to copy.
pub const DEMOTE_AFTER_MOVES: u8 = 3;

// ---- worker: slots, timers, batches

// ---- control: queues to the threads

// ---- relations that must hold

const _: () = assert!(SCRATCH_TIGHT_BYTES <= SCRATCH_BYTES);
const _: () = assert!(SCRATCH_BYTES <= PUMP_BYTES_MAX);
const _: () = assert!(PROMOTE_READ_BYTES <= SCRATCH_BYTES, "a full read must count as large");
const _: () = assert!(DEMOTE_MOVE_BYTES < PROMOTE_READ_BYTES, "no half may flap between its engines");
const _: () = assert!(PIPES_POOLED_MAX <= PIPES_LENT_MAX);
