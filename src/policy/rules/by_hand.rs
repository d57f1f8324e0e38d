//! Rules for tests that are about something else than how rules are read.

use super::spec::{Action, Condition, Destination, NamePattern, RuleSpec, RuleSpecs};
use super::{RuleId, RuleSet};
use crate::proto::address::{Host, Name};

/// Rules whose ids are their places, from 1 on, and what holds where none matches.
pub(crate) fn rules(default: Action, rules: impl IntoIterator<Item = RuleSpec>) -> RuleSet {
    let rules: Vec<RuleSpec> = rules.into_iter().collect();
    let ids = (1..=rules.len()).map(|place| RuleId(place as u16)).collect();
    RuleSet::new(RuleSpecs { rules, default, ..RuleSpecs::default() }, ids)
}

/// The same for listeners of these texts and numbers.
pub(crate) fn at(rules: &RuleSet, listeners: &[(&str, u16)]) -> RuleSet {
    let listeners: Vec<_> = listeners.iter().map(|(text, number)| ((*text).into(), *number)).collect();
    rules.with_listeners(&listeners)
}

/// A rule that denies what this makes it match.
pub(crate) fn deny(make: impl FnOnce(&mut RuleSpec)) -> RuleSpec {
    let mut rule = RuleSpec { action: Action::Deny, ..RuleSpec::default() };
    make(&mut rule);
    rule
}

/// A rule that allows what this makes it match.
pub(crate) fn allow(make: impl FnOnce(&mut RuleSpec)) -> RuleSpec {
    let mut rule = RuleSpec { action: Action::Allow, ..RuleSpec::default() };
    make(&mut rule);
    rule
}

/// What any of these meets.
pub(crate) fn any<T>(values: impl IntoIterator<Item = T>) -> Condition<T> {
    Condition { any_of: values.into_iter().collect(), none_of: Vec::new() }
}

/// What leads to one of these: an address, a block, a name, `*.NAME` or `.NAME`.
pub(crate) fn to<'a>(texts: impl IntoIterator<Item = &'a str>) -> Condition<Destination> {
    any(texts.into_iter().map(|text| match (text.parse(), text.parse::<std::net::IpAddr>()) {
        (Ok(block), _) => Destination::Network(block),
        (_, Ok(ip)) => Destination::Network(ip.into()),
        _ => Destination::Name(match (text.strip_prefix("*."), text.strip_prefix('.')) {
            (Some(below), _) => NamePattern::Below(name(below)),
            (_, Some(under)) => NamePattern::Under(name(under)),
            _ => NamePattern::Exact(name(text)),
        }),
    }))
}

/// A name.
pub(crate) fn name(text: &str) -> Name {
    match Host::parse(text.as_bytes()) {
        Ok(Host::Name(name)) => name,
        other => panic!("{text}: {other:?}"),
    }
}
