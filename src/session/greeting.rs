//! The greeting and the choice of a method (RFC 1928 section 3).

use super::command::Output;
use super::facts::Facts;
use super::failure::Failure;
use super::rules::Rules;
use super::state::{AwaitCredentials, AwaitGreeting, AwaitRequest, AwaitToken, Phase, Turn};
use crate::auth::Identity;
use crate::config::AuthMethod;
use crate::proto::greeting::{Method, MethodSet, decode, selection};

impl AwaitGreeting {
    pub(super) fn bytes(self, bytes: &[u8], rules: &Rules, facts: &mut Facts, output: &mut Output) -> Turn {
        let (greeting, used) = match decode(bytes) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => return Turn::Incomplete(Phase::Greeting(self)),
            Err(error) => return Turn::End(Phase::Greeting(self), Failure::Protocol(error)),
        };
        let Some(method) = choose(&greeting.methods, &rules.methods) else {
            // RFC 1928 section 3: FF, and the client MUST close; nothing behind it is parsed.
            return Turn::End(Phase::Greeting(self), Failure::NoMethod);
        };
        facts.method = Some(method);
        output.extend_from_slice(&selection(Some(wire_method(method))));
        let next = match method {
            AuthMethod::None => {
                facts.identity = Some(Identity::Anonymous);
                Phase::Request(AwaitRequest)
            }
            AuthMethod::Password => Phase::Userpass(AwaitCredentials),
            AuthMethod::Gssapi => Phase::Token(AwaitToken::default()),
        };
        Turn::Next(next, used)
    }
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
