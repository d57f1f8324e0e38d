//! The health of an address that sessions leave from: what is its fault, how long it is left alone for that, and how it comes
//! back.
//!
//! Its fault are a bind that the kernel refuses, at once; and refusals, resets, attempts without an answer and targets that cannot
//! be reached, where they are too many of its attempts, of several targets, the one that fails most left aside, and more than
//! twice as many as the other addresses of its pool have. A target whose ports are used up, and one that is down for all, are not.
//!
//! Time is handed in, in milliseconds of the ledger's clock.

use std::sync::atomic::{AtomicU64, Ordering};

pub use super::fault::{CooldownTerms, Fault, Outcome};
use super::marks::{Marked, Marks};
use super::suspicion::{FailureTally, Suspicion};
use crate::limits;

/// How an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState {
    /// Sessions leave from it.
    Serving,
    /// It is left alone.
    Cooled {
        /// Why.
        fault: Fault,
        /// Until when, in milliseconds; from then on the next session probes it.
        until_ms: u64,
    },
    /// One session tries whether it has recovered.
    Probed {
        /// Why it was left alone.
        fault: Fault,
        /// Until when no other does, in milliseconds.
        until_ms: u64,
    },
    /// By hand: no new session leaves from it.
    Drained,
}

impl AddressState {
    /// Every word for a state.
    pub const NAMES: [&str; 4] = ["serving", "cooled", "probed", "drained"];

    /// The place of its word.
    pub fn number(self) -> usize {
        match self {
            AddressState::Serving => 0,
            AddressState::Cooled { .. } => 1,
            AddressState::Probed { .. } => 2,
            AddressState::Drained => 3,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        AddressState::NAMES[self.number()]
    }

    /// Why it is left alone, and until when.
    pub fn fault(self) -> Option<(Fault, u64)> {
        match self {
            AddressState::Cooled { fault, until_ms } | AddressState::Probed { fault, until_ms } => {
                Some((fault, until_ms))
            }
            AddressState::Serving | AddressState::Drained => None,
        }
    }

    /// How much better another is that is less: whoever must take one of those that are left alone takes the least.
    pub(super) fn badness(self) -> u64 {
        match self {
            AddressState::Serving => 0,
            AddressState::Cooled { until_ms, .. } | AddressState::Probed { until_ms, .. } => until_ms.max(1),
            AddressState::Drained => u64::MAX,
        }
    }
}

/// The health of one address, or of a prefix as a whole: all workers read it, and who sees a failure writes it.
#[derive(Debug, Default)]
pub struct Health {
    marks: Marks,
    suspicion: Suspicion,
    /// How often it was cooled for each fault.
    cooled: [AtomicU64; Fault::ALL.len()],
}

/// What an address is accused of, and by which terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge<'a> {
    pub(super) outcome: Outcome,
    /// A hash of the target's address.
    pub(super) target: u64,
    /// How many attempts the address has seen.
    pub(super) attempts: u64,
    pub(super) terms: &'a CooldownTerms,
    pub(super) now_ms: u64,
}

impl Health {
    /// Whether a session may leave from it: it serves, or is to be probed. Asking changes nothing, and for an address that fares
    /// well is one load.
    pub fn is_fit(&self, now_ms: u64) -> bool {
        self.marks.fares_well() || is_due(self.marks.read(), now_ms)
    }

    /// Takes it for a session: of an address that is to be probed, for one alone. False where it is not fit.
    pub fn take(&self, now_ms: u64) -> bool {
        if self.marks.fares_well() {
            return true;
        }
        let until = now_ms + limits::PROBE_TIME.as_millis() as u64;
        let probe = |marked: Marked| {
            is_due(marked, now_ms).then_some(Marked { at_ms: until, probed: true, ..marked })
        };
        self.marks.change(probe).is_some()
    }

    /// How it stands.
    pub fn state(&self, now_ms: u64) -> AddressState {
        let Marked { at_ms: until_ms, fault, probed, drained, .. } = self.marks.read();
        match (drained, fault) {
            (true, _) => AddressState::Drained,
            (false, None) => AddressState::Serving,
            (false, Some(fault)) if probed && now_ms < until_ms => AddressState::Probed { fault, until_ms },
            (false, Some(fault)) => AddressState::Cooled { fault, until_ms },
        }
    }

    /// How often it was cooled for each fault, in the order of [`Fault::ALL`].
    pub fn cooldowns(&self) -> [u64; Fault::ALL.len()] {
        self.cooled.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Has no new session leave from it, or takes that back and has it serve. False where it was so.
    pub fn set_drained(&self, drained: bool, attempts: u64, now_ms: u64) -> bool {
        let changed = self.marks.change(|marked| match drained {
            true => (!marked.drained).then_some(Marked { drained, ..marked }),
            false => {
                let restored = Marked { at_ms: now_ms, ..Marked::default() };
                (marked.drained || marked.fault.is_some()).then_some(restored)
            }
        });
        if changed.is_some() && !drained {
            self.suspicion.restart(attempts, now_ms);
        }
        changed.is_some()
    }

    /// Is another's from now on, of whom nothing is known.
    pub(super) fn forget(&self, now_ms: u64) {
        self.marks.change(|_| Some(Marked::default()));
        self.suspicion.restart(0, now_ms);
    }

    /// Whether nothing of it would be missed.
    pub(super) fn is_forgettable(&self, now_ms: u64) -> bool {
        let Marked { at_ms, strikes, .. } = self.marks.read();
        let long_ago = limits::HEALTH_WINDOW.as_millis() as u64;
        self.marks.fares_well() && (strikes == 0 || now_ms.saturating_sub(at_ms) > long_ago)
    }

    /// What came of an attempt; true where it begins or ends a cooldown. `others` tells how the rest of the pool fares, as far as
    /// that kind of failure goes.
    pub(super) fn note(&self, charge: &Charge<'_>, others: impl FnOnce(Fault) -> FailureTally) -> bool {
        match charge.outcome {
            Outcome::Connected => self.recover(charge),
            Outcome::PortsUsedUp => false,
            Outcome::AddressMissing => self.cool(Fault::Missing, charge),
            Outcome::Unreachable => self.accuse(Fault::Unreachable, charge, others),
            Outcome::Refused => self.accuse(Fault::Refused, charge, others),
            Outcome::Reset => self.accuse(Fault::Reset, charge, others),
            Outcome::TimedOut => self.accuse(Fault::TimedOut, charge, others),
        }
    }

    fn accuse(&self, fault: Fault, charge: &Charge<'_>, others: impl FnOnce(Fault) -> FailureTally) -> bool {
        let Charge { target, attempts, terms, now_ms, .. } = *charge;
        if self.marks.read().fault.is_some() {
            // Of the probe, or of an attempt that was under way when the cooldown began.
            return self.cool(fault, charge);
        }
        self.suspicion.add(fault, target, attempts, now_ms);
        let Some(tally) = self.suspicion.tally(fault, attempts, now_ms) else { return false };
        if !tally.is_bad(fault, terms) {
            return false;
        }
        let rest = others(fault);
        if rest.attempts >= u64::from(terms.min_samples) && rest.thousandths() * 2 > tally.thousandths() {
            // It is what they all meet: the targets are down, or the way that all go.
            self.suspicion.restart(attempts, now_ms);
            return false;
        }
        self.cool(fault, charge)
    }

    /// How it fares, where it is not left alone anyhow.
    pub(super) fn tally(&self, fault: Fault, attempts: u64, now_ms: u64) -> Option<FailureTally> {
        self.marks.fares_well().then(|| self.suspicion.tally(fault, attempts, now_ms)).flatten()
    }

    fn cool(&self, fault: Fault, charge: &Charge<'_>) -> bool {
        let Charge { terms, now_ms, attempts, .. } = *charge;
        let cooled = self.marks.change(|marked| {
            let strikes = match marked.fault {
                None => {
                    // It did not stand for twice as long as it was left alone: it goes on where it was.
                    let relapse = marked.strikes > 0
                        && now_ms.saturating_sub(marked.at_ms) < 2 * terms.span_ms(marked.strikes);
                    if relapse { marked.strikes.saturating_add(1) } else { 1 }
                }
                Some(_) if marked.probed => marked.strikes.saturating_add(1),
                // The end of an attempt that was under way before changes nothing; nor does one by which the least bad served.
                Some(_) => return None,
            };
            let at_ms = now_ms + terms.span_ms(strikes);
            Some(Marked { at_ms, strikes, fault: Some(fault), probed: false, ..marked })
        });
        if let Some((before, _)) = cooled {
            self.suspicion.restart(attempts, now_ms);
            if before.fault.is_none() {
                self.cooled[fault as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
        cooled.is_some()
    }

    fn recover(&self, charge: &Charge<'_>) -> bool {
        // Most of the time there is nothing to recover from, and nothing is written.
        if self.marks.read().fault.is_none() {
            return false;
        }
        let now_ms = charge.now_ms;
        let recovered = self.marks.change(|marked| {
            let back = marked.fault.is_some() && (marked.probed || marked.at_ms <= now_ms);
            back.then_some(Marked { at_ms: now_ms, fault: None, probed: false, ..marked })
        });
        recovered.is_some()
    }
}

/// Whether it is time to try whether it has recovered.
fn is_due(marked: Marked, now_ms: u64) -> bool {
    !marked.drained && (marked.fault.is_none() || marked.at_ms <= now_ms)
}

#[cfg(test)]
mod tests;
