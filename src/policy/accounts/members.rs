//! Whose members users are: of groups whose sessions count together, and of limits that the users file puts them under.

use std::collections::HashMap;
use std::sync::Arc;

/// The groups and the limits of users, where limits ask for either.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LimitedUsers {
    by_name: HashMap<Arc<str>, UserLimits>,
    named: Vec<Arc<str>>,
}

/// The groups and the limits of one user.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// The groups that the user is in, sorted.
    pub groups: Vec<Arc<str>>,
    /// The limits, by their places among [`LimitedUsers::named`].
    pub limits: Vec<usize>,
}

impl LimitedUsers {
    /// The users of these groups.
    pub fn in_groups<'a>(groups: impl IntoIterator<Item = (&'a Arc<str>, &'a Arc<str>)>) -> LimitedUsers {
        let mut users = LimitedUsers::default();
        for (group, user) in groups {
            users.by_name.entry(user.clone()).or_default().groups.push(group.clone());
        }
        for user in users.by_name.values_mut() {
            user.groups.sort_unstable();
            user.groups.dedup();
        }
        users
    }

    /// These, where each of these users has these limits.
    #[must_use]
    pub fn with_limits<'a>(
        mut self,
        users: impl IntoIterator<Item = (&'a Arc<str>, &'a [Arc<str>])>,
    ) -> LimitedUsers {
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        for (user, limits) in users.into_iter().filter(|(_, limits)| !limits.is_empty()) {
            let place = |limit: &Arc<str>| {
                let next = places.len();
                *places.entry(limit.clone()).or_insert(next)
            };
            self.by_name.entry(user.clone()).or_default().limits = limits.iter().map(place).collect();
        }
        let mut named: Vec<(Arc<str>, usize)> = places.into_iter().collect();
        named.sort_unstable_by_key(|(_, place)| *place);
        self.named = named.into_iter().map(|(name, _)| name).collect();
        self
    }

    /// What is known of a user; `None`: neither groups nor limits.
    pub fn of(&self, user: &str) -> Option<&UserLimits> {
        self.by_name.get(user)
    }

    /// The names of the limits that users have.
    pub fn named(&self) -> &[Arc<str>] {
        &self.named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_groups_and_limits_or_neither() {
        let [ann, bob, staff, night, gold, slow] =
            ["ann", "bob", "staff", "night", "gold", "slow"].map(Arc::<str>::from);
        // Both the configuration and the users file may put a user into a group.
        let members = [(&staff, &ann), (&night, &ann), (&staff, &ann)];
        let (of_ann, of_bob) = ([slow.clone(), gold.clone()], [gold.clone()]);
        let users = LimitedUsers::in_groups(members).with_limits([(&ann, &of_ann[..]), (&bob, &of_bob[..])]);
        assert_eq!(users.named(), [slow.clone(), gold.clone()]);
        assert_eq!(users.of("ann"), Some(&UserLimits { groups: vec![night, staff], limits: vec![0, 1] }));
        assert_eq!(users.of("bob"), Some(&UserLimits { groups: Vec::new(), limits: vec![1] }));
        assert_eq!(users.of("eve"), None);
    }
}
