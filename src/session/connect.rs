//! CONNECT: from a target to a connection. The addresses that policy saw are the addresses dialled, and no name is
//! resolved twice.

use std::net::SocketAddr;

use super::command::{Command, Dialed};
use super::failure::{DialError, Failure};
use super::handling::Handling;
use super::state::{Awaiting, Connecting, Transition};
use crate::dns::Answer;
use crate::proto::address::{Host, Target};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;

/// Begins a CONNECT: asks for the addresses of a name, or for the connection.
pub(super) fn begin(target: Target, used: usize, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let port = target.port;
    match target.host {
        Host::Name(name) => {
            handling.may_resolve(RequestCommand::Connect, &name, port)?;
            let resolving = Awaiting::Connect(Connecting::Resolving { port });
            Ok(Transition::Ask(resolving, used, Command::Resolve(name)))
        }
        Host::Ip(ip) => dial([SocketAddr::new(ip, port)].into_iter(), used, handling),
    }
}

/// The target's addresses are there.
pub(super) fn resolved(
    port: u16,
    answer: Answer,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let addresses = answer.map_err(Failure::Dns)?;
    dial(addresses.iter().map(|ip| SocketAddr::new(*ip, port)), 0, handling)
}

fn dial(
    addresses: impl ExactSizeIterator<Item = SocketAddr>,
    used: usize,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let allowed = handling.allowed(RequestCommand::Connect, addresses)?;
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
    handling.succeed(dialed.local);
    Ok(Transition::Done(Command::Relay))
}
