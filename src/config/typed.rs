//! Values as they were typed, none checked.

use std::collections::BTreeMap;

use super::at::{At, Typed};
use super::problem::quoted;

/// A value of TOML.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// An integer, or the end of the range that it lies beyond.
    Whole(i128),
    /// A boolean.
    Switch(bool),
    /// An array.
    Array(Vec<Typed<Value>>),
    /// A table that is a value: its keys and their values, in the order of the keys.
    Table(Vec<(String, Typed<Value>)>),
    /// What no key takes, with the name of its type in a sentence.
    Other(&'static str),
}

impl Value {
    /// The name of the value's type in a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Whole(_) => "an integer",
            Value::Switch(_) => "a boolean",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }

    /// The string, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Typed<Value> {
    /// The whole number, if it is one: what comes from the environment is typed as a string.
    pub(super) fn whole(&self) -> Option<i128> {
        match &self.value {
            Value::Whole(whole) => Some(*whole),
            Value::Text(text) if self.at.has_variables() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Whether something is on, if it says so: what comes from the environment is typed as a string.
    pub(super) fn switch(&self) -> Option<bool> {
        match &self.value {
            Value::Switch(on) => Some(*on),
            Value::Text(text) if self.at.has_variables() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// What stands there, in a sentence: the type that was typed, or the text that came from the environment.
    pub(super) fn found(&self) -> String {
        match &self.value {
            Value::Text(text) if self.at.has_variables() => quoted(text),
            other => other.kind().to_owned(),
        }
    }
}

/// One table as it was typed.
#[derive(Debug, Default)]
pub(super) struct RawTable {
    /// Where it begins; `None` where no source says so.
    pub(super) at: Option<At>,
    /// Its keys.
    pub(super) keys: BTreeMap<String, Typed<Value>>,
}
