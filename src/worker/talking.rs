//! What sessions tell the talkers: that a request came, and how much moved. Nothing is done where nobody can ask.

#[cfg(test)]
mod tests;

use super::connection::Connection;
use super::core::Core;
use super::slot::Slot;
use super::view::{View, facts};
use crate::auth::Identity;
use crate::observe::talkers::Parties;
use crate::proto::request::RequestCommand;
use crate::session::Facts;

/// A session's request came, and something is done about it now. It is counted once.
pub(super) fn asked(core: &mut Core, connection: &mut Connection, facts: &Facts) {
    if core.talkers.is_some() && !std::mem::replace(&mut connection.counted, true) {
        count(core, connection, facts, 1, 0);
    }
}

/// A session goes on: what it moved since it was last counted. `told` says whether the talkers hear of it.
pub(super) fn moved(core: &mut Core, slot: &mut Slot, told: bool) {
    if core.talkers.is_none() {
        return;
    }
    let bytes = View::of(core, slot).bytes();
    let since = bytes - (std::mem::replace(&mut slot.connection.told_bytes, bytes));
    if told && since > 0 {
        count(core, &slot.connection, facts(slot), 0, since);
    }
}

/// A session is about to end. Its request is counted here where nothing was done about it.
pub(super) fn ended(core: &mut Core, slot: &mut Slot) {
    if core.talkers.is_none() {
        return;
    }
    moved(core, slot, true);
    if !slot.connection.counted && facts(slot).command.is_some() {
        count(core, &slot.connection, facts(slot), 1, 0);
    }
}

fn count(core: &mut Core, connection: &Connection, facts: &Facts, sessions: u64, bytes: u64) {
    let now_ms = core.ms(core.now);
    let Some(talkers) = &mut core.talkers else { return };
    // What an association asks for is no target, but where its datagrams will come from.
    let target = facts.target.as_ref().filter(|_| facts.command != Some(RequestCommand::UdpAssociate));
    let parties = Parties {
        user: facts.identity.as_ref().and_then(Identity::user),
        source: connection.peer.ip().into(),
        target: target.map(|target| &target.host),
    };
    talkers.count(&parties, sessions, bytes, now_ms);
}
