//! What can go wrong in a run, said so that the reader knows who is at fault.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::keyed::script::Finding;
use crate::scope::OutOfScope;

/// Where in a session a fault showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Until the server has named the method.
    Greeting,
    /// RFC 1929.
    Password,
    /// From the request to its reply.
    Request,
    /// After the success reply (or from the start, with no server between).
    Data,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "greeting",
            Self::Password => "password exchange",
            Self::Request => "request",
            Self::Data => "data",
        })
    }
}

/// Why a session, or the whole run, failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This machine could not open the socket (descriptors, ports).
    Local(io::Error),
    /// The server's port refuses.
    Refused,
    /// The peer closed where more had to come.
    Closed(Phase),
    /// A socket error.
    Socket(Phase, io::Error),
    /// The method byte is not the one offered; 0xFF is the server's "none acceptable".
    Method(u8),
    /// The user or password was not accepted (RFC 1929 status).
    Password(u8),
    /// REP other than 0 (RFC 1928 section 6).
    Reply(u8),
    /// CD of a SOCKS4 reply other than 90.
    Rejected(u8),
    /// An HTTP status that is no success.
    Status(u16),
    /// An HTTP answer whose head this client cannot do with.
    Answer(&'static str),
    /// The server's TLS handshake or record layer.
    Tls(Phase, io::Error),
    /// A version, reserved or address type byte that no server may send.
    Malformed(Phase, u8),
    /// The data differ from what was sent.
    WrongBytes { position: usize },
    /// A keyed session went wrong; the seed gives the run again.
    Keyed { seed: u64, finding: Finding },
    /// The origin has not got to the end of so many sessions that the client ended.
    Unfinished { seed: u64, sessions: u64 },
    /// The origin does not say what it has seen.
    Origin(io::Error),
    /// Bytes came that nobody sent.
    Unexpected,
    /// The relay's address for datagrams is none that load may be sent to.
    Elsewhere(SocketAddr, OutOfScope),
    /// A datagram from somebody that it was not sent to.
    Foreign(SocketAddr),
    /// The run is over and not one datagram came back.
    Silent,
    /// Nothing moved for this long while sessions were unfinished.
    Stalled(Duration),
    /// A session was not over within the time that its client gives it.
    Overdue(Duration),
    /// Not one byte or round trip in the measured interval.
    Idle,
    /// Sessions failed while nobody attacked: there is nothing to compare with.
    Unquiet { failures: u64, first: String },
    /// What an attack needs is not there.
    Unarmed(String),
    /// A bar that was set for the run.
    Missed(String),
    /// The process named by `--pid` or `--origin-pid` has ended, or its figures cannot be read.
    ServerGone(i32, io::Error),
    /// strace is absent, may not attach, or gave no table.
    Tracing(io::Error),
    /// The kernel does not tell what it uses.
    KernelMemory(io::Error),
    /// Somebody asked us to end.
    Interrupted(Signal),
}

impl Fault {
    /// Faults that end a run whatever `--max-errors` allows: after some no further session can succeed,
    /// and of a server that changes bytes no figure is worth anything.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Local(_)
                | Self::Refused
                | Self::Stalled(_)
                | Self::ServerGone(..)
                | Self::WrongBytes { .. }
                | Self::Unexpected
                | Self::Keyed { .. }
                | Self::Tracing(_)
                | Self::KernelMemory(_)
                | Self::Interrupted(_)
        )
    }

    /// Classifies a socket error met in `phase`.
    pub(crate) fn socket(phase: Phase, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused if phase == Phase::Greeting => Self::Refused,
            // rustls says what it does not understand so; no socket does.
            io::ErrorKind::InvalidData => Self::Tls(phase, error),
            _ => Self::Socket(phase, error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(error) => write!(f, "this machine cannot open another connection: {error}"),
            Self::Refused => f.write_str("nothing listens at the server's address (connection refused)"),
            Self::Closed(phase) => write!(f, "the server closed during the {phase}"),
            Self::Socket(phase, error) => write!(f, "the connection broke during the {phase}: {error}"),
            Self::Method(0xFF) => f.write_str("the server accepts none of the offered methods (0xFF)"),
            Self::Method(other) => write!(f, "the server chose a method that was not offered: {other:#04x}"),
            Self::Password(status) => write!(f, "the server refused user and password (status {status})"),
            Self::Reply(rep) => {
                write!(f, "the server refused the request with REP {rep:#04x} ({})", reply_name(*rep))
            }
            Self::Rejected(code) => write!(f, "the server refused the SOCKS4 request with code {code}"),
            Self::Status(status) => write!(f, "the server answered the HTTP request with status {status}"),
            Self::Answer(why) => write!(f, "the HTTP answer cannot be used: {why}"),
            Self::Tls(phase, error) => write!(f, "TLS failed during the {phase}: {error}"),
            Self::Malformed(phase, byte) => write!(f, "malformed answer to the {phase}: byte {byte:#04x}"),
            Self::WrongBytes { position } => {
                write!(f, "the data differ from what was sent, at byte {position}")
            }
            Self::Keyed { seed, finding } => write!(f, "{finding} (seed {seed})"),
            Self::Unfinished { seed, sessions } => {
                write!(f, "the ends of {sessions} sessions did not reach the origin (seed {seed})")
            }
            Self::Origin(error) => write!(f, "the origin does not say what it has seen: {error}"),
            Self::Unexpected => f.write_str("bytes arrived that nobody sent"),
            Self::Elsewhere(address, why) => {
                write!(f, "the server wants the datagrams sent to {address}: {why}")
            }
            Self::Foreign(address) => write!(f, "a datagram came from {address}, which is not the target"),
            Self::Silent => f.write_str("not one datagram came back"),
            Self::Idle => f.write_str("nothing moved in the measured interval: the server hangs"),
            Self::Stalled(limit) => {
                write!(f, "nothing moved for {} s with sessions unfinished", limit.as_secs_f64())
            }
            Self::Overdue(limit) => write!(f, "a session was not over after {} s", limit.as_secs_f64()),
            Self::Unquiet { failures, first } => {
                write!(f, "{failures} sessions failed before anybody attacked, the first one because {first}")
            }
            Self::Unarmed(what) => write!(f, "the attack cannot begin: {what}"),
            Self::Missed(what) => write!(f, "a bar is missed: {what}"),
            Self::ServerGone(pid, error) => {
                write!(f, "the measured process {pid} cannot be read: {error}")
            }
            Self::Tracing(error) => write!(f, "system calls cannot be counted: {error}"),
            Self::KernelMemory(error) => write!(f, "kernel memory cannot be read: {error}"),
            Self::Interrupted(signal) => write!(f, "ended by {signal}"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Local(error)
            | Self::Socket(_, error)
            | Self::Tls(_, error)
            | Self::ServerGone(_, error)
            | Self::Tracing(error)
            | Self::Origin(error)
            | Self::KernelMemory(error) => Some(error),
            _ => None,
        }
    }
}

/// RFC 1928 section 6.
fn reply_name(rep: u8) -> &'static str {
    match rep {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unassigned",
    }
}
