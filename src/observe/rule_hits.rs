//! What each rule decided, or would have: one writer for each worker, like all its counters.

use super::numbered::NumberedCounts;
use crate::policy::Decision;
use crate::policy::rules::RuleId;

/// What a rule says of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleVerdict {
    /// It may be had.
    Allow,
    /// It may not.
    Deny,
    /// It might not be had, did the rule decide: it only reports.
    WouldDeny,
    /// It might be had, did the rule decide.
    WouldAllow,
}

impl RuleVerdict {
    /// Every verdict, in the order of its number.
    pub const ALL: [RuleVerdict; 4] =
        [RuleVerdict::Allow, RuleVerdict::Deny, RuleVerdict::WouldDeny, RuleVerdict::WouldAllow];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            RuleVerdict::Allow => "allow",
            RuleVerdict::Deny => "deny",
            RuleVerdict::WouldDeny => "would_deny",
            RuleVerdict::WouldAllow => "would_allow",
        }
    }
}

/// How often a rule gave each verdict, in the order of [`RuleVerdict::ALL`].
pub type Hits = [u64; RuleVerdict::ALL.len()];

/// A worker's counts. Only that worker writes them.
#[derive(Debug, Default)]
pub struct RuleHits(NumberedCounts<{ RuleVerdict::ALL.len() }>);

impl RuleHits {
    /// Counts a decision for the rule that made it, and for the one that would have made another.
    pub fn count(&self, decision: &Decision) {
        let (did, would) = match decision.allowed {
            true => (RuleVerdict::Allow, RuleVerdict::WouldDeny),
            false => (RuleVerdict::Deny, RuleVerdict::WouldAllow),
        };
        if let Some(rule) = decision.by.rule() {
            self.add(rule, did);
        }
        decision.would.into_iter().for_each(|rule| self.add(rule, would));
    }

    fn add(&self, RuleId(number): RuleId, verdict: RuleVerdict) {
        self.0.add(number, verdict as usize, 1);
    }

    /// How often a rule gave each verdict.
    pub fn of(&self, RuleId(number): RuleId) -> Hits {
        self.0.of(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::DecidedBy;

    #[test]
    fn a_decision_counts_for_its_rule_and_for_the_one_that_would_have_made_another() {
        let hits = RuleHits::default();
        let decision = |by, allowed, would| Decision { by, allowed, would, logged: false };
        let rule = |number| DecidedBy::Rule(RuleId(number));
        hits.count(&decision(rule(0), true, Some(RuleId(300))));
        hits.count(&decision(rule(300), false, None));
        hits.count(&decision(rule(u16::MAX), false, Some(RuleId(1))));
        hits.count(&decision(DecidedBy::Guard, false, None));
        hits.count(&decision(rule(0), true, None));
        assert_eq!(hits.of(RuleId(0)), [2, 0, 0, 0]);
        assert_eq!(hits.of(RuleId(300)), [0, 1, 1, 0]);
        assert_eq!(hits.of(RuleId(u16::MAX)), [0, 1, 0, 0]);
        assert_eq!(hits.of(RuleId(1)), [0, 0, 0, 1]);
    }
}
