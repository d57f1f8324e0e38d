//! From a name to a connection: the addresses that policy saw are the addresses dialled, and no name is
//! resolved twice.

use super::{Command, DialError, Facts, Failure, Output, Phase, Rules, Turn};
use crate::dns::{Answer, DnsError};
use crate::proto::reply::{Rep, encode};
use std::net::SocketAddr;

/// Waits for the addresses of a name.
#[derive(Debug)]
pub(super) struct Resolving {
    pub(super) port: u16,
}

/// Waits for a connection to one of the addresses.
#[derive(Debug)]
pub(super) struct Dialing;

/// A connection to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialed {
    /// The target's address.
    pub address: SocketAddr,
    /// Our own address and port towards it.
    pub local: SocketAddr,
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
            (false, _) => Turn::Ask(Phase::Dialing(Dialing), 0, Command::Dial(allowed)),
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
                facts.reply = Some(Rep::Succeeded);
                output.extend_from_slice(&encode(Rep::Succeeded, dialed.local));
                Turn::Ask(Phase::Over, 0, Command::Relay)
            }
            Err(error) => Turn::End(Phase::Dialing(self), Failure::Dial(error)),
        }
    }
}
