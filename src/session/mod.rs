//! The sans-IO control plane: bytes and answers in, bytes to send and at most one command out.
//!
//! One file per phase. A phase is a value: handling an input consumes it, so that a stale phase cannot be
//! reached again. No socket, no clock, no log: the worker performs what a [`Command`] asks for and feeds the
//! answer back as the next [`Input`].

mod associate;
mod bind;
mod channel;
mod command;
mod facts;
mod failure;
mod greeting;
mod gss;
mod reply;
mod request;
mod rules;
mod state;
mod upstream;
mod userpass;

#[cfg(test)]
mod tests;

pub use command::{Announced, Command, Dialed, Input, Output, Peers, Round, RoundOutcome, Step};
pub use facts::Facts;
pub use failure::{AssociateError, DialError, Failure};
pub use rules::Rules;

use crate::policy::{Incoming, Subject};
use crate::proto::request::RequestCommand;
use crate::seal::Seal;
use channel::Channel;
use state::{AwaitGreeting, Phase, Turn};

/// The control plane of one connection, from its first byte to the relay.
#[derive(Debug)]
pub struct Session {
    incoming: Incoming,
    phase: Phase,
    channel: Channel,
    facts: Facts,
}

impl Session {
    /// A session that has seen nothing yet, of a connection that came in like this.
    pub fn new(incoming: Incoming) -> Session {
        Session {
            incoming,
            phase: Phase::Greeting(AwaitGreeting),
            channel: Channel::default(),
            facts: Facts::default(),
        }
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input<'_>, rules: &Rules) -> Step {
        let mut output = Output::new();
        let mut command = match input {
            Input::Bytes(bytes) => {
                self.channel.receive(bytes);
                if self.wants_bytes() { self.parse(rules, &mut output) } else { Command::Read }
            }
            Input::Verified(identity) => {
                self.advance(rules, &mut output, |phase, facts, output| match phase {
                    Phase::Verifying(phase) => phase.verified(identity, facts, output),
                    phase => Turn::End(phase, Failure::Internal("a verification that nobody asked for")),
                })
            }
            Input::Established(round) => {
                self.advance(rules, &mut output, |phase, facts, output| match phase {
                    Phase::Establishing(phase) => phase.established(round, facts, output),
                    phase => Turn::End(phase, Failure::Internal("a context that nobody asked for")),
                })
            }
            Input::Resolved(answer) => {
                let incoming = self.incoming;
                self.advance(rules, &mut output, |phase, facts, _| match phase {
                    Phase::Resolving(phase) => phase.resolved(answer, rules, incoming, facts),
                    phase => Turn::End(phase, Failure::Internal("addresses that nobody asked for")),
                })
            }
            Input::Dialed(result) => self.advance(rules, &mut output, |phase, facts, output| match phase {
                Phase::Dialing(phase) => phase.dialed(result, facts, output),
                phase => Turn::End(phase, Failure::Internal("a connection that nobody asked for")),
            }),
            Input::Bound(result) => self.advance(rules, &mut output, |phase, facts, output| match phase {
                Phase::Binding(phase) => phase.bound(result, facts, output),
                phase => Turn::End(phase, Failure::Internal("a listener that nobody asked for")),
            }),
            Input::Accepted(result) => self.advance(rules, &mut output, |phase, facts, output| match phase {
                Phase::Accepting(phase) => phase.accepted(result, facts, output),
                phase => Turn::End(phase, Failure::Internal("a peer that nobody asked for")),
            }),
            Input::Associated(result) => {
                self.advance(rules, &mut output, |phase, facts, output| match phase {
                    Phase::Associating(phase) => phase.associated(result, facts, output),
                    phase => Turn::End(phase, Failure::Internal("an association that nobody asked for")),
                })
            }
        };
        if let Err(error) = self.channel.seal_output(&mut output) {
            command = Command::Close(Failure::Seal(error));
        }
        Step { output, command }
    }

    /// Ends the session for a cause that lies outside the protocol (a deadline, a client that left); returns
    /// what the client is still owed.
    pub fn give_up(&mut self, failure: &Failure) -> Output {
        let mut output = Output::new();
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        reply::farewell(&phase, failure, &mut self.facts, &mut output);
        // Where the library fails the client is owed nothing that it could read.
        let _ = self.channel.seal_output(&mut output);
        output
    }

    /// Whether the session waits for bytes of the client (and not for an answer of the worker).
    pub fn wants_bytes(&self) -> bool {
        matches!(
            self.phase,
            Phase::Greeting(_) | Phase::Userpass(_) | Phase::Token(_) | Phase::Level(_) | Phase::Request(_)
        )
    }

    /// Bytes that came behind the request and belong to the target.
    pub fn pending(&self) -> &[u8] {
        self.channel.plain()
    }

    /// Whether any bytes came behind the request.
    pub fn has_pending(&self) -> bool {
        self.held_bytes() > 0
    }

    /// How many bytes of the client wait for the rest of their message.
    pub fn held_bytes(&self) -> usize {
        self.channel.held_bytes()
    }

    /// What a sealed session goes on with: its seal, and what came behind the request as it came.
    pub fn take_seal(&mut self) -> Option<(Box<Seal>, Vec<u8>)> {
        self.channel.take_seal()
    }

    /// What is known so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is known, handed over to the record: the session is over.
    pub fn take_facts(&mut self) -> Facts {
        std::mem::take(&mut self.facts)
    }

    /// Whom policy judges, for a command of this session.
    pub fn subject(&self, command: RequestCommand) -> Subject<'_> {
        self.facts.subject(self.incoming, command)
    }

    /// Parses as many messages as are there, until one is incomplete or the worker is needed.
    fn parse(&mut self, rules: &Rules, output: &mut Output) -> Command {
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Over);
            let bytes = self.channel.plain();
            let mut seal = None;
            let turn = match phase {
                Phase::Greeting(phase) => phase.bytes(bytes, rules, &mut self.facts, output),
                Phase::Userpass(phase) => phase.bytes(bytes, &mut self.facts),
                Phase::Token(phase) => phase.bytes(bytes),
                Phase::Level(phase) => phase.bytes(bytes, rules, output, &mut seal),
                Phase::Request(phase) => {
                    phase.bytes(bytes, rules, self.channel.check_stream(), self.incoming, &mut self.facts)
                }
                phase => Turn::Incomplete(phase),
            };
            match turn {
                Turn::Incomplete(phase) => match self.channel.open_next() {
                    Ok(opened) => {
                        self.phase = phase;
                        if !opened {
                            return Command::Read;
                        }
                    }
                    Err(error) => return self.end(&phase, Failure::Seal(error), output),
                },
                Turn::Next(phase, used) => {
                    self.phase = phase;
                    self.channel.use_up(used);
                    if let Some(seal) = seal {
                        self.channel.seal_from_here(seal, output);
                    }
                }
                Turn::Ask(phase, used, command) => {
                    self.phase = phase;
                    self.channel.use_up(used);
                    return command;
                }
                Turn::End(phase, failure) => return self.end(&phase, failure, output),
            }
        }
    }

    /// Feeds an answer of the worker to the phase that asked, then parses what already waits.
    fn advance(
        &mut self,
        rules: &Rules,
        output: &mut Output,
        answer: impl FnOnce(Phase, &mut Facts, &mut Output) -> Turn,
    ) -> Command {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match answer(phase, &mut self.facts, output) {
            Turn::Incomplete(phase) | Turn::Next(phase, _) => {
                self.phase = phase;
                self.parse(rules, output)
            }
            Turn::Ask(phase, _, command) => {
                self.phase = phase;
                command
            }
            Turn::End(phase, failure) => self.end(&phase, failure, output),
        }
    }

    fn end(&mut self, phase: &Phase, failure: Failure, output: &mut Output) -> Command {
        reply::farewell(phase, &failure, &mut self.facts, output);
        Command::Close(failure)
    }
}
