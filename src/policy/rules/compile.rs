//! Makes rules answer: each value that they name gets its set.

use std::collections::HashMap;
use std::hash::Hash;

use super::compiled::{COMMANDS, Compiled, RuleAnswer, UnknownSets, command_place};
use super::layout::{KeyMask, Layout};
use super::members::RuleMembers;
use super::names::NameTable;
use super::networks::BlockTable;
use super::ports::{PortSpan, PortTable};
use super::question::RuleId;
use super::sets::{RuleBits, SetId, SetMaker};
use super::spec::{Action, Condition, Destination, GroupSpec, ListSpec, RuleSpec, RuleSpecs};
use super::timetable::Timetable;

/// The rules that these say, each with the id of its place, their users and their times.
pub(super) fn compile(specs: RuleSpecs, ids: &[RuleId]) -> (Compiled, RuleMembers, Timetable) {
    let RuleSpecs { rules, lists, groups, default } = specs;
    let layout = Layout::new(&rules);
    let words = layout.rows.len();
    let mut maker = SetMaker::new(words);
    let placed = RulePlaces { rules: &rules, layout: &layout };
    let [unknown, possible] = [false, true].map(|possible| placed.unknown(&lists, possible, &mut maker));
    let from = placed.by_value(|rule| &rule.from, |net| Some(*net), &mut maker);
    let from = BlockTable::new(from.into_iter().collect(), &mut maker);
    let listeners = placed.by_value(|rule| &rule.listeners, |typed| Some(typed.clone()), &mut maker);
    let mut commands = [SetId::EMPTY; COMMANDS];
    for (command, set) in
        placed.by_value(|rule| &rule.commands, |&command| Some(command_place(command)), &mut maker)
    {
        commands[command] = set;
    }
    let ports = PortTable::new(placed.ports(), words, &mut maker);
    let times = Timetable::new(words, placed.each().map(|(place, bit, rule)| (place, bit, &rule.when)));
    let (to_names, to_blocks) = placed.destinations(lists, &mut maker);
    let members = placed.members(&groups, maker);
    let of_rows = |keys: fn(&super::layout::RuleRow) -> KeyMask| {
        layout.rows.iter().fold(KeyMask::default(), |all, row| all.with(keys(row)))
    };
    let (needs, negates) = (of_rows(|row| row.needs), of_rows(|row| row.negates));
    let answer = |(rule, &id): (&RuleSpec, &RuleId)| RuleAnswer {
        id,
        action: rule.action,
        mode: rule.mode,
        allow_private: rule.allow_private && rule.action == Action::Allow,
        log: rule.log,
        way: rule.way,
    };
    let compiled = Compiled {
        answers: rules.iter().zip(ids).map(answer).collect(),
        layout,
        default,
        needs,
        asks: needs.with(negates),
        from,
        listeners,
        commands,
        ports,
        to_names,
        to_blocks,
        unknown,
        possible,
    };
    (compiled, members, times)
}

/// Rules, and where their bits are.
#[derive(Clone, Copy)]
struct RulePlaces<'a> {
    rules: &'a [RuleSpec],
    layout: &'a Layout,
}

impl<'a> RulePlaces<'a> {
    /// Each rule, with its place and its bit.
    fn each(self) -> impl Iterator<Item = (usize, u32, &'a RuleSpec)> {
        self.rules.iter().enumerate().map(move |(place, rule)| (place, self.layout.bit(place), rule))
    }

    /// The set of each value that stands in a key, where `value` takes it for one.
    fn by_value<T: 'a, V: Eq + Hash>(
        self,
        key: impl Fn(&'a RuleSpec) -> &'a Condition<T>,
        value: impl Fn(&'a T) -> Option<V>,
        maker: &mut SetMaker,
    ) -> HashMap<V, SetId> {
        let mut bits: HashMap<V, RuleBits> = HashMap::new();
        for (_, bit, rule) in self.each() {
            for (typed, negated) in key(rule).values() {
                if let Some(value) = value(typed) {
                    bits.entry(value).or_default().add(bit, negated);
                }
            }
        }
        bits.into_iter().map(|(value, bits)| (value, maker.make(&bits))).collect()
    }

    /// Users, whose sets are the last to be made.
    fn members(self, groups: &[GroupSpec], mut maker: SetMaker) -> RuleMembers {
        let named = self.by_value(|rule| &rule.users, |name| Some(name.as_bytes()), &mut maker);
        let grouped = self.by_value(|rule| &rule.groups, |&group| Some(group), &mut maker);
        let of_group = |group: usize| grouped.get(&group).copied().unwrap_or_default();
        let named: Vec<(&[u8], SetId)> = named.into_iter().collect();
        RuleMembers::new(&named, (0..groups.len()).map(of_group).collect(), groups, maker)
    }

    fn ports(self) -> Vec<PortSpan> {
        let mut spans = Vec::new();
        for (_, bit, rule) in self.each() {
            spans.extend(rule.ports.values().map(|(ports, negated)| PortSpan {
                bit,
                negated,
                first: *ports.start(),
                last: *ports.end(),
            }));
        }
        spans
    }

    /// What leads somewhere. All entries of a list have its set; it is let go of as it is read.
    fn destinations(self, lists: Vec<ListSpec>, maker: &mut SetMaker) -> (NameTable, BlockTable) {
        fn network(to: &Destination) -> Option<ipnet::IpNet> {
            if let Destination::Network(net) = to { Some(*net) } else { None }
        }
        let name = |to: &'a Destination| if let Destination::Name(name) = to { Some(name) } else { None };
        let list = |to: &Destination| if let Destination::List(list) = to { Some(*list) } else { None };
        let mut blocks: Vec<_> = self.by_value(|rule| &rule.to, network, maker).into_iter().collect();
        let named = self.by_value(|rule| &rule.to, name, maker);
        let mut names: Vec<_> = named.into_iter().map(|(name, set)| (name.clone(), set)).collect();
        let listed = self.by_value(|rule| &rule.to, list, maker);
        for (place, list) in lists.into_iter().enumerate() {
            let Some(&set) = listed.get(&place) else { continue };
            names.extend(list.names.into_iter().map(|name| (name, set)));
            blocks.extend(list.networks.into_iter().map(|network| (network, set)));
        }
        (NameTable::new(names, maker), BlockTable::new(blocks, maker))
    }

    /// The sets for what is not known, with the rules that may match or, where they deny, with those alone that match
    /// whatever comes. `possible`: with all that may match.
    fn unknown(self, lists: &[ListSpec], possible: bool, maker: &mut SetMaker) -> UnknownSets {
        let network = |to: &Destination| match to {
            Destination::Network(_) => true,
            Destination::Name(_) => false,
            Destination::List(place) => !lists[*place].networks.is_empty(),
        };
        let anything = |to: &Destination| match to {
            Destination::Network(_) | Destination::Name(_) => true,
            Destination::List(place) => {
                !(lists[*place].networks.is_empty() && lists[*place].names.is_empty())
            }
        };
        let [mut address, mut target, mut port] = [(); 3].map(|()| RuleBits::default());
        for (_, bit, rule) in self.each() {
            let may = possible || rule.action == Action::Allow;
            let add = |set: &mut RuleBits, any: bool, none: bool| {
                if may && any {
                    set.add(bit, false);
                }
                if !may && none {
                    set.add(bit, true);
                }
            };
            let Condition { any_of, none_of } = &rule.to;
            add(&mut address, any_of.iter().any(network), none_of.iter().any(network));
            add(&mut target, any_of.iter().any(anything), none_of.iter().any(anything));
            add(&mut port, !rule.ports.any_of.is_empty(), !rule.ports.none_of.is_empty());
        }
        UnknownSets { address: maker.make(&address), target: maker.make(&target), port: maker.make(&port) }
    }
}
