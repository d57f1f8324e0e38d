//! What speaks against an address: its failures of one window, told apart by target, so that a target that is down for all
//! is not held against it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::fault::{CooldownTerms, Fault};
use crate::limits;

/// The failures of an address in a window of [`limits::HEALTH_WINDOW`]. Written where an attempt fails, and nowhere else.
///
/// Counts are those of all workers. Where one of them begins a window anew while another counts, that count may fall into
/// either: which is a matter of one failure in a minute, and decides nothing that is not looked at again.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    began_ms: AtomicU64,
    /// How many attempts the address had seen when the window began.
    attempts_before: AtomicU64,
    /// By class of target: attempts that were refused, and those that came to nothing.
    refused: Classes,
    lost: Classes,
}

#[derive(Debug, Default)]
struct Classes([AtomicU32; limits::FAILED_TARGETS]);

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

impl Suspicion {
    /// Counts a failure. `attempts` is how many the address has seen in all.
    pub(super) fn add(&self, fault: Fault, target: u64, attempts: u64, now_ms: u64) {
        if !self.is_of(now_ms) {
            self.restart(attempts.saturating_sub(1), now_ms);
        }
        self.classes(fault).0[target as usize % limits::FAILED_TARGETS].fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets what was counted.
    pub(super) fn restart(&self, attempts: u64, now_ms: u64) {
        // A window at the very beginning of the clock is told from none.
        self.began_ms.store(now_ms.max(1), Ordering::Relaxed);
        self.attempts_before.store(attempts, Ordering::Relaxed);
        let classes = self.refused.0.iter().chain(&self.lost.0);
        classes.for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// How it fares, as far as this kind of failure goes; `None` where nothing has failed of late.
    pub(super) fn tally(&self, fault: Fault, attempts: u64, now_ms: u64) -> Option<FailureTally> {
        if !self.is_of(now_ms) {
            return None;
        }
        let mut tally = FailureTally::default();
        for count in &self.classes(fault).0 {
            let count = u64::from(count.load(Ordering::Relaxed));
            tally.failures += count;
            tally.classes += usize::from(count > 0);
            tally.most = tally.most.max(count);
        }
        let attempts = attempts.saturating_sub(self.attempts_before.load(Ordering::Relaxed));
        Some(FailureTally { attempts: attempts.max(tally.failures), ..tally })
    }

    fn is_of(&self, now_ms: u64) -> bool {
        let began = self.began_ms.load(Ordering::Relaxed);
        began != 0 && now_ms.saturating_sub(began) < limits::HEALTH_WINDOW.as_millis() as u64
    }

    fn classes(&self, fault: Fault) -> &Classes {
        if fault == Fault::Refused { &self.refused } else { &self.lost }
    }
}

impl FailureTally {
    /// Whether that is too much, be what it may of the target that fails most: it may be down.
    pub(super) fn is_bad(&self, fault: Fault, terms: &CooldownTerms) -> bool {
        self.attempts >= u64::from(terms.min_samples)
            && self.classes >= limits::FAILED_TARGETS_MIN
            && self.thousandths() >= terms.thousandths(fault)
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
