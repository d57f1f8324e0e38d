//! What one configuration says otherwise than another, key by key, and what of it a running server takes.

use std::collections::{BTreeSet, HashMap};

use super::at::At;
use super::entry::{NamedKeys, TableEntry, TakenAt};
use super::print::key_text;
use super::problem::Problems;
use super::rules::kept_quotas;
use super::schema::Schema;
use super::tables::Config;
use super::value::string;

/// A key with another value than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Table and key, with a dot between them.
    pub key: String,
    /// Its value before, as TOML; `None` where it was absent.
    pub from: Option<String>,
    /// Its value in the file, as TOML; `None` where it is absent.
    pub to: Option<String>,
    /// Whether a reload takes it; another waits for a new process.
    pub taken: bool,
    /// Whether what is other is a password: it is shown in neither value, and both look the same.
    pub hidden: bool,
}

impl Config {
    /// Every key whose value is another than in `old`, in the order of the documentation.
    pub fn changes_from(&self, old: &Config) -> Vec<KeyChange> {
        changes(&super::whole_schema(), old, self)
    }

    /// What is in effect once a server that runs by `old` has been given this: what a reload does not take keeps its old
    /// value.
    ///
    /// # Errors
    /// Where the rules between keys do not hold for the result.
    pub fn in_place_of(mut self, old: &Config) -> Result<Config, Problems> {
        keep(&super::whole_schema(), old, &mut self);
        let (workers, most) = (self.server.workers, self.server.max_connections);
        if most != 0 && workers > most {
            let mut problems = self.places.problems();
            let what = format!(
                "{workers} workers run, and cannot share {most}: at least {workers}, or a new process with fewer workers"
            );
            self.places.blame(&mut problems, "server", "max_connections", what);
            return Err(problems);
        }
        if self.server.state.is_none()
            && let Some((path, key)) = kept_quotas(&self).first()
        {
            let mut problems = self.places.problems();
            let at = self.places.at(*path, key).cloned().unwrap_or(At::File);
            let what = "needs [server] state, which a reload does not take: it waits for a restart";
            problems.push(at, what.to_owned());
            return Err(problems);
        }
        Ok(self)
    }
}

fn changes<C: 'static>(schema: &Schema<C>, old: &C, new: &C) -> Vec<KeyChange> {
    let mut changes = Vec::new();
    for table in schema.tables() {
        let pairs = pairs(table, old, new);
        for TablePair { name, old: was, new: is } in &pairs {
            for key in &table.keys {
                let from = was.and_then(|nth| (key.print)(old, nth));
                let to = is.and_then(|nth| (key.print)(new, nth));
                let hidden =
                    from == to && was.zip(*is).is_some_and(|(was, is)| !(key.same)((old, was), (new, is)));
                if from != to || hidden {
                    let taken = key.taken == TakenAt::Reload;
                    changes.push(KeyChange { key: format!("{name}.{}", key.name), from, to, taken, hidden });
                }
            }
        }
        changes.extend(order_change(table.name, &pairs));
        changes.extend(table.named.iter().flat_map(|named| named_changes(table.name, named, old, new)));
    }
    changes
}

/// A table of both configurations, or of one.
struct TablePair {
    /// What it is called.
    name: String,
    /// Which one of the array it is in the old configuration.
    old: Option<usize>,
    /// Which one in the new configuration.
    new: Option<usize>,
}

/// The tables of an entry. Those of an array are the same where they have the same name, wherever they stand; where they have
/// no names, where they stand at the same place.
fn pairs<C: 'static>(table: &TableEntry<C>, old: &C, new: &C) -> Vec<TablePair> {
    let (were, are) = (table.count(old), table.count(new));
    let Some(name_of) = table.key("name").filter(|_| table.array.is_some()) else {
        let place = |nth: usize| match table.array {
            Some(_) => format!("{}[{}]", table.name, nth + 1),
            None => table.name.to_owned(),
        };
        let at = |nth: usize, count: usize| (nth < count).then_some(nth);
        let pair = |nth| TablePair { name: place(nth), old: at(nth, were), new: at(nth, are) };
        return (0..were.max(are)).map(pair).collect();
    };
    let names = |of: &C, count| (0..count).map(|nth| (name_of.print)(of, nth).unwrap_or_default()).collect();
    let (old_names, new_names): (Vec<String>, Vec<String>) = (names(old, were), names(new, are));
    let mut left: HashMap<&str, usize> =
        old_names.iter().enumerate().map(|(nth, name)| (name.as_str(), nth)).collect();
    let called = |name: &str| format!("{}[{}]", table.name, name.trim_matches('"'));
    let mut pairs: Vec<TablePair> = (new_names.iter().enumerate())
        .map(|(nth, name)| TablePair { name: called(name), old: left.remove(name.as_str()), new: Some(nth) })
        .collect();
    let gone = old_names.iter().enumerate().filter(|(_, name)| left.contains_key(name.as_str()));
    pairs.extend(gone.map(|(nth, name)| TablePair { name: called(name), old: Some(nth), new: None }));
    pairs
}

/// That tables which stay stand in another order: the first one that comes before one that it came behind.
fn order_change(table: &str, pairs: &[TablePair]) -> Option<KeyChange> {
    let both = |pair: &&TablePair| pair.old.is_some() && pair.new.is_some();
    let stays: Vec<&TablePair> = pairs.iter().filter(both).collect();
    let [one, other] = *stays.windows(2).find(|two| two[0].old > two[1].old)? else { return None };
    let order = |first: &TablePair, second: &TablePair| {
        Some(string(&format!("{} before {}", first.name, second.name)))
    };
    let (from, to) = (order(other, one), order(one, other));
    Some(KeyChange { key: format!("{table} order"), from, to, taken: true, hidden: false })
}

/// The changes of keys that are names.
fn named_changes<C>(table: &str, named: &NamedKeys<C>, old: &C, new: &C) -> Vec<KeyChange> {
    let names: BTreeSet<_> = (named.names)(old).into_iter().chain((named.names)(new)).collect();
    let change = |name: &str| {
        let (from, to) = ((named.print)(old, name), (named.print)(new, name));
        let key = format!("{table}.{}", key_text(name));
        (from != to).then_some(KeyChange { key, from, to, taken: true, hidden: false })
    };
    names.iter().filter_map(|name| change(name)).collect()
}

/// Gives `new` the values of `old` where a reload takes no others. An array of tables is taken whole.
fn keep<C: 'static>(schema: &Schema<C>, old: &C, new: &mut C) {
    for table in schema.tables().iter().filter(|table| table.array.is_none()) {
        for key in table.keys.iter().filter(|key| key.taken == TakenAt::Start) {
            (key.copy)(new, old, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/outflow.toml"), &Flags::default()).unwrap()
    }

    #[test]
    fn what_is_other_is_told_with_both_values() {
        let old = config("[server]\nworkers = 2\n[timeouts]\nidle = \"60s\"\n");
        let new = config("[server]\nworkers = 3\nrelay = \"copy\"\n[bind]\nports = \"4000-4009\"\n");
        let told: Vec<String> = (new.changes_from(&old).into_iter())
            .map(|change| format!("{} {:?} {:?} {}", change.key, change.from, change.to, change.taken))
            .collect();
        assert_eq!(
            told,
            [
                r#"server.workers Some("2") Some("3") false"#,
                r#"server.relay Some("\"auto\"") Some("\"copy\"") true"#,
                r#"timeouts.idle Some("\"1m\"") Some("\"2h 4m\"") true"#,
                r#"bind.ports Some("\"\"") Some("\"4000-4009\"") true"#,
            ]
        );
        assert_eq!(new.changes_from(&new), []);
    }

    /// It was told that nothing had changed.
    #[test]
    fn another_password_is_a_change_that_shows_none() {
        let with = |server: &str| {
            let parent =
                |name: &str, server: &str| format!("[[parent]]\nname = \"{name}\"\nservers = \"{server}\"\n");
            config(&format!("{}{}", parent("other", "http://b:1"), parent("up", server)))
        };
        let (old, new) = (with("socks5://ann:hunter2@a"), with("socks5://ann:hunter3@a"));
        let changes = new.changes_from(&old);
        let [change] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((change.key.as_str(), change.hidden, change.taken), ("parent[up].servers", true, true));
        assert_eq!(change.from, change.to);
        assert!(!format!("{changes:?}").contains("hunter"), "{changes:?}");
        assert_eq!(new.changes_from(&new), []);
        assert!(!with("socks5://bob:hunter2@a").changes_from(&old)[0].hidden, "the name is shown");
    }

    #[test]
    fn what_is_not_taken_stays_and_the_rest_goes() {
        let old = config("[server]\nworkers = 2\npin = false\nbacklog = 7\n");
        let text = "[server]\nworkers = 5\nsteer = \"cpu\"\nrelay = \"splice\"\n";
        let effective = config(text).in_place_of(&old).unwrap();
        let left: Vec<String> = effective.changes_from(&old).into_iter().map(|change| change.key).collect();
        assert_eq!(left, ["server.relay"]);
        let waiting = config(text).changes_from(&effective);
        assert!(waiting.iter().all(|change| !change.taken) && waiting.len() == 4, "{waiting:?}");
    }

    /// Two workers that run cannot share one place, whatever number the file has for the next start.
    #[test]
    fn the_rules_hold_for_what_will_be_in_effect() {
        let old = config("[server]\nworkers = 2\n");
        let new = config("[server]\nworkers = 1\nmax_connections = 1\n");
        let problems = new.in_place_of(&old).unwrap_err().to_string();
        assert!(
            problems.starts_with("/etc/outflow.toml:3: [server] key `max_connections`: 2 workers run"),
            "{problems}"
        );
        assert!(config("[server]\nworkers = 1\nmax_connections = 2\n").in_place_of(&old).is_ok());
    }
}
