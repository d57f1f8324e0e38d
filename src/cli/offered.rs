//! Words that a flag offers to who completes a command line, or reads its help.

use std::ffi::OsStr;

use clap::Arg;
use clap::builder::{NonEmptyStringValueParser, PossibleValue, StringValueParser, TypedValueParser};

use crate::config::Config;

/// Takes any text, which is judged with the file or by the server, and offers words that it may be.
#[derive(Clone)]
pub(super) struct Offered {
    words: Vec<&'static str>,
    /// Whether it may be no text at all.
    empty: bool,
}

impl Offered {
    /// The words of this key.
    pub(super) fn of(table: &str, key: &str) -> Offered {
        Offered { words: Config::words(table, key), empty: true }
    }

    /// These, or another text.
    pub(super) fn some(words: impl Into<Vec<&'static str>>) -> Offered {
        Offered { words: words.into(), empty: false }
    }
}

impl TypedValueParser for Offered {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        match self.empty {
            true => StringValueParser::new().parse_ref(command, arg, value),
            false => NonEmptyStringValueParser::new().parse_ref(command, arg, value),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words.iter().map(PossibleValue::new)))
    }
}
