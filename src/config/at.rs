//! Where something was typed.

use std::fmt;
use std::sync::Arc;

/// The place a value was typed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The file as a whole.
    File,
    /// A line of the file; lines count from 1.
    Line(usize),
    /// A table as a whole; `header` is what messages call it, such as `[server]`.
    Table { line: usize, header: String },
    /// A key, in a table or before the first one. `variables` are those of the environment that its value was made with, as
    /// messages call them.
    Key { line: usize, table: Option<TablePath>, key: String, variables: Option<Arc<str>> },
    /// A flag of the command line.
    Flag(&'static str),
    /// Nowhere: the key has its default.
    Default { table: &'static str, key: &'static str },
}

impl At {
    /// Whether what stands there came from the environment, at least in part.
    pub(super) fn has_variables(&self) -> bool {
        matches!(self, At::Key { variables: Some(_), .. })
    }

    /// Where this stands in the list: by line, then the command line, the defaults last.
    pub(super) fn rank(&self) -> usize {
        match self {
            At::File => 0,
            At::Line(line) | At::Table { line, .. } | At::Key { line, .. } => *line,
            At::Flag(_) => usize::MAX - 1,
            At::Default { .. } => usize::MAX,
        }
    }
}

/// A table, or one of an array of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TablePath {
    pub(super) name: &'static str,
    /// Which one of an array, from 0.
    pub(super) nth: Option<usize>,
}

impl From<&'static str> for TablePath {
    fn from(name: &'static str) -> TablePath {
        TablePath { name, nth: None }
    }
}

impl fmt::Display for TablePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nth {
            Some(nth) => write!(out, "[[{}]] {}", self.name, nth + 1),
            None => write!(out, "[{}]", self.name),
        }
    }
}

/// A value with the place it was typed in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Typed<T> {
    pub(super) value: T,
    pub(super) at: At,
}
