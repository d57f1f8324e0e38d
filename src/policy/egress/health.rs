//! The health of an address that sessions leave from: what is its fault, how long it is left alone for that, and how it comes
//! back.
//!
//! Its fault are a bind that the kernel refuses, at once; and refusals, resets, attempts without an answer and targets that cannot
//! be reached, where they are too many of its attempts, of several targets, the one that fails most left aside, of several
//! clients from several networks, nobody counting for more than the least of these, and more than twice as many as the other
//! addresses of its pool have. A target whose ports are used up, and one that is down for all, are not.
//!
//! What one client meets by itself, by the same measure, has that client leave the address alone and nobody else: it may have
//! chosen its targets. It is a state of the address once the client was served by others meanwhile, and nobody else by it.
//!
//! Time is handed in, in milliseconds of the ledger's clock.

use std::sync::atomic::{AtomicU64, Ordering};

use super::client::{AskedClient, Concerned, PoolClient, Reach};
pub use super::fault::{CooldownTerms, Fault, Outcome};
use super::marks::{Marked, Marks};
use super::suspicion::{FailureTally, Suspicion, TallyOf};
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
}

/// The health of one address, or of a prefix as a whole: all workers read it, and who sees a failure writes it.
#[derive(Debug, Default)]
pub struct Health {
    marks: Marks,
    /// Whom its cooldown concerns, while it is left alone.
    concerned: Concerned,
    suspicion: Suspicion,
    /// How often it was cooled for each fault.
    cooled: [AtomicU64; Fault::ALL.len()],
}

/// What an address is accused of, by whom, and by which terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge<'a> {
    pub(super) outcome: Outcome,
    /// A hash of the target's address.
    pub(super) target: u64,
    /// Who left from it.
    pub(super) client: PoolClient,
    /// Whether that one is served by other addresses.
    pub(super) asked: &'a AskedClient,
    /// How many attempts the address has seen.
    pub(super) attempts: u64,
    /// How many sessions have come about.
    pub(super) served: u64,
    pub(super) terms: &'a CooldownTerms,
    pub(super) now_ms: u64,
}

impl Health {
    /// Whether a session of this client may leave from it: it serves, or is to be probed. Asking changes nothing, and for an address
    /// that fares well is one load.
    pub fn is_fit(&self, client: PoolClient, now_ms: u64) -> bool {
        self.marks.fares_well() || self.serves(client) || self.is_due(client, self.marks.read(), now_ms)
    }

    /// Takes it for a session: of an address that is to be probed, for one alone. False where it is not fit.
    pub fn take(&self, client: PoolClient, now_ms: u64) -> bool {
        if self.marks.fares_well() || self.serves(client) {
            return true;
        }
        let until = now_ms + limits::PROBE_TIME.as_millis() as u64;
        let probe = |marked: Marked| {
            self.is_due(client, marked, now_ms).then_some(Marked { at_ms: until, probed: true, ..marked })
        };
        self.marks.change(probe).is_some()
    }

    /// Takes it for a socket that is for any target, of which nothing need ever be heard: it tries no more than whether the machine has
    /// the address, and leaves other probes to those who are answered.
    pub fn take_for_any(&self, client: PoolClient, now_ms: u64) -> bool {
        self.marks.read().fault != Some(Fault::Missing) || self.take(client, now_ms)
    }

    /// Whether it serves this client, though others leave it alone.
    fn serves(&self, client: PoolClient) -> bool {
        !self.marks.read().drained && !self.concerned.concerns(client)
    }

    /// Whether it is time for this client to try whether it has recovered. One that has tried that in vain lets others go first: its
    /// targets may be what fails, and whoever asks for dead ones could keep an address from coming back.
    fn is_due(&self, client: PoolClient, marked: Marked, now_ms: u64) -> bool {
        let tried = marked.fault.is_some()
            && self.concerned.reach() == Reach::All
            && self.concerned.has_tried(client);
        let others_first = if tried { limits::PROBE_TIME.as_millis() as u64 } else { 0 };
        !marked.drained && (marked.fault.is_none() || marked.at_ms + others_first <= now_ms)
    }

    /// How it stands. What a few clients alone have found it, and might have by their own targets, is no state of it.
    pub fn state(&self, now_ms: u64) -> AddressState {
        let Marked { at_ms: until_ms, fault, probed, drained, .. } = self.marks.read();
        let told = matches!(self.concerned.reach(), Reach::All | Reach::Compared);
        match (drained, fault.filter(|_| told)) {
            (true, _) => AddressState::Drained,
            (false, None) => AddressState::Serving,
            (false, Some(fault)) if probed && now_ms < until_ms => AddressState::Probed { fault, until_ms },
            (false, Some(fault)) => AddressState::Cooled { fault, until_ms },
        }
    }

    /// How much better another is for this client that is less: whoever must take one of those that are left alone takes the least.
    pub(super) fn badness(&self, client: PoolClient) -> u64 {
        let Marked { at_ms, fault, drained, .. } = self.marks.read();
        match (drained, fault) {
            (true, _) => u64::MAX,
            (false, Some(_)) if self.concerned.concerns(client) => at_ms.max(1),
            (false, _) => 0,
        }
    }

    /// How often it was cooled for each fault, in the order of [`Fault::ALL`].
    pub fn cooldowns(&self) -> [u64; Fault::ALL.len()] {
        self.cooled.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Has no new session leave from it, or takes that back and has it serve. False where it was so.
    pub fn set_drained(&self, drained: bool, now_ms: u64) -> bool {
        let changed = self.marks.change(|marked| match drained {
            true => (!marked.drained).then_some(Marked { drained, ..marked }),
            false => {
                let restored = Marked { at_ms: now_ms, ..Marked::default() };
                (marked.drained || marked.fault.is_some()).then_some(restored)
            }
        });
        if changed.is_some() && !drained {
            self.suspicion.clear();
        }
        changed.is_some()
    }

    /// Is another's from now on, of whom nothing is known.
    pub(super) fn forget(&self) {
        self.marks.change(|_| Some(Marked::default()));
        self.suspicion.clear();
    }

    /// Whether nothing of it would be missed.
    pub(super) fn is_forgettable(&self, now_ms: u64) -> bool {
        let Marked { at_ms, strikes, .. } = self.marks.read();
        let long_ago = limits::HEALTH_WINDOW.as_millis() as u64;
        self.marks.fares_well() && (strikes == 0 || now_ms.saturating_sub(at_ms) > long_ago)
    }

    /// What came of an attempt; true where another state of it begins by that. `others` tells how the rest of the pool fares, as far
    /// as that kind of failure goes.
    pub(super) fn note(
        &self,
        charge: &Charge<'_>,
        others: impl FnOnce(Fault, TallyOf) -> FailureTally,
    ) -> bool {
        match charge.outcome {
            Outcome::Connected => self.went_well(charge),
            Outcome::Bound => self.marks.read().fault == Some(Fault::Missing) && self.recover(charge.now_ms),
            Outcome::PortsUsedUp => false,
            Outcome::AddressMissing => self.cool(Fault::Missing, charge),
            Outcome::Unreachable => self.accuse(Fault::Unreachable, charge, others),
            Outcome::Refused => self.accuse(Fault::Refused, charge, others),
            Outcome::Reset => self.accuse(Fault::Reset, charge, others),
            Outcome::TimedOut => self.accuse(Fault::TimedOut, charge, others),
        }
    }

    fn accuse(
        &self,
        fault: Fault,
        charge: &Charge<'_>,
        others: impl FnOnce(Fault, TallyOf) -> FailureTally,
    ) -> bool {
        let Charge { target, client, attempts, served, terms, now_ms, .. } = *charge;
        match self.marks.read().fault {
            // Whoever is refused or reset has been heard.
            Some(Fault::Missing | Fault::Unreachable | Fault::TimedOut)
                if matches!(fault, Fault::Refused | Fault::Reset) && self.concerned.concerns(client) =>
            {
                return self.recover(now_ms);
            }
            // Of the probe, or of an attempt that was under way when the cooldown began.
            Some(_) if self.concerned.concerns(client) => return self.cool_again(fault, charge),
            _ => {}
        }
        self.suspicion.add(fault, (target, client), (attempts, served), now_ms);
        let bad = |of| {
            let tally = self.suspicion.tally(fault, of, attempts, now_ms);
            tally.filter(|tally| tally.is_bad(fault, terms))
        };
        if let Some(tally) = bad(TallyOf::Many) {
            if tally.is_what(&others(fault, TallyOf::AllButOne), terms) {
                self.suspicion.clear();
                return false;
            }
            return self.cool(fault, charge);
        }
        let Some(tally) = bad(TallyOf::One(client)) else { return false };
        if tally.is_what(&others(fault, TallyOf::One(client)), terms) {
            self.suspicion.clear_of(client);
            return false;
        }
        self.cool_for(fault, charge);
        false
    }

    /// Whether it is known to work, though something has failed of late: of all sessions that came about some have since.
    pub(super) fn works(&self, served: u64, now_ms: u64) -> bool {
        self.serves_anybody() && self.suspicion.is_outdone(served, now_ms)
    }

    /// How it fares, where it is not left alone by all anyhow.
    pub(super) fn tally(
        &self,
        fault: Fault,
        of: TallyOf,
        attempts: u64,
        now_ms: u64,
    ) -> Option<FailureTally> {
        self.serves_anybody().then(|| self.suspicion.tally(fault, of, attempts, now_ms)).flatten()
    }

    /// Whether it is left alone by nobody, or by some alone.
    fn serves_anybody(&self) -> bool {
        let marked = self.marks.read();
        !marked.drained && (marked.fault.is_none() || self.concerned.reach() != Reach::All)
    }

    /// It is left alone by all.
    fn cool(&self, fault: Fault, charge: &Charge<'_>) -> bool {
        let before = self.marks.read();
        if before.fault.is_some() && self.concerned.reach() == Reach::All {
            return self.cool_again(fault, charge);
        }
        let Charge { terms, now_ms, .. } = *charge;
        let reach = self.concerned.reach();
        let was_told = before.fault.is_some() && reach == Reach::Compared;
        self.concerned.begin(Reach::All);
        self.marks.change(|marked| {
            // What some have found is no measure for all, though it is over by now.
            let strikes = if reach == Reach::All { marked.strikes } else { 0 };
            Some(begun(fault, Marked { strikes, ..marked }, terms, now_ms))
        });
        self.suspicion.clear();
        if !was_told {
            self.cooled[fault as usize].fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// One client leaves it alone: what it met may be by its targets, and concerns nobody else.
    fn cool_for(&self, fault: Fault, charge: &Charge<'_>) {
        let Charge { client, terms, now_ms, .. } = *charge;
        charge.asked.ask(client);
        if self.marks.read().fault.is_none() {
            self.concerned.begin(Reach::Some);
        }
        self.concerned.add(client);
        self.marks.change(|marked| marked.fault.is_none().then(|| begun(fault, marked, terms, now_ms)));
        self.suspicion.clear_of(client);
    }

    /// A probe fails. The end of an attempt that was under way before changes nothing; nor does one by which the least bad served.
    fn cool_again(&self, fault: Fault, charge: &Charge<'_>) -> bool {
        let Charge { client, asked, terms, now_ms, .. } = *charge;
        let cooled = self.marks.change(|marked| {
            let strikes = marked.strikes.saturating_add(1);
            let at_ms = now_ms + terms.span_ms(strikes);
            let again = marked.probed && marked.fault.is_some();
            again.then_some(Marked { at_ms, strikes, fault: Some(fault), probed: false, ..marked })
        });
        if cooled.is_none() {
            return false;
        }
        match self.concerned.reach() {
            // What the kernel says of the address has nothing to do with targets.
            Reach::All if fault != Fault::Missing => self.concerned.add_tried(client),
            Reach::Some if asked.is_served(client) => {
                self.concerned.set_reach(Reach::Compared);
                self.cooled[fault as usize].fetch_add(1, Ordering::Relaxed);
            }
            Reach::Some => asked.ask(client),
            Reach::All | Reach::Compared | Reach::Contested => {}
        }
        true
    }

    fn went_well(&self, charge: &Charge<'_>) -> bool {
        // Most of the time there is nothing to recover from, and nothing is written.
        if self.marks.read().fault.is_none() {
            return false;
        }
        if self.concerned.concerns(charge.client) {
            return self.recover(charge.now_ms);
        }
        let reach = self.concerned.reach();
        if matches!(reach, Reach::Some | Reach::Compared) {
            self.concerned.set_reach(Reach::Contested);
        }
        reach == Reach::Compared
    }

    fn recover(&self, now_ms: u64) -> bool {
        let recovered = self.marks.change(|marked| {
            let back = marked.fault.is_some() && (marked.probed || marked.at_ms <= now_ms);
            back.then_some(Marked { at_ms: now_ms, fault: None, probed: false, ..marked })
        });
        recovered.is_some()
    }
}

/// The mark of a cooldown that begins.
fn begun(fault: Fault, before: Marked, terms: &CooldownTerms, now_ms: u64) -> Marked {
    // It did not stand for twice as long as it was left alone: it goes on where it was. A cooldown that concerned some is no measure
    // for one that concerns all.
    let relapse = before.fault.is_none()
        && before.strikes > 0
        && now_ms.saturating_sub(before.at_ms) < 2 * terms.span_ms(before.strikes);
    let strikes = if relapse { before.strikes.saturating_add(1) } else { 1 };
    Marked { at_ms: now_ms + terms.span_ms(strikes), strikes, fault: Some(fault), probed: false, ..before }
}

#[cfg(test)]
mod tests;
