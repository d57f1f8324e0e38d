//! What the handling of one input works with, beside the state that it consumes.

use std::net::SocketAddr;

use super::command::Output;
use super::dialect::Dialect;
use super::facts::Facts;
use super::failure::Failure;
use super::rules::Rules;
use crate::dns::DnsError;
use crate::policy::{Incoming, Object, Route, RoutedAddress, Subject, Verdict};
use crate::proto::request::RequestCommand;

/// Lent by the session to what handles an input.
pub(super) struct Handling<'a> {
    pub(super) rules: Rules<'a>,
    pub(super) incoming: Incoming,
    pub(super) dialect: &'a mut Dialect,
    pub(super) facts: &'a mut Facts,
    /// What is sent to the client, in the order in which it is written.
    pub(super) output: &'a mut Output,
}

impl Handling<'_> {
    /// Whom policy judges, for a command.
    pub(super) fn subject(&self, command: RequestCommand) -> Subject<'_> {
        self.facts.subject(self.incoming, command)
    }

    /// Those of these addresses that policy allows, each of which is judged.
    ///
    /// # Errors
    /// [`Failure::Denied`] where it allows none, with the last denial; [`DnsError::NoAddress`] where there is none.
    pub(super) fn allowed(
        &self,
        command: RequestCommand,
        addresses: impl ExactSizeIterator<Item = SocketAddr>,
        object: impl Fn(SocketAddr) -> Object,
    ) -> Result<Vec<RoutedAddress>, Failure> {
        let subject = self.subject(command);
        let mut failure = Failure::Dns(DnsError::NoAddress);
        let mut allowed = Vec::with_capacity(addresses.len());
        for address in addresses {
            match self.rules.policy.judge(&subject, object(address)) {
                Verdict::Allow(route) => allowed.push(RoutedAddress { address, route }),
                Verdict::Deny(denial) => failure = Failure::Denied(denial),
            }
        }
        if allowed.is_empty() { Err(failure) } else { Ok(allowed) }
    }

    /// The route of what a command opens before it is known for whom.
    ///
    /// # Errors
    /// [`Failure::Denied`] where policy does not let it.
    pub(super) fn may_open(&self, command: RequestCommand) -> Result<Route, Failure> {
        match self.rules.policy.judge(&self.subject(command), Object::AnyPeer) {
            Verdict::Allow(route) => Ok(route),
            Verdict::Deny(denial) => Err(Failure::Denied(denial)),
        }
    }

    /// Says that the credentials are right.
    pub(super) fn welcome(&mut self) {
        self.dialect.welcome(self.output);
    }

    /// Says that the request succeeded, with the address that its command wants told.
    pub(super) fn succeed(&mut self, bound: SocketAddr) {
        self.dialect.succeed(bound, self.facts, self.output);
    }
}
