//! What rules are asked and what they answer: values that whoever asks shares with what judges.

use std::net::IpAddr;

use super::spec::{Action, Logged};
use crate::policy::way::Way;
use crate::proto::address::Name;
use crate::proto::request::RequestCommand;

/// What the rules are asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks; `None`: nobody in particular.
    pub user: Option<&'a str>,
    /// Where the client comes from.
    pub source: IpAddr,
    /// The listener it came by, by the number that [`RuleSet::with_listeners`](super::RuleSet::with_listeners) was told.
    pub listener: u16,
    /// What for.
    pub command: RequestCommand,
    /// The target.
    pub target: Asked<'a>,
}

/// What is known of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Nothing: whether anything could be allowed.
    Anything,
    /// A name that is not resolved, and the port: whether any address of it could be allowed.
    Name(&'a Name, u16),
    /// A name that is not resolved here at all, and the port: whether what it leads to may be had whatever it is. Conditions on
    /// addresses are not met by it.
    Told(&'a Name, u16),
    /// An address and the port, and the name that led to it.
    Address(IpAddr, u16, Option<&'a Name>),
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Whether it may be had.
    pub action: Action,
    /// The rule that says so.
    pub rule: RuleId,
    /// The first rule that would have decided otherwise, did it decide.
    pub would: Option<RuleId>,
    /// Whether it may be had at special-purpose addresses, too.
    pub allow_private: bool,
    /// Which of its decisions the log tells, where the rule says so.
    pub log: Option<Logged>,
    /// By which way it goes, as far as the rule says so.
    pub way: Way,
}

/// A rule as sessions and counters know it: the same name has the same number for as long as the process lives, whatever
/// is reloaded, and no other name has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(pub u16);

impl RuleId {
    /// What decides where no rule matches.
    pub const DEFAULT: RuleId = RuleId(0);
}

/// What one rule comes to for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleStep {
    /// It matches, and decides.
    Decides,
    /// It matches, and would decide were it not in report mode: the next ones are asked.
    Reports,
    /// It denies, and whether it matches depends on what is not known yet: the next ones are asked.
    Open,
    /// It does not match: this condition does not hold, the first in the order of [`RuleKey`] of those that do not.
    Fails {
        /// Whose condition.
        key: RuleKey,
        /// Whether it is the `not_` twin that is met, and not that none of the key's own values is.
        negated: bool,
    },
}

/// A key of a rule that has a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKey {
    /// When it holds.
    When,
    /// Users.
    Users,
    /// Groups of users.
    Groups,
    /// Where clients come from.
    From,
    /// Listeners.
    Listeners,
    /// Commands.
    Commands,
    /// Ports of the target.
    Ports,
    /// The target.
    To,
}

impl RuleKey {
    /// How many there are.
    pub const COUNT: usize = 8;

    /// All, in their order.
    pub const ALL: [RuleKey; RuleKey::COUNT] = [
        RuleKey::When,
        RuleKey::Users,
        RuleKey::Groups,
        RuleKey::From,
        RuleKey::Listeners,
        RuleKey::Commands,
        RuleKey::Ports,
        RuleKey::To,
    ];

    /// The key as it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleKey::When => "when",
            RuleKey::Users => "users",
            RuleKey::Groups => "groups",
            RuleKey::From => "from",
            RuleKey::Listeners => "listeners",
            RuleKey::Commands => "commands",
            RuleKey::Ports => "ports",
            RuleKey::To => "to",
        }
    }
}
