//! How a session ends for good: everything goes back, it is counted and recorded.

use std::time::{Duration, SystemTime};

use super::Worker;
use super::core::Core;
use super::slot::{Phase, Slot};
use super::talking;
use super::view::View;
use crate::observe::live::LiveSession;
use crate::observe::{AccessRecord, TargetRecord, Timed};
use crate::outcome::Reason;
use crate::policy::rules::RuleId;
use crate::relay::datagram::Tally;

impl Worker {
    /// The one way out of the slab.
    pub(super) fn close(&mut self, index: usize, reason: Reason) {
        let slot = self.slots.remove(index);
        close(&mut self.core, slot, reason);
    }
}

/// Ends a session for good: gives everything back, counts it, records it.
fn close(core: &mut Core, mut slot: Slot, reason: Reason) {
    // Before all else: whatever panics below, the session is gone.
    core.counters.close(reason);
    core.wheel.cancel(slot.connection.key.index());
    core.held_back.cancel(slot.connection.key.index());
    core.sessions -= 1;
    let session = core.records.wanted().then(|| View::of(core, &slot).keep(SystemTime::now()));
    talking::ended(core, &mut slot);
    let Slot { phase, connection } = &mut slot;
    match phase {
        Phase::Handshake(handshake) => handshake.end(core, connection),
        Phase::Relaying(relaying) => relaying.end(core, connection),
        Phase::Associated(associated) => associated.end(core, connection),
        Phase::Linger(_) | Phase::Between => {}
    }
    let age_ms = core.ms(core.now).saturating_sub(connection.times.accepted_ms);
    core.latencies.record(Timed::Session, Duration::from_millis(age_ms));
    match session {
        Some(session) => record(core, &slot, &session, reason),
        None => core.records.forgo(usize::from(connection.record_room)),
    }
}

fn record(core: &mut Core, slot: &Slot, session: &LiveSession, reason: Reason) {
    assert!(!std::mem::take(&mut core.fails_to_record), "asked to");
    let Slot { phase, connection } = slot;
    let record = AccessRecord { session, reason };
    core.records.write(&record, usize::from(connection.record_room), core.now);
    let tally = match phase {
        Phase::Associated(associated) => associated.association.tally(),
        Phase::Handshake(_) | Phase::Relaying(_) | Phase::Linger(_) | Phase::Between => None,
    };
    for tallied in tally.into_iter().flat_map(Tally::lines) {
        let name = |rule: Option<RuleId>| core.rule_names.of(rule?).map(|name| &**name);
        let (rule, would_deny) = (name(tallied.rule), name(tallied.would_deny));
        core.records.write_target(&TargetRecord { session, tallied, rule, would_deny }, core.now);
    }
}
