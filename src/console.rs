//! What the program says outside of its log, on standard output and standard error.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

/// Writes to standard error; where nobody listens, the exit code has to do.
pub(crate) fn complain(what: &(impl Display + ?Sized)) {
    let _ = writeln!(stderr(), "{what}");
}

/// Writes whole lines to standard output, and gives the exit code of a command that was to do just that.
pub(crate) fn say(lines: &str) -> ExitCode {
    let mut out = stdout().lock();
    match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
