//! What a session asks its worker for, and what it is told.

use std::net::{IpAddr, SocketAddr};

use super::failure::{AssociateError, DialError, Failure};
use crate::auth::Identity;
use crate::auth::gssapi::Peer;
use crate::dns::{Answer, PointerAnswer};
use crate::policy::{Allowed, Decision, Route, RoutedAddress, Way};
use crate::proto::address::Name;
use crate::proto::http::ForwardRequest;
use crate::proto::userpass::Credentials;
use crate::seal::Protect;

/// What a session is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes of the client, in order.
    Bytes(&'a [u8]),
    /// The answer to [`Command::Verify`].
    Verified(Option<Identity>),
    /// The answer to [`Command::Establish`].
    Established(Round),
    /// The answer to [`Command::Resolve`].
    Resolved(Answer),
    /// The answer to [`Command::Tell`]: it may be told.
    Admitted,
    /// The answer to [`Command::ResolvePtr`].
    Named(PointerAnswer),
    /// The answer to [`Command::Dial`], and to [`Command::Through`].
    Dialed(Result<Dialed, DialError>),
    /// The answer to [`Command::Through`] where the parent does not serve and the target is to be dialled without it.
    Direct,
    /// The answer to [`Command::Bind`]: the address and port that peers reach.
    Bound(Result<SocketAddr, DialError>),
    /// The answer to [`Command::Accept`].
    Accepted(Result<AcceptedPeer, DialError>),
    /// The answer to [`Command::Associate`]: where the client is to send its datagrams.
    Associated(Result<SocketAddr, AssociateError>),
}

/// What a session asks its worker for.
#[derive(Debug)]
pub enum Command {
    /// More bytes of the client.
    Read,
    /// Whether these credentials are right.
    Verify(Credentials),
    /// What the security context makes of this token.
    Establish(Vec<u8>),
    /// The addresses of a name.
    Resolve(Name),
    /// Leave to tell the client of this address, which policy has allowed.
    Tell(RoutedAddress),
    /// The name of this address, which policy has allowed.
    ResolvePtr(RoutedAddress),
    /// A connection to one of these addresses, in this order of preference; policy has allowed each of them.
    Dial(Vec<RoutedAddress>),
    /// A connection to the target through the parent of this way, which is told its name.
    Through(Allowed),
    /// A socket that listens for one of these peers.
    Bind(Peers),
    /// A connection of one of them, within the time for it.
    Accept,
    /// The handshake is over: relay.
    Relay,
    /// The handshake is over: send this to the target, then the body that its client sends, and bring the response back.
    Exchange(Box<ForwardRequest>),
    /// A socket for the datagrams of this client, which go on to targets by this route and way.
    Associate(Announced, Route, Way),
    /// The handshake is over: relay datagrams.
    Datagrams,
    /// The end, after the bytes to send, which are what the client asked for.
    Answered,
    /// The end, after the bytes to send.
    Close(Failure),
}

impl Command {
    /// Whether this begins to do what the request asks for.
    pub fn serves_request(&self) -> bool {
        matches!(
            self,
            Command::Resolve(_)
                | Command::Tell(_)
                | Command::ResolvePtr(_)
                | Command::Dial(_)
                | Command::Through(_)
                | Command::Bind(_)
                | Command::Associate(..)
        )
    }
}

/// What came of an input: bytes to send first, then the command.
#[derive(Debug)]
pub struct Step {
    /// Bytes for the client.
    pub output: Output,
    /// What the worker is to do next.
    pub command: Command,
}

/// Bytes for the client: one message at most for each state that an input passed through.
pub type Output = Vec<u8>;

/// A connection to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialed {
    /// The target's address.
    pub address: SocketAddr,
    /// Our own address and port towards it.
    pub local: SocketAddr,
    /// The address and port that the target sees, as far as it is known: ours, or what a parent says of its own.
    pub bound: SocketAddr,
    /// Why it may be had.
    pub decision: Decision,
}

/// A peer that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedPeer {
    /// Its address and port.
    pub peer: SocketAddr,
    /// Why it is taken.
    pub decision: Decision,
}

/// Whose connection is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// DST was all zeros, "not known yet": whoever policy lets through, at a listener of this route and way.
    Any(Route, Way),
    /// One of these, in this order of preference; policy has allowed each of them. IPv4-mapped ones are IPv4 here.
    Only(Vec<RoutedAddress>),
}

/// Who is to send the datagrams, as far as the request says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// DST.ADDR; absent where it is all zeros, or a name: only an address can be compared with a sender's.
    pub ip: Option<IpAddr>,
    /// DST.PORT where it is not 0; absent beside a name, too.
    pub port: Option<u16>,
}

/// What one round of accepting a context gave.
#[derive(Debug)]
pub struct Round {
    /// The mechanism's token for the client; it may be empty.
    pub token: Vec<u8>,
    /// How it goes on.
    pub outcome: RoundOutcome,
}

/// How establishing a context goes on.
#[derive(Debug)]
pub enum RoundOutcome {
    /// With another token of the client.
    Continue,
    /// It is established, with this client.
    Established(Peer, Box<dyn Protect>),
    /// The library refused it, in its own words.
    Failed(String),
}
