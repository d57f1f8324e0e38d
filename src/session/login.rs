//! Who a client is: what comes of a login, however it was asked for, and of none.

use super::failure::Failure;
use super::handling::Handling;
use super::state::Transition;
use crate::auth::Identity;
use crate::config::AuthMethod;

/// Goes on to the request where the credentials have been found to be somebody's.
pub(super) fn verified(
    identity: Option<Identity>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    handling.facts.identity = Some(identity.ok_or(Failure::AuthFailed)?);
    handling.facts.claimed_user = None;
    handling.welcome();
    Ok(Transition::Read(handling.dialect.message_behind_login(), 0))
}

/// Takes note of what a client calls itself, where nobody has to say who he is: it proves nothing, and nothing goes by it.
pub(super) fn claim(user: &[u8], handling: &mut Handling<'_>) {
    if !user.is_empty() && handling.rules.methods.contains(&AuthMethod::None) {
        handling.facts.claimed_user = Some(String::from_utf8_lossy(user).into());
    }
}

/// Sees to it that a request comes of somebody: a client that no login has told of is anonymous, where its greeting or the
/// configuration has method none. So no dialect gets past the methods by not speaking of them.
///
/// # Errors
/// [`Failure::NoMethod`] where every client has to log in.
pub(super) fn identify(handling: &mut Handling<'_>) -> Result<(), Failure> {
    let none = AuthMethod::None;
    if handling.facts.identity.is_none() {
        if handling.facts.method != Some(none) && !handling.rules.methods.contains(&none) {
            return Err(Failure::NoMethod);
        }
        handling.facts.method = Some(none);
        handling.facts.identity = Some(Identity::Anonymous);
    }
    Ok(())
}
