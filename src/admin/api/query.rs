//! The parameters behind a path: each one known, given once and right, or words that say which is not and what it may be.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::config::{duration, nearest, quoted, unknown_value};
use crate::limits;

/// A request's parameters, decoded, of those that its route knows.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pairs: Vec<(&'static str, Cow<'a, str>)>,
    empty: Option<&'static str>,
}

impl<'a> Query<'a> {
    /// Reads `name=value&name=value`; an empty value is as good as none.
    ///
    /// # Errors
    /// A parameter that is unknown, stands twice or is no UTF-8.
    pub(super) fn read(text: &'a str, known: &[&'static str]) -> Result<Query<'a>, String> {
        let mut pairs: Vec<(&'static str, Cow<'a, str>)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name)?;
            let Some(known) = known.iter().find(|known| **known == name) else {
                return Err(unknown(&name, known));
            };
            if pairs.iter().any(|(before, _)| before == known) {
                return Err(format!("`{known}` is given twice"));
            }
            let value = decoded(value).map_err(|what| format!("`{known}`: {what}"))?;
            pairs.push((known, value));
        }
        let empty = pairs.iter().find(|(_, value)| value.is_empty()).map(|(known, _)| *known);
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Query { pairs, empty })
    }

    /// The value of a parameter, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// The value of a parameter as `read` makes it of its text.
    ///
    /// # Errors
    /// What `read` says of it, with the parameter's name before it.
    pub(super) fn value<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.text(name).map(read).transpose().map_err(|what| format!("`{name}`: {what}"))
    }

    /// How many of a list are shown at most, and how many of the first are left out.
    ///
    /// # Errors
    /// What is wrong with `limit` or `offset`.
    pub(super) fn page(&self) -> Result<(usize, usize), String> {
        let limit = self.value("limit", whole(0..=limits::SESSIONS_LISTED_MAX))?;
        let offset = self.value("offset", whole(0..=limits::SESSIONS_SKIPPED_MAX))?;
        Ok((limit.unwrap_or(limits::SESSIONS_LISTED) as usize, offset.unwrap_or(0) as usize))
    }

    /// The first parameter that is there without a value.
    pub(super) fn first_empty(&self) -> Option<&'static str> {
        self.empty
    }

    /// Whether no parameter is there.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// A segment of a path as it was before it was written into a URL.
///
/// # Errors
/// It is no UTF-8.
pub(super) fn decoded_segment(segment: &str) -> Result<String, String> {
    let plain = percent_decode_str(segment).decode_utf8();
    plain.map(Cow::into_owned).map_err(|_| format!("{} is not UTF-8", quoted(segment)))
}

/// A name or a value of a parameter as it was before it was written into a URL.
fn decoded(text: &str) -> Result<Cow<'_, str>, String> {
    let spaced: Cow<'_, str> = match text.contains('+') {
        true => text.replace('+', " ").into(),
        false => text.into(),
    };
    let plain = match spaced {
        Cow::Borrowed(text) => percent_decode_str(text).decode_utf8(),
        Cow::Owned(text) => percent_decode_str(&text).decode_utf8().map(|plain| plain.into_owned().into()),
    };
    plain.map_err(|_| format!("{} is not UTF-8", quoted(text)))
}

/// What to say of a name that is none of these.
fn unknown(name: &str, known: &[&'static str]) -> String {
    let meant = nearest(name, known.iter().copied()).map(|word| format!("; did you mean `{word}`?"));
    let all = match known {
        [] => "there is none here".to_owned(),
        [only] => format!("there is {only}"),
        known => format!("there are {}", known.join(", ")),
    };
    format!("{} is no parameter{}: {all}", quoted(name), meant.unwrap_or_default())
}

/// A whole number of this range.
pub(super) fn whole(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<u64, String> {
    move |typed| {
        let (first, last) = (*range.start(), *range.end());
        let digits = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit());
        match typed.parse() {
            Ok(number) if digits && range.contains(&number) => Ok(number),
            Ok(number) if digits => Err(format!("{number} is out of range: {first} to {last}")),
            // Nothing but digits, and too many of them.
            _ if digits => Err(format!("out of range: {first} to {last}")),
            _ => Err(format!("{} is not a whole number from {first} to {last}", quoted(typed))),
        }
    }
}

/// How long: seconds, or a duration as the configuration has it.
pub(super) fn span(typed: &str) -> Result<Duration, String> {
    match whole(0..=u64::from(u32::MAX))(typed) {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => duration(typed),
    }
}

/// True or false.
pub(super) fn switch(typed: &str) -> Result<bool, String> {
    word(&[("true", true), ("false", false)])(typed)
}

/// One of these words, and whether a `-` before it turns the order around.
pub(super) fn sorted_by<T: Copy>(
    words: &[(&'static str, T)],
) -> impl FnOnce(&str) -> Result<(T, bool), String> {
    move |typed| {
        let (name, descending) = typed.strip_prefix('-').map_or((typed, false), |name| (name, true));
        Ok((word(words)(name)?, descending))
    }
}

/// One of these words.
pub(super) fn word<T: Copy>(words: &[(&'static str, T)]) -> impl FnOnce(&str) -> Result<T, String> {
    move |typed| {
        let found = words.iter().find(|(word, _)| *word == typed).map(|(_, value)| *value);
        found.ok_or_else(|| unknown_value(typed, words.iter().map(|(word, _)| *word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["user", "limit", "min_age"];

    fn refused(text: &str) -> String {
        Query::read(text, KNOWN).expect_err(text)
    }

    #[test]
    fn values_are_decoded_and_empty_ones_are_none() {
        let query = Query::read("user=%C3%A9t%C3%A9%26+x%3D%2B&limit=&&min_age=5m", KNOWN).unwrap();
        assert_eq!(query.text("user"), Some("été& x=+"));
        assert_eq!((query.text("limit"), query.text("min_age")), (None, Some("5m")));
        assert!(!query.is_empty() && Query::read("user=", KNOWN).unwrap().is_empty());
        assert_eq!(Query::read("user=a=b", KNOWN).unwrap().text("user"), Some("a=b"));
        assert_eq!(query.value("limit", whole(1..=9)), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_meant() {
        assert_eq!(
            refused("usr=x"),
            "\"usr\" is no parameter; did you mean `user`?: there are user, limit, min_age"
        );
        assert_eq!(refused("%00=x"), "\"\\0\" is no parameter: there are user, limit, min_age");
        assert_eq!(Query::read("a", &[]).expect_err("a"), "\"a\" is no parameter: there is none here");
        assert_eq!(refused("user=a&user=b"), "`user` is given twice");
        assert_eq!(refused("user=%ff"), "`user`: \"%ff\" is not UTF-8");
        let query = Query::read("limit=0", KNOWN).unwrap();
        assert_eq!(query.value("limit", whole(1..=9)), Err("`limit`: 0 is out of range: 1 to 9".into()));
    }

    #[test]
    fn numbers_spans_and_words_are_taken_as_they_are_written() {
        assert_eq!((whole(0..=9)("9"), whole(0..=u64::MAX)("18446744073709551615")), (Ok(9), Ok(u64::MAX)));
        for wrong in ["", "-1", "+1", " 1", "1.0", "0x1", "x", "99999999999999999999"] {
            assert!(whole(0..=9)(wrong).is_err(), "{wrong:?}");
        }
        let seconds = |text| span(text).map(|span| span.as_millis());
        assert_eq!((seconds("90"), seconds("5m"), seconds("0")), (Ok(90_000), Ok(300_000), Ok(0)));
        assert_eq!(seconds("250ms"), Ok(250));
        assert_eq!(
            span("5 minuets"),
            Err("\"5 minuets\" is not a duration such as \"10s\", \"2h\" or \"500ms\"; did you mean \"5m\"?"
                .into())
        );
        assert_eq!((switch("true"), switch("false")), (Ok(true), Ok(false)));
        assert_eq!(
            switch("ture"),
            Err("\"ture\" is none of \"true\", \"false\"; did you mean \"true\"?".into())
        );
    }
}
