//! Looks at the workers from outside: one that does not get on with its turn is said and counted.

use std::time::Duration;

use crate::limits;
use crate::observe::{Activity, Pulse};

/// What is remembered of one worker between two looks.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    turn: u64,
    /// Looks in a row that found the same turn, and it busy. Looks are counted and not the time between them: a
    /// machine that stood still has stopped both sides.
    looks: u32,
}

/// What a look found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchdogFinding {
    /// The worker has been in one turn, busy with this, for too long; said once for each stall.
    Stalls(Activity),
    /// A worker that stalled has come to its next turn.
    TurnsAgain,
}

/// Looks that make a stall.
const STALL_LOOKS: u32 = (limits::STALL_PATIENCE.as_secs() / limits::WATCHDOG_INTERVAL.as_secs()) as u32;

impl Watchdog {
    /// For how long the worker has stood still, at least, if it does.
    pub(super) fn stalled_for(&self) -> Option<Duration> {
        (self.looks > STALL_LOOKS).then(|| limits::WATCHDOG_INTERVAL * (self.looks - 1))
    }

    /// One look, [`limits::WATCHDOG_INTERVAL`] after the last one.
    pub(super) fn look(&mut self, pulse: &Pulse) -> Option<WatchdogFinding> {
        let (turn, activity) = pulse.read();
        let stalled = self.looks > STALL_LOOKS;
        if turn != self.turn || activity.is_rest() {
            *self = Watchdog { turn, looks: u32::from(!activity.is_rest()) };
            return stalled.then_some(WatchdogFinding::TurnsAgain);
        }
        self.looks = self.looks.saturating_add(1);
        (self.looks == STALL_LOOKS + 1).then_some(WatchdogFinding::Stalls(activity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_turns_or_has_ended_is_left_alone() {
        let (pulse, mut dog) = (Pulse::default(), Watchdog::default());
        pulse.turn();
        for rest in [Activity::Waiting, Activity::Ended] {
            pulse.enter(rest);
            assert!((0..100).all(|_| dog.look(&pulse).is_none()));
        }
        assert!((0..100).all(|_| {
            pulse.turn();
            dog.look(&pulse).is_none()
        }));
    }

    #[test]
    fn a_stall_is_said_once_after_five_seconds_and_so_is_its_end() {
        let (pulse, mut dog) = (Pulse::default(), Watchdog::default());
        for _ in 0..2 {
            pulse.turn();
            pulse.enter(Activity::Timers);
            let said: Vec<_> = (0..20).map(|_| dog.look(&pulse)).collect();
            assert_eq!(said.iter().position(Option::is_some), Some(5), "the first look is at 0 s");
            assert_eq!(said[5], Some(WatchdogFinding::Stalls(Activity::Timers)));
            assert!(said[6..].iter().all(Option::is_none));
            assert_eq!(dog.stalled_for(), Some(Duration::from_secs(19)));
            pulse.enter(Activity::Waiting);
            assert_eq!(dog.look(&pulse), Some(WatchdogFinding::TurnsAgain));
            assert_eq!((dog.look(&pulse), dog.stalled_for()), (None, None));
        }
    }
}
