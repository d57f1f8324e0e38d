//! The greeting and the choice of a method (RFC 1928 section 3).

use super::failure::Failure;
use super::handling::Handling;
use super::state::{Reading, Transition};
use crate::config::AuthMethod;
use crate::proto::greeting::{Method, MethodSet, decode, selection};

/// Reads the greeting and says which method is taken.
pub(super) fn read(bytes: &[u8], handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let Some((greeting, used)) = decode(bytes).map_err(Failure::Protocol)? else {
        return Ok(Transition::More(Reading::Greeting));
    };
    // RFC 1928 section 3: with none the client MUST close, and nothing behind the greeting is parsed.
    let known = handling.facts.identity.is_some() && greeting.methods.contains(Method::None);
    let method = match known {
        // Whoever has shown a certificate need not log in.
        true => AuthMethod::None,
        false => choose(&greeting.methods, handling.rules.methods).ok_or(Failure::NoMethod)?,
    };
    handling.facts.method = Some(method);
    handling.output.extend_from_slice(&selection(Some(wire_method(method))));
    let next = match method {
        AuthMethod::None => Reading::Request,
        AuthMethod::Password => Reading::Credentials,
        AuthMethod::Gssapi => Reading::Token { rounds: 0 },
    };
    Ok(Transition::Read(next, used))
}

/// The first of our methods, in our order of preference, that the client offers.
fn choose(offered: &MethodSet, accepted: &[AuthMethod]) -> Option<AuthMethod> {
    accepted.iter().copied().find(|method| offered.contains(wire_method(*method)))
}

fn wire_method(method: AuthMethod) -> Method {
    match method {
        AuthMethod::None => Method::None,
        AuthMethod::Password => Method::Password,
        AuthMethod::Gssapi => Method::Gssapi,
    }
}
