//! What the handling of one input works with, beside the state that it consumes.

use std::net::SocketAddr;

use super::command::Output;
use super::dialect::Dialect;
use super::facts::Facts;
use super::failure::Failure;
use super::rules::Rules;
use crate::dns::DnsError;
use crate::policy::{Allowed, Decision, Incoming, Object, Route, RoutedAddress, Subject, Verdict, Way};
use crate::proto::address::Name;
use crate::proto::http::ForwardRequest;
use crate::proto::request::RequestCommand;

/// Lent by the session to what handles an input.
pub(super) struct Handling<'a> {
    pub(super) rules: Rules<'a>,
    pub(super) incoming: Incoming,
    pub(super) dialect: &'a mut Dialect,
    pub(super) facts: &'a mut Facts,
    /// What goes to the target once there is a connection, where that is no tunnel.
    pub(super) forward: &'a mut Option<Box<ForwardRequest>>,
    /// What is sent to the client, in the order in which it is written.
    pub(super) output: &'a mut Output,
}

impl Handling<'_> {
    /// Whom policy judges, for a command.
    pub(super) fn subject(&self, command: RequestCommand) -> Subject<'_> {
        self.facts.subject(self.incoming, command)
    }

    /// Whether a command may be asked for where the client came in.
    ///
    /// # Errors
    /// [`Failure::NotTaken`].
    pub(super) fn check_taken(&self, command: RequestCommand) -> Result<(), Failure> {
        let commands = self.rules.commands;
        let taken = commands.is_empty() || commands.contains(&command.as_judged());
        if taken { Ok(()) } else { Err(Failure::NotTaken) }
    }

    /// Those of these addresses that policy allows, each of which is judged with the name that was asked for.
    ///
    /// # Errors
    /// [`Failure::Denied`] where it allows none, with the last denial; [`DnsError::NoAddress`] where there is none.
    pub(super) fn allowed(
        &mut self,
        command: RequestCommand,
        addresses: impl ExactSizeIterator<Item = SocketAddr>,
    ) -> Result<Vec<RoutedAddress>, Failure> {
        let (subject, name) = (self.subject(command), self.facts.name());
        let (mut failure, mut denied) = (Failure::Dns(DnsError::NoAddress), None);
        let mut list = Vec::with_capacity(addresses.len());
        for address in addresses {
            match self.rules.policy.judge(&subject, Object::of(command, address, name)) {
                Verdict::Allow(allowed) => list.push(RoutedAddress { address, allowed }),
                Verdict::Deny(denial, decision) => {
                    (failure, denied) = (Failure::Denied(denial), Some(decision));
                }
            }
        }
        self.facts.decision = list.first().map(|first| first.allowed.decision).or(denied);
        if list.is_empty() { Err(failure) } else { Ok(list) }
    }

    /// How a name leads to its target at this port, where it is to be told to a parent that resolves it: by what rules say of it
    /// whatever its addresses are.
    pub(super) fn told(&mut self, command: RequestCommand, name: &Name, port: u16) -> Option<Allowed> {
        let parents = self.rules.parents?;
        match self.rules.policy.judge(&self.subject(command), Object::Told(name, port)) {
            Verdict::Allow(allowed) if parents.resolves_there(allowed.way) => {
                self.facts.decision = Some(allowed.decision);
                Some(allowed)
            }
            Verdict::Allow(_) | Verdict::Deny(..) => None,
        }
    }

    /// Whether a name may lead to anything that policy allows at this port: one that cannot is asked of nobody.
    ///
    /// # Errors
    /// [`Failure::Denied`].
    pub(super) fn may_resolve(
        &mut self,
        command: RequestCommand,
        name: &Name,
        port: u16,
    ) -> Result<(), Failure> {
        match self.rules.policy.judge(&self.subject(command), Object::Unresolved(name, port)) {
            Verdict::Allow(_) => Ok(()),
            Verdict::Deny(denial, decision) => {
                self.facts.decision = Some(decision);
                Err(Failure::Denied(denial))
            }
        }
    }

    /// The route and the way of what a command opens before it is known for whom.
    ///
    /// # Errors
    /// [`Failure::Denied`] where policy does not let it.
    pub(super) fn may_open(&mut self, command: RequestCommand) -> Result<(Route, Way), Failure> {
        let verdict = self.rules.policy.judge(&self.subject(command), Object::AnyPeer);
        let (Verdict::Allow(Allowed { decision, .. }) | Verdict::Deny(_, decision)) = verdict;
        self.facts.decision = Some(decision);
        match verdict {
            Verdict::Allow(allowed) => Ok((allowed.route, allowed.way)),
            Verdict::Deny(denial, _) => Err(Failure::Denied(denial)),
        }
    }

    /// Takes note that this server itself was at the end of what was dialled.
    pub(super) fn met_ourselves(&mut self) {
        self.facts.decision = Some(Decision::BY_GUARD);
    }

    /// Says that the credentials are right.
    pub(super) fn welcome(&mut self) {
        self.dialect.welcome(self.output);
    }

    /// Says that the request succeeded, with the name that its command wants told.
    ///
    /// # Errors
    /// [`Failure::Internal`] where the protocol has no room for it, nor a command that wants it.
    pub(super) fn succeed_with_name(&mut self, name: &Name) -> Result<(), Failure> {
        self.dialect.succeed_with_name(name, self.facts, self.output)
    }

    /// Says that the request succeeded, with the address that its command wants told.
    pub(super) fn succeed(&mut self, bound: SocketAddr) {
        self.dialect.succeed(bound, self.facts, self.output);
    }
}
