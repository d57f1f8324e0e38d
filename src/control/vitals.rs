//! What the control thread looks for once a second, remembered from one look to the next: whether the server can do what it
//! is there for. Looks are counted and not the time between them: a machine that stood still has stopped both sides.

use crate::limits;

/// A look at what changes from second to second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VitalSight {
    /// Whether a worker has as many sessions as it may have.
    pub(super) full: bool,
    /// Messages of name servers that answered something, ever.
    pub(super) server_answers: u64,
    /// Names that clients asked for and no server said anything of, ever.
    pub(super) names_failed: u64,
}

/// What the looks so far come to.
#[derive(Debug)]
pub(super) struct Observation {
    last: VitalSight,
    /// Looks in a row that found a worker full.
    full: u32,
    /// Looks since a name server answered, and since a name failed.
    without_answer: u32,
    without_failure: u32,
    no_name_server: bool,
}

/// Looks that a name server may be silent while names fail.
const SILENCE_LOOKS: u32 = looks(limits::NAME_SERVER_SILENCE);
/// Looks for which it is remembered that none answers, once no name is asked for any more.
const GRUDGE_LOOKS: u32 = looks(limits::NAME_SERVER_GRUDGE);

const fn looks(span: std::time::Duration) -> u32 {
    (span.as_secs() / limits::WATCHDOG_INTERVAL.as_secs()) as u32
}

impl Default for Observation {
    fn default() -> Observation {
        Observation {
            last: VitalSight::default(),
            full: 0,
            // None has ever answered.
            without_answer: u32::MAX,
            without_failure: u32::MAX,
            no_name_server: false,
        }
    }
}

impl Observation {
    /// One look, [`limits::WATCHDOG_INTERVAL`] after the last one.
    pub(super) fn look(&mut self, sight: VitalSight) {
        self.full = if sight.full { self.full.saturating_add(1) } else { 0 };
        let answered = sight.server_answers != self.last.server_answers;
        let failed = sight.names_failed != self.last.names_failed;
        self.without_answer = if answered { 0 } else { self.without_answer.saturating_add(1) };
        self.without_failure = if failed { 0 } else { self.without_failure.saturating_add(1) };
        self.no_name_server = match self.no_name_server {
            // Clients that went elsewhere ask for no names here: somebody has to try.
            true => !answered && self.without_failure <= GRUDGE_LOOKS,
            false => failed && self.without_answer > SILENCE_LOOKS,
        };
        self.last = sight;
    }

    /// Whether a worker has been full for over a second.
    pub(super) fn at_ceiling(&self) -> bool {
        self.full >= 2
    }

    /// Whether names fail because no name server answers.
    pub(super) fn no_name_server(&self) -> bool {
        self.no_name_server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_at_a_full_worker_is_not_a_second() {
        let mut observation = Observation::default();
        let mut look = |full| {
            observation.look(VitalSight { full, ..VitalSight::default() });
            observation.at_ceiling()
        };
        assert_eq!(
            [true, false, true, true, true, false].map(&mut look),
            [false, false, false, true, true, false]
        );
    }

    /// The looks that a server's silence takes, with what they see.
    struct Looks(Observation, VitalSight);

    impl Looks {
        fn new() -> Looks {
            Looks(Observation::default(), VitalSight::default())
        }

        /// One look that sees so many more answers and failures.
        fn see(&mut self, answers: u64, failures: u64) -> bool {
            self.1.server_answers += answers;
            self.1.names_failed += failures;
            self.0.look(self.1);
            self.0.no_name_server()
        }
    }

    #[test]
    fn who_is_asked_for_addresses_alone_needs_no_name_server() {
        let mut looks = Looks::new();
        assert!((0..1000).all(|_| !looks.see(0, 0)));
    }

    #[test]
    fn the_first_name_that_fails_tells_and_the_first_answer_takes_it_back() {
        let mut looks = Looks::new();
        assert!(!looks.see(0, 0) && looks.see(0, 1) && looks.see(0, 0) && looks.see(0, 3));
        assert!(!looks.see(1, 0));
        assert!(!looks.see(0, 1), "one has just answered");
    }

    #[test]
    fn names_that_fail_while_others_are_answered_tell_nothing() {
        let mut looks = Looks::new();
        looks.see(1, 0);
        for _ in 0..10 {
            assert!((0..SILENCE_LOOKS).all(|_| !looks.see(0, 1)));
            assert!(!looks.see(1, 1));
        }
        assert!((0..SILENCE_LOOKS).all(|_| !looks.see(0, 1)));
        assert!(looks.see(0, 1), "silent for too long");
    }

    #[test]
    fn who_is_not_asked_any_more_is_tried_again() {
        let mut looks = Looks::new();
        assert!(looks.see(0, 1));
        assert!((0..GRUDGE_LOOKS).all(|_| looks.see(0, 0)));
        assert!(!looks.see(0, 0));
        assert!(looks.see(0, 1));
    }
}
