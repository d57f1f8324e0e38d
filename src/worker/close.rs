//! How a session ends for good: everything goes back, it is counted and recorded.

use std::time::{Duration, SystemTime};

use super::core::Core;
use super::slot::{Phase, Slot};
use crate::auth::Identity;
use crate::config::AuthMethod;
use crate::observe::{AccessRecord, TargetRecord, Timed};
use crate::outcome::Reason;
use crate::proto::request::RequestCommand;
use crate::relay::Engine;
use crate::relay::datagram::Tally;

/// Ends a session for good: gives everything back, counts it, records it.
pub(super) fn close(core: &mut Core, mut slot: Slot, reason: Reason) {
    let Slot { phase, connection } = &mut slot;
    // Before all else: whatever panics below, the session is gone.
    core.counters.close(reason);
    core.wheel.cancel(connection.key.index());
    core.sessions -= 1;
    match phase {
        Phase::Handshake(handshake) => handshake.end(core, connection),
        Phase::Relaying(relaying) => relaying.end(core, connection),
        Phase::Associated(associated) => associated.end(core, connection),
        Phase::Linger(_) | Phase::Between => {}
    }
    let age_ms = core.ms(core.now).saturating_sub(connection.times.accepted_ms);
    core.latencies.record(Timed::Session, Duration::from_millis(age_ms));
    if core.records.wanted() {
        record(core, &slot, reason);
    }
}

fn record(core: &mut Core, slot: &Slot, reason: Reason) {
    assert!(!std::mem::take(&mut core.fails_to_record), "asked to");
    let Slot { phase, connection } = slot;
    let (facts, times) = (&connection.facts, &connection.times);
    let duration_ms = core.ms(core.now).saturating_sub(times.accepted_ms);
    let verified = facts.identity.as_ref().and_then(Identity::user).map(|user| &**user);
    let association = match phase {
        Phase::Associated(associated) => Some(&associated.association),
        Phase::Handshake(_) | Phase::Relaying(_) | Phase::Linger(_) | Phase::Between => None,
    };
    let record = AccessRecord {
        time: began(SystemTime::now(), duration_ms),
        id: &format!("{:08x}{:02x}{:010x}", core.boot, core.number, connection.key.serial()),
        worker: core.number,
        client: connection.peer,
        user: verified.or(facts.claimed_user.as_deref()),
        method: facts.method.map(|method| match method {
            AuthMethod::None => "none",
            AuthMethod::Password => "password",
            AuthMethod::Gssapi => "gssapi",
        }),
        command: facts.command.map(|command| match command {
            RequestCommand::Connect => "connect",
            RequestCommand::Bind => "bind",
            RequestCommand::UdpAssociate => "udp_associate",
        }),
        target: facts.target.as_ref().map(ToString::to_string),
        address: connection.address,
        local: connection.local,
        reply: facts.reply.map(|reply| reply.code()),
        reason,
        engine: association.map(|_| "datagram").or(connection.engine.map(Engine::name)),
        bytes_up: connection.bytes_up,
        bytes_down: connection.bytes_down,
        datagrams_up: association.map_or(0, |association| association.up.datagrams),
        datagrams_down: association.map_or(0, |association| association.down.datagrams),
        handshake_ms: times.handshake_ms,
        dns_ms: times.dns_ms,
        connect_ms: times.connect_ms,
        duration_ms,
    };
    core.records.write(&record, usize::from(connection.record_room), core.now);
    let tally = association.and_then(|association| association.tally());
    for tallied in tally.into_iter().flat_map(Tally::lines) {
        let AccessRecord { time, id, worker, client, user, .. } = record;
        let target = TargetRecord { time, id, worker, client, user, tallied };
        core.records.write_target(&target, core.now);
    }
}

/// When something began that has lasted so long now, by a clock that may have jumped meanwhile.
fn began(now: SystemTime, duration_ms: u64) -> SystemTime {
    now.checked_sub(Duration::from_millis(duration_ms)).unwrap_or(now)
}
