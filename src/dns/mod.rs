//! A sans-IO stub resolver: bytes and time in, queries and answers out.
//!
//! A worker owns one [`Resolver`]. It hands in names, datagrams and the time, and performs the
//! [`ResolverAction`]s that come out; the resolver has no socket, reads no clock and shares nothing. What it
//! decides: what to ask whom and when (`resolver`, `job`, `servers`), what to believe (`message`),
//! what to remember (`cache`) and in which order the addresses are dialled (`sort`).
//!
//! It does not chase referrals or aliases across messages: it is a stub that needs a recursive server
//! (RFC 1034 section 5.3.1), so a chain of aliases that ends without an address in the same message
//! has no address. Names are absolute: there is no search list.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::limits::{DNS_ATTEMPTS, DNS_NAMES_IN_FLIGHT, DNS_NAMES_LINGERING, DNS_SECONDS, DNS_TRY};
use crate::proto::address::Name;

mod cache;
mod hosts;
mod job;
mod message;
mod places;
mod record;
mod resolv_conf;
mod resolver;
mod reverse;
mod servers;
mod sort;

#[cfg(test)]
mod tests;

pub use crate::config::Prefer;
pub use hosts::Hosts;
pub use resolv_conf::ResolvConf;
pub use resolver::{CacheUse, Resolver};
pub use sort::sort;

/// What a resolver needs to know; immutable and shared by the workers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The recursive servers in order of preference; the first [`crate::limits::DNS_SERVERS`] are used.
    pub servers: Vec<SocketAddr>,
    /// How long one lookup may take from call to answer.
    pub timeout: Duration,
    /// How long the first try waits for its server; doubles with each round over the servers.
    pub try_timeout: Duration,
    /// Rounds over the servers; the last try of the last round has whatever time is left.
    pub attempts: u32,
    /// Questions go by TCP.
    pub tcp: bool,
    /// Names that the cache remembers; 0 turns it off.
    pub cache_entries: usize,
    /// Which families are asked for, and which is dialled first.
    pub prefer: Prefer,
    /// Names that never reach a server.
    pub hosts: Hosts,
    /// Names that servers are asked about at a time, a socket each: [`crate::limits::DNS_NAMES_IN_FLIGHT`] at most.
    pub names: usize,
    /// Sockets for questions that linger and for second exchanges, beside those of `names`.
    pub spare: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            try_timeout: DNS_TRY,
            attempts: DNS_ATTEMPTS,
            tcp: false,
            cache_entries: 65_536,
            prefer: Prefer::default(),
            hosts: Hosts::empty(),
            names: DNS_NAMES_IN_FLIGHT,
            spare: DNS_NAMES_LINGERING + DNS_SECONDS,
        }
    }
}

impl Prefer {
    /// Whether `address` is of a family that is wanted at all.
    pub(crate) fn admits(self, address: IpAddr) -> bool {
        match self {
            Prefer::HappyEyeballs | Prefer::Ipv4 | Prefer::Ipv6 => true,
            Prefer::Ipv4Only => address.is_ipv4(),
            Prefer::Ipv6Only => address.is_ipv6(),
        }
    }
}

/// The addresses of a name in the order in which to dial them (never none), or why there are none.
pub type Answer = Result<Arc<[IpAddr]>, DnsError>;

/// The name of an address, or why there is none.
pub type PointerAnswer = Result<Name, DnsError>;

/// What was learnt of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DnsData {
    Addresses(Arc<[IpAddr]>),
    Name(Name),
}

/// What was learnt of a name, or why nothing was.
type Learnt = Result<DnsData, DnsError>;

impl DnsData {
    /// What was learnt, as the answer to who asked for addresses.
    fn addresses(learnt: Learnt) -> Answer {
        match learnt? {
            DnsData::Addresses(addresses) => Ok(addresses),
            DnsData::Name(_) => Err(DnsError::NoAddress),
        }
    }

    /// What was learnt, as the answer to who asked for the name of an address. Whether there is nothing by its reverse name,
    /// or nothing that is a name, is the same to him.
    fn name(learnt: Learnt) -> PointerAnswer {
        match learnt {
            Ok(DnsData::Name(name)) => Ok(name),
            Ok(DnsData::Addresses(_)) | Err(DnsError::NoAddress) => Err(DnsError::NotFound),
            Err(error) => Err(error),
        }
    }
}

impl Settings {
    /// Whether these say what others say.
    pub fn is_as(&self, other: &Settings) -> bool {
        let Settings {
            servers,
            timeout,
            try_timeout,
            attempts,
            tcp,
            cache_entries,
            prefer,
            hosts,
            names,
            spare,
        } = self;
        (servers, timeout, try_timeout, attempts, tcp)
            == (&other.servers, &other.timeout, &other.try_timeout, &other.attempts, &other.tcp)
            && (cache_entries, prefer, names, spare)
                == (&other.cache_entries, &other.prefer, &other.names, &other.spare)
            && hosts.is_as(&other.hosts)
    }
}

/// Why a lookup has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN), or is no name that DNS could hold.
    NotFound,
    /// The name exists and has no address of the wanted families (NODATA).
    NoAddress,
    /// Every server refused, failed or sent what cannot be read.
    ServerFailure,
    /// No server answered in time.
    Timeout,
    /// Too many lookups wait already; nothing was asked.
    Busy,
    /// No server is configured.
    NoServers,
}

impl DnsError {
    /// Whether a server said that there is no address; false where no server could say anything.
    pub fn says_there_is_none(&self) -> bool {
        matches!(self, DnsError::NotFound | DnsError::NoAddress)
    }
}

impl std::fmt::Display for DnsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DnsError::NotFound => "the name does not exist",
            DnsError::NoAddress => "the name has no address",
            DnsError::ServerFailure => "the name servers failed",
            DnsError::Timeout => "the name servers did not answer in time",
            DnsError::Busy => "too many names are being resolved",
            DnsError::NoServers => "no name server is configured",
        })
    }
}

impl std::error::Error for DnsError {}

/// The number of one exchange with a server, and of its socket; unique among those that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(pub u32);

/// What an exchange speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A socket connected to the server, from a fresh ephemeral port: the kernel drops what comes from
    /// elsewhere, and the port is part of what a forger has to guess (RFC 5452).
    Udp,
    /// A connection; payloads carry the two-octet length prefix already.
    Tcp,
}

/// What the shell does for the resolver, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolverAction {
    /// Make a socket to `server`. If that fails, say so with [`Resolver::failed`].
    Open {
        /// The number that the socket goes by.
        exchange: ExchangeId,
        /// What it speaks.
        transport: Transport,
        /// Where it leads.
        server: SocketAddr,
    },
    /// Send one datagram, or write to the stream as soon as it is connected.
    Send {
        /// The socket.
        exchange: ExchangeId,
        /// One query.
        payload: Vec<u8>,
    },
    /// Close the socket. Each `Open` has exactly one `Close`, also after [`Resolver::failed`].
    Close {
        /// The socket.
        exchange: ExchangeId,
    },
    /// A lookup has ended.
    Answer {
        /// The caller's number of the lookup.
        ticket: u64,
        /// Its result.
        answer: Answer,
    },
    /// A lookup of the name of an address has ended.
    Named {
        /// The caller's number of the lookup.
        ticket: u64,
        /// Its result.
        answer: PointerAnswer,
    },
}
