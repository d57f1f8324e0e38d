//! What the program says outside of its log: lines on standard error.

use std::fmt::Display;
use std::io::{Write, stderr};

/// Writes to standard error; where nobody listens, the exit code has to do.
pub(crate) fn complain(what: &(impl Display + ?Sized)) {
    let _ = writeln!(stderr(), "{what}");
}
