//! Bounds of TLS at listeners.

use super::{HANDSHAKES_HELD_MAX, SCRATCH_BYTES, SCRATCH_TIGHT_BYTES};

/// Bytes of content in the longest record (RFC 8446 section 5.1).
pub const TLS_PLAIN_MAX: usize = 16 * 1024;
/// Bytes that the longest record has beside its content: a header of 5, and 2048 by TLS 1.2 (RFC 5246 section 6.2.3).
pub const TLS_RECORD_BYTES_MAX: usize = TLS_PLAIN_MAX + 5 + 2048;
/// Bytes that a record of ours has beside its content, in any suite that we speak: a header of 5, a nonce of 8, a tag of 16.
pub const TLS_OVERHEAD_MAX: usize = 32;
/// Bytes left for alerts and an update of keys, which go before what is sealed.
pub const TLS_BESIDE_BYTES: usize = 512;
/// One read of a client that shakes hands, in bytes: what a browser begins with has some 2,000.
pub const TLS_HANDSHAKE_READ_BYTES: usize = 4 * 1024;
/// Bytes of a handshake message that is not whole: a chain of client certificates has some thousand, the longest message
/// that the library takes 64 KiB, and in records of little content there may be some more.
pub const TLS_HALF_MESSAGE_MAX: usize = 96 * 1024;
/// What one read takes of a client that is relayed, in bytes.
pub const TLS_READ_BYTES: usize = SCRATCH_BYTES;
/// Records that one session has opened in a turn, before the others get theirs: each takes a microsecond or two, however
/// little is in it.
pub const TLS_RECORDS_PER_TURN: usize = 512;
/// Handshakes that one worker takes a step in during a turn: a signature takes 30 us with an EC key and a millisecond with
/// RSA, and whoever is relayed waits meanwhile.
pub const TLS_STEPS_PER_TURN: usize = 8;
/// Bytes of a file with certificates or a key: a bundle of every public authority has some 250 KB.
pub const TLS_FILE_MAX: u64 = 1 << 20;
/// How many seconds before its end a certificate is warned of.
pub const TLS_EXPIRY_WARNING_S: u64 = 14 * 86_400;

const _: () = assert!(TLS_PLAIN_MAX <= SCRATCH_TIGHT_BYTES, "a record fits into what one read takes");
const _: () = assert!(TLS_RECORD_BYTES_MAX <= TLS_READ_BYTES);
const _: () = assert!(TLS_HALF_MESSAGE_MAX * 8 <= HANDSHAKES_HELD_MAX);
