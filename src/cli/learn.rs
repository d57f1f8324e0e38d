//! `outflow learn FILE...`: the rules that allow what was learned and nothing else, as few as stand for it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ipnet::IpNet;
use toml::Value;

use crate::config::Choice;
use crate::console::{complain, say};
use crate::control::{read_learned, text_of};
use crate::limits;
use crate::observe::TrafficNeed;

/// What a need is for: where to, by which command and at which port.
type Wanted = (String, u16, &'static str);

/// A rule: whoever is one of these users may have each of these at each of these.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LearnedRule {
    /// Empty: anybody.
    users: Vec<Arc<str>>,
    to: Vec<String>,
    ports: Vec<u16>,
    commands: Vec<&'static str>,
}

/// Prints the rules, for clients from these blocks alone where there are any. Exit code 0, or 1 where a file cannot be read, with the reason on standard error.
pub(super) fn run(files: &[PathBuf], from: &[IpNet]) -> ExitCode {
    let mut needs = HashSet::new();
    for file in files.iter().map(PathBuf::as_path) {
        match read(file) {
            Ok(more) => needs.extend(more),
            Err(what) => {
                complain(&format_args!("outflow: {what}"));
                return ExitCode::FAILURE;
            }
        }
    }
    say(&printed(&rules(&needs), from))
}

fn read(file: &Path) -> Result<HashSet<TrafficNeed>, String> {
    read_learned(file).map_err(|error| error.to_string())
}

/// The rules that allow these needs and nothing else.
fn rules(needs: &HashSet<TrafficNeed>) -> Vec<LearnedRule> {
    let mut anybody: BTreeSet<Wanted> = BTreeSet::new();
    let mut of_users: BTreeMap<&Arc<str>, BTreeSet<Wanted>> = BTreeMap::new();
    for need in needs {
        let wanted = (text_of(&need.host), need.port, need.command.name());
        match &need.user {
            None => drop(anybody.insert(wanted)),
            Some(user) => drop(of_users.entry(user).or_default().insert(wanted)),
        }
    }
    // What anybody may have needs no user.
    of_users.values_mut().for_each(|wanted| wanted.retain(|one| !anybody.contains(one)));
    let grouped = [by_users(&of_users), by_targets(&of_users)];
    let fewest = grouped.into_iter().map(|groups| tables(&groups)).min_by_key(Vec::len).unwrap_or_default();
    let mut rules = tables(&[(Vec::new(), anybody)]);
    rules.extend(fewest);
    rules
}

type Grouped = Vec<(Vec<Arc<str>>, BTreeSet<Wanted>)>;

/// Users who want the very same together.
fn by_users(of_users: &BTreeMap<&Arc<str>, BTreeSet<Wanted>>) -> Grouped {
    let mut groups: BTreeMap<&BTreeSet<Wanted>, Vec<Arc<str>>> = BTreeMap::new();
    for (user, wanted) in of_users.iter().filter(|(_, wanted)| !wanted.is_empty()) {
        groups.entry(wanted).or_default().push(Arc::clone(user));
    }
    groups.into_iter().map(|(wanted, users)| (users, wanted.clone())).collect()
}

/// What the very same users want together.
fn by_targets(of_users: &BTreeMap<&Arc<str>, BTreeSet<Wanted>>) -> Grouped {
    let mut users_of: BTreeMap<&Wanted, Vec<Arc<str>>> = BTreeMap::new();
    for (user, wanted) in of_users {
        for one in wanted {
            users_of.entry(one).or_default().push(Arc::clone(user));
        }
    }
    let mut groups: BTreeMap<Vec<Arc<str>>, BTreeSet<Wanted>> = BTreeMap::new();
    for (wanted, users) in users_of {
        groups.entry(users).or_default().insert(wanted.clone());
    }
    groups.into_iter().collect()
}

/// The rules of groups: hosts that are wanted at the same ports by the same commands together.
fn tables(groups: &[(Vec<Arc<str>>, BTreeSet<Wanted>)]) -> Vec<LearnedRule> {
    let mut rules = Vec::new();
    for (users, wanted) in groups {
        // For each host and command the ports, then for each host and its ports the commands, then for both the hosts.
        let mut ports: BTreeMap<(&str, &'static str), BTreeSet<u16>> = BTreeMap::new();
        for (host, port, command) in wanted {
            ports.entry((host, command)).or_default().insert(*port);
        }
        let mut commands: BTreeMap<(&str, BTreeSet<u16>), BTreeSet<&'static str>> = BTreeMap::new();
        for ((host, command), ports) in ports {
            commands.entry((host, ports)).or_default().insert(command);
        }
        let mut hosts: BTreeMap<(BTreeSet<&'static str>, BTreeSet<u16>), Vec<String>> = BTreeMap::new();
        for ((host, ports), commands) in commands {
            hosts.entry((commands, ports)).or_default().push(host.to_owned());
        }
        for ((commands, ports), hosts) in hosts {
            for to in hosts.chunks(limits::RULE_VALUES_MAX) {
                rules.push(LearnedRule {
                    users: users.clone(),
                    to: to.to_vec(),
                    ports: ports.iter().copied().collect(),
                    commands: commands.iter().copied().collect(),
                });
            }
        }
    }
    rules
}

/// The rules as they stand in a configuration.
fn printed(rules: &[LearnedRule], from: &[IpNet]) -> String {
    let text = |text: &str| Value::String(text.to_owned()).to_string();
    let array = |values: Vec<String>| format!("[{}]", values.join(", "));
    let from = match from.is_empty() {
        true => String::new(),
        false => format!("from = {}\n", array(from.iter().map(|block| text(&block.to_string())).collect())),
    };
    let table = |(nth, rule): (usize, &LearnedRule)| {
        let LearnedRule { users, to, ports, commands } = rule;
        let users = match users.is_empty() {
            true => String::new(),
            false => format!("users = {}\n", array(users.iter().map(|user| text(user)).collect())),
        };
        // Names that are resolved are at no port.
        let ports = match ports[..] {
            [0] => String::new(),
            _ => format!("ports = {}\n", array(ranges(ports))),
        };
        format!(
            "[[rule]]\nname = \"learned-{}\"\n{from}{users}to = {}\n{ports}commands = {}\naction = \"allow\"\n",
            nth + 1,
            array(to.iter().map(|host| text(host)).collect()),
            array(commands.iter().map(|command| text(command)).collect()),
        )
    };
    let tables: Vec<String> = rules.iter().enumerate().map(table).collect();
    tables.join("\n")
}

/// Ports in their order as a rule has them: three and more in a row are a range.
fn ranges(ports: &[u16]) -> Vec<String> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => runs.push((port, port)),
        }
    }
    let run = |(first, last): (u16, u16)| match last - first {
        0 => vec![first.to_string()],
        1 => vec![first.to_string(), last.to_string()],
        _ => vec![format!("\"{first}-{last}\"")],
    };
    runs.into_iter().flat_map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};
    use crate::proto::address::Host;
    use crate::proto::request::RequestCommand;

    fn need(user: &str, host: &str, port: u16) -> TrafficNeed {
        TrafficNeed {
            user: (!user.is_empty()).then(|| user.into()),
            command: RequestCommand::Connect,
            host: Host::parse(host.as_bytes()).unwrap(),
            port,
        }
    }

    /// All that the rules allow: each user at each target.
    fn allowed(rules: &[LearnedRule]) -> BTreeSet<(String, String, u16, &'static str)> {
        let mut all = BTreeSet::new();
        for rule in rules {
            let users: Vec<String> = match rule.users.is_empty() {
                true => vec![String::new()],
                false => rule.users.iter().map(ToString::to_string).collect(),
            };
            for (user, to) in users.iter().flat_map(|user| rule.to.iter().map(move |to| (user, to))) {
                for (port, command) in rule
                    .ports
                    .iter()
                    .flat_map(|port| rule.commands.iter().map(move |command| (port, command)))
                {
                    all.insert((user.clone(), to.clone(), *port, *command));
                }
            }
        }
        all
    }

    #[test]
    fn users_with_the_same_targets_have_one_rule() {
        let mut needs = HashSet::new();
        for user in ["ann", "bob"] {
            for host in ["a.example", "b.example"] {
                needs.extend([need(user, host, 443), need(user, host, 80)]);
            }
        }
        needs.insert(need("eve", "a.example", 443));
        let found = rules(&needs);
        assert_eq!(found.len(), 2, "{found:#?}");
        let shared = found.iter().find(|rule| rule.users.len() == 2).expect("a rule of both");
        assert_eq!(
            (&shared.to[..], &shared.ports[..]),
            (&["a.example".into(), "b.example".into()][..], &[80, 443][..])
        );
        assert_eq!(allowed(&found).len(), needs.len());
    }

    #[test]
    fn targets_of_the_same_users_have_one_rule_where_that_is_fewer() {
        // Each user wants one host of his own, and all of them the same ten.
        let mut needs = HashSet::new();
        for user in ["ann", "bob", "eve"] {
            needs.insert(need(user, &format!("{user}.example"), 443));
            needs.extend((0..10).map(|nth| need(user, &format!("shared{nth}.example"), 443)));
        }
        assert_eq!(allowed(&rules(&needs)).len(), needs.len());
        assert_eq!(rules(&needs).len(), 3, "one of each user");
        needs.extend((0..9).map(|nth| need(&format!("u{nth}"), "shared0.example", 443)));
        let found = rules(&needs);
        assert_eq!((allowed(&found).len(), found.len() <= 5), (needs.len(), true), "{found:#?}");
    }

    #[test]
    fn what_anybody_had_needs_no_user() {
        let needs = HashSet::from([need("", "a.example", 443), need("ann", "a.example", 443)]);
        let found = rules(&needs);
        assert!(found.len() == 1 && found[0].users.is_empty(), "{found:?}");
        assert_eq!(printed(&[], &[]), "");
    }

    /// Every allowed thing is a need and every need is allowed, and `check` takes what is printed.
    #[test]
    fn random_needs_are_allowed_and_nothing_else_is() {
        use rand::prelude::*;
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..200 {
            let count = random.random_range(0..40);
            let mut needs = HashSet::new();
            for _ in 0..count {
                let user = ["ann", "bob", "eve \"x\""][random.random_range(0..3)];
                let host = ["a.example", "b.example", "192.0.2.1", "2001:db8::1"][random.random_range(0..4)];
                let mut one = need(user, host, random.random_range(80..86));
                one.command = [RequestCommand::Connect, RequestCommand::Bind][random.random_range(0..2)];
                needs.insert(one);
            }
            let found = rules(&needs);
            let wanted: BTreeSet<_> = needs
                .iter()
                .map(|need| {
                    (
                        need.user.as_deref().unwrap_or_default().to_owned(),
                        text_of(&need.host),
                        need.port,
                        need.command.name(),
                    )
                })
                .collect();
            assert_eq!(allowed(&found), wanted);
            let from: Vec<IpNet> =
                ["10.0.0.0/8", "2001:db8::/32"].map(|block| block.parse().unwrap()).to_vec();
            let from = &from[..random.random_range(0..=from.len())];
            let text = printed(&found, from);
            let config = Config::parse(&text, Path::new("learned.toml"), &Flags::default());
            let config = config.unwrap_or_else(|what| panic!("{what}\n{text}"));
            assert_eq!(config.rules.len(), found.len());
            assert!(config.rules.iter().all(|rule| rule.from == from), "{text}");
        }
    }
}
