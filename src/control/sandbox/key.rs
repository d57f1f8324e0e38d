//! Where a value stands that the sandbox has something to say of.

use std::fmt;

use crate::config::{Config, Problems};

/// A key of the configuration: of a table, or of the `nth` one of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyPlace {
    table: &'static str,
    nth: Option<usize>,
    key: &'static str,
    entry: Option<usize>,
}

impl KeyPlace {
    /// A key of a table that there is once.
    pub(super) const fn of(table: &'static str, key: &'static str) -> KeyPlace {
        KeyPlace { table, nth: None, key, entry: None }
    }

    /// A key of one table of an array.
    pub(super) fn of_row(table: &'static str, nth: usize, key: &'static str) -> KeyPlace {
        KeyPlace { nth: Some(nth), ..KeyPlace::of(table, key) }
    }

    /// An entry of a list.
    pub(super) fn of_entry(table: &'static str, key: &'static str, entry: usize) -> KeyPlace {
        KeyPlace { entry: Some(entry), ..KeyPlace::of(table, key) }
    }

    /// Adds a problem with what was typed there. `what` is a single line.
    pub(super) fn blame(&self, config: &Config, problems: &mut Problems, what: String) {
        let (places, KeyPlace { table, nth, key, entry }) = (&config.places, *self);
        match (nth, entry) {
            (Some(nth), _) => places.blame_in(problems, (table, nth, key), what),
            (None, Some(entry)) => places.blame_entry(problems, (table, key), entry, what),
            (None, None) => places.blame(problems, table, key, what),
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nth {
            Some(nth) => write!(f, "[[{}]] {} {}", self.table, nth + 1, self.key),
            None => write!(f, "[{}] {}", self.table, self.key),
        }
    }
}
