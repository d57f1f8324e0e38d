//! Which pool sessions leave from whose rule names none: the one that the client asks for, the user's own, or the listener's.

use std::collections::HashMap;
use std::sync::Arc;

use super::egress::Egress;
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
}

/// A pool is named that is not there: nobody leaves from another than the one that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoPool;

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
        Some(OwnPools { egress, users, listeners })
    }

    /// The way of a subject whose rule says this one.
    pub(super) fn way(&self, said: Way, subject: &Subject<'_>) -> Result<Way, NoPool> {
        if said.egress.is_some() {
            return Ok(said);
        }
        let egress = match subject.parameters.filter(|asked| asks(asked)) {
            Some(asked) => Some(self.asked_for(asked).ok_or(NoPool)?),
            None => match subject.identity.user().and_then(|user| self.users.get(user)) {
                Some(own) => Some(own.ok_or(NoPool)?),
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
    fn asked_for(&self, asked: &SessionParameters) -> Option<EgressId> {
        let egress = self.egress.as_ref()?;
        let tags = asked.tags.iter().map(|(tag, value)| (&**tag, &**value));
        match &asked.pool {
            Some(name) => egress.named(name).filter(|id| egress.has_tags(*id, tags)),
            None => egress.tagged(tags),
        }
    }
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
            .with_pools(own.map(Arc::new))
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
        for (name, tags) in [
            (Some("own"), &[("area", "de")][..]),
            (None, &[("area", "us")]),
            (None, &[("city", "de")]),
            (Some("nobodys"), &[]),
        ] {
            assert_eq!(by(name, tags), Err(Denial::NoPool), "{name:?} {tags:?}");
        }
    }

    /// Another address than the one that was meant may be seen by whom it must not.
    #[test]
    fn who_has_a_pool_that_is_not_there_leaves_from_no_other() {
        let policy = policy();
        assert_eq!(pool(&policy, (Some("eve"), 7), None), Err(Denial::NoPool));
        assert_eq!(pool(&policy, (Some("eve"), 7), Some(&asked(Some("de"), &[]))), Ok(Some(2)));
        let without = Policy::new(Guard::default());
        assert_eq!(pool(&without, (Some("ann"), 7), Some(&asked(Some("de"), &[]))), Err(Denial::NoPool));
        assert_eq!(pool(&without, (Some("ann"), 7), None), Ok(None));
    }
}
