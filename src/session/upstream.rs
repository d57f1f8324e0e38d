//! From a name to addresses, and from addresses to a connection or a listener: the addresses that policy saw are the
//! addresses dialled, and no name is resolved twice.

use super::bind;
use super::command::{Command, Dialed, Output};
use super::facts::Facts;
use super::failure::{DialError, Failure};
use super::reply::succeed;
use super::rules::Rules;
use super::state::{Dialing, Phase, Resolving, Turn};
use crate::dns::{Answer, DnsError};
use crate::proto::request::RequestCommand;
use std::net::SocketAddr;

/// Asks the worker for what the command does with these addresses, each of which the guard has seen.
pub(super) fn ask_for(
    command: RequestCommand,
    asker: Phase,
    addresses: Vec<SocketAddr>,
    used: usize,
) -> Turn {
    match command {
        RequestCommand::Connect => Turn::Ask(Phase::Dialing(Dialing), used, Command::Dial(addresses)),
        RequestCommand::Bind => bind::ask(asker, addresses, used),
        RequestCommand::UdpAssociate => Turn::End(asker, Failure::Internal("an association needs no target")),
    }
}

impl Resolving {
    pub(super) fn resolved(self, answer: Answer, rules: &Rules) -> Turn {
        let addresses = match answer {
            Ok(addresses) => addresses,
            Err(error) => return Turn::End(Phase::Resolving(self), Failure::Dns(error)),
        };
        let mut refusal = None;
        let mut allowed = Vec::with_capacity(addresses.len());
        for ip in addresses.iter() {
            let address = SocketAddr::new(*ip, self.port);
            match rules.guard.check(address) {
                Ok(()) => allowed.push(address),
                Err(refused) => refusal = Some(refused),
            }
        }
        match (allowed.is_empty(), refusal) {
            (false, _) => ask_for(self.command, Phase::Resolving(self), allowed, 0),
            (true, Some(refusal)) => Turn::End(Phase::Resolving(self), Failure::Denied(refusal)),
            (true, None) => Turn::End(Phase::Resolving(self), Failure::Dns(DnsError::NoAddress)),
        }
    }
}

impl Dialing {
    pub(super) fn dialed(
        self,
        result: Result<Dialed, DialError>,
        facts: &mut Facts,
        output: &mut Output,
    ) -> Turn {
        match result {
            Ok(dialed) => {
                // RFC 1928 section 6: BND is the address and port that the server uses towards the target.
                succeed(dialed.local, facts, output);
                Turn::Ask(Phase::Over, 0, Command::Relay)
            }
            Err(error) => Turn::End(Phase::Dialing(self), Failure::Dial(error)),
        }
    }
}
