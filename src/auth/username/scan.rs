//! What stands behind a name: parameter after parameter, up to the end.

use std::time::Duration;

use super::fault::{OnParameter, ParameterFault};
use super::syntax::{ParameterKind, ParameterSyntax, TtlUnit};
use crate::auth::SessionParameters;
use crate::limits::{PARAMETER_TAGS_MAX, PARAMETER_TIME_DIGITS, PARAMETER_VALUE_MAX};

/// What was found so far. Nothing is copied before all of it is right.
#[derive(Debug, Default)]
pub(super) struct ReadParameters<'t> {
    session: Option<&'t [u8]>,
    ttl: Option<(TtlUnit, &'t [u8])>,
    tags: [Option<&'t [u8]>; PARAMETER_TAGS_MAX],
    pool: Option<&'t [u8]>,
    pub(super) signature: Option<Signed<'t>>,
    /// Texts that were read.
    texts: usize,
}

/// What becomes of parameters that are not as they should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnFault {
    pub(super) unknown: OnParameter,
    pub(super) duplicate: OnParameter,
}

/// A signature, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'t> {
    /// In which of the texts.
    nth: usize,
    /// Where its separator is.
    at: usize,
    pub(super) value: &'t [u8],
}

impl Signed<'_> {
    /// What is signed of the texts.
    pub(super) fn before<'t>(&self, first: &'t [u8], second: &'t [u8]) -> [&'t [u8]; 2] {
        match self.nth {
            0 => [&first[..self.at], &[]],
            _ => [first, &second[..self.at]],
        }
    }
}

impl<'t> ReadParameters<'t> {
    /// Reads the parameters of a text, which begins with a separator or is empty.
    pub(super) fn read(
        &mut self,
        text: &'t [u8],
        syntax: &ParameterSyntax,
        on: OnFault,
    ) -> Result<(), ParameterFault> {
        let mut at = 0;
        while at < text.len() {
            if self.signature.is_some() {
                // Nobody has signed it.
                return Err(ParameterFault::Signature);
            }
            let (word, value) = parameter(&text[at..], syntax)?;
            let ends = at + 1 + word.len() + 1 + value.len();
            if !is_value(value, syntax) {
                return Err(ParameterFault::Value);
            }
            match syntax.kind_of(word) {
                Some(ParameterKind::Signature) => {
                    self.signature = Some(Signed { nth: self.texts, at, value });
                }
                Some(kind) => self.note(kind, value, on.duplicate)?,
                None if on.unknown == OnParameter::Ignore => {}
                None => return Err(ParameterFault::Unknown),
            }
            at = ends;
        }
        self.texts += 1;
        Ok(())
    }

    /// Takes note of a value; of two the first counts.
    fn note(
        &mut self,
        kind: ParameterKind,
        value: &'t [u8],
        on_duplicate: OnParameter,
    ) -> Result<(), ParameterFault> {
        let place = match kind {
            ParameterKind::Session => &mut self.session,
            ParameterKind::Pool => &mut self.pool,
            ParameterKind::Tag(tag) => &mut self.tags[usize::from(tag)],
            ParameterKind::Ttl(unit) => {
                if self.ttl.is_none() {
                    self.ttl = Some((unit, value));
                    return Ok(());
                }
                return again(on_duplicate);
            }
            ParameterKind::Signature | ParameterKind::Ignored => return Ok(()),
        };
        match place {
            None => {
                *place = Some(value);
                Ok(())
            }
            Some(_) => again(on_duplicate),
        }
    }

    /// What was found, as the session has it.
    pub(super) fn parameters(
        &self,
        typed: Option<Box<str>>,
        syntax: &ParameterSyntax,
        max_ttl: Duration,
    ) -> Result<SessionParameters, ParameterFault> {
        let ttl = self.ttl.map(|(unit, value)| time(unit, value)).transpose()?;
        let names = syntax.tags.iter();
        let tags = names.zip(self.tags).filter_map(|(name, value)| Some((name.clone(), text(value?))));
        Ok(SessionParameters {
            typed,
            session: self.session.map(text),
            ttl: ttl.map(|ttl| ttl.min(max_ttl)),
            tags: tags.collect(),
            pool: self.pool.map(text),
        })
    }
}

fn again(on_duplicate: OnParameter) -> Result<(), ParameterFault> {
    match on_duplicate {
        OnParameter::Ignore => Ok(()),
        OnParameter::Refuse => Err(ParameterFault::Duplicate),
    }
}

/// The word and the value that a text begins with, behind its separator.
fn parameter<'t>(text: &'t [u8], syntax: &ParameterSyntax) -> Result<(&'t [u8], &'t [u8]), ParameterFault> {
    let word = syntax.words_in(text).next().filter(|word| word.is_joined && !word.text.is_empty());
    let word = word.ok_or(ParameterFault::Incomplete)?.text;
    let rest = &text[1 + word.len() + 1..];
    let ends = rest.iter().position(|byte| *byte == syntax.separators.lead).unwrap_or(rest.len());
    match ends {
        0 => Err(ParameterFault::Incomplete),
        _ => Ok((word, &rest[..ends])),
    }
}

/// Letters, digits and `._~`, less the separators: nothing that a client, a URL or a log would write in another way.
fn is_value(value: &[u8], syntax: &ParameterSyntax) -> bool {
    let separators = [syntax.separators.lead, syntax.separators.joint];
    let may =
        |byte: &u8| (byte.is_ascii_alphanumeric() || b"._~".contains(byte)) && !separators.contains(byte);
    value.len() <= PARAMETER_VALUE_MAX && value.iter().all(may)
}

/// A time as it is typed; none is no time.
fn time(unit: TtlUnit, value: &[u8]) -> Result<Duration, ParameterFault> {
    let (digits, seconds) = match (unit, value.split_last()) {
        (TtlUnit::Seconds, _) => (value, 1),
        (TtlUnit::Minutes, _) => (value, 60),
        (TtlUnit::Hours, _) => (value, 3_600),
        (TtlUnit::Written, Some((b's', digits))) => (digits, 1),
        (TtlUnit::Written, Some((b'm', digits))) => (digits, 60),
        (TtlUnit::Written, Some((b'h', digits))) => (digits, 3_600),
        (TtlUnit::Written, Some((b'd', digits))) => (digits, 86_400),
        (TtlUnit::Written, _) => return Err(ParameterFault::Value),
    };
    if !(1..=PARAMETER_TIME_DIGITS).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParameterFault::Value);
    }
    let number = digits.iter().fold(0_u64, |number, digit| 10 * number + u64::from(digit - b'0'));
    match number {
        0 => Err(ParameterFault::Value),
        _ => Ok(Duration::from_secs(number * seconds)),
    }
}

/// A value, which is ASCII.
fn text(value: &[u8]) -> Box<str> {
    String::from_utf8_lossy(value).into()
}
