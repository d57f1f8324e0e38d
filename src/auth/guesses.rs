//! Whether a worker may give an answer that it remembers at once.
//!
//! Who guesses at a user learns from the silence that a guess is wrong, if a right one is answered at once. So of a
//! source that asked for unknown passwords of a user too often, even a known one goes the way of all others, and waits
//! for its turn. Each worker counts for itself: they allow that many times as much.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use super::pace::{Pace, Rate};
use crate::limits::{GUESS_INTERVAL, GUESSES_AT_ONCE, PACE_KEYS};
use crate::shares::Source;

/// The unknown passwords that sources lately came with, by user.
#[derive(Debug)]
pub struct Guesses {
    pace: Pace<u64>,
    hasher: RandomState,
}

impl Default for Guesses {
    fn default() -> Guesses {
        let rate = Rate { at_once: GUESSES_AT_ONCE, interval: GUESS_INTERVAL };
        Guesses { pace: Pace::new(rate, PACE_KEYS), hasher: RandomState::new() }
    }
}

impl Guesses {
    /// Whether the source asked for so few unknown passwords of the user that it may be told what is remembered.
    pub fn are_few(&self, source: Source, user: &[u8], now: Instant) -> bool {
        self.pace.ready_at(self.pair(source, user), now) <= now
    }

    /// Counts a password of the source's of which nothing is remembered.
    pub fn count(&mut self, source: Source, user: &[u8], now: Instant) {
        self.pace.take(self.pair(source, user), now);
    }

    /// Takes back what an unknown password of the source's was counted for, as it was right.
    pub fn was_right(&mut self, source: Source, user: &[u8]) {
        self.pace.give_back(self.pair(source, user));
    }

    fn pair(&self, source: Source, user: &[u8]) -> u64 {
        self.hasher.hash_one((source, user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_is_told_no_sooner_that_he_is_right() {
        let (now, mut guesses) = (Instant::now(), Guesses::default());
        let (one, other) = (Source::V4([192, 0, 2, 1]), Source::V4([192, 0, 2, 2]));
        for _ in 0..GUESSES_AT_ONCE {
            assert!(guesses.are_few(one, b"alice", now));
            guesses.count(one, b"alice", now);
        }
        assert!(!guesses.are_few(one, b"alice", now));
        assert!(guesses.are_few(one, b"bob", now) && guesses.are_few(other, b"alice", now));
        assert!(guesses.are_few(one, b"alice", now + GUESS_INTERVAL));
        guesses.was_right(one, b"alice");
        assert!(guesses.are_few(one, b"alice", now));
    }
}
