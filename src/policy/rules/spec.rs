//! Rules as an operator means them: checked values, of which nothing is compiled yet.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::schedule::Schedule;
use crate::policy::way::Way;
use crate::proto::address::Name;
use crate::proto::request::RequestCommand;

/// The whole of an operator's rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSpecs {
    /// The rules, in the order in which they are asked.
    pub rules: Vec<RuleSpec>,
    /// The lists that they name, by their places in [`Destination::List`].
    pub lists: Vec<ListSpec>,
    /// Which groups there are, and who is in each of them.
    pub groups: Vec<GroupSpec>,
    /// What holds where no rule matches.
    pub default: Action,
}

/// One rule: it matches where each of its conditions does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSpec {
    /// Its name, which no other rule has.
    pub name: Arc<str>,
    /// Users by their names; nobody is no user.
    pub users: Condition<Arc<str>>,
    /// Groups, by their places in [`RuleSpecs::groups`].
    pub groups: Condition<usize>,
    /// Where clients come from.
    pub from: Condition<IpNet>,
    /// Listeners, by their names.
    pub listeners: Condition<Arc<str>>,
    /// Where to.
    pub to: Condition<Destination>,
    /// Ports of the target.
    pub ports: Condition<RangeInclusive<u16>>,
    /// What is asked for.
    pub commands: Condition<RequestCommand>,
    /// When.
    pub when: Condition<Schedule>,
    /// What the rule says.
    pub action: Action,
    /// Whether it decides, or only says what it would have decided.
    pub mode: Mode,
    /// Whether an allowed address may be a special-purpose one, which the guard refuses otherwise.
    pub allow_private: bool,
    /// Which of its decisions the log tells; `None`: as `policy.log` says.
    pub log: Option<Logged>,
    /// By which way goes what it allows.
    pub way: Way,
}

/// Values of which one has to be met, and values of which none may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition<T> {
    /// Empty: anything meets it.
    pub any_of: Vec<T>,
    /// What is met by one of these does not match.
    pub none_of: Vec<T>,
}

impl<T> Default for Condition<T> {
    fn default() -> Condition<T> {
        Condition { any_of: Vec::new(), none_of: Vec::new() }
    }
}

impl<T> Condition<T> {
    /// Whether it holds, whatever is asked.
    pub fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty()
    }

    /// Each value, and whether it may not be met.
    pub(super) fn values(&self) -> impl Iterator<Item = (&T, bool)> {
        let any_of = self.any_of.iter().map(|value| (value, false));
        any_of.chain(self.none_of.iter().map(|value| (value, true)))
    }
}

/// Where something goes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// Addresses of this block.
    Network(IpNet),
    /// Names of this pattern.
    Name(NamePattern),
    /// What stands in the list of this place in [`RuleSpecs::lists`].
    List(usize),
}

/// Names, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// This name alone: `example.com`.
    Exact(Name),
    /// All names below this one: `*.example.com`.
    Below(Name),
    /// This name, and all names below it: `.example.com`.
    Under(Name),
}

impl NamePattern {
    /// Whether it has this name.
    pub fn has(&self, name: &Name) -> bool {
        let below = |of: &Name| {
            let rest = name.as_str().strip_suffix(of.as_str());
            rest.is_some_and(|rest| rest.ends_with('.'))
        };
        match self {
            NamePattern::Exact(one) => one == name,
            NamePattern::Below(of) => below(of),
            NamePattern::Under(of) => of == name || below(of),
        }
    }
}

/// Writes the pattern as it is typed.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamePattern::Exact(name) => name.fmt(f),
            NamePattern::Below(name) => write!(f, "*.{name}"),
            NamePattern::Under(name) => write!(f, ".{name}"),
        }
    }
}

/// A list of destinations, named by rules as `@name`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListSpec {
    /// Its name, without the `@`.
    pub name: Arc<str>,
    /// Its names.
    pub names: Vec<NamePattern>,
    /// Its blocks.
    pub networks: Vec<IpNet>,
}

/// A group of users.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Who is in it.
    pub members: Vec<Arc<str>>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// It may be had.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// Whether a rule decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It does not: what it would have decided is told, and the next rules are asked.
    Report,
}

/// Which decisions the log tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Logged {
    /// Those that deny.
    #[default]
    Deny,
    /// All.
    All,
    /// None.
    Nothing,
}
