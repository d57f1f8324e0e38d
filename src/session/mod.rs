//! The sans-IO control plane: bytes and answers in, bytes to send and at most one command out.
//!
//! A state is a value: handling an input consumes it, so that a stale state cannot be reached again. [`Session`] hands
//! each input to the file of the message or command that is due. No socket, no clock, no log: the worker performs what a
//! [`Command`] asks for and feeds the answer back as the next [`Input`].

mod associate;
mod bind;
mod channel;
mod command;
mod connect;
mod dialect;
mod explained_egress;
mod explained_limits;
mod explained_parent;
mod explanation;
mod facts;
mod failure;
mod greeting;
mod gss;
mod handling;
mod http;
mod http_status;
mod login;
mod lookup;
mod pac;
mod request;
mod rules;
mod socks4;
mod socks5;
mod state;
mod userpass;

#[cfg(test)]
mod tests;

pub use command::{
    AcceptedPeer, Announced, Command, Dialed, Input, Output, Peers, Round, RoundOutcome, Step,
};
pub use explained_limits::LimitJudges;
pub use explanation::{ExplainedEgress, ExplainedLimit, ExplainedParent, Explanation, Judges, Supposed};
pub use facts::Facts;
pub use failure::{AssociateError, DialError, Failure, ResponseError};
pub use http_status::refuse_exchange;
pub use rules::Rules;

use crate::auth::Identity;
use crate::config::Protocol;
use crate::policy::accounts::LimitId;
use crate::policy::{Decision, Incoming, Subject};
use crate::proto::ProtoError;
use crate::proto::http::ForwardRequest;
use crate::proto::request::RequestCommand;
use crate::seal::Seal;
use channel::Channel;
use dialect::Dialect;
use handling::Handling;
use state::{Awaiting, Binding, Connecting, Due, Looking, Reading, SessionState, Transition};

/// The control plane of one connection, from its first byte to the relay.
#[derive(Debug)]
pub struct Session {
    incoming: Incoming,
    dialect: Dialect,
    state: SessionState,
    channel: Channel,
    facts: Facts,
    /// What goes to the target once there is a connection, where that is no tunnel.
    forward: Option<Box<ForwardRequest>>,
}

impl Session {
    /// A session that has seen nothing yet, of a connection that came in like this.
    pub fn new(incoming: Incoming) -> Session {
        Session {
            incoming,
            dialect: Dialect::default(),
            state: SessionState::Reading(Reading::Opening),
            channel: Channel::default(),
            facts: Facts::default(),
            forward: None,
        }
    }

    /// Its client came in like this, which nobody knew before: it has seen nothing yet.
    pub fn come_from(&mut self, incoming: Incoming) {
        self.incoming = incoming;
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input<'_>, rules: Rules<'_>) -> Step {
        let mut output = Output::new();
        let mut command = match input {
            Input::Bytes(bytes) => {
                self.channel.receive(bytes);
                self.read(rules, &mut output)
            }
            answer => self.answer(answer, rules, &mut output),
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
        if let Some(limit) = failure.limit() {
            self.facts.limit = Some(limit);
        }
        let due = std::mem::replace(&mut self.state, SessionState::Over).due();
        self.dialect.refuse(due, failure, &mut self.facts, &mut output);
        // Where the library fails the client is owed nothing that it could read.
        let _ = self.channel.seal_output(&mut output);
        output
    }

    /// Ends the session of a client that begins with this byte for a cause that lies below the protocol, which says so.
    pub fn turn_away(&mut self, first: u8, failure: Failure) -> Step {
        let output = match Dialect::of(first) {
            Ok(dialect) => {
                self.dialect = dialect;
                self.give_up(&failure)
            }
            Err(other) => self.give_up(&Failure::Protocol(other)),
        };
        Step { output, command: Command::Close(failure) }
    }

    /// Takes note of who the client is, as it has shown below the protocol.
    pub fn vouch(&mut self, identity: Identity) {
        self.facts.identity = Some(identity);
    }

    /// Whether the session waits for bytes of the client (and not for an answer of the worker).
    pub fn wants_bytes(&self) -> bool {
        matches!(self.state, SessionState::Reading(_))
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

    /// Whether it is for one request and its response, and not for a tunnel.
    pub fn exchanges(&self) -> bool {
        self.forward.is_some()
    }

    /// What is known so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is known, handed over to the record: the session is over.
    pub fn take_facts(&mut self) -> Facts {
        std::mem::take(&mut self.facts)
    }

    /// Takes note of what policy says of it by now.
    pub fn put_decision(&mut self, decision: Decision) {
        self.facts.decision = Some(decision);
    }

    /// Its record names this limit.
    pub fn put_limit(&mut self, limit: LimitId) {
        self.facts.limit = Some(limit);
    }

    /// Whom policy judges, for a command of this session.
    pub fn subject(&self, command: RequestCommand) -> Subject<'_> {
        self.facts.subject(self.incoming, command)
    }

    /// Reads as many messages as are there, until one is incomplete or the worker is needed.
    fn read(&mut self, rules: Rules<'_>, output: &mut Output) -> Command {
        loop {
            let reading = match std::mem::replace(&mut self.state, SessionState::Over) {
                SessionState::Reading(reading) => reading,
                state => {
                    self.state = state;
                    return Command::Read;
                }
            };
            let due = reading.due();
            let Session { incoming, dialect, channel, facts, forward, .. } = self;
            let handling = &mut Handling { rules, incoming: *incoming, dialect, facts, forward, output };
            let read = read(reading, channel, handling);
            if let Some(command) = self.follow(read, due, output) {
                return command;
            }
        }
    }

    /// Feeds an answer of the worker to who asked for it, then reads what already waits.
    fn answer(&mut self, answer: Input<'_>, rules: Rules<'_>, output: &mut Output) -> Command {
        let state = std::mem::replace(&mut self.state, SessionState::Over);
        let due = state.due();
        let Session { incoming, dialect, facts, forward, .. } = self;
        let handling = &mut Handling { rules, incoming: *incoming, dialect, facts, forward, output };
        let answered = answered(state, answer, handling);
        self.follow(answered, due, output).unwrap_or_else(|| self.read(rules, output))
    }

    /// Goes where an input led, while this was due; without a command there may be another message.
    fn follow(&mut self, led: Result<Transition, Failure>, due: Due, output: &mut Output) -> Option<Command> {
        match led {
            Ok(Transition::More(reading)) => match self.channel.open_next() {
                Ok(opened) => {
                    self.state = SessionState::Reading(reading);
                    (!opened).then_some(Command::Read)
                }
                Err(error) => Some(self.end(Failure::Seal(error), due, output)),
            },
            Ok(Transition::Read(reading, used)) => {
                self.state = SessionState::Reading(reading);
                self.channel.use_up(used);
                None
            }
            Ok(Transition::ReadSealed(reading, used, seal)) => {
                self.state = SessionState::Reading(reading);
                self.channel.use_up(used);
                self.channel.seal_from_here(seal, output);
                None
            }
            Ok(Transition::Ask(awaiting, used, command)) => {
                self.state = SessionState::Awaiting(awaiting);
                self.channel.use_up(used);
                Some(command)
            }
            Ok(Transition::Done(command)) => Some(command),
            Err(failure) => Some(self.end(failure, due, output)),
        }
    }

    fn end(&mut self, failure: Failure, due: Due, output: &mut Output) -> Command {
        self.dialect.refuse(due, &failure, &mut self.facts, output);
        Command::Close(failure)
    }
}

/// Makes the message that is due of what came.
fn read(reading: Reading, channel: &Channel, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let bytes = channel.plain();
    match reading {
        Reading::Opening => open(bytes, handling),
        Reading::Greeting => greeting::read(bytes, handling),
        Reading::Credentials => userpass::read(bytes, handling),
        Reading::Token { rounds } => gss::read_token(rounds, bytes),
        Reading::Level(level) => level.read(bytes, handling),
        Reading::Head(due) => http::read(due, bytes, handling),
        Reading::Request => request::read(bytes, channel.check_stream(), handling),
    }
}

/// Chooses the dialect by the first byte.
fn open(bytes: &[u8], handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let Some(first) = bytes.first() else { return Ok(Transition::More(Reading::Opening)) };
    *handling.dialect = Dialect::of(*first).map_err(Failure::Protocol)?;
    handling.facts.protocol = Some(handling.dialect.protocol());
    if !handling.rules.protocols.contains(&handling.dialect.protocol()) {
        // Who takes a SOCKS port for an HTTP proxy is told so.
        let hint = matches!(handling.dialect, Dialect::Http { .. })
            && handling.rules.protocols.contains(&Protocol::Socks5);
        let error = if hint { ProtoError::Http(*first) } else { ProtoError::NotSpoken };
        return Err(Failure::Protocol(error));
    }
    Ok(Transition::Read(handling.dialect.first_message(), 0))
}

/// Hands an answer to who asked for it.
fn answered(
    state: SessionState,
    answer: Input<'_>,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let awaiting = match state {
        SessionState::Awaiting(awaiting) => Some(awaiting),
        SessionState::Reading(_) | SessionState::Over => None,
    };
    match (awaiting, answer) {
        (Some(Awaiting::Verification), Input::Verified(identity)) => login::verified(identity, handling),
        (Some(Awaiting::Context { rounds }), Input::Established(round)) => {
            gss::established(rounds, round, handling)
        }
        (Some(Awaiting::Connect(Connecting::Resolving { port, without })), Input::Resolved(answer)) => {
            connect::resolved(port, without, answer, handling)
        }
        (
            Some(Awaiting::Connect(Connecting::Dialing | Connecting::Through { .. })),
            Input::Dialed(result),
        ) => connect::dialed(result, handling),
        (Some(Awaiting::Connect(Connecting::Through { port, parent })), Input::Direct) => {
            connect::go_without(parent, port, handling)
        }
        (Some(Awaiting::Bind(Binding::Resolving { port })), Input::Resolved(answer)) => {
            bind::resolved(port, answer, handling)
        }
        (Some(Awaiting::Bind(Binding::Opening)), Input::Bound(result)) => bind::bound(result, handling),
        (Some(Awaiting::Bind(Binding::Accepting)), Input::Accepted(result)) => {
            bind::accepted(result, handling)
        }
        (Some(Awaiting::Lookup(Looking::Addresses)), Input::Resolved(answer)) => {
            lookup::resolved(answer, handling)
        }
        (Some(Awaiting::Lookup(Looking::Leave { ip })), Input::Admitted) => Ok(lookup::told(ip, handling)),
        (Some(Awaiting::Lookup(Looking::Name)), Input::Named(answer)) => lookup::named(answer, handling),
        (Some(Awaiting::Association), Input::Associated(result)) => associate::associated(result, handling),
        _ => Err(Failure::Internal("an answer that nobody asked for")),
    }
}
