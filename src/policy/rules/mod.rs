//! Rules: one ordered list, of which the first that matches decides.
//!
//! [`RuleSpecs`] is what an operator means, [`RuleSet`] what answers. What is asked may not be known whole yet, a name before
//! it is resolved or a listener before its peer comes: then the answer is whether anything could be allowed.

pub mod schedule;
pub mod spec;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use self::spec::{Action, Condition, Destination, Mode, RuleSpec, RuleSpecs, contains};
use crate::proto::address::Name;
use crate::proto::request::RequestCommand;

/// What the rules are asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks; `None`: nobody in particular.
    pub user: Option<&'a str>,
    /// Where the client comes from.
    pub source: IpAddr,
    /// The listener it came by: see [`RuleSet::with_listeners`].
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
}

/// A rule as sessions and counters know it: the same name has the same number for as long as the process lives, whatever
/// is reloaded, and no other name has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(pub u16);

impl RuleId {
    /// What decides where no rule matches.
    pub const DEFAULT: RuleId = RuleId(0);
}

/// Rules that answer. Immutable but for the time of day.
#[derive(Debug)]
pub struct RuleSet {
    specs: RuleSpecs,
    ids: Vec<RuleId>,
    /// Whether a rule's times hold, by its place; written by whoever has a clock: [`RuleSet::tell_time`].
    in_time: Box<[AtomicBool]>,
    /// Which listener has which number: the text as typed, and the number.
    listeners: Vec<(Arc<str>, u16)>,
}

/// What a condition comes to where not everything is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    Maybe,
    Yes,
}

impl Match {
    fn of(known: bool) -> Match {
        if known { Match::Yes } else { Match::No }
    }

    fn not(self) -> Match {
        match self {
            Match::No => Match::Yes,
            Match::Maybe => Match::Maybe,
            Match::Yes => Match::No,
        }
    }

    fn and(self, other: impl FnOnce() -> Match) -> Match {
        match self {
            Match::No => Match::No,
            Match::Maybe => other().min(Match::Maybe),
            Match::Yes => other(),
        }
    }

    fn or(self, other: Match) -> Match {
        self.not().and(|| other.not()).not()
    }
}

impl RuleSet {
    /// Rules that answer as these say; each has the id of its place in `ids`.
    pub fn new(specs: RuleSpecs, ids: Vec<RuleId>) -> RuleSet {
        let in_time = specs.rules.iter().map(|rule| AtomicBool::new(rule.when.is_empty())).collect();
        RuleSet { specs, ids, in_time, listeners: Vec::new() }
    }

    /// Says what time it is. Where it is not told, no rule with times matches.
    pub fn tell_time(&self, now: Timestamp) {
        for (rule, in_time) in self.specs.rules.iter().zip(&self.in_time) {
            let holds = satisfied(&rule.when, |schedule| Match::of(schedule.has(now))) == Match::Yes;
            in_time.store(holds, Ordering::Relaxed);
        }
    }

    /// What they say of this: the first rule that matches, else the default. Of what is not known whole: the first rule that
    /// allows it whatever comes, or may allow it, else what denies it.
    pub fn judge(&self, question: &Question<'_>) -> Ruling {
        let mut would = None;
        for (place, rule) in self.specs.rules.iter().enumerate() {
            let matches = self.matches(place, rule, question);
            let decides = match (matches, rule.action) {
                (Match::No, _) | (Match::Maybe, Action::Deny) => continue,
                (Match::Yes, _) | (Match::Maybe, Action::Allow) => rule.mode == Mode::Enforce,
            };
            if decides {
                return Ruling {
                    action: rule.action,
                    rule: self.ids[place],
                    would: would.filter(|&(_, action)| action != rule.action).map(|(id, _)| id),
                    allow_private: rule.action == Action::Allow && rule.allow_private,
                };
            }
            would = would.or(Some((self.ids[place], rule.action)));
        }
        Ruling {
            action: self.specs.default,
            rule: RuleId::DEFAULT,
            would: would.filter(|&(_, action)| action != self.specs.default).map(|(id, _)| id),
            allow_private: false,
        }
    }

    fn matches(&self, place: usize, rule: &RuleSpec, question: &Question<'_>) -> Match {
        let user = question.user;
        let group = |&group: &usize| {
            let members = &self.specs.groups[group].members;
            Match::of(user.is_some_and(|user| members.iter().any(|member| **member == *user)))
        };
        let listener = |typed: &Arc<str>| {
            Match::of(
                self.listeners.iter().any(|(text, number)| text == typed && *number == question.listener),
            )
        };
        let port = |ports: &std::ops::RangeInclusive<u16>| match question.target {
            Asked::Anything => Match::Maybe,
            Asked::Name(_, port) | Asked::Address(_, port, _) => Match::of(ports.contains(&port)),
        };
        Match::of(self.in_time[place].load(Ordering::Relaxed))
            .and(|| satisfied(&rule.users, |name| Match::of(user == Some(&**name))))
            .and(|| satisfied(&rule.groups, group))
            .and(|| satisfied(&rule.from, |net| Match::of(contains(net, question.source))))
            .and(|| satisfied(&rule.listeners, listener))
            .and(|| satisfied(&rule.commands, |&command| Match::of(command == question.command)))
            .and(|| satisfied(&rule.ports, port))
            .and(|| satisfied(&rule.to, |to| self.leads(to, question.target)))
    }

    fn leads(&self, to: &Destination, target: Asked<'_>) -> Match {
        match (to, target) {
            (_, Asked::Anything) | (Destination::Network(_), Asked::Name(..)) => Match::Maybe,
            (Destination::Network(net), Asked::Address(ip, ..)) => Match::of(contains(net, ip)),
            (Destination::Name(pattern), Asked::Name(name, _) | Asked::Address(_, _, Some(name))) => {
                Match::of(pattern.has(name))
            }
            (Destination::Name(_), Asked::Address(_, _, None)) => Match::No,
            (&Destination::List(place), _) => {
                let list = &self.specs.lists[place];
                let names = list.names.iter().cloned().map(Destination::Name);
                let networks = list.networks.iter().copied().map(Destination::Network);
                names.chain(networks).map(|to| self.leads(&to, target)).fold(Match::No, Match::or)
            }
        }
    }
}

/// Whether a condition holds, where each of its values comes to this.
fn satisfied<T>(condition: &Condition<T>, matches: impl Fn(&T) -> Match) -> Match {
    let any = |values: &[T]| values.iter().map(&matches).fold(Match::No, Match::or);
    let meets = if condition.any_of.is_empty() { Match::Yes } else { any(&condition.any_of) };
    meets.and(|| any(&condition.none_of).not())
}
