//! BIND: one connection that comes in for the client. Two replies (RFC 1928 section 6): the first says where the
//! server listens, the second who came, or why nobody did.
//!
//! Section 6 leaves it to the server to use DST in judging the request: here it names the peer. The guard judges it as
//! it judges a target, before anything listens.

use super::command::{Command, Output, Peers};
use super::facts::Facts;
use super::failure::{DialError, Failure};
use super::reply::succeed;
use super::state::{Accepting, Binding, Phase, Turn};
use crate::dns::DnsError;
use std::net::SocketAddr;

/// Asks for a listener that takes one of these, which the guard has seen. The unspecified address in another spelling,
/// or behind a name, is nobody's: only DST itself can say "any".
pub(super) fn ask(asker: Phase, peers: Vec<SocketAddr>, used: usize) -> Turn {
    let canonical = |peer: SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let peers: Vec<_> = peers.into_iter().map(canonical).filter(|peer| !peer.ip().is_unspecified()).collect();
    if peers.is_empty() {
        return Turn::End(asker, Failure::Dns(DnsError::NoAddress));
    }
    Turn::Ask(Phase::Binding(Binding), used, Command::Bind(Peers::Only(peers)))
}

/// Asks for a listener that takes anybody.
pub(super) fn ask_for_any(used: usize) -> Turn {
    Turn::Ask(Phase::Binding(Binding), used, Command::Bind(Peers::Any))
}

impl Binding {
    pub(super) fn bound(
        self,
        result: Result<SocketAddr, DialError>,
        facts: &mut Facts,
        output: &mut Output,
    ) -> Turn {
        match result {
            Ok(reachable) => {
                succeed(reachable, facts, output);
                Turn::Ask(Phase::Accepting(Accepting), 0, Command::Accept)
            }
            Err(error) => Turn::End(Phase::Binding(self), Failure::Dial(error)),
        }
    }
}

impl Accepting {
    pub(super) fn accepted(
        self,
        result: Result<SocketAddr, DialError>,
        facts: &mut Facts,
        output: &mut Output,
    ) -> Turn {
        match result {
            Ok(peer) => {
                // RFC 1928 section 6: the second BND is the address and port of the connecting host.
                succeed(peer, facts, output);
                Turn::Ask(Phase::Over, 0, Command::Relay)
            }
            Err(error) => Turn::End(Phase::Accepting(self), Failure::Dial(error)),
        }
    }
}
