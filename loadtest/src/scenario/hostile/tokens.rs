//! Halves of GSSAPI tokens (RFC 1961 section 3), which the server has to keep until the rest comes.

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::plan::HostilePlan;

/// Greeting with method GSSAPI, and the head of a first token of the greatest length: VER, MTYP, LEN.
const OPENING: [u8; 7] = [5, 1, 1, 1, 1, 0xFF, 0xFF];
/// All of it but the last; and of every fourth less, which fills what the large ones leave of a bound.
const BODY_BYTES: [usize; 4] = [0xFFFF - 1, 0xFFFF - 1, 0xFFFF - 1, 4500];

struct Tokens;

pub(crate) fn arm(_plan: &HostilePlan) -> Armed {
    Armed::new(Tokens, Who::WithTokens)
}

impl AttackScript for Tokens {
    fn attempt(&mut self, number: u64) -> Attempt {
        let mut opening = OPENING.to_vec();
        opening.resize(OPENING.len() + BODY_BYTES[number as usize % BODY_BYTES.len()], 0x60);
        Attempt { opening, ..Attempt::default() }
    }
}
