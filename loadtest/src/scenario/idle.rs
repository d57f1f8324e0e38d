//! Sessions that are open and silent: what one costs in memory and descriptors.
//!
//! With `--touch` each session first has that many bytes echoed, so that what a server allocates at the
//! first byte and keeps is seen as well.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::progress::{Done, ProgressUnit};
use crate::record::{Latency, Record};

/// A server may need this long to put away what the handshakes took.
const SETTLE: Duration = Duration::from_secs(1);

/// The scenario and its tally. It runs twice: first to open, then to hold.
pub(crate) struct Idle {
    connections: u64,
    opening_limit: u64,
    touch: usize,
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

/// Bytes echoed so far.
#[derive(Default)]
pub(crate) struct Touched(usize);

impl Idle {
    /// `opening_limit` bounds the handshakes in flight; `touch` bytes are echoed on each session.
    pub(crate) fn new(connections: u64, opening_limit: u64, touch: usize, meter: Meter) -> Self {
        Self {
            connections,
            opening_limit,
            touch,
            meter,
            dialled: 0,
            open: 0,
            stage: HoldStage::Before,
            pattern: Pattern::new(touch),
            inbox: vec![0; touch.max(1)],
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
        if self.touch == 0 {
            self.open += 1;
            return Ok(Next::Wait);
        }
        match link.stream.write(self.pattern.at(0, self.touch)) {
            Ok(sent) if sent == self.touch => Ok(Next::Wait),
            Ok(_) => Err(data_fault(ErrorKind::WriteZero.into())),
            Err(error) => Err(data_fault(error)),
        }
    }

    fn ready(&mut self, link: &mut Link<Touched>, _ready: Ready) -> Result<Next, Fault> {
        loop {
            let got = link.state.0;
            let room = (self.touch - got).max(1);
            match link.stream.read(&mut self.inbox[..room]) {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(_) if got == self.touch => return Err(Fault::Unexpected),
                Ok(count) if self.inbox[..count] != *self.pattern.at(got, count) => {
                    return Err(Fault::WrongBytes { position: got });
                }
                Ok(count) => {
                    link.state.0 += count;
                    self.open += u64::from(link.state.0 == self.touch);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(data_fault(error)),
            }
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
