//! UDP ASSOCIATE (RFC 1928 section 7), up to the reply: the datagrams are the worker's.

use std::net::SocketAddr;

use super::command::{Announced, Command};
use super::failure::{AssociateError, Failure};
use super::handling::Handling;
use super::state::{Awaiting, Transition};
use crate::proto::address::{Host, Target};
use crate::proto::request::RequestCommand;

/// Begins an association: asks for its socket. RFC 1928 section 6: DST is what "the client expects to use", and the server
/// "MAY use this information to limit access". A name limits nothing, neither its address, which is no sender's until it is
/// resolved, nor the port beside it: section 7's "expected IP address of the client" is then the control connection's.
pub(super) fn begin(
    target: &Target,
    used: usize,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let (route, way) = handling.may_open(RequestCommand::UdpAssociate)?;
    if let Some(id) = way.parent
        && !handling.rules.parents.is_some_and(|parents| parents.takes_datagrams(id))
    {
        return Err(Failure::NotThrough(RequestCommand::UdpAssociate));
    }
    let announced = match target.host {
        Host::Ip(ip) => Announced {
            ip: Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified()),
            port: Some(target.port).filter(|port| *port != 0),
        },
        Host::Name(_) => Announced { ip: None, port: None },
    };
    Ok(Transition::Ask(Awaiting::Association, used, Command::Associate(announced, route, way)))
}

/// The client-facing socket is there, or none can be.
pub(super) fn associated(
    result: Result<SocketAddr, AssociateError>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    // RFC 1928 section 7: BND is where the client must send its datagrams.
    handling.succeed(result.map_err(Failure::Associate)?);
    Ok(Transition::Done(Command::Datagrams))
}
