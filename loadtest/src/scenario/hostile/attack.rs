//! The hostile connections: each says all that it has to say at once, waits for an answer or for its time to be over,
//! and leaves.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::kind::Force;
use crate::fault::Fault;
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario};
use crate::meter::Meter;
use crate::progress::Done;
use crate::record::Attempts;
use crate::scenario::starts::{Extent, Gate, Starts};

/// Of an answer no more is kept.
const ANSWER_BYTES: usize = 64;

/// What one connection does.
#[derive(Default)]
pub(crate) struct Attempt {
    /// Sent at once.
    pub(crate) opening: Vec<u8>,
    /// Bytes of an answer after which the connection leaves; without it, the connection stays.
    pub(crate) answer: Option<usize>,
    /// When the connection leaves at the latest, in place of what the attack says.
    pub(crate) hold: Option<Duration>,
    /// Whether the connection leaves by RST.
    pub(crate) reset: bool,
}

/// What an attack says, connection by connection.
pub(crate) trait AttackScript: Send {
    /// What connection number `number` does; they are numbered from 0.
    fn attempt(&mut self, number: u64) -> Attempt;
    /// Takes the answer of a connection that is over; it may be empty.
    fn heard(&mut self, _number: u64, _answer: &[u8]) {}
    /// Adds what the attack alone knows of.
    fn tell(&self, _attempts: &mut Attempts) {}
}

/// An attack as a scenario, and its tally.
pub(crate) struct Attack {
    script: Box<dyn AttackScript>,
    gate: Gate,
    hold: Duration,
    over: Arc<AtomicBool>,
    began: Instant,
    took: Duration,
    /// The gate's: it measures nothing.
    meter: Meter,
    inbox: Vec<u8>,
    attempts: Attempts,
}

/// What is known of one connection of an attack.
#[derive(Default)]
pub(crate) struct AttackConnection {
    number: u64,
    attempt: Attempt,
    sent: usize,
    answer: Vec<u8>,
    leaves_at: Option<Instant>,
}

impl Attack {
    /// An attack that ends with its count, or once `over` is true.
    pub(crate) fn new(script: Box<dyn AttackScript>, force: Force, over: Arc<AtomicBool>) -> Self {
        let starts =
            Starts { extent: Extent::Count(force.count), in_flight: force.in_flight, rate: force.rate };
        Self {
            script,
            gate: Gate::new(starts),
            hold: force.hold,
            over,
            began: Instant::now(),
            took: Duration::ZERO,
            meter: Meter::new(None),
            inbox: vec![0; 4096],
            attempts: Attempts::default(),
        }
    }

    pub(crate) fn tally(&self) -> Attempts {
        let mut attempts = self.attempts.clone();
        attempts.attempts = self.gate.started();
        if !self.took.is_zero() {
            attempts.attempts_per_second = attempts.attempts as f64 / self.took.as_secs_f64();
        }
        self.script.tell(&mut attempts);
        attempts
    }

    fn end(&mut self, link: &Link<AttackConnection>) -> Next {
        self.script.heard(link.state.number, &link.state.answer);
        if link.state.attempt.reset { Next::Reset } else { Next::Close }
    }

    fn cut(&mut self, link: &Link<AttackConnection>) -> Next {
        self.attempts.attempts_cut += 1;
        self.end(link)
    }

    fn go_on(&mut self, link: &mut Link<AttackConnection>) -> Next {
        while link.state.sent < link.state.attempt.opening.len() {
            match link.stream.write(&link.state.attempt.opening[link.state.sent..]) {
                Ok(count) => link.state.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.cut(link),
            }
        }
        loop {
            let answer = &mut link.state.answer;
            if link.state.attempt.answer.is_some_and(|enough| answer.len() >= enough) {
                self.attempts.attempts_answered += 1;
                return self.end(link);
            }
            match link.stream.read(&mut self.inbox) {
                Ok(0) => return self.cut(link),
                Ok(count) => {
                    let room = ANSWER_BYTES.saturating_sub(answer.len());
                    answer.extend_from_slice(&self.inbox[..count.min(room)]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.cut(link),
            }
        }
        match link.state.leaves_at {
            Some(at) if Instant::now() >= at => {
                self.attempts.attempts_left += 1;
                self.end(link)
            }
            Some(at) => Next::Until(at),
            None => Next::Wait,
        }
    }
}

impl Scenario for Attack {
    type State = AttackConnection;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        self.gate.admit(now)
    }

    fn next_start(&self) -> Option<Instant> {
        self.gate.next()
    }

    fn dialled(&mut self, link: &mut Link<AttackConnection>) {
        let number = self.gate.started() - 1;
        link.state =
            AttackConnection { number, attempt: self.script.attempt(number), ..AttackConnection::default() };
    }

    fn opened(&mut self, link: &mut Link<AttackConnection>) -> Result<Next, Fault> {
        link.state.leaves_at = Some(Instant::now() + link.state.attempt.hold.unwrap_or(self.hold));
        Ok(self.go_on(link))
    }

    fn ready(&mut self, link: &mut Link<AttackConnection>, _ready: Ready) -> Result<Next, Fault> {
        Ok(self.go_on(link))
    }

    fn closed(&mut self, failed: bool) {
        self.attempts.attempts_cut += u64::from(failed);
        self.gate.leave();
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        if self.gate.started() == 0 {
            self.began = now;
        }
        let over = self.over.load(Ordering::Acquire);
        let turn = if over { AfterTurn::Stop } else { self.gate.turn(now, &mut self.meter)? };
        if turn == AfterTurn::Stop {
            self.took = now.duration_since(self.began);
        }
        Ok(turn)
    }

    /// The others are who is watched.
    fn progress(&self) -> Option<Done> {
        None
    }
}
