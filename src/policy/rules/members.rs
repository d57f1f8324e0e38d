//! Users by their names: of each the set of the rules that name him, and the set of those that name his groups.
//!
//! What depends on who is in which group stands here alone. Somebody who comes into a group or leaves one has nothing else made
//! anew: neither the names of lists nor the blocks, of which there may be a million.

use std::collections::HashSet;

use super::sets::{SetId, SetMaker, Sets};
use super::spec::GroupSpec;
use super::texts::Texts;

/// Users with their sets, and all sets that there are.
#[derive(Debug)]
pub(super) struct RuleMembers {
    users: Texts,
    /// Those that values lead to, and behind them those of users who are in several groups.
    pub(super) sets: Sets,
    /// Of each group, by its place: the set of the rules that name it.
    grouped: Vec<SetId>,
    /// How far the sets go that do not depend on who is in which group.
    own: usize,
}

impl RuleMembers {
    /// Users with the sets of those that rules name, and of those groups, which the maker has made beside all others.
    pub(super) fn new(
        named: &[(&[u8], SetId)],
        grouped: Vec<SetId>,
        groups: &[GroupSpec],
        maker: SetMaker,
    ) -> RuleMembers {
        let own = maker.len();
        RuleMembers::made(named, grouped, groups, maker, own)
    }

    /// The same where these are in the groups, of which each has the place that it had.
    pub(super) fn with_groups(&self, groups: &[GroupSpec]) -> RuleMembers {
        let named: Vec<(&[u8], SetId)> =
            self.users.iter().map(|(name, [named, _])| (name, named)).filter(is_named).collect();
        let maker = SetMaker::beginning_with(&self.sets, self.own);
        RuleMembers::made(&named, self.grouped.clone(), groups, maker, self.own)
    }

    fn made(
        named: &[(&[u8], SetId)],
        grouped: Vec<SetId>,
        groups: &[GroupSpec],
        mut maker: SetMaker,
        own: usize,
    ) -> RuleMembers {
        let members = || {
            let of = groups.iter().zip(&grouped);
            of.flat_map(|(group, set)| group.members.iter().map(|member| (member.as_bytes(), *set)))
        };
        let all: HashSet<&[u8]> = named.iter().copied().chain(members()).map(|(name, _)| name).collect();
        let mut users = Texts::new(all.len(), all.iter().map(|name| name.len()).sum());
        for (name, set) in named {
            users.change(name, |[_, grouped]| [*set, grouped]);
        }
        for (member, set) in members() {
            users.change(member, |[named, grouped]| [named, maker.unite(grouped, set)]);
        }
        RuleMembers { users, sets: maker.finish(), grouped, own }
    }

    /// The sets of a user: of the rules that name him, and of those that name his groups.
    pub(super) fn of(&self, user: &str) -> [SetId; 2] {
        self.users.get(user.as_bytes()).unwrap_or_default()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.users.bytes() + self.sets.bytes() + size_of_val(&*self.grouped)
    }
}

fn is_named((_, named): &(&[u8], SetId)) -> bool {
    *named != SetId::EMPTY
}
