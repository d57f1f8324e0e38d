//! Username and password (RFC 1929).

use super::failure::Failure;
use super::handling::Handling;
use super::login;
use super::state::{Reading, Transition};
use crate::proto::userpass::decode;

/// Reads name and password, and asks whether they are right.
pub(super) fn read(bytes: &[u8], handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let Some((credentials, used)) = decode(bytes).map_err(Failure::Protocol)? else {
        return Ok(Transition::More(Reading::Credentials));
    };
    login::ask(credentials, used, handling)
}
