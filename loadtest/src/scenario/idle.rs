//! Sessions that are open and silent: what one costs in memory and descriptors.
//!
//! With `--touch` each session first has that many bytes echoed, so that what a server allocates at the
//! first byte and keeps is seen as well. With `--fetch` each is an HTTP client that has fetched a page and keeps its
//! connection.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::progress::{Done, ProgressUnit};
use crate::record::{Latency, Record};
use crate::scenario::exchange::{Answered, Exchange};
use crate::scenario::request::send_whole;

/// A server may need this long to put away what the handshakes took.
const SETTLE: Duration = Duration::from_secs(1);

/// One read of an answer.
const READ_BYTES: usize = 64 << 10;

/// What a session does before it falls silent.
#[derive(Clone, Debug)]
pub(crate) enum Before {
    /// So many bytes are echoed; none is needed.
    Echo(usize),
    /// This request of HTTP is answered with so many bytes, over a connection that is kept.
    Fetch { request: Vec<u8>, size: usize },
}

/// The scenario and its tally. It runs twice: first to open, then to hold.
pub(crate) struct Idle {
    connections: u64,
    opening_limit: u64,
    before: Before,
    meter: Meter,
    dialled: u64,
    open: u64,
    stage: HoldStage,
    pattern: Pattern,
    inbox: Vec<u8>,
    handshakes: Latency,
    hold_until: Option<Instant>,
    input_closed: Option<Arc<AtomicBool>>,
}

/// How far the run is.
#[derive(Clone, Copy)]
enum HoldStage {
    Before,
    Opening,
    Settling(Instant),
    Holding,
}

/// What one session has done of it.
#[derive(Default)]
pub(crate) struct Touched {
    echoed: usize,
    exchange: Exchange,
    silent: bool,
}

impl Idle {
    /// `opening_limit` bounds the handshakes in flight.
    pub(crate) fn new(connections: u64, opening_limit: u64, before: Before, meter: Meter) -> Self {
        let piece = match before {
            Before::Echo(bytes) => bytes,
            Before::Fetch { .. } => READ_BYTES,
        };
        Self {
            connections,
            opening_limit,
            before,
            meter,
            dialled: 0,
            open: 0,
            stage: HoldStage::Before,
            pattern: Pattern::new(piece),
            inbox: vec![0; piece.max(1)],
            handshakes: Latency::new(),
            hold_until: None,
            input_closed: None,
        }
    }

    /// From here on the sessions are only held: until a moment, or until `input_closed` is true.
    pub(crate) fn hold_until(&mut self, until: Option<Instant>, input_closed: Option<Arc<AtomicBool>>) {
        self.stage = HoldStage::Holding;
        self.hold_until = until;
        self.input_closed = input_closed;
    }

    fn hold_is_over(&self, now: Instant) -> bool {
        self.hold_until.is_some_and(|until| now >= until)
            || self.input_closed.as_ref().is_some_and(|closed| closed.load(Ordering::Acquire))
    }

    /// Kernel memory gained by the open sessions.
    pub(crate) fn kernel_growth(&self) -> i64 {
        self.meter.cost().kernel.map_or(0, |growth| growth.bytes)
    }

    /// Takes the first `count` bytes of the inbox; `true` once they are all that this session awaits.
    fn take(&self, state: &mut Touched, count: usize) -> Result<bool, Fault> {
        let bytes = &self.inbox[..count];
        match self.before {
            Before::Echo(all) => {
                if *bytes != *self.pattern.at(state.echoed, count) {
                    return Err(Fault::WrongBytes { position: state.echoed });
                }
                state.echoed += count;
                Ok(state.echoed == all)
            }
            Before::Fetch { size, .. } => match state.exchange.take(bytes, size, &self.pattern)? {
                Answered::Partly => Ok(false),
                Answered::Whole { kept: true } => Ok(true),
                Answered::Whole { kept: false } => {
                    Err(Fault::Answer("the server does not keep the connection"))
                }
            },
        }
    }

    /// `kernel_floor` bytes of kernel memory are not the server's.
    pub(crate) fn record(&self, kernel_floor: i64) -> Record {
        let mut record = Record {
            connections: self.connections,
            cost: self.meter.cost(),
            handshake: self.handshakes.taken(),
            ..Record::default()
        }
        .with_held(self.open, kernel_floor);
        record.sessions = Some(self.open);
        record
    }
}

impl Scenario for Idle {
    type State = Touched;

    fn wants_another(&mut self, _now: Instant) -> Option<Instant> {
        let measured = !matches!(self.stage, HoldStage::Before);
        let wanted =
            measured && self.dialled < self.connections && self.dialled - self.open < self.opening_limit;
        self.dialled += u64::from(wanted);
        wanted.then(Instant::now)
    }

    fn opened(&mut self, link: &mut Link<Touched>) -> Result<Next, Fault> {
        self.handshakes.record(link.since.elapsed());
        match &self.before {
            Before::Echo(0) => {
                link.state.silent = true;
                self.open += 1;
            }
            Before::Echo(bytes) => send_whole(link, self.pattern.at(0, *bytes))?,
            Before::Fetch { request, .. } => send_whole(link, request)?,
        }
        Ok(Next::Wait)
    }

    fn ready(&mut self, link: &mut Link<Touched>, _ready: Ready) -> Result<Next, Fault> {
        loop {
            let room = match self.before {
                Before::Echo(bytes) => (bytes - link.state.echoed).max(1),
                Before::Fetch { .. } => self.inbox.len(),
            };
            let count = match link.read(&mut self.inbox[..room]) {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(_) if link.state.silent => return Err(Fault::Unexpected),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(data_fault(error)),
            };
            link.state.silent = self.take(&mut link.state, count)?;
            self.open += u64::from(link.state.silent);
        }
    }

    fn closed(&mut self, _failed: bool) {}

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        match self.stage {
            HoldStage::Before => {
                self.meter.start()?;
                self.stage = HoldStage::Opening;
                Ok(AfterTurn::Continue)
            }
            HoldStage::Opening => {
                if self.open == self.connections {
                    self.stage = HoldStage::Settling(now);
                }
                Ok(AfterTurn::Continue)
            }
            HoldStage::Settling(since) if now.duration_since(since) < SETTLE => Ok(AfterTurn::Continue),
            HoldStage::Settling(_) => {
                self.meter.stop()?;
                Ok(AfterTurn::Stop)
            }
            HoldStage::Holding if self.hold_is_over(now) => Ok(AfterTurn::Stop),
            HoldStage::Holding => Ok(AfterTurn::Continue),
        }
    }

    fn progress(&self) -> Option<Done> {
        let opening = matches!(self.stage, HoldStage::Opening);
        opening.then_some(Done { count: self.open, of: Some(self.connections), unit: ProgressUnit::Sessions })
    }
}
