//! Where a session stands, and where an input takes it.

use std::net::IpAddr;

use super::command::Command;
use crate::auth::gssapi::Peer;
use crate::policy::ParentId;
use crate::seal::{Protect, Seal};

/// Where a session stands. Handling an input consumes it.
#[derive(Debug)]
pub(super) enum SessionState {
    Reading(Reading),
    Awaiting(Awaiting),
    Over,
}

/// Which message of the client is due.
#[derive(Debug)]
pub(super) enum Reading {
    /// Its first byte, which says how it speaks.
    Opening,
    /// The methods that it offers (RFC 1928 section 3).
    Greeting,
    /// Its name and password (RFC 1929).
    Credentials,
    /// A token of its security context, behind so many others (RFC 1961 section 3).
    Token { rounds: u8 },
    /// The level of protection that it asks for (RFC 1961 section 4).
    Level(AwaitLevel),
    /// What it wants (RFC 1928 section 4).
    Request,
    /// The head of a request (RFC 9112).
    Head(AwaitHead),
}

/// The head of a request, as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AwaitHead {
    /// Bytes that were looked at: each is looked at once, however slowly they come.
    pub(super) scanned: usize,
    /// Requests of this connection that were answered with a challenge.
    pub(super) challenged: u8,
}

/// What the client wants protected, and by what.
#[derive(Debug)]
pub(super) struct AwaitLevel {
    pub(super) peer: Peer,
    pub(super) protect: Box<dyn Protect>,
}

/// Which answer of the worker is due. What the client sends meanwhile is kept.
#[derive(Debug)]
pub(super) enum Awaiting {
    /// Whether the credentials are right.
    Verification,
    /// What the library makes of a token, the last of so many.
    Context {
        rounds: u8,
    },
    Connect(Connecting),
    Bind(Binding),
    Lookup(Looking),
    /// A socket for the client's datagrams.
    Association,
}

/// How far a CONNECT has come.
#[derive(Debug)]
pub(super) enum Connecting {
    /// Waits for the addresses of the target's name, which are dialled without this parent where their way has it.
    Resolving { port: u16, without: Option<ParentId> },
    /// Waits for a connection to one of them.
    Dialing,
    /// Waits for a connection through a parent, which knows the target by its name.
    Through { port: u16, parent: Option<ParentId> },
}

/// How far a BIND has come.
#[derive(Debug)]
pub(super) enum Binding {
    /// Waits for the addresses of the peer's name.
    Resolving { port: u16 },
    /// Waits for a socket that listens.
    Opening,
    /// Waits for the peer.
    Accepting,
}

/// How far a RESOLVE or RESOLVE_PTR has come.
#[derive(Debug)]
pub(super) enum Looking {
    /// Waits for the addresses of a name.
    Addresses,
    /// Waits for leave to tell this address.
    Leave { ip: IpAddr },
    /// Waits for the name of an address.
    Name,
}

/// What a client waits to be told, whatever the protocol calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Which method is taken.
    Method,
    /// Whether its credentials are right.
    Login,
    /// How its security context goes on.
    Context,
    /// What became of its request.
    Reply,
    Nothing,
}

/// Where handling an input leads.
pub(super) enum Transition {
    /// The message is not whole: the same one is due.
    More(Reading),
    /// The next message is due, and may be there already; so many bytes are used up.
    Read(Reading, usize),
    /// The next message is due, and everything behind the bytes that are used up is sealed.
    ReadSealed(Reading, usize, Box<Seal>),
    /// A question to the worker; so many bytes are used up.
    Ask(Awaiting, usize, Command),
    /// Nothing more is said: the worker goes on with this.
    Done(Command),
}

impl SessionState {
    /// What the client waits to be told.
    pub(super) fn due(&self) -> Due {
        match self {
            SessionState::Reading(reading) => reading.due(),
            SessionState::Awaiting(awaiting) => awaiting.due(),
            SessionState::Over => Due::Nothing,
        }
    }
}

impl Reading {
    /// What the client waits to be told.
    pub(super) fn due(&self) -> Due {
        match self {
            Reading::Opening | Reading::Greeting => Due::Method,
            Reading::Credentials => Due::Login,
            Reading::Token { .. } | Reading::Level(_) => Due::Context,
            Reading::Request | Reading::Head(_) => Due::Reply,
        }
    }
}

impl Awaiting {
    fn due(&self) -> Due {
        match self {
            Awaiting::Verification => Due::Login,
            Awaiting::Context { .. } => Due::Context,
            Awaiting::Connect(_) | Awaiting::Bind(_) | Awaiting::Lookup(_) | Awaiting::Association => {
                Due::Reply
            }
        }
    }
}
