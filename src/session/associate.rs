//! UDP ASSOCIATE (RFC 1928 section 7), up to the reply: the datagrams are the worker's.

use super::command::{Announced, Command, Output};
use super::facts::Facts;
use super::failure::{AssociateError, Failure};
use super::reply::succeed;
use super::state::{Associating, Phase, Turn};
use crate::proto::address::{Host, Target};
use std::net::SocketAddr;

/// The request as a question to the worker. RFC 1928 section 6: DST is what "the client expects to use", and the server
/// "MAY use this information to limit access". A name limits nothing, neither its address, which is no sender's until it is
/// resolved, nor the port beside it: section 7's "expected IP address of the client" is then the control connection's.
pub(super) fn begin(target: &Target, used: usize) -> Turn {
    let announced = match target.host {
        Host::Ip(ip) => Announced {
            ip: Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified()),
            port: Some(target.port).filter(|port| *port != 0),
        },
        Host::Name(_) => Announced { ip: None, port: None },
    };
    Turn::Ask(Phase::Associating(Associating), used, Command::Associate(announced))
}

impl Associating {
    pub(super) fn associated(
        self,
        result: Result<SocketAddr, AssociateError>,
        facts: &mut Facts,
        output: &mut Output,
    ) -> Turn {
        match result {
            Ok(bound) => {
                // RFC 1928 section 7: BND is where the client must send its datagrams.
                succeed(bound, facts, output);
                Turn::Ask(Phase::Over, 0, Command::Datagrams)
            }
            Err(error) => Turn::End(Phase::Associating(self), Failure::Associate(error)),
        }
    }
}
