//! A format of session parameters, from its text: `{user}-session|sessid-{session}-ttl-{minutes}`.

use super::nearest::{nearest, with_nearest};
use super::problem::{escaped, quoted};
use super::username_table::{UsernameConfig, UsernamePreset};
use crate::auth::username::{ParameterKind, ParameterPosition, ParameterSyntax, Separators, TtlUnit};
use crate::limits;

/// What a format comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct UsernameFormat {
    /// The words.
    pub syntax: ParameterSyntax,
    /// Where they are looked for.
    pub position: ParameterPosition,
    /// Whether a word is there for a signature.
    pub(super) signs: bool,
}

/// The separator where none is typed.
const DASH: Separators = Separators { lead: b'-', joint: b'-' };

/// The kinds of values, as a format has them; what begins with `tag:` beside.
const KINDS: [(&str, ParameterKind); 8] = [
    ("session", ParameterKind::Session),
    ("seconds", ParameterKind::Ttl(TtlUnit::Seconds)),
    ("minutes", ParameterKind::Ttl(TtlUnit::Minutes)),
    ("hours", ParameterKind::Ttl(TtlUnit::Hours)),
    ("duration", ParameterKind::Ttl(TtlUnit::Written)),
    ("pool", ParameterKind::Pool),
    ("signature", ParameterKind::Signature),
    ("ignored", ParameterKind::Ignored),
];

impl UsernamePreset {
    /// The format, and its separators.
    fn format(self) -> (&'static str, Separators) {
        match self {
            UsernamePreset::Dash => (
                "{user}-session|sessid|sessionid|sid-{session}-sesstime|sessionduration|sessduration|lifetime|ttl-{minutes}\
                 -sessionlength-{seconds}-country|cc-{tag:country}-region-{tag:region}-state|st-{tag:state}-city-{tag:city}\
                 -asn-{tag:asn}-egress|pool-{pool}",
                DASH,
            ),
            UsernamePreset::CustomerDash => (
                "customer-{user}-sessid|session-{session}-sesstime-{minutes}-cc|country-{tag:country}-st|state-{tag:state}\
                 -city-{tag:city}-asn-{tag:asn}-egress|pool-{pool}",
                DASH,
            ),
            UsernamePreset::UserDash => (
                "user-{user}-session|sessid-{session}-sessionduration|sesstime-{minutes}-country|cc-{tag:country}\
                 -state-{tag:state}-city-{tag:city}-asn-{tag:asn}-egress|pool-{pool}",
                DASH,
            ),
            UsernamePreset::PasswordUnderscore => (
                "{password}_session-{session}_lifetime-{duration}_country-{tag:country}_region-{tag:region}_state-{tag:state}\
                 _city-{tag:city}_egress|pool-{pool}_streaming|skipispstatic|forcerandom-{ignored}",
                Separators { lead: b'_', joint: b'-' },
            ),
        }
    }
}

impl UsernameConfig {
    /// How parameters are typed; `None` where nobody types any.
    ///
    /// # Errors
    /// What is wrong with the format, or with what goes with it.
    pub fn read_format(&self) -> Result<Option<UsernameFormat>, String> {
        let (format, separators) = match (&self.format, self.preset) {
            (Some(format), _) => (format.clone(), self.separator.unwrap_or(DASH)),
            (None, Some(preset)) => {
                let (format, separators) = preset.format();
                // Whoever signs need not write the format for that.
                let lead = char::from(separators.lead);
                let joint = char::from(separators.joint);
                let signed = self.sign.as_ref().map(|_| format!("{format}{lead}sign{joint}{{signature}}"));
                (signed.unwrap_or_else(|| format.to_owned()), separators)
            }
            (None, None) => return Ok(None),
        };
        FormatReader::read(&format, separators, self.position).map(Some)
    }
}

/// A format that is being read.
struct FormatReader {
    separators: Separators,
    words: Vec<(String, ParameterKind)>,
    tags: Vec<String>,
    kinds: Vec<ParameterKind>,
}

impl FormatReader {
    fn read(
        format: &str,
        separators: Separators,
        position: Option<ParameterPosition>,
    ) -> Result<UsernameFormat, String> {
        let anchors = [("{user}", ParameterPosition::User), ("{password}", ParameterPosition::Password)];
        let found =
            anchors.into_iter().find_map(|(text, usual)| Some((format.split_once(text)?, text, usual)));
        let ((prefix, mut rest), anchor, usual) = found.ok_or_else(|| {
            format!("{} has no {{user}}, behind which the parameters stand", quoted(format))
        })?;
        let position = position.unwrap_or(usual);
        if usual == ParameterPosition::Password && position != usual {
            return Err("begins with {password}, and position has another: leave position out".to_owned());
        }
        let (words, tags, kinds) = Default::default();
        let mut reader = FormatReader { separators, words, tags, kinds };
        while !rest.is_empty() {
            rest = reader.parameter(rest)?;
        }
        if reader.words.is_empty() {
            return Err(format!("{} has no parameter behind {anchor}", quoted(format)));
        }
        if reader.words.len() > limits::PARAMETER_WORDS_MAX {
            return Err(format!("has more than {} words", limits::PARAMETER_WORDS_MAX));
        }
        let signature = reader.kinds.iter().position(|kind| *kind == ParameterKind::Signature);
        if signature.is_some_and(|at| at + 1 < reader.kinds.len()) {
            return Err(
                "has parameters behind {signature}, which nothing would sign: it comes last".to_owned()
            );
        }
        let syntax = ParameterSyntax::new(prefix, separators, reader.words, reader.tags);
        check_prefix(prefix, &syntax)?;
        Ok(UsernameFormat { syntax, position, signs: signature.is_some() })
    }

    /// Reads the parameter that a text begins with, and gives what is behind it.
    fn parameter<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let (lead, joint) = (char::from(self.separators.lead), char::from(self.separators.joint));
        let example = format!("{lead}session{joint}{{session}}");
        let Some((words, behind)) = text.split_once('{') else {
            return Err(format!("ends with {}, where a parameter is to be such as {example}", quoted(text)));
        };
        let Some((kind, rest)) = behind.split_once('}') else {
            return Err(format!("has a {{ that no }} closes, at {}", quoted(&text[words.len()..])));
        };
        let joined = words.strip_prefix(lead).and_then(|words| words.strip_suffix(joint));
        let joined = joined.ok_or_else(|| {
            format!(
                "has {} before {{{}}}, where a separator, a word and a separator are to be, as in {example}",
                quoted(words),
                escaped(kind)
            )
        })?;
        let kind = self.kind(kind)?;
        for word in joined.split('|') {
            self.word(word, kind)?;
        }
        Ok(rest)
    }

    /// The kind of a value, of which there is one at most.
    fn kind(&mut self, typed: &str) -> Result<ParameterKind, String> {
        let kind = match typed.strip_prefix("tag:") {
            Some(tag) => self.tag(tag)?,
            None => {
                let known = KINDS.iter().find(|(name, _)| *name == typed).map(|(_, kind)| *kind);
                known.ok_or_else(|| unknown_kind(typed))?
            }
        };
        if kind != ParameterKind::Ignored && self.kinds.contains(&kind) {
            return Err(format!(
                "has {{{}}} twice: two words for the same are written as word|word",
                escaped(typed)
            ));
        }
        self.kinds.push(kind);
        Ok(kind)
    }

    fn tag(&mut self, name: &str) -> Result<ParameterKind, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !(1..=limits::PARAMETER_TAG_MAX).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(format!(
                "has {} as the name of a tag: it has 1 to {} letters, digits, _ and -",
                quoted(name),
                limits::PARAMETER_TAG_MAX
            ));
        }
        let number = self.tags.iter().position(|known| known == name).unwrap_or_else(|| {
            self.tags.push(name.to_owned());
            self.tags.len() - 1
        });
        if self.tags.len() > limits::PARAMETER_TAGS_MAX {
            return Err(format!("has more than {} tags", limits::PARAMETER_TAGS_MAX));
        }
        Ok(ParameterKind::Tag(number as u8))
    }

    /// A word that clients type, which says one thing alone.
    fn word(&mut self, word: &str, kind: ParameterKind) -> Result<(), String> {
        let separators = [self.separators.lead, self.separators.joint];
        let plain = |byte: u8| {
            (byte.is_ascii_alphanumeric() || b"._~".contains(&byte)) && !separators.contains(&byte)
        };
        if !(1..=limits::PARAMETER_WORD_MAX).contains(&word.len()) || !word.bytes().all(plain) {
            return Err(format!(
                "has {} as a word: it has 1 to {} letters, digits, ., _ and ~, and no separator",
                quoted(word),
                limits::PARAMETER_WORD_MAX
            ));
        }
        if self.words.iter().any(|(known, _)| known == word) {
            return Err(format!("has the word {} twice: what it says could not be told", quoted(word)));
        }
        self.words.push((word.to_owned(), kind));
        Ok(())
    }
}

fn unknown_kind(typed: &str) -> String {
    if ["user", "password"].contains(&typed) {
        return format!(
            "has {{{typed}}} behind {{user}} or {{password}}: there is one of them, and all else is behind it"
        );
    }
    let all = KINDS.map(|(name, _)| format!("{{{name}}}")).join(", ");
    let what = format!("has {{{}}}, which is none of {all} and {{tag:NAME}}", escaped(typed));
    let meant = nearest(typed, KINDS.iter().map(|(name, _)| *name).chain(["tag:"]));
    with_nearest(what, meant.map(|meant| format!("{{{meant}{}}}", if meant == "tag:" { "NAME" } else { "" })))
}

/// What may stand before the name: it is to be told from a name by its last character.
fn check_prefix(prefix: &str, syntax: &ParameterSyntax) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-+=,;*".contains(&byte);
    if prefix.is_empty() {
        return Ok(());
    }
    if !prefix.bytes().all(plain) || prefix.bytes().last().is_some_and(|last| last.is_ascii_alphanumeric()) {
        return Err(format!(
            "has {} before {{user}}: what stands there is letters and digits with a separator at the end",
            quoted(prefix)
        ));
    }
    match syntax.cut(prefix.as_bytes()) {
        Some(_) => Err(format!("has {} before {{user}}, which is a parameter, too", quoted(prefix))),
        None => Ok(()),
    }
}
