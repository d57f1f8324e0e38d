//! What is known of a session while it is there: every field of its access record so far, and where it stands.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::proto::address::Target;
use crate::proto::request::RequestCommand;

/// What names a session in its record and to an operator: unique over workers and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// Of this start of the server.
    pub boot: u32,
    /// Which worker serves it.
    pub worker: u16,
    /// Which of that worker's sessions it is.
    pub serial: u64,
}

/// Digits of an id beside those of the worker.
const BOOT_DIGITS: usize = 8;
const SERIAL_DIGITS: usize = 10;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:02x}{:010x}", self.boot, self.worker, self.serial)
    }
}

/// A text that is no session's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl FromStr for SessionId {
    type Err = NotAnId;

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    fn from_str(text: &str) -> Result<SessionId, NotAnId> {
        let worker_ends = text.len().checked_sub(SERIAL_DIGITS).filter(|end| *end > BOOT_DIGITS);
        let worker_ends = worker_ends.filter(|_| text.is_ascii()).ok_or(NotAnId)?;
        let number = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| NotAnId);
        let id = SessionId {
            boot: number(&text[..BOOT_DIGITS])? as u32,
            worker: u16::try_from(number(&text[BOOT_DIGITS..worker_ends])?).map_err(|_| NotAnId)?,
            serial: number(&text[worker_ends..])?,
        };
        if id.to_string() == text { Ok(id) } else { Err(NotAnId) }
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveState {
    /// Its request is not there yet.
    Handshake,
    /// What it asked for is under way: a name, a connection, a peer, a port.
    Connecting,
    /// Bytes are relayed.
    Relaying,
    /// Datagrams are relayed.
    Associated,
    /// It has ended, and one side may still take what it is owed.
    Lingering,
}

impl LiveState {
    /// Every state, in the order in which a session has them.
    pub const ALL: [LiveState; 5] = [
        LiveState::Handshake,
        LiveState::Connecting,
        LiveState::Relaying,
        LiveState::Associated,
        LiveState::Lingering,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            LiveState::Handshake => "handshake",
            LiveState::Connecting => "connecting",
            LiveState::Relaying => "relaying",
            LiveState::Associated => "associated",
            LiveState::Lingering => "lingering",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<LiveState> {
        LiveState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The name of a command in records.
pub fn command_name(command: RequestCommand) -> &'static str {
    match command {
        RequestCommand::Connect => "connect",
        RequestCommand::Bind => "bind",
        RequestCommand::UdpAssociate => "udp_associate",
        RequestCommand::Resolve => "resolve",
        RequestCommand::ResolvePtr => "resolve_ptr",
    }
}

/// Every command, in the order in which they are listed.
pub const RECORDED: [RequestCommand; 5] = [
    RequestCommand::Connect,
    RequestCommand::Bind,
    RequestCommand::UdpAssociate,
    RequestCommand::Resolve,
    RequestCommand::ResolvePtr,
];

/// The command of this name.
pub fn command_named(name: &str) -> Option<RequestCommand> {
    RECORDED.into_iter().find(|command| command_name(*command) == name)
}

/// What a load balancer says of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The balancer.
    pub peer: SocketAddr,
    /// What it calls the connection.
    pub unique_id: Option<Box<[u8]>>,
    /// The host that the client named to it.
    pub authority: Option<Box<str>>,
}

impl Proxied {
    /// What it calls the connection, in hexadecimal digits: it may be any bytes.
    pub fn id(&self) -> Option<String> {
        let id = self.unique_id.as_ref()?;
        Some(id.iter().fold(String::with_capacity(2 * id.len()), |text, byte| text + &format!("{byte:02x}")))
    }
}

/// The pool of `[[egress]]` that a session leaves from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveEgress {
    /// Its name.
    pub name: Arc<str>,
    /// The address of it, once a socket has that.
    pub address: Option<IpAddr>,
    /// The hash of what keeps the session at that address, where anything does: of its user, its source and so on.
    pub session_key: Option<u64>,
}

impl LiveEgress {
    /// The key in hexadecimal digits.
    pub fn key(&self) -> Option<String> {
        self.session_key.map(|key| format!("{key:016x}"))
    }
}

/// A session as it stands. What has not come to be is `None`.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// When the client was accepted.
    pub time: SystemTime,
    /// The same by a clock that does not jump: those of all workers are in one order by it.
    pub began: Instant,
    /// Its id; the worker stands in it.
    pub id: SessionId,
    /// The client's address and port; one of IPv4 as IPv4, whatever the listener.
    pub client: SocketAddr,
    /// The listener that it came by: its name, or where it listens.
    pub listener: Option<Arc<str>>,
    /// The verified user, or the name that was claimed with wrong credentials or, where `method` is "none", without any.
    pub user: Option<Arc<str>>,
    /// The name as it was typed, where parameters of the session stood in it.
    pub user_typed: Option<Arc<str>>,
    /// "none", "password", "gssapi", "ident" or "certificate".
    pub method: Option<&'static str>,
    /// "connect", "bind", "udp_associate", "resolve" or "resolve_ptr".
    pub command: Option<&'static str>,
    /// Host and port as asked, made canonical.
    pub target: Option<Target>,
    /// The address dialled.
    pub address: Option<SocketAddr>,
    /// Our own address and port towards it.
    pub local: Option<SocketAddr>,
    /// "socks5", "socks4" or "http".
    pub protocol: Option<&'static str>,
    /// What the balancer said by which it came, if it came by one.
    pub proxied: Option<Arc<Proxied>>,
    /// The rule that decided, "default" where none matched, "guard" where the guard refused.
    pub rule: Option<Arc<str>>,
    /// What was decided: "allow" or "deny".
    pub verdict: Option<&'static str>,
    /// The rule in report mode that would have denied it.
    pub would_deny: Option<Arc<str>>,
    /// The limit that it would have gone beyond.
    pub limit: Option<Arc<str>>,
    /// The pool that it leaves from, where it leaves from one.
    pub egress: Option<Box<LiveEgress>>,
    /// Why there is no pool that it could leave from, with what was asked for ([`crate::policy::NoPool::told`]).
    pub egress_refused: Option<Box<str>>,
    /// The parent that it goes through, or was to.
    pub parent: Option<Arc<str>>,
    /// The parent's server: its proxies and where they are, and no login.
    pub parent_server: Option<Arc<str>>,
    /// What kept that server from leading it on, where its own fault did.
    pub parent_cause: Option<&'static str>,
    /// What the client was told: REP of SOCKS5, the status of HTTP.
    pub reply: Option<u16>,
    /// What moves the bytes: "copy", "splice", "sealed", "tls" or "datagram".
    pub engine: Option<&'static str>,
    /// Bytes that the target's socket took.
    pub bytes_up: u64,
    /// Bytes of the target that the client's socket took, without what they were sealed in.
    pub bytes_down: u64,
    /// Datagrams to targets.
    pub datagrams_up: u64,
    /// Datagrams to the client.
    pub datagrams_down: u64,
    /// Accept to the end of the request.
    pub handshake_ms: Option<u32>,
    /// Name to addresses.
    pub dns_ms: Option<u32>,
    /// First SYN to connected.
    pub connect_ms: Option<u32>,
    /// Where it stands.
    pub state: LiveState,
    /// Accept to now.
    pub age_ms: u64,
    /// The last byte or datagram to now; in the handshake, accept to now.
    pub idle_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = SessionId { boot: 0xc0ffee, worker: 1, serial: 10 };
        assert_eq!(id.to_string(), "00c0ffee01000000000a");
        for id in [id, SessionId { boot: u32::MAX, worker: 0x3ff, serial: (1 << 37) - 1 }] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in [
            "",
            "00c0ffee",
            "00c0ffee000000000a",
            "00C0FFEE01000000000A",
            "00c0ffee001000000000a",
            "+0c0ffee01000000000a",
            "00c0ffee0100000000 a",
            "00c0ffeeé1000000000a",
            "00c0ffee10000000000000000000000a",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(NotAnId), "{text}");
        }
    }

    #[test]
    fn states_and_commands_are_found_by_their_names() {
        for state in LiveState::ALL {
            assert_eq!(LiveState::named(state.name()), Some(state));
        }
        assert_eq!(LiveState::named("Relaying"), None);
        assert_eq!(command_named("udp_associate"), Some(RequestCommand::UdpAssociate));
        assert_eq!(command_named("udp"), None);
    }
}
