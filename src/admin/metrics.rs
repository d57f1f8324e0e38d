//! `/metrics`: what the workers counted, what others counted beside them, and what was timed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::answer::HttpAnswer;
use super::latencies::WorkerLatencies;
use super::process::process_use;
use super::standing::InEffect;
use super::status::HttpStatus;
use crate::auth::Verifier;
use crate::auth::gssapi::ContextQueue;
use crate::config::Choice;
use crate::limits;
use crate::observe::{
    Counted, Counters, EXPOSITION_TYPE, LineSender, Observed, Queue, Totals, WorkerObserved, exposition,
    parents_told,
};
use crate::state::{StoreHealth, StoreTold};
use crate::worker::Mailbox;

/// What is counted by others than the workers: queues, and what was lost in them. Shared by whoever tells of it.
#[derive(Clone, Debug, Default)]
pub struct Beside(Arc<Mutex<Others>>);

#[derive(Debug, Default)]
struct Others {
    records: Option<LineSender>,
    /// Records that queues before this one lost.
    records_lost: u64,
    log: Option<LineSender>,
    /// Not kept by this: its threads end with the last who verifies.
    logins: Weak<Verifier>,
    contexts: Option<ContextQueue>,
    quota_store: Option<Arc<StoreHealth>>,
}

impl Beside {
    /// Access records go here, and passwords are verified by this.
    pub fn of(records: Option<LineSender>, verifier: Option<&Arc<Verifier>>) -> Beside {
        let beside = Beside::default();
        beside.set_records(records);
        beside.set_logins(verifier);
        beside
    }

    /// Access records go here from now on.
    pub fn set_records(&self, records: Option<LineSender>) {
        let mut others = self.lock();
        others.records_lost += others.records.as_ref().map_or(0, LineSender::lost);
        others.records = records;
    }

    /// Log lines go here from now on.
    pub fn set_log(&self, log: LineSender) {
        self.lock().log = Some(log);
    }

    /// Passwords are verified by this from now on.
    pub fn set_logins(&self, verifier: Option<&Arc<Verifier>>) {
        self.lock().logins = verifier.map(Arc::downgrade).unwrap_or_default();
    }

    /// Tokens of security contexts wait here from now on.
    pub fn set_contexts(&self, contexts: Option<ContextQueue>) {
        self.lock().contexts = contexts;
    }

    /// What is used of quotas is kept by this.
    pub fn set_quota_store(&self, health: Option<Arc<StoreHealth>>) {
        self.lock().quota_store = health;
    }

    /// How the store of quotas fares, where there is one.
    pub fn quota_store(&self, now: Instant) -> Option<StoreTold> {
        self.lock().quota_store.as_ref().map(|health| health.told(now))
    }

    /// Adds what is counted here, and the letters that wait in these mailboxes.
    pub fn add_to<'a>(&self, totals: &mut Totals, mailboxes: impl Iterator<Item = &'a Mailbox>) {
        let others = self.lock();
        let lost = |lines: &Option<LineSender>| lines.as_ref().map_or(0, LineSender::lost);
        let room = |lines: &Option<LineSender>| lines.as_ref().map_or((0, 0), LineSender::room);
        let letters = mailboxes
            .fold((0, 0), |(used, max), mailbox| (used + mailbox.waiting(), max + limits::MAILBOX_MAX));
        totals.set(Counted::RecordsLost, others.records_lost + lost(&others.records));
        totals.set(Counted::LogLinesLost, lost(&others.log));
        totals.set_queue(Queue::Records, room(&others.records));
        totals.set_queue(Queue::Log, room(&others.log));
        totals.set_queue(Queue::Mailboxes, letters);
        totals.set_queue(Queue::Logins, others.logins.upgrade().map_or((0, 0), |verifier| verifier.load()));
        totals.set_queue(Queue::Contexts, others.contexts.as_ref().map_or((0, 0), ContextQueue::load));
    }

    fn lock(&self) -> MutexGuard<'_, Others> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a scrape: what was counted until this moment, and what these workers, of these counters, timed.
pub(super) fn scrape<'a>(
    totals: Totals,
    in_effect: &InEffect,
    quota_store: Option<StoreTold>,
    counters: impl Iterator<Item = &'a Counters> + Clone,
    told: &WorkerLatencies,
) -> HttpAnswer {
    let observed = |(number, counters): (usize, &Counters)| {
        told.of_worker(number).map(|latencies| WorkerObserved::of(counters, latencies)).unwrap_or_default()
    };
    let now = Instant::now();
    let text = exposition(Observed {
        relay: in_effect.config.server.relay.name(),
        totals,
        latencies: told.merged(),
        rules: in_effect.rules.told(counters.clone()),
        limits: in_effect.limits.told(counters.clone()),
        listeners: in_effect.listeners.told(counters.clone()),
        pools: in_effect.egress.told(now),
        parents: parents_told(in_effect.rules.parents.as_deref(), counters.clone(), now),
        quota_store,
        workers: counters.enumerate().map(observed).collect(),
        process: process_use(),
    });
    HttpAnswer::new(HttpStatus::OK, EXPOSITION_TYPE, text.into_bytes())
}
