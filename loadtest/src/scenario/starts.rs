//! When sessions start and when a run of sessions is over: what all scenarios of whole sessions share.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::fleet::AfterTurn;
use crate::meter::Meter;
use crate::pacer::Pacer;
use crate::progress::{Done, ProgressUnit};
use crate::record::{Latency, Record};

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// After so many sessions or round trips.
    Count(u64),
    /// After this time; what was begun is finished.
    Time(Duration),
}

impl Extent {
    /// Where the end is a count.
    pub(crate) fn count(self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Time(_) => None,
        }
    }
}

/// How sessions start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts {
    pub(crate) extent: Extent,
    /// The most sessions at a time.
    pub(crate) in_flight: u64,
    /// Sessions a second; without it the loop is closed.
    pub(crate) rate: Option<f64>,
}

/// Lets sessions in.
pub(crate) struct Gate {
    starts: Starts,
    pacer: Option<Pacer>,
    began: Option<Instant>,
    started: u64,
    busy: u64,
    delays: Latency,
}

impl Gate {
    pub(crate) fn new(starts: Starts) -> Self {
        // Whoever was due within the time comes, however late; to leave them out would flatter the server.
        let extent = match (starts.extent, starts.rate) {
            (Extent::Time(limit), Some(rate)) => Extent::Count((limit.as_secs_f64() * rate).ceil() as u64),
            (extent, _) => extent,
        };
        Self {
            starts: Starts { extent, ..starts },
            pacer: starts.rate.map(Pacer::new),
            began: None,
            started: 0,
            busy: 0,
            delays: Latency::new(),
        }
    }

    /// Lets one more in, if there is a place and its time has come: the time from which its latency counts.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Instant> {
        if self.busy >= self.starts.in_flight || !self.more(now) {
            return None;
        }
        // `now` is as old as the turn, and a turn may open many.
        let now = Instant::now();
        let since = match &mut self.pacer {
            Some(pacer) => {
                let due = pacer.take(now)?;
                self.delays.record(now.duration_since(due));
                due
            }
            None => now,
        };
        self.started += 1;
        self.busy += 1;
        Some(since)
    }

    /// When to ask again. With every place taken the next start waits for the end of a session, not for
    /// its time.
    pub(crate) fn next(&self) -> Option<Instant> {
        let open = matches!(self.starts.extent, Extent::Count(count) if self.started < count);
        self.pacer.as_ref().filter(|_| open && self.busy < self.starts.in_flight)?.due()
    }

    /// One that was let in has ended.
    pub(crate) fn leave(&mut self) {
        self.busy -= 1;
    }

    /// How many were let in so far.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Starts and ends the measurement with the run.
    pub(crate) fn turn(&mut self, now: Instant, meter: &mut Meter) -> Result<AfterTurn, Fault> {
        if self.began.is_none() {
            meter.start()?;
            let now = Instant::now();
            self.began = Some(now);
            if let Some(pacer) = &mut self.pacer {
                pacer.begin(now);
            }
        } else if self.busy == 0 && !self.more(now) {
            meter.stop_settled()?;
            return Ok(AfterTurn::Stop);
        }
        Ok(AfterTurn::Continue)
    }

    /// How far the run is, with so many sessions `done`.
    pub(crate) fn progress(&self, done: u64) -> Done {
        Done { count: done, of: self.starts.extent.count(), unit: ProgressUnit::Sessions }
    }

    /// The beginning of the scenario's record.
    pub(crate) fn record(&self) -> Record {
        Record {
            connections: self.starts.in_flight,
            rate: self.pacer.as_ref().map(Pacer::rate),
            late_starts: self.pacer.as_ref().map(Pacer::late_starts),
            start_delay: self.delays.taken(),
            ..Record::default()
        }
    }

    fn more(&self, now: Instant) -> bool {
        match self.starts.extent {
            Extent::Count(count) => self.started < count,
            Extent::Time(limit) => self.began.is_none_or(|began| now.duration_since(began) < limit),
        }
    }
}
