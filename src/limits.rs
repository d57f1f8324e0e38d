//! Every bound of the program, each with its reason; relations between bounds are asserted below.
//!
//! A queue, pool, table or loop whose bound is not here has no bound, and that is a defect.

mod accounts;
mod admin;
mod api;
mod asked;
mod auth;
mod cli;
mod dns;
mod doctor;
mod egress;
mod egress_health;
mod exchange;
mod handover;
mod http;
mod learn;
mod lines;
mod overload;
mod parents;
mod policy;
mod rules;
mod state;
mod tls;
mod top;
mod username;

pub use accounts::*;
pub use admin::*;
pub use api::*;
pub use asked::*;
pub use auth::*;
pub use cli::*;
pub use dns::*;
pub use doctor::*;
pub use egress::*;
pub use egress_health::*;
pub use exchange::*;
pub use handover::*;
pub use http::*;
pub use learn::*;
pub use lines::*;
pub use overload::*;
pub use parents::*;
pub use policy::*;
pub use rules::*;
pub use state::*;
pub use tls::*;
pub use top::*;
pub use username::*;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

// ---- proto: sizes that the wire formats fix

/// Bytes of the longest greeting: VER, NMETHODS and 255 methods (RFC 1928 section 3).
pub const GREETING_MAX: usize = 257;
/// Bytes of the longest username/password request: VER, ULEN, 255, PLEN, 255 (RFC 1929 section 2).
pub const USERPASS_MAX: usize = 513;
/// Bytes of the longest request: VER, CMD, RSV, ATYP, a length, 255 of name, PORT (RFC 1928 section 4).
pub const REQUEST_MAX: usize = 262;
/// Bytes of the longest SOCKS4 request: VN, CD, port, address, 255 of user id, NUL, 255 of name, NUL.
pub const SOCKS4_REQUEST_MAX: usize = 520;
/// Bytes of the longest reply that we send: one with an IPv6 BND.ADDR (RFC 1928 section 6).
pub const REPLY_MAX: usize = 22;
/// Bytes of the longest name as a client may write it: what its length octet can say.
pub const NAME_TYPED_MAX: usize = 255;
/// Bytes of the longest canonical name: 255 on the wire less the root and the first length (RFC 1035
/// section 2.3.4).
pub const NAME_MAX: usize = 253;
/// Bytes of the longest label of a name (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// Bytes of the longest PROXY header that we send: version 2 with addresses of IPv6, a name, an id and a checksum.
pub const PROXY_OUT_MAX: usize = 446;

/// Bytes of the longest header that we write before a datagram: one with an IPv6 address (RFC 1928 section 7).
pub const UDP_HEADER_MAX: usize = 22;

// ---- policy: guard

/// NAT64 prefixes that are known at a time, those of the configuration and those that name servers show each: a network
/// has one or two.
pub const NAT64_PREFIXES_MAX: usize = 8;
/// When name servers that showed no NAT64 prefix are asked again, for the first times: the answer may have been late.
/// While they fail it is the last of these.
pub const NAT64_ASK_AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(40)];
/// How often name servers are asked for NAT64 prefixes otherwise; less often while the answer is cached.
pub const NAT64_REFRESH: Duration = Duration::from_secs(600);
/// How often a host without a way to IPv6 looks whether it has one by now; a new address of it has this looked at at once.
pub const NAT64_LOOK_FOR_IPV6: Duration = Duration::from_secs(40);

// The guard's other tables hold what the operator configured (bounded there) and the addresses of this host's
// interfaces. The latter are never cut short: an address left out is a way back into ourselves.

/// Parts of the table of sources, each with a lock of its own: more than there are workers on most machines, so that two
/// seldom meet.
pub const SOURCE_PARTS: usize = 64;

// ---- config: file size, list lengths

/// Bytes of a configuration file. One with thousands of rules has a few MiB: what is larger is another file.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// Bytes that the values of variables in a configuration come to, all together: a value is 128 KiB at most (MAX_ARG_STRLEN),
/// and a file may name it often.
pub const VARIABLES_BYTES_MAX: usize = 1 << 20;
/// Problems printed for one configuration; the rest are counted. A screenful is all that helps.
pub const MAX_CONFIG_PROBLEMS: usize = 100;
/// Characters of a typed value that a message repeats, so that every problem stays on one line.
pub const MAX_QUOTED_CHARS: usize = 80;
/// Bytes of an interface's name: IFNAMSIZ less its NUL.
pub const INTERFACE_NAME_MAX: usize = 15;
/// Listeners, those of `server.listen` and `[[listener]]` together: each costs every worker a socket.
pub const MAX_LISTEN: usize = 64;
/// As whom rules, limits and records know clients of unix sockets, which have no address: processes of this machine.
pub const UNIX_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Addresses in `dns.servers`: a query tries them in turn within its deadline.
pub const MAX_DNS_SERVERS: usize = DNS_SERVERS;
/// Bytes of the owner of a unix socket's file: the names of a user and a group have 32 each at most (utmp, useradd).
pub const OWNER_MAX: usize = 65;
/// Blocks in `listener.proxy_from`: each connection of such a listener walks the list.
pub const PROXY_FROM_MAX: usize = 256;
/// Blocks in `guard.allow`: every dial walks the list.
pub const MAX_GUARD_ALLOW: usize = 1024;
/// Addresses in `advertise`: one of each family.
pub const MAX_ADVERTISE: usize = 2;
/// Worker threads: above any machine's CPU count that this is built for.
pub const MAX_WORKERS: u64 = 1024;
/// Sessions at once: Linux caps the fds of a process at 2^30, and a session holds two.
pub const MAX_CONNECTIONS: u64 = 1 << 29;
/// Queue of a listener; the kernel lowers it to net.core.somaxconn anyway.
pub const MAX_BACKLOG: u64 = 65_535;
/// Names in the DNS cache: at some hundred bytes each, 4 Mi names are already over a GiB.
pub const MAX_DNS_CACHE_ENTRIES: u64 = 1 << 22;
/// The shortest timeout, in milliseconds: timers and TCP_USER_TIMEOUT count whole milliseconds, and
/// the latter reads 0 as "the kernel's default".
pub const MIN_TIMEOUT_MS: u64 = 1;
/// The longest handshake, connect, dns or bind timeout, in seconds: who waits longer holds a slot for nothing.
pub const MAX_SETUP_TIMEOUT_S: u64 = 3_600;
/// The longest idle, half_close, drain or unacked timeout, in seconds (a week). TCP_USER_TIMEOUT
/// takes milliseconds in 31 bits, so it must stay under 24 days.
pub const MAX_RELAY_TIMEOUT_S: u64 = 7 * 86_400;
const _: () = assert!(MAX_RELAY_TIMEOUT_S * 1000 <= i32::MAX as u64, "TCP_USER_TIMEOUT would overflow");
/// The longest busy poll, in microseconds: a worker that spins longer only heats its CPU.
pub const MAX_BUSY_POLL_US: u64 = 1_000_000;

/// Bytes of the name of a congestion control: TCP_CA_NAME_MAX of the kernel, without its final NUL.
pub const CONGESTION_NAME_MAX: usize = 15;

// ---- session: handshake

/// One read during the handshake, in bytes: the longest message of SOCKS4 and 5 is 520, and what a client sends behind its
/// request stays in the kernel, where it is its own backpressure.
pub const HANDSHAKE_READ_BYTES: usize = 1024;
/// Bytes of a header of the PROXY protocol: its addresses, a certificate's names and some more. Others write 536 at most.
pub const PROXY_HEADER_MAX: usize = 4 * 1024;
/// Bytes of one of version 1, its line's end among them (proxy-protocol.txt section 2.1).
pub const PROXY_V1_MAX: usize = 107;
/// Bytes of a connection's id in one (section 2.2.5).
pub const PROXY_ID_MAX: usize = 128;
/// Bytes of a host's name in one: as long as a name is in DNS.
pub const PROXY_AUTHORITY_MAX: usize = 255;
/// Bytes of half a message that a handshake may hold uncounted.
pub const HANDSHAKE_HELD_FREE: usize = 4 * 1024;
/// Bytes of half messages that the handshakes of one worker may hold together, with a share for each source
/// ([`crate::shares`]). Tokens have some kilobytes: this is for hundreds of the longest at a time, which is more than
/// come from clients that mean well.
pub const HANDSHAKES_HELD_MAX: usize = 32 * 1024 * 1024;
/// Reads of [`HANDSHAKE_READ_BYTES`] of one client in a turn: what needs more is no password, but a token or sealed
/// messages.
pub const HANDSHAKE_READS_PER_TURN: usize = 16;

// ---- relay: buffers, pipes, budgets

/// The worker's scratch buffer, in bytes: one read takes this much at most. Copying in 256 KiB pieces costs 0.8 of
/// the CPU that 64 KiB pieces cost (0.85 to 1 where the bytes come in Ethernet segments), and larger ones save a
/// twentieth more at most (`piece` in benches/pipes.rs).
pub const SCRATCH_BYTES: usize = 256 * 1024;
/// What one read takes once slow sinks hold more than [`SPARE_BYTES_SOFT_MAX`].
pub const SCRATCH_TIGHT_BYTES: usize = 16 * 1024;
/// Memory for bytes that slow sinks did not take, per worker: past it, reads become small.
pub const SPARE_BYTES_SOFT_MAX: usize = 64 * 1024 * 1024;
/// Spare buffers kept for the next use, per worker: at most this many scratch buffers of memory.
pub const SPARES_POOLED_MAX: usize = 16;
/// What a pipe is asked to hold: fs.pipe-max-size's default, so that an unprivileged process may have it. Bulk
/// through it costs 0.4 of the CPU that it costs through the kernel's default of 64 KiB, and 0.7 where it comes in
/// Ethernet segments; 512 KiB cost up to a tenth more (`pipe` in benches/pipes.rs).
pub const PIPE_BYTES: usize = 1024 * 1024;
/// Empty pipes kept for the next use, per worker: one pump uses one, so few suffice; each costs two descriptors.
pub const PIPES_POOLED_MAX: usize = 16;
/// Pipes lent at a time, per worker; a share of the descriptor limit may lower it.
pub const PIPES_LENT_MAX: usize = 1024;
/// What one half moves in one turn, in bytes, before the others get theirs.
pub const PUMP_BYTES_MAX: usize = 1024 * 1024;
/// Rounds of one pump: bounds a source of tiny segments.
pub const PUMP_ROUNDS_MAX: usize = 16;
/// A read of this size counts as large. benches/relay.rs has the two engines cross between 16 and 32 KiB where the
/// bytes stand in large pieces, and near 64 KiB where they stand in Ethernet segments. So from here on splice costs no
/// more than a copy, wherever the bytes came from: 0.77 of one at this size, or 0.85 to 1.03 in segments, and less the
/// more there is.
pub const PROMOTE_READ_BYTES: usize = 64 * 1024;
/// Large reads in a row that promote a half to splice.
pub const PROMOTE_AFTER_READS: u8 = 2;
/// A spliced move below this size counts as small: copying is cheaper there in any layout (benches/relay.rs: splice
/// costs 1.02 of a copy at 16 KiB, 1.10 at 8 KiB and 1.17 at 1 KiB). Between the two bounds neither engine is worth
/// changing for.
pub const DEMOTE_MOVE_BYTES: usize = 16 * 1024;
/// Small moves in a row that demote a half to copy.
pub const DEMOTE_AFTER_MOVES: u8 = 3;

// ---- relay: datagrams

/// Datagrams received by one call.
pub const UDP_BATCH: usize = 64;
/// Room for one datagram, or for as many as the kernel joins: 64 KiB less a byte is what either can have. The rest
/// keeps the rooms from meeting in the same sets of the CPU's caches, as those at a distance of 64 KiB would.
pub const UDP_ROOM_BYTES: usize = 64 * 1024 + 320;
/// Batches of one socket in one turn, before the others get theirs.
pub const UDP_ROUNDS_MAX: usize = 4;
/// How long a worker lets datagrams gather when they come in driblets: a socket's queue holds them meanwhile, and a
/// turn that moves thirty costs little more than one that moves five. 50 us cost 0.8 to 0.9 of the CPU per datagram.
pub const UDP_GATHER_TIME: Duration = Duration::from_micros(50);
/// Datagrams of a turn that lets more of them gather. A turn that moved fewer was of a quiet client, whose datagram nobody
/// may hold up; one that moved more has nothing to gain.
pub const UDP_DRIBLET: std::ops::Range<u64> = 4..UDP_BATCH as u64;
/// Datagrams of one socket in one turn, before the others get theirs: a batch counts as full, and by what was joined
/// in its rooms where that is more. The batch that goes past it is the last one.
pub const UDP_TURN_DATAGRAMS: usize = 4 * UDP_BATCH;
/// Sends in one system call. More of them save nothing, and those behind a refused one are put together in vain.
pub const UDP_SENDS_MAX: usize = 64;
/// Milliseconds after connect(2) in which a stranger's datagram may still be on its way into a socket's queue, having found
/// the socket before on another CPU. It takes microseconds.
pub const UDP_STRANGERS_MS: u64 = 100;
/// Datagrams that leave in one send: UDP_MAX_SEGMENTS of older kernels.
pub const UDP_JOINED_MAX: usize = 64;
/// Bytes of one datagram's payload at most, over IPv4: 16 bits of length, less both headers.
pub const UDP_PAYLOAD_MAX: usize = 65_507;
/// Bytes that leave in one send: the kernel holds the same bound for what it cuts.
pub const UDP_JOINED_BYTES_MAX: usize = UDP_PAYLOAD_MAX;
/// What an association's sockets are asked to queue, in bytes; the kernel lowers it to net.core.rmem_max. A burst that
/// comes while the worker serves others must find room here or be lost.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Bytes of one association beside its session: with the allocators and a few peers it stays under 1 KiB.
pub const ASSOCIATION_BYTES_MAX: usize = 448;
/// Addresses that may answer one association: a client that has spoken to more is a scanner. 68 KiB.
pub const UDP_PEERS_MAX: usize = 4096;
/// Names that one association remembers.
pub const UDP_NAMES_MAX: usize = 32;
/// Names that one association asks for at a time: what a ticket can tell apart.
pub const UDP_LOOKUPS_MAX: u8 = 7;
/// Addresses of a family that an answer has the kernel asked about: where the first few have no route, the family has none.
pub const UDP_ROUTES_ASKED: usize = 4;
/// Datagrams of one association that wait for their names.
pub const UDP_WAITING_MAX: usize = 64;
/// Bytes of the datagrams of one association that wait for their names.
pub const UDP_WAITING_BYTES_MAX: usize = 64 * 1024;
/// Targets that one association counts for its records; what goes further is counted in one. 45 KiB, and their names.
pub const UDP_TARGETS_MAX: usize = 256;
/// Targets that all associations of one worker count, with a share for each source: some 11 MiB, and their names.
pub const UDP_TARGETS_HELD_MAX: usize = 64 * 1024;
/// Bytes of datagrams that wait for the rest of their fragments or for a name, in all associations of one worker, with a
/// share for each source ([`crate::shares`]): a hundred of the longest for one that is alone.
pub const UDP_HELD_MAX: usize = 16 * 1024 * 1024;
/// What a datagram that waits costs beside its payload, in bytes.
pub const UDP_HELD_OVERHEAD: usize = 96;
/// The reassembly timer: RFC 1928 section 7 allows no less than 5 seconds, and longer only holds memory.
pub const UDP_REASSEMBLY: Duration = Duration::from_secs(5);

// ---- worker: slots, timers, batches

/// Sessions of one worker: fewer than a token can name. The descriptor limit is far below.
pub const SLOTS_MAX: usize = 1 << 23;
/// Bytes of one direction of a relay: a session has two of them, for as long as it lasts.
pub const HALF_BYTES_MAX: usize = 56;
/// Bytes of one session in the slab: an idle relay may cost 600, its timer and the allocators included.
pub const SLOT_BYTES_MAX: usize = 480;
/// Events taken from the kernel in one turn.
pub const EVENTS_PER_TURN: usize = 1024;
/// A wait for events that took less than this had some at once: a call that does not sleep takes some microseconds, and
/// [`UDP_GATHER_TIME`] where datagrams were let gather.
pub const WAIT_WITHOUT_SLEEP: Duration = Duration::from_micros(100);
/// How long a listener that goes is kept for handshakes that had begun: there and back to the other side of the Earth.
pub const HANDSHAKES_OVER: Duration = Duration::from_millis(300);
/// Connections accepted in one turn, so that a flood of them does not starve the sessions that are there.
pub const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting pauses after EMFILE, ENFILE, ENOBUFS or ENOMEM: short enough to serve within 200 ms after
/// a descriptor comes free, long enough to cost nothing.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// At most one log line about a pause in this time.
pub const PAUSE_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// At most one log line of a worker at its ceiling in this time.
pub const CEILING_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// At most one log line about refusals of one source in this time.
pub const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Sources of which a worker counts refusals apart in that time: so many lines a second at most. What others are
/// refused meanwhile is one count.
pub const REFUSAL_SOURCES_MAX: usize = 256;
/// Buckets of the timing wheel: with the tick, a horizon of 131 s.
pub const WHEEL_BUCKETS: usize = 4096;
/// Resolution of timers, in milliseconds.
pub const WHEEL_TICK_MS: u64 = 32;
/// Resolution of the moments at which limits let sessions go on, in milliseconds: what comes of a rate meanwhile has to find
/// room in its burst.
pub const LIMIT_TICK_MS: u64 = 1;
/// Idle timers are rounded up to this, so that many idle sessions share a wake-up.
pub const IDLE_ROUNDING: Duration = Duration::from_secs(1);
/// How long a relay lives before its upstream socket gets keepalive and the user timeout: shorter sessions never
/// pay for them.
pub const LIVENESS_AFTER: Duration = Duration::from_secs(5);
/// Silence on a relay's socket before the kernel probes its peer.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(120);
/// Between two keepalive probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long behind its own deadline a lookup may still answer, before the worker answers in its place.
pub const DNS_SLACK: Duration = Duration::from_millis(500);
/// Addresses of a name that one session tries: all that the resolver gives (RFC 1123 section 6.1.3.4: until one succeeds).
pub const DIAL_ADDRESSES_MAX: usize = DNS_ADDRESSES;
/// Connect attempts of one session at a time: the oldest is closed for a third one.
pub const DIAL_AT_A_TIME: usize = 2;
/// Socket indices that attempts have in turn, from 1 on: what a token can name beside the client's socket.
pub const DIAL_SOCKETS: u8 = 7;
/// Between two attempts of one session (RFC 8305 section 8, Connection Attempt Delay).
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);
/// Between two attempts of one session where many addresses have to share the time (RFC 8305 section 8: "MUST NOT be less
/// than 10 milliseconds").
pub const DIAL_STAGGER_MIN: Duration = Duration::from_millis(10);
/// How long an attempt goes on alone where a second one has no descriptor, before it is closed for the next: as long as
/// the kernel waits before it repeats a SYN.
pub const DIAL_ALONE: Duration = Duration::from_secs(1);
/// Second attempts of one worker at a time, each a descriptor; a share of the descriptor limit may lower it.
pub const SECOND_ATTEMPTS_MAX: usize = 1024;
/// Ports that a BIND or UDP ASSOCIATE session tries of its range, in a row from a random one: each try is a system call or three.
pub const PORT_TRIES_MAX: usize = 256;
/// Ports that a BIND or UDP ASSOCIATE session tries where the kernel picks them: it looks at all of them each time, and
/// fails only in a race.
pub const KERNEL_PORT_TRIES: usize = 3;
/// Ports that one session tries in the turn of its request, and in each of its later turns: where ports are free the first
/// one mostly is.
pub const PORT_TRIES_AT_ONCE: usize = 4;
/// Ports that all sessions of a worker whose search goes on try in one turn: they take a quarter of a millisecond. Sources
/// take turns for them.
pub const PORT_TRIES_PER_TURN: usize = 32;
/// Connections that wait at the listener of a BIND session: one is its peer, the others are strangers, whom a turn of
/// some milliseconds lets gather. Where they fill it the peer waits for the second of its SYN's timer.
pub const BIND_BACKLOG: i32 = 64;
/// Strangers that the listener of a BIND session turns away in one turn.
pub const BIND_ACCEPTS_PER_TURN: usize = 8;
/// How long a client that sent FIN, and nothing behind its request, is waited for: nearly always it has left.
pub const LEFT_GRACE: Duration = Duration::from_millis(900);
/// How long a closing socket may still take bytes and send unread ones, before it is reset. RFC 1928 section 6
/// allows 10 s behind an error reply.
pub const LINGER: Duration = Duration::from_secs(2);
/// How long a login waits to be queued again when the verifier's queue is full.
pub const VERIFY_RETRY: Duration = Duration::from_millis(50);
/// Rounds of establishing one security context: Kerberos takes one, other mechanisms two or three.
pub const GSS_ROUNDS_MAX: u8 = 8;
/// What one read of a sealed session takes, in bytes: the scratch buffer, so that whole messages of it fit there.
pub const SEALED_READ_BYTES: usize = SCRATCH_BYTES;
/// Messages that one sealed session has opened in a turn, before the others get theirs: each takes some microseconds,
/// however little is in it.
pub const SEALED_MESSAGES_PER_TURN: usize = 512;
/// Verified credentials that a worker remembers.
pub const VERIFIED_CACHE_ENTRIES: usize = 16_384;
/// How long a worker remembers verified credentials.
pub const VERIFIED_CACHE_TTL: Duration = Duration::from_secs(300);
/// One DNS message or piece of a stream, in bytes.
pub const DNS_READ_BYTES: usize = 64 * 1024;
/// The longest duration that a histogram tells apart, in microseconds: a day.
pub const LATENCY_MAX_US: u64 = 86_400_000_000;

// ---- control: queues to the threads

/// Orders that wait for the control thread: those of the endpoint's clients, who wait for each.
pub const ORDERS_QUEUED_MAX: usize = 16;
/// Orders that the control thread has taken and that wait for the one that is under way.
pub const ORDERS_DEFERRED_MAX: usize = 16;
/// Signals that wait for the control thread.
pub const SIGNALS_QUEUED_MAX: usize = 16;
/// Descriptors that a service manager may pass: a socket for each worker of each listener, and then some.
pub const PASSED_DESCRIPTORS_MAX: usize = 64 * 1024;
/// Descriptors in one message to the service manager: SCM_MAX_FD of the kernel.
pub const STORED_IN_MESSAGE_MAX: usize = 253;
/// Bytes of a stored descriptor's name: what systemd takes (FDNAME_MAX).
pub const STORED_NAME_MAX: usize = 255;
/// How soon the control thread looks again at what it waits for: a worker with no room for a letter, a drain's last session.
pub const CONTROL_RETRY: Duration = Duration::from_millis(50);
/// How long the answer to an order waits for workers that stand still.
pub const ORDER_PATIENCE: Duration = Duration::from_secs(2);
/// Descriptors of one worker beside its sessions: epoll, waker, the pooled pipes, the one in reserve with which a client is
/// taken where there is none, and the socket past its budget that one session may have for a moment: of BIND while it accepts or
/// looks for its address, of a dial before the oldest attempt goes.
pub const WORKER_DESCRIPTORS: usize = 10 + 2 * PIPES_POOLED_MAX;
/// Messages to one worker: one answer for each login in the verifier's queue, and a few from control.
pub const MAILBOX_MAX: usize = 65_536;
/// How long a thread that panicked waits before it begins anew: one that panics at once again must not take a CPU.
pub const THREAD_RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How long behind the end of the drain a worker is waited for, before the process ends without it.
pub const DRAIN_SLACK: Duration = Duration::from_secs(1);
/// How often the control thread looks whether the workers turn.
pub const WATCHDOG_INTERVAL: Duration = Duration::from_secs(1);
/// How long a worker may take for one turn before a line says so: its budgets allow some milliseconds.
pub const STALL_PATIENCE: Duration = Duration::from_secs(5);
/// How long the control thread may not have looked at the workers before it counts as one that stands still.
pub const VITALS_PATIENCE: Duration = Duration::from_secs(15);
/// How long name servers may say nothing, while names fail, before none of them counts as working.
pub const NAME_SERVER_SILENCE: Duration = Duration::from_secs(10);
/// How long that counts once no more names are asked for: clients that are sent elsewhere for it do not show when it ends.
pub const NAME_SERVER_GRUDGE: Duration = Duration::from_secs(30);
/// How often the service manager is told what to show of the server.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// How often the list of local addresses is read anew, for the guard, where the kernel does not say that it changed;
/// and how soon it is tried again where it could not be read.
pub const LOCALS_REFRESH: Duration = Duration::from_secs(10);
/// Between two readings of the local addresses because the kernel said that they changed: a machine that is given addresses
/// by the thousand tells of each.
pub const LOCALS_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of one read from netlink: the kernel's messages come in pieces of 32 KiB at most.
pub const NETLINK_READ_BYTES: usize = 32 * 1024;
/// Bytes of the kernel's answer to one question: half a million addresses. Past it the last good list stays in force.
pub const NETLINK_DUMP_BYTES_MAX: usize = 64 << 20;
/// Readings of tables that change meanwhile, before the last good list stays in force.
pub const NETLINK_DUMPS_MAX: usize = 4;
/// Descriptors left to everything that is no session: standard streams, epoll, wakers, files.
pub const RESERVED_DESCRIPTORS: usize = 32;
/// Threads that verify passwords, at most: they must leave the CPUs to the workers.
pub const VERIFIER_THREADS_MAX: usize = 4;

/// How often the users file is looked at.
pub const USERS_LOOK: Duration = Duration::from_millis(500);
/// How long a users file that has changed must stay as it is before it is read. New logins are judged by it within a
/// second, this and [`USERS_LOOK`] included.
pub const USERS_SETTLE: Duration = Duration::from_millis(100);
/// How often a change of the users file looks whether another is done, [`USERS_LOCK_LOOK`] apart: three seconds, where an
/// edit takes milliseconds, for meanwhile no change of the file is noticed.
pub const USERS_LOCK_LOOKS: u32 = 300;
/// See [`USERS_LOCK_LOOKS`].
pub const USERS_LOCK_LOOK: Duration = Duration::from_millis(10);

// ---- relations that must hold

const _: () = assert!(SCRATCH_TIGHT_BYTES <= SCRATCH_BYTES);
const _: () = assert!(SCRATCH_BYTES <= PUMP_BYTES_MAX);
const _: () = assert!(PROMOTE_READ_BYTES <= SCRATCH_BYTES, "a full read must count as large");
const _: () = assert!(DEMOTE_MOVE_BYTES < PROMOTE_READ_BYTES, "no half may flap between its engines");
const _: () = assert!(UDP_GATHER_TIME.as_micros() < WAIT_WITHOUT_SLEEP.as_micros());
const _: () = assert!(PIPES_POOLED_MAX <= PIPES_LENT_MAX);
const _: () =
    assert!(GUESS_INTERVAL.as_millis() * 3 < 10_000, "two ends of a line within a handshake's 10 s");
const _: () = assert!(WHEEL_BUCKETS.is_multiple_of(64), "the occupancy map has 64 buckets a word");
const _: () = assert!(LINGER.as_secs() < 10, "RFC 1928 section 6: closed within 10 s of an error reply");
const _: () = assert!(LEFT_GRACE.as_millis() < 1000, "a client that left costs its target a second at most");
const _: () = assert!(
    VITALS_PATIENCE.as_secs() > STALL_PATIENCE.as_secs(),
    "a worker is blamed before the thread that looks"
);
const _: () =
    assert!(WATCHDOG_INTERVAL.as_secs() > 0 && STALL_PATIENCE.as_secs() > WATCHDOG_INTERVAL.as_secs());
