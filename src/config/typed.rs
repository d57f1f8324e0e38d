//! Values as they were typed, none checked.

use std::collections::BTreeMap;

use super::at::{At, Typed};

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

/// One table as it was typed.
#[derive(Debug, Default)]
pub(super) struct RawTable {
    /// Where it begins; `None` where no source says so.
    pub(super) at: Option<At>,
    /// Its keys.
    pub(super) keys: BTreeMap<String, Typed<Value>>,
}
