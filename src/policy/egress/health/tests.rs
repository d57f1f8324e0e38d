use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000;

/// An address, the attempts it has seen, and the time.
#[derive(Default)]
struct Tried {
    health: Health,
    attempts: u64,
    now_ms: u64,
}

impl Tried {
    fn at(now_ms: u64) -> Tried {
        Tried { now_ms, ..Tried::default() }
    }

    fn note_beside(&mut self, outcome: Outcome, target: u64, rest: FailureTally) -> bool {
        self.attempts += 1;
        let terms = CooldownTerms::default();
        let charge = Charge { outcome, target, attempts: self.attempts, terms: &terms, now_ms: self.now_ms };
        self.health.note(&charge, |_| rest)
    }

    fn note(&mut self, outcome: Outcome, target: u64) -> bool {
        self.note_beside(outcome, target, FailureTally::default())
    }

    fn state(&self) -> AddressState {
        self.health.state(self.now_ms)
    }
}

#[test]
fn a_bind_that_is_refused_cools_at_once_and_one_probe_brings_it_back() {
    let mut tried = Tried::at(500);
    assert!(tried.health.take(tried.now_ms));
    assert!(tried.note(Outcome::AddressMissing, 1));
    assert_eq!(tried.state(), AddressState::Cooled { fault: Fault::Missing, until_ms: 1_500 });
    assert!(!tried.health.is_fit(1_499) && !tried.health.take(1_499));
    assert!(!tried.note(Outcome::AddressMissing, 1), "an attempt that was under way lengthens nothing");
    tried.now_ms = 1_500;
    assert!(tried.health.is_fit(1_500) && tried.health.is_fit(1_500), "asking takes nothing");
    assert!(tried.health.take(1_500));
    assert!(!tried.health.take(1_500) && !tried.health.is_fit(1_500), "the probe is one session's");
    assert_eq!(tried.state().name(), "probed");
    assert!(tried.note(Outcome::Connected, 1));
    assert_eq!((tried.state(), tried.health.cooldowns()), (AddressState::Serving, [1, 0, 0, 0, 0]));
}

/// Its session may have ended without a word on the address: its client left.
#[test]
fn a_probe_that_says_nothing_is_followed_by_another() {
    let mut tried = Tried::at(0);
    tried.note(Outcome::AddressMissing, 1);
    assert!(tried.health.take(SECOND));
    let after = SECOND + limits::PROBE_TIME.as_millis() as u64;
    assert!(!tried.health.take(after - 1) && tried.health.take(after));
}

#[test]
fn each_cooldown_is_twice_as_long_up_to_the_longest_and_short_again_once_it_stood() {
    let mut tried = Tried::at(0);
    let mut spans = Vec::new();
    tried.note(Outcome::AddressMissing, 1);
    for _ in 0..12 {
        let AddressState::Cooled { until_ms, .. } = tried.state() else { panic!("{:?}", tried.state()) };
        spans.push((until_ms - tried.now_ms) / SECOND);
        tried.now_ms = until_ms;
        assert!(tried.health.take(until_ms));
        tried.note(Outcome::AddressMissing, 1);
    }
    assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    assert_eq!(tried.health.cooldowns()[0], 1, "a cooldown that goes on is one");
    let back = |tried: &mut Tried, stood: u64| {
        let Some((_, until_ms)) = tried.state().fault() else { panic!("it serves") };
        tried.now_ms = until_ms;
        assert!(tried.health.take(until_ms) && tried.note(Outcome::Connected, 1));
        tried.now_ms += stood;
        tried.note(Outcome::AddressMissing, 1);
        tried.state().fault().unwrap().1 - tried.now_ms
    };
    assert_eq!(back(&mut tried, 1_199 * SECOND), 600 * SECOND, "it relapsed");
    assert_eq!(back(&mut tried, 1_200 * SECOND), SECOND);
}

#[test]
fn refusals_of_many_targets_cool_and_those_of_a_few_do_not() {
    let refused = |targets: u64, of: u64| {
        let mut tried = Tried::at(7);
        (0..400).any(|nth| {
            let outcome = if nth % 10 < of { Outcome::Refused } else { Outcome::Connected };
            tried.note(outcome, nth % targets)
        })
    };
    assert!(refused(100, 10));
    assert!(refused(100, 7));
    assert!(!refused(100, 3), "most go well");
    assert!(!refused(1, 10), "one target is down");
    assert!(!refused(3, 10), "so may a few be");
    // One that is down and asked for again and again, and others that refuse now and then.
    let mut tried = Tried::at(7);
    for nth in 0..4_000 {
        let (outcome, target) = match nth % 10 {
            0..8 => (Outcome::Refused, 5),
            8 if nth % 50 == 8 => (Outcome::Refused, nth / 50),
            _ => (Outcome::Connected, nth),
        };
        assert!(!tried.note(outcome, target), "{nth}");
    }
}

#[test]
fn what_is_no_fault_of_the_address_is_none() {
    let mut tried = Tried::at(7);
    for target in 0..1_000 {
        assert!(!tried.note(Outcome::PortsUsedUp, target));
        assert!(!tried.note(Outcome::Connected, target));
    }
    let bad = FailureTally { attempts: 100, failures: 90, classes: 16, most: 9 };
    for target in 0..1_000 {
        assert!(!tried.note_beside(Outcome::TimedOut, target, bad), "all of the pool have it");
    }
    assert_eq!(tried.state(), AddressState::Serving);
    let well = FailureTally { attempts: 100, failures: 10, classes: 5, most: 3 };
    assert!((0..1_000).any(|target| tried.note_beside(Outcome::TimedOut, target, well)));
    assert_eq!(tried.state().fault().unwrap().0, Fault::TimedOut);
}

/// Failures of hours ago would add up to a cooldown some day.
#[test]
fn failures_of_another_window_are_forgotten() {
    let mut tried = Tried::at(7);
    for nth in 0..1_000 {
        tried.now_ms += limits::HEALTH_WINDOW.as_millis() as u64 / 15;
        assert!(!tried.note(Outcome::Unreachable, nth), "{nth}");
    }
}

#[test]
fn what_is_drained_by_hand_serves_again_by_hand_alone() {
    let mut tried = Tried::at(7);
    assert!(tried.health.set_drained(true, 0, 7) && !tried.health.set_drained(true, 0, 7));
    assert_eq!(tried.state(), AddressState::Drained);
    tried.note(Outcome::AddressMissing, 1);
    assert!(!tried.health.take(1 << 40), "its cooldown is over");
    assert!(tried.health.set_drained(false, 0, 7) && !tried.health.set_drained(false, 0, 7));
    assert_eq!(tried.state(), AddressState::Serving, "and its cooldown, too");
}

proptest! {
    /// Whatever happened, an address that is not drained comes back: a session may take it when its time has come, and what
    /// goes well then has it serve.
    #[test]
    fn an_address_always_comes_back(events in prop::collection::vec((0u8..8, 0u64..40, 0u64..20_000), 0..200)) {
        let mut tried = Tried::at(1);
        for (what, target, passes) in events {
            tried.now_ms += passes;
            let outcome = match what {
                0 | 1 => None,
                2 => Some(Outcome::AddressMissing),
                3 => Some(Outcome::Refused),
                4 => Some(Outcome::Reset),
                5 => Some(Outcome::Unreachable),
                6 => Some(Outcome::TimedOut),
                _ => Some(Outcome::Connected),
            };
            let _ = match (outcome, what) {
                (Some(outcome), _) => tried.note(outcome, target),
                (None, 0) => tried.health.take(tried.now_ms),
                (None, _) => tried.health.set_drained(target % 2 == 0, tried.attempts, tried.now_ms),
            };
        }
        if tried.state() == AddressState::Drained {
            prop_assert!(!tried.health.is_fit(u64::MAX >> 20));
            tried.health.set_drained(false, tried.attempts, tried.now_ms);
        }
        let max = CooldownTerms::default().max.as_millis() as u64;
        if let Some((_, until_ms)) = tried.state().fault() {
            prop_assert!(until_ms <= tried.now_ms + max.max(limits::PROBE_TIME.as_millis() as u64));
            tried.now_ms = until_ms;
            prop_assert!(tried.health.take(until_ms));
            tried.note(Outcome::Connected, 0);
        }
        prop_assert_eq!(tried.state(), AddressState::Serving);
        prop_assert!(tried.health.is_fit(tried.now_ms) && tried.health.take(tried.now_ms));
    }
}
