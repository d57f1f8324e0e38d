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
use crate::policy::{Incoming, Object, Policy, Subject, Verdict};
use crate::proto::request::RequestCommand;
use std::net::SocketAddr;

/// Has these addresses judged, each of them, and asks the worker for what the command does with those that are allowed.
pub(super) fn ask_for(
    asker: Phase,
    subject: &Subject<'_>,
    policy: &Policy,
    addresses: impl ExactSizeIterator<Item = SocketAddr>,
    used: usize,
) -> Turn {
    let mut failure = Failure::Dns(DnsError::NoAddress);
    let mut allowed = Vec::with_capacity(addresses.len());
    for address in addresses {
        let object = match subject.command {
            RequestCommand::Bind => Object::From(address),
            RequestCommand::Connect | RequestCommand::UdpAssociate => Object::To(address),
        };
        match policy.judge(subject, object) {
            Verdict::Allow => allowed.push(address),
            Verdict::Deny(denial) => failure = Failure::Denied(denial),
        }
    }
    if allowed.is_empty() {
        return Turn::End(asker, failure);
    }
    match subject.command {
        RequestCommand::Connect => Turn::Ask(Phase::Dialing(Dialing), used, Command::Dial(allowed)),
        RequestCommand::Bind => bind::ask(asker, allowed, used),
        RequestCommand::UdpAssociate => Turn::End(asker, Failure::Internal("an association needs no target")),
    }
}

impl Resolving {
    pub(super) fn resolved(self, answer: Answer, rules: &Rules, incoming: Incoming, facts: &Facts) -> Turn {
        let addresses = match answer {
            Ok(addresses) => addresses,
            Err(error) => return Turn::End(Phase::Resolving(self), Failure::Dns(error)),
        };
        let subject = facts.subject(incoming, self.command);
        let port = self.port;
        let addresses = addresses.iter().map(|ip| SocketAddr::new(*ip, port));
        ask_for(Phase::Resolving(self), &subject, &rules.policy, addresses, 0)
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
