//! What is odd about pools that could be obeyed: nothing leaves from them, or the sessions that they are to keep have no key.

use std::collections::BTreeSet;

use super::concerns::RuleRemark;
use crate::auth::Users;
use crate::auth::username::ParameterKind;
use crate::config::{Config, EgressConfig, quoted};
use crate::policy::egress::{PoolSelect, StickyOn};

/// Pools that nobody leaves from, and those that go by a session where no name has one: a slip that would go unseen, for sessions are
/// served all the same, from an address that is not meant.
pub(super) fn idle_pools(config: &Config, users: Option<&Users>) -> Vec<RuleRemark> {
    let of_rules = config.rules.iter().filter_map(|rule| rule.egress.as_ref());
    let of_listeners = config.all_listeners().filter_map(|one| one.table()?.egress.as_ref());
    let of_users = users.into_iter().flat_map(Users::pools).map(|(_, pool)| pool);
    let named: BTreeSet<&str> = of_rules.chain(of_listeners).chain(of_users).map(|name| &**name).collect();
    // A format that cannot be read is refused elsewhere.
    let format = config.username.read_format().ok().flatten();
    let has = |what: fn(ParameterKind) -> bool| format.iter().any(|format| format.syntax.kinds().any(what));
    let by_name = has(|kind| kind == ParameterKind::Pool);
    let by_tags = has(|kind| matches!(kind, ParameterKind::Tag(_)));
    let says_session = has(|kind| kind == ParameterKind::Session);
    let idle = |(nth, pool): (usize, &EgressConfig)| {
        let is_offered = config.username.pools.is_empty() || config.username.pools.contains(&pool.name);
        let may_be_asked_for = is_offered && (by_name || by_tags && !pool.tags.is_empty());
        if !named.contains(&*pool.name) && !may_be_asked_for {
            let what = format!(
                "nothing leaves from it: no rule, listener or user has egress = {}",
                quoted(&pool.name)
            );
            return Some((("egress", nth, "name"), what));
        }
        let goes_by_session =
            pool.select == PoolSelect::Sticky && pool.sticky_on.contains(&StickyOn::Session);
        let what = "keeps no session at its address: no name says which one it is, for the format of [username] has no {session}";
        (goes_by_session && !says_session).then(|| (("egress", nth, "sticky_on"), what.to_owned()))
    };
    config.egress.iter().enumerate().filter_map(idle).collect()
}
