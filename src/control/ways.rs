//! The pools that sessions leave from, and the parents that they go through: made of the configuration, and kept for as long as it says the same of them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::numbers::Numbers;
use super::parents::OperatorParents;
use super::rules::concerns::RuleRemark;
use crate::auth::Users;
use crate::config::{Config, EgressConfig, RuleConfig};
use crate::outbound::{FreeBind, NetworkNamespace, OutboundOptions};
use crate::policy::egress::{Egress, PoolSockets, PoolSpec};
use crate::policy::{EgressId, OwnPools, UserPools, Way};
use crate::sys::outbound::{has_port_ranges, open_namespace};
use crate::worker::ListenerName;

/// The pools and parents in effect.
#[derive(Clone, Debug)]
pub(super) struct OperatorWays {
    pools: Vec<PoolSpec>,
    /// What the sockets of each are given: a network namespace is the one that stood at its path when this was made.
    options: Vec<OutboundOptions>,
    /// Those of the names of pools; 0 stands for none.
    numbers: Numbers,
    /// The pools that the users file gives users.
    users: Arc<UserPools>,
    /// `None`: there is none.
    pub(super) egress: Option<Arc<Egress>>,
    pub(super) parents: Arc<OperatorParents>,
}

impl Default for OperatorWays {
    fn default() -> OperatorWays {
        // No pool can be called by nothing.
        OperatorWays {
            pools: Vec::new(),
            options: Vec::new(),
            numbers: Numbers::beginning_with([""]),
            users: Arc::default(),
            egress: None,
            parents: Arc::default(),
        }
    }
}

impl OperatorWays {
    /// Those of a configuration and of these users, in place of these.
    ///
    /// # Errors
    /// The first pool or parent for whose name no number is left; the first pool that cannot be obeyed on this machine.
    pub(super) fn with(&self, config: &Config, users: Option<&Users>) -> Result<OperatorWays, RuleRemark> {
        let parents = self.parents.follow(config, Instant::now())?;
        let pools: Vec<PoolSpec> = config.egress.iter().map(EgressConfig::spec).collect();
        let options = options_of(&pools)?;
        if pools == self.pools && options == self.options {
            return Ok(OperatorWays { parents, ..self.clone() }.with_users(users));
        }
        let numbers = self.numbers.with(pools.iter().map(|pool| &pool.name));
        let numbers = numbers.map_err(|none| (("egress", none.nth, "name"), none.of("pools")))?;
        let each = pools.iter().zip(&options);
        let numbered = each.filter_map(|(pool, options)| {
            Some((EgressId(numbers.of(&pool.name)?), pool.clone(), options.clone()))
        });
        let egress = (!pools.is_empty())
            .then(|| Arc::new(Egress::new(numbered, self.egress.as_deref(), Instant::now())));
        let users_before = Arc::clone(&self.users);
        let ways = OperatorWays { pools, options, numbers, users: users_before, egress, parents };
        Ok(ways.with_users(users))
    }

    /// These where the users file says other things by now.
    #[must_use]
    pub(super) fn with_users(&self, users: Option<&Users>) -> OperatorWays {
        let own = users.into_iter().flat_map(Users::pools);
        // A number stays that of a name, also of one that is not there any more.
        let there = |name: &Arc<str>| self.pools.iter().any(|pool| pool.name == *name);
        let number = |name: &Arc<str>| self.numbers.of(name).filter(|_| there(name)).map(EgressId);
        let own: UserPools = own.map(|(user, pool)| (Arc::clone(user), number(pool))).collect();
        let users = if own == *self.users { Arc::clone(&self.users) } else { Arc::new(own) };
        OperatorWays { users, ..self.clone() }
    }

    /// Who leaves from which pool where no rule says so: users, and clients of listeners that have one.
    pub(super) fn own_pools(&self, config: &Config, names: &[Arc<ListenerName>]) -> Option<Arc<OwnPools>> {
        let tables = config.all_listeners().map(|one| one.table());
        let own = names.iter().zip(tables).filter_map(|(name, table)| {
            let pool = table?.egress.as_ref()?;
            Some((name.number, EgressId(self.numbers.of(pool)?)))
        });
        let own = OwnPools::new(self.egress.clone(), Arc::clone(&self.users), own)?;
        let offered = &config.username.pools;
        let number = |name: &Arc<str>| self.numbers.of(name).map(EgressId);
        let offered = (!offered.is_empty()).then(|| offered.iter().filter_map(number).collect());
        Some(Arc::new(own.offering(offered)))
    }

    /// Whether another has the same pools and parents, and users the same pools.
    pub(super) fn is_as(&self, other: &OperatorWays) -> bool {
        (&self.pools, &self.options, &self.users) == (&other.pools, &other.options, &other.users)
            && Arc::ptr_eq(&self.parents, &other.parents)
    }

    /// The pools at the path of whose network namespace there is another one than in `old`, in words.
    pub(super) fn moved(&self, old: &OperatorWays) -> Vec<String> {
        let before: HashMap<_, _> = old.pools.iter().map(|pool| &pool.name).zip(&old.options).collect();
        let moved = |(pool, options): (&PoolSpec, &OutboundOptions)| {
            let path = pool.sockets.netns.as_ref()?;
            let was = old.pools.iter().find(|one| one.name == pool.name)?;
            let is_other = was.sockets.netns.as_ref() == Some(path)
                && before.get(&pool.name).is_some_and(|before| before.netns != options.netns);
            let what = format!("egress {}: another network namespace now, at {}", pool.name, path.display());
            is_other.then_some(what)
        };
        self.pools.iter().zip(&self.options).filter_map(moved).collect()
    }

    /// The network namespaces of the pools that have one.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Arc<NetworkNamespace>> {
        self.options.iter().filter_map(|options| options.netns.as_ref())
    }

    /// The way of a rule, by what it names.
    pub(super) fn way(&self, rule: &RuleConfig) -> Way {
        let egress = rule.egress.as_ref().and_then(|name| self.numbers.of(name)).map(EgressId);
        Way { egress, parent: rule.parent.as_ref().and_then(|name| self.parents.number_of(name)) }
    }
}

/// What the sockets of each of these pools are given.
///
/// # Errors
/// The first one that this machine cannot obey.
fn options_of(pools: &[PoolSpec]) -> Result<Vec<OutboundOptions>, RuleRemark> {
    let has_port_ranges = pools.iter().all(|pool| pool.sockets.ports.is_none()) || has_port_ranges();
    let of = |(nth, pool): (usize, &PoolSpec)| {
        if pool.sockets.ports.is_some() && !has_port_ranges {
            let words = "this kernel chooses no port among those of one socket: it takes Linux 6.3";
            return Err((("egress", nth, "ports"), words.to_owned()));
        }
        options(&pool.sockets).map_err(|words| (("egress", nth, "netns"), words))
    };
    pools.iter().enumerate().map(of).collect()
}

/// What the sockets of a pool are given.
///
/// # Errors
/// Why its network namespace cannot be entered.
pub(super) fn options(sockets: &PoolSockets) -> Result<OutboundOptions, String> {
    let open = |path: &PathBuf| {
        open_namespace(path).map(Arc::new).map_err(|error| {
            let path = path.display();
            match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("there is no network namespace {path}: `ip netns add NAME` makes /run/netns/NAME")
                }
                io::ErrorKind::PermissionDenied => {
                    format!("sockets cannot be opened in {path}: {error} (it takes CAP_SYS_ADMIN)")
                }
                io::ErrorKind::InvalidInput => {
                    format!("sockets cannot be opened in {path}: it is the file of no network namespace")
                }
                _ => format!("sockets cannot be opened in {path}: {error}"),
            }
        })
    };
    let PoolSockets { ports, interface, fwmark, dscp, freebind, netns, .. } = sockets;
    Ok(OutboundOptions {
        ports: ports.clone(),
        interface: interface.clone(),
        mark: *fwmark,
        dscp: *dscp,
        freebind: FreeBind::all(*freebind),
        netns: netns.as_ref().map(open).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/o.toml"), &Flags::default())
            .unwrap_or_else(|what| panic!("{what}"))
    }

    fn pool(name: &str, address: &str) -> String {
        format!("[[egress]]\nname = \"{name}\"\naddresses = \"{address}\"\n")
    }

    fn users(text: &str) -> Users {
        Users::parse(text, Path::new("users")).unwrap_or_else(|error| panic!("{error}"))
    }

    fn next(ways: &OperatorWays, text: &str, users: Option<&Users>) -> OperatorWays {
        ways.with(&config(text), users).unwrap_or_else(|(_, what)| panic!("{what}"))
    }

    fn named(ways: &OperatorWays, name: &str) -> Option<EgressId> {
        ways.egress.as_ref()?.named(name)
    }

    /// Were a number another pool's after a reload, a session would leave from addresses that nobody meant.
    #[test]
    fn a_pool_keeps_its_number_and_what_is_known_of_it() {
        let (a, b) = (pool("a", "192.0.2.1"), pool("b", "192.0.2.2"));
        let first = next(&OperatorWays::default(), &format!("{a}{b}"), None);
        assert_eq!((named(&first, "a"), named(&first, "b")), (Some(EgressId(1)), Some(EgressId(2))));
        let same = next(&first, &format!("{a}{b}"), None);
        assert!(
            same.is_as(&first) && Arc::ptr_eq(same.egress.as_ref().unwrap(), first.egress.as_ref().unwrap())
        );
        let renamed = next(&first, &format!("{b}{}", pool("c", "192.0.2.1")), None);
        assert_eq!((named(&renamed, "b"), named(&renamed, "c")), (Some(EgressId(2)), Some(EgressId(3))));
        assert!(!renamed.is_as(&first) && named(&renamed, "a").is_none());
        let of =
            |ways: &OperatorWays| ways.egress.as_ref().unwrap().pools().map(Arc::clone).collect::<Vec<_>>();
        assert!(Arc::ptr_eq(&of(&renamed)[0], &of(&first)[1]), "what stayed as it was is the same");
        let back = next(&next(&renamed, "", None), &a, None);
        assert_eq!(named(&back, "a"), Some(EgressId(1)));
    }

    /// A block frees its sockets to leave from addresses that no interface has, and was another pool for that after each reload: what
    /// was known of its keys was forgotten.
    #[test]
    fn a_pool_of_a_block_stays_what_it_is() {
        let block = pool("a", "2001:db8::/64");
        let first = next(&OperatorWays::default(), &block, None);
        let second = next(&first, &format!("{block}{}", pool("b", "192.0.2.2")), None);
        let of = |ways: &OperatorWays| ways.egress.as_ref().unwrap().pools().next().map(Arc::clone).unwrap();
        assert!(Arc::ptr_eq(&of(&first), &of(&second)) && of(&second).options().freebind.v6);
    }

    #[test]
    fn users_have_the_pools_of_the_users_file_and_none_in_place_of_one_that_is_gone() {
        let of_file = users("ann:*:egress=a\neve:*:egress=b\nbob:*\n");
        let both = format!("{}{}", pool("a", "192.0.2.1"), pool("b", "192.0.2.2"));
        let ways = next(&OperatorWays::default(), &both, Some(&of_file));
        let own = |ways: &OperatorWays, user: &str| ways.users.get(user).copied();
        assert_eq!(own(&ways, "ann"), Some(Some(EgressId(1))));
        assert_eq!(own(&ways, "bob"), None);
        let without = next(&ways, &pool("a", "192.0.2.1"), Some(&of_file));
        assert_eq!((own(&without, "ann"), own(&without, "eve")), (Some(Some(EgressId(1))), Some(None)));
        let changed = without.with_users(Some(&users("ann:*\n")));
        assert!(!changed.is_as(&without) && own(&changed, "ann").is_none());
    }

    #[test]
    fn a_listener_has_its_pool_by_its_number() {
        let listeners = "[[listener]]\naddress = \"127.0.0.1:1081\"\n[[listener]]\naddress = \"127.0.0.1:1082\"\negress = \"a\"\n";
        let config = config(&format!("{listeners}{}", pool("a", "192.0.2.1")));
        let ways = OperatorWays::default().with(&config, None).unwrap_or_else(|(_, what)| panic!("{what}"));
        let name = |number| Arc::new(ListenerName { number, address: None });
        let own = ways.own_pools(&config, &[name(5), name(9)]).expect("there are pools");
        assert_eq!(own.of_listener(9), Some(EgressId(1)));
        assert_eq!((own.of_listener(5), own.of_listener(1)), (None, None));
        assert!(
            OperatorWays::default().own_pools(&config, &[name(5), name(9)]).is_none(),
            "nobody pays for none"
        );
    }
}
