//! Who a client is: what comes of a login, however it was asked for, and of none.

use super::command::Command;
use super::failure::Failure;
use super::handling::Handling;
use super::state::{Awaiting, Transition};
use crate::auth::{Identity, SessionParameters};
use crate::config::AuthMethod;
use crate::proto::userpass::Credentials;

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

/// Asks whether these are the credentials of a user, without the parameters of the session that stand in them. So many bytes
/// are used up.
pub(super) fn ask(
    mut login: Credentials,
    used: usize,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let Handling { rules, facts, .. } = handling;
    let claimed = |user: &[u8]| Some(String::from_utf8_lossy(user).into());
    if let Some(username) = rules.username {
        match username.take(&mut login) {
            Ok(parameters) => facts.parameters = parameters,
            Err(fault) => {
                let bare = username.bare(&login.user);
                facts.claimed_user = claimed(bare);
                // The record has all of the name, and of a password nothing.
                facts.parameters = (bare.len() < login.user.len()).then(|| {
                    let typed = Some(String::from_utf8_lossy(&login.user).into());
                    Box::new(SessionParameters { typed, ..SessionParameters::default() })
                });
                return Err(Failure::Parameters(fault));
            }
        }
    }
    facts.claimed_user = claimed(&login.user);
    Ok(Transition::Ask(Awaiting::Verification, used, Command::Verify(login)))
}

/// Asks whether a client of SOCKS4 is a user who goes by a name alone, where that is wanted, or takes note of what it calls
/// itself: that proves nothing, and nothing goes by it. Absent where the request may go on.
pub(super) fn claim(user: &[u8], handling: &mut Handling<'_>) -> Result<Option<Transition>, Failure> {
    let Handling { rules, facts, .. } = handling;
    if facts.identity.is_some() {
        return Ok(None);
    }
    let told = rules.socks4_ident || (!user.is_empty() && rules.methods.contains(&AuthMethod::None));
    facts.claimed_user = told.then(|| String::from_utf8_lossy(user).into());
    if !rules.socks4_ident {
        return Ok(None);
    }
    facts.by_name = true;
    if user.is_empty() {
        return Err(Failure::AuthFailed);
    }
    // The request stays where it is: it is read once more when the name is one.
    ask(Credentials { user: user.to_vec(), password: None }, 0, handling).map(Some)
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
