//! What is wrong with a plan, and where: file, line, key, and the nearest right one.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Below this likeness a suggestion would only puzzle.
const LIKENESS: f64 = 0.6;

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Complaint {
    file: PathBuf,
    line: Option<usize>,
    key: Option<String>,
    what: String,
}

impl Complaint {
    /// About the file as a whole.
    pub(crate) fn of_file(path: &Path, what: String) -> Self {
        Self { file: path.to_owned(), line: None, key: None, what }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": key `{key}`")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Complaint {}

/// A file's text, to find lines and keys in.
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) path: &'a Path,
}

impl Text<'_> {
    /// A complaint about `key`, whose value or name stands at `span`.
    pub(crate) fn complain(&self, span: Range<usize>, key: &str, what: String) -> Complaint {
        let line = Some(self.line(span.start));
        Complaint { file: self.path.to_owned(), line, key: Some(key.to_owned()), what }
    }

    /// What serde or the TOML parser says, in the words of this program.
    ///
    /// Their messages quote what was typed first and the choices after it, each in backticks.
    pub(crate) fn of_toml(&self, error: &toml::de::Error) -> Complaint {
        let message = error.message().lines().next().unwrap_or_default();
        let span = error.span().unwrap_or_default();
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        if let ("unknown field", [typed, choices @ ..]) = (head(message), &quoted[..]) {
            return self.complain(span, typed, suggest("no such key here", typed, choices));
        }
        let key = self.key_before(span.start);
        if let ("unknown variant", [typed, choices @ ..]) = (head(message), &quoted[..]) {
            let what = suggest(&format!("`{typed}` is not a value of this key"), typed, choices);
            return self.complain(span, &key, what);
        }
        if let ("missing field", [missing]) = (head(message), &quoted[..]) {
            return self.complain(span, missing, "is missing".to_owned());
        }
        if message.starts_with("invalid ") {
            return self.complain(span, &key, message.to_owned());
        }
        let line = Some(self.line(span.start));
        Complaint { file: self.path.to_owned(), line, key: None, what: format!("not TOML: {message}") }
    }

    /// The place of `key` under `[table]`; of the table when it has no such key.
    pub(crate) fn line_of_key(&self, table: &str, key: &str) -> Range<usize> {
        let from = self.text.find(&format!("[{table}]")).unwrap_or(0);
        self.line_of(key, from)
    }

    /// The place of `word` from `from` on; `from` when it is not there.
    pub(crate) fn line_of(&self, word: &str, from: usize) -> Range<usize> {
        let at = self.text[from..].find(word).map_or(from, |at| from + at);
        at..at
    }

    /// Lines count from 1.
    fn line(&self, at: usize) -> usize {
        self.text[..at.min(self.text.len())].matches('\n').count() + 1
    }

    /// The key whose value holds `at`: what stands before the last `=`.
    fn key_before(&self, at: usize) -> String {
        let before = self.text[..at].rsplit_once('=').map_or("", |(before, _)| before.trim_end());
        let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
        before[start.map_or(0, |at| at + 1)..].to_owned()
    }
}

/// The first two words.
fn head(message: &str) -> &str {
    message.split('`').next().unwrap_or_default().trim_end()
}

fn suggest(what: &str, typed: &str, choices: &[&str]) -> String {
    match nearest(typed, choices.iter().copied()) {
        Some(nearest) => format!("{what}; the nearest is `{nearest}`"),
        None => format!("{what}; there are {}", choices.join(", ")),
    }
}

/// The likest of `all`, if any is like enough.
pub(crate) fn nearest<'a>(typed: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = all.into_iter().map(|one| (strsim::jaro_winkler(typed, one), one));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= LIKENESS).then_some(best.1)
}

/// "no WHAT is called `typed`", with the nearest one that is.
pub(crate) fn near<'a>(what: &str, typed: &str, all: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = format!("no {what} is called `{typed}`");
    if let Some(nearest) = nearest(typed, all) {
        text.push_str(&format!("; the nearest is `{nearest}`"));
    }
    text
}
