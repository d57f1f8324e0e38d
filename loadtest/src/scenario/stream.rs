//! Bulk: flows that move bytes as fast as the server lets them, up, down or both ways at once.
//!
//! The bytes of a window in the middle of the flow are counted, not those of the whole run: opening,
//! slow start and closing are left out. Down is counted where the client reads, up where it sends; what
//! is under way at both ends of the window (socket buffers, pipes) cancels out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::progress::{Done, ProgressUnit};
use crate::record::Record;
use crate::sys;

/// One sendfile, and the memory file behind it.
const SUPPLY_BYTES: usize = 1 << 20;
/// One read of a flow under TLS.
const INBOX_BYTES: usize = 64 << 10;
/// What one flow may move in a turn before the others have theirs.
const BUDGET_BYTES: usize = 4 << 20;

/// Which way the bytes go, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Direction {
    Up,
    Down,
    Both,
}

impl Direction {
    /// The name of the scenario in the record.
    pub(crate) fn scenario(self) -> &'static str {
        match self {
            Self::Up => "stream-up",
            Self::Down => "stream-down",
            Self::Both => "stream-both",
        }
    }
}

/// The length of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) warmup: Duration,
    pub(crate) seconds: Duration,
    /// Ends the window early.
    pub(crate) bytes: Option<u64>,
}

/// The scenario and its tally.
pub(crate) struct Stream {
    direction: Direction,
    flows: u64,
    window: Window,
    meter: Meter,
    dialled: u64,
    open: u64,
    opened_at: Option<Instant>,
    began: Option<Instant>,
    moved: u64,
    /// Flows that have moved a byte in the window.
    heard: u64,
    supply: File,
    /// What flows under TLS take their bytes from, and put them in: no call spares them the copies.
    pattern: Pattern,
    inbox: Vec<u8>,
}

/// Whether a connection has moved a byte in the window.
#[derive(Default)]
pub(crate) struct Heard(bool);

impl Stream {
    pub(crate) fn new(direction: Direction, flows: u64, window: Window, meter: Meter) -> io::Result<Self> {
        let mut supply = File::from(memfd_create(c"outflow-load-supply", MFdFlags::MFD_CLOEXEC)?);
        let pattern = Pattern::new(SUPPLY_BYTES);
        supply.write_all(pattern.at(0, SUPPLY_BYTES))?;
        Ok(Self {
            direction,
            flows,
            window,
            meter,
            dialled: 0,
            open: 0,
            opened_at: None,
            began: None,
            moved: 0,
            heard: 0,
            supply,
            pattern,
            inbox: vec![0; INBOX_BYTES],
        })
    }

    pub(crate) fn record(&self) -> Record {
        Record {
            silent_connections: Some(self.flows - self.heard),
            connections: self.flows,
            cost: self.meter.cost(),
            ..Record::default()
        }
        .with_bytes(self.moved)
    }

    /// Empties the receive buffer; `Again` when the budget ended first.
    fn drain(&mut self, link: &mut Link<Heard>, ready: Ready) -> Result<Next, Fault> {
        let mut budget = BUDGET_BYTES;
        while budget > 0 {
            let under_tls = link.is_under_tls();
            let received = match under_tls {
                true => link.read(&mut self.inbox),
                false => sys::discard(link.stream.as_fd(), budget),
            };
            match received {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(_) if self.direction == Direction::Up => return Err(Fault::Unexpected),
                Ok(count) => {
                    self.moved += count as u64;
                    // Of records that were read, more than one may be left.
                    if !under_tls && count < budget && !ready.closed {
                        return Ok(Next::Wait);
                    }
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(data_fault(error)),
            }
        }
        Ok(Next::Again)
    }

    /// Fills the send buffer; `Again` when the budget ended first.
    fn pour(&mut self, link: &mut Link<Heard>) -> Result<Next, Fault> {
        let mut budget = BUDGET_BYTES;
        while budget > 0 {
            let sent = match link.is_under_tls() {
                true => link.write(self.pattern.at(0, SUPPLY_BYTES)),
                false => {
                    sendfile(&link.stream, &self.supply, Some(&mut 0), SUPPLY_BYTES).map_err(io::Error::from)
                }
            };
            match sent {
                Ok(count) => {
                    self.moved += count as u64;
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(data_fault(error)),
            }
        }
        Ok(Next::Again)
    }

    fn window_is_over(&self, began: Instant, now: Instant) -> bool {
        now.duration_since(began) >= self.window.seconds
            || self.window.bytes.is_some_and(|bytes| self.moved >= bytes)
    }
}

impl Scenario for Stream {
    type State = Heard;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        let wanted = self.dialled < self.flows;
        self.dialled += u64::from(wanted);
        wanted.then_some(now)
    }

    fn target_speaks_first(&self) -> bool {
        true
    }

    fn opened(&mut self, link: &mut Link<Heard>) -> Result<Next, Fault> {
        // What is under way when the run ends must not go on behind it: gigabytes in socket buffers would cost the next
        // server's time, and take the memory that all TCP sockets share.
        socket2::SockRef::from(&link.stream).set_linger(Some(Duration::ZERO)).map_err(Fault::Local)?;
        self.open += 1;
        Ok(Next::Wait)
    }

    fn ready(&mut self, link: &mut Link<Heard>, ready: Ready) -> Result<Next, Fault> {
        if self.opened_at.is_none() {
            // Every flow starts when all are open; `WakeAll` calls again for what arrives until then.
            return Ok(Next::Wait);
        }
        let before = self.moved;
        let received = self.drain(link, ready)?;
        let sent = if self.direction == Direction::Down { Next::Wait } else { self.pour(link)? };
        let first = self.began.is_some() && self.moved > before && !link.state.0;
        self.heard += u64::from(first);
        link.state.0 |= first;
        Ok(if received == Next::Again { Next::Again } else { sent })
    }

    fn closed(&mut self, _failed: bool) {
        // A flow that is lost is not dialled again: fewer flows are another measurement.
        self.open = self.open.saturating_sub(1);
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        let Some(opened_at) = self.opened_at else {
            if self.open < self.flows {
                return Ok(AfterTurn::Continue);
            }
            self.opened_at = Some(now);
            return Ok(AfterTurn::WakeAll);
        };
        match self.began {
            None if now.duration_since(opened_at) >= self.window.warmup => {
                self.meter.start()?;
                self.began = Some(Instant::now());
                self.moved = 0;
            }
            Some(began) if self.window_is_over(began, now) => {
                self.meter.stop()?;
                return if self.moved == 0 { Err(Fault::Idle) } else { Ok(AfterTurn::Stop) };
            }
            _ => {}
        }
        Ok(AfterTurn::Continue)
    }

    fn progress(&self) -> Option<Done> {
        let done = Done { count: self.moved, of: self.window.bytes, unit: ProgressUnit::Bytes };
        self.began.map(|_| done)
    }
}
