//! Which tables and keys there are, and which are meant when another is typed.

use super::entry::TableEntry;
use super::nearest::{nearest, unknown_key};
use super::problem::escaped;

/// Names that the documentation promises and this version does not obey: saying so beats guessing.
const PLANNED_TABLES: &[&str] = &[];

/// Keys that it promises, by table.
const PLANNED_KEYS: &[(&str, &[&str])] = &[];

const NOT_YET: &str = "not supported by this version";

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
        match default.trim_matches(['[', '"', ']']) {
            "" => key.help.to_owned(),
            default => format!("{} [default: {default}]", key.help),
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
        // A key whose value is a table may be typed as one, or in another's.
        let key = typed.rsplit('.').next().unwrap_or(typed);
        match (self.nearest_table(typed), self.home_of(key)) {
            (near, Some(home)) if near.is_none() || typed.contains('.') => {
                format!("unknown table; did you mean {} `{}`?", home.header(), escaped(key))
            }
            _ if let Some((table, near)) = self.near_in_its_table(typed) => {
                format!("unknown table; did you mean {} `{near}`?", table.header())
            }
            (Some(table), _) => format!("unknown table; did you mean {}?", table.header()),
            (None, _) => format!("unknown table; the tables are {}", headers(self.tables.iter())),
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
        let keys: Vec<&str> = self.table(table).into_iter().flat_map(TableEntry::names).collect();
        // Of many where one was typed is nearer than the same word elsewhere.
        let is_plural = |key: &&str| key.strip_suffix('s') == Some(typed);
        if let Some(home) = self.home_of(typed).filter(|_| !keys.iter().any(is_plural)) {
            return format!("unknown key; did you mean {} `{}`?", home.header(), escaped(typed));
        }
        match nearest(typed, keys.iter().copied()) {
            None if let Some(inner) = self.nearest_table(typed).filter(|table| table.name.contains('.')) => {
                format!("unknown key; did you mean {}?", inner.header())
            }
            None if keys.is_empty() => {
                let inner = self.tables.iter().filter(|inner| within(inner.name, table));
                format!("unknown key; the tables in [{table}] are {}", headers(inner))
            }
            _ => unknown_key(typed, &keys),
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

    /// The key that was probably meant by a table that was typed within another.
    fn near_in_its_table(&self, typed: &str) -> Option<(&TableEntry<C>, &'static str)> {
        let (table, key) = typed.rsplit_once('.')?;
        let table = self.table(table)?;
        Some((table, nearest(key, table.names())?))
    }

    /// The table that has a key of exactly this name.
    fn home_of(&self, key: &str) -> Option<&TableEntry<C>> {
        self.tables.iter().find(|table| table.key(key).is_some())
    }
}

/// Whether a table stands in another.
fn within(name: &str, table: &str) -> bool {
    name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

fn headers<'a, C: 'static>(tables: impl Iterator<Item = &'a TableEntry<C>>) -> String {
    tables.map(TableEntry::header).collect::<Vec<_>>().join(", ")
}
