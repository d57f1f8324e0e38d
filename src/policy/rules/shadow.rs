//! Rules that can never match, as an earlier one takes all that they would, or as nothing is left of a condition.
//!
//! What is found is so; not all is found. Values are compared one with one: what only several of an earlier rule cover
//! together (two halves of a block, two rules) is not seen, nor what a group's members have to do with users, a long list's
//! entries with anything but that very list, or one schedule with another. Past `SHADOW_STEPS_MAX` comparisons the rest is
//! not looked at.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::layout::{KeyMask, keys};
use super::question::RuleKey;
use super::spec::{Condition, Destination, ListSpec, Mode, NamePattern, RuleSpec, RuleSpecs};
use crate::limits::{SHADOW_LIST_MAX, SHADOW_STEPS_MAX};
use crate::proto::request::RequestCommand;

impl RuleSpecs {
    /// Rules that an earlier one shadows, each with the first that does: by their places.
    pub fn shadowed(&self) -> Vec<(usize, usize)> {
        let lists = expanded(&self.lists);
        let search = Search { rules: &self.rules, lists: &lists, steps: Cell::new(SHADOW_STEPS_MAX) };
        let mut earlier: HashMap<KeyMask, Earlier<'_>> = HashMap::new();
        let mut found = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let (needs, _) = keys(rule);
            // What an earlier rule needs in a key where this one needs nothing leaves something to this one.
            let groups = earlier.iter().filter(|(their, _)| their.within(needs));
            let by = groups.filter_map(|(_, group)| search.shadowing(rule, group)).min();
            found.extend(by.map(|by| (place, by)));
            if search.steps.get() == 0 {
                break;
            }
            // What is shadowed itself shadows nothing that the other does not.
            if rule.mode == Mode::Enforce && by.is_none() {
                earlier.entry(needs).or_insert_with(|| Earlier::new(needs)).add(place, rule, &lists);
            }
        }
        found
    }

    /// Rules of which a condition leaves nothing, and its key: each value is excluded by the `not_` twin, or no list has an
    /// entry. Who is in which group is not looked at: that changes without the rules.
    pub fn unmatchable(&self) -> Vec<(usize, RuleKey)> {
        let lists = expanded(&self.lists);
        let search = Search { rules: &self.rules, lists: &lists, steps: Cell::new(SHADOW_STEPS_MAX) };
        let empty_key =
            |rule: &RuleSpec| RuleKey::ALL.into_iter().find(|key| self.is_empty(&search, rule, *key));
        let each = self.rules.iter().enumerate();
        each.filter_map(|(place, rule)| Some((place, empty_key(rule)?))).collect()
    }

    fn is_empty(&self, search: &Search<'_>, rule: &RuleSpec, key: RuleKey) -> bool {
        fn excluded<T>(condition: &Condition<T>, covers: impl Fn(&T, &T) -> bool) -> bool {
            let Condition { any_of, none_of } = condition;
            let out = |one: &T| none_of.iter().any(|other| covers(other, one));
            !any_of.is_empty() && any_of.iter().all(out)
        }
        let no_entries = |to: &Destination| match to {
            Destination::List(list) => {
                let ListSpec { names, networks, .. } = &self.lists[*list];
                names.is_empty() && networks.is_empty()
            }
            _ => false,
        };
        match key {
            RuleKey::When => excluded(&rule.when, |other, one| other == one),
            RuleKey::Users => excluded(&rule.users, |other, one| other == one),
            RuleKey::Groups => excluded(&rule.groups, |other, one| other == one),
            RuleKey::From => excluded(&rule.from, |other, one| other.contains(one)),
            RuleKey::Listeners => excluded(&rule.listeners, |other, one| other == one),
            RuleKey::Commands => excluded(&rule.commands, |other, one| other == one),
            RuleKey::Ports => excluded(&rule.ports, has_ports),
            RuleKey::To => {
                let to = &rule.to.any_of;
                let empty = !to.is_empty() && to.iter().all(no_entries);
                empty || excluded(&rule.to, |other, one| search.leads(other, one))
            }
        }
    }
}

/// The entries of the lists that are short.
fn expanded(lists: &[ListSpec]) -> Vec<Option<Vec<Destination>>> {
    let entries = |list: &ListSpec| {
        let short = list.names.len() + list.networks.len() <= SHADOW_LIST_MAX;
        let names = list.names.iter().cloned().map(Destination::Name);
        short.then(|| names.chain(list.networks.iter().copied().map(Destination::Network)).collect())
    };
    lists.iter().map(entries).collect()
}

/// What rules can be found by that cover a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Anchor<'a> {
    Text(&'a str),
    Group(usize),
    Command(RequestCommand),
    Block(IpNet),
    List(usize),
}

/// Earlier rules that need values in the same keys.
struct Earlier<'a> {
    /// The key that they are found by, where they need one that has anchors.
    key: Option<RuleKey>,
    all: Vec<usize>,
    by_anchor: HashMap<Anchor<'a>, Vec<usize>>,
}

impl<'a> Earlier<'a> {
    fn new(needs: KeyMask) -> Earlier<'a> {
        // Those first that tell rules apart best.
        let keys = [
            RuleKey::Users,
            RuleKey::To,
            RuleKey::From,
            RuleKey::Groups,
            RuleKey::Listeners,
            RuleKey::Commands,
        ];
        let key = keys.into_iter().find(|key| needs.has(*key));
        Earlier { key, all: Vec::new(), by_anchor: HashMap::new() }
    }

    fn add(&mut self, place: usize, rule: &'a RuleSpec, lists: &'a [Option<Vec<Destination>>]) {
        self.all.push(place);
        let Some(key) = self.key else { return };
        for anchor in anchors(rule, key, lists) {
            let places = self.by_anchor.entry(anchor).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }
}

/// What a rule's values in a key are found by.
fn anchors<'a>(rule: &'a RuleSpec, key: RuleKey, lists: &'a [Option<Vec<Destination>>]) -> Vec<Anchor<'a>> {
    match key {
        RuleKey::Users => rule.users.any_of.iter().map(|name| Anchor::Text(name)).collect(),
        RuleKey::Listeners => rule.listeners.any_of.iter().map(|typed| Anchor::Text(typed)).collect(),
        RuleKey::Groups => rule.groups.any_of.iter().map(|&group| Anchor::Group(group)).collect(),
        RuleKey::Commands => rule.commands.any_of.iter().map(|&command| Anchor::Command(command)).collect(),
        RuleKey::From => rule.from.any_of.iter().map(|net| Anchor::Block(net.trunc())).collect(),
        RuleKey::To => {
            let anchors = |to: &'a Destination| match to {
                Destination::List(list) => {
                    let entries = lists[*list].iter().flatten().filter_map(anchor);
                    entries.chain([Anchor::List(*list)]).collect()
                }
                _ => Vec::from_iter(anchor(to)),
            };
            rule.to.any_of.iter().flat_map(anchors).collect()
        }
        RuleKey::When | RuleKey::Ports => Vec::new(),
    }
}

fn anchor(to: &Destination) -> Option<Anchor<'_>> {
    match to {
        Destination::Network(net) => Some(Anchor::Block(net.trunc())),
        Destination::Name(pattern) => Some(Anchor::Text(base(pattern))),
        Destination::List(_) => None,
    }
}

/// The anchor, and those of what may cover it: the blocks around a block, the names above a name.
fn around(anchor: Anchor<'_>) -> Vec<Anchor<'_>> {
    match anchor {
        Anchor::Block(net) => {
            let wider = std::iter::successors(Some(net), |net| net.supernet());
            wider.map(Anchor::Block).collect()
        }
        Anchor::Text(text) => {
            let above = std::iter::successors(Some(text), |text| Some(text.split_once('.')?.1));
            above.map(Anchor::Text).collect()
        }
        other => vec![other],
    }
}

fn base(pattern: &NamePattern) -> &str {
    let (NamePattern::Exact(name) | NamePattern::Below(name) | NamePattern::Under(name)) = pattern;
    name.as_str()
}

struct Search<'a> {
    rules: &'a [RuleSpec],
    /// The entries of short lists.
    lists: &'a [Option<Vec<Destination>>],
    /// Comparisons that are left.
    steps: Cell<usize>,
}

impl Search<'_> {
    /// The first of these that takes all that a later rule would.
    fn shadowing(&self, rule: &RuleSpec, earlier: &Earlier<'_>) -> Option<usize> {
        let covers = |&place: &usize| self.spend() && self.covers(&self.rules[place], rule);
        let Some(key) = earlier.key else { return earlier.all.iter().copied().find(covers) };
        // Whatever covers all values covers the first, and is found around it.
        let first = anchors(rule, key, self.lists).into_iter().next()?;
        let mut places: Vec<usize> = around(first)
            .iter()
            .filter_map(|anchor| earlier.by_anchor.get(anchor))
            .flatten()
            .copied()
            .collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().find(covers)
    }

    /// Counts a comparison; false: there have been enough.
    fn spend(&self) -> bool {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether all that one rule matches the other does, too.
    fn covers(&self, outer: &RuleSpec, inner: &RuleSpec) -> bool {
        let nets = (|outer: &IpNet, inner: &IpNet| outer.contains(inner), blocks_meet);
        // Schedules that differ may have a minute in common.
        self.holds(&outer.when, &inner.when, (|one, other| one == other, |_, _| true))
            && self.holds(&outer.commands, &inner.commands, same())
            && self.holds(&outer.users, &inner.users, same())
            && self.holds(&outer.groups, &inner.groups, (|one, other| one == other, |_, _| true))
            && self.holds(&outer.listeners, &inner.listeners, same())
            && self.holds(&outer.ports, &inner.ports, (has_ports, ports_meet))
            && self.holds(&outer.from, &inner.from, nets)
            && self.holds(
                &outer.to,
                &inner.to,
                (|outer, inner| self.leads(outer, inner), |one, other| destinations_meet(one, other)),
            )
    }

    /// Whether one condition holds wherever the other does, by whether a value covers another, and whether two have
    /// something in common.
    fn holds<T>(
        &self,
        outer: &Condition<T>,
        inner: &Condition<T>,
        (covers, meet): (impl Fn(&T, &T) -> bool, impl Fn(&T, &T) -> bool),
    ) -> bool {
        let covered = |by: &[T], value: &T| by.iter().any(|one| self.spend() && covers(one, value));
        let apart = |value: &T| {
            let all = &inner.any_of;
            !all.is_empty() && all.iter().all(|one| self.spend() && !meet(one, value))
        };
        let any = outer.any_of.is_empty()
            || (!inner.any_of.is_empty() && inner.any_of.iter().all(|value| covered(&outer.any_of, value)));
        any && outer.none_of.iter().all(|value| covered(&inner.none_of, value) || apart(value))
    }

    /// Whether one destination has all that the other has.
    fn leads(&self, outer: &Destination, inner: &Destination) -> bool {
        match (outer, inner) {
            (Destination::List(one), Destination::List(other)) if one == other => true,
            (_, Destination::List(list)) => {
                let covered = |entry: &Destination| self.spend() && self.leads(outer, entry);
                self.lists[*list].as_ref().is_some_and(|entries| entries.iter().all(covered))
            }
            (Destination::List(list), _) => {
                let covers = |entry: &Destination| self.spend() && self.leads(entry, inner);
                self.lists[*list].as_ref().is_some_and(|entries| entries.iter().any(covers))
            }
            (Destination::Network(outer), Destination::Network(inner)) => outer.contains(inner),
            (Destination::Name(outer), Destination::Name(inner)) => has_names(outer, inner),
            _ => false,
        }
    }
}

/// Values that are one or have nothing in common.
fn same<T: PartialEq>() -> (impl Fn(&T, &T) -> bool, impl Fn(&T, &T) -> bool) {
    (|one: &T, other: &T| one == other, |one: &T, other: &T| one == other)
}

fn has_ports(outer: &RangeInclusive<u16>, inner: &RangeInclusive<u16>) -> bool {
    outer.start() <= inner.start() && inner.end() <= outer.end()
}

fn ports_meet(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
}

fn blocks_meet(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn has_names(outer: &NamePattern, inner: &NamePattern) -> bool {
    match (outer, inner) {
        (_, NamePattern::Exact(name)) => outer.has(name),
        (NamePattern::Exact(_), _) => false,
        (_, NamePattern::Under(name)) => outer.has(name),
        (_, NamePattern::Below(name)) => outer.has(name) || base(outer) == name.as_str(),
    }
}

/// Whether two may have something in common. A name may lead to any address.
fn destinations_meet(one: &Destination, other: &Destination) -> bool {
    match (one, other) {
        (Destination::Network(one), Destination::Network(other)) => blocks_meet(one, other),
        (Destination::Name(one), Destination::Name(other)) => {
            let below = |name: &str, of: &str| name.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
            let (one, other) = (base(one), base(other));
            one == other || below(one, other) || below(other, one)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::by_hand::{allow, any, deny, to};
    use super::*;

    fn specs(rules: impl IntoIterator<Item = RuleSpec>) -> RuleSpecs {
        RuleSpecs { rules: rules.into_iter().collect(), ..RuleSpecs::default() }
    }

    /// Whether the second rule is found to be shadowed by the first.
    fn shadows(first: RuleSpec, second: RuleSpec) -> bool {
        specs([first, second]).shadowed() == [(1, 0)]
    }

    fn deny_to<const N: usize>(texts: [&str; N]) -> RuleSpec {
        deny(|rule| rule.to = to(texts))
    }

    fn users<const N: usize>(names: [&str; N]) -> Condition<Arc<str>> {
        any(names.map(Arc::from))
    }

    #[test]
    fn a_rule_is_shadowed_by_one_that_has_all_its_values() {
        assert!(shadows(deny_to(["10.0.0.0/8"]), deny_to(["10.1.0.0/16", "10.2.3.4"])));
        assert!(shadows(deny_to(["*.example.com"]), deny_to(["a.example.com", ".b.example.com"])));
        assert!(shadows(deny_to([".example.com"]), deny_to(["*.example.com"])));
        assert!(shadows(allow(|_| {}), deny_to(["10.0.0.0/8"])));
        assert!(shadows(
            deny(|rule| rule.users = users(["ann", "bob"])),
            allow(|rule| rule.users = users(["bob"]))
        ));
        assert!(shadows(
            deny(|rule| rule.ports = any([1..=100])),
            allow(|rule| rule.ports = any([80..=80, 1..=1]))
        ));
    }

    #[test]
    fn a_rule_that_has_something_of_its_own_is_not_shadowed() {
        assert!(!shadows(deny_to(["10.1.0.0/16"]), deny_to(["10.0.0.0/8"])));
        assert!(!shadows(deny_to(["*.example.com"]), deny_to([".example.com"])));
        assert!(!shadows(deny_to(["example.com"]), deny_to(["*.example.com"])));
        // A name leads to any address, and an address is reached by any name.
        assert!(!shadows(deny_to(["0.0.0.0/0", "::/0"]), deny_to(["example.com"])));
        assert!(!shadows(deny_to(["10.0.0.0/8"]), deny(|_| {})));
        assert!(!shadows(
            deny(|rule| rule.users = users(["ann"])),
            allow(|rule| rule.users = users(["ann", "bob"]))
        ));
    }

    #[test]
    fn what_the_earlier_one_excludes_is_left_to_the_later_one() {
        let all_but = |texts: [&'static str; 1]| deny(|rule| rule.to.none_of = to(texts).any_of);
        assert!(!shadows(all_but(["10.0.0.0/8"]), deny_to(["10.1.0.0/16"])));
        assert!(!shadows(all_but(["10.0.0.0/8"]), deny_to(["example.com"])));
        assert!(shadows(all_but(["10.0.0.0/8"]), deny_to(["11.0.0.0/8"])));
        assert!(shadows(all_but(["10.0.0.0/8"]), all_but(["10.0.0.0/7"])));
        assert!(!shadows(all_but(["10.0.0.0/7"]), all_but(["10.0.0.0/8"])));
    }

    #[test]
    fn what_only_reports_shadows_nothing() {
        let reports = RuleSpec { mode: Mode::Report, ..deny(|_| {}) };
        assert!(!shadows(reports.clone(), deny_to(["10.0.0.0/8"])));
        assert!(shadows(deny(|_| {}), reports));
    }

    #[test]
    fn short_lists_are_looked_into_and_long_ones_are_themselves() {
        let list = |last: u8| ListSpec {
            networks: (0..=last).map(|n| IpNet::new([10, n, 0, 0].into(), 16).expect("a block")).collect(),
            ..ListSpec::default()
        };
        let listed = |place| deny(|rule| rule.to = any([Destination::List(place)]));
        let shadowed =
            |rules: [RuleSpec; 2]| RuleSpecs { lists: vec![list(9), list(100)], ..specs(rules) }.shadowed();
        assert_eq!(shadowed([listed(0), deny_to(["10.3.4.5"])]), [(1, 0)]);
        assert_eq!(shadowed([deny_to(["10.0.0.0/8"]), listed(0)]), [(1, 0)]);
        assert_eq!(shadowed([listed(1), listed(1)]), [(1, 0)]);
        assert_eq!(shadowed([listed(1), deny_to(["10.3.4.5"])]), []);
    }

    #[test]
    fn ten_thousand_rules_of_one_user_each_take_few_comparisons() {
        let rule = |n: usize| deny(|rule| rule.users = any([Arc::from(format!("user{n}"))]));
        let specs = specs((0..10_000).map(rule).chain([rule(77)]));
        assert_eq!(specs.shadowed(), [(10_000, 77)]);
    }

    #[test]
    fn conditions_of_which_nothing_is_left_are_named() {
        let without = |none: &'static str| RuleSpec {
            to: Condition { none_of: to([none]).any_of, ..to(["10.1.0.0/16"]) },
            ..RuleSpec::default()
        };
        let empty = RuleSpecs {
            lists: vec![ListSpec::default()],
            ..specs([
                without("10.0.0.0/8"),
                without("10.1.2.0/24"),
                deny(|rule| rule.to = any([Destination::List(0)])),
                deny(|rule| rule.to.none_of = vec![Destination::List(0)]),
                deny(|rule| rule.groups = Condition { any_of: vec![0], none_of: vec![0] }),
            ])
        };
        assert_eq!(empty.unmatchable(), [(0, RuleKey::To), (2, RuleKey::To), (4, RuleKey::Groups)]);
    }
}
