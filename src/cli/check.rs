//! `outflow check`: is this configuration right, would it be served, and what does it come to?

use std::process::ExitCode;

use crate::config::Config;
use crate::console::{complain, say};
use crate::control;

/// Prints the configuration in effect, or what keeps it from working; warnings come beside either.
pub(super) fn run(config: &Config) -> ExitCode {
    let report = control::check(config);
    report.warnings.lines().for_each(|line| complain(&format_args!("warning: {line}")));
    if !report.errors.is_empty() {
        complain(&report.errors);
        return ExitCode::FAILURE;
    }
    say(&config.to_toml())
}
