//! Bounds of a hand-over: what two servers tell each other while one takes the other's place.

use std::time::Duration;

use super::{MAX_ADMIN_LISTEN, MAX_LISTEN, MAX_WORKERS};

/// Bytes of a message: the longest has the uses of some hundred accounts.
pub const HANDOVER_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of uses that are gathered for one message, behind which one more of the longest names fits.
pub const HANDOVER_USES_BYTES: usize = 48 * 1024;
/// Listeners that are offered: those of clients, of the endpoint, and the one at which servers ask for a hand-over.
pub const HANDOVER_LISTENERS_MAX: usize = MAX_LISTEN + MAX_ADMIN_LISTEN + 1;
/// Sockets of one listener: as many as the server with most workers of all that there were had.
pub const HANDOVER_SOCKETS_MAX: usize = MAX_WORKERS as usize;
/// How long one waits for what the other has at hand, and says at once where it is well.
pub const HANDOVER_PATIENCE: Duration = Duration::from_secs(10);
/// How long the new server may take from the offer until it is ready: long lists of rules are read in seconds.
pub const HANDOVER_START_PATIENCE: Duration = Duration::from_secs(120);
/// How long the new server may take until it serves once the old one has let go, while clients wait in queues: it opens the
/// store of quotas.
pub const HANDOVER_SERVE_PATIENCE: Duration = Duration::from_secs(15);
/// How long the old server waits for its workers to leave the listeners alone. One that stands still does so when it turns.
pub const HANDOVER_RELEASE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the store of quotas of a server is waited for that ended while it gave its place away: its process may have a moment left.
pub const HANDOVER_STORE_PATIENCE: Duration = Duration::from_secs(2);
/// How often the old server tells what its sessions have and use.
pub const HANDOVER_USES_INTERVAL: Duration = Duration::from_millis(250);
/// Servers before this one that may have sessions yet.
pub const HANDOVER_PREDECESSORS_MAX: usize = 64;
/// Letters from the threads of a hand-over that the control thread has not read.
pub const HANDOVER_LETTERS_MAX: usize = 16;
/// How long the end of the process waits for the last uses to be told.
pub const HANDOVER_LAST_USES: Duration = Duration::from_secs(2);

/// Bytes that one of them takes in a message: three numbers of twenty digits, a process's and the version of a program.
pub const OLDER_SERVER_BYTES: usize = 256;

const _: () = assert!(HANDOVER_USES_BYTES + 4 * 1024 < HANDOVER_MESSAGE_BYTES_MAX, "the longest names fit");
const _: () = assert!(
    OLDER_SERVER_BYTES * HANDOVER_PREDECESSORS_MAX < HANDOVER_USES_BYTES / 2,
    "there is room for uses beside servers"
);
/// Servers that may wait to ask for a hand-over, of which there is one at a time.
pub const HANDOVER_BACKLOG: i32 = 8;
/// How long the process that starts programs may take to say whether one was started: what is heard by the control thread.
pub const LAUNCH_PATIENCE: Duration = Duration::from_secs(2);
/// From one program that it starts to the next, whoever asks: one that nobody speaks with ends by itself in ten times that.
pub const LAUNCH_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of its answer: a path and what the kernel said of it.
pub const LAUNCH_ANSWER_BYTES_MAX: usize = 4608;
/// For how long sessions go on behind a hand-over that sets them no limit.
pub const HANDOVER_LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Descriptors of a server whose place can be taken, beside those that it has anyway: the socket that is asked at, what ends its
/// thread, the channel to one who asks, one to one who is refused, and that to the process that starts programs.
pub const HANDOVER_DESCRIPTORS: usize = 6;
/// How long a worker sleeps at most: epoll counts milliseconds in 31 bits.
pub const WAIT_LONGEST: Duration = Duration::from_secs(3600);
