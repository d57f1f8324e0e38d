//! Requests that an operator supposes, while their names are being resolved.

use super::mailbox::{Reply, SupposedTold};
use crate::policy::rules::RuleSet;
use crate::session::Explanation;

/// Those whose names are being resolved.
#[derive(Debug, Default)]
pub(super) struct Explanations {
    pub(super) open: Vec<OpenExplanation>,
    /// How many there were: the number of the next.
    pub(super) begun: u64,
}

/// One that waits for a name.
#[derive(Debug)]
pub(super) struct OpenExplanation {
    pub(super) number: u64,
    pub(super) told: Box<Explanation>,
    /// By which it is judged, where that is not the policy in effect.
    pub(super) rules: Option<RuleSet>,
    pub(super) reply: Reply<SupposedTold>,
}
