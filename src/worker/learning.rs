//! Tells what sessions ask for and get, where that is learned.

use super::connection::Connection;
use super::core::Core;
use crate::auth::Identity;
use crate::observe::Counted;
use crate::proto::address::Host;
use crate::proto::request::RequestCommand;
use crate::session::{Command, Facts, Peers};

/// A session goes on to do what it asked for; nothing else is told of.
pub(super) fn begun(core: &mut Core, facts: &Facts, command: &Command) {
    if core.needs.is_some()
        && matches!(
            command,
            Command::Dial(_)
                | Command::Through(_)
                | Command::Bind(Peers::Only(_))
                | Command::Tell(_)
                | Command::ResolvePtr(_)
        )
        && let (Some(asked), Some(target)) = (facts.command, &facts.target)
    {
        tell(core, facts.identity.as_ref(), asked.as_judged(), &target.host, target.port);
    }
}

/// Datagrams of an association may go to these.
pub(super) fn sent(core: &mut Core, connection: &Connection, targets: Vec<(Host, u16)>) {
    for (host, port) in targets {
        tell(core, connection.facts.identity.as_ref(), RequestCommand::UdpAssociate, &host, port);
    }
}

fn tell(core: &mut Core, identity: Option<&Identity>, command: RequestCommand, host: &Host, port: u16) {
    let Some(needs) = &mut core.needs else { return };
    if !needs.tell(identity.and_then(Identity::user), command, host, port) {
        core.counters.count(Counted::NeedsLost);
    }
}
