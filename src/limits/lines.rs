//! Bounds of what is written: the log and the access records, their queues and their sinks.

use std::time::Duration;

use super::{NAME_MAX, PARENT_HOPS_MAX, PROXY_AUTHORITY_MAX, PROXY_ID_MAX, RULE_NAME_MAX, USER_NAME_MAX};

/// Bytes of access records that a worker gathers before it hands them over; while the queue is full it holds as many,
/// and drops and counts what comes behind them.
pub const RECORDS_BATCH_BYTES: usize = 32 * 1024;
/// How long a worker gathers access records.
pub const RECORDS_BATCH_TIME: Duration = Duration::from_millis(50);
/// Bytes of access records, of all workers together, that wait for their sink: some 40,000 records. What comes past it
/// is dropped and counted, for a stuck disk must not stop the relay.
pub const RECORDS_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one record and its share of a batch, but for names that clients give and what a balancer says: 1,470 at most, with the
/// names of two rules, a limit and a listener, of which no byte needs an escape.
pub const RECORD_BYTES_PLAIN_MAX: usize = 1792;
/// What the record of a session that a parent leads may have beside: its name, each proxy of a chain with its scheme and port, and the
/// word for what failed.
pub const RECORD_PARENT_BYTES: usize = RULE_NAME_MAX + PARENT_HOPS_MAX * (NAME_MAX + 20) + 16;
/// Bytes in which a record and the log say why there is no pool to leave from, with what a client asked for: plain characters.
pub const NO_POOL_TOLD_MAX: usize = 240;
/// Bytes of the longest record: names where each byte needs six, and an id in hexadecimal digits.
pub const RECORD_BYTES_MAX: usize = RECORD_BYTES_PLAIN_MAX
    + RECORD_PARENT_BYTES
    + 6 * (2 * USER_NAME_MAX + NAME_MAX + PROXY_AUTHORITY_MAX)
    + 2 * PROXY_ID_MAX;
/// What `log.on_full = "refuse"` adds to the queue for each session that there may be: its record has its room from the
/// request on. Names come out of the common part.
pub const RECORD_ROOM_PER_SESSION: usize = RECORD_BYTES_PLAIN_MAX;
/// Bytes of log lines that wait for standard error: some 20,000 lines. What comes past it is dropped and counted.
pub const LOG_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What one batch of lines takes of a queue of lines beside its bytes: its place in the channel, and the allocator's.
pub const LINES_BATCH_OVERHEAD_BYTES: usize = 96;
/// How soon a sink that refused is tried again at first: a full pipe is emptied within milliseconds.
pub const OUTLET_RETRY_MIN: Duration = Duration::from_millis(2);
/// How soon a sink that refused is tried again at last: a full disk is emptied within minutes.
pub const OUTLET_RETRY_MAX: Duration = Duration::from_millis(250);
/// How often the access record's thread looks whether another file stands at its path: rotation is noticed within a
/// second without a signal.
pub const OUTLET_LOOK: Duration = Duration::from_millis(500);
/// At most one line about lines that are lost in this time, while more of them are.
pub const OUTLET_NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the server waits for a sink that takes nothing.
pub const OUTLET_PATIENCE: Duration = Duration::from_millis(500);
/// How long the end of the server waits for a sink that takes some, but too slowly.
pub const OUTLET_PATIENCE_MAX: Duration = Duration::from_secs(5);
/// The mode of an access record's file that is new: it holds the names of users.
pub const ACCESS_MODE: u32 = 0o640;

const _: () = assert!(RECORDS_BATCH_BYTES * 64 < RECORDS_QUEUE_BYTES_MAX, "one batch must not decide");
const _: () = assert!(RECORD_BYTES_MAX <= u16::MAX as usize, "a slot keeps its record's room in 16 bits");
const _: () =
    assert!(OUTLET_LOOK.as_millis() < 1000 && OUTLET_RETRY_MAX.as_millis() < OUTLET_PATIENCE.as_millis());
