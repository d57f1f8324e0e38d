//! Where a session stands, and where it goes from there.

use super::command::Command;
use super::failure::Failure;
use crate::auth::gssapi::Peer;
use crate::proto::RequestCommand;
use crate::seal::Protect;

/// Where a session stands; each variant's type holds what only that phase needs.
#[derive(Debug)]
pub(super) enum Phase {
    Greeting(AwaitGreeting),
    Userpass(AwaitCredentials),
    Verifying(Verifying),
    Token(AwaitToken),
    Establishing(Establishing),
    Level(AwaitLevel),
    Request(AwaitRequest),
    Resolving(Resolving),
    Dialing(Dialing),
    Binding(Binding),
    Accepting(Accepting),
    Associating(Associating),
    Over,
}

/// Waits for VER, NMETHODS, METHODS.
#[derive(Debug)]
pub(super) struct AwaitGreeting;

/// Waits for VER, ULEN, UNAME, PLEN, PASSWD.
#[derive(Debug)]
pub(super) struct AwaitCredentials;

/// Waits for what becomes of them. Whatever the client sends meanwhile stays unparsed.
#[derive(Debug)]
pub(super) struct Verifying;

/// Waits for a token of the context.
#[derive(Debug, Default)]
pub(super) struct AwaitToken {
    pub(super) rounds: u8,
}

/// Waits for what the library makes of it.
#[derive(Debug)]
pub(super) struct Establishing {
    pub(super) rounds: u8,
}

/// Waits for the level of protection that the client asks for.
#[derive(Debug)]
pub(super) struct AwaitLevel {
    pub(super) peer: Peer,
    pub(super) protect: Box<dyn Protect>,
}

/// Waits for VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT.
#[derive(Debug)]
pub(super) struct AwaitRequest;

/// Waits for the addresses of a name.
#[derive(Debug)]
pub(super) struct Resolving {
    pub(super) port: u16,
    /// What the addresses are for.
    pub(super) command: RequestCommand,
}

/// Waits for a connection to one of the addresses.
#[derive(Debug)]
pub(super) struct Dialing;

/// Waits for a socket that listens.
#[derive(Debug)]
pub(super) struct Binding;

/// Waits for the peer.
#[derive(Debug)]
pub(super) struct Accepting;

/// Waits for the client-facing socket.
#[derive(Debug)]
pub(super) struct Associating;

/// What handling an input led to.
pub(super) enum Turn {
    /// The phase goes on with more bytes.
    Incomplete(Phase),
    /// The next phase, which may find its bytes there already; so many bytes were used.
    Next(Phase, usize),
    /// A question to the worker.
    Ask(Phase, usize, Command),
    /// The end, in this phase.
    End(Phase, Failure),
}
