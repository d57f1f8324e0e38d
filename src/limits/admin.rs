//! Bounds of the admin endpoint. Whoever can connect can try to fill what stands here: each bound is small enough that
//! the relay feels nothing of it, and large enough for a few operators, their dashboards and a scraper.

use std::time::Duration;

/// Addresses in `admin.listen`: a unix socket, loopback in both families, and one for the scraper.
pub const MAX_ADMIN_LISTEN: usize = 8;
/// Bytes of a unix socket's path: `sun_path` less its NUL (unix(7)).
pub const UNIX_PATH_MAX: usize = 107;
/// Bytes of a token: what one line of a file may have; one of 32 random bytes has 44 in base64.
pub const ADMIN_TOKEN_BYTES_MAX: usize = 1024;
/// Characters that a token has at least: 16 of base64 are 96 bits, which nobody guesses at [`ADMIN_SOURCE_RATE`].
pub const ADMIN_TOKEN_CHARS_MIN: usize = 16;

/// Connections over TCP at once: a browser has 6, a scraper 1. A holder (a user of this machine, or a source) may have as
/// many as are left free, so that none takes them all.
pub const ADMIN_TCP_CONNECTIONS_MAX: usize = 64;
/// Connections to unix sockets at once, apart from the others: an operator always gets in.
pub const ADMIN_UNIX_CONNECTIONS_MAX: usize = 16;
/// Connections that the kernel queues for each listener of the endpoint. What comes while the queue is full comes again after
/// a second: too late for whoever looks at /healthz, which a flood of connections must not bring about.
pub const ADMIN_BACKLOG: i32 = 1024;
/// Connections that are accepted of one listener before others are looked at.
pub const ADMIN_ACCEPTS_PER_TURN: usize = 32;
/// Descriptors that the endpoint uses beside its connections and listeners: epoll and its waker, the socket that asks
/// whose a connection is, and one to spare while a connection is refused.
pub const ADMIN_DESCRIPTORS: usize = 4;
/// How long the endpoint does not accept after a failure that would come again at once: no descriptors, above all.
pub const ADMIN_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request's line and fields together: browsers send about 1 KiB.
pub const ADMIN_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Fields of a request: browsers send about 20.
pub const ADMIN_FIELDS_MAX: usize = 64;
/// Bytes of a request's body: the longest is a password of 255 bytes, each of which JSON may write in six.
pub const ADMIN_BODY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one answer: 50,000 sessions of about 700 each, and half as much again for long names.
pub const ADMIN_ANSWER_BYTES_MAX: usize = 56 * 1024 * 1024;
/// Bytes of all answers that wait to be read: what a reader that takes nothing may hold of memory.
pub const ADMIN_ANSWERS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests of one connection that are answered before others are looked at.
pub const ADMIN_REQUESTS_PER_TURN: usize = 16;
/// Bytes that are written to one connection before others are looked at.
pub const ADMIN_WRITE_BYTES_PER_TURN: usize = 1024 * 1024;

/// From the first byte of a request, or from the connection's begin, to the end of its head: it comes in one segment.
pub const ADMIN_HEAD_TIME: Duration = Duration::from_secs(5);
/// From the end of the head to the end of the body.
pub const ADMIN_BODY_TIME: Duration = Duration::from_secs(5);
/// From the whole request to its answer. What a handler waits for has a shorter time of its own; a reload reads files and
/// opens sockets.
pub const ADMIN_ANSWER_TIME: Duration = Duration::from_secs(20);
/// From the answer's first byte to its last: the longest answer within it is 2 MB a second.
pub const ADMIN_SEND_TIME: Duration = Duration::from_secs(30);
/// A connection between two requests: longer than a scraper's interval.
pub const ADMIN_IDLE_TIME: Duration = Duration::from_secs(75);
/// How long what a refused client still sends is read and dropped, so that it reads its answer and no reset.
pub const ADMIN_LINGER_TIME: Duration = Duration::from_secs(1);
/// Bytes that are read and dropped of a refused client.
pub const ADMIN_LINGER_BYTES_MAX: usize = 256 * 1024;

/// Connections that are taken or looked at in a second without a rest: several times what all requests that are
/// permitted come to.
pub const ADMIN_PIECES_A_SECOND: u32 = 4000;
/// What a turn of the thread is followed by once there were more, in its own length: a flood gets a quarter of a CPU, which
/// workers would be without otherwise.
pub const ADMIN_REST_FACTOR: u32 = 3;
/// How long such a rest is at least: what comes meanwhile is met in one turn.
pub const ADMIN_REST_MIN: Duration = Duration::from_millis(1);
/// And at most: nobody who asks notices.
pub const ADMIN_REST_MAX: Duration = Duration::from_millis(10);

/// Requests over TCP: so many at once.
pub const ADMIN_TCP_AT_ONCE: u32 = 400;
/// And one more in every interval: 200 a second, each of about a tenth of a millisecond.
pub const ADMIN_TCP_RATE: Duration = Duration::from_millis(5);
/// Requests of one holder: so many at once. A dashboard asks six times a second.
pub const ADMIN_SOURCE_AT_ONCE: u32 = 100;
/// And one more in every interval: 50 a second.
pub const ADMIN_SOURCE_RATE: Duration = Duration::from_millis(20);
/// Holders whose requests are counted.
pub const ADMIN_SOURCES_COUNTED_MAX: usize = 1024;
/// Requests over unix sockets, apart from the others: so many at once.
pub const ADMIN_UNIX_AT_ONCE: u32 = 400;
/// And one more in every interval: 200 a second.
pub const ADMIN_UNIX_RATE: Duration = Duration::from_millis(5);

/// At most one line about requests that were refused in this time; it counts the others.
pub const ADMIN_REFUSED_LINE_INTERVAL: Duration = Duration::from_secs(1);
/// How often what the endpoint keeps of the past is added to.
pub const ADMIN_SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a scrape waits for what the workers timed: a turn takes some milliseconds, and one that stands still is told of
/// by what it told before. Prometheus waits ten seconds.
pub const METRICS_PATIENCE: Duration = Duration::from_millis(250);
/// Letters from the control thread that wait for the endpoint's thread: one at each reload, and its end.
pub const ADMIN_LETTERS_MAX: usize = 16;
/// How long the end of the server waits for the answers that the endpoint is sending.
pub const ADMIN_STOP_PATIENCE: Duration = Duration::from_millis(500);
/// How long the endpoint's thread lives on where a reload leaves it no address: the answer to that reload waits for workers
/// first.
pub const ADMIN_LEAVE_PATIENCE: Duration = ADMIN_STOP_PATIENCE.saturating_add(super::ORDER_PATIENCE);
/// How often the end of the server looks meanwhile.
pub const ADMIN_STOP_LOOK: Duration = Duration::from_millis(2);

const _: () = assert!(ADMIN_ANSWER_BYTES_MAX < ADMIN_ANSWERS_BYTES_MAX);
const _: () =
    assert!(ADMIN_TCP_RATE.as_nanos() < ADMIN_SOURCE_RATE.as_nanos(), "one holder must not use up all");
/// How often a server that opens a socket tries to be alone in its folder: for half a second in all, where another is done in
/// a millisecond.
pub const ADMIN_LOCK_TRIES: u32 = 100;
/// How long apart.
pub const ADMIN_LOCK_PAUSE: Duration = Duration::from_millis(5);
