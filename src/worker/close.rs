//! How a session ends for good: everything goes back, it is counted and recorded.

use super::core::Core;
use super::slot::{Phase, Slot, Waits};
use super::tokens::CLIENT_SOCKET;
use crate::auth::Identity;
use crate::config::AuthMethod;
use crate::observe::{AccessRecord, TargetRecord, Timed};
use crate::outcome::Reason;
use crate::proto::request::RequestCommand;
use crate::relay::Side;
use crate::relay::datagram::Tally;
use std::time::{Duration, SystemTime};

impl Core {
    /// Ends a session for good: gives everything back, counts it, records it.
    pub(super) fn bury(&mut self, mut slot: Slot, reason: Reason) {
        // Before all else: whatever panics below, the session is gone.
        self.counters.close(reason);
        self.wheel.cancel(slot.key.index());
        self.sessions -= 1;
        match &mut slot.phase {
            Phase::Handshake(handshake) => {
                if let Waits::Addresses = handshake.waits_for {
                    let ticket = slot.key.ticket();
                    self.lookups.cancel(ticket, &self.registry, self.now);
                }
                slot.facts = handshake.session.take_facts();
            }
            Phase::Relay(relay) => {
                let cut = [Side::Client, Side::Target].map(|side| (side, relay.pending_bytes(side)));
                slot.settle(&mut self.kit);
                self.note_pipes();
                // A FIN would tell this side that it has everything.
                for (side, _) in cut.into_iter().filter(|(_, pending_bytes)| *pending_bytes > 0) {
                    slot.socket(side).into_iter().for_each(|socket| socket.reset_on_close());
                }
            }
            Phase::Association(_) => self.settle_association(&mut slot),
            Phase::Linger(_) => {}
        }
        self.observe(&slot);
        if self.records.wanted() {
            self.record(&slot, reason);
        }
    }

    fn observe(&mut self, slot: &Slot) {
        let ms = |value: u32| Duration::from_millis(value.into());
        for (what, value) in [
            (Timed::Handshake, slot.times.handshake_ms),
            (Timed::Dns, slot.times.dns_ms),
            (Timed::Connect, slot.times.connect_ms),
        ] {
            if let Some(value) = value {
                self.latencies.record(what, ms(value));
            }
        }
        let age = (self.now - self.start).as_millis() as u64 - slot.times.accepted_ms;
        self.latencies.record(Timed::Session, Duration::from_millis(age));
    }

    fn record(&mut self, slot: &Slot, reason: Reason) {
        assert!(!std::mem::take(&mut self.fails_to_record), "asked to");
        let facts = &slot.facts;
        let duration_ms = self.ms(self.now).saturating_sub(slot.times.accepted_ms);
        let verified = facts.identity.as_ref().and_then(Identity::user).map(|user| &**user);
        // A BIND has its first success before there is a peer, and an association has no upstream.
        let relayed = slot.upstream_index != CLIENT_SOCKET || matches!(slot.phase, Phase::Association(_));
        let (up, down) = match &slot.phase {
            Phase::Association(association) => (association.up.datagrams, association.down.datagrams),
            _ => (0, 0),
        };
        let record = AccessRecord {
            time: began(SystemTime::now(), duration_ms),
            id: &format!("{:08x}{:02x}{:010x}", self.boot, self.number, slot.key.serial()),
            worker: self.number,
            client: slot.peer,
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
            address: slot.address,
            local: slot.local,
            reply: facts.reply.map(|reply| reply.code()),
            reason,
            engine: relayed.then(|| match &slot.phase {
                Phase::Association(_) => "datagram",
                _ => slot.engine.name(),
            }),
            bytes_up: slot.bytes_up,
            bytes_down: slot.bytes_down,
            datagrams_up: up,
            datagrams_down: down,
            handshake_ms: slot.times.handshake_ms,
            dns_ms: slot.times.dns_ms,
            connect_ms: slot.times.connect_ms,
            duration_ms,
        };
        self.records.write(&record, usize::from(slot.record_room), self.now);
        let Phase::Association(association) = &slot.phase else { return };
        for tallied in association.tally().into_iter().flat_map(Tally::lines) {
            let AccessRecord { time, id, worker, client, user, .. } = record;
            let target = TargetRecord { time, id, worker, client, user, tallied };
            self.records.write_target(&target, self.now);
        }
    }
}

/// When something began that has lasted so long now, by a clock that may have jumped meanwhile.
fn began(now: SystemTime, duration_ms: u64) -> SystemTime {
    now.checked_sub(Duration::from_millis(duration_ms)).unwrap_or(now)
}
