//! BIND: one connection that comes in for the client. Two replies (RFC 1928 section 6): the first says where the
//! server listens, the second who came, or why nobody did.
//!
//! Section 6 leaves it to the server to use DST in judging the request: here it names the peer. Policy judges it as
//! it judges a target, before anything listens.

use std::net::SocketAddr;

use super::command::{AcceptedPeer, Command, Peers};
use super::failure::{DialError, Failure};
use super::handling::Handling;
use super::state::{Awaiting, Binding, Transition};
use crate::dns::{Answer, DnsError};
use crate::policy::{RoutedAddress, Way};
use crate::proto::address::{Host, Target};
use crate::proto::request::RequestCommand;

/// Begins a BIND: asks for the addresses of a name, or for the listener.
pub(super) fn begin(target: Target, used: usize, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let port = target.port;
    match target.host {
        Host::Name(name) => {
            if handling.told(RequestCommand::Bind, &name, port).is_some() {
                // It is the parent's to resolve, and nobody comes through one: our own servers are not told of it.
                return Err(Failure::NotThrough(RequestCommand::Bind));
            }
            handling.may_resolve(RequestCommand::Bind, &name, port)?;
            let resolving = Awaiting::Bind(Binding::Resolving { port });
            Ok(Transition::Ask(resolving, used, Command::Resolve(name)))
        }
        Host::Ip(ip) if ip.is_unspecified() => {
            let (route, way) = handling.may_open(RequestCommand::Bind)?;
            check_way(way)?;
            Ok(listen(Peers::Any(route, way), used))
        }
        Host::Ip(ip) => listen_for([SocketAddr::new(ip, port)].into_iter(), used, handling),
    }
}

/// The peer's addresses are there.
pub(super) fn resolved(
    port: u16,
    answer: Answer,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let addresses = answer.map_err(Failure::Dns)?;
    listen_for(addresses.iter().map(|ip| SocketAddr::new(*ip, port)), 0, handling)
}

/// Asks for a listener that takes one of these, as far as policy allows them. The unspecified address in another
/// spelling, or behind a name, is nobody's: only DST itself can say "any".
fn listen_for(
    peers: impl ExactSizeIterator<Item = SocketAddr>,
    used: usize,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let allowed = handling.allowed(RequestCommand::Bind, peers)?;
    allowed.iter().try_for_each(|one| check_way(one.allowed.way))?;
    let canonical = |RoutedAddress { address, allowed }: RoutedAddress| {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        RoutedAddress { address, allowed }
    };
    let named = |peer: &RoutedAddress| !peer.address.ip().is_unspecified();
    let peers: Vec<_> = allowed.into_iter().map(canonical).filter(named).collect();
    if peers.is_empty() {
        return Err(Failure::Dns(DnsError::NoAddress));
    }
    Ok(listen(Peers::Only(peers), used))
}

/// Whether peers may come by this way. Nobody reaches a listener through a parent: it would be one of the parent's own.
fn check_way(way: Way) -> Result<(), Failure> {
    match way.parent {
        Some(_) => Err(Failure::NotThrough(RequestCommand::Bind)),
        None => Ok(()),
    }
}

fn listen(peers: Peers, used: usize) -> Transition {
    Transition::Ask(Awaiting::Bind(Binding::Opening), used, Command::Bind(peers))
}

/// A socket listens, or none can.
pub(super) fn bound(
    result: Result<SocketAddr, DialError>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let by_name = handling.facts.name().is_some();
    handling.succeed(result.map_err(|error| Failure::Dial(error.asked_for(by_name)))?);
    Ok(Transition::Ask(Awaiting::Bind(Binding::Accepting), 0, Command::Accept))
}

/// The peer is there, or nobody came.
pub(super) fn accepted(
    result: Result<AcceptedPeer, DialError>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let AcceptedPeer { peer, decision } = result.map_err(Failure::Dial)?;
    handling.facts.decision = Some(decision);
    // RFC 1928 section 6: the second BND is the address and port of the connecting host.
    handling.succeed(peer);
    Ok(Transition::Done(Command::Relay))
}
