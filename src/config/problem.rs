//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Places;
use crate::limits;

/// The place a value was typed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The file as a whole.
    File,
    /// A line of the file; lines count from 1.
    Line(usize),
    /// A table as a whole; `header` is what messages call it, such as `[server]`.
    Table { line: usize, header: String },
    /// A key, in a table or before the first one.
    Key { line: usize, table: Option<TablePath>, key: String },
    /// A flag of the command line.
    Flag(&'static str),
    /// Nowhere: the key has its default.
    Default { table: &'static str, key: &'static str },
}

impl At {
    /// Where this stands in the list: by line, then the command line, the defaults last.
    fn rank(&self) -> usize {
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

/// Everything that is wrong with one configuration; its text has one line for each.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    file: Option<PathBuf>,
    list: Vec<(At, String)>,
    /// Where all values were typed, right ones too: what is wrong with them may only show when they are used.
    places: Places,
}

impl Problems {
    /// An empty list of problems with this file.
    pub(super) fn of(file: &Path) -> Problems {
        Problems { file: Some(file.to_owned()), list: Vec::new(), places: Places::of(file) }
    }

    /// Remembers where the values of a configuration that has no problem were typed.
    pub(super) fn into_places(self) -> Places {
        self.places
    }

    /// Where the values were typed that were taken so far.
    pub(super) fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    /// Adds one. `what` is a single line: whatever a user typed must be escaped in it.
    pub(super) fn push(&mut self, at: At, what: String) {
        self.list.push((at, what));
    }

    /// The number of problems.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// This key, or the flag that stands for it, has a problem already: a rule about it would only
    /// repeat or mislead.
    pub(super) fn touch(&self, table: &'static str, key: &str) -> bool {
        let table = TablePath::from(table);
        self.list.iter().any(|(at, _)| match at {
            At::Key { table: in_table, key: in_key, .. } => *in_table == Some(table) && in_key == key,
            At::Table { header, .. } => *header == table.to_string(),
            At::Flag(flag) => flag.strip_prefix("--") == Some(key),
            At::Default { table: in_table, key: in_key } => *in_table == table.name && *in_key == key,
            // The text is no TOML: nothing is known of any key.
            At::File | At::Line(_) => true,
        })
    }

    /// Each problem as it is printed, in a line of its own.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.list.len()).map(|nth| fmt::from_fn(|out| self.line(nth, out)).to_string())
    }

    fn file(&self) -> std::path::Display<'_> {
        self.file.as_deref().unwrap_or(Path::new("")).display()
    }

    fn line(&self, nth: usize, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, (at, what)) = (self.file(), &self.list[nth]);
        match at {
            At::File => write!(out, "{file}: {what}"),
            At::Line(line) => write!(out, "{file}:{line}: {what}"),
            At::Table { line, header } => write!(out, "{file}:{line}: {header}: {what}"),
            At::Key { line, table: None, key } => write!(out, "{file}:{line}: key `{key}`: {what}"),
            At::Key { line, table: Some(table), key } => {
                write!(out, "{file}:{line}: {table} key `{key}`: {what}")
            }
            At::Flag(flag) => write!(out, "{flag}: {what}"),
            At::Default { table, key } => write!(out, "[{table}] key `{key}` (its default): {what}"),
        }
    }

    /// In the order of the lines, the flags last.
    pub fn sorted(mut self) -> Problems {
        self.list.sort_by_key(|(at, _)| at.rank());
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for nth in 0..self.list.len().min(limits::MAX_CONFIG_PROBLEMS) {
            if nth > 0 {
                writeln!(out)?;
            }
            self.line(nth, out)?;
        }
        let file = self.file();
        match self.list.len().saturating_sub(limits::MAX_CONFIG_PROBLEMS) {
            0 => Ok(()),
            1 => write!(out, "\n{file}: and one more problem"),
            more => write!(out, "\n{file}: and {more} more problems"),
        }
    }
}

impl std::error::Error for Problems {}

/// What was typed, escaped and cut to a length that fits a line.
pub(super) fn escaped(text: &str) -> String {
    let mut cut = text.chars();
    let mut shown: String =
        cut.by_ref().take(limits::MAX_QUOTED_CHARS).flat_map(char::escape_debug).collect();
    if cut.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// What was typed, escaped and cut as [`escaped`] does, between double quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}
