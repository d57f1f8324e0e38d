//! The request (RFC 1928 section 4).

use super::upstream::{Dialing, Resolving};
use super::{Command, Facts, Failure, Phase, Rules, Turn};
use crate::proto::address::Host;
use crate::proto::request::{RequestCommand, decode};
use std::net::SocketAddr;

/// Waits for VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT.
#[derive(Debug)]
pub(super) struct AwaitRequest;

impl AwaitRequest {
    pub(super) fn bytes(self, bytes: &[u8], rules: &Rules, facts: &mut Facts) -> Turn {
        let (request, used) = match decode(bytes) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => return Turn::Incomplete(Phase::Request(self)),
            Err(error) => return Turn::End(Phase::Request(self), Failure::Protocol(error)),
        };
        facts.command = Some(request.command);
        facts.target = Some(request.target.clone());
        if request.command != RequestCommand::Connect {
            let failure = Failure::Unsupported(request.command);
            return Turn::End(Phase::Request(self), failure);
        }
        match request.target.host {
            Host::Name(name) => {
                let resolving = Resolving { port: request.target.port };
                Turn::Ask(Phase::Resolving(resolving), used, Command::Resolve(name))
            }
            Host::Ip(ip) => {
                let address = SocketAddr::new(ip, request.target.port);
                match rules.guard.check(address) {
                    Ok(()) => Turn::Ask(Phase::Dialing(Dialing), used, Command::Dial(vec![address])),
                    Err(refusal) => Turn::End(Phase::Request(self), Failure::Denied(refusal)),
                }
            }
        }
    }
}
