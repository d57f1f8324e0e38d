//! How a session ends: what it has goes back, it is counted and recorded.

use std::time::{Duration, SystemTime};

use super::core::Core;
use super::slot::{Phase, Slot};
use super::talking;
use super::view::View;
use crate::observe::live::LiveSession;
use crate::observe::{AccessRecord, TargetRecord, Timed};
use crate::outcome::Reason;
use crate::policy::rules::RuleId;
use crate::relay::datagram::Tally;

/// Ends a session for good: gives everything back, counts it, records it.
pub(super) fn end_session(core: &mut Core, slot: &mut Slot, reason: Reason) {
    // Before all else: whatever panics below, the session is gone.
    core.counters.close(reason);
    let session = core.records.wanted().then(|| View::of(core, slot).keep(SystemTime::now()));
    talking::ended(core, slot);
    let key = slot.connection.key;
    let Slot { phase, connection } = &mut *slot;
    match phase {
        Phase::Handshake(handshake) => handshake.end(core, connection),
        Phase::Relaying(relaying) => relaying.end(core, connection),
        Phase::Associated(associated) => associated.end(core, connection),
        Phase::Redialling(redialling) => redialling.end(core, connection),
        Phase::Linger(_) | Phase::Kept(_) | Phase::Between => {}
    }
    if matches!(reason, Reason::Killed | Reason::Revoked | Reason::Quota) {
        // Both ends are reset.
        connection.left.iter_mut().for_each(|left| left.leaves_port_free());
    }
    let age_ms = core.ms(core.now).saturating_sub(connection.times.accepted_ms);
    core.latencies.record(Timed::Session, Duration::from_millis(age_ms));
    match session {
        Some(session) => record(core, slot, &session, reason),
        None => core.records.forgo(usize::from(connection.record_room)),
    }
    core.put_led(key, None);
}

fn record(core: &mut Core, slot: &Slot, session: &LiveSession, reason: Reason) {
    assert!(!std::mem::take(&mut core.fails_to_record), "asked to");
    let Slot { phase, connection } = slot;
    let record = AccessRecord { session, reason };
    core.records.write(&record, usize::from(connection.record_room), core.now);
    let tally = match phase {
        Phase::Associated(associated) => associated.association.tally(),
        Phase::Handshake(_)
        | Phase::Relaying(_)
        | Phase::Redialling(_)
        | Phase::Linger(_)
        | Phase::Kept(_)
        | Phase::Between => None,
    };
    for tallied in tally.into_iter().flat_map(Tally::lines) {
        let name = |rule: Option<RuleId>| core.rule_names.of(rule?).map(|name| &**name);
        let (rule, would_deny) = (name(tallied.rule), name(tallied.would_deny));
        core.records.write_target(&TargetRecord { session, tallied, rule, would_deny }, core.now);
    }
}
