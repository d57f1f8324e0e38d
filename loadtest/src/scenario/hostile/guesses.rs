//! Passwords that are guessed from one source over many connections, each closed within a moment: where a right
//! answer comes at once and a wrong one late, silence says wrong.
//!
//! Each user of the file but the first is guessed at some times wrong and then right, once: a right guess that is
//! answered within the moment shows that the others could be.

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::plan::HostilePlan;
use super::wire::login;
use crate::fault::Fault;
use crate::record::Attempts;

/// Every so many guesses one is right.
const TRIES: u64 = 10;
/// The method, and the verdict that a login is right (RFC 1929 section 2).
const RIGHT: [u8; 4] = [5, 2, 1, 0];

struct Guesses {
    users: Vec<(String, String)>,
    probes: u64,
    answered: u64,
}

pub(crate) fn arm(plan: &HostilePlan) -> Result<Armed, Fault> {
    let users = plan.users(2)?[1..].to_vec();
    Ok(Armed::new(Guesses { users, probes: 0, answered: 0 }, Who::KnownUser))
}

impl Guesses {
    /// Whether that guess is right: the last at its user, who was never logged in before.
    fn is_probe(&self, number: u64) -> bool {
        number % TRIES == TRIES - 1 && number / TRIES < self.users.len() as u64
    }
}

impl AttackScript for Guesses {
    fn attempt(&mut self, number: u64) -> Attempt {
        let (user, password) = &self.users[(number / TRIES) as usize % self.users.len()];
        let wrong = format!("wrong{number}");
        let password = if self.is_probe(number) { password } else { &wrong };
        Attempt { opening: login(user, password), answer: Some(RIGHT.len()), ..Attempt::default() }
    }

    fn heard(&mut self, number: u64, answer: &[u8]) {
        if self.is_probe(number) {
            self.probes += 1;
            self.answered += u64::from(answer == RIGHT);
        }
    }

    fn tell(&self, attempts: &mut Attempts) {
        attempts.probes = Some(self.probes);
        attempts.probes_answered = Some(self.answered);
        if self.probes > 0 {
            let share = self.answered as f64 / self.probes as f64;
            attempts.guesses_per_second = Some(attempts.attempts_per_second * share);
        }
    }
}
