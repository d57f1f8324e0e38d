//! Bounds of parents: the proxies that sessions are led through.

use std::time::Duration;

use super::{HTTP_HEAD_BYTES_MAX, REQUEST_MAX, USERPASS_MAX};

/// `[[parent]]` tables: each may be looked at for a session, and the metrics tell of each.
pub const PARENTS_MAX: usize = 1_024;
/// Servers of one parent: which of them a session has tried is a bit each.
pub const PARENT_SERVERS_MAX: usize = 64;
/// Proxies of one chain. Each costs a round trip to it and back, and four of them half of the time that a client waits.
pub const PARENT_HOPS_MAX: usize = 4;
/// The weight of a server: its places in the hash are looked at one by one.
pub const PARENT_WEIGHT_MAX: u64 = 100;
/// Servers that one session tries, each with the time of a connect.
pub const PARENT_TRIES_MAX: u32 = 3;
/// `parent.max_fails`.
pub const PARENT_FAILS_MAX: u64 = 10_000;
/// `parent.warm`: connections that each worker keeps idle to each server.
pub const PARENT_WARM_MAX: u64 = 256;
/// Idle connections to servers of parents that a worker keeps in all: each is looked at for a session.
pub const PARENT_WARM_ALL_MAX: usize = 256;
/// Hashes of clients that tried whether a server is back and found nothing out, two for each: a name and a network.
pub const PARENT_TRIERS: usize = 8;
/// How long one is kept: what proxies let wait for a request is a minute at least.
pub const PARENT_WARM_TIME: Duration = Duration::from_secs(45);
/// Looks at servers of parents that are under way at a time: a descriptor each.
pub const PARENT_CHECKS_AT_A_TIME: usize = 16;
/// Bytes of a parent's URL: a name and a password of 255 bytes, each written in three, and a host.
pub const PARENT_URL_MAX: usize = 2_048;
/// Bytes of the file of a parent's password, before it is known that it is none.
pub const PARENT_PASSWORD_FILE_MAX: u64 = 1 << 20;
/// Bytes of the head by which an HTTP parent answers CONNECT: it has no cookies and no page of its own to describe.
pub const PARENT_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Interim responses (RFC 9110 section 15.2) that an HTTP parent may send before the one that counts.
pub const PARENT_INTERIM_MAX: u8 = 4;
/// Bytes that may be received of a parent and not be used before its handshake is over: the longest message of any protocol.
pub const PARENT_UNUSED_BYTES_MAX: usize = PARENT_HEAD_BYTES_MAX;
/// Bytes of the longest message that is sent to a SOCKS parent before it has answered: greeting, login and request.
pub const PARENT_SENT_BYTES_MAX: usize = 4 + USERPASS_MAX + REQUEST_MAX;

const _: () = assert!(PARENT_SERVERS_MAX <= u64::BITS as usize, "a bit for each server");
const _: () = assert!(PARENT_HEAD_BYTES_MAX <= HTTP_HEAD_BYTES_MAX && REQUEST_MAX < PARENT_UNUSED_BYTES_MAX);
