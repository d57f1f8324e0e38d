//! What is asked of the admin endpoint: sessions by filter, order and page, and who moves most.

use std::fmt::Write;

use crate::cli::client::encoded;

/// A filter of sessions, in the words of the endpoint: `user=ann target=*.example.com`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TypedFilter {
    /// As it was typed, without spaces around it.
    text: String,
    pairs: Vec<(String, String)>,
}

impl TypedFilter {
    /// Reads `KEY=VALUE` parted by spaces; a value with spaces stands in double quotes. Which keys there are and what
    /// they may be is the endpoint's to judge.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<TypedFilter, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for word in words(text)? {
            let Some((key, value)) = word.split_once('=') else {
                return Err(format!("`{word}` is no filter: write KEY=VALUE, such as user=ann"));
            };
            if ["sort", "limit", "offset"].contains(&key) {
                return Err(format!("`{key}` is no filter: keys sort and move the table"));
            }
            if pairs.iter().any(|(other, _)| other == key) {
                return Err(format!("`{key}` stands there twice"));
            }
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(TypedFilter { text: text.trim().to_owned(), pairs })
    }

    /// As it was typed; empty where everything is let through.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The words of a line; spaces between double quotes part none.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            c => word.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    words.extend((!word.is_empty()).then_some(word));
    Ok(words)
}

/// What sessions can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SortedBy {
    #[default]
    Age,
    User,
    Client,
    Target,
    State,
    Rate,
    Bytes,
    BytesUp,
    BytesDown,
}

impl SortedBy {
    const ALL: [SortedBy; 9] = [
        SortedBy::Age,
        SortedBy::User,
        SortedBy::Client,
        SortedBy::Target,
        SortedBy::State,
        SortedBy::Rate,
        SortedBy::Bytes,
        SortedBy::BytesUp,
        SortedBy::BytesDown,
    ];

    /// The endpoint's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            SortedBy::Age => "age",
            SortedBy::User => "user",
            SortedBy::Client => "client",
            SortedBy::Target => "target",
            SortedBy::State => "state",
            SortedBy::Rate => "rate",
            SortedBy::Bytes => "bytes",
            SortedBy::BytesUp => "bytes_up",
            SortedBy::BytesDown => "bytes_down",
        }
    }

    /// The next column.
    pub(super) fn next(self) -> SortedBy {
        let at = SortedBy::ALL.iter().position(|other| *other == self).unwrap_or_default();
        SortedBy::ALL[(at + 1) % SortedBy::ALL.len()]
    }

    /// Whether the largest come first where nobody has said otherwise: of numbers they do, names begin with a.
    pub(super) fn descends(self) -> bool {
        !matches!(self, SortedBy::User | SortedBy::Client | SortedBy::Target | SortedBy::State)
    }
}

/// What those who move most are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RankedBy {
    #[default]
    Bytes,
    Sessions,
}

impl RankedBy {
    /// The endpoint's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            RankedBy::Bytes => "bytes",
            RankedBy::Sessions => "sessions",
        }
    }

    /// The other one.
    pub(super) fn other(self) -> RankedBy {
        match self {
            RankedBy::Bytes => RankedBy::Sessions,
            RankedBy::Sessions => RankedBy::Bytes,
        }
    }

    /// The path that asks for so many of each kind.
    pub(super) fn path(self, limit: usize) -> String {
        format!("/api/v1/top?by={}&limit={limit}", self.word())
    }
}

/// Which sessions, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AskedList {
    pub(super) filter: TypedFilter,
    pub(super) sorted_by: SortedBy,
    pub(super) descending: bool,
}

/// A part of such a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AskedPage {
    pub(super) listing: AskedList,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl AskedPage {
    /// The path that asks for it.
    pub(super) fn path(&self) -> String {
        let AskedList { filter, sorted_by, descending } = &self.listing;
        let sign = if *descending { "-" } else { "" };
        let mut path = format!("/api/v1/sessions?sort={sign}{}&limit={}", sorted_by.word(), self.limit);
        if self.offset > 0 {
            let _ = write!(path, "&offset={}", self.offset);
        }
        for (key, value) in &filter.pairs {
            let _ = write!(path, "&{}={}", encoded(key), encoded(value));
        }
        path
    }
}

/// The path of one session.
pub(super) fn session_path(id: &str) -> String {
    format!("/api/v1/sessions/{}", encoded(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(filter: &str, sorted_by: SortedBy, offset: usize) -> String {
        let filter = TypedFilter::parse(filter).unwrap();
        let listing = AskedList { filter, sorted_by, descending: sorted_by.descends() };
        AskedPage { listing, offset, limit: 100 }.path()
    }

    #[test]
    fn a_filter_becomes_the_query_that_it_reads_as() {
        assert_eq!(path("", SortedBy::Age, 0), "/api/v1/sessions?sort=-age&limit=100");
        assert_eq!(path(" ", SortedBy::User, 50), "/api/v1/sessions?sort=user&limit=100&offset=50");
        assert_eq!(
            path("user=ann  target=*.example.com", SortedBy::Rate, 0),
            "/api/v1/sessions?sort=-rate&limit=100&user=ann&target=%2A.example.com"
        );
        // What a name is made of ends neither the value nor the query.
        assert_eq!(
            path("user=\"a b&c=d#\" source=2001:db8::/32", SortedBy::Age, 0),
            "/api/v1/sessions?sort=-age&limit=100&user=a%20b%26c%3Dd%23&source=2001%3Adb8%3A%3A%2F32"
        );
        assert_eq!(path("user=\u{e9}", SortedBy::Age, 0), "/api/v1/sessions?sort=-age&limit=100&user=%C3%A9");
        assert_eq!(session_path("../x?y"), "/api/v1/sessions/..%2Fx%3Fy");
    }

    #[test]
    fn what_is_no_filter_is_said() {
        let cases = [
            ("ann", "`ann` is no filter: write KEY=VALUE, such as user=ann"),
            ("user=ann limit=5", "`limit` is no filter: keys sort and move the table"),
            ("user=a user=b", "`user` stands there twice"),
            ("user=\"a", "a quote is not closed"),
        ];
        for (text, complaint) in cases {
            assert_eq!(TypedFilter::parse(text).unwrap_err(), complaint);
        }
    }

    #[test]
    fn every_column_comes_by_in_turn() {
        let mut seen = vec![SortedBy::Age];
        while seen.last().unwrap().next() != SortedBy::Age {
            seen.push(seen.last().unwrap().next());
        }
        assert_eq!(seen, SortedBy::ALL);
    }
}
