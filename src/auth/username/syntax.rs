//! The words of a format, and where the first of them stands in what was typed.

use crate::limits::{PARAMETER_TAGS_MAX, PARAMETER_WORD_MAX, PARAMETER_WORDS_MAX};

/// What stands before a word and between it and its value: one character, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separators {
    /// Before each word.
    pub lead: u8,
    /// Between a word and its value.
    pub joint: u8,
}

/// What the value of a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// What sessions that belong together have in common.
    Session,
    /// For how long they do.
    Ttl(TtlUnit),
    /// What the pool is to be: the tag of this number.
    Tag(u8),
    /// The pool to leave by.
    Pool,
    /// That the operator has made the parameters before it.
    Signature,
    /// Nothing that is obeyed here.
    Ignored,
}

/// How a time is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlUnit {
    /// As a number of seconds.
    Seconds,
    /// As a number of minutes.
    Minutes,
    /// As a number of hours.
    Hours,
    /// As a number with its unit: `90s`, `30m`, `168h`, `7d`.
    Written,
}

/// What clients may type, made of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSyntax {
    prefix: Box<[u8]>,
    pub(super) separators: Separators,
    /// In the order of their bytes.
    words: Box<[(Box<[u8]>, ParameterKind)]>,
    /// Names of tags, by number.
    pub(super) tags: Box<[Box<str>]>,
}

impl ParameterSyntax {
    /// The syntax of these words. `prefix` may stand before the name, and is no part of it.
    ///
    /// # Panics
    /// There are more words or tags, or longer words, than `limits` has, or a tag that has no name: whoever reads a format
    /// refuses such a one.
    pub fn new(
        prefix: &str,
        separators: Separators,
        words: impl IntoIterator<Item = (String, ParameterKind)>,
        tags: impl IntoIterator<Item = String>,
    ) -> ParameterSyntax {
        let mut words: Vec<(Box<[u8]>, ParameterKind)> =
            words.into_iter().map(|(word, kind)| (word.into_bytes().into(), kind)).collect();
        words.sort_by(|(one, _), (other, _)| one.cmp(other));
        let tags: Box<[Box<str>]> = tags.into_iter().map(String::into_boxed_str).collect();
        assert!(words.len() <= PARAMETER_WORDS_MAX && tags.len() <= PARAMETER_TAGS_MAX, "more than may be");
        for (word, kind) in &words {
            assert!((1..=PARAMETER_WORD_MAX).contains(&word.len()), "a word of no length that may be");
            assert!(!matches!(kind, ParameterKind::Tag(tag) if usize::from(*tag) >= tags.len()), "no tag");
        }
        ParameterSyntax { prefix: prefix.as_bytes().into(), separators, words: words.into(), tags }
    }

    /// What the value behind a word is; `None` where the format does not have the word.
    pub(super) fn kind_of(&self, word: &[u8]) -> Option<ParameterKind> {
        if word.is_empty() || word.len() > PARAMETER_WORD_MAX {
            return None;
        }
        let at = self.words.binary_search_by(|(known, _)| (**known).cmp(word)).ok()?;
        Some(self.words[at].1)
    }

    /// What the values of its words are.
    pub fn kinds(&self) -> impl Iterator<Item = ParameterKind> + '_ {
        self.words.iter().map(|(_, kind)| *kind)
    }

    /// The names of its tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|tag| &**tag)
    }

    /// How many bytes of a name are the prefix.
    pub(super) fn prefix_of(&self, name: &[u8]) -> usize {
        if name.starts_with(&self.prefix) { self.prefix.len() } else { 0 }
    }

    /// Where the parameters begin, with their separator; absent where there are none.
    pub fn cut(&self, text: &[u8]) -> Option<usize> {
        self.words_in(text)
            .find(|word| word.is_joined && self.kind_of(word.text).is_some())
            .map(|word| word.at)
    }

    /// What stands behind each separator that may lead a word.
    pub(super) fn words_in<'t>(&self, text: &'t [u8]) -> WordsIn<'t> {
        WordsIn { separators: self.separators, text, at: 0 }
    }
}

/// Goes through a text once: no byte is in two of the words.
#[derive(Debug)]
pub(super) struct WordsIn<'t> {
    separators: Separators,
    text: &'t [u8],
    at: usize,
}

/// What stands behind a separator.
#[derive(Debug)]
pub(super) struct WordIn<'t> {
    /// Where the separator is.
    pub(super) at: usize,
    /// What follows it, up to the next separator of either kind.
    pub(super) text: &'t [u8],
    /// Whether that is one behind which a value may stand.
    pub(super) is_joined: bool,
}

impl<'t> Iterator for WordsIn<'t> {
    type Item = WordIn<'t>;

    fn next(&mut self) -> Option<WordIn<'t>> {
        let Separators { lead, joint } = self.separators;
        let at = self.at + self.text[self.at..].iter().position(|byte| *byte == lead)?;
        let rest = &self.text[at + 1..];
        let length = rest.iter().position(|byte| *byte == lead || *byte == joint).unwrap_or(rest.len());
        self.at = at + 1 + length;
        Some(WordIn { at, text: &rest[..length], is_joined: rest.get(length) == Some(&joint) })
    }
}
