//! Which file makes which attack ready.

use super::armed::Armed;
use super::kind::AttackKind;
use super::plan::HostilePlan;
use super::{binds, dials, garbage, guesses, logins, names, silent, tokens};
use crate::fault::Fault;

/// Makes ready what the attack needs.
pub(super) fn arm(plan: &HostilePlan) -> Result<Armed, Fault> {
    match plan.kind {
        AttackKind::Dials => dials::arm(plan),
        AttackKind::Names => Ok(names::arm(plan)),
        AttackKind::Logins => logins::arm(plan),
        AttackKind::Guesses => guesses::arm(plan),
        AttackKind::Tokens => Ok(tokens::arm(plan)),
        AttackKind::Binds => Ok(binds::arm(plan)),
        AttackKind::Silent => silent::arm(plan),
        AttackKind::Garbage => Ok(garbage::arm(plan)),
    }
}
