//! Why a session ended: who was at fault, and the cause.

use std::fmt;

use crate::auth::username::ParameterFault;
use crate::dns::DnsError;
use crate::outcome::Reason;
use crate::policy::Denial;
use crate::policy::accounts::{Exceeded, LimitId};
use crate::proto::ProtoError;
use crate::proto::http::{ChunkError, HeadError};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;
use crate::seal::SealError;

/// Why no relay came of a session, with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client's fault: bytes that are no message of its protocol.
    Protocol(ProtoError),
    /// The client's fault: none of the methods it offers is accepted here.
    NoMethod,
    /// The client's fault: wrong credentials.
    AuthFailed,
    /// The client's fault: parameters of the session, beside its name, that are none.
    Parameters(ParameterFault),
    /// The client's fault: no TLS, with the library's word for it.
    Tls(String),
    /// The client's fault: its certificate says no name that can be a user's.
    Certificate(String),
    /// The client's fault: no security context, with the library's word for it.
    Context(String),
    /// The client's fault: a level of protection that is not given here (RFC 1961 section 4).
    Level(u8),
    /// A message that cannot be opened or sealed.
    Seal(SealError),
    /// The client's fault: no complete request within the handshake's time.
    HandshakeTimeout,
    /// The client left before there was a relay.
    ClientLeft,
    /// The client's connection was reset before there was a relay.
    ClientReset,
    /// Policy: every address was denied, and the last one for this.
    Denied(Denial),
    /// Policy: what it asks for may not be asked for at its listener.
    NotTaken,
    /// Policy: what it asks for is not to be had through the parent that it would go through.
    NotThrough(RequestCommand),
    /// Policy: it comes from nobody whose word is taken for who a client is, where somebody has to say it.
    NoBalancer,
    /// Policy: its source has as many sessions as it may have.
    SourceLimit,
    /// Policy: it would go beyond a limit.
    Limit(Exceeded),
    /// Policy: the session could leave no access record.
    Unrecorded,
    /// The target's name has no usable address.
    Dns(DnsError),
    /// The target could not be reached.
    Dial(DialError),
    /// No association came about.
    Associate(AssociateError),
    /// No response came of the target that a client could be given.
    Response(ResponseError),
    /// The client's fault: a body in chunks that is none.
    Body(ChunkError),
    /// Our own fault.
    Internal(&'static str),
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// The target closed its connection, or was reset, before one came.
    Missing,
    /// What came is none.
    Head(HeadError),
    /// None came in time.
    TimedOut,
}

/// Why no connection to the target came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// The target refused (RST to our SYN).
    Refused,
    /// No answer within the time limit.
    TimedOut,
    /// BIND: no peer connected within the time limit.
    NobodyCame,
    /// No route to the host.
    HostUnreachable,
    /// No route to the network.
    NetworkUnreachable,
    /// The local machine's own rules forbid it (firewall, prohibit route).
    Forbidden,
    /// The connection came out at our own listener, or at its own socket.
    Ourselves,
    /// The socket connected to itself.
    SelfConnect,
    /// The pool that it is to leave from leads to no address of the target's family.
    OtherFamily {
        /// Whether the target was asked for by its name.
        by_name: bool,
    },
    /// No local port is left, towards this target or to listen on.
    NoLocalPort,
    /// A local resource is missing (descriptors, memory) or another local error, with its errno.
    Local(i32),
    /// The parent that leads there says so itself, in the words of SOCKS5.
    Replied(Rep),
    /// No server of the parent that leads there could be had, or none that keeps to its protocol.
    ParentAway,
}

/// Why there is no association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociateError {
    /// DST.ADDR is of another family than the control connection: no datagram from there can reach us.
    Family,
    /// Every port of the configured range is taken.
    NoPort,
    /// There are as many sessions as the descriptors allow.
    Full,
    /// The parent that its datagrams go through has made none.
    Through(DialError),
    /// A local resource is missing or another local error, with its errno.
    Local(i32),
}

impl Failure {
    /// The limit that it would have gone beyond.
    pub fn limit(&self) -> Option<LimitId> {
        match self {
            Failure::Limit(exceeded) => Some(exceeded.limit),
            Failure::SourceLimit => Some(LimitId::PER_SOURCE),
            _ => None,
        }
    }

    /// The word for records and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Failure::Protocol(ProtoError::Http(_)) => Reason::Http,
            Failure::Protocol(ProtoError::Tls | ProtoError::NotTls) | Failure::Tls(_) => Reason::Tls,
            Failure::Protocol(_) => Reason::Protocol,
            Failure::NoMethod => Reason::NoMethod,
            Failure::Parameters(_) => Reason::BadParameters,
            Failure::AuthFailed | Failure::Context(_) | Failure::Certificate(_) => Reason::AuthFailed,
            Failure::Level(_) | Failure::Seal(_) => Reason::Protection,
            Failure::HandshakeTimeout => Reason::HandshakeTimeout,
            Failure::ClientLeft => Reason::ClientLeft,
            Failure::ClientReset => Reason::ClientReset,
            Failure::Denied(_)
            | Failure::NotTaken
            | Failure::NotThrough(_)
            | Failure::NoBalancer
            | Failure::SourceLimit
            | Failure::Limit(_)
            | Failure::Unrecorded
            | Failure::Dial(DialError::Ourselves) => Reason::Denied,
            Failure::Dns(_) => Reason::DnsFailed,
            Failure::Dial(
                DialError::TimedOut | DialError::NobodyCame | DialError::Replied(Rep::TtlExpired),
            ) => Reason::ConnectTimeout,
            Failure::Dial(DialError::NoLocalPort) => Reason::NoLocalPort,
            Failure::Dial(DialError::ParentAway) => Reason::ParentFailed,
            Failure::Dial(_) => Reason::ConnectFailed,
            Failure::Associate(_) => Reason::AssociateFailed,
            Failure::Response(ResponseError::Missing) => Reason::TargetReset,
            Failure::Response(ResponseError::Head(_)) => Reason::BadResponse,
            Failure::Response(ResponseError::TimedOut) => Reason::Idle,
            Failure::Body(_) => Reason::Protocol,
            Failure::Internal(_) => Reason::Internal,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Protocol(error) => write!(f, "client: {error}"),
            Failure::NoMethod => f.write_str("client: offers no accepted method"),
            Failure::AuthFailed => f.write_str("client: wrong credentials"),
            Failure::Parameters(fault) => write!(f, "client: its session parameters: {fault}"),
            Failure::Tls(why) => write!(f, "client: TLS: {why}"),
            Failure::Certificate(why) => write!(f, "client: its certificate: {why}"),
            Failure::Context(why) => write!(f, "client: no security context: {why}"),
            Failure::Level(asked) => {
                write!(f, "client: asks for protection level {asked}, which is not given")
            }
            Failure::Seal(error) => write!(f, "client: {error}"),
            Failure::HandshakeTimeout => f.write_str("client: the handshake took too long"),
            Failure::ClientLeft => f.write_str("client: left before the relay"),
            Failure::ClientReset => f.write_str("client: reset before the relay"),
            Failure::Associate(error) => write!(f, "association: {error}"),
            Failure::Response(error) => write!(f, "target: {error}"),
            Failure::Body(error) => write!(f, "client: {error}"),
            Failure::Denied(denial) => write!(f, "policy: {denial}"),
            Failure::NoBalancer => f.write_str("policy: its listener takes clients from balancers alone"),
            Failure::NotThrough(command) => {
                write!(f, "policy: command {:#04x} does not go through its parent", command.code())
            }
            Failure::NotTaken => f.write_str("policy: its listener does not take such requests"),
            Failure::SourceLimit => {
                f.write_str("policy: its source has as many sessions as limits.per_source allows")
            }
            Failure::Limit(Exceeded { reached, .. }) => write!(f, "policy: {reached}"),
            Failure::Unrecorded => f.write_str("policy: no room for its access record"),
            Failure::Dns(error) => write!(f, "target: {error}"),
            Failure::Dial(error) => write!(f, "{error}"),
            Failure::Internal(what) => write!(f, "ourselves: {what}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Protocol(error) => Some(error),
            Failure::Seal(error) => Some(error),
            Failure::Dns(error) => Some(error),
            Failure::Dial(error) => Some(error),
            _ => None,
        }
    }
}

impl DialError {
    /// The same, of a target that was asked for by its name or by its address.
    #[must_use]
    pub(super) fn asked_for(self, by_name: bool) -> DialError {
        match self {
            DialError::OtherFamily { .. } => DialError::OtherFamily { by_name },
            error => error,
        }
    }

    /// How much an error says about the target: of several attempts, the one that says most is reported.
    pub fn weight(self) -> u8 {
        match self {
            DialError::Replied(_) => 11,
            DialError::ParentAway => 10,
            DialError::Refused => 9,
            DialError::TimedOut | DialError::NobodyCame => 8,
            DialError::HostUnreachable => 7,
            DialError::NetworkUnreachable => 6,
            DialError::Forbidden => 5,
            DialError::Ourselves => 4,
            DialError::SelfConnect => 3,
            DialError::NoLocalPort => 2,
            DialError::OtherFamily { .. } => 1,
            DialError::Local(_) => 0,
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Refused => f.write_str("target: connection refused"),
            DialError::TimedOut => f.write_str("target: no answer in time"),
            DialError::NobodyCame => f.write_str("target: nobody connected in time"),
            DialError::HostUnreachable => f.write_str("target: host unreachable"),
            DialError::NetworkUnreachable => f.write_str("target: network unreachable"),
            DialError::Forbidden => f.write_str("policy: forbidden by this machine's own rules"),
            DialError::Ourselves => f.write_str("policy: this server itself"),
            DialError::SelfConnect => f.write_str("target: nobody there but the connecting socket itself"),
            DialError::OtherFamily { .. } => {
                f.write_str("policy: the pool that it leaves from has no way to the target's address family")
            }
            DialError::NoLocalPort => f.write_str("ourselves: no local port left"),
            DialError::Local(errno) => write!(f, "ourselves: errno {errno}"),
            DialError::Replied(rep) => write!(f, "target: its parent replied {}", rep.code()),
            DialError::ParentAway => f.write_str("parent: none of its servers serves"),
        }
    }
}

impl std::error::Error for DialError {}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseError::Missing => f.write_str("no response before the end of its connection"),
            ResponseError::Head(error) => write!(f, "no response of HTTP: {error}"),
            ResponseError::TimedOut => f.write_str("no response in time"),
        }
    }
}

impl fmt::Display for AssociateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssociateError::Family => f.write_str("announced address of another family"),
            AssociateError::NoPort => f.write_str("no free port in udp.ports"),
            AssociateError::Through(error) => error.fmt(f),
            AssociateError::Full => f.write_str("as many sessions as may be"),
            AssociateError::Local(errno) => write!(f, "local error {errno}"),
        }
    }
}
