//! `outflow top`: what the dashboard shows, in a terminal.
//!
//! It is a client of the admin endpoint like any other. `look` asks on a thread of its own, `model` has what is shown,
//! `keys` changes it, `view` draws it, `screen` owns the terminal and `run` is the loop between them.

#[cfg(feature = "top")]
mod keys;
#[cfg(feature = "top")]
mod look;
#[cfg(feature = "top")]
mod model;
#[cfg(feature = "top")]
mod query;
#[cfg(feature = "top")]
mod run;
#[cfg(feature = "top")]
mod screen;
#[cfg(feature = "top")]
mod seen;
#[cfg(feature = "top")]
mod text;
#[cfg(feature = "top")]
mod theme;
#[cfg(feature = "top")]
mod view;

#[cfg(test)]
mod sample;

use std::process::ExitCode;
use std::time::Duration;

use super::client::{AdminClient, ClientError};
use crate::console::complain;
use crate::limits::{TOP_INTERVAL_MAX, TOP_INTERVAL_MIN};

/// Reads how often to look.
///
/// # Errors
/// It is no duration, or none that makes sense here.
pub(super) fn interval(typed: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(typed).map_err(|error| error.to_string())?;
    if !(TOP_INTERVAL_MIN..=TOP_INTERVAL_MAX).contains(&interval) {
        let (least, most) = (TOP_INTERVAL_MIN, TOP_INTERVAL_MAX);
        let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
        return Err(format!("from {least} to {most}"));
    }
    Ok(interval)
}

/// Shows what the endpoint tells until a key or a signal ends it; exit code 1 where nothing can be shown, which is said.
///
/// # Errors
/// None; other commands have some.
#[cfg(feature = "top")]
pub(super) fn run(client: &AdminClient, interval: Duration) -> Result<ExitCode, ClientError> {
    let client = client.clone().with_patience(crate::limits::TOP_PATIENCE);
    Ok(match run::run(client, interval) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            complain(&format_args!("outflow: {words}"));
            ExitCode::FAILURE
        }
    })
}

/// Says that this program cannot.
///
/// # Errors
/// None; other commands have some.
#[cfg(not(feature = "top"))]
pub(super) fn run(_: &AdminClient, _: Duration) -> Result<ExitCode, ClientError> {
    complain("outflow: this build has no `outflow top`: it was built without the feature `top`");
    Ok(ExitCode::FAILURE)
}
