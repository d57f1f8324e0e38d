//! What holds between rules, lists and the rest of a configuration: names, and what they name.

use std::collections::{BTreeSet, HashMap};

use super::at::{At, TablePath};
use super::nearest::{nearest, with_nearest};
use super::problem::{Problems, escaped, quoted};
use super::rule_table::RuleConfig;
use super::rule_values::RuleDestination;
use super::tables::{Config, LimitConfig};
use crate::limits;
use crate::policy::accounts::{OnReached, Per};
use crate::policy::rules::spec::{Action, Mode};

/// Names that records give to what is no table of its kind.
const RESERVED: [(&str, &str, &str); 5] = [
    ("rule", "default", "what no rule matches"),
    ("rule", "guard", "what [guard] refuses, whatever the rules say"),
    ("limit", "limits.per_user", "what [limits] per_user says"),
    ("limit", "limits.per_source", "what [limits] per_source says"),
    ("limit", "limits.absent", "a limit of the users file that is not there"),
];

/// Fills in what follows from other keys.
pub(super) fn complete(config: &mut Config) {
    if !config.rules.is_empty() {
        config.policy.default.get_or_insert(Action::Deny);
    }
}

/// Reports what does not go together.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    count(config, problems);
    let lists: Vec<&str> = config.lists.iter().map(|list| &*list.name).collect();
    let rules: Vec<&str> = config.rules.iter().map(|rule| &*rule.name).collect();
    check_names("list", &lists, problems);
    check_names("rule", &rules, problems);
    check_limits(config, problems);
    check_kept(config, problems);
    check_lists(config, problems);
    let lists: BTreeSet<&str> = lists.into_iter().collect();
    for (nth, rule) in config.rules.iter().enumerate() {
        check_rule(config, &lists, (nth, rule), problems);
    }
}

pub(super) fn row(table: &'static str, nth: usize) -> TablePath {
    TablePath { name: table, nth: Some(nth) }
}

/// Where a table begins.
pub(super) fn begins(problems: &mut Problems, path: TablePath) -> At {
    problems.places().table(path).cloned().unwrap_or(At::File)
}

/// Where the `entry`-th value of a key was typed.
fn entry_at(problems: &mut Problems, path: TablePath, key: &str, entry: usize) -> At {
    let places = problems.places();
    let at = places.entries(path, key).get(entry).or_else(|| places.at(path, key)).cloned();
    at.unwrap_or_else(|| begins(problems, path))
}

fn count(config: &Config, problems: &mut Problems) {
    for (table, count, most) in [
        ("rule", config.rules.len(), limits::RULES_MAX),
        ("list", config.lists.len(), limits::LISTS_MAX),
        ("limit", config.limits.len(), limits::LIMITS_MAX),
    ] {
        count_tables((table, count, most), problems);
    }
    let (count, most) = (config.groups.len(), limits::GROUPS_MAX);
    if count > most {
        let at = problems.places().table("groups").cloned().unwrap_or(At::File);
        problems.push(at, format!("{count} [groups] are too many: at most {most}"));
    }
}

/// An array of tables has no more than `most`.
pub(super) fn count_tables((table, count, most): (&'static str, usize, usize), problems: &mut Problems) {
    if count > most {
        let at = begins(problems, row(table, most));
        problems.push(at, format!("{count} [[{table}]] are too many: at most {most}"));
    }
}

/// Each table has a name of its own.
pub(super) fn check_names(table: &'static str, names: &[&str], problems: &mut Problems) {
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(names.len());
    for (nth, name) in names.iter().enumerate() {
        let path = row(table, nth);
        let Some(at) = problems.places().at(path, "name").cloned() else {
            if !problems.touch(path, "name") {
                let at = begins(problems, path);
                let use_of_it = match table {
                    "rule" => "records, logs and metrics call it by that",
                    "limit" | "egress" | "parent" => "rules call it by that",
                    _ => "rules call it by that, as \"@name\"",
                };
                problems.push(at, format!("needs a `name`: {use_of_it}"));
            }
            continue;
        };
        if let Some(earlier) = first.get(name) {
            problems.push(at, format!("{} is the name of [[{table}]] {}, too", quoted(name), earlier + 1));
            continue;
        }
        first.insert(name, nth);
        let reserved = RESERVED.iter().find(|(kind, reserved, _)| *kind == table && reserved == name);
        if let Some((.., meaning)) = reserved {
            problems.push(at, format!("{} is what records call {meaning}: take another name", quoted(name)));
        }
    }
}

fn check_limits(config: &Config, problems: &mut Problems) {
    let names: Vec<&str> = config.limits.iter().map(|limit| &*limit.name).collect();
    check_names("limit", &names, problems);
    for (nth, limit) in config.limits.iter().enumerate() {
        let path = row("limit", nth);
        let typed = |key, problems: &mut Problems| {
            problems.places().at(path, key).is_some() || problems.touch(path, key)
        };
        if !typed("per", problems) {
            let at = begins(problems, path);
            problems.push(at, "needs a `per`: whose sessions count together, such as \"user\"".to_owned());
        }
        if !LIMITED.iter().any(|key| typed(key, problems)) {
            let at = begins(problems, path);
            problems.push(at, format!("limits nothing: it needs one of `{}`", LIMITED.join("`, `")));
        }
        if let Some((at, what)) = quota_problem(limit, path, problems) {
            problems.push(at, what.to_owned());
        }
    }
    for (nth, rule) in config.rules.iter().enumerate() {
        let path = row("rule", nth);
        for (entry, name) in rule.limits.iter().enumerate().filter(|(_, name)| !names.contains(&&***name)) {
            let at = entry_at(problems, path, "limits", entry);
            let meant = nearest(name, names.iter().copied()).map(|meant| format!("\"{}\"", escaped(meant)));
            problems.push(at, with_nearest(format!("there is no [[limit]] {}", quoted(name)), meant));
        }
        if !rule.limits.is_empty()
            && (rule.action, rule.mode) != (Action::Allow, Mode::Enforce)
            && let Some(at) = problems.places().at(path, "limits").cloned()
        {
            let what = "limit what a rule allows, and this one allows nothing: leave them out";
            problems.push(at, what.to_owned());
        }
    }
}

/// What a limit can limit.
const LIMITED: [&str; 7] =
    ["connections", "udp_associations", "new_per_second", "upload", "download", "datagrams", "quota"];

/// Quotas have a place to be kept in.
fn check_kept(config: &Config, problems: &mut Problems) {
    if config.server.state.is_none() && !problems.touch("server", "state") {
        for (path, key) in kept_quotas(config) {
            let at = problems.places().at(path, key).cloned().unwrap_or(At::File);
            let what =
                "is to outlive a restart: say in which directory, as [server] state = \"/var/lib/outflow\"";
            problems.push(at, what.to_owned());
        }
    }
}

/// The keys of the quotas that outlive the process. Those of sessions end with them.
pub(super) fn kept_quotas(config: &Config) -> Vec<(TablePath, &'static str)> {
    let of_limit = |(nth, limit): (usize, &LimitConfig)| {
        let kept = limit.quota.is_some() && limit.per != Per::Session;
        kept.then_some((row("limit", nth), "quota"))
    };
    let short = [
        ("limits.per_user", config.per_user.bytes_per_day.is_some()),
        ("limits.per_source", config.per_source.bytes_per_day.is_some()),
    ];
    let short =
        short.into_iter().filter(|(_, is_set)| *is_set).map(|(table, _)| (table.into(), "bytes_per_day"));
    config.limits.iter().enumerate().filter_map(of_limit).chain(short).collect()
}

/// What does not go together with the quota of a limit, or for want of one.
fn quota_problem(
    limit: &LimitConfig,
    path: TablePath,
    problems: &mut Problems,
) -> Option<(At, &'static str)> {
    let on_reached = problems.places().at(path, "on_reached").cloned();
    if limit.quota.is_none() {
        return on_reached
            .filter(|_| !problems.touch(path, "quota"))
            .map(|at| (at, "says what comes of a quota, and there is none: add `quota`, or leave it out"));
    }
    let quota = problems.places().at(path, "quota").cloned()?;
    let rated = limit.upload.is_some()
        || limit.download.is_some()
        || ["upload", "download"].iter().any(|key| problems.touch(path, key));
    match (limit.on_reached.unwrap_or_default(), limit.per) {
        (OnReached::Slow, _) if !rated => Some((
            on_reached?,
            "\"slow\" has the rates of the limit hold once the quota is used up: add `upload` or `download`",
        )),
        (OnReached::Refuse, Per::Session) if !problems.touch(path, "on_reached") => Some((
            quota,
            "refuses nobody, as each session has its own: add on_reached = \"close\" or \"slow\", or count together by \
             another `per`",
        )),
        _ => None,
    }
}

fn check_lists(config: &Config, problems: &mut Problems) {
    for (nth, list) in config.lists.iter().enumerate() {
        let path = row("list", nth);
        let typed = |key: &str, problems: &mut Problems| {
            problems.places().at(path, key).is_some() || problems.touch(path, key)
        };
        if !["domains", "cidrs", "file"].iter().any(|key| typed(key, problems)) {
            let at = begins(problems, path);
            problems.push(at, "has nothing in it: it needs `domains`, `cidrs` or a `file`".to_owned());
        }
        if list.subdomains
            && !typed("file", problems)
            && let Some(at) = problems.places().at(path, "subdomains").cloned()
        {
            let what =
                "is about the names of a `file`; in `domains`, \".example.com\" is the name and all below it";
            problems.push(at, what.to_owned());
        }
    }
}

fn check_rule(
    config: &Config,
    lists: &BTreeSet<&str>,
    (nth, rule): (usize, &RuleConfig),
    problems: &mut Problems,
) {
    let path = row("rule", nth);
    let action = problems.places().at(path, "action").cloned();
    if action.is_none() && !problems.touch(path, "action") {
        let at = begins(problems, path);
        problems.push(at, "needs an `action`: \"allow\" or \"deny\"".to_owned());
    }
    if rule.allow_private
        && action.is_some()
        && rule.action == Action::Deny
        && let Some(at) = problems.places().at(path, "allow_private").cloned()
    {
        problems.push(at, "allows nothing in a rule that denies: leave it out".to_owned());
    }
    for (key, destinations) in [("to", &rule.to), ("not_to", &rule.not_to)] {
        for (entry, destination) in destinations.iter().enumerate() {
            if let RuleDestination::List(name) = destination
                && !lists.contains(&**name)
            {
                let at = entry_at(problems, path, key, entry);
                let what = format!("there is no [[list]] {}", quoted(name));
                let meant =
                    nearest(name, lists.iter().copied()).map(|meant| format!("\"@{}\"", escaped(meant)));
                problems.push(at, with_nearest(what, meant));
            }
        }
    }
    check_listeners(config, (path, rule), problems);
}

/// The listeners that a rule names are there.
fn check_listeners(config: &Config, (path, rule): (TablePath, &RuleConfig), problems: &mut Problems) {
    if problems.touch("server", "listen") || problems.touch_any_of("listener") {
        return;
    }
    for (key, listeners) in [("listeners", &rule.listeners), ("not_listeners", &rule.not_listeners)] {
        let is_there = |called: &str| config.all_listeners().any(|one| one.is_called(called));
        for (entry, called) in listeners.iter().enumerate().filter(|(_, called)| !is_there(called)) {
            let at = entry_at(problems, path, key, entry);
            let all: Vec<String> = config.listener_calls().map(|(called, _)| called).collect();
            let what = format!("there is no listener {}, of [server] listen or [[listener]]", quoted(called));
            let meant = nearest(called, all.iter().map(String::as_str));
            problems.push(at, with_nearest(what, meant.map(|meant| format!("\"{meant}\""))));
        }
    }
}
