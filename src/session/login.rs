//! What comes of a login, however it was asked for.

use super::failure::Failure;
use super::handling::Handling;
use super::state::{Reading, Transition};
use crate::auth::Identity;

/// The credentials are this client's, or nobody's.
pub(super) fn verified(
    identity: Option<Identity>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    handling.facts.identity = Some(identity.ok_or(Failure::AuthFailed)?);
    handling.facts.claimed_user = None;
    handling.welcome();
    Ok(Transition::Read(Reading::Request, 0))
}
