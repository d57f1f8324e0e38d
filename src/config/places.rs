//! Where the values of a configuration were typed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problem::{At, Problems};

/// Where each key was typed, for problems that only show once its value is used: an address that another listens on, a
/// file that is not there. It is no part of what a configuration says: any two are equal.
#[derive(Clone, Debug, Default)]
pub struct Places {
    file: Option<PathBuf>,
    typed: BTreeMap<(&'static str, &'static str), Placed>,
}

#[derive(Clone, Debug)]
struct Placed {
    at: At,
    /// Of a list: its entries in order.
    entries: Vec<At>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Places) -> bool {
        true
    }
}

impl Places {
    /// Of this file, in which nothing was found so far.
    pub(super) fn of(file: &Path) -> Places {
        Places { file: Some(file.to_owned()), ..Places::default() }
    }

    /// An empty list of problems with values of this configuration.
    pub fn problems(&self) -> Problems {
        self.file.as_deref().map(Problems::of).unwrap_or_default()
    }

    /// Adds a problem with the value of a key. `what` is a single line.
    pub fn blame(&self, problems: &mut Problems, table: &'static str, key: &'static str, what: String) {
        let at = self.typed.get(&(table, key)).map(|placed| placed.at.clone());
        problems.push(at.unwrap_or(At::Default { table, key }), what);
    }

    /// The same of the `nth` entry of a list.
    pub fn blame_entry(
        &self,
        problems: &mut Problems,
        (table, key): (&'static str, &'static str),
        nth: usize,
        what: String,
    ) {
        match self.typed.get(&(table, key)).and_then(|placed| placed.entries.get(nth)) {
            Some(at) => problems.push(at.clone(), what),
            None => self.blame(problems, table, key, what),
        }
    }

    pub(super) fn note(&mut self, table: &'static str, key: &'static str, at: &At) {
        self.typed.insert((table, key), Placed { at: at.clone(), entries: Vec::new() });
    }

    pub(super) fn note_entry(&mut self, table: &'static str, key: &'static str, at: &At) {
        if let Some(placed) = self.typed.get_mut(&(table, key)) {
            placed.entries.push(at.clone());
        }
    }
}
