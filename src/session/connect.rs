//! CONNECT: from a target to a connection. The addresses that policy saw are the addresses dialled, and no name is
//! resolved twice.

use std::net::SocketAddr;

use super::command::{Command, Dialed};
use super::failure::{DialError, Failure};
use super::handling::Handling;
use super::state::{Awaiting, Connecting, Transition};
use crate::dns::Answer;
use crate::policy::ParentId;
use crate::proto::address::{Host, Name, Target};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;

/// Begins a CONNECT: asks for the addresses of a name, or for the connection.
pub(super) fn begin(target: Target, used: usize, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let port = target.port;
    match target.host {
        Host::Name(name) => {
            if let Some(allowed) = handling.told(RequestCommand::Connect, &name, port) {
                let through = Awaiting::Connect(Connecting::Through { port, parent: allowed.way.parent });
                return Ok(Transition::Ask(through, used, Command::Through(allowed)));
            }
            handling.may_resolve(RequestCommand::Connect, &name, port)?;
            Ok(resolve(name, port, None, used))
        }
        Host::Ip(ip) => dial([SocketAddr::new(ip, port)].into_iter(), None, used, handling),
    }
}

fn resolve(name: Name, port: u16, without: Option<ParentId>, used: usize) -> Transition {
    let resolving = Awaiting::Connect(Connecting::Resolving { port, without });
    Transition::Ask(resolving, used, Command::Resolve(name))
}

/// The target's addresses are there.
pub(super) fn resolved(
    port: u16,
    without: Option<ParentId>,
    answer: Answer,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let addresses = answer.map_err(Failure::Dns)?;
    dial(addresses.iter().map(|ip| SocketAddr::new(*ip, port)), without, 0, handling)
}

/// The parent that was to be told the target's name does not serve: it is resolved here, and its addresses are judged. That they
/// may do without this parent says nothing of another, which a rule may have for one of them.
pub(super) fn go_without(
    parent: Option<ParentId>,
    port: u16,
    handling: &Handling<'_>,
) -> Result<Transition, Failure> {
    match handling.facts.name() {
        Some(name) => Ok(resolve(name.clone(), port, parent, 0)),
        None => Err(Failure::Internal("no name was to be told")),
    }
}

fn dial(
    addresses: impl ExactSizeIterator<Item = SocketAddr>,
    without: Option<ParentId>,
    used: usize,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let mut allowed = handling.allowed(RequestCommand::Connect, addresses)?;
    if without.is_some() {
        let led = allowed.iter_mut().filter(|one| one.allowed.way.parent == without);
        led.for_each(|one| one.allowed.way.parent = None);
    }
    Ok(Transition::Ask(Awaiting::Connect(Connecting::Dialing), used, Command::Dial(allowed)))
}

/// The connection stands, or none came about.
pub(super) fn dialed(
    result: Result<Dialed, DialError>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    if result == Err(DialError::Ourselves) {
        handling.met_ourselves();
    }
    let by_name = handling.facts.name().is_some();
    let dialed = result.map_err(|error| Failure::Dial(error.asked_for(by_name)))?;
    handling.facts.decision = Some(dialed.decision);
    if let Some(forward) = handling.forward.take() {
        // The target has the word: what the client is told comes of it.
        handling.facts.reply = Some(Rep::Succeeded);
        return Ok(Transition::Done(Command::Exchange(forward)));
    }
    // RFC 1928 section 6: BND is the address and port that the server uses towards the target.
    handling.succeed(dialed.bound);
    Ok(Transition::Done(Command::Relay))
}
