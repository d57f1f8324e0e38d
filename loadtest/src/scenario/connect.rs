//! Whole sessions: handshake, one request, one answer, close by the client. In a closed loop each place
//! takes its next session when the last has ended; in an open loop sessions start at a given rate.

use std::io::Read;
use std::time::Instant;

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::progress::Done;
use crate::record::{Latency, Record};
use crate::scenario::request::{compose, send_whole};
use crate::scenario::starts::{Gate, Starts};

/// Requests are 64 to 200 bytes long, each length in its turn.
const SHORTEST_REQUEST: usize = 64;
const LONGEST_REQUEST: usize = 200;
/// One read of an answer.
const READ_BYTES: usize = 64 << 10;

/// The scenario and its tally.
pub(crate) struct Connect {
    gate: Gate,
    answer_bytes: usize,
    meter: Meter,
    done: u64,
    request: Vec<u8>,
    pattern: Pattern,
    inbox: Vec<u8>,
    handshakes: Latency,
    sessions: Latency,
}

/// How much of the answer is here.
#[derive(Default)]
pub(crate) struct Received(usize);

impl Connect {
    pub(crate) fn new(starts: Starts, answer_bytes: usize, meter: Meter) -> Self {
        Self {
            gate: Gate::new(starts),
            answer_bytes,
            meter,
            done: 0,
            request: Vec::with_capacity(LONGEST_REQUEST),
            pattern: Pattern::new(READ_BYTES),
            inbox: vec![0; READ_BYTES],
            handshakes: Latency::new(),
            sessions: Latency::new(),
        }
    }

    pub(crate) fn record(&self) -> Record {
        let mut record = Record {
            cost: self.meter.cost(),
            handshake: self.handshakes.taken(),
            session: self.sessions.taken(),
            ..self.gate.record()
        }
        .with_sessions(self.done);
        record.bytes = Some(self.done * self.answer_bytes as u64);
        record
    }
}

impl Scenario for Connect {
    type State = Received;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        self.gate.admit(now)
    }

    fn next_start(&self) -> Option<Instant> {
        self.gate.next()
    }

    fn opened(&mut self, link: &mut Link<Received>) -> Result<Next, Fault> {
        self.handshakes.record(link.since.elapsed());
        let spread = LONGEST_REQUEST - SHORTEST_REQUEST + 1;
        let len = SHORTEST_REQUEST + self.gate.started() as usize % spread;
        compose(self.answer_bytes, len, &mut self.request);
        send_whole(link, &self.request)?;
        Ok(Next::Wait)
    }

    fn ready(&mut self, link: &mut Link<Received>, ready: Ready) -> Result<Next, Fault> {
        while link.state.0 < self.answer_bytes && (ready.readable || ready.closed) {
            let room = self.inbox.len().min(self.answer_bytes - link.state.0);
            let count = match link.read(&mut self.inbox[..room]) {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(data_fault(error)),
            };
            if self.inbox[..count] != *self.pattern.at(link.state.0, count) {
                return Err(Fault::WrongBytes { position: link.state.0 });
            }
            link.state.0 += count;
        }
        if link.state.0 < self.answer_bytes {
            return Ok(Next::Wait);
        }
        self.sessions.record(link.since.elapsed());
        self.done += 1;
        Ok(Next::Close)
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
