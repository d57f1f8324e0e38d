//! Bounds of `dns`: queries, cache, files.

use std::time::Duration;

/// Names that one worker asks servers about at the same time, shared by source; later ones wait for a place. Names
/// that take a server a second are served a thousand a second, half of that for one source alone. Each has a socket with
/// a port of its own: it is part of what a forger has to guess (RFC 5452).
pub const DNS_NAMES_IN_FLIGHT: usize = 1_024;
/// How long a name keeps its place against others of its own source, or against anyone where no place is left: one
/// ordinary try. A name that is not answered by then may well never be, and is asked for again when there is room.
pub const DNS_YIELD: Duration = Duration::from_secs(1);
/// Sources without a place that are looked at in one turn of the queues, so that a crowd of them costs little.
pub const DNS_QUEUE_LOOKS: usize = 32;
/// How often the queues are looked at while nothing happens: what lets names past [`DNS_YIELD`].
pub const DNS_QUEUE_TICK: Duration = Duration::from_millis(100);
/// Questions that go on, for the cache alone, after their last waiter has been answered or has left.
/// Apart from the bound above, so that a family that never answers takes no turn from a waiting name.
pub const DNS_NAMES_LINGERING: usize = 64;
/// How long a question may go on for the cache alone: one ordinary try.
pub const DNS_LINGER: Duration = Duration::from_secs(1);
/// Second sockets of names: a truncated answer moves each family to a TCP connection of its own. Where they are all
/// in use both families share one.
pub const DNS_SECONDS: usize = 128;
/// Sockets of a worker's resolver that no session's descriptors pay for: of names that linger, second ones, and of names
/// that are asked for by associations. A session that waits for a name has no upstream yet, and that one's descriptor is
/// the name's.
pub const DNS_SOCKETS: usize = 640;
/// The least [`DNS_SOCKETS`] where descriptors are few: two names at a time are better than none.
pub const DNS_SOCKETS_MIN: usize = 8;
/// Names that are being asked or wait for their turn, shared by source; one more is refused as busy. A name costs
/// about 700 bytes, so 11 MiB a worker at most.
pub const DNS_NAMES: usize = 16_384;
/// Lookups that wait for names, shared by source; one more is refused as busy.
pub const DNS_LOOKUPS: usize = 65_536;
/// How long an A answer waits for the AAAA answer (RFC 8305 section 3, resolution delay).
pub const DNS_RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// The time of the first try when resolv.conf says nothing; it doubles with each round of the servers.
pub const DNS_TRY: Duration = Duration::from_secs(1);
/// The longest time of one try, and the highest `options timeout:` that is heeded.
pub const DNS_TRY_MAX: Duration = Duration::from_secs(30);
/// Rounds over the servers when resolv.conf says nothing.
pub const DNS_ATTEMPTS: u32 = 3;
/// Most rounds over the servers that resolv.conf may ask for (resolv.conf(5) has the same cap).
pub const DNS_ATTEMPTS_MAX: u32 = 5;
/// Servers that are used of those configured; glibc stops at three.
pub const DNS_SERVERS: usize = 8;
/// How long a server that did not answer is tried after the others.
pub const DNS_SERVER_REST: Duration = Duration::from_secs(10);
/// How long a server that answered without EDNS, and not with it, is asked without: it may be replaced by a better one.
pub const DNS_PLAIN: Duration = Duration::from_secs(15 * 60);
/// UDP payload offered with EDNS: the largest that no path fragments (DNS flag day 2020).
pub const DNS_UDP_PAYLOAD: u16 = 1232;
/// Octets of one DNS message over TCP: its length prefix has 16 bits (RFC 1035 section 4.2.2).
pub const DNS_TCP_MESSAGE: usize = 65_535;
/// Messages on one exchange that answer none of its questions before the exchange is given up: over
/// UDP somebody is guessing IDs, and TCP is not open to guesses.
pub const DNS_STRAYS: u32 = 64;
/// Aliases followed within one answer; a longer chain is a loop or a mistake. Recursive servers stop at 11 to 16.
pub const DNS_CNAMES: usize = 16;
/// Addresses kept for one name, all of which are dialled in the end; an answer may hold thousands. About 1 KiB of the
/// cache for a name that has so many.
pub const DNS_ADDRESSES: usize = 64;
/// The longest time that an answer is cached, whatever its TTL.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest time that "no such name" or "no address" is cached (RFC 2308 section 5 asks for a bound).
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(15 * 60);
/// How long "no such name" or "no address" is cached when no SOA record says it. RFC 2308 would not cache them at all; a
/// few seconds spare the server a client that retries at once.
pub const DNS_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// How long the failure of every server is cached (RFC 9520 section 3.2 asks for at least a second).
pub const DNS_FAILURE_TTL: Duration = Duration::from_secs(1);
/// The longest time that the addresses of one family are cached when the other family's question failed.
pub const DNS_PARTIAL_TTL: Duration = Duration::from_secs(30);
/// Cached names that the clock hand looks at for one eviction.
pub const DNS_CACHE_LOOKS: usize = 16;
/// Lines of a resolv.conf that are complained of; the rest are much like them.
pub const DNS_FILE_PROBLEMS: usize = 8;
/// Octets of a hosts file or resolv.conf that are read: block lists of a million names fit.
pub const DNS_FILE: u64 = 64 * 1024 * 1024;
