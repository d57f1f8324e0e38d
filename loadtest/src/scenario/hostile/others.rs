//! The sessions beside the attack: whole ones, each with what it says in its handshake.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::armed::Who;
use super::nameserver::good;
use super::plan::HostilePlan;
use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Fleet, Link, Losses, Next, Ready, Route, Scenario, data_fault};
use crate::handshake::Messages;
use crate::meter::Meter;
use crate::progress::Done;
use crate::record::{Latency, Record};
use crate::scenario::connect::{Connect, Received};
use crate::scenario::deadline::within;
use crate::scenario::starts::{Gate, Starts};

/// What one of them gets from the target.
const ANSWER_BYTES: usize = 64;

/// What the sessions beside the attack came to in one part of the run.
#[derive(Default)]
pub(super) struct PartResult {
    pub(super) sessions: u64,
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
    setup: Option<Latency>,
    /// The rest of the record.
    pub(super) record: Record,
}

impl PartResult {
    fn new(record: Record, losses: Losses) -> Self {
        Self {
            sessions: record.sessions.unwrap_or(0),
            failures: losses.count,
            first_failure: losses.first.map(|fault| fault.to_string()),
            setup: record.handshake.clone(),
            record,
        }
    }

    /// Of the time that a session took to set up, where there was one.
    pub(super) fn quantile_us(&self, quantile: f64) -> Option<f64> {
        self.setup.as_ref().map(|setup| setup.quantile_us(quantile))
    }
}

/// All of them; they are numbered on from one part to the next, so that no name and no user comes twice.
pub(super) struct Others {
    who: Who,
    server: SocketAddr,
    target: SocketAddr,
    users: Vec<(String, String)>,
    patience: Duration,
    number: u64,
}

impl Others {
    pub(super) fn new(plan: &HostilePlan, who: Who) -> Self {
        let (server, target, users) = (plan.server, plan.target, plan.users.clone());
        Self { who, server, target, users, patience: plan.patience, number: 0 }
    }

    /// Whether they come from where the attack comes from.
    pub(super) fn share_the_attackers_address(&self) -> bool {
        self.who == Who::KnownUser
    }

    /// One part of the run: from `starts`, by the route that `route` makes of a server and a target.
    pub(super) fn run(
        &mut self,
        route: impl Fn(Option<SocketAddr>, SocketAddr) -> Route,
        starts: Starts,
        meter: Meter,
    ) -> Result<PartResult, Fault> {
        if self.who == Who::WithTokens {
            let mut fleet = Fleet::new(route(None, self.server)).map_err(Fault::Local)?;
            let mut scenario = TokenSessions::new(starts, self.patience, meter);
            fleet.run(&mut scenario)?;
            return Ok(PartResult::new(scenario.record(), fleet.losses));
        }
        let mut fleet = Fleet::new(route(Some(self.server), self.target)).map_err(Fault::Local)?;
        let mut scenario = Sessions { connect: Connect::new(starts, ANSWER_BYTES, meter), others: self };
        fleet.run(&mut scenario)?;
        Ok(PartResult::new(scenario.connect.record(), fleet.losses))
    }

    /// What the next one says, where it is not what all say.
    fn next(&mut self) -> Option<Messages> {
        let number = self.number;
        self.number += 1;
        let user = |at: usize| self.users.get(at).map(|(user, password)| (&**user, &**password));
        match self.who {
            Who::Anybody | Who::WithTokens => None,
            Who::WithNames => Some(Messages::connect(self.target, Some(&good(number)), None)),
            Who::NewUsers => Some(Messages::connect(self.target, None, user(number as usize))),
            Who::KnownUser => Some(Messages::connect(self.target, None, user(0))),
        }
    }
}

/// Whole sessions, each with a handshake of its own.
struct Sessions<'a> {
    connect: Connect,
    others: &'a mut Others,
}

impl Scenario for Sessions<'_> {
    type State = Received;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        self.connect.wants_another(now)
    }

    fn next_start(&self) -> Option<Instant> {
        self.connect.next_start()
    }

    fn dialled(&mut self, link: &mut Link<Received>) {
        link.messages = self.others.next().map(Box::new);
    }

    fn handshaking(&mut self, link: &mut Link<Received>) -> Result<Next, Fault> {
        within(self.others.patience, link.since, Next::Wait)
    }

    fn opened(&mut self, link: &mut Link<Received>) -> Result<Next, Fault> {
        let next = self.connect.opened(link)?;
        within(self.others.patience, link.since, next)
    }

    fn ready(&mut self, link: &mut Link<Received>, ready: Ready) -> Result<Next, Fault> {
        let next = self.connect.ready(link, ready)?;
        within(self.others.patience, link.since, next)
    }

    fn closed(&mut self, failed: bool) {
        self.connect.closed(failed);
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        self.connect.turn(now)
    }

    fn progress(&self) -> Option<Done> {
        self.connect.progress()
    }
}

/// Greeting with method GSSAPI, and the server's choice of it (RFC 1928 section 3).
const GREETING: [u8; 3] = [5, 1, 1];
const CHOICE: [u8; 2] = [5, 1];
/// VER, MTYP and LEN of a first token (RFC 1961 section 3.3).
const TOKEN_BYTES: usize = 6000;
const TOKEN_HEAD: [u8; 4] = [1, 1, (TOKEN_BYTES >> 8) as u8, (TOKEN_BYTES & 0xFF) as u8];
/// How long the last octet of a token waits: as long as a segment that was lost.
const BEFORE_THE_LAST: Duration = Duration::from_millis(200);

/// Sessions that send a token, and its last octet later. It means nothing, so that any answer will do, but none may
/// come before that octet.
struct TokenSessions {
    gate: Gate,
    patience: Duration,
    meter: Meter,
    done: u64,
    setup: Latency,
}

/// How far a token is.
#[derive(Default)]
enum Token {
    #[default]
    Greeted,
    Begun(Instant),
    Whole,
}

impl TokenSessions {
    fn new(starts: Starts, patience: Duration, meter: Meter) -> Self {
        Self { gate: Gate::new(starts), patience, meter, done: 0, setup: Latency::new() }
    }

    /// What a session takes, its own pause left out.
    fn record(&self) -> Record {
        let record = Record { cost: self.meter.cost(), handshake: self.setup.taken(), ..self.gate.record() };
        record.with_sessions(self.done)
    }

    fn send(link: &mut Link<Token>, bytes: &[u8]) -> Result<(), Fault> {
        // A server that is not behind takes in what is far below any window.
        match link.stream.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err(data_fault(ErrorKind::WriteZero.into())),
            Err(error) => Err(data_fault(error)),
        }
    }

    fn go_on(&mut self, link: &mut Link<Token>) -> Result<Next, Fault> {
        let mut answer = [0; 2];
        let got = match link.stream.read(&mut answer) {
            Ok(0) => return Err(Fault::Closed(Phase::Greeting)),
            Ok(count) => Some(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => return Err(Fault::socket(Phase::Greeting, error)),
        };
        let token = [0x60; TOKEN_BYTES];
        match (&link.state, got) {
            (Token::Greeted, Some(_)) if answer == CHOICE => {
                Self::send(link, &[&TOKEN_HEAD[..], &token[1..]].concat())?;
                let at = Instant::now() + BEFORE_THE_LAST;
                link.state = Token::Begun(at);
                Ok(Next::Until(at))
            }
            (Token::Greeted, Some(_)) => Err(Fault::Method(answer[1])),
            (Token::Begun(_), Some(_)) => Err(Fault::Malformed(Phase::Greeting, answer[0])),
            (Token::Begun(at), None) if Instant::now() < *at => Ok(Next::Until(*at)),
            (Token::Begun(_), None) => {
                Self::send(link, &token[..1])?;
                link.state = Token::Whole;
                Ok(Next::Wait)
            }
            (Token::Whole, Some(_)) => {
                self.setup.record(link.since.elapsed().saturating_sub(BEFORE_THE_LAST));
                self.done += 1;
                Ok(Next::Close)
            }
            (Token::Greeted | Token::Whole, None) => Ok(Next::Wait),
        }
    }
}

impl Scenario for TokenSessions {
    type State = Token;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        self.gate.admit(now)
    }

    fn next_start(&self) -> Option<Instant> {
        self.gate.next()
    }

    fn opened(&mut self, link: &mut Link<Token>) -> Result<Next, Fault> {
        Self::send(link, &GREETING)?;
        within(self.patience, link.since, Next::Wait)
    }

    fn ready(&mut self, link: &mut Link<Token>, _ready: Ready) -> Result<Next, Fault> {
        let next = self.go_on(link)?;
        within(self.patience, link.since, next)
    }

    fn closed(&mut self, _failed: bool) {
        self.gate.leave();
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        self.gate.turn(now, &mut self.meter)
    }

    fn progress(&self) -> Option<Done> {
        Some(self.gate.progress(self.done))
    }
}
