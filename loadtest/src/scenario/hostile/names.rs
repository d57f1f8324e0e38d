//! Names that nobody answers, or that are answered late: each keeps the server's resolver waiting.

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::nameserver::{Answer, evil};
use super::plan::HostilePlan;
use super::wire::{CONNECT, METHOD_AND_REPLY, session};

struct Names {
    target: std::net::SocketAddr,
}

pub(crate) fn arm(plan: &HostilePlan) -> Armed {
    let answer = match plan.force.delay {
        Some(delay) => Answer::Late(delay),
        None => Answer::Never,
    };
    Armed { names: Some(answer), ..Armed::new(Names { target: plan.target }, Who::WithNames) }
}

impl AttackScript for Names {
    fn attempt(&mut self, number: u64) -> Attempt {
        let opening = session(CONNECT, self.target, Some(&evil(number)));
        Attempt { opening, answer: Some(METHOD_AND_REPLY), ..Attempt::default() }
    }
}
