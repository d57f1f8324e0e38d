//! The request, in whatever dialect it comes.

use super::dialect::ClaimedRequest;
use super::failure::Failure;
use super::handling::Handling;
use super::state::{Reading, Transition};
use super::{associate, bind, connect, login, lookup};
use crate::proto::request::RequestCommand;
use crate::seal::SealError;

/// Begins what the client wants. `stream` says whether a stream may be entrusted to its channel.
pub(super) fn read(
    bytes: &[u8],
    stream: Result<(), SealError>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let decoded = handling.dialect.read_request(bytes).map_err(Failure::Protocol)?;
    let Some((ClaimedRequest { mut request, user }, used)) = decoded else {
        return Ok(Transition::More(Reading::Request));
    };
    if request.command.as_judged() == RequestCommand::Resolve {
        // Nothing is reached, at whatever port.
        request.target.port = 0;
    }
    handling.facts.command = Some(request.command);
    handling.facts.target = Some(request.target.clone());
    if let Some(user) = user
        && let Some(asked) = login::claim(&user, handling)?
    {
        return Ok(asked);
    }
    login::identify(handling)?;
    handling.check_taken(request.command)?;
    if request.command != RequestCommand::UdpAssociate {
        stream.map_err(Failure::Seal)?;
    }
    match request.command {
        RequestCommand::Connect => connect::begin(request.target, used, handling),
        RequestCommand::Bind => bind::begin(request.target, used, handling),
        RequestCommand::UdpAssociate => associate::begin(&request.target, used, handling),
        RequestCommand::Resolve => lookup::begin(request.target.host, used, handling),
        RequestCommand::ResolvePtr => lookup::begin_reverse(&request.target.host, used, handling),
    }
}
