//! Random bytes in place of a greeting, and connections that are closed as soon as they stand, by FIN and by RST.

use std::time::Duration;

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::plan::HostilePlan;
use crate::seeded::Seeded;

/// Decides what is sent: every run sends the same.
const SEED: u64 = 1;
/// The most of it on one connection.
const BYTES_MAX: u64 = 2000;

struct Garbage;

pub(crate) fn arm(_plan: &HostilePlan) -> Armed {
    Armed::new(Garbage, Who::Anybody)
}

impl AttackScript for Garbage {
    fn attempt(&mut self, number: u64) -> Attempt {
        let mut chance = Seeded::new(SEED, number);
        let reset = chance.below(2) == 0;
        if chance.below(2) == 0 {
            return Attempt { hold: Some(Duration::ZERO), reset, ..Attempt::default() };
        }
        let length = chance.magnitude(BYTES_MAX);
        let mut opening: Vec<u8> = (0..length).map(|_| chance.next() as u8).collect();
        // Half of what is sent gets past the first byte.
        if let Some(first) = opening.first_mut().filter(|_| number.is_multiple_of(2)) {
            *first = 5;
        }
        Attempt { opening, reset, ..Attempt::default() }
    }
}
