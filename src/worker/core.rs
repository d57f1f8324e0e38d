//! What every session of a worker uses: clock, timers, kit, resolver, caches; and how a session is buried.

use super::Setup;
use super::handshake::Next;
use super::login::Logins;
use super::mailbox::Mailbox;
use super::names::Names;
use super::pools::Pools;
use super::ports::Searches;
use super::records::Records;
use super::refusals::Refusals;
use super::slot::{Fate, Phase, Slot, Waits};
use super::timers::Wheel;
use super::tokens::{CLIENT_PORT, Key};
use super::translators::Translators;
use super::watch::Edge;
use crate::auth::gssapi::Acceptor;
use crate::auth::{Identity, Verifier};
use crate::config::{AuthMethod, Config, RelayMode};
use crate::dns;
use crate::limits;
use crate::observe::{AccessRecord, Counters, Latencies, TargetRecord};
use crate::policy::own_ports::OwnPorts;
use crate::policy::sources::Sources;
use crate::proto::request::RequestCommand;
use crate::relay::datagram::{DatagramKit, Tally};
use crate::relay::{Kit, Mode, Side};
use crate::session::{Reason, Rules};
use crate::sys::congestion::Congestion;
use crate::sys::pipe::Pipe;
use mio::Registry;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What a turn moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    pub(super) datagrams: u64,
    /// They were of another association than those before, so that there are several.
    pub(super) several: bool,
    /// A session that is no association had an event.
    pub(super) streams: bool,
}

impl Turn {
    /// Datagrams came in driblets, and nothing else came: the next turn may come a little later, for more of them. Not
    /// for one association alone: it may be waiting for the very answers that would be held up.
    pub(super) fn dribbled(self) -> bool {
        self.several && !self.streams && limits::UDP_DRIBLET.contains(&self.datagrams)
    }
}

/// The part of a worker that sessions work with.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) number: usize,
    pub(super) boot: u32,
    pub(super) congestion: Congestion,
    pub(super) start: Instant,
    /// Read once a turn.
    pub(super) now: Instant,
    pub(super) registry: Registry,
    pub(super) mailbox: Mailbox,
    pub(super) config: Arc<Config>,
    pub(super) rules: Arc<Rules>,
    pub(super) verifier: Option<Arc<Verifier>>,
    pub(super) gssapi: Option<Arc<Acceptor>>,
    pub(super) pools: Pools,
    pub(super) logins: Logins,
    pub(super) wheel: Wheel,
    pub(super) kit: Kit<Pipe>,
    pub(super) names: Names,
    /// `None` where nobody is asked for any.
    pub(super) translators: Option<Translators>,
    /// What `names` goes by.
    pub(super) dns: Arc<dns::Settings>,
    pub(super) counters: Arc<Counters>,
    pub(super) latencies: Latencies,
    pub(super) records: Records,
    /// Refusals on their way into the log.
    pub(super) refusals: Refusals,
    /// Sessions with more to do than one turn gives them.
    pub(super) queue: Vec<Key>,
    /// Sessions that look on for a port.
    pub(super) searches: Searches,
    /// Sessions that are there, as many descriptors as two each.
    pub(super) sessions: usize,
    /// Those of them that are associations: they count twice, for their target-facing sockets.
    pub(super) associations: usize,
    pub(super) ceiling: usize,
    pub(super) turn: Turn,
    /// The association that moved last.
    pub(super) moved_last: Option<Key>,
    /// Changes with `rules`.
    pub(super) rules_version: u64,
    pub(super) own_ports: Arc<OwnPorts>,
    pub(super) sources: Option<Arc<Sources>>,
    /// How a test has the next record panic.
    pub(super) fails_to_record: bool,
    /// Made for the first association.
    pub(super) datagrams: Option<Box<DatagramKit>>,
}

impl Core {
    pub(super) fn new(registry: Registry, mailbox: Mailbox, setup: &Setup) -> Core {
        let mode = match setup.config.server.relay {
            RelayMode::Auto => Mode::Auto,
            RelayMode::Splice => Mode::Splice,
            RelayMode::Copy => Mode::Copy,
        };
        let start = Instant::now();
        Core {
            number: setup.number,
            boot: setup.boot,
            congestion: setup.congestion,
            start,
            now: start,
            registry,
            mailbox,
            config: setup.config.clone(),
            rules: setup.rules.clone(),
            verifier: setup.verifier.clone(),
            gssapi: setup.gssapi.clone(),
            pools: Pools::new(setup.second_attempts_max),
            logins: Logins::default(),
            wheel: Wheel::new(),
            kit: Kit::new(mode, setup.pipes_max),
            names: Names::new(setup.dns.clone(), setup.names_beside_max),
            translators: Translators::wanted(&setup.config.dns.dns64, setup.dns.prefer, start),
            dns: setup.dns.clone(),
            counters: setup.counters.clone(),
            latencies: Latencies::default(),
            records: Records::new(setup.records.clone(), setup.config.log.on_full),
            refusals: Refusals::default(),
            queue: Vec::new(),
            searches: Searches::default(),
            sessions: 0,
            associations: 0,
            ceiling: setup.ceiling,
            turn: Turn::default(),
            moved_last: None,
            rules_version: 0,
            own_ports: setup.own_ports.clone(),
            sources: setup.sources.clone(),
            fails_to_record: false,
            datagrams: None,
        }
    }

    /// Whether a session has more to do without an event.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() || !self.searches.is_empty()
    }

    /// Whether another session would have no descriptors.
    pub(super) fn full(&self) -> bool {
        self.sessions + self.associations >= self.ceiling
    }

    /// Milliseconds from the worker's start to a moment.
    pub(super) fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_millis() as u64
    }

    /// (Re)arms a session's timer.
    pub(super) fn arm(&mut self, key: Key, at: Instant) {
        self.wheel.set(key.index, at.saturating_duration_since(self.start));
    }

    /// Lets a session go on in the next turn without an event.
    pub(super) fn enqueue(&mut self, key: Key, slot: &mut Slot) {
        if !slot.queued {
            slot.queued = true;
            self.queue.push(key);
        }
    }

    /// An event of one of a session's sockets.
    pub(super) fn event(&mut self, key: Key, slot: &mut Slot, port: u8, edge: Edge) -> Fate {
        self.turn.streams |= !matches!(slot.phase, Phase::Association(_));
        match &slot.phase {
            Phase::Handshake(_) if port == CLIENT_PORT => self.client_event(key, slot, edge),
            Phase::Handshake(handshake) if handshake.listens() => self.accept_peer(key, slot),
            Phase::Handshake(_) => self.dial_event(key, slot, port, edge),
            Phase::Relay(_) => self.relay_event(key, slot, port, edge),
            Phase::Association(_) => self.association_event(key, slot, port, edge),
            Phase::Linger(_) => self.linger_event(key, slot),
        }
    }

    /// A session that had more to do.
    pub(super) fn resume(&mut self, key: Key, slot: &mut Slot) -> Fate {
        match &slot.phase {
            Phase::Handshake(handshake) if handshake.listens() => self.accept_peer(key, slot),
            Phase::Handshake(handshake) if handshake.session.wants_bytes() => {
                self.advance(key, slot, Next::Read)
            }
            Phase::Handshake(_) => Fate::Keep,
            Phase::Relay(_) => self.drive(key, slot),
            Phase::Association(_) => self.resume_association(key, slot),
            Phase::Linger(_) => self.linger_event(key, slot),
        }
    }

    /// A session's timer fired; it may be early.
    pub(super) fn timer(&mut self, key: Key, slot: &mut Slot) -> Fate {
        match &slot.phase {
            Phase::Handshake(_) => self.handshake_timer(key, slot),
            Phase::Relay(_) => self.relay_timer(key, slot),
            Phase::Association(_) => self.association_timer(key, slot),
            Phase::Linger(_) => self.linger_timer(key, slot),
        }
    }

    /// Ends a session for good: gives everything back, counts it, records it.
    pub(super) fn bury(&mut self, index: usize, mut slot: Slot, reason: Reason) {
        // Before all else: whatever panics below, the session is gone.
        self.counters.close(reason);
        self.wheel.cancel(index);
        self.sessions -= 1;
        match &mut slot.phase {
            Phase::Handshake(handshake) => {
                if let Waits::Addresses = handshake.waits_for {
                    let ticket = Key::new(index, slot.serial).ticket();
                    self.names.cancel(ticket, &self.registry, self.now);
                }
                let session = std::mem::take(&mut handshake.session);
                slot.facts = session.into_facts();
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
            Phase::Association(_) => self.settle_association(Key::new(index, slot.serial), &mut slot),
            Phase::Linger(_) => {}
        }
        self.observe(&slot);
        if self.records.wanted() {
            self.record(&slot, reason);
        }
    }

    pub(super) fn note_pipes(&self) {
        let (lent, pooled) = self.kit.pipes();
        self.counters.pipes(lent, pooled, self.kit.pipe_fallbacks);
    }

    fn observe(&mut self, slot: &Slot) {
        let ms = |value: u32| Duration::from_millis(value.into());
        let latencies = &mut self.latencies;
        for (histogram, value) in [
            (&mut latencies.handshake, slot.times.handshake_ms),
            (&mut latencies.dns, slot.times.dns_ms),
            (&mut latencies.connect, slot.times.connect_ms),
        ] {
            if let Some(value) = value {
                Latencies::record(histogram, ms(value));
            }
        }
        let age = (self.now - self.start).as_millis() as u64 - slot.times.accepted_ms;
        Latencies::record(&mut latencies.session, Duration::from_millis(age));
    }

    fn record(&mut self, slot: &Slot, reason: Reason) {
        assert!(!std::mem::take(&mut self.fails_to_record), "asked to");
        let facts = &slot.facts;
        let duration_ms = self.ms(self.now).saturating_sub(slot.times.accepted_ms);
        let verified = facts.identity.as_ref().and_then(Identity::user).map(|user| &**user);
        // A BIND has its first success before there is a peer, and an association has no upstream.
        let relayed = slot.upstream_port != CLIENT_PORT || matches!(slot.phase, Phase::Association(_));
        let (up, down) = match &slot.phase {
            Phase::Association(association) => (association.up.datagrams, association.down.datagrams),
            _ => (0, 0),
        };
        let record = AccessRecord {
            time: began(SystemTime::now(), duration_ms),
            id: &format!("{:08x}{:02x}{:010x}", self.boot, self.number, slot.serial),
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
