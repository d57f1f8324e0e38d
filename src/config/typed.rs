//! Values as they were typed, none checked.

use std::collections::BTreeMap;

use super::at::Typed;

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

/// The keys that were typed in one table.
pub(super) type RawKeys = BTreeMap<&'static str, Typed<Value>>;
