//! How much the endpoint does for whoever asks, so that a flood leaves the CPU to the workers.

use std::time::{Duration, Instant};

use crate::limits;

/// What was done in the second that is under way.
#[derive(Debug)]
pub(super) struct Effort {
    began: Instant,
    pieces: u32,
}

impl Effort {
    pub(super) fn new(now: Instant) -> Effort {
        Effort { began: now, pieces: 0 }
    }

    /// A piece of work: a connection that is taken, or looked at.
    pub(super) fn note(&mut self) {
        self.pieces = self.pieces.saturating_add(1);
    }

    /// How long the thread is to rest behind a turn that took so long: not at all, unless there were more pieces of work in
    /// a second than all requests that are permitted come to.
    pub(super) fn rest(&mut self, now: Instant, turn: Duration) -> Duration {
        if now.saturating_duration_since(self.began) >= Duration::from_secs(1) {
            *self = Effort::new(now);
        }
        match self.pieces > limits::ADMIN_PIECES_A_SECOND {
            true => (turn * limits::ADMIN_REST_FACTOR).clamp(limits::ADMIN_REST_MIN, limits::ADMIN_REST_MAX),
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_a_quarter_of_the_time_and_what_is_permitted_all_of_it() {
        let begin = Instant::now();
        let (mut effort, turn) = (Effort::new(begin), Duration::from_millis(1));
        (0..limits::ADMIN_PIECES_A_SECOND).for_each(|_| effort.note());
        assert_eq!(effort.rest(begin, turn), Duration::ZERO);
        effort.note();
        assert_eq!(effort.rest(begin, turn), 3 * turn);
        assert_eq!(effort.rest(begin, Duration::ZERO), limits::ADMIN_REST_MIN);
        assert_eq!(effort.rest(begin, Duration::from_secs(1)), limits::ADMIN_REST_MAX);
        assert_eq!(effort.rest(begin + Duration::from_secs(1), turn), Duration::ZERO, "another second");
    }
}
