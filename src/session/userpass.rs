//! Username and password (RFC 1929).

use super::command::Command;
use super::failure::Failure;
use super::handling::Handling;
use super::state::{Awaiting, Reading, Transition};
use crate::proto::userpass::decode;

/// Reads name and password, and asks whether they are right.
pub(super) fn read(bytes: &[u8], handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let Some((credentials, used)) = decode(bytes).map_err(Failure::Protocol)? else {
        return Ok(Transition::More(Reading::Credentials));
    };
    handling.facts.claimed_user = Some(String::from_utf8_lossy(&credentials.user).into());
    Ok(Transition::Ask(Awaiting::Verification, used, Command::Verify(credentials)))
}
