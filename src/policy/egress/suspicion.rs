//! What speaks against an address: its failures of one window, told apart by target and by client, so that neither a target that
//! is down for all nor a client that asks for such targets is held against it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use super::client::PoolClient;
use super::fault::{CooldownTerms, Fault};
use crate::limits;

/// The failures of an address in a window of [`limits::HEALTH_WINDOW`]. Written where an attempt fails, and nowhere else.
///
/// Counts are those of all workers. Where one of them begins a window anew while another counts, that count may fall into
/// either: which is a matter of one failure in a minute, and decides nothing that is not looked at again.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// 0: there is no window.
    began_ms: AtomicU64,
    /// How many attempts the address had seen when the window began.
    attempts_before: AtomicU64,
    /// And how many sessions had come about.
    served_before: AtomicU64,
    /// Made with the first failure.
    failures: OnceLock<Box<Failures>>,
}

/// Attempts that were refused, and those that came to nothing.
#[derive(Debug, Default)]
struct Failures {
    refused: ByClient,
    lost: ByClient,
}

/// The same failures twice: by who failed, and by the network that it came from. Whoever has many names has one network, and
/// whoever comes from everywhere one name.
#[derive(Debug, Default)]
struct ByClient {
    clients: Cells,
    networks: Cells,
}

/// A row for each class of clients, and in it a count for each class of targets.
#[derive(Debug)]
struct Cells([[AtomicU16; limits::FAILED_TARGETS]; limits::FAILED_CLIENTS]);

/// How an address fared in the present window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FailureTally {
    pub(super) attempts: u64,
    pub(super) failures: u64,
    /// Of how many classes of targets they are.
    pub(super) classes: usize,
    /// Those of the class that has the most.
    pub(super) most: u64,
}

/// Whose failures are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TallyOf {
    /// Those that at least [`limits::FAILED_CLIENTS_MIN`] clients have, from as many networks: nobody counts for more than the
    /// one of these that has the fewest.
    Many,
    /// Those of all, the client or the network left aside that has the most.
    AllButOne,
    /// Those of one client.
    One(PoolClient),
}

impl Default for Cells {
    fn default() -> Cells {
        Cells(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU16::new(0))))
    }
}

impl Suspicion {
    /// Counts a failure. `seen` is how many attempts the address has seen in all, and how many sessions have come about.
    pub(super) fn add(
        &self,
        fault: Fault,
        (target, client): (u64, PoolClient),
        seen: (u64, u64),
        now_ms: u64,
    ) {
        if !self.is_of(now_ms) {
            self.clear();
            let (attempts, served) = seen;
            self.attempts_before.store(attempts.saturating_sub(1), Ordering::Relaxed);
            self.served_before.store(served, Ordering::Relaxed);
            // A window at the very beginning of the clock is told from none.
            self.began_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
        let by = self.failures.get_or_init(Box::default).of(fault);
        by.clients.add(client.own, target);
        by.networks.add(client.network, target);
    }

    /// Forgets what was counted; the next failure begins a window.
    pub(super) fn clear(&self) {
        self.began_ms.store(0, Ordering::Relaxed);
        for by in self.failures.get().iter().flat_map(|failures| [&failures.refused, &failures.lost]) {
            by.clients.0.iter().chain(&by.networks.0).for_each(Cells::clear);
        }
    }

    /// Forgets what a client had.
    pub(super) fn clear_of(&self, client: PoolClient) {
        for by in self.failures.get().iter().flat_map(|failures| [&failures.refused, &failures.lost]) {
            Cells::clear(by.clients.row(client.own));
        }
    }

    /// How it fares, as far as this kind of failure goes; `None` where nothing has failed of late.
    pub(super) fn tally(
        &self,
        fault: Fault,
        of: TallyOf,
        attempts: u64,
        now_ms: u64,
    ) -> Option<FailureTally> {
        if !self.is_of(now_ms) {
            return None;
        }
        let by = self.failures.get()?.of(fault);
        let attempts = attempts.saturating_sub(self.attempts_before.load(Ordering::Relaxed));
        // Whichever says less.
        let of_many = |place| {
            let (clients, networks) = (by.clients.tally(place, attempts), by.networks.tally(place, attempts));
            if clients.thousandths() < networks.thousandths() { clients } else { networks }
        };
        Some(match of {
            TallyOf::Many => of_many(limits::FAILED_CLIENTS_MIN),
            TallyOf::AllButOne => of_many(2),
            TallyOf::One(client) => by.clients.tally_of(client.own, attempts),
        })
    }

    /// Whether sessions have come about since something failed, of so many in all.
    pub(super) fn is_outdone(&self, served: u64, now_ms: u64) -> bool {
        self.is_of(now_ms) && served > self.served_before.load(Ordering::Relaxed)
    }

    fn is_of(&self, now_ms: u64) -> bool {
        let began = self.began_ms.load(Ordering::Relaxed);
        began != 0 && now_ms.saturating_sub(began) < limits::HEALTH_WINDOW.as_millis() as u64
    }
}

impl Failures {
    fn of(&self, fault: Fault) -> &ByClient {
        if fault == Fault::Refused { &self.refused } else { &self.lost }
    }
}

impl Cells {
    fn row(&self, client: u32) -> &[AtomicU16; limits::FAILED_TARGETS] {
        &self.0[client as usize % limits::FAILED_CLIENTS]
    }

    fn add(&self, client: u32, target: u64) {
        let cell = &self.row(client)[target as usize % limits::FAILED_TARGETS];
        // A full one stays full: more would say nothing new.
        if cell.load(Ordering::Relaxed) < u16::MAX / 2 {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn clear(row: &[AtomicU16; limits::FAILED_TARGETS]) {
        row.iter()
            .filter(|cell| cell.load(Ordering::Relaxed) > 0)
            .for_each(|cell| cell.store(0, Ordering::Relaxed));
    }

    /// The failures of all rows, none of which counts for more than the one that comes at this place, from 1, when they are put in
    /// order from the greatest; what is left out of it counts neither as failures nor as attempts.
    fn tally(&self, place: usize, attempts: u64) -> FailureTally {
        let rows =
            self.0.each_ref().map(|row| row.each_ref().map(|cell| u64::from(cell.load(Ordering::Relaxed))));
        let sums = rows.map(|row| row.iter().sum::<u64>());
        let mut ordered = sums;
        ordered.sort_unstable_by(|one, other| other.cmp(one));
        let most = ordered[place - 1];
        let mut targets = [0; limits::FAILED_TARGETS];
        for (row, sum) in rows.iter().zip(sums) {
            let share = |count: u64| if sum > most { count * most / sum } else { count };
            targets.iter_mut().zip(row).for_each(|(all, count)| *all += share(*count));
        }
        FailureTally::of(&targets, attempts, sums.iter().sum())
    }

    /// The failures of one row. Whose the attempts are that went well is not known: all of them may be of this one.
    fn tally_of(&self, client: u32, attempts: u64) -> FailureTally {
        let all = self.0.iter().flatten().map(|cell| u64::from(cell.load(Ordering::Relaxed))).sum();
        let row = self.row(client).each_ref().map(|cell| u64::from(cell.load(Ordering::Relaxed)));
        FailureTally::of(&row, attempts, all)
    }
}

impl FailureTally {
    /// These failures by class of target, of so many attempts, where all failures are so many.
    fn of(targets: &[u64; limits::FAILED_TARGETS], attempts: u64, all: u64) -> FailureTally {
        let failures = targets.iter().sum();
        FailureTally {
            attempts: attempts.saturating_sub(all) + failures,
            failures,
            classes: targets.iter().filter(|count| **count > 0).count(),
            most: targets.iter().copied().max().unwrap_or_default(),
        }
    }

    /// Whether that is too much, be what it may of the target that fails most: it may be down.
    pub(super) fn is_bad(&self, fault: Fault, terms: &CooldownTerms) -> bool {
        self.attempts >= u64::from(terms.min_samples)
            && self.classes >= limits::FAILED_TARGETS_MIN
            && self.thousandths() >= terms.thousandths(fault)
    }

    /// Whether that is what others meet as well, as far as they have met anything: the targets are down, or the way that all go.
    pub(super) fn is_what(&self, others: &FailureTally, terms: &CooldownTerms) -> bool {
        others.attempts >= u64::from(terms.min_samples) && others.thousandths() * 2 > self.thousandths()
    }

    /// Of a thousand attempts at other targets than that, how many fail.
    pub(super) fn thousandths(&self) -> u64 {
        match self.attempts - self.most {
            0 => 0,
            others => (self.failures - self.most) * 1000 / others,
        }
    }

    /// Both together.
    pub(super) fn and(self, other: FailureTally) -> FailureTally {
        FailureTally {
            attempts: self.attempts + other.attempts,
            failures: self.failures + other.failures,
            classes: self.classes.max(other.classes),
            most: self.most + other.most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever had two names made all addresses look as bad as the one that was dead, which then served on.
    #[test]
    fn what_one_customer_meets_is_not_what_others_meet() {
        let share = |client: fn(u32) -> PoolClient| {
            let suspicion = Suspicion::default();
            for nth in 0..400_u32 {
                suspicion.add(Fault::TimedOut, (nth.into(), client(nth)), (u64::from(nth) + 1, 0), 7);
            }
            suspicion.tally(Fault::TimedOut, TallyOf::AllButOne, 400, 7).unwrap().failures
        };
        assert_eq!(share(|nth| PoolClient { own: nth % 8, network: 3 }), 0, "names of one network");
        assert_eq!(share(|nth| PoolClient { own: 3, network: nth % 8 }), 0, "networks of one name");
        assert_eq!(share(|nth| PoolClient { own: nth % 8, network: nth % 8 }), 400);
    }
}
