//! UDP ASSOCIATE (RFC 1928 section 7), up to the reply: the datagrams are the worker's.

use super::reply::succeed;
use super::{Command, Facts, Failure, Output, Phase, Turn};
use crate::proto::address::{Host, Target};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Who is to send the datagrams, as far as the request says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// DST.ADDR; absent where it is all zeros, or a name: only an address can be compared with a sender's.
    pub ip: Option<IpAddr>,
    /// DST.PORT where it is not 0; absent beside a name, too.
    pub port: Option<u16>,
}

/// Why there is no association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociateError {
    /// DST.ADDR is of another family than the control connection: no datagram from there can reach us.
    Family,
    /// Every port of the configured range is taken.
    NoPort,
    /// As many sessions as the descriptors allow.
    Full,
    /// A local resource is missing or another local error, with its errno.
    Local(i32),
}

impl fmt::Display for AssociateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssociateError::Family => f.write_str("announced address of another family"),
            AssociateError::NoPort => f.write_str("no free port in udp.ports"),
            AssociateError::Full => f.write_str("as many sessions as may be"),
            AssociateError::Local(errno) => write!(f, "local error {errno}"),
        }
    }
}

/// Waits for the client-facing socket.
#[derive(Debug)]
pub(super) struct Associating;

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
