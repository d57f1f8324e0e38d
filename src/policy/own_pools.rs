//! Which pool sessions leave from whose rule names none: the one that the client asks for, the user's own, or the listener's.

use std::collections::HashMap;
use std::sync::Arc;

use super::egress::Egress;
use super::no_pool::NoPool;
use super::verdict::Subject;
use super::way::{EgressId, Way};
use crate::auth::SessionParameters;

/// The pools that users have of their own, by the users' names. `None`: one that is not there.
pub type UserPools = HashMap<Arc<str>, Option<EgressId>>;

/// Who leaves from which pool where no rule says so.
#[derive(Clone, Debug, Default)]
pub struct OwnPools {
    egress: Option<Arc<Egress>>,
    users: Arc<UserPools>,
    /// By the listeners' numbers.
    listeners: Vec<Option<EgressId>>,
    /// The pools that clients may choose among; `None`: all.
    offered: Option<Vec<EgressId>>,
}

impl OwnPools {
    /// Of these pools, these users and these listeners, each with its number; `None` where nobody can have one.
    pub fn new(
        egress: Option<Arc<Egress>>,
        users: Arc<UserPools>,
        own: impl IntoIterator<Item = (u16, EgressId)>,
    ) -> Option<OwnPools> {
        if egress.is_none() && users.is_empty() {
            return None;
        }
        let mut listeners = Vec::new();
        for (number, pool) in own {
            let place = usize::from(number);
            listeners.resize(listeners.len().max(place + 1), None);
            listeners[place] = Some(pool);
        }
        Some(OwnPools { egress, users, listeners, offered: None })
    }

    /// These, where clients choose among these pools alone, or among all.
    #[must_use]
    pub fn offering(self, offered: Option<Vec<EgressId>>) -> OwnPools {
        OwnPools { offered, ..self }
    }

    /// The way of a subject whose rule says this one.
    pub(super) fn way(&self, said: Way, subject: &Subject<'_>) -> Result<Way, NoPool> {
        if said.egress.is_some() {
            return Ok(said);
        }
        let egress = match subject.parameters.filter(|asked| asks(asked)) {
            Some(asked) => Some(self.asked_for(asked)?),
            None => match subject.identity.user().and_then(|user| self.users.get(user)) {
                Some(own) => Some(own.ok_or(NoPool::OwnMissing)?),
                None => self.of_listener(subject.incoming.listener),
            },
        };
        Ok(Way { egress, ..said })
    }

    /// The pool of the listener of this number.
    pub fn of_listener(&self, number: u16) -> Option<EgressId> {
        self.listeners.get(usize::from(number)).copied().flatten()
    }

    /// The pool that a client asks for by its name, by tags, or by both.
    fn asked_for(&self, asked: &SessionParameters) -> Result<EgressId, NoPool> {
        let tags = asked.tags.iter().map(|(tag, value)| (&**tag, &**value));
        let Some(egress) = &self.egress else { return Err(unmet(asked)) };
        let is_offered = |id: EgressId| self.offered.as_ref().is_none_or(|offered| offered.contains(&id));
        match &asked.pool {
            Some(name) => match egress.named(name) {
                None => Err(NoPool::Unknown),
                Some(id) if !is_offered(id) => Err(NoPool::NotOffered),
                Some(id) if !egress.has_tags(id, tags) => Err(NoPool::LacksTags),
                Some(id) => Ok(id),
            },
            None => egress.tagged(tags, is_offered).ok_or(NoPool::NoSuchTags),
        }
    }
}

/// Why nothing is what a client asks for where there is no pool.
pub(super) fn unmet(asked: &SessionParameters) -> NoPool {
    if asked.pool.is_some() { NoPool::Unknown } else { NoPool::NoSuchTags }
}

/// Whether a client asks for a pool.
pub(super) fn asks(parameters: &SessionParameters) -> bool {
    parameters.pool.is_some() || !parameters.tags.is_empty()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::auth::Identity;
    use crate::policy::rules::by_hand::{allow, any, rules};
    use crate::policy::rules::spec::Action;
    use crate::policy::{Denial, Guard, Incoming, Object, Policy, Verdict};
    use crate::proto::request::RequestCommand;

    /// What a session of these comes to: its pool, or why it is refused.
    fn pool(
        policy: &Policy,
        (user, listener): (Option<&str>, u16),
        parameters: Option<&SessionParameters>,
    ) -> Result<Option<u16>, Denial> {
        let identity = user.map_or(Identity::Anonymous, |user| Identity::User(user.into()));
        let client: SocketAddr = "192.0.2.9:1".parse().unwrap();
        let command = RequestCommand::Connect;
        let incoming = Incoming { client, listener };
        let subject = Subject { incoming, identity: &identity, parameters, command };
        match policy.judge(&subject, Object::To("93.184.215.14:443".parse().unwrap(), None)) {
            Verdict::Allow(allowed) => Ok(allowed.way.egress.map(|EgressId(number)| number)),
            Verdict::Deny(denial, decision) => {
                assert!(!decision.allowed);
                Err(denial)
            }
        }
    }

    fn asked(pool: Option<&str>, tags: &[(&str, &str)]) -> SessionParameters {
        let tags = tags.iter().map(|(tag, value)| ((*tag).into(), (*value).into())).collect();
        SessionParameters { pool: pool.map(Box::from), tags, ..SessionParameters::default() }
    }

    fn policy() -> Policy {
        policy_of(None)
    }

    fn policy_of(offered: Option<Vec<EgressId>>) -> Policy {
        let egress =
            crate::policy::egress::tagged_pools(&[("rule", "x"), ("de", "de"), ("own", "x"), ("at", "x")]);
        let users = [("ann".into(), Some(EgressId(3))), ("eve".into(), None)].into();
        let own = OwnPools::new(Some(egress), Arc::new(users), [(7, EgressId(4))]);
        let by_rule = allow(|rule| {
            rule.users = any(["bob".into()]);
            rule.way = Way { egress: Some(EgressId(1)), parent: None };
        });
        Policy::new(Guard::default())
            .with_rules(Some(rules(Action::Allow, [by_rule])))
            .with_pools(own.map(|own| Arc::new(own.offering(offered))))
    }

    #[test]
    fn the_rule_says_it_before_the_client_the_user_and_the_listener() {
        let policy = policy();
        let de = asked(Some("de"), &[]);
        assert_eq!(pool(&policy, (Some("bob"), 7), Some(&de)), Ok(Some(1)));
        assert_eq!(pool(&policy, (Some("ann"), 7), Some(&de)), Ok(Some(2)));
        assert_eq!(pool(&policy, (Some("ann"), 7), None), Ok(Some(3)));
        assert_eq!(pool(&policy, (Some("dan"), 7), None), Ok(Some(4)));
        assert_eq!(pool(&policy, (None, 7), Some(&asked(None, &[]))), Ok(Some(4)));
        assert_eq!(pool(&policy, (Some("dan"), 6), None), Ok(None));
    }

    #[test]
    fn a_client_chooses_by_tags_what_has_all_of_them() {
        let policy = policy();
        let by = |pool_name, tags: &[_]| pool(&policy, (Some("dan"), 0), Some(&asked(pool_name, tags)));
        assert_eq!(by(None, &[("area", "de")]), Ok(Some(2)));
        assert_eq!(by(None, &[("area", "x")]), Ok(Some(1)), "the first of several");
        assert_eq!(by(Some("own"), &[("area", "x")]), Ok(Some(3)));
        for (name, tags, why) in [
            (Some("own"), &[("area", "de")][..], NoPool::LacksTags),
            (None, &[("area", "us")], NoPool::NoSuchTags),
            (None, &[("city", "de")], NoPool::NoSuchTags),
            (Some("nobodys"), &[], NoPool::Unknown),
        ] {
            assert_eq!(by(name, tags), Err(Denial::NoPool(why)), "{name:?} {tags:?}");
        }
    }

    /// Whoever knew the name of a pool left from it, whomever that was for.
    #[test]
    fn clients_choose_among_the_pools_that_are_offered_alone() {
        let policy = policy_of(Some(vec![EgressId(3), EgressId(2)]));
        let by = |pool_name, tags: &[_]| pool(&policy, (Some("dan"), 7), Some(&asked(pool_name, tags)));
        assert_eq!(by(Some("de"), &[]), Ok(Some(2)));
        assert_eq!(by(None, &[("area", "x")]), Ok(Some(3)), "the first that is offered");
        assert_eq!(by(Some("at"), &[]), Err(Denial::NoPool(NoPool::NotOffered)));
        assert_eq!(by(Some("nobodys"), &[]), Err(Denial::NoPool(NoPool::Unknown)));
        // What others say is not chosen.
        assert_eq!(pool(&policy, (Some("dan"), 7), None), Ok(Some(4)));
        assert_eq!(pool(&policy, (Some("bob"), 7), Some(&asked(Some("at"), &[]))), Ok(Some(1)));
        let nothing = policy_of(Some(Vec::new()));
        assert_eq!(
            pool(&nothing, (Some("dan"), 7), Some(&asked(Some("de"), &[]))),
            Err(Denial::NoPool(NoPool::NotOffered))
        );
    }

    /// Another address than the one that was meant may be seen by whom it must not.
    #[test]
    fn who_has_a_pool_that_is_not_there_leaves_from_no_other() {
        let policy = policy();
        assert_eq!(pool(&policy, (Some("eve"), 7), None), Err(Denial::NoPool(NoPool::OwnMissing)));
        assert_eq!(pool(&policy, (Some("eve"), 7), Some(&asked(Some("de"), &[]))), Ok(Some(2)));
        let without = Policy::new(Guard::default());
        let unknown = Err(Denial::NoPool(NoPool::Unknown));
        assert_eq!(pool(&without, (Some("ann"), 7), Some(&asked(Some("de"), &[]))), unknown);
        assert_eq!(pool(&without, (Some("ann"), 7), None), Ok(None));
    }
}
