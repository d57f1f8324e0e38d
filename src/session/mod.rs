//! The sans-IO control plane: bytes and answers in, bytes to send and at most one command out.
//!
//! One file per phase. A phase is a value: handling an input consumes it, so that a stale phase cannot be
//! reached again. No socket, no clock, no log: the worker performs what a [`Command`] asks for and feeds the
//! answer back as the next [`Input`].

mod associate;
mod bind;
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

use crate::limits;
use crate::policy::{Incoming, Subject};
use crate::proto::gss::{MessageType, decode};
use crate::proto::request::RequestCommand;
use crate::seal::{Seal, SealError};
use state::{AwaitGreeting, Phase, Turn};
use zeroize::Zeroizing;

/// The control plane of one connection, from its first byte to the relay.
#[derive(Debug)]
pub struct Session {
    incoming: Incoming,
    phase: Phase,
    /// What no message has been made of yet; opened where the session is sealed.
    unparsed: Zeroizing<Vec<u8>>,
    facts: Facts,
    /// Everything behind the level of protection is sealed with this, both ways.
    seal: Option<Box<Seal>>,
    /// Sealed bytes of the client that are not opened yet.
    sealed: Zeroizing<Vec<u8>>,
    /// So much of the present output was written before there was a seal.
    unsealed: usize,
}

impl Session {
    /// A session that has seen nothing yet, of a connection that came in like this.
    pub fn new(incoming: Incoming) -> Session {
        Session {
            incoming,
            phase: Phase::Greeting(AwaitGreeting),
            unparsed: Zeroizing::new(Vec::new()),
            facts: Facts::default(),
            seal: None,
            sealed: Zeroizing::new(Vec::new()),
            unsealed: 0,
        }
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input<'_>, rules: &Rules) -> Step {
        let mut output = Output::new();
        let mut command = match input {
            Input::Bytes(bytes) => self.take_bytes(bytes, rules, &mut output),
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
        if let Err(error) = self.seal_output(&mut output) {
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
        let _ = self.seal_output(&mut output);
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
        &self.unparsed
    }

    /// Whether any bytes came behind the request.
    pub fn has_pending(&self) -> bool {
        self.held_bytes() > 0
    }

    /// How many bytes of the client wait for the rest of their message.
    pub fn held_bytes(&self) -> usize {
        self.unparsed.len() + self.sealed.len()
    }

    /// What a sealed session goes on with: its seal, and what came behind the request as it came.
    pub fn take_seal(&mut self) -> Option<(Box<Seal>, Vec<u8>)> {
        Some((self.seal.take()?, std::mem::take(&mut *self.sealed)))
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

    fn take_bytes(&mut self, bytes: &[u8], rules: &Rules, output: &mut Output) -> Command {
        match &self.seal {
            Some(_) => self.sealed.extend_from_slice(bytes),
            None => self.unparsed.extend_from_slice(bytes),
        }
        if self.wants_bytes() { self.parse(rules, output) } else { Command::Read }
    }

    /// Parses as many messages as are there, until one is incomplete or the worker is needed.
    fn parse(&mut self, rules: &Rules, output: &mut Output) -> Command {
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Over);
            let was_sealed = self.seal.is_some();
            let turn = match phase {
                Phase::Greeting(phase) => phase.bytes(&self.unparsed, rules, &mut self.facts, output),
                Phase::Userpass(phase) => phase.bytes(&self.unparsed, &mut self.facts),
                Phase::Token(phase) => phase.bytes(&self.unparsed),
                Phase::Level(phase) => phase.bytes(&self.unparsed, rules, output, &mut self.seal),
                Phase::Request(phase) => {
                    phase.bytes(&self.unparsed, rules, self.seal.as_deref(), self.incoming, &mut self.facts)
                }
                phase => Turn::Incomplete(phase),
            };
            match turn {
                Turn::Incomplete(phase) => match self.open_next() {
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
                    self.use_up(used);
                    if !was_sealed && self.seal.is_some() {
                        self.sealed = std::mem::take(&mut self.unparsed);
                        self.unsealed = output.len();
                    }
                }
                Turn::Ask(phase, used, command) => {
                    self.phase = phase;
                    self.use_up(used);
                    return command;
                }
                Turn::End(phase, failure) => return self.end(&phase, failure, output),
            }
        }
    }

    /// Forgets a message that was parsed, and the memory of a long one.
    fn use_up(&mut self, used: usize) {
        self.unparsed.drain(..used);
        if self.unparsed.is_empty() && self.unparsed.capacity() > limits::HANDSHAKE_HELD_FREE {
            self.unparsed = Zeroizing::default();
        }
    }

    /// Opens the next sealed message; false where none is there.
    fn open_next(&mut self) -> Result<bool, SealError> {
        let Some(seal) = &mut self.seal else { return Ok(false) };
        let decoded = decode(&self.sealed, MessageType::Encapsulated).map_err(SealError::Frame)?;
        let Some((token, used)) = decoded else { return Ok(false) };
        seal.open(token, &mut self.unparsed)?;
        self.sealed.drain(..used);
        Ok(true)
    }

    /// Seals what was written since there is a seal (RFC 1961 section 5).
    fn seal_output(&mut self, output: &mut Output) -> Result<(), SealError> {
        let Some(seal) = &mut self.seal else { return Ok(()) };
        let plain = output.split_off(std::mem::take(&mut self.unsealed));
        seal.seal(&plain, output)
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
