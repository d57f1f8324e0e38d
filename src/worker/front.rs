//! The client-facing socket of an association, which is looked for where its control connection ends.

use std::net::{IpAddr, SocketAddr};

use super::errno::associate_error;
use super::ports::PortSearch;
use crate::config::PortRange;
use crate::limits;
use crate::policy::egress::SessionPool;
use crate::relay::datagram::{Expected, Outward};
use crate::session::{Announced, AssociateError};
use crate::sys::Errno;
use crate::sys::udp::DatagramSocket;

/// The socket index of an association's client-facing socket.
pub(super) const FRONT_SOCKET: u8 = 1;

/// A client-facing socket that is looked for.
#[derive(Debug)]
pub(super) struct FrontSearch {
    /// Where the control connection ends here.
    pub(super) here: IpAddr,
    /// Who may be the client.
    pub(super) expected: Expected,
    /// By which way its datagrams go on to targets.
    pub(super) outward: Outward,
    /// The pool that they leave from, where that is one.
    pub(super) pool: Option<SessionPool>,
    search: PortSearch,
}

impl FrontSearch {
    /// A search at `here`, for a client that connected from `peer` and announced an address or none; `outward` and `pool` are
    /// for what is found.
    pub(super) fn new(
        here: Result<SocketAddr, Errno>,
        peer: IpAddr,
        announced: Announced,
        (outward, pool): (Outward, Option<SessionPool>),
        ports: Option<PortRange>,
    ) -> Result<FrontSearch, AssociateError> {
        let here = here.map_err(|errno| AssociateError::Local(errno as i32))?;
        let ip = announced.ip.unwrap_or(peer.to_canonical());
        if ip.is_ipv4() != here.ip().to_canonical().is_ipv4() {
            return Err(AssociateError::Family);
        }
        let expected = Expected { ip, port: announced.port };
        let search = PortSearch::new(here, ports);
        Ok(FrontSearch { here: here.ip(), expected, outward, pool, search })
    }

    /// The socket; `None` where `tries` is used up before it is found.
    pub(super) fn go_on(&mut self, tries: &mut usize) -> Option<Result<DatagramSocket, AssociateError>> {
        let bind = |at| DatagramSocket::bind(at, limits::UDP_RECEIVE_BUFFER_BYTES);
        Some(self.search.go_on(tries, bind)?.map_err(associate_error))
    }
}
