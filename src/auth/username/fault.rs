//! What may be wrong with parameters, and what becomes of them then.

use std::fmt;

/// What becomes of a parameter that is not as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnParameter {
    /// The login fails.
    #[default]
    Refuse,
    /// It is as if it were not there.
    Ignore,
}

/// What is wrong with the parameters of a login. It holds nothing of what was typed, which may be part of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterFault {
    /// A word that the format does not have.
    Unknown,
    /// A parameter that stands there twice.
    Duplicate,
    /// A word without a value, or parameters of nobody.
    Incomplete,
    /// A value that is none: too long, of other characters, or no time.
    Value,
    /// No signature, a wrong one, or parameters behind it.
    Signature,
}

impl ParameterFault {
    /// Every fault, in the order of its number.
    pub const ALL: [ParameterFault; 5] = [
        ParameterFault::Unknown,
        ParameterFault::Duplicate,
        ParameterFault::Incomplete,
        ParameterFault::Value,
        ParameterFault::Signature,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            ParameterFault::Unknown => "unknown",
            ParameterFault::Duplicate => "duplicate",
            ParameterFault::Incomplete => "incomplete",
            ParameterFault::Value => "value",
            ParameterFault::Signature => "signature",
        }
    }
}

impl fmt::Display for ParameterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParameterFault::Unknown => "one of them is not known here",
            ParameterFault::Duplicate => "one of them stands there twice",
            ParameterFault::Incomplete => "one of them has no value, or there is no user before them",
            ParameterFault::Value => "the value of one of them is none",
            ParameterFault::Signature => "they are not signed, or not by this signature",
        })
    }
}
