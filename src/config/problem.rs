//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use super::at::{At, TablePath};
use super::places::Places;
use crate::limits;

/// Everything that is wrong with one configuration; its text has one line for each.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    file: Option<PathBuf>,
    list: Vec<(At, String)>,
    /// Where all values were typed, right ones too: what is wrong with them may only show when they are used.
    places: Box<Places>,
}

impl Problems {
    /// An empty list of problems with this file.
    pub(super) fn of(file: &Path) -> Problems {
        Problems { file: Some(file.to_owned()), list: Vec::new(), places: Box::new(Places::of(file)) }
    }

    /// One problem, with this file as such. `what` is a single line.
    pub fn with_file(file: &Path, what: String) -> Problems {
        let mut problems = Problems::of(file);
        problems.push(At::File, what);
        problems
    }

    /// Remembers where the values of a configuration that has no problem were typed.
    pub(super) fn into_places(self) -> Places {
        *self.places
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
    pub(super) fn touch(&self, table: impl Into<TablePath>, key: &str) -> bool {
        let table = table.into();
        self.list.iter().any(|(at, _)| match at {
            At::Key { table: in_table, key: in_key, .. } => *in_table == Some(table) && is_part(in_key, key),
            At::Table { header, .. } => *header == table.to_string(),
            At::Flag(flag) => flag.strip_prefix("--") == Some(key),
            At::Default { table: in_table, key: in_key } => *in_table == table.name && *in_key == key,
            // The text is no TOML: nothing is known of any key.
            At::File | At::Line(_) => true,
        })
    }

    /// A table of this array has a problem.
    pub(super) fn touch_any_of(&self, array: &'static str) -> bool {
        let header = format!("[[{array}]]");
        self.list.iter().any(|(at, _)| match at {
            At::Key { table: Some(table), .. } => table.name == array,
            At::Table { header: of, .. } => of.starts_with(&header),
            _ => false,
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
            At::Key { line, table, key, variables } => {
                write!(out, "{file}:{line}: ")?;
                if let Some(table) = table {
                    write!(out, "{table} ")?;
                }
                write!(out, "key `{key}`")?;
                if let Some(variables) = variables {
                    write!(out, " ({variables})")?;
                }
                write!(out, ": {what}")
            }
            At::Flag(flag) => write!(out, "{flag}: {what}"),
            At::Default { table, key } => write!(out, "[{table}] key `{key}` (its default): {what}"),
        }
    }

    /// Each in other words, on one line.
    #[must_use]
    pub fn reworded(mut self, words: impl Fn(String) -> String) -> Problems {
        for (_, what) in &mut self.list {
            *what = words(std::mem::take(what));
        }
        self
    }

    /// These and others of the same configuration.
    #[must_use]
    pub fn followed_by(mut self, others: Problems) -> Problems {
        self.list.extend(others.list);
        self
    }

    /// In the order of the lines, the flags last.
    pub fn sorted(mut self) -> Problems {
        self.list.sort_by_key(|(at, _)| at.rank());
        self
    }
}

/// What is wrong with values of a configuration, at the places where they were typed.
impl Places {
    /// An empty list of problems with values of this configuration.
    pub fn problems(&self) -> Problems {
        self.file.as_deref().map(Problems::of).unwrap_or_default()
    }

    /// Adds a problem with the value of a key. `what` is a single line.
    pub fn blame(&self, problems: &mut Problems, table: &'static str, key: &'static str, what: String) {
        let at = self.at(table, key).cloned().unwrap_or(At::Default { table, key });
        problems.push(at, what);
    }

    /// Adds a problem with a key of the `row`-th table of an array. `what` is a single line.
    pub fn blame_in(
        &self,
        problems: &mut Problems,
        (table, row, key): (&'static str, usize, &'static str),
        what: String,
    ) {
        let path = TablePath { name: table, nth: Some(row) };
        let at = self.at(path, key).or_else(|| self.table(path)).cloned();
        problems.push(at.unwrap_or(At::Default { table, key }), what);
    }

    /// Adds a problem with a table as a whole, where it was typed. `what` is a single line.
    pub fn blame_table(&self, problems: &mut Problems, table: &'static str, what: String) {
        if let Some(at) = self.table(table) {
            problems.push(at.clone(), what);
        }
    }

    /// Adds what is odd about the way in which values were typed that are right all the same.
    pub fn remark(&self, problems: &mut Problems) {
        self.remarks.iter().for_each(|(at, what)| problems.push(at.clone(), what.clone()));
    }

    /// Adds a problem with the `nth` entry of the list that is the value of a key. `what` is a single line.
    pub fn blame_entry(
        &self,
        problems: &mut Problems,
        (table, key): (&'static str, &'static str),
        nth: usize,
        what: String,
    ) {
        match self.entries(table, key).get(nth) {
            Some(at) => problems.push(at.clone(), what),
            None => self.blame(problems, table, key, what),
        }
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

/// Whether a key is this one, or one of a table that is its value.
fn is_part(key: &str, whole: &str) -> bool {
    key.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

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
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}
