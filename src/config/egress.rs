//! What holds for the tables of `[[egress]]` beside their single values, and for those who name them.

use ipnet::IpNet;

use super::at::{At, TablePath};
use super::choice::Choice;
use super::egress_table::EgressConfig;
use super::nearest::{nearest, with_nearest};
use super::problem::{Problems, escaped, quoted};
use super::reach::PortRange;
use super::rules::{begins, check_names, count_tables, row};
use super::tables::Config;
use crate::limits;
use crate::policy::egress::{PoolFamily, PoolSelect, StickyOn, listed};
use crate::policy::rules::spec::{Action, Mode};

/// Reports pools that cannot be, and pools that are named and are not there.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    count_tables(("egress", config.egress.len(), limits::EGRESS_POOLS_MAX), problems);
    let names: Vec<&str> = config.egress.iter().map(|pool| &*pool.name).collect();
    check_names("egress", &names, problems);
    for (nth, pool) in config.egress.iter().enumerate() {
        check_pool((row("egress", nth), pool), problems);
    }
    check_apart(config, problems);
    for (nth, listener) in config.listeners.iter().enumerate() {
        if let Some(name) = &listener.egress {
            check_named((row("listener", nth), "egress"), name, &names, problems);
        }
    }
    for (nth, rule) in config.rules.iter().enumerate() {
        let path = row("rule", nth);
        let Some(name) = &rule.egress else { continue };
        check_named((path, "egress"), name, &names, problems);
        if (rule.action, rule.mode) != (Action::Allow, Mode::Enforce)
            && let Some(at) = problems.places().at(path, "egress").cloned()
        {
            let what = "says what is allowed by which addresses it leaves, and this rule allows nothing: leave it out";
            problems.push(at, what.to_owned());
        }
    }
}

/// The pool that is named is there.
fn check_named((path, key): (TablePath, &'static str), name: &str, names: &[&str], problems: &mut Problems) {
    if names.contains(&name) || problems.touch_any_of("egress") {
        return;
    }
    let at = problems.places().at(path, key).cloned().unwrap_or(At::File);
    problems.push(at, no_pool(name, names.iter().copied()));
}

/// What to say of a pool that is named and not there.
pub(crate) fn no_pool<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let meant = nearest(name, names).map(|meant| format!("\"{}\"", escaped(meant)));
    with_nearest(format!("there is no [[egress]] {}", quoted(name)), meant)
}

/// An address of one pool that another has.
struct SharedBlock<'a> {
    net: IpNet,
    /// The tables that have it, the later one first.
    of: [usize; 2],
    other: &'a EgressConfig,
}

/// What is of one pool is of no other, unless they have different ports: else neither would know which ports are left.
fn check_apart(config: &Config, problems: &mut Problems) {
    let mut all: Vec<(IpNet, usize)> = Vec::new();
    for (nth, pool) in config.egress.iter().enumerate() {
        all.extend(pool.addresses.iter().map(|net| (net.trunc(), nth)));
    }
    all.sort_unstable_by_key(|(net, nth)| (net.network(), net.prefix_len(), *nth));
    // Blocks have others within them, or nothing in common: what an address is in stands before it.
    let (mut around, mut found): (Vec<(IpNet, usize)>, Vec<SharedBlock<'_>>) = (Vec::new(), Vec::new());
    for (net, nth) in all {
        while around.last().is_some_and(|(wide, _)| !wide.contains(&net)) {
            around.pop();
        }
        let shares = |(_, other): &&(IpNet, usize)| {
            *other == nth || !are_apart(&config.egress[nth], &config.egress[*other])
        };
        if let Some((_, other)) = around.iter().find(shares) {
            let of = [nth.max(*other), nth.min(*other)];
            found.push(SharedBlock { net, of, other: &config.egress[of[1]] });
        }
        around.push((net, nth));
    }
    found.sort_by_key(|shared| shared.of);
    found.dedup_by_key(|shared| shared.of);
    for SharedBlock { net, of: [nth, other_nth], other } in found {
        let path = row("egress", nth);
        let net =
            if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
        let what = match nth == other_nth {
            true => format!("{net} is there twice"),
            false => format!(
                "{net} is of [[egress]] {}, too: give the two different `ports`, or leave it out of one",
                quoted(&other.name)
            ),
        };
        let at = problems.places().at(path, "addresses").cloned().unwrap_or(At::File);
        problems.push(at, what);
    }
}

/// Whether two pools may have the same address: they have different ports of it, or it is another one each.
fn are_apart(one: &EgressConfig, other: &EgressConfig) -> bool {
    let ports = |pool: &EgressConfig| pool.ports.map(PortRange::ends);
    let differ = match (ports(one), ports(other)) {
        (Some(one), Some(other)) => one.end() < other.start() || other.end() < one.start(),
        _ => false,
    };
    differ || one.netns != other.netns
}

fn check_pool((path, pool): (TablePath, &EgressConfig), problems: &mut Problems) {
    let at =
        |key: &str, problems: &mut Problems| problems.places().at(path, key).cloned().unwrap_or(At::File);
    if pool.addresses.is_empty() {
        if !problems.touch(path, "addresses") {
            let at = begins(problems, path);
            problems.push(at, "needs `addresses`: what leaves by it leaves from one of them".to_owned());
        }
        return;
    }
    let entries: usize = pool.addresses.iter().map(|net| listed(net).map_or(1, |count| count as usize)).sum();
    if entries > limits::EGRESS_ENTRIES_MAX {
        let what = format!(
            "{entries} addresses are too many: at most {}, of which a block of more than {} is one",
            limits::EGRESS_ENTRIES_MAX,
            limits::EGRESS_BLOCK_LISTED_MAX
        );
        let at = at("addresses", problems);
        problems.push(at, what);
    }
    if let PoolSelect::RoundRobin | PoolSelect::LeastUsed = pool.select
        && let Some(large) = pool.addresses.iter().find(|net| listed(net).is_none())
    {
        let what = format!(
            "\"{}\" goes from address to address, and {large} has too many: take \"sticky\" or \"random\", or blocks of \
             {} addresses at most",
            pool.select.name(),
            limits::EGRESS_BLOCK_LISTED_MAX
        );
        let at = at("select", problems);
        problems.push(at, what);
    }
    let leads_nowhere = pool.addresses.iter().find(|net| match pool.family {
        PoolFamily::Match => false,
        PoolFamily::V4 => net.addr().is_ipv6(),
        PoolFamily::V6 => net.addr().is_ipv4(),
    });
    if let Some(net) = leads_nowhere {
        let what = format!(
            "\"{}\" leads to no target that {net} could be used for: leave one of the two out",
            pool.family.name()
        );
        let at = at("family", problems);
        problems.push(at, what);
    }
    if pool.sliding && pool.ttl.is_none() {
        let at = at("sliding", problems);
        problems.push(at, "has a `ttl` begin anew, and there is none".to_owned());
    }
    let sticky = pool.select == PoolSelect::Sticky;
    for (key, is_typed) in [("sticky_on", pool.sticky_on != [StickyOn::Source]), ("ttl", pool.ttl.is_some())]
    {
        if is_typed && !sticky {
            let what = format!("is about select = \"sticky\", and this pool's is \"{}\"", pool.select.name());
            let at = at(key, problems);
            problems.push(at, what);
        }
    }
}
