//! Which tables and keys there are, and which are meant when another is typed.

use std::path::Path;

use super::entry::TableEntry;
use super::problem::{Problems, escaped, quoted};
use super::raw::Raw;

/// Names that the documentation promises and this version does not obey: saying so beats guessing.
const PLANNED_TABLES: &[&str] = &["rule", "egress", "username", "limits.per_user", "admin"];

/// Keys that it promises, by table.
const PLANNED_KEYS: &[(&str, &[&str])] =
    &[("limits.per_source", &["new_per_second", "bandwidth", "udp_associations", "bytes_per_day"])];

const NOT_YET: &str = "not supported by this version";

/// How alike two words must be (Jaro-Winkler, 0 to 1) for one to be offered for the other, unless they
/// are a single slip apart. Higher misses abbreviations, lower offers words that only share letters.
const LIKENESS: f64 = 0.8;

/// The tables that a configuration of type `C` may have.
pub(super) struct Schema<C> {
    tables: Vec<TableEntry<C>>,
}

impl<C: 'static> Schema<C> {
    /// A schema of these tables, which stand in the order of the documentation.
    pub(super) fn of(tables: Vec<TableEntry<C>>) -> Schema<C> {
        Schema { tables }
    }

    /// Every table.
    pub(super) fn tables(&self) -> &[TableEntry<C>] {
        &self.tables
    }

    /// One line that says what a key is, and its value in `defaults`.
    pub(super) fn help(&self, table: &str, key: &str, defaults: &C) -> String {
        let Some(key) = self.table(table).and_then(|table| table.key(key)) else { return String::new() };
        let default = (key.print)(defaults, 0).unwrap_or_default();
        format!("{} [default: {}]", key.help, default.trim_matches(['[', '"', ']']))
    }

    /// Lays one source over what is there; relative paths in it start at `base`.
    pub(super) fn lay(&self, raw: &Raw, base: &Path, config: &mut C, problems: &mut Problems) {
        for table in &self.tables {
            if let Some(typed) = raw.tables(table.name) {
                table.lay(typed, base, config, problems);
            }
        }
    }

    /// The table of this name.
    pub(super) fn table(&self, name: &str) -> Option<&TableEntry<C>> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The table of this name within `table`, or at the top.
    pub(super) fn table_in(&self, table: Option<&str>, name: &str) -> Option<&TableEntry<C>> {
        let inner = |full: &str| match table {
            Some(table) => full.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')) == Some(name),
            None => full == name && !name.contains('.'),
        };
        self.tables.iter().find(|table| inner(table.name))
    }

    /// What to say of a table that is none of ours.
    pub(super) fn unknown_table(&self, typed: &str) -> String {
        if PLANNED_TABLES.contains(&typed) {
            return NOT_YET.to_owned();
        }
        match self.nearest_table(typed) {
            Some(table) => format!("unknown table; did you mean {}?", table.header()),
            None => format!("unknown table; the tables are {}", headers(self.tables.iter())),
        }
    }

    /// What to say of a key before the first table.
    pub(super) fn stray_key(&self, typed: &str) -> String {
        if PLANNED_TABLES.contains(&typed) {
            return NOT_YET.to_owned();
        }
        match self.home_of(typed) {
            Some(table) => format!("stands outside any table; did you mean {} `{typed}`?", table.header()),
            None => self.unknown_table(typed).replacen("unknown table", "no key stands outside a table", 1),
        }
    }

    /// What to say of a key that is not one of its table's.
    pub(super) fn unknown_key(&self, table: &str, typed: &str) -> String {
        if PLANNED_KEYS.iter().any(|(planned, keys)| *planned == table && keys.contains(&typed)) {
            return NOT_YET.to_owned();
        }
        if let Some(home) = self.home_of(typed) {
            return format!("unknown key; did you mean {} `{}`?", home.header(), escaped(typed));
        }
        let keys: Vec<&str> = self.table(table).into_iter().flat_map(TableEntry::names).collect();
        match nearest(typed, keys.iter().copied()) {
            Some(key) => format!("unknown key; did you mean `{key}`?"),
            None if let Some(inner) = self.nearest_table(typed).filter(|table| table.name.contains('.')) => {
                format!("unknown key; did you mean {}?", inner.header())
            }
            None if keys.is_empty() => {
                let inner = self.tables.iter().filter(|inner| within(inner.name, table));
                format!("unknown key; the tables in [{table}] are {}", headers(inner))
            }
            None => format!("unknown key; the keys are `{}`", keys.join("`, `")),
        }
    }

    /// The table that was probably meant, by its whole name or by the last part of it.
    fn nearest_table(&self, typed: &str) -> Option<&TableEntry<C>> {
        let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
        let names = || self.tables.iter().map(|table| table.name);
        let whole = nearest(typed, names()).and_then(|meant| self.table(meant));
        whole.or_else(|| {
            let meant = nearest(typed, names().map(last))?;
            self.tables.iter().find(|table| last(table.name) == meant)
        })
    }

    /// The table that has a key of exactly this name.
    fn home_of(&self, key: &str) -> Option<&TableEntry<C>> {
        self.tables.iter().find(|table| table.key(key).is_some())
    }
}

/// The word that was probably meant.
pub(super) fn nearest<'a>(typed: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed.chars().take(64).flat_map(char::to_lowercase).collect();
    valid
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&typed, word), word))
        .filter(|(likeness, word)| *likeness >= LIKENESS || one_slip(&typed, word))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// One letter missing, added, changed or swapped with its neighbour; in a word of two letters that
/// would be half of it.
fn one_slip(typed: &str, word: &str) -> bool {
    word.len() > 2 && strsim::osa_distance(typed, word) <= 1
}

/// What to say of a word that is not one of the choices.
pub(super) fn unknown_value<'a>(typed: &str, valid: impl Iterator<Item = &'a str> + Clone) -> String {
    let all: Vec<_> = valid.clone().map(|word| format!("\"{word}\"")).collect();
    let what = format!("{} is none of {}", quoted(typed), all.join(", "));
    match nearest(typed, valid) {
        Some(word) => format!("{what}; did you mean \"{word}\"?"),
        None => what,
    }
}

/// Whether a table stands in another.
fn within(name: &str, table: &str) -> bool {
    name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

fn headers<'a, C: 'static>(tables: impl Iterator<Item = &'a TableEntry<C>>) -> String {
    tables.map(TableEntry::header).collect::<Vec<_>>().join(", ")
}
