//! `outflow health [--ready]`: one line and an exit code, for service managers and containers without curl.

use std::process::ExitCode;

use super::client::{AdminClient, ClientError};
use super::text::visible;
use crate::console::say;

/// Says whether the server is alive, or with `ready` whether it takes clients. Exit code 0 where it does, 1 where not.
///
/// # Errors
/// Nobody can be asked.
pub(super) fn run(client: &AdminClient, ready: bool) -> Result<ExitCode, ClientError> {
    let (target, good) = if ready { ("/readyz", "ready") } else { ("/healthz", "alive") };
    let (status, line) = client.line(target)?;
    // Other servers have such a page, too.
    match status {
        200 if line == good
            || line.strip_prefix(good).is_some_and(|rest| rest.starts_with(", degraded: ")) => {}
        503 => {}
        _ => return Err(client.foreign(format!("{target} says {status} and {line:?}"))),
    }
    // The exit code is the answer; nobody need read the words.
    let _ = say(&format!("{}\n", visible(&line)));
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
