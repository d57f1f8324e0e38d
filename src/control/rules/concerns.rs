//! What is odd about rules that could be obeyed: those that can never match, and what they name that is probably a slip.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::auth::Users;
use crate::config::{AuthMethod, Config, LimitConfig, RuleConfig, RuleDestination, nearest, quoted};
use crate::limits;
use crate::policy::accounts::Per;
use crate::policy::rules::spec::{Action, GroupSpec, ListSpec, RuleSpecs};
use crate::policy::{Guard, Refusal};
use crate::proto::request::RequestCommand;

/// What a rule or a list has, by its table, its place among them and its key.
pub(in crate::control) type RulePlace = (&'static str, usize, &'static str);

/// What is said of a key.
pub(in crate::control) type RuleRemark = (RulePlace, String);

/// A list without an entry is an error where a rule that names it would open something by that: one that denies what is on
/// it, or allows what is not on it.
pub(super) fn empty_lists(
    config: &Config,
    lists: &[ListSpec],
    errors: &mut Vec<RuleRemark>,
    warnings: &mut Vec<RuleRemark>,
) {
    let empty = |list: &&ListSpec| list.names.is_empty() && list.networks.is_empty();
    let empty: BTreeSet<&str> = lists.iter().filter(empty).map(|list| &*list.name).collect();
    for (nth, rule) in config.rules.iter().enumerate() {
        for (key, opening, destinations) in
            [("to", Action::Deny, &rule.to), ("not_to", Action::Allow, &rule.not_to)]
        {
            let named: Vec<&str> = destinations
                .iter()
                .filter_map(|to| match to {
                    RuleDestination::List(name) => Some(&**name).filter(|name| empty.contains(name)),
                    _ => None,
                })
                .collect();
            let key = ("rule", nth, key);
            for name in named {
                let what = format!("the list \"@{name}\" has no entry");
                match rule.action == opening {
                    true => {
                        let does =
                            if opening == Action::Deny { "denies nothing" } else { "allows everything" };
                        let what = format!(
                            "{what}, and a rule that {does} by that is not meant: give it one, if but \"none.invalid\""
                        );
                        errors.push((key, what));
                    }
                    false => warnings.push((key, what)),
                }
            }
        }
    }
}

/// Lists and groups that no rule names.
pub(super) fn unused(config: &Config, warnings: &mut Vec<RuleRemark>) {
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for rule in &config.rules {
        let destinations = rule.to.iter().chain(&rule.not_to);
        named.extend(destinations.filter_map(|to| match to {
            RuleDestination::List(name) => Some(&**name),
            _ => None,
        }));
    }
    for (nth, list) in config.lists.iter().enumerate().filter(|(_, list)| !named.contains(&*list.name)) {
        warnings.push((("list", nth, "name"), format!("no rule names \"@{}\"", list.name)));
    }
}

/// Rules that can never match, as nobody is in their groups: who is may change at any time.
pub(super) fn empty_groups(config: &Config, groups: &[GroupSpec]) -> Vec<RuleRemark> {
    let empty: BTreeSet<&str> =
        groups.iter().filter(|group| group.members.is_empty()).map(|group| &*group.name).collect();
    let never =
        |rule: &RuleConfig| !rule.groups.is_empty() && rule.groups.iter().all(|name| empty.contains(&**name));
    let rules = config.rules.iter().enumerate().filter(|(_, rule)| never(rule));
    rules.map(|(nth, _)| (("rule", nth, "groups"), NOTHING_LEFT.to_owned())).collect()
}

/// Rules about Tor's commands alone that can never match: nobody may ask for them, or ports are asked of what has none.
pub(super) fn unresolved(config: &Config) -> Vec<RuleRemark> {
    let resolves =
        |command: &RequestCommand| matches!(command, RequestCommand::Resolve | RequestCommand::ResolvePtr);
    let alone = |rule: &RuleConfig| !rule.commands.is_empty() && rule.commands.iter().all(resolves);
    let rules = config.rules.iter().enumerate().filter(|(_, rule)| alone(rule));
    let what = |(nth, rule): (usize, &RuleConfig)| match (config.tor.resolve, rule.ports.is_empty()) {
        (false, _) => {
            let what = "never matches: nobody may ask for \"resolve\" without resolve = true in [tor]";
            Some((("rule", nth, "commands"), what.to_owned()))
        }
        (true, false) => {
            Some((("rule", nth, "ports"), "never matches: \"resolve\" is asked without a port".to_owned()))
        }
        (true, true) => None,
    };
    rules.filter_map(what).collect()
}

/// What is said of a condition that nothing can meet.
const NOTHING_LEFT: &str = "leaves nothing, so that the rule never matches";

/// Rules that can never match.
pub(super) fn never(specs: &RuleSpecs, warnings: &mut Vec<RuleRemark>) {
    for (nth, by) in specs.shadowed() {
        let what = format!(
            "never matches: [[rule]] {} {} before it takes all that it would",
            by + 1,
            quoted(&specs.rules[by].name)
        );
        warnings.push((("rule", nth, "name"), what));
    }
    for (nth, key) in specs.unmatchable() {
        let key = ("rule", nth, key.as_str());
        if !warnings.iter().any(|(said, _)| *said == key) {
            warnings.push((key, NOTHING_LEFT.to_owned()));
        }
    }
}

/// Blocks that a rule allows and the guard refuses all the same.
pub(super) fn guarded(config: &Config, warnings: &mut Vec<RuleRemark>) {
    let guard = Guard::new(config.guard.allow_private, config.guard.allow.clone(), Vec::new());
    let guard = guard.with_nat64(config.dns.dns64.prefixes());
    let refused = |ip: IpAddr| match guard.check(SocketAddr::new(ip, 1)) {
        Err(Refusal::SpecialPurpose(range)) => Some(range),
        _ => None,
    };
    let allows = |rule: &RuleConfig| rule.action == Action::Allow && !rule.allow_private;
    for (nth, rule) in config.rules.iter().enumerate().filter(|(_, rule)| allows(rule)) {
        for to in &rule.to {
            let RuleDestination::Network(net) = to else { continue };
            if let (Some(range), Some(_)) = (refused(net.network()), refused(net.broadcast())) {
                let what = format!(
                    "{net} is refused by [guard] all the same ({range}): allow_private = true opens it"
                );
                warnings.push((("rule", nth, "to"), what));
            }
        }
    }
}

/// Conditions on addresses in front of a rule whose parent is told names, and those of such a rule itself: what a name leads to there
/// they do not see.
pub(super) fn unseen(
    config: &Config,
    lists: &[ListSpec],
    resolving: &[Arc<str>],
    warnings: &mut Vec<RuleRemark>,
) {
    let told = |rule: &RuleConfig| rule.parent.as_ref().filter(|name| resolving.contains(name)).cloned();
    let blocks: BTreeSet<&str> =
        lists.iter().filter(|list| !list.networks.is_empty()).map(|list| &*list.name).collect();
    let by_address = |to: &RuleDestination| match to {
        RuleDestination::Network(_) => true,
        RuleDestination::List(name) => blocks.contains(&**name),
        RuleDestination::Name(_) => false,
    };
    for (nth, rule) in config.rules.iter().enumerate() {
        let Some(parent) = config.rules[nth..].iter().find_map(told) else { break };
        for (key, destinations) in [("to", &rule.to), ("not_to", &rule.not_to)] {
            if destinations.iter().any(by_address) {
                let what = format!(
                    "is not met by names that parent {} resolves, whatever they lead to: addresses are not seen here",
                    quoted(&parent)
                );
                warnings.push((("rule", nth, key), what));
            }
        }
    }
    for (nth, parent) in config.parents.iter().enumerate() {
        if !config.rules.iter().any(|rule| rule.parent.as_ref() == Some(&parent.name)) {
            let what = format!("leads nothing: no rule has parent = {}", quoted(&parent.name));
            warnings.push((("parent", nth, "name"), what));
        }
    }
}

/// Targets that are to be told of their clients, and are not or without an address, where a parent resolves their names.
pub(super) fn untold(config: &Config, resolving: &[Arc<str>]) -> Vec<RuleRemark> {
    let named = config.rules.iter().filter_map(|rule| rule.parent.as_ref());
    let Some(parent) = named.clone().find(|name| resolving.contains(name)) else { return Vec::new() };
    let mut remarks = Vec::new();
    for (nth, table) in config.proxy_out.iter().enumerate() {
        let ((by_address, by_name), parent) = (table.kinds(), quoted(parent));
        let unseen =
            format!("is not met by addresses of names that parent {parent} resolves: they are not seen here");
        let untold = format!(
            "where parent {parent} resolves the name the header has no addresses: the target's is not known here"
        );
        let said = [(by_address, unseen), (by_name, untold)].into_iter().filter(|(is_so, _)| *is_so);
        remarks.extend(said.map(|(_, what)| (("proxy_out", nth, "to"), what)));
    }
    remarks
}

/// Limits that nothing has, and those that count the sessions of users where nobody logs in: a slip that limits nobody.
pub(super) fn idle_limits(config: &Config, users: Option<&Users>) -> Vec<RuleRemark> {
    let of_rules = config.rules.iter().flat_map(|rule| &rule.limits);
    let of_users = users.into_iter().flat_map(Users::limits).flat_map(|(_, limits)| limits);
    let named: BTreeSet<&str> = of_rules.chain(of_users).map(|name| &**name).collect();
    let nobody_logs_in = users.is_none() && !config.asks(AuthMethod::Gssapi);
    let idle = |(nth, limit): (usize, &LimitConfig)| {
        if !named.contains(&*limit.name) {
            let what = format!("limits nobody: neither a rule nor a user has {}", quoted(&limit.name));
            return Some((("limit", nth, "name"), what));
        }
        let of_who = nobody_logs_in && matches!(limit.per, Per::User | Per::Group);
        of_who.then(|| (("limit", nth, "per"), "limits nobody: nobody logs in".to_owned()))
    };
    config.limits.iter().enumerate().filter_map(idle).collect()
}

/// Users of rules who are nobody: they may be a slip. Where tickets are taken, any name may be somebody.
pub(super) fn users_warnings(config: &Config, users: Option<&Users>) -> Vec<RuleRemark> {
    let mut warnings = Vec::new();
    if config.asks(AuthMethod::Gssapi) || config.rules.is_empty() {
        return warnings;
    }
    let nobody_logs_in = users.is_none();
    let known: BTreeSet<&str> = users.map(|users| users.names().into_iter().collect()).unwrap_or_default();
    for (nth, rule) in config.rules.iter().enumerate() {
        if nobody_logs_in && !rule.groups.is_empty() {
            warnings
                .push((("rule", nth, "groups"), "nobody logs in, and so nobody is in a group".to_owned()));
        }
        for (key, names) in [("users", &rule.users), ("not_users", &rule.not_users)] {
            let unknown: Vec<&Arc<str>> = names.iter().filter(|name| !known.contains(&***name)).collect();
            let key = ("rule", nth, key);
            let (named, more) = unknown.split_at(unknown.len().min(limits::UNKNOWN_USERS_NAMED));
            let what = |name: &str| match users {
                None => format!("nobody logs in, and so nobody is {}", quoted(name)),
                Some(_) => unknown_user(name, &known),
            };
            warnings.extend(named.iter().map(|name| (key, what(name))));
            if !more.is_empty() {
                warnings.push((key, format!("and so it is with {} more", more.len())));
            }
        }
    }
    if users.is_some() {
        warnings.extend(unknown_members(config, &known));
    }
    warnings
}

/// Who is in a group of the configuration and is nobody, told of at the first rule that names the group.
fn unknown_members(config: &Config, known: &BTreeSet<&str>) -> Vec<RuleRemark> {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let mut warnings = Vec::new();
    for (nth, rule) in config.rules.iter().enumerate() {
        for (key, names) in [("groups", &rule.groups), ("not_groups", &rule.not_groups)] {
            let anew: Vec<&str> = names.iter().map(|name| &**name).filter(|name| told.insert(name)).collect();
            let groups = config.groups.iter().filter(|(group, _)| anew.contains(&&***group));
            let unknown: Vec<(&Arc<str>, &Arc<str>)> = groups
                .flat_map(|(group, members)| members.iter().map(move |member| (group, member)))
                .filter(|(_, member)| !known.contains(&***member))
                .collect();
            let key = ("rule", nth, key);
            let (named, more) = unknown.split_at(unknown.len().min(limits::UNKNOWN_USERS_NAMED));
            warnings.extend(named.iter().map(|(group, member)| {
                (key, format!("group {}: {}", quoted(group), unknown_user(member, known)))
            }));
            if !more.is_empty() {
                warnings.push((key, format!("and so it is with {} more", more.len())));
            }
        }
    }
    warnings
}

fn unknown_user(name: &str, known: &BTreeSet<&str>) -> String {
    let what = format!("the users file has no user {}", quoted(name));
    let like_it = known.iter().copied().take(limits::USERS_COMPARED);
    match nearest(name, like_it) {
        Some(meant) => format!("{what}; did you mean {}?", quoted(meant)),
        None => what,
    }
}
