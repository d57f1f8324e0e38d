//! What to say of a text that is no TOML.
//!
//! The parser goes on behind an error, to find more than one; what it finds there may be of its own making. So a line gets
//! one message, the first, and behind a bracket that nobody closed there is none.

use super::at::At;
use super::problem::{Problems, escaped};

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        Lines(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line, counted from 1, that holds the byte at `offset`.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset)
    }
}

/// Reports where the text is no TOML.
pub(super) fn report(text: &str, errors: &[toml::de::Error], lines: &Lines, problems: &mut Problems) {
    let opened = errors.iter().any(is_unclosed).then(|| open_bracket(text)).flatten();
    let mut found: Vec<(usize, String)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or_default().start, describe(text, error)))
        .filter(|(at, _)| opened.is_none_or(|opened| *at < opened))
        .collect();
    if let Some(at) = opened {
        let (what, end) = if text[at..].starts_with('[') { ("array", ']') } else { ("table", '}') };
        found.push((at, format!("the {what} that begins here has no `{end}`")));
    }
    found.sort_by_key(|(at, _)| *at);
    found.dedup_by_key(|(at, _)| lines.line_at(*at));
    for (at, what) in found {
        problems.push(At::Line(lines.line_at(at)), format!("not TOML: {what}"));
    }
}

/// An array or an inline table that the text ends in, or that the parser gave up; not a header.
fn is_unclosed(error: &toml::de::Error) -> bool {
    let what = error.message().split(',').next().unwrap_or_default();
    ["unclosed array", "unclosed inline table"].contains(&what)
}

fn describe(text: &str, error: &toml::de::Error) -> String {
    let mut what = escaped(error.message());
    let key = error.span().and_then(|span| text.get(span));
    if let ("duplicate key", Some(key)) = (error.message(), key) {
        what.push_str(&format!(" `{}`", escaped(key)));
    }
    what
}

/// Where the first bracket stands that none closes. Those in comments and strings are none.
fn open_bracket(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        match byte {
            b'[' | b'{' => open.push(at),
            b']' | b'}' => drop(open.pop()),
            b'#' => at += line_end(&text[at..]),
            b'"' | b'\'' => at += string_length(&text[at..]) - 1,
            _ => {}
        }
        at += 1;
    }
    open.first().copied()
}

fn line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Bytes of the string at the beginning of `text`, its quotes included; one without an end ends with its line.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    let (quotes, within) = match text.starts_with(&triple) {
        true => (triple.as_str(), &text[3..]),
        false => (quote, &text[1..line_end(text)]),
    };
    let mut at = 0;
    while at < within.len() {
        match within.as_bytes()[at] {
            b'\\' if quote == "\"" => at += 2,
            _ if within.as_bytes()[at..].starts_with(quotes.as_bytes()) => return at + 2 * quotes.len(),
            _ => at += 1,
        }
    }
    quotes.len() + within.len()
}
