//! The rules and how often each decided, as JSON.

use std::time::SystemTime;

use serde::Serialize;

use super::history::time_text;
use crate::config::Choice;
use crate::observe::{RuleTold, RuleVerdict};

/// The answer to a question for the rules.
#[derive(Debug, Serialize)]
pub(super) struct RulesShown {
    time: String,
    rules: Vec<ShownRule>,
}

/// One rule.
#[derive(Debug, Serialize)]
pub(super) struct ShownRule {
    rule: String,
    action: Option<&'static str>,
    mode: Option<&'static str>,
    hits: u64,
    allow: u64,
    deny: u64,
    would_deny: u64,
    would_allow: u64,
}

impl RulesShown {
    /// All of them.
    pub(super) fn of(told: &[RuleTold]) -> RulesShown {
        RulesShown { time: time_text(SystemTime::now()), rules: told.iter().map(ShownRule::of).collect() }
    }
}

impl ShownRule {
    fn of(told: &RuleTold) -> ShownRule {
        let hits = |verdict: RuleVerdict| told.hits[verdict as usize];
        ShownRule {
            rule: told.name.to_string(),
            action: told.says.map(|(action, _)| action.name()),
            mode: told.says.map(|(_, mode)| mode.name()),
            hits: told.total(),
            allow: hits(RuleVerdict::Allow),
            deny: hits(RuleVerdict::Deny),
            would_deny: hits(RuleVerdict::WouldDeny),
            would_allow: hits(RuleVerdict::WouldAllow),
        }
    }
}

/// So many of them at most: those with the most hits, in the order of the rules.
pub(super) fn busiest(told: &[RuleTold], most: usize) -> Vec<ShownRule> {
    let mut places: Vec<usize> = (0..told.len()).collect();
    places.sort_by_key(|&place| (std::cmp::Reverse(told[place].total()), place));
    places.truncate(most);
    places.sort_unstable();
    places.into_iter().map(|place| ShownRule::of(&told[place])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::spec::{Action, Mode};

    fn told(name: &str, hits: u64) -> RuleTold {
        RuleTold { name: name.into(), says: Some((Action::Deny, Mode::Report)), hits: [0, 0, hits, 0] }
    }

    #[test]
    fn a_rule_says_what_it_decides_and_how_often_it_did() {
        let gone = RuleTold { says: None, ..told("gone", 1) };
        let text = serde_json::to_value(RulesShown::of(&[told("no-ads", 7), gone])).unwrap();
        let rule = |name, action: Option<&str>, mode: Option<&str>, hits| {
            serde_json::json!({
                "rule": name, "action": action, "mode": mode, "hits": hits, "allow": 0, "deny": 0,
                "would_deny": hits, "would_allow": 0,
            })
        };
        let both = [rule("no-ads", Some("deny"), Some("report"), 7), rule("gone", None, None, 1)];
        assert_eq!(text["rules"], serde_json::json!(both));
    }

    #[test]
    fn the_busiest_stand_in_the_order_of_the_rules() {
        let all = [told("a", 1), told("b", 0), told("c", 5), told("d", 0), told("e", 3)];
        let names = |most| -> Vec<String> { busiest(&all, most).into_iter().map(|rule| rule.rule).collect() };
        assert_eq!(names(3), ["a", "c", "e"]);
        assert_eq!(names(4), ["a", "b", "c", "e"]);
        assert_eq!(names(9).len(), 5);
    }
}
