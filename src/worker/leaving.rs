//! From which pools a session leaves, and what they are asked with.

use std::time::{Duration, SystemTime};

use super::connection::Connection;
use super::core::Core;
use crate::auth::Identity;
use crate::policy::egress::{LeavingAsked, SessionPool};
use crate::policy::{EgressId, RoutedAddress, Way};
use crate::proto::request::RequestCommand;
use crate::session::Facts;
use crate::sys::stream::Stream;

/// The pools that these addresses are to be left to from, each once, as a session of which this is known goes through them.
pub(super) fn pools_towards(
    core: &mut Core,
    connection: &Connection,
    facts: &Facts,
    client: &Stream,
    addresses: &[RoutedAddress],
) -> Vec<SessionPool> {
    let mut pools: Vec<SessionPool> = Vec::new();
    for one in addresses {
        if let Some(id) = one.allowed.way.egress
            && pools.iter().all(|pool| pool.id() != id)
        {
            pools.extend(pool_of(core, connection, facts, client, id));
        }
    }
    pools
}

/// The pool of a way, as a session goes through it that is for any target.
pub(super) fn pool_by(
    core: &mut Core,
    connection: &Connection,
    facts: &Facts,
    client: &Stream,
    way: Way,
) -> Option<SessionPool> {
    pool_of(core, connection, facts, client, way.egress?)
}

fn pool_of(
    core: &mut Core,
    connection: &Connection,
    facts: &Facts,
    client: &Stream,
    id: EgressId,
) -> Option<SessionPool> {
    let egress = core.egress.clone()?;
    let pool = egress.pool(id)?;
    let reached = || client.local_address().ok().map(|reached| reached.ip());
    let parameters = facts.parameters.as_deref();
    let is_association = facts.command == Some(RequestCommand::UdpAssociate);
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let asked = LeavingAsked {
        user: facts.identity.as_ref().and_then(Identity::user).map(|user| &**user),
        session: parameters.and_then(|parameters| parameters.session.as_deref()),
        ttl: parameters.and_then(|parameters| parameters.ttl),
        source: connection.peer.ip(),
        reached: if pool.wants_reached() { reached() } else { None },
        // What an association is asked for with is its client's address.
        target: facts.target.as_ref().map(|target| &target.host).filter(|_| !is_association),
        unix_seconds: unix.unwrap_or(Duration::ZERO).as_secs(),
    };
    SessionPool::choose(&egress, id, &asked, &mut core.turns)
}
