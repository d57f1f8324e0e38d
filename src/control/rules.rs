//! The rules that workers are given: made of the configuration, of the files of its lists and of who is in which group.
//!
//! What keeps rules from being obeyed is found before anything changes, and what was made is kept for as long as what it was made
//! of stays: a million names are read again only where their file is another.

pub(super) mod concerns;
mod idle_pools;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};

use self::concerns::{
    RuleRemark, empty_groups, empty_lists, guarded, idle_limits, never, unresolved, unseen, untold, unused,
    users_warnings,
};
use self::idle_pools::idle_pools;
use super::limited_users::limited_users;
use super::lists;
use super::numbers::Numbers;
use super::parent_passwords::password_concerns;
use super::ways::OperatorWays;
use super::zones::time_zone;
use crate::auth::Users;
use crate::config::{
    Config, LimitConfig, ListConfig, RuleConfig, RuleDestination, When, Zone, nearest, quoted,
};
use crate::limits;
use crate::policy::accounts::LimitedUsers;
use crate::policy::parents::ResolveAt;
use crate::policy::rule_names::{DEFAULT_NAME, RuleNames};
use crate::policy::rules::schedule::Schedule;
use crate::policy::rules::spec::{Action, Condition, Destination, GroupSpec, ListSpec, RuleSpec, RuleSpecs};
use crate::policy::rules::{RuleId, RuleSet};
use crate::sys::files::Stamp;

/// The rules in effect, and which users their limits are about.
#[derive(Clone, Debug)]
pub(super) struct OperatorRules {
    inputs: RuleInputs,
    warnings: Vec<RuleRemark>,
    /// `None`: everything may be had, as there is no rule.
    pub(super) set: Option<Arc<RuleSet>>,
    /// What all that there ever were are called.
    pub(super) names: Arc<RuleNames>,
    /// Those of the names of rules; 0 stands for the default.
    numbers: Numbers,
    /// The groups and limits of users, where limits ask for either.
    pub(super) limited: Arc<LimitedUsers>,
    /// The pools that rules name.
    pub(super) ways: OperatorWays,
}

/// All that they are made of.
#[derive(Clone, Debug, Default, PartialEq)]
struct RuleInputs {
    rules: Vec<RuleConfig>,
    lists: Vec<ListConfig>,
    default: Action,
    groups: Vec<GroupSpec>,
    /// The stamps of the lists' files.
    stamps: Vec<Option<Stamp>>,
    /// The clocks of the rules' zones.
    zones: Vec<TimeZone>,
    /// The parents that resolve names.
    resolving: Vec<Arc<str>>,
}

/// Rules that can be had.
pub(super) enum RulesPlan {
    /// They are those in effect.
    Same,
    /// They are those in effect, and their limits are about others, or the pools that they name are others.
    Beside(Arc<LimitedUsers>, OperatorWays),
    /// They are to be made of this.
    New(Box<NewRules>),
}

/// What new rules are made of, checked.
pub(super) struct NewRules {
    inputs: RuleInputs,
    specs: Option<RuleSpecs>,
    warnings: Vec<RuleRemark>,
    numbers: Numbers,
    limited: Arc<LimitedUsers>,
    ways: OperatorWays,
    /// The lists whose files have something else in them, in words.
    read: Vec<String>,
}

impl RulesPlan {
    /// The lists whose files have something else in them than when they were last read, each with what it has now.
    pub(super) fn lists_read(&self) -> &[String] {
        match self {
            RulesPlan::Same | RulesPlan::Beside(..) => &[],
            RulesPlan::New(new) => &new.read,
        }
    }

    /// The pools and parents of the plan, where they are others than those in effect.
    pub(super) fn ways(&self) -> Option<&OperatorWays> {
        match self {
            RulesPlan::Same => None,
            RulesPlan::Beside(_, ways) => Some(ways),
            RulesPlan::New(new) => Some(&new.ways),
        }
    }
}

impl Default for OperatorRules {
    fn default() -> OperatorRules {
        OperatorRules {
            inputs: RuleInputs::default(),
            warnings: Vec::new(),
            set: None,
            names: Arc::default(),
            numbers: Numbers::beginning_with([DEFAULT_NAME]),
            limited: Arc::default(),
            ways: OperatorWays::default(),
        }
    }
}

impl OperatorRules {
    /// The number of the rule of this name.
    pub(super) fn number_of(&self, name: &str) -> RuleId {
        number_of(&self.numbers, name)
    }

    /// Says what time it is to rules with times.
    pub(super) fn tell_time(&self, now: Timestamp) {
        self.set.iter().for_each(|set| set.tell_time(now));
    }

    /// Finds out what rules a configuration comes to, in place of these. Warnings come beside either.
    ///
    /// # Errors
    /// What keeps it from being obeyed, each with its key.
    pub(super) fn plan(
        &self,
        config: &Config,
        users: Option<&Users>,
    ) -> Result<(RulesPlan, Vec<RuleRemark>), Vec<RuleRemark>> {
        let mut errors = Vec::new();
        let groups = groups(config, users, &mut errors);
        // Before they are read: one that changes meanwhile is read again.
        let stamp = |list: &ListConfig| list.file.as_ref().and_then(|path| Stamp::of(path).ok());
        let inputs = RuleInputs {
            rules: config.rules.clone(),
            lists: config.lists.clone(),
            default: config.policy.default.unwrap_or_default(),
            groups,
            stamps: config.lists.iter().map(stamp).collect(),
            zones: zones(config),
            resolving: resolving(config),
        };
        errors.extend(quota_zones(config));
        let mut warnings = users_warnings(config, users);
        warnings.extend(empty_groups(config, &inputs.groups));
        warnings.extend(idle_limits(config, users));
        warnings.extend(idle_pools(config, users));
        warnings.extend(password_concerns(&config.parents));
        warnings.extend(unresolved(config));
        let limited = self.limited_by(config, users);
        let ways = self.ways.with(config, users);
        let ways = ways.map_err(|remark| errors.push(remark));
        if let Ok(ways) = &ways
            && errors.is_empty()
            && inputs == self.inputs
        {
            warnings.extend(self.warnings.iter().cloned());
            let plan = match limited == self.limited && ways.is_as(&self.ways) {
                true => RulesPlan::Same,
                false => RulesPlan::Beside(limited, ways.clone()),
            };
            return Ok((plan, warnings));
        }
        let lists = load_lists(config, &mut errors);
        let numbers = self.numbers.with(config.rules.iter().map(|rule| &rule.name));
        let numbers = numbers.map_err(|none| errors.push((("rule", none.nth, "name"), none.of("rules"))));
        let (Ok(numbers), Ok(ways)) = (numbers, ways) else { return Err(errors) };
        let rules = specs(config, &inputs.groups, &ways, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut own = Vec::new();
        empty_lists(config, &lists, &mut errors, &mut own);
        unused(config, &mut own);
        guarded(config, &mut own);
        unseen(config, &lists, &inputs.resolving, &mut own);
        own.extend(untold(config, &inputs.resolving));
        if !errors.is_empty() {
            return Err(errors);
        }
        let specs = RuleSpecs { rules, lists, groups: inputs.groups.clone(), default: inputs.default };
        never(&specs, &mut own);
        let read = self.inputs.read_anew(&inputs, &specs.lists);
        let needed = !specs.rules.is_empty() || specs.default == Action::Deny;
        warnings.extend(own.iter().cloned());
        let new =
            NewRules { inputs, specs: needed.then_some(specs), warnings: own, numbers, read, limited, ways };
        Ok((RulesPlan::New(Box::new(new)), warnings))
    }

    /// These rules where others are in their groups by now, as the users file says; `None` where nobody is. Only users are looked
    /// at anew: what else may have changed a reload finds.
    pub(super) fn regrouped(&self, config: &Config, users: &Users) -> Option<Arc<OperatorRules>> {
        // One that its last user has left is empty: it must not keep him.
        let groups = groups(config, Some(users), &mut Vec::new());
        let limited = self.limited_by(config, Some(users));
        let ways = self.ways.with_users(Some(users));
        if groups == self.inputs.groups && limited == self.limited && ways.is_as(&self.ways) {
            return None;
        }
        let set = match groups == self.inputs.groups {
            true => self.set.clone(),
            false => self.set.as_ref().map(|set| Arc::new(set.with_groups(&groups))),
        };
        let inputs = RuleInputs { groups, ..self.inputs.clone() };
        Some(Arc::new(OperatorRules { inputs, set, limited, ways, ..self.clone() }))
    }

    /// Which users the limits of a configuration are about: the same ones where nothing about them has changed.
    fn limited_by(&self, config: &Config, users: Option<&Users>) -> Arc<LimitedUsers> {
        let limited = limited_users(config, users);
        if limited == *self.limited { Arc::clone(&self.limited) } else { Arc::new(limited) }
    }

    /// What a plan comes to that was made for these.
    pub(super) fn follow(self: Arc<OperatorRules>, plan: RulesPlan) -> Arc<OperatorRules> {
        match plan {
            RulesPlan::Same => self,
            RulesPlan::Beside(limited, ways) => {
                Arc::new(OperatorRules { limited, ways, ..OperatorRules::clone(&self) })
            }
            RulesPlan::New(new) => {
                let NewRules { inputs, specs, warnings, numbers, limited, ways, .. } = *new;
                let set = specs.map(|specs| {
                    let ids = specs.rules.iter().map(|rule| number_of(&numbers, &rule.name)).collect();
                    Arc::new(RuleSet::new(specs, ids))
                });
                let names = Arc::new(RuleNames::new(numbers.names().to_vec()));
                let rules = OperatorRules { inputs, warnings, set, names, numbers, limited, ways };
                rules.tell_time(Timestamp::now());
                Arc::new(rules)
            }
        }
    }
}

impl RuleInputs {
    /// The lists whose files are others by now, and how many entries each has.
    fn read_anew(&self, new: &RuleInputs, lists: &[ListSpec]) -> Vec<String> {
        let before: HashMap<_, _> = self.lists.iter().map(|list| &list.file).zip(&self.stamps).collect();
        let other = |nth: usize, list: &ListConfig| {
            let path = list.file.as_ref()?;
            let was = before.get(&list.file)?;
            let ListSpec { name, names, networks } = &lists[nth];
            let count = names.len() + networks.len();
            let entries = if count == 1 { "entry" } else { "entries" };
            let what = format!("list {}: {count} {entries} now, of {}", quoted(name), path.display());
            (**was != new.stamps[nth]).then_some(what)
        };
        new.lists.iter().enumerate().filter_map(|(nth, list)| other(nth, list)).collect()
    }
}

/// The number of the rule of this name.
fn number_of(numbers: &Numbers, name: &str) -> RuleId {
    numbers.of(name).map_or(RuleId::DEFAULT, RuleId)
}

/// The parents that are given names.
fn resolving(config: &Config) -> Vec<Arc<str>> {
    let there = config.parents.iter().filter(|parent| parent.resolves() == ResolveAt::There);
    there.map(|parent| parent.name.clone()).collect()
}

/// The quotas on a clock that there is not.
fn quota_zones(config: &Config) -> Vec<RuleRemark> {
    let wrong = |(nth, limit): (usize, &LimitConfig)| {
        let what = time_zone(&limit.quota.as_ref()?.zone).err()?;
        Some((("limit", nth, "quota"), what))
    };
    config.limits.iter().enumerate().filter_map(wrong).collect()
}

/// The groups that rules name, in the order in which they name them first, and who is in them: those of the configuration and
/// those of the users file.
fn groups(config: &Config, users: Option<&Users>, errors: &mut Vec<RuleRemark>) -> Vec<GroupSpec> {
    let mut groups: Vec<GroupSpec> = Vec::new();
    let of_file = users.filter(|_| !config.rules.is_empty()).map(Users::groups).unwrap_or_default();
    let mut known: HashSet<Arc<str>> = HashSet::new();
    for (nth, rule) in config.rules.iter().enumerate() {
        for (key, names) in [("groups", &rule.groups), ("not_groups", &rule.not_groups)] {
            for name in names {
                let (typed, filed) = (config.groups.get(name), of_file.get(name));
                if typed.or(filed).is_none() {
                    let what = format!("there is no group {}", quoted(name));
                    let known = config.groups.keys().chain(of_file.keys());
                    let meant = nearest(name, known.map(|name| &**name));
                    let what = match meant {
                        Some(meant) => format!("{what}; did you mean \"{meant}\"?"),
                        None => format!("{what}: one that may be empty stands as {name} = [] in [groups]"),
                    };
                    errors.push((("rule", nth, key), what));
                }
                if known.insert(name.clone()) {
                    let mut members: Vec<_> = typed.into_iter().chain(filed).flatten().cloned().collect();
                    members.sort_unstable();
                    members.dedup();
                    groups.push(GroupSpec { name: name.clone(), members });
                }
            }
        }
    }
    groups
}

/// The lists with what stands in their files.
fn load_lists(config: &Config, errors: &mut Vec<RuleRemark>) -> Vec<ListSpec> {
    let (mut loaded, mut entries) = (Vec::with_capacity(config.lists.len()), 0);
    for (nth, list) in config.lists.iter().enumerate() {
        let file = ("list", nth, "file");
        match lists::load(list) {
            Ok(spec) => {
                entries += spec.names.len() + spec.networks.len();
                if entries > limits::LIST_ENTRIES_MAX {
                    let what =
                        format!("with this one lists have more than {} entries", limits::LIST_ENTRIES_MAX);
                    errors.push((file, what));
                    return Vec::new();
                }
                loaded.push(spec);
            }
            Err(what) => errors.push((file, what)),
        }
    }
    loaded
}

/// The rules with what they name.
fn specs(
    config: &Config,
    groups: &[GroupSpec],
    ways: &OperatorWays,
    errors: &mut Vec<RuleRemark>,
) -> Vec<RuleSpec> {
    let lists = config.lists.iter().enumerate().map(|(nth, list)| (&*list.name, nth)).collect();
    let groups = groups.iter().enumerate().map(|(nth, group)| (&*group.name, nth)).collect();
    let named = NamedPlaces { config, lists, groups, ways };
    let spec = |(nth, rule)| named.spec(nth, rule, errors);
    config.rules.iter().enumerate().map(spec).collect()
}

/// Which place what rules name has.
struct NamedPlaces<'a> {
    config: &'a Config,
    lists: HashMap<&'a str, usize>,
    groups: HashMap<&'a str, usize>,
    ways: &'a OperatorWays,
}

impl NamedPlaces<'_> {
    fn spec(&self, nth: usize, rule: &RuleConfig, errors: &mut Vec<RuleRemark>) -> RuleSpec {
        let group = |name: &Arc<str>| self.groups.get(&**name).copied();
        let listener = |called: &Arc<str>| self.config.listener_named(called);
        let to = |destination: &RuleDestination| match destination {
            RuleDestination::Network(net) => Some(Destination::Network(*net)),
            RuleDestination::Name(pattern) => Some(Destination::Name(pattern.clone())),
            RuleDestination::List(name) => self.lists.get(&**name).copied().map(Destination::List),
        };
        let mut schedules = |key, times: &[When]| {
            let read = |when| schedule(when).map_err(|what| errors.push((("rule", nth, key), what))).ok();
            times.iter().filter_map(read).collect()
        };
        RuleSpec {
            name: rule.name.clone(),
            users: condition(&rule.users, &rule.not_users, |name| Some(name.clone())),
            groups: condition(&rule.groups, &rule.not_groups, group),
            from: condition(&rule.from, &rule.not_from, |net| Some(*net)),
            listeners: condition(&rule.listeners, &rule.not_listeners, listener),
            to: condition(&rule.to, &rule.not_to, to),
            ports: condition(&rule.ports, &rule.not_ports, |ports| Some(ports.0.clone())),
            commands: condition(&rule.commands, &rule.not_commands, |command| Some(*command)),
            when: Condition {
                any_of: schedules("when", &rule.when),
                none_of: schedules("not_when", &rule.not_when),
            },
            action: rule.action,
            mode: rule.mode,
            allow_private: rule.allow_private,
            log: rule.log,
            way: self.ways.way(rule),
        }
    }
}

/// A condition of these values and of those of its twin.
fn condition<T, S>(any_of: &[T], none_of: &[T], spec: impl Fn(&T) -> Option<S>) -> Condition<S> {
    let all = |values: &[T]| values.iter().filter_map(&spec).collect();
    Condition { any_of: all(any_of), none_of: all(none_of) }
}

/// The clocks of the zones that rules and quotas name, as far as they can be had, as the machine has them at this moment: where its own zone
/// is another, or a country has changed its clocks, rules mean something else.
fn zones(config: &Config) -> Vec<TimeZone> {
    let times = config.rules.iter().flat_map(|rule| rule.when.iter().chain(&rule.not_when));
    let quotas = config.limits.iter().filter_map(|limit| limit.quota.as_ref());
    let mut named: Vec<&Zone> = Vec::new();
    for zone in times.map(|when| &when.zone).chain(quotas.map(|quota| &quota.zone)) {
        if !named.contains(&zone) {
            named.push(zone);
        }
    }
    if !named.is_empty() {
        tz::reset_system_time_zone_cache();
        tz::db().reset();
    }
    named.into_iter().filter_map(|zone| time_zone(zone).ok()).collect()
}

/// A schedule on the clock that it names.
fn schedule(when: &When) -> Result<Schedule, String> {
    Ok(Schedule { days: when.days.clone(), hours: when.hours.clone(), zone: time_zone(&when.zone)? })
}

#[cfg(test)]
mod tests;
