//! The resolver: names, tries and time. `dns` says what it does and what it leaves to a recursive server.
//!
//! A name has one job however many lookups wait for it. A job asks for its families on one UDP
//! exchange; a family that needs another try, or TCP, moves to an exchange of its own, so a job never
//! has more than two. Every job stands in `timers` under the one time at which it has to be looked at.
//! Everything that clients can fill is shared by where they come from: lookups, names, and `places`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use slab::Slab;

use super::cache::Cache;
use super::job::{Job, JobPhase, RecordQuestion, WaitingLookup};
use super::message::{self, RecordKind};
use super::places::{FRESH, JobKey, NamePlace, NamePlaces};
use super::servers::Servers;
use super::{DnsData, DnsError, ExchangeId, Learnt, ResolverAction, Settings, Transport};
use crate::limits::{DNS_LOOKUPS, DNS_NAMES, DNS_QUEUE_TICK, DNS_RESOLUTION_DELAY};
use crate::shares::{Shares, Source};

mod exchanges;
mod lookups;
mod queues;

/// The lookup of one caller: its job, its serial there, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    job: JobKey,
    serial: u64,
    client: Source,
}

/// How often the cache was asked for a name that the hosts file has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// It knew the answer.
    pub hits: u64,
    /// It did not.
    pub misses: u64,
}

/// A stub resolver for one worker. `now` never goes back from call to call.
#[derive(Debug)]
pub struct Resolver {
    settings: Arc<Settings>,
    servers: Servers,
    cache: Cache,
    cache_use: CacheUse,
    rng: StdRng,
    jobs: Slab<Job>,
    names: HashMap<Arc<str>, JobKey>,
    /// Lookups that wait.
    tickets: HashMap<u64, Lookup>,
    /// Live exchanges.
    exchanges: HashMap<ExchangeId, JobKey>,
    /// How many live exchanges are the second one of a job.
    seconds: usize,
    timers: BTreeSet<(Instant, JobKey)>,
    actions: VecDeque<ResolverAction>,
    places: NamePlaces,
    /// When the queues were looked at last; `None` where a place has come free since.
    looked: Option<Instant>,
    lookup_shares: Shares,
    name_shares: Shares,
    lingering: usize,
    next_exchange: u32,
    next_number: u64,
    /// Messages that answered a question, and that nobody was told of yet.
    server_answers: u64,
    /// The last time that was heard of, for calls that bring none.
    latest: Option<Instant>,
}

impl Resolver {
    /// A resolver with an empty cache. `seed` comes from the operating system's generator: query IDs
    /// are drawn from it.
    pub fn new(settings: Arc<Settings>, seed: [u8; 32]) -> Resolver {
        Resolver {
            servers: Servers::new(&settings.servers),
            cache: Cache::new(settings.cache_entries),
            cache_use: CacheUse::default(),
            rng: StdRng::from_seed(seed),
            places: NamePlaces::of(settings.names_in_flight()),
            looked: None,
            lookup_shares: Shares::of(DNS_LOOKUPS),
            name_shares: Shares::of(DNS_NAMES),
            settings,
            jobs: Slab::new(),
            names: HashMap::new(),
            tickets: HashMap::new(),
            exchanges: HashMap::new(),
            seconds: 0,
            timers: BTreeSet::new(),
            actions: VecDeque::new(),
            lingering: 0,
            next_exchange: 0,
            next_number: 0,
            server_answers: 0,
            latest: None,
        }
    }

    /// Learns of a name what is asked for, unless it is known.
    fn learn(
        &mut self,
        name: &str,
        kinds: &[RecordKind],
        client: Source,
        ticket: u64,
        now: Instant,
    ) -> Option<Learnt> {
        if let Some(answer) = self.cache.get(name, now) {
            self.cache_use.hits += 1;
            return Some(answer);
        }
        self.cache_use.misses += 1;
        if self.servers.len() == 0 {
            return Some(Err(DnsError::NoServers));
        }
        self.cancel(ticket);
        if !self.lookup_shares.take(client, 1) {
            return Some(Err(DnsError::Busy));
        }
        let key = match self.joinable(name, client, now).map_or_else(|| self.create(name, kinds, client), Ok)
        {
            Ok(key) => key,
            Err(error) => {
                self.lookup_shares.give(client, 1);
                return Some(Err(error));
            }
        };
        self.wait(key, client, ticket, now);
        self.start_queued(now);
        self.rearm(key);
        None
    }

    /// How often the cache was asked since this was last called.
    pub fn take_cache_use(&mut self) -> CacheUse {
        std::mem::take(&mut self.cache_use)
    }

    /// How many messages of servers answered a question since this was last called.
    pub fn take_server_answers(&mut self) -> u64 {
        std::mem::take(&mut self.server_answers)
    }

    /// How many names are being resolved, of at most [`DNS_NAMES`].
    pub fn names(&self) -> usize {
        self.jobs.len()
    }

    /// Forgets a lookup: no answer follows. What was asked for it alone may go on a little for the cache.
    pub fn cancel(&mut self, ticket: u64) {
        let Some(Lookup { job: key, client, .. }) = self.tickets.remove(&ticket) else { return };
        self.lookup_shares.give(client, 1);
        self.looked = None;
        self.jobs[key].waiting -= 1;
        if self.jobs[key].waiting > 0 {
            return;
        }
        match (self.jobs[key].phase, self.latest) {
            (JobPhase::Asking { .. }, Some(latest)) => self.linger(key, false, latest),
            _ => self.end(key),
        }
    }

    /// Goes on with other settings. Where other servers are to be asked, what the earlier ones said is forgotten, and
    /// who waits for them waits for these; the number of sockets stays.
    pub fn configure(&mut self, settings: Arc<Settings>, now: Instant) {
        self.latest = Some(now);
        let others = settings.servers != self.settings.servers;
        if settings.cache_entries != self.settings.cache_entries || settings.prefer != self.settings.prefer {
            // An answer may be of a family that is not wanted any more, or without one that is.
            self.cache = Cache::new(settings.cache_entries);
        }
        self.settings = settings;
        if !others {
            return;
        }
        self.servers = Servers::new(&self.settings.servers);
        self.cache.clear();
        let keys: Vec<JobKey> = self.jobs.iter().map(|(key, _)| key).collect();
        for key in keys {
            (0..2).for_each(|slot| self.close(key, slot));
            self.jobs[key].questions.iter_mut().for_each(RecordQuestion::restart);
            match self.jobs[key].phase {
                JobPhase::Queued => {}
                JobPhase::Lingering { .. } => self.end(key),
                JobPhase::Asking { .. } => {
                    let pending = self.jobs[key].pending();
                    self.retry(key, pending, now);
                    self.advance(key, now);
                }
            }
        }
        self.start_queued(now);
    }

    /// The next thing to do for the resolver; to be called until there is none, after every other call.
    pub fn poll_action(&mut self) -> Option<ResolverAction> {
        self.actions.pop_front()
    }

    /// Takes what came from the server: over UDP one datagram, over TCP any piece of the stream.
    pub fn received(&mut self, exchange: ExchangeId, bytes: &[u8], now: Instant) {
        self.latest = Some(now);
        let Some((key, slot)) = self.find(exchange) else { return };
        if self.attempt(key, slot).is_some_and(|attempt| attempt.transport == Transport::Udp) {
            self.message(key, slot, bytes, now);
        } else {
            let mut piece = bytes;
            // The exchange may end with any message in the piece.
            while self.exchanges.get(&exchange) == Some(&key) {
                let Some(message) = self.attempt(key, slot).and_then(|attempt| attempt.take(&mut piece))
                else {
                    break;
                };
                self.message(key, slot, &message, now);
            }
        }
        self.start_queued(now);
    }

    /// Notes that the socket could not be made, was refused, closed or reset.
    pub fn failed(&mut self, exchange: ExchangeId, now: Instant) {
        self.latest = Some(now);
        let Some((key, slot)) = self.find(exchange) else { return };
        self.abandon(key, slot, true, now);
        self.advance(key, now);
        self.start_queued(now);
    }

    /// When [`Resolver::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|&(when, _)| when);
        if !self.places.are_wanted() {
            return timer;
        }
        let look = self.looked.map_or(self.latest, |looked| Some(looked + DNS_QUEUE_TICK));
        timer.into_iter().chain(look).min()
    }

    /// Does what is due at `now`.
    pub fn expire(&mut self, now: Instant) {
        self.latest = Some(now);
        while let Some(&(when, key)) = self.timers.first()
            && when <= now
        {
            self.wake(key, now);
        }
        // Only now, so that names whose time ran out in the queue are not asked for first.
        self.start_queued(now);
    }

    /// Whether nothing is left of any lookup, and every share is given back.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
            && self.places.are_idle()
            && self.lookup_shares.held() + self.name_shares.held() == 0
            && self.exchanges.is_empty()
            && self.seconds == 0
    }

    // ---- jobs

    /// The job that a further lookup of the name may wait for.
    fn joinable(&mut self, name: &str, client: Source, now: Instant) -> Option<JobKey> {
        let key = *self.names.get(name)?;
        match self.jobs[key].phase {
            JobPhase::Queued => self.queue(key, client, FRESH),
            JobPhase::Asking { .. } => {}
            JobPhase::Lingering { answered: true, .. } => {
                self.end(key);
                return None;
            }
            JobPhase::Lingering { answered: false, .. } => {
                self.lingering -= 1;
                if self.places.enter(client, key, now) {
                    let place = NamePlace { client, since: now };
                    self.jobs[key].phase = JobPhase::Asking { place, give_up: now + self.settings.timeout };
                } else {
                    self.stop_asking(key);
                    self.queue(key, client, FRESH);
                }
            }
        }
        Some(key)
    }

    fn create(&mut self, name: &str, kinds: &[RecordKind], client: Source) -> Result<JobKey, DnsError> {
        // The dot tells what is asked for the name of an address from a client's own names, and is no part of it.
        let text = match kinds {
            [RecordKind::Pointer] => name.strip_suffix('.').unwrap_or(name),
            _ => name,
        };
        let wire = message::parse_name(text).ok_or(DnsError::NotFound)?;
        if !self.name_shares.take(client, 1) {
            return Err(DnsError::Busy);
        }
        let job = Job::new(name, wire, kinds, client);
        let name = Arc::clone(&job.name);
        let key = self.jobs.insert(job);
        self.names.insert(name, key);
        self.queue(key, client, FRESH);
        Ok(key)
    }

    fn wait(&mut self, key: JobKey, client: Source, ticket: u64, now: Instant) {
        let serial = self.number();
        let job = &mut self.jobs[key];
        if job.waiters.len() > 2 * job.waiting + 16 {
            // Many have left: what stands here stays in proportion to those who wait.
            job.waiters.retain(|waiter| is_there(&self.tickets, key, waiter));
        }
        job.waiters.push_back(WaitingLookup { ticket, serial, deadline: now + self.settings.timeout });
        job.waiting += 1;
        self.tickets.insert(ticket, Lookup { job: key, serial, client });
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Removes a job and closes what it has open. Whoever waits has been answered.
    fn end(&mut self, key: JobKey) {
        for slot in 0..2 {
            self.close(key, slot);
        }
        self.unqueue(key);
        let job = self.jobs.remove(key);
        debug_assert_eq!(job.waiting, 0);
        self.name_shares.give(job.owner, 1);
        match job.phase {
            JobPhase::Queued => {}
            JobPhase::Asking { place, .. } => self.places.leave(key, place),
            JobPhase::Lingering { .. } => self.lingering -= 1,
        }
        if let Some(when) = job.wake {
            self.timers.remove(&(when, key));
        }
        self.names.remove(&job.name);
    }

    fn rearm(&mut self, key: JobKey) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let next = job.next_wake();
        if job.wake == next {
            return;
        }
        if let Some(when) = std::mem::replace(&mut job.wake, next) {
            self.timers.remove(&(when, key));
        }
        if let Some(when) = next {
            self.timers.insert((when, key));
        }
    }

    // ---- time

    /// Looks at a job whose time has come.
    fn wake(&mut self, key: JobKey, now: Instant) {
        match self.jobs[key].phase {
            JobPhase::Queued => {
                // What came before it lost its place is better than nothing.
                let (answer, _) = self.jobs[key].answer(self.settings.prefer, now);
                self.answer_due(key, &answer, now);
                if self.jobs[key].waiting == 0 {
                    return self.end(key);
                }
            }
            JobPhase::Lingering { until, .. } if until <= now => {
                self.remember(key, now);
                return self.end(key);
            }
            JobPhase::Asking { give_up, .. } if give_up <= now => return self.give_up(key, now),
            // A waiter whose time is over before the job's has left: it must not wake the job again.
            JobPhase::Asking { .. } => self.answer_due(key, &Err(DnsError::Timeout), now),
            JobPhase::Lingering { .. } => {}
        }
        for slot in 0..2 {
            if self.attempt(key, slot).is_some_and(|attempt| attempt.deadline <= now) {
                self.abandon(key, slot, false, now);
            }
        }
        self.advance(key, now);
    }

    /// Answers the first waiters, whose time is over.
    fn give_up(&mut self, key: JobKey, now: Instant) {
        let (answer, _) = self.jobs[key].answer(self.settings.prefer, now);
        if answer.is_err() {
            self.answer_due(key, &answer, now);
        }
        let later = self.jobs[key].waiters.front().map(|waiter| waiter.deadline);
        if answer.is_ok() || self.jobs[key].waiting == 0 {
            self.remember(key, now);
            self.answer_all(key, &answer);
            return self.end(key);
        }
        // Others came later and have time left: a new start for them.
        for slot in 0..2 {
            self.close(key, slot);
        }
        let job = &mut self.jobs[key];
        if let JobPhase::Asking { give_up, .. } = &mut job.phase {
            *give_up = later.unwrap_or(now + self.settings.timeout);
        }
        job.hold = None;
        let pending = job.pending();
        job.questions.iter_mut().for_each(RecordQuestion::restart);
        self.retry(key, pending, now);
        self.advance(key, now);
    }

    /// After something happened to a job: answers, waits or goes on.
    fn advance(&mut self, key: JobKey, now: Instant) {
        let job = &mut self.jobs[key];
        let held = job.hold.is_some_and(|until| until <= now);
        if job.is_complete() {
            let (answer, _) = job.answer(self.settings.prefer, now);
            self.remember(key, now);
            self.answer_all(key, &answer);
            return self.end(key);
        }
        if held && matches!(job.phase, JobPhase::Asking { .. }) {
            let (answer, _) = job.answer(self.settings.prefer, now);
            self.remember(key, now);
            self.answer_all(key, &answer);
            return self.linger(key, true, now);
        }
        if job.hold.is_none() && job.may_answer_without_v6() {
            job.hold = Some(now + DNS_RESOLUTION_DELAY);
        }
        self.rearm(key);
    }

    /// Puts what is known into the cache. Failures only if there was somebody to try for: a question
    /// that lingers is not tried again, so its failure says little.
    fn remember(&mut self, key: JobKey, now: Instant) {
        let job = &self.jobs[key];
        let (answer, until) = job.answer(self.settings.prefer, now);
        let failure = matches!(answer, Err(DnsError::ServerFailure | DnsError::Timeout));
        if until > now && !(failure && matches!(job.phase, JobPhase::Lingering { .. })) {
            self.cache.insert(&job.name, answer, until, now);
        }
    }

    fn answer_all(&mut self, key: JobKey, answer: &Learnt) {
        while let Some(waiter) = self.jobs[key].waiters.pop_front() {
            self.answer_one(key, waiter, answer);
        }
    }

    fn answer_due(&mut self, key: JobKey, answer: &Learnt, now: Instant) {
        while let Some(waiter) = self.jobs[key].waiters.pop_front_if(|waiter| waiter.deadline <= now) {
            self.answer_one(key, waiter, answer);
        }
    }

    fn answer_one(&mut self, key: JobKey, waiter: WaitingLookup, answer: &Learnt) {
        if is_there(&self.tickets, key, &waiter)
            && let Some(Lookup { client, .. }) = self.tickets.remove(&waiter.ticket)
        {
            self.lookup_shares.give(client, 1);
            self.jobs[key].waiting -= 1;
            let (ticket, learnt) = (waiter.ticket, answer.clone());
            self.actions.push_back(match self.jobs[key].asks_for_a_name() {
                true => ResolverAction::Named { ticket, answer: DnsData::name(learnt) },
                false => ResolverAction::Answer { ticket, answer: DnsData::addresses(learnt) },
            });
        }
    }
}

/// Whether one who waits for a job has not left.
fn is_there(tickets: &HashMap<u64, Lookup>, job: JobKey, waiter: &WaitingLookup) -> bool {
    tickets.get(&waiter.ticket).is_some_and(|lookup| (lookup.job, lookup.serial) == (job, waiter.serial))
}
