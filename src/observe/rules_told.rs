//! What each rule decided so far, for whoever looks: the rules in effect in their order, and those that were.

use std::collections::HashSet;
use std::sync::Arc;

use super::counters::Counters;
use super::numbered::added_up;
use super::rule_hits::{Hits, RuleVerdict};
use crate::policy::parents::Parents;
use crate::policy::rule_names::RuleNames;
use crate::policy::rules::spec::{Action, Mode};
use crate::policy::rules::{RuleId, RuleSet};

/// The rules in effect, and the names of all that there ever were.
#[derive(Clone, Debug, Default)]
pub struct RulesInEffect {
    /// `None`: whatever the guard lets pass may be had.
    pub set: Option<RuleSet>,
    /// Every name.
    pub names: Arc<RuleNames>,
    /// What the rules lead sessions through, where there is anything.
    pub parents: Option<Arc<Parents>>,
}

/// A rule, and what it decided over all workers.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTold {
    /// Its name.
    pub name: Arc<str>,
    /// What it says and whether it decides; `None` where it is no rule any more.
    pub says: Option<(Action, Mode)>,
    /// How often it gave each verdict.
    pub hits: Hits,
}

impl RulesInEffect {
    /// The rules in effect in their order, the default behind them, and then those that are gone and had something to decide.
    pub fn told<'a>(&self, workers: impl Iterator<Item = &'a Counters> + Clone) -> Vec<RuleTold> {
        let hits = |rule| added_up(workers.clone().map(|counters| counters.rules.of(rule)));
        let tell = |rule, says| {
            let name = Arc::clone(self.names.of(rule)?);
            Some(RuleTold { name, says, hits: hits(rule) })
        };
        let (mut told, mut stand) = (Vec::new(), HashSet::from([RuleId::DEFAULT]));
        if let Some(set) = &self.set {
            for (rule, action, mode) in set.rules() {
                stand.insert(rule);
                told.extend(tell(rule, Some((action, mode))));
            }
            told.extend(tell(RuleId::DEFAULT, Some((set.default_action(), Mode::Enforce))));
        }
        let gone = self.names.iter().map(|(rule, _)| rule).filter(|rule| !stand.contains(rule));
        told.extend(gone.filter_map(|rule| tell(rule, None)).filter(|rule| rule.total() > 0));
        told
    }
}

impl RuleTold {
    /// The verdict that it gives now.
    pub fn verdict(&self) -> Option<RuleVerdict> {
        Some(match self.says? {
            (Action::Allow, Mode::Enforce) => RuleVerdict::Allow,
            (Action::Deny, Mode::Enforce) => RuleVerdict::Deny,
            (Action::Allow, Mode::Report) => RuleVerdict::WouldAllow,
            (Action::Deny, Mode::Report) => RuleVerdict::WouldDeny,
        })
    }

    /// All verdicts together.
    pub fn total(&self) -> u64 {
        self.hits.iter().sum()
    }

    /// Each verdict that it gives or gave, with how often.
    pub fn verdicts(&self) -> impl Iterator<Item = (RuleVerdict, u64)> {
        let usual = self.verdict();
        let all = RuleVerdict::ALL.into_iter().zip(self.hits);
        all.filter(move |(verdict, hits)| *hits > 0 || Some(*verdict) == usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::by_hand::{allow, deny, rules};
    use crate::policy::rules::spec::RuleSpec;
    use crate::policy::{DecidedBy, Decision};

    #[test]
    fn rules_are_told_in_their_order_with_the_default_and_what_is_gone() {
        let reports = RuleSpec { mode: Mode::Report, ..deny(|_| {}) };
        let set = rules(Action::Deny, [reports, allow(|_| {})]);
        let names = ["default", "reports", "allows", "gone", "never"].map(Arc::from).to_vec();
        let in_effect =
            RulesInEffect { set: Some(set), names: Arc::new(RuleNames::new(names)), parents: None };
        let workers = [Counters::default(), Counters::default()];
        let by = |rule| Decision { by: DecidedBy::Rule(RuleId(rule)), ..Decision::BY_DEFAULT };
        workers[0].rules.count(&Decision { would: Some(RuleId(1)), ..by(2) });
        workers[1].rules.count(&by(2));
        workers[1].rules.count(&by(3));
        let told = in_effect.told(workers.iter());
        let lines: Vec<_> =
            told.iter().map(|rule| (&*rule.name, rule.verdicts().collect::<Vec<_>>())).collect();
        assert_eq!(
            lines,
            [
                ("reports", vec![(RuleVerdict::WouldDeny, 1)]),
                ("allows", vec![(RuleVerdict::Allow, 2)]),
                ("default", vec![(RuleVerdict::Deny, 0)]),
                ("gone", vec![(RuleVerdict::Allow, 1)]),
            ]
        );
        assert_eq!(told[3].says, None);
        assert!(RulesInEffect::default().told([Counters::default()].iter()).is_empty());
    }
}
