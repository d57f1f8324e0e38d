//! `outflow check`: is this configuration right, would it be served, and what does it come to?

use std::process::ExitCode;

use crate::config::{Config, ConfigSource};
use crate::console::{complain, say};
use crate::control;

/// Prints the configuration in effect, or what keeps it from working; warnings come beside either.
pub(super) fn run(source: &ConfigSource, config: &Config) -> ExitCode {
    let outlook = control::outlook(config);
    let report = control::check_confined(config, source.file.as_deref());
    report.warnings.lines().for_each(|line| complain(&format_args!("warning: {line}")));
    if !report.errors.is_empty() {
        complain(&report.errors);
        return ExitCode::FAILURE;
    }
    // What it comes to here is no part of what could be typed.
    say(&format!("{}\n# Confined on this machine: {}\n", config.to_toml(), outlook))
}
