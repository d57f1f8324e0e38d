//! Why a proxy did not do what it was asked for.

use std::fmt;

use crate::proto::http::HeadError;
use crate::proto::reply::Rep;

/// Why a proxy did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TalkError {
    /// Its protocol has no words for what it was to be asked for.
    Unspeakable(&'static str),
    /// It closed the connection, and when.
    Closed(&'static str),
    /// What it sent is none of its protocol: the first byte that is not.
    Version(u8),
    /// SOCKS5: it accepts none of the methods that were offered (RFC 1928 section 3).
    NoMethod,
    /// SOCKS5: it chose a method that was not offered.
    Method(u8),
    /// It refuses the login: RFC 1929 section 2, 92 and 93 of SOCKS4, 407 of HTTP.
    Login,
    /// SOCKS5: it says so itself (RFC 1928 section 6).
    Refused(Rep),
    /// SOCKS5: it says what RFC 1928 section 6 leaves unassigned.
    UnknownReply(u8),
    /// SOCKS5: its address is of a type that there is not (RFC 1928 section 5).
    AddressType(u8),
    /// SOCKS4: 91, which has every cause, or what the memo does not have.
    Rejected(u8),
    /// HTTP: a status other than 2xx, and what is told of it.
    Status(u16, Option<StatusCause>),
    /// HTTP: a head that is none.
    Head(HeadError),
}

/// What a status was sent for, as far as Proxy-Status says it in a way that a client can be told (RFC 9209 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusCause {
    /// The name was not resolved.
    Name,
    /// No answer in time, of the target or of a name server.
    TimedOut,
    /// The target refused.
    Refused,
    /// There is no way there.
    Unroutable,
    /// The proxy may not go there.
    Prohibited,
    /// It is the proxy's own fault.
    Proxy,
}

impl TalkError {
    /// What a client is told in the words of SOCKS5. What the proxy said of the target goes on as it is (RFC 1928 section 6);
    /// what is between it and us is a general failure.
    pub fn rep(&self) -> Rep {
        match self {
            TalkError::Refused(rep) => *rep,
            TalkError::Status(_, Some(cause)) => match cause {
                StatusCause::Name => Rep::HostUnreachable,
                StatusCause::TimedOut => Rep::TtlExpired,
                StatusCause::Refused => Rep::ConnectionRefused,
                StatusCause::Unroutable => Rep::NetworkUnreachable,
                StatusCause::Prohibited => Rep::NotAllowed,
                StatusCause::Proxy => Rep::GeneralFailure,
            },
            TalkError::Status(403 | 451, None) => Rep::NotAllowed,
            TalkError::Status(404 | 502, None) => Rep::HostUnreachable,
            TalkError::Status(405 | 501, None) => Rep::CommandNotSupported,
            TalkError::Status(504, None) => Rep::TtlExpired,
            TalkError::Unspeakable(_) => Rep::AddressTypeNotSupported,
            TalkError::Status(_, None)
            | TalkError::Closed(_)
            | TalkError::Version(_)
            | TalkError::NoMethod
            | TalkError::Method(_)
            | TalkError::Login
            | TalkError::UnknownReply(_)
            | TalkError::AddressType(_)
            | TalkError::Rejected(_)
            | TalkError::Head(_) => Rep::GeneralFailure,
        }
    }

    /// Whether it says that the target was not connected to, so that nothing has gone there. A general failure and an answer that did
    /// not come in time may be of a connection that stood for a while.
    pub fn is_of_no_connection(&self) -> bool {
        let never = [
            Rep::NotAllowed,
            Rep::NetworkUnreachable,
            Rep::HostUnreachable,
            Rep::ConnectionRefused,
            Rep::CommandNotSupported,
            Rep::AddressTypeNotSupported,
        ];
        matches!(self, TalkError::Unspeakable(_))
            || matches!(self, TalkError::Refused(rep) if never.contains(rep))
    }

    /// Whether it is a fault of the proxy, which counts among its fails, and not what it says of the target. A general failure
    /// of SOCKS and 503 are both: many proxies say nothing else of a target that is down.
    pub fn is_the_proxys(&self) -> bool {
        match self {
            TalkError::Unspeakable(_)
            | TalkError::Refused(_)
            | TalkError::UnknownReply(_)
            | TalkError::Rejected(_) => false,
            TalkError::Status(_, Some(cause)) => *cause == StatusCause::Proxy,
            TalkError::Status(status, None) => *status == 500,
            TalkError::Closed(_)
            | TalkError::Version(_)
            | TalkError::NoMethod
            | TalkError::Method(_)
            | TalkError::Login
            | TalkError::AddressType(_)
            | TalkError::Head(_) => true,
        }
    }
}

impl fmt::Display for TalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unspeakable(what) => write!(f, "its protocol has no words for {what}"),
            Self::Closed(when) => write!(f, "it closed the connection {when}"),
            Self::Version(got) => write!(f, "a first byte {got:#04x}, which its protocol does not have"),
            Self::NoMethod => f.write_str("it accepts no method that we have"),
            Self::Method(got) => write!(f, "it chose method {got}, which was not offered"),
            Self::Login => f.write_str("it refuses our login"),
            Self::Refused(rep) => write!(f, "it replied {}", rep.code()),
            Self::UnknownReply(got) => write!(f, "it replied {got}, which has no meaning"),
            Self::AddressType(got) => write!(f, "a reply with an address of type {got}"),
            Self::Rejected(got) => write!(f, "it replied {got}"),
            Self::Status(status, _) => write!(f, "it responded {status}"),
            Self::Head(error) => write!(f, "no response of HTTP: {error}"),
        }
    }
}

impl std::error::Error for TalkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Head(error) => Some(error),
            _ => None,
        }
    }
}
