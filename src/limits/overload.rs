//! Bounds of overload: waiting is bounded in time, and places follow from it.

use std::time::Duration;

/// How long a connection may stand in a listener's queue before its worker looks whether more come than it can serve. Two
/// periods of a CPU quota (100 ms each, as the kernel and Kubernetes set them by default): what comes while a worker is
/// throttled is served in the next period, and a queue that holds less would leave the worker idle in some.
pub const QUEUE_TARGET: Duration = Duration::from_millis(200);
/// How long they have to stand that long before it is overload: a burst, or a machine that stood still, is served within it.
/// As often the queue's places are set anew while it lasts.
pub const QUEUE_INTERVAL: Duration = Duration::from_millis(100);
/// A queue that became shorter by so much (one part in so many) within that time is no overload, however long who is in it has
/// stood: a worker that stood still works off within a second who came meanwhile.
pub const QUEUE_DRAINS_PART: u32 = 8;
/// How often somebody is asked how long it stood, in a queue that has not been empty for as long as the target: a few times
/// within the time that overload takes to be one.
pub const QUEUE_ASK_INTERVAL: Duration = Duration::from_millis(25);
/// How long a connection may have stood where more come than can be served; it is reset then, before anything is read. The
/// clients who wait least give up after a second or two, and what is left of it they need for their session.
pub const QUEUE_WAIT_MAX: Duration = Duration::from_millis(500);
/// The same where there is no place for another session: one may end at any time.
pub const CEILING_WAIT_MAX: Duration = Duration::from_secs(1);
/// Places of a queue at least, however slow its worker is: a browser's handful of connections finds room.
pub const QUEUE_PLACES_MIN: u32 = 16;
/// Connections that a worker resets in one turn because they have stood too long: a millisecond or two.
pub const SHEDS_PER_TURN: usize = 256;
/// How long a turn goes on under overload with those who come and those who are not set up yet: the sessions that are
/// there have their next turn soon. It is some dozens of steps of handshakes, whose share of a turn's fixed cost is small, and a
/// tenth of what a CPU quota of 10 in 100 ms gives at a time: what is answered within that leaves within it.
pub const LONG_TURN: Duration = Duration::from_millis(1);
/// How long a turn goes on with those who come where nothing says that more come than can be served: one that meets all the events
/// that a turn may have takes half of it, and takes as many connections as ever, since a turn for a few costs each of them more.
/// A longer one was throttled, or moves much: who is taken in it would only wait elsewhere, where nobody sees it.
pub const STALLED_TURN: Duration = Duration::from_millis(50);
/// Connections that a turn accepts in any case: a worker whose turns are long for what it moves takes thousands a second.
pub const ACCEPTS_PER_TURN_MIN: usize = 4;
/// At most one line of a worker about connections that it reset, and about queues that it keeps short, in this time.
pub const SHED_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes of memory that one more session is taken to cost, in this process and in the kernel: an idle one costs 600 and some
/// 4 KiB, one that moves bytes what stands in its sockets.
pub const SESSION_MEMORY_BYTES: u64 = 16 * 1024;
/// Of the memory that a cgroup allows, the part that is left free (one part in so many): the kernel ends a process that goes
/// beyond, and what is moved at the time needs room.
pub const MEMORY_SPARE_PART: u64 = 16;

const _: () =
    assert!(QUEUE_TARGET.as_millis() < QUEUE_WAIT_MAX.as_millis(), "who stands as is meant is served");
const _: () = assert!(ACCEPTS_PER_TURN_MIN <= super::ACCEPTS_PER_TURN);
