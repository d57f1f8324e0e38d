//! How a client speaks, which its first byte says. What a session does is the same for all of them: a dialect reads the
//! request, and says what became of it.

use std::net::SocketAddr;

use super::command::Output;
use super::facts::Facts;
use super::failure::Failure;
use super::state::{AwaitHead, Due, Reading};
use super::{http_status, socks4, socks5};
use crate::config::Protocol;
use crate::proto::address::Name;
use crate::proto::request::{self, Request};
use crate::proto::{self, Decoded, ProtoError, greeting};

/// A protocol in which a client may ask.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Dialect {
    /// RFC 1928. Who speaks none of the dialects is answered in this one.
    #[default]
    Socks5,
    /// The SOCKS4 memo, and SOCKS4a.
    Socks4,
    /// HTTP/1.1, as it is spoken to proxies (RFC 9110, RFC 9112).
    Http {
        /// Whether the request is a HEAD, whose answers have no body (RFC 9110 section 9.3.2).
        to_head: bool,
    },
}

/// A request, and what its message says of the client beside it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClaimedRequest {
    pub(super) request: Request,
    /// What a client calls itself, where its protocol has a word for that in the request.
    pub(super) user: Option<Box<[u8]>>,
}

impl Dialect {
    /// The dialect that begins with this byte.
    ///
    /// # Errors
    /// [`ProtoError::Version`].
    pub(super) fn of(first: u8) -> Result<Dialect, ProtoError> {
        match greeting::check_version(first) {
            _ if first == proto::socks4::VERSION => Ok(Dialect::Socks4),
            Ok(()) => Ok(Dialect::Socks5),
            Err(ProtoError::Http(_)) => Ok(Dialect::Http { to_head: false }),
            Err(error) => Err(error),
        }
    }

    /// Its protocol.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Dialect::Socks5 => Protocol::Socks5,
            Dialect::Socks4 => Protocol::Socks4,
            Dialect::Http { .. } => Protocol::Http,
        }
    }

    /// The message that a client begins with.
    pub(super) fn first_message(self) -> Reading {
        match self {
            Dialect::Socks5 => Reading::Greeting,
            Dialect::Socks4 => Reading::Request,
            Dialect::Http { .. } => Reading::Head(AwaitHead::default()),
        }
    }

    /// The message that is due once a login was right.
    pub(super) fn message_behind_login(self) -> Reading {
        match self {
            Dialect::Socks5 | Dialect::Socks4 => Reading::Request,
            // The credentials came with it.
            Dialect::Http { .. } => Reading::Head(AwaitHead::default()),
        }
    }

    /// Reads a request.
    pub(super) fn read_request(self, bytes: &[u8]) -> Decoded<ClaimedRequest> {
        match self {
            Dialect::Socks5 => {
                let decoded = request::decode(bytes)?;
                Ok(decoded.map(|(request, used)| (ClaimedRequest { request, user: None }, used)))
            }
            Dialect::Socks4 => {
                let decoded = proto::socks4::decode(bytes)?;
                Ok(decoded.map(|(asked, used)| {
                    (ClaimedRequest { request: asked.request, user: Some(asked.user) }, used)
                }))
            }
            // Its requests are heads.
            Dialect::Http { .. } => Ok(None),
        }
    }

    /// Says that the credentials are right.
    pub(super) fn welcome(self, output: &mut Output) {
        match self {
            Dialect::Socks5 => socks5::welcome(output),
            // What is said of the request says it.
            Dialect::Socks4 | Dialect::Http { .. } => {}
        }
    }

    /// Says that the request succeeded, with the address that its command wants told.
    pub(super) fn succeed(self, bound: SocketAddr, facts: &mut Facts, output: &mut Output) {
        match self {
            Dialect::Socks5 => socks5::succeed(bound, facts, output),
            Dialect::Socks4 => socks4::succeed(bound, facts, output),
            Dialect::Http { .. } => http_status::succeed(facts, output),
        }
    }

    /// Says that the request succeeded, with the name that its command wants told.
    ///
    /// # Errors
    /// [`Failure::Internal`] where the protocol has no room for it, nor a command that wants it.
    pub(super) fn succeed_with_name(
        self,
        name: &Name,
        facts: &mut Facts,
        output: &mut Output,
    ) -> Result<(), Failure> {
        match self {
            Dialect::Socks5 => {
                socks5::succeed_with_name(name, facts, output);
                Ok(())
            }
            Dialect::Socks4 | Dialect::Http { .. } => Err(Failure::Internal("a name where none can be told")),
        }
    }

    /// Whether an address of IPv6 can be told.
    pub(super) fn tells_ipv6(self) -> bool {
        match self {
            Dialect::Socks5 | Dialect::Http { .. } => true,
            Dialect::Socks4 => false,
        }
    }

    /// Says what a client is told whose session failed while this was due.
    pub(super) fn refuse(self, due: Due, cause: &Failure, facts: &mut Facts, output: &mut Output) {
        match self {
            Dialect::Socks5 => socks5::refuse(due, cause, facts, output),
            Dialect::Socks4 => socks4::refuse(due, cause, facts, output),
            Dialect::Http { to_head } => http_status::refuse(due, cause, to_head, facts, output),
        }
    }
}
