use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000;

/// An address, the attempts it has seen, and the time. Each attempt is the next client's, of eight.
#[derive(Default)]
struct Tried {
    health: Health,
    asked: AskedClient,
    attempts: u64,
    now_ms: u64,
}

/// One that has nothing to do with any other.
fn client(number: u32) -> PoolClient {
    PoolClient { own: number + 1, network: number + 1 }
}

const EVE: PoolClient = PoolClient { own: 9, network: 9 };

impl Tried {
    fn at(now_ms: u64) -> Tried {
        Tried { now_ms, ..Tried::default() }
    }

    fn note_by(
        &mut self,
        client: PoolClient,
        (outcome, target): (Outcome, u64),
        others: impl FnOnce(Fault, TallyOf) -> FailureTally,
    ) -> bool {
        self.attempts += 1;
        let (terms, attempts, now_ms) = (CooldownTerms::default(), self.attempts, self.now_ms);
        let charge = Charge {
            outcome,
            target,
            client,
            asked: &self.asked,
            attempts,
            served: 0,
            terms: &terms,
            now_ms,
        };
        self.health.note(&charge, others)
    }

    fn note_beside(&mut self, outcome: Outcome, target: u64, rest: FailureTally) -> bool {
        let client = client(self.attempts as u32 % 8);
        self.note_by(client, (outcome, target), |_, _| rest)
    }

    fn note(&mut self, outcome: Outcome, target: u64) -> bool {
        self.note_beside(outcome, target, FailureTally::default())
    }

    /// What came of an attempt of the one client that asks for dead targets.
    fn eve(&mut self, outcome: Outcome, target: u64) -> bool {
        self.note_by(EVE, (outcome, target), |_, _| FailureTally::default())
    }

    fn is_fit(&self, client: PoolClient) -> bool {
        self.health.is_fit(client, self.now_ms)
    }

    fn take(&self, now_ms: u64) -> bool {
        self.health.take(client(20), now_ms)
    }

    fn state(&self) -> AddressState {
        self.health.state(self.now_ms)
    }
}

#[test]
fn a_bind_that_is_refused_cools_at_once_and_one_probe_brings_it_back() {
    let mut tried = Tried::at(500);
    assert!(tried.take(tried.now_ms));
    assert!(tried.note(Outcome::AddressMissing, 1));
    assert_eq!(tried.state(), AddressState::Cooled { fault: Fault::Missing, until_ms: 1_500 });
    assert!(!tried.health.is_fit(client(20), 1_499) && !tried.take(1_499));
    assert!(!tried.note(Outcome::AddressMissing, 1), "an attempt that was under way lengthens nothing");
    tried.now_ms = 1_500;
    assert!(
        tried.health.is_fit(client(20), 1_500) && tried.health.is_fit(client(20), 1_500),
        "asking takes nothing"
    );
    assert!(tried.take(1_500));
    assert!(!tried.take(1_500) && !tried.health.is_fit(client(20), 1_500), "the probe is one session's");
    assert_eq!(tried.state().name(), "probed");
    assert!(tried.note(Outcome::Connected, 1));
    assert_eq!((tried.state(), tried.health.cooldowns()), (AddressState::Serving, [1, 0, 0, 0, 0]));
}

/// Its session may have ended without a word on the address: its client left.
#[test]
fn a_probe_that_says_nothing_is_followed_by_another() {
    let mut tried = Tried::at(0);
    tried.note(Outcome::AddressMissing, 1);
    assert!(tried.take(SECOND));
    let after = SECOND + limits::PROBE_TIME.as_millis() as u64;
    assert!(!tried.take(after - 1) && tried.take(after));
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
        assert!(tried.take(until_ms));
        tried.note(Outcome::AddressMissing, 1);
    }
    assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    assert_eq!(tried.health.cooldowns()[0], 1, "a cooldown that goes on is one");
    let back = |tried: &mut Tried, stood: u64| {
        let Some((_, until_ms)) = tried.state().fault() else { panic!("it serves") };
        tried.now_ms = until_ms;
        assert!(tried.take(until_ms) && tried.note(Outcome::Connected, 1));
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

/// One client that asked for dead targets had every address left alone by everybody.
#[test]
fn what_one_client_meets_concerns_it_alone() {
    let mut tried = Tried::at(7);
    for target in 0..40 {
        assert!(!tried.eve(Outcome::Refused, target), "nobody else has it so");
    }
    assert!(!tried.is_fit(EVE) && tried.is_fit(client(1)));
    assert_eq!((tried.state(), tried.health.cooldowns()), (AddressState::Serving, [0; 5]));
    // It is served by no other address: that says nothing of this one.
    tried.now_ms += SECOND;
    assert!(tried.health.take(EVE, tried.now_ms) && !tried.is_fit(EVE));
    assert!(tried.eve(Outcome::Refused, 40));
    assert_eq!((tried.state(), tried.is_fit(client(1))), (AddressState::Serving, true));
    // By others it is: that speaks against this one, as long as nobody is served by it.
    (0..limits::SERVED_ELSEWHERE_MIN).for_each(|_| tried.asked.was_served(EVE));
    tried.now_ms += 2 * SECOND;
    assert!(tried.health.take(EVE, tried.now_ms) && tried.eve(Outcome::Refused, 41));
    assert_eq!((tried.state().name(), tried.health.cooldowns()), ("cooled", [0, 0, 1, 0, 0]));
    assert!(tried.is_fit(client(1)));
    assert!(tried.note_by(client(1), (Outcome::Connected, 1), |_, _| FailureTally::default()));
    assert_eq!((tried.state(), tried.is_fit(EVE)), (AddressState::Serving, false));
    tried.now_ms += 4 * SECOND;
    assert!(tried.health.take(EVE, tried.now_ms));
    tried.eve(Outcome::Connected, 42);
    assert!(tried.is_fit(EVE));
}

/// Names are cheap where a customer makes users of its own, and so are networks where machines are rented by the hour.
#[test]
fn many_names_from_one_network_are_one_client_and_so_is_one_name_from_many() {
    let each: [fn(u32) -> PoolClient; 2] =
        [|nth| PoolClient { own: nth + 1, network: 1 }, |nth| PoolClient { own: 1, network: nth + 1 }];
    for client in each {
        let mut tried = Tried::at(7);
        for nth in 0..4_000_u32 {
            tried.note_by(client(nth % 16), (Outcome::TimedOut, nth.into()), |_, _| FailureTally::default());
            assert!(tried.health.is_fit(PoolClient { own: 77, network: 77 }, 7), "{nth}");
        }
        assert_eq!(tried.state(), AddressState::Serving);
    }
}

/// What a client does a thousand times is no more than what it does once.
#[test]
fn a_few_clients_weigh_no_more_than_the_others_whatever_they_do() {
    let mut tried = Tried::at(7);
    for nth in 0..4_000_u64 {
        let eves = client(8 + nth as u32 % 3);
        tried.note_by(eves, (Outcome::Refused, nth), |_, _| FailureTally::default());
        if nth % 20 == 0 {
            // The others fail one time in four.
            let outcome = if nth % 80 == 0 { Outcome::Refused } else { Outcome::Connected };
            tried.note(outcome, nth / 20);
        }
        assert!(tried.is_fit(client(nth as u32 % 8)), "{nth}");
    }
    assert_eq!(tried.state(), AddressState::Serving);
}

/// Whoever asked for dead targets took each probe, and a good address stayed away for as long.
#[test]
fn one_whose_probe_failed_lets_others_go_first() {
    let mut tried = Tried::at(7);
    assert!((0..100).any(|target| tried.note(Outcome::TimedOut, target)));
    tried.now_ms += SECOND;
    assert!(tried.health.take(EVE, tried.now_ms) && tried.eve(Outcome::TimedOut, 1));
    tried.now_ms += 2 * SECOND;
    assert!(!tried.is_fit(EVE) && tried.is_fit(client(1)));
    assert!(tried.health.is_fit(EVE, tried.now_ms + limits::PROBE_TIME.as_millis() as u64), "it is alone");
    assert!(tried.health.take(client(1), tried.now_ms));
    assert!(tried.note_by(client(1), (Outcome::Connected, 2), |_, _| FailureTally::default()));
    assert_eq!((tried.state(), tried.is_fit(EVE)), (AddressState::Serving, true));
}

/// Each of a customer's names took a probe, and a good address stayed away for as long.
#[test]
fn one_of_a_network_whose_probe_failed_lets_other_networks_go_first() {
    let mut tried = Tried::at(7);
    assert!((0..100).any(|target| tried.note(Outcome::TimedOut, target)));
    tried.now_ms += SECOND;
    let eve = |own: u32| PoolClient { own: 40 + own, network: 9 };
    assert!(tried.health.take(eve(0), tried.now_ms));
    assert!(tried.note_by(eve(0), (Outcome::TimedOut, 1), |_, _| FailureTally::default()));
    tried.now_ms += 2 * SECOND;
    assert!((0..64).all(|own| !tried.is_fit(eve(own))) && tried.is_fit(client(1)));
}

/// What one client alone had found for ten minutes made the next hiccup one of ten minutes for everybody.
#[test]
fn what_one_client_found_is_no_measure_for_all() {
    let mut tried = Tried::at(7);
    (0..40).for_each(|target| _ = tried.eve(Outcome::TimedOut, target));
    for nth in 0..9 {
        tried.now_ms += SECOND << nth;
        assert!(tried.health.take(EVE, tried.now_ms));
        tried.eve(Outcome::TimedOut, nth);
    }
    tried.now_ms += 512 * SECOND;
    assert!(tried.health.take(EVE, tried.now_ms));
    tried.eve(Outcome::Connected, 1);
    assert!(tried.is_fit(EVE));
    assert!((0..100).any(|target| tried.note(Outcome::TimedOut, target)));
    assert_eq!(tried.state().fault(), Some((Fault::TimedOut, tried.now_ms + SECOND)));
}

/// A parent that was dead was tried for ever where one client had found the address bad that sessions leave from.
#[test]
fn an_address_that_some_leave_alone_is_known_to_work_by_the_others() {
    let mut tried = Tried::at(7);
    (0..40).for_each(|target| _ = tried.eve(Outcome::TimedOut, target));
    assert!(!tried.is_fit(EVE));
    tried.note(Outcome::TimedOut, 1);
    assert!(tried.health.works(1, tried.now_ms) && !tried.health.works(0, tried.now_ms));
}

/// An association ended the cooldown of an address that nobody is answered at, or took its probes and said nothing.
#[test]
fn a_socket_that_heard_nothing_shows_that_the_machine_has_the_address_and_no_more() {
    let mut tried = Tried::at(7);
    assert!((0..100).any(|target| tried.note(Outcome::TimedOut, target)));
    tried.now_ms += SECOND;
    assert!(tried.health.take_for_any(client(20), tried.now_ms));
    assert!(!tried.note(Outcome::Bound, 1));
    assert!(tried.take(tried.now_ms), "the probe is left to whoever is answered");
    let mut tried = Tried::at(7);
    tried.note(Outcome::AddressMissing, 1);
    tried.now_ms += SECOND;
    assert!(tried.health.take_for_any(client(20), tried.now_ms) && tried.note(Outcome::Bound, 1));
    assert_eq!(tried.state(), AddressState::Serving);
}

/// A target that refuses has heard of the address.
#[test]
fn a_refusal_shows_that_an_address_works_which_was_silent() {
    for (fault, ends) in
        [(Outcome::TimedOut, true), (Outcome::AddressMissing, true), (Outcome::Refused, false)]
    {
        let mut tried = Tried::at(7);
        assert!((0..100).any(|target| tried.note(fault, target)));
        tried.now_ms += SECOND;
        assert!(tried.take(tried.now_ms) && tried.note(Outcome::Refused, 1));
        assert_eq!(tried.state() == AddressState::Serving, ends, "{fault:?}");
    }
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
    assert!(tried.health.set_drained(true, 7) && !tried.health.set_drained(true, 7));
    assert_eq!(tried.state(), AddressState::Drained);
    tried.note(Outcome::AddressMissing, 1);
    assert!(!tried.take(1 << 40), "its cooldown is over");
    assert!(tried.health.set_drained(false, 7) && !tried.health.set_drained(false, 7));
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
                (None, 0) => tried.take(tried.now_ms),
                (None, _) => tried.health.set_drained(target % 2 == 0, tried.now_ms),
            };
        }
        if tried.state() == AddressState::Drained {
            prop_assert!(!tried.health.is_fit(client(20), u64::MAX >> 20));
            tried.health.set_drained(false, tried.now_ms);
        }
        let max = CooldownTerms::default().max.as_millis() as u64;
        if let Some((_, until_ms)) = tried.state().fault() {
            prop_assert!(until_ms <= tried.now_ms + max.max(limits::PROBE_TIME.as_millis() as u64));
            tried.now_ms = until_ms;
            prop_assert!(tried.take(until_ms));
            tried.note(Outcome::Connected, 0);
        }
        prop_assert_eq!(tried.state(), AddressState::Serving);
        prop_assert!(tried.health.is_fit(client(20), tried.now_ms) && tried.take(tried.now_ms));
    }
}
