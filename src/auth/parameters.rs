//! What a client says of its session beside who it is: parameters behind its name or its password.

use std::time::Duration;

/// The parameters of one login. The bare name, without them, is what a password is verified for, and what limits, rules and
/// groups see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionParameters {
    /// The name as it was typed, with what stood behind it; `None` where all of the parameters stood behind the password. At
    /// most [`crate::limits::USER_NAME_MAX`] bytes.
    pub typed: Option<Box<str>>,
    /// What sessions that belong together have in common.
    pub session: Option<Box<str>>,
    /// For how long they do: never zero.
    pub ttl: Option<Duration>,
    /// What the pool is to be, as name and value, no name twice.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// The pool to leave by.
    pub pool: Option<Box<str>>,
}
