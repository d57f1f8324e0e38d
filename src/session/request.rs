//! The request (RFC 1928 section 4).

use super::failure::Failure;
use super::handling::Handling;
use super::state::{Reading, Transition};
use super::{associate, bind, connect, login};
use crate::proto::request::RequestCommand;
use crate::seal::SealError;

/// Begins what the client wants. `stream` says whether a stream may be entrusted to its channel.
pub(super) fn read(
    bytes: &[u8],
    stream: Result<(), SealError>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let decoded = handling.dialect.read_request(bytes).map_err(Failure::Protocol)?;
    let Some((request, used)) = decoded else {
        return Ok(Transition::More(Reading::Request));
    };
    handling.facts.command = Some(request.command);
    handling.facts.target = Some(request.target.clone());
    login::identify(handling)?;
    handling.check_taken(request.command)?;
    if request.command != RequestCommand::UdpAssociate {
        stream.map_err(Failure::Seal)?;
    }
    match request.command {
        RequestCommand::Connect => connect::begin(request.target, used, handling),
        RequestCommand::Bind => bind::begin(request.target, used, handling),
        RequestCommand::UdpAssociate => associate::begin(&request.target, used, handling),
    }
}
