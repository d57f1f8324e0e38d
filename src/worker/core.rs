//! What every session of a worker uses: clock, timers, kit, resolver, caches.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Registry;

use super::connection::{Connection, Led};
use super::logins::Logins;
use super::lookups::Lookups;
use super::mailbox::Mailbox;
use super::memory_room::MemoryRoom;
use super::pools::Pools;
use super::ports::Searches;
use super::records::Records;
use super::refusals::Refusals;
use super::setup::{Inherited, Setup};
use super::snapshot::Snapshot;
use super::timers::Wheel;
use super::tokens::{Key, TRANSLATORS_TICKET};
use super::translators::{NAME, Translators, say};
use super::warm::Warm;
use crate::dns::{Answer, DnsError};
use crate::limits;
use crate::observe::talkers::Talkers;
use crate::observe::{
    Counted, Counters, Latencies, NameAnswer, NeedsTold, Queue, Recall, Remembered, ShedCause, Timed,
};
use crate::policy::egress::{Egress, PoolTurns};
use crate::policy::own_ports::OwnPorts;
use crate::policy::parents::ParentTurns;
use crate::policy::rule_names::{GUARD_NAME, RuleNames};
use crate::policy::{DecidedBy, Decision, Denial, Policy};
use crate::relay::Kit;
use crate::relay::datagram::DatagramKit;
use crate::session::{Facts, Failure, Rules};
use crate::shares;
use crate::sys::pipe::Pipe;

/// What moved in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) datagrams: u64,
    /// Whether datagrams of more than one association were moved.
    pub(super) several: bool,
    /// Whether a session that is no association had an event.
    pub(super) streams: bool,
}

impl Traffic {
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
    pub(super) start: Instant,
    /// Read once a turn.
    pub(super) now: Instant,
    pub(super) registry: Registry,
    pub(super) mailbox: Mailbox,
    /// The newest snapshot: what is accepted from now on goes by it.
    pub(super) snapshot: Arc<Snapshot>,
    /// The policy that was given with it.
    pub(super) given_policy: Arc<Policy>,
    /// That policy, with the translators that this worker knows of.
    pub(super) policy: Arc<Policy>,
    pub(super) pools: Pools,
    /// The pools that sessions leave from, where there are any: in memory that no other worker counts in.
    pub(super) egress: Option<Arc<Egress>>,
    /// Whose turn it is in them.
    pub(super) turns: PoolTurns,
    pub(super) logins: Logins,
    pub(super) wheel: Wheel,
    /// When sessions go on that wait for what their limits allow.
    pub(super) held_back: Wheel,
    pub(super) kit: Kit<Pipe>,
    pub(super) lookups: Lookups,
    /// Idle connections to servers of parents.
    pub(super) warm: Warm,
    /// Looks at servers of parents that are under way, a descriptor each.
    pub(super) looks: usize,
    /// What sessions go through that a parent leads, by their places in the slab: most have none.
    led: HashMap<usize, Box<Led>>,
    /// Whose turn it is among the servers of parents.
    pub(super) parent_turns: ParentTurns,
    /// `None` where nobody is asked for any.
    pub(super) translators: Option<Translators>,
    pub(super) counters: Arc<Counters>,
    pub(super) latencies: Latencies,
    pub(super) records: Records,
    /// Refusals on their way into the log.
    pub(super) refusals: Refusals,
    /// Who is busiest; `None` where nobody can ask.
    pub(super) talkers: Option<Box<Talkers>>,
    /// What was told of what sessions need; `None` where that is not learned.
    pub(super) needs: Option<Box<NeedsTold>>,
    /// Sessions with more to do than one turn gives them.
    pub(super) queue: Vec<Key>,
    /// Sessions that look on for a port.
    pub(super) searches: Searches,
    /// The serial of the next session.
    pub(super) next_serial: u64,
    /// Connections that are there, as many descriptors as two each.
    pub(super) sessions: usize,
    /// How many of them wait for another request: see [`super::kept`].
    pub(super) kept: usize,
    /// The server drains: no connection is kept any more.
    pub(super) drains: bool,
    /// How many of the sessions are associations: each counts twice, for its target-facing sockets.
    pub(super) associations: usize,
    /// What moved in the present turn.
    pub(super) traffic: Traffic,
    /// Steps of TLS handshakes that were taken in it.
    pub(super) tls_steps: usize,
    /// The association that moved last.
    pub(super) moved_last: Option<Key>,
    /// Changes with `policy`.
    pub(super) policy_version: u64,
    /// The names of rules, of which every record has one: in memory that no other worker counts in.
    pub(super) rule_names: RuleNames,
    pub(super) guard_name: Arc<str>,
    pub(super) own_ports: Arc<OwnPorts>,
    pub(super) memory: Arc<MemoryRoom>,
    /// How a test has the next record panic.
    pub(super) fails_to_record: bool,
    /// Made for the first association.
    pub(super) datagrams: Option<Box<DatagramKit>>,
}

impl Core {
    pub(super) fn new(registry: Registry, mailbox: Mailbox, setup: &Setup, inherited: Inherited) -> Core {
        let Inherited { snapshot, policy: given_policy, latencies, shown, first_serial, .. } = inherited;
        let start = Instant::now();
        let Snapshot { config, dns, ceilings, .. } = &*snapshot;
        let translators = Translators::wanted(&config.dns.dns64, dns.prefer, shown, start);
        let policy = with_translators(&given_policy, translators.as_ref());
        let core = Core {
            number: setup.number,
            boot: setup.boot,
            start,
            now: start,
            registry,
            mailbox,
            pools: Pools::new(ceilings.second_attempts),
            egress: apart(&snapshot),
            turns: PoolTurns::new(rand::random()),
            logins: Logins::default(),
            wheel: Wheel::new(limits::WHEEL_TICK_MS),
            held_back: Wheel::new(limits::LIMIT_TICK_MS),
            kit: Kit::new(ceilings.pipes),
            lookups: Lookups::new(dns.clone(), ceilings.names_beside),
            warm: Warm::default(),
            looks: 0,
            led: HashMap::new(),
            parent_turns: ParentTurns::new(rand::random()),
            given_policy,
            policy,
            translators,
            counters: setup.counters.clone(),
            latencies,
            records: Records::new(snapshot.records.clone(), &config.log),
            refusals: Refusals::default(),
            talkers: None,
            needs: snapshot.learn.clone().map(|sender| Box::new(NeedsTold::new(sender))),
            queue: Vec::new(),
            searches: Searches::default(),
            next_serial: first_serial,
            sessions: 0,
            kept: 0,
            drains: false,
            associations: 0,
            traffic: Traffic::default(),
            tls_steps: 0,
            moved_last: None,
            policy_version: 0,
            rule_names: snapshot.rule_names.apart(),
            guard_name: GUARD_NAME.into(),
            own_ports: setup.own_ports.clone(),
            memory: setup.memory.clone(),
            fails_to_record: false,
            datagrams: None,
            snapshot,
        };
        core.note_ceilings();
        core.note_nothing();
        core
    }

    /// Whether a session has more to do without an event. An answer to a lookup waits here where other name servers brought
    /// it about, between two turns.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() || !self.searches.is_empty() || !self.lookups.answers.is_empty()
    }

    /// Whether another session would have no descriptors, or no memory.
    pub(super) fn full(&self) -> bool {
        self.held() >= self.snapshot.ceilings.sessions || self.lacks_memory()
    }

    /// How many sessions' descriptors are held.
    fn held(&self) -> usize {
        self.sessions + self.associations + self.warm.len() + self.looks
    }

    /// What is kept between two requests counts by what it uses, which whoever looked has seen.
    fn lacks_memory(&self) -> bool {
        self.sessions - self.kept >= self.memory.sessions()
    }

    /// Why there is no place for another session.
    pub(super) fn shed_cause(&self) -> ShedCause {
        match self.snapshot.config.server.max_connections {
            _ if self.held() < self.snapshot.ceilings.sessions => ShedCause::Memory,
            0 => ShedCause::Descriptors,
            _ => ShedCause::Connections,
        }
    }

    /// Whether another session has a place: what is kept for another request makes room, or idle.
    pub(super) fn has_room(&self) -> bool {
        !self.full() || self.kept > 0 || !self.warm.is_empty()
    }

    /// The serial of another session.
    pub(super) fn take_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial - 1
    }

    /// Milliseconds from the worker's start to a moment.
    pub(super) fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_millis() as u64
    }

    /// Counts how long something took that began then, and says it in milliseconds.
    pub(super) fn time(&mut self, what: Timed, began: Instant) -> u32 {
        let took = self.now.saturating_duration_since(began);
        self.latencies.record(what, took);
        u32::try_from(took.as_millis()).unwrap_or(u32::MAX)
    }

    /// (Re)arms a session's timer.
    pub(super) fn arm(&mut self, key: Key, at: Instant) {
        self.wheel.set(key.index(), at.saturating_duration_since(self.start));
    }

    /// Lets a session go on behind this millisecond without an event.
    pub(super) fn hold_back(&mut self, key: Key, at_ms: u64) {
        self.held_back.set(key.index(), Duration::from_millis(at_ms));
    }

    /// Lets a session go on in the next turn without an event.
    pub(super) fn enqueue(&mut self, connection: &mut Connection) {
        if !connection.queued {
            connection.queued = true;
            self.queue.push(connection.key);
        }
    }

    /// Whether a handshake of TLS may take another step in this turn, which counts it.
    pub(super) fn may_step(&mut self) -> bool {
        self.tls_steps += 1;
        self.tls_steps <= limits::TLS_STEPS_PER_TURN
    }

    pub(super) fn note_pipes(&mut self) {
        let (lent, pooled) = self.kit.pipes();
        self.counters.pipes(lent, pooled);
        self.counters.pipe_fallbacks(self.kit.take_pipe_fallbacks());
    }

    /// Counts what the resolver did, where it did anything since this was last asked.
    pub(super) fn note_names(&mut self) {
        let Some(done) = self.lookups.take_done() else { return };
        self.counters.add(Counted::Recalled(Remembered::Names, Recall::Hit), done.hits);
        self.counters.add(Counted::Recalled(Remembered::Names, Recall::Miss), done.misses);
        self.counters.add(Counted::NameServerAnswers, self.lookups.take_server_answers());
        self.counters.set(Counted::QueueUsed(Queue::Names), self.lookups.names() as u64);
    }

    /// Counts the answer to a name that a session asked for.
    pub(super) fn note_answer<T>(&self, answer: &Result<T, DnsError>) {
        self.counters.count(Counted::Name(NameAnswer::of(answer)));
    }

    /// Through which server of which parent the session on a connection goes, or was to.
    pub(super) fn led(&self, key: Key) -> Option<&Led> {
        self.led.get(&key.index()).map(|led| &**led)
    }

    /// The session on a connection goes through this, and through nothing that it went through before.
    pub(super) fn put_led(&mut self, key: Key, led: Option<Box<Led>>) {
        if led.is_none() && self.led.is_empty() {
            return;
        }
        if let Some(led) = led.as_ref().filter(|led| led.held) {
            self.parent_turns.hold(led.number);
            self.counters.parent_servers.begins(led.number);
        }
        let before = match led {
            Some(led) => self.led.insert(key.index(), led),
            None => self.led.remove(&key.index()),
        };
        if let Some(before) = before.filter(|before| before.held) {
            self.parent_turns.release(before.number);
            self.counters.parent_servers.ends(before.number);
        }
    }

    /// The answer of a session's lookup for which no more time is left.
    pub(super) fn give_up_lookup<T>(&mut self, key: Key) -> Result<T, DnsError> {
        self.lookups.cancel(key.ticket(), &self.registry, self.now);
        let answer = Err(DnsError::Timeout);
        self.note_answer(&answer);
        answer
    }

    /// The name of what decided.
    pub(super) fn name_of(&self, by: DecidedBy) -> Option<&Arc<str>> {
        match by {
            DecidedBy::Guard => Some(&self.guard_name),
            DecidedBy::Rule(rule) | DecidedBy::NoPool(_, rule) => self.rule_names.of(rule),
        }
    }

    /// Counts for its rule what policy decided. Where there are no rules nothing is counted.
    pub(super) fn note_decision(&self, decision: &Decision) {
        if self.policy.rules().is_some() {
            self.counters.rules.count(decision);
        }
    }

    /// Tells the log of a session that failed, of which this is known if it made a request: by policy only where that is to be told.
    pub(super) fn tell_refusal(&mut self, client: IpAddr, failure: &Failure, facts: Option<&Facts>) {
        let decision = facts.and_then(|facts| facts.decision);
        let by_policy = decision.filter(|_| matches!(failure, Failure::Denied(_)));
        if by_policy.is_none_or(|decision| decision.logged) {
            let by = match (failure, failure.limit()) {
                (Failure::Denied(Denial::NoPool(_)), _) => facts.and_then(Facts::no_pool).map(Arc::from),
                (_, Some(limit)) => self.snapshot.limit_name(limit).cloned(),
                (_, None) => by_policy.and_then(|decision| self.name_of(decision.by)).cloned(),
            };
            self.refusals.note(client, failure, by, self.now);
        }
    }

    /// Tells the log of a session that policy allowed.
    pub(super) fn tell_allowed(&mut self, client: IpAddr, decision: Decision) {
        let rule = self.name_of(decision.by).cloned();
        self.refusals.note_allowed(client, rule, self.now);
    }

    /// Shows that nothing is in use, whatever a worker that panicked here had.
    fn note_nothing(&self) {
        self.counters.associations(0);
        self.counters.pipes(0, 0);
        self.counters.set(Counted::QueueUsed(Queue::Names), 0);
    }

    /// Shows how many there may be of what is bounded.
    fn note_ceilings(&self) {
        self.counters.set(Counted::ConnectionsMax, self.snapshot.ceilings.sessions as u64);
        self.counters.set(Counted::QueueMax(Queue::Names), limits::DNS_NAMES as u64);
    }

    /// Asks for the prefixes, where it is time.
    pub(super) fn ask_for_translators(&mut self) {
        let now = self.now;
        if !self.translators.as_mut().is_some_and(|translators| translators.asks(now)) {
            return;
        }
        let nobody = shares::Source::from(IpAddr::from(Ipv4Addr::UNSPECIFIED));
        let answer = self.lookups.lookup_beside(NAME, nobody, TRANSLATORS_TICKET, &self.registry, now);
        if let Some(answer) = answer {
            self.learn_translators(&answer);
        }
    }

    /// What the servers answered.
    pub(super) fn learn_translators(&mut self, answer: &Answer) {
        let now = self.now;
        let Some(shown) = self.translators.as_mut().and_then(|translators| translators.take(answer, now))
        else {
            return;
        };
        // All workers ask the same servers.
        if self.number == 0 {
            say(&shown);
        }
        self.put_policy();
    }

    /// What a session is judged by that goes by this snapshot and came by the listener of this number.
    pub(super) fn rules<'a>(&'a self, snapshot: &'a Snapshot, listener: u16) -> Rules<'a> {
        let (auth, table) = (&snapshot.config.auth, snapshot.listener_table(listener));
        Rules {
            protocols: snapshot.config.protocols_of(table),
            methods: snapshot.config.methods_of(table),
            commands: snapshot.config.commands_of(table),
            protected: table.is_some_and(|table| table.tls.is_some()),
            gssapi: &auth.gssapi,
            http: &snapshot.config.http,
            resolve: snapshot.config.tor.resolve,
            socks4_ident: auth.socks4_ident,
            username: snapshot.username.as_deref(),
            policy: &self.policy,
            parents: self.snapshot.parents.as_deref(),
        }
    }

    /// Judges from now on by the policy that was given and the translators that are known here.
    fn put_policy(&mut self) {
        self.policy = with_translators(&self.given_policy, self.translators.as_ref());
        self.policy_version += 1;
    }

    /// Goes by these from now on, and leaves alone what has not changed; whether the rules are others.
    pub(super) fn put_snapshot(&mut self, snapshot: Arc<Snapshot>, policy: Arc<Policy>) -> bool {
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        let old_policy = std::mem::replace(&mut self.given_policy, policy);
        let new = &self.snapshot;
        let (other_policy, other_names) =
            (!Arc::ptr_eq(&old_policy, &self.given_policy), !Arc::ptr_eq(&old.dns, &new.dns));
        if new.ceilings != old.ceilings {
            self.pools.second_attempts.resize(new.ceilings.second_attempts);
            self.lookups.set_beside_max(new.ceilings.names_beside);
            self.kit.set_pipes_max(new.ceilings.pipes);
        }
        let one = |snapshot: &Snapshot| snapshot.egress.as_ref().map(Arc::as_ptr);
        if one(&old) != one(new) {
            self.egress = apart(new);
        }
        let one = |snapshot: &Snapshot| snapshot.parents.as_ref().map(Arc::as_ptr);
        if one(&old) != one(new) {
            self.warm.clear();
        }
        if !Arc::ptr_eq(&old.rule_names, &new.rule_names) {
            self.rule_names = new.rule_names.apart();
        }
        let told = self.needs.as_ref().map(|needs| needs.sender());
        let same = match (told, &new.learn) {
            (Some(told), Some(learn)) => told.is(learn),
            (told, learn) => told.is_none() && learn.is_none(),
        };
        if !same {
            self.needs = new.learn.clone().map(|sender| Box::new(NeedsTold::new(sender)));
        }
        self.note_ceilings();
        self.records.configure(new.records.as_ref(), &new.config.log, self.now);
        if other_names {
            self.lookups.configure(new.dns.clone(), &self.registry, self.now);
        }
        let wanted = Translators::wanted(&new.config.dns.dns64, new.dns.prefer, Vec::new(), self.now);
        let other_translators = wanted.is_some() != self.translators.is_some();
        if other_translators {
            self.translators = wanted;
        } else if other_policy || other_names {
            // Other servers are asked, or this machine has other addresses and may have them in another network.
            self.translators.iter_mut().for_each(|translators| translators.ask_anew(self.now));
        }
        let other_rules = other_policy && !old_policy.rules_as(&self.given_policy);
        if other_policy || other_translators {
            self.put_policy();
        }
        other_rules
    }
}

/// The pools of a snapshot, as a list of one worker's own.
fn apart(snapshot: &Snapshot) -> Option<Arc<Egress>> {
    snapshot.egress.as_ref().map(|egress| Arc::new(Egress::clone(egress)))
}

/// The policy with these translators, if there are any.
fn with_translators(policy: &Arc<Policy>, translators: Option<&Translators>) -> Arc<Policy> {
    translators.map_or_else(|| Arc::clone(policy), |known| known.add_to(policy))
}
