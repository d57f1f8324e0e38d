//! Where the values of a configuration were typed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::at::{At, TablePath};

/// Where each key was typed, for problems that only show once its value is used: an address that another listens on, a
/// file that is not there. It is no part of what a configuration says: any two are equal.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub(super) file: Option<PathBuf>,
    typed: BTreeMap<(TablePath, String), PlacedValue>,
    /// Where the tables begin.
    tables: BTreeMap<TablePath, At>,
    /// What is odd about the way in which values were typed, that are right all the same.
    pub(super) remarks: Vec<(At, String)>,
}

#[derive(Clone, Debug)]
struct PlacedValue {
    at: At,
    /// Where the entries of a list were typed, in order.
    entries: Vec<At>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Places) -> bool {
        true
    }
}

impl Places {
    /// The places of this file, in which nothing was found so far.
    pub(super) fn of(file: &Path) -> Places {
        Places { file: Some(file.to_owned()), ..Places::default() }
    }

    /// The file, if there was one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether the value of a key was typed, in a table or in the `nth` one of an array.
    pub fn is_typed(&self, (table, nth): (&'static str, Option<usize>), key: &str) -> bool {
        self.at(TablePath { name: table, nth }, key).is_some()
    }

    /// Whether any key of a table was typed: one that is empty is a heading.
    pub fn has_keys(&self, table: &str) -> bool {
        self.typed.keys().any(|(path, _)| path.name == table)
    }

    /// Where the value of a key was typed; `None` for a default.
    pub(super) fn at(&self, table: impl Into<TablePath>, key: &str) -> Option<&At> {
        self.typed.get(&(table.into(), key.to_owned())).map(|placed| &placed.at)
    }

    /// Where the entries of a list were typed, in order; none for a default.
    pub(super) fn entries(&self, table: impl Into<TablePath>, key: &str) -> &[At] {
        self.typed.get(&(table.into(), key.to_owned())).map_or(&[], |placed| &placed.entries)
    }

    /// Where a table begins; `None` where none was typed.
    pub(super) fn table(&self, table: impl Into<TablePath>) -> Option<&At> {
        self.tables.get(&table.into())
    }

    /// Takes note of where the value of a key was typed, in place of where it was before.
    pub(super) fn note(&mut self, table: TablePath, key: &str, at: &At, entries: Vec<At>) {
        self.typed.insert((table, key.to_owned()), PlacedValue { at: at.clone(), entries });
    }

    /// Takes note of where a table begins.
    pub(super) fn note_table(&mut self, table: TablePath, at: &At) {
        self.tables.insert(table, at.clone());
    }

    /// Forgets what is in the tables of this name, which another source puts others in place of.
    pub(super) fn forget(&mut self, table: &'static str) {
        self.typed.retain(|(path, _), _| path.name != table);
        self.tables.retain(|path, _| path.name != table);
    }
}
