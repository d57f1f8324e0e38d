//! What holds for the tables of `[[egress]]` beside their single values, and for those who name them.

use super::at::{At, TablePath};
use super::choice::Choice;
use super::egress_table::EgressConfig;
use super::nearest::{nearest, with_nearest};
use super::problem::{Problems, escaped, quoted};
use super::rules::{begins, check_names, count_tables, row};
use super::tables::Config;
use crate::limits;
use crate::policy::egress::{PoolSelect, StickyOn, listed};
use crate::policy::rules::spec::{Action, Mode};

/// Reports pools that cannot be, and pools that are named and are not there.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    count_tables(("egress", config.egress.len(), limits::EGRESS_POOLS_MAX), problems);
    let names: Vec<&str> = config.egress.iter().map(|pool| &*pool.name).collect();
    check_names("egress", &names, problems);
    for (nth, pool) in config.egress.iter().enumerate() {
        check_pool((row("egress", nth), pool), problems);
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
pub(super) fn no_pool<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let meant = nearest(name, names).map(|meant| format!("\"{}\"", escaped(meant)));
    with_nearest(format!("there is no [[egress]] {}", quoted(name)), meant)
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
