//! Which names are asked for now: how a job gets its place, gives it away, and waits for another one.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::time::Instant;

use super::{Resolver, is_there};
use crate::dns::job::JobPhase;
use crate::dns::places::{AGAIN, JobKey, NamePlace, QueueTurn};
use crate::limits::{DNS_LINGER, DNS_QUEUE_LOOKS};
use crate::shares::Source;

impl Resolver {
    /// Has a name wait in the queue of one more source.
    pub(super) fn queue(&mut self, key: JobKey, client: Source, class: u64) {
        let number = class | self.number();
        if let Entry::Vacant(vacant) = self.jobs[key].queued.entry(client) {
            vacant.insert(number);
            self.places.queue(client, number, key);
        }
    }

    pub(super) fn unqueue(&mut self, key: JobKey) {
        for (client, number) in self.jobs[key].queued.drain() {
            self.places.unqueue(client, number);
        }
    }

    pub(super) fn start_queued(&mut self, now: Instant) {
        self.looked = Some(now);
        let mut passed = 0;
        while passed < DNS_QUEUE_LOOKS.min(self.places.in_line()) {
            match self.places.turn(now) {
                None => return,
                Some(QueueTurn::Pass) => passed += 1,
                Some(QueueTurn::Start(key, client)) => self.start(key, client, now),
                Some(QueueTurn::Instead(key, client, victim)) => {
                    self.give_way(victim, now);
                    self.start(key, client, now);
                }
            }
        }
    }

    /// Asks for a name that has got a place.
    pub(super) fn start(&mut self, key: JobKey, client: Source, now: Instant) {
        self.unqueue(key);
        let deadline = self.jobs[key].waiters.front().map_or(now, |waiter| waiter.deadline);
        self.jobs[key].phase =
            JobPhase::Asking { place: NamePlace { client, since: now }, give_up: deadline };
        let pending = self.jobs[key].pending();
        self.retry(key, pending, now);
        self.advance(key, now);
    }

    /// Has a name that lost its place wait for another one, in the queues of all who wait for it and behind what has not
    /// been asked for yet.
    pub(super) fn give_way(&mut self, key: JobKey, now: Instant) {
        self.jobs[key].phase = JobPhase::Queued;
        if self.jobs[key].hold.is_some() {
            // All but AAAA is there.
            let (answer, _) = self.jobs[key].answer(self.settings.prefer, now);
            self.remember(key, now);
            self.answer_all(key, &answer);
            return self.end(key);
        }
        self.stop_asking(key);
        let waiters = self.jobs[key].waiters.iter().filter(|waiter| is_there(&self.tickets, key, waiter));
        let clients: HashSet<Source> = waiters.map(|waiter| self.tickets[&waiter.ticket].client).collect();
        for client in clients {
            self.queue(key, client, AGAIN);
        }
        self.rearm(key);
    }

    /// Closes what a job has open, which waits for a place from here on.
    pub(super) fn stop_asking(&mut self, key: JobKey) {
        for slot in 0..2 {
            self.close(key, slot);
        }
        self.jobs[key].phase = JobPhase::Queued;
    }

    /// Lets what is under way for a name that nobody waits for any more come in for the cache, if there is room for that.
    pub(super) fn linger(&mut self, key: JobKey, answered: bool, now: Instant) {
        if self.lingering >= self.settings.names_lingering() {
            // What was answered is remembered already; what was cut short here is no failure.
            return self.end(key);
        }
        if let JobPhase::Asking { place, .. } = self.jobs[key].phase {
            self.places.leave(key, place);
        }
        self.lingering += 1;
        self.jobs[key].phase = JobPhase::Lingering { until: now + DNS_LINGER, answered };
        self.jobs[key].waiters.clear();
        self.rearm(key);
    }
}
