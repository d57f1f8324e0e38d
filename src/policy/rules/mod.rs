//! Rules: one ordered list, of which the first that matches decides.
//!
//! [`RuleSpecs`] is what an operator means, [`RuleSet`] what answers. What is asked may not be known whole yet, a name before
//! it is resolved or a listener before its peer comes: then the answer is whether anything could be allowed.

#[cfg(test)]
pub(crate) mod by_hand;
mod compile;
mod compiled;
mod layout;
#[cfg(test)]
mod linear;
mod members;
mod names;
mod networks;
mod ports;
mod question;
pub mod schedule;
mod sets;
mod shadow;
pub mod spec;
#[cfg(test)]
mod tests;
mod texts;
mod timetable;

pub use question::{Asked, Question, RuleId, RuleKey, RuleStep, Ruling};

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use self::compiled::{Answering, Compiled};
use self::members::RuleMembers;
use self::sets::SetId;
use self::spec::{Action, GroupSpec, Mode, RuleSpecs};
use self::timetable::Timetable;

/// Rules that answer, to be had again for little by `clone`. Immutable but for the time.
#[derive(Clone)]
pub struct RuleSet {
    rules: Arc<Compiled>,
    members: Arc<RuleMembers>,
    times: Arc<Timetable>,
    /// What rules say of listeners, by their numbers.
    listeners: Arc<[SetId]>,
}

impl fmt::Debug for RuleSet {
    /// How many there are: each could be a thousand lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleSet of {}", self.rules.answers.len())
    }
}

impl RuleSet {
    /// Rules that answer as these say; each has the id of its place in `ids`. Takes long where lists are long: a second for a
    /// million entries.
    pub fn new(specs: RuleSpecs, ids: Vec<RuleId>) -> RuleSet {
        assert_eq!(specs.rules.len(), ids.len(), "an id for each rule");
        let (rules, members, times) = compile::compile(specs, &ids);
        RuleSet {
            rules: Arc::new(rules),
            members: Arc::new(members),
            times: Arc::new(times),
            listeners: Arc::new([]),
        }
    }

    /// The same rules, which know listeners by these names and numbers, of which each number
    /// stands there once. They share what they are told of the time.
    #[must_use]
    pub fn with_listeners(&self, listeners: &[(Arc<str>, u16)]) -> RuleSet {
        let numbers = listeners.iter().map(|(_, number)| usize::from(*number) + 1).max();
        let mut sets = vec![SetId::EMPTY; numbers.unwrap_or_default()];
        for (typed, number) in listeners {
            sets[usize::from(*number)] = self.rules.listeners.get(typed).copied().unwrap_or_default();
        }
        RuleSet { listeners: sets.into(), ..self.clone() }
    }

    /// The same rules where these are in their groups, of which each stands at the place that it had. They share what they are
    /// told of the time, and all that is long.
    #[must_use]
    pub fn with_groups(&self, groups: &[GroupSpec]) -> RuleSet {
        RuleSet { members: Arc::new(self.members.with_groups(groups)), ..self.clone() }
    }

    /// The same rules as they are at this time, whatever time the others are told. Takes as long as there are rules with times.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> RuleSet {
        RuleSet { times: Arc::new(self.times.at(time)), ..self.clone() }
    }

    /// Says what time it is. Where it is not told, no rule with times matches.
    pub fn tell_time(&self, now: Timestamp) {
        self.times.tell(now);
    }

    /// Another number whenever the time has changed what they say.
    pub fn epoch(&self) -> u32 {
        self.times.epoch()
    }

    /// Whether they are the very same rules, for the same listeners.
    pub fn is_as(&self, other: &RuleSet) -> bool {
        Arc::ptr_eq(&self.rules, &other.rules)
            && Arc::ptr_eq(&self.members, &other.members)
            && self.listeners == other.listeners
    }

    /// The rules, in the order in which they are asked, and what they say.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, Action, Mode)> {
        self.rules.answers.iter().map(|answer| (answer.id, answer.action, answer.mode))
    }

    /// What holds where no rule matches.
    pub fn default_action(&self) -> Action {
        self.rules.default
    }

    /// What they say of this: the first rule that matches, else the default. Of what is not known whole: the first rule that
    /// allows it whatever comes, or may allow it, else what denies it.
    pub fn judge(&self, question: &Question<'_>) -> Ruling {
        self.answering().judge(question)
    }

    /// What each rule comes to for this, in their order: the last one is the one that decides, where one does.
    pub fn explain(&self, question: &Question<'_>) -> Vec<(RuleId, RuleStep)> {
        self.answering().explain(question)
    }

    fn answering(&self) -> Answering<'_> {
        let RuleSet { rules, members, times, listeners } = self;
        Answering { rules, members, times, listeners }
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.rules.bytes() + self.members.bytes() + self.times.bytes()
    }
}
