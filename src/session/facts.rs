//! What a session has learnt.

use crate::auth::{Identity, SessionParameters};
use crate::config::{AuthMethod, Protocol};
use crate::policy::accounts::LimitId;
use crate::policy::{Decision, Incoming, Subject};
use crate::proto::address::{Host, Name, Target};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;

/// What is known of a session for its record.
#[derive(Debug, Default)]
pub struct Facts {
    /// What the client speaks.
    pub protocol: Option<Protocol>,
    /// The method that was selected.
    pub method: Option<AuthMethod>,
    /// Who the client is, once verified.
    pub identity: Option<Identity>,
    /// The name given with wrong credentials, or without any, which proves nothing: never a password.
    pub claimed_user: Option<Box<str>>,
    /// Whether the client is who it says by its name alone, or is to be.
    pub by_name: bool,
    /// What the client says of its session, beside who it is.
    pub parameters: Option<Box<SessionParameters>>,
    /// What was asked for.
    pub command: Option<RequestCommand>,
    /// The target as asked, made canonical.
    pub target: Option<Target>,
    /// What became of the request, as SOCKS5 says it.
    pub reply: Option<Rep>,
    /// What the client was told in the numbers of its own protocol, where they are others than those of `reply`.
    pub status: Option<u16>,
    /// What policy said of it last.
    pub decision: Option<Decision>,
    /// The limit that it would have gone beyond.
    pub limit: Option<LimitId>,
}

impl Facts {
    /// The name as the client typed it, where more stood in it than the user.
    pub fn user_typed(&self) -> Option<&str> {
        self.parameters.as_ref()?.typed.as_deref()
    }

    /// Why there is no pool that it could leave from, with what was asked for.
    pub fn no_pool(&self) -> Option<String> {
        Some(self.decision?.no_pool()?.told(self.parameters.as_deref()))
    }

    /// The number that the client was told.
    pub fn told(&self) -> Option<u16> {
        self.status.or(self.reply.map(|reply| reply.code().into()))
    }

    /// Whom policy judges, for a command of this connection. Nobody in particular until it is known who.
    pub fn subject(&self, incoming: Incoming, command: RequestCommand) -> Subject<'_> {
        let identity = self.identity.as_ref().unwrap_or(&Identity::Anonymous);
        Subject { incoming, identity, parameters: self.parameters.as_deref(), command: command.as_judged() }
    }

    /// The name that was asked for, which leads to every address that the session may be for.
    pub fn name(&self) -> Option<&Name> {
        match &self.target.as_ref()?.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        }
    }
}
