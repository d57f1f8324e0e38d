//! Rules asked one after the other, value by value: what rules mean, in as few lines as it can be said.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::question::{Asked, Question, RuleKey, RuleStep};
use super::spec::{Action, Condition, Destination, Mode, RuleSpec, RuleSpecs};

/// What is asked of rules, by whom, and what else they go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear<'a> {
    /// The rules.
    pub(super) specs: &'a RuleSpecs,
    /// Which listener has which number.
    pub(super) listeners: &'a [(Arc<str>, u16)],
    /// The time; where there is none, no rule with times holds.
    pub(super) now: Option<Timestamp>,
    /// What is asked.
    pub(super) question: Question<'a>,
}

/// What a condition comes to where not everything is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    No,
    Maybe,
    Yes,
}

impl Match {
    fn of(known: bool) -> Match {
        if known { Match::Yes } else { Match::No }
    }

    fn or(self, other: Match) -> Match {
        match (self, other) {
            (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
            (Match::No, Match::No) => Match::No,
            _ => Match::Maybe,
        }
    }
}

/// Whether a condition's own values hold, and whether one of its `not_` twin is met.
struct ConditionMatch {
    any: Match,
    none: Match,
}

fn halves<T>(condition: &Condition<T>, matches: impl Fn(&T) -> Match) -> ConditionMatch {
    let meets = |values: &[T]| values.iter().map(&matches).fold(Match::No, Match::or);
    let any = if condition.any_of.is_empty() { Match::Yes } else { meets(&condition.any_of) };
    ConditionMatch { any, none: meets(&condition.none_of) }
}

impl Linear<'_> {
    /// What a rule comes to.
    pub(super) fn step(&self, rule: &RuleSpec) -> RuleStep {
        let mut open = false;
        for key in RuleKey::ALL {
            let halves = self.halves(rule, key);
            match halves {
                ConditionMatch { any: Match::No, .. } => return RuleStep::Fails { key, negated: false },
                ConditionMatch { none: Match::Yes, .. } => return RuleStep::Fails { key, negated: true },
                ConditionMatch { any: Match::Yes, none: Match::No } => {}
                _ => open = true,
            }
        }
        match (rule.action, rule.mode) {
            (Action::Deny, _) if open => RuleStep::Open,
            (_, Mode::Report) => RuleStep::Reports,
            (_, Mode::Enforce) => RuleStep::Decides,
        }
    }

    fn halves(&self, rule: &RuleSpec, key: RuleKey) -> ConditionMatch {
        let Question { user, source, listener, command, .. } = self.question;
        match key {
            RuleKey::When => match self.now {
                None => ConditionMatch { any: Match::of(rule.when.is_empty()), none: Match::No },
                Some(now) => halves(&rule.when, |when| Match::of(when.has(now))),
            },
            RuleKey::Users => halves(&rule.users, |name| Match::of(user == Some(&**name))),
            RuleKey::Groups => halves(&rule.groups, |&group| {
                let members = &self.specs.groups[group].members;
                Match::of(user.is_some_and(|user| members.iter().any(|member| **member == *user)))
            }),
            RuleKey::From => halves(&rule.from, |net| Match::of(contains(net, source))),
            RuleKey::Listeners => halves(&rule.listeners, |typed| {
                Match::of(self.listeners.iter().any(|(text, number)| text == typed && *number == listener))
            }),
            RuleKey::Commands => halves(&rule.commands, |&one| Match::of(one == command)),
            RuleKey::Ports => halves(&rule.ports, |ports| self.has_port(ports)),
            RuleKey::To => halves(&rule.to, |to| self.leads(to)),
        }
    }

    fn has_port(&self, ports: &RangeInclusive<u16>) -> Match {
        match self.question.target {
            Asked::Anything => Match::Maybe,
            Asked::Name(_, port) | Asked::Told(_, port) | Asked::Address(_, port, _) => {
                Match::of(ports.contains(&port))
            }
        }
    }

    fn leads(&self, to: &Destination) -> Match {
        match (to, self.question.target) {
            (&Destination::List(place), _) => {
                let list = &self.specs.lists[place];
                let names = list.names.iter().cloned().map(Destination::Name);
                let networks = list.networks.iter().copied().map(Destination::Network);
                names.chain(networks).map(|to| self.leads(&to)).fold(Match::No, Match::or)
            }
            (_, Asked::Anything) | (Destination::Network(_), Asked::Name(..)) => Match::Maybe,
            (Destination::Network(_), Asked::Told(..)) => Match::No,
            (Destination::Network(net), Asked::Address(ip, ..)) => Match::of(contains(net, ip)),
            (
                Destination::Name(pattern),
                Asked::Name(name, _) | Asked::Told(name, _) | Asked::Address(_, _, Some(name)),
            ) => Match::of(pattern.has(name)),
            (Destination::Name(_), Asked::Address(_, _, None)) => Match::No,
        }
    }
}

/// Whether a block has an address; an IPv4-mapped address is an IPv4 address.
fn contains(net: &IpNet, ip: IpAddr) -> bool {
    net.contains(&ip.to_canonical())
}
