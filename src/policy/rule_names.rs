//! The names of rules, for who knows them by their ids.

use std::sync::Arc;

use super::rules::RuleId;

/// The names of all rules that there ever were, by their ids. A session may outlive its rule, and its record still has the
/// name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleNames(Vec<Arc<str>>);

/// The name of what decides where no rule matches.
pub const DEFAULT_NAME: &str = "default";
/// The name of the guard where it decides.
pub const GUARD_NAME: &str = "guard";

/// Those that stand for no rule.
impl Default for RuleNames {
    fn default() -> RuleNames {
        RuleNames::new(vec![DEFAULT_NAME.into()])
    }
}

impl RuleNames {
    /// The names of these; the place of each is its rule's id.
    pub fn new(names: Vec<Arc<str>>) -> RuleNames {
        RuleNames(names)
    }

    /// The name of a rule; `None` where it is newer than this.
    pub fn of(&self, RuleId(number): RuleId) -> Option<&Arc<str>> {
        self.0.get(usize::from(number))
    }

    /// Every rule with its name.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, &Arc<str>)> {
        (0..=u16::MAX).map(RuleId).zip(&self.0)
    }

    /// The same names in memory of their own: whoever clones these writes no count that others write, too.
    #[must_use]
    pub fn apart(&self) -> RuleNames {
        RuleNames(self.0.iter().map(|name| Arc::from(&**name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_its_id_and_the_default_always_is() {
        assert_eq!(RuleNames::default().of(RuleId::DEFAULT).map(|name| &**name), Some("default"));
        let names = RuleNames::new(vec!["default".into(), "office".into()]);
        assert_eq!(names.of(RuleId(1)).map(|name| &**name), Some("office"));
        assert_eq!(names.of(RuleId(2)), None);
        let apart = names.apart();
        assert_eq!(apart, names);
        assert!(!Arc::ptr_eq(apart.of(RuleId(1)).unwrap(), names.of(RuleId(1)).unwrap()));
    }
}
