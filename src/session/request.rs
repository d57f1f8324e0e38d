//! The request (RFC 1928 section 4).

use super::command::Command;
use super::facts::Facts;
use super::failure::Failure;
use super::rules::Rules;
use super::state::{AwaitRequest, Phase, Resolving, Turn};
use super::upstream::ask_for;
use super::{associate, bind};
use crate::policy::Incoming;
use crate::proto::address::Host;
use crate::proto::request::{RequestCommand, decode};
use crate::seal::SealError;
use std::net::SocketAddr;

impl AwaitRequest {
    /// `stream` says whether a stream may be entrusted to the client's channel.
    pub(super) fn bytes(
        self,
        bytes: &[u8],
        rules: &Rules,
        stream: Result<(), SealError>,
        incoming: Incoming,
        facts: &mut Facts,
    ) -> Turn {
        let (request, used) = match decode(bytes) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => return Turn::Incomplete(Phase::Request(self)),
            Err(error) => return Turn::End(Phase::Request(self), Failure::Protocol(error)),
        };
        facts.command = Some(request.command);
        facts.target = Some(request.target.clone());
        let command = request.command;
        let subject = facts.subject(incoming, command);
        if command == RequestCommand::UdpAssociate {
            return associate::begin(&request.target, used);
        }
        if let Err(error) = stream {
            return Turn::End(Phase::Request(self), Failure::Seal(error));
        }
        match request.target.host {
            Host::Name(name) => {
                let resolving = Resolving { port: request.target.port, command };
                Turn::Ask(Phase::Resolving(resolving), used, Command::Resolve(name))
            }
            Host::Ip(ip) if command == RequestCommand::Bind && ip.is_unspecified() => bind::ask_for_any(used),
            Host::Ip(ip) => {
                let address = SocketAddr::new(ip, request.target.port);
                ask_for(Phase::Request(self), &subject, &rules.policy, [address].into_iter(), used)
            }
        }
    }
}
