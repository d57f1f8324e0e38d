//! `outflow drain [--exit]`, `outflow drain --undo`: close to new clients while the sessions go on, and open again.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{AdminClient, ClientError};
use super::units::count_of;
use crate::console::say;
use crate::limits::DRAIN_DELAY_MAX;

/// What is wanted of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainWish {
    /// No new clients.
    Drain,
    /// No new clients, and the end once no session is left.
    DrainAndExit,
    /// New clients again.
    Undo,
}

/// Reads how long to wait first.
///
/// # Errors
/// It is no duration, or one that nobody would wait out.
pub(super) fn delay(typed: &str) -> Result<Duration, String> {
    let delay = humantime::parse_duration(typed).map_err(|error| error.to_string())?;
    if delay > DRAIN_DELAY_MAX {
        return Err(format!("{} at most", humantime::format_duration(DRAIN_DELAY_MAX)));
    }
    Ok(delay)
}

/// Has the server close or open, once the delay is over.
///
/// # Errors
/// It refuses, or nobody can be asked.
pub(super) fn run(
    client: &AdminClient,
    wish: DrainWish,
    after: Option<Duration>,
) -> Result<ExitCode, ClientError> {
    // The whole of the delay is here: meanwhile the server serves as before and knows nothing of it.
    after.into_iter().for_each(thread::sleep);
    let target = "/api/v1/drain";
    let answer = match wish {
        DrainWish::Drain => client.post(target, &json!({"exit": false}))?,
        DrainWish::DrainAndExit => client.post(target, &json!({"exit": true}))?,
        DrainWish::Undo => client.delete(target)?,
    };
    let sessions = count_of(answer.get("sessions").and_then(Value::as_u64).unwrap_or_default(), "session");
    let said = match wish {
        DrainWish::Drain => format!("draining: closed to new clients, {sessions} left\n"),
        DrainWish::DrainAndExit => {
            format!("draining: closed to new clients, {sessions} left, and then the end\n")
        }
        DrainWish::Undo => format!("serving: open to new clients, {sessions} there\n"),
    };
    // The deed counts; nobody need read the words.
    let _ = say(&said);
    Ok(ExitCode::SUCCESS)
}
