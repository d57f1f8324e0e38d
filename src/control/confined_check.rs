//! What `outflow check` does: a configuration is tried by a process that has given up what the server would.

use std::path::Path;

use super::sandbox;
use super::trial::{Report, check};
use crate::config::Config;

/// Tries whatever can be tried without serving, as who would serve, so that what the user of the server may not have is refused though
/// root asks. The configuration's own file is `file`. The process is to have one thread, and no use for its other rights.
pub fn check_confined(config: &Config, file: Option<&Path>) -> Report {
    let entered = match sandbox::enter(config, file) {
        Ok(entered) => entered,
        Err(errors) => return Report { errors, warnings: config.places.problems() },
    };
    let mut report = check(config);
    if report.errors.is_empty() {
        match entered.shut(config) {
            Ok((_, warnings)) => report.warnings = report.warnings.followed_by(warnings).sorted(),
            Err(errors) => report.errors = errors,
        }
    }
    report
}
