//! Wrong logins from many sources that leave before they are judged: what the server still does for them, others wait
//! for.

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::plan::HostilePlan;
use super::wire::login;
use crate::fault::Fault;

/// Guesses at one user before the next is tried.
const GUESSES_AT_ONE: u64 = 10_000;

struct Logins;

/// Each login of the others is to be judged, and none known from before.
pub(crate) fn arm(plan: &HostilePlan) -> Result<Armed, Fault> {
    let sessions = 2 * (plan.rate * plan.seconds.as_secs_f64()).ceil() as usize;
    plan.users(sessions)?;
    Ok(Armed::new(Logins, Who::NewUsers))
}

impl AttackScript for Logins {
    /// It is gone once the method is named: by then the server has the login, which came in the same segment.
    fn attempt(&mut self, number: u64) -> Attempt {
        let opening = login(&format!("nobody{}", number / GUESSES_AT_ONE), &format!("wrong{number}"));
        Attempt { opening, answer: Some(2), ..Attempt::default() }
    }
}
