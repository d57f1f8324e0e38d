//! The command line's half of the admin endpoint: what an answer may come to, for another server may stand there.

use std::time::Duration;

/// Bytes of the head of an answer: ours have under one KiB.
pub const ANSWER_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields in the head of an answer: ours have a dozen.
pub const ANSWER_FIELDS_MAX: usize = 64;
/// Bytes of the body of an answer: the longest list of sessions, with names of usual length.
pub const ANSWER_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// One read of an answer, in bytes.
pub const ANSWER_READ_BYTES: usize = 64 * 1024;
/// A request of the command line, from connecting to the answer's last byte: a reload may read a keytab and a large users
/// file from a slow disk, and a person waits no longer.
pub const ADMIN_REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a file that holds a token: what is longer is another file.
pub const TOKEN_FILE_BYTES_MAX: u64 = 4096;
/// The same for `outflow health`: what asks it asks again soon, and gives up on it after some seconds by itself.
pub const HEALTH_PATIENCE: Duration = Duration::from_secs(5);
/// For so long `outflow drain --after` waits at most: what runs it before a stop (a hook of a container) has minutes, and who types
/// hours has mistaken the unit.
pub const DRAIN_DELAY_MAX: Duration = Duration::from_secs(600);
