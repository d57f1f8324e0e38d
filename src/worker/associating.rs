//! UDP ASSOCIATE: a handshake that looks for the client-facing socket of an association.

use std::net::SocketAddr;

use super::connection::Connection;
use super::core::Core;
use super::front::{FRONT_SOCKET, FrontSearch};
use super::handshake::{Handshake, Waits};
use super::leaving::pool_by;
use super::next::{Change, Next};
use super::watch::watch_datagrams;
use crate::limits;
use crate::outcome::Reason;
use crate::relay::datagram::{Association, Outward, Tally};
use crate::session::{Announced, AssociateError, Input};
use crate::shares::Source;
use crate::sys::udp::DatagramSocket;

impl Handshake {
    /// Looks for the client-facing socket.
    pub(super) fn associate(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        announced: Announced,
        outward: Outward,
    ) -> Next {
        let (facts, client) = (self.session.facts(), &self.client.socket);
        let pool = pool_by(core, connection, facts, client, outward.way);
        if outward.way.egress.is_some() && pool.is_none() {
            return Next::Answer(Input::Associated(Err(AssociateError::Local(0))));
        }
        let (here, ports) =
            (self.client.socket.local_address(), connection.snapshot.udp_ports(connection.listener));
        let search = match FrontSearch::new(here, connection.peer.ip(), announced, (outward, pool), ports) {
            Ok(search) => Box::new(search),
            Err(error) => return Next::Answer(Input::Associated(Err(error))),
        };
        let mut tries = limits::PORT_TRIES_AT_ONCE;
        self.seek_front(core, connection, search, &mut tries)
    }

    /// Opens the client-facing socket and tells the session where the client is to send its datagrams, or goes on in the
    /// next turn.
    pub(super) fn seek_front(
        &mut self,
        core: &mut Core,
        connection: &Connection,
        mut search: Box<FrontSearch>,
        tries: &mut usize,
    ) -> Next {
        let found = if core.full() { Some(Err(AssociateError::Full)) } else { search.go_on(tries) };
        let Some(found) = found else {
            self.waits_for = Waits::Front(search);
            core.searches.push(connection.peer.ip().into(), connection.key);
            return self.wait(core, connection);
        };
        match found.and_then(|front| open(core, connection, &mut search, front)) {
            Ok((mut association, at)) => {
                if let Some(led) = &self.led {
                    association.lead_through(led.datagrams);
                }
                self.waits_for = Waits::Associated(Box::new(association));
                Next::Tell(Input::Associated(Ok(at)))
            }
            Err(error) => Next::Answer(Input::Associated(Err(error))),
        }
    }

    /// The reply is out: datagrams may come.
    pub(super) fn begin_datagrams(&mut self, core: &Core, connection: &Connection) -> Next {
        let watch = |front| watch_datagrams(&core.registry, connection.key, FRONT_SOCKET, front);
        match self.take_waits() {
            Waits::Associated(association) if watch(association.front()) => {
                Next::Change(Change::Datagrams(association))
            }
            _ => Next::Close(Reason::Internal),
        }
    }
}

/// The association for what was opened, and where the client is to send.
fn open(
    core: &Core,
    connection: &Connection,
    search: &mut FrontSearch,
    front: DatagramSocket,
) -> Result<(Association, SocketAddr), AssociateError> {
    let at = front.local_address().map_err(|errno| AssociateError::Local(errno as i32))?;
    let (config, source) = (&connection.snapshot.config, Source::from(connection.peer.ip()));
    let held = core.pools.datagrams.nothing(source);
    let mut association = Association::new(search.expected, front, at, &core.own_ports, held);
    association.leave_by(search.outward, search.pool.take());
    if config.log.udp_targets && core.records.wanted() {
        association.count_targets(Tally::new(core.pools.targets.nothing(source)));
    }
    let told = connection.snapshot.udp_advertise(connection.listener).instead_of(search.here);
    Ok((association, SocketAddr::new(told, at.port())))
}
