//! More clients than a server can serve: how many it serves all the same, how long flows that stand already wait beside
//! them, and how soon it is quick again.
//!
//! The peak is what a closed loop of [`PEAK_IN_FLIGHT`] sessions gets. Then sessions come at multiples of it, whatever
//! becomes of them (open loop), from clients that leave once they have waited for so long. What is served in time is the
//! goodput. A few flows that were there before ping all the while, at a slow steady rate.

mod flows;
mod rush;

use std::net::SocketAddr;
use std::time::Duration;

use self::flows::{FlowPlan, Flows, FlowsTold};
use self::rush::{Rush, Served};
use crate::fault::Fault;
use crate::fleet::{Fleet, Route, Sources};
use crate::handshake::Messages;
use crate::meter::Meter;
use crate::record::{Overload, OverloadPart, Record, ratio};
use crate::scenario::connect::Connect;
use crate::scenario::starts::{Extent, Starts};

/// Sessions in flight while the peak is measured: enough to keep a server busy, too few to overload it.
const PEAK_IN_FLIGHT: u64 = 64;
/// Of the peak, the rate at which sessions come behind an overload.
const AFTERWARDS: f64 = 0.5;
/// How long they come.
const AFTERWARDS_SECONDS: Duration = Duration::from_secs(4);
/// When a server that is not overloaded any more has to be as quick as it was.
const QUICK_AGAIN: Duration = Duration::from_secs(2);
/// The most sessions at a time: above the descriptors of any run.
const IN_FLIGHT_MAX: u64 = 1_000_000;

/// What was asked for.
pub(crate) struct OverloadPlan {
    pub(crate) server: SocketAddr,
    /// Where sessions fetch a page, and where flows have their pings echoed.
    pub(crate) target: SocketAddr,
    pub(crate) echo: SocketAddr,
    pub(crate) target_name: Option<String>,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) sources: u32,
    pub(crate) pid: Option<i32>,
    pub(crate) origin_pid: Option<i32>,
    /// Bytes of a page.
    pub(crate) size: usize,
    /// Sessions a second at the peak; without it, it is measured.
    pub(crate) peak: Option<f64>,
    /// Multiples of the peak, in the order in which they come.
    pub(crate) multiples: Vec<f64>,
    /// How long clients wait.
    pub(crate) give_up: Duration,
    /// How long each part comes before it is counted, and how long it is counted.
    pub(crate) warmup: Duration,
    pub(crate) seconds: Duration,
    pub(crate) flows: u64,
    /// Pings a second of each flow.
    pub(crate) pings: f64,
    pub(crate) bars: OverloadBars,
}

/// What the run has to reach, or it fails.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OverloadBars {
    /// Goodput above the peak, as a share of the peak.
    pub(crate) goodput: Option<f64>,
    /// p99 of flows above the peak, to that below it.
    pub(crate) ratio: Option<f64>,
}

/// The run and its tally.
pub(crate) struct Overloading {
    plan: OverloadPlan,
    record: Record,
    told: Overload,
}

impl Overloading {
    pub(crate) fn new(plan: OverloadPlan) -> Self {
        Self { plan, record: Record::default(), told: Overload::default() }
    }

    /// Every part. `Err` when the load fails, or when a bar is missed.
    pub(crate) fn run(&mut self) -> Result<(), Fault> {
        let plan =
            FlowPlan { count: self.plan.flows, pings: self.plan.pings, parts: self.plan.multiples.len() };
        let flows = Flows::start(self.route(self.plan.echo, 0), plan)?;
        let ended = self.parts(&flows);
        let FlowsTold { round_trips, lost } = flows.finish()?;
        self.told.flows_lost = lost;
        for (part, echo) in self.told.parts.iter_mut().zip(round_trips) {
            part.echo_round_trips = echo.as_ref().map_or(0, |echo| echo.count());
            part.echo_p50_us = echo.as_ref().map(|echo| echo.quantile_us(0.5));
            part.echo_p99_us = echo.as_ref().map(|echo| echo.quantile_us(0.99));
        }
        ended?;
        self.compare()
    }

    fn route(&self, target: SocketAddr, sources: u32) -> Route {
        let credentials = self.plan.credentials.as_ref().map(|(user, password)| (&**user, &**password));
        Route {
            server: Some(self.plan.server),
            target,
            messages: Some(Messages::connect(target, self.plan.target_name.as_deref(), credentials)),
            tls: None,
            sources: Sources::in_a_row(sources),
            patience: Duration::MAX,
            max_errors: u64::MAX,
        }
    }

    fn parts(&mut self, flows: &Flows) -> Result<(), Fault> {
        let peak = match self.plan.peak {
            Some(peak) => peak,
            None => self.peak()?,
        };
        self.told.peak_per_second = peak;
        let afterwards =
            |this: &Self| this.rush(peak * AFTERWARDS, QUICK_AGAIN, AFTERWARDS_SECONDS - QUICK_AGAIN, None);
        let quiet = afterwards(self)?;
        self.told.quiet_p99_us = quiet.p99_us();
        for (number, multiple) in self.plan.multiples.clone().into_iter().enumerate() {
            let (warmup, seconds) = (self.plan.warmup, self.plan.seconds);
            let served = self.rush(peak * multiple, warmup, seconds, Some((flows, number)))?;
            let goodput = ratio(served.in_time as f64, self.plan.seconds.as_secs_f64()).unwrap_or(0.0);
            let mut part = OverloadPart {
                multiple,
                rate: peak * multiple,
                due: served.due,
                in_time: served.in_time,
                late: served.late,
                cut: served.cut,
                goodput_per_second: goodput,
                // Below the peak no more can be served than come.
                goodput_share: goodput / (peak * multiple.min(1.0)),
                p50_us: served.quantile_us(0.5),
                p99_us: served.p99_us(),
                late_starts: served.late_starts,
                ..OverloadPart::default()
            };
            if multiple > 1.0 {
                let after = afterwards(self)?;
                part.after_p99_us = after.p99_us();
                part.after_failed = Some(after.late + after.cut);
            }
            self.told.parts.push(part);
        }
        Ok(())
    }

    /// Sessions a second of a closed loop.
    fn peak(&mut self) -> Result<f64, Fault> {
        let starts =
            Starts { extent: Extent::Time(self.plan.seconds), in_flight: PEAK_IN_FLIGHT, rate: None };
        let meter = Meter::new(self.plan.pid).with_origin(self.plan.origin_pid);
        let mut scenario = Connect::new(starts, self.plan.size, meter);
        let mut fleet = self.fleet()?;
        fleet.run(&mut scenario)?;
        self.record = scenario.record();
        self.record.sessions_per_second.filter(|_| fleet.losses.count == 0).ok_or_else(|| Fault::Unquiet {
            failures: fleet.losses.count,
            first: fleet.losses.first.map_or("unknown".to_owned(), |fault| fault.to_string()),
        })
    }

    /// Sessions at this rate, of which those count that come or end behind the warm-up.
    fn rush(
        &self,
        rate: f64,
        warmup: Duration,
        seconds: Duration,
        flows: Option<(&Flows, usize)>,
    ) -> Result<Served, Fault> {
        let starts =
            Starts { extent: Extent::Time(warmup + seconds), in_flight: IN_FLIGHT_MAX, rate: Some(rate) };
        let connect = Connect::new(starts, self.plan.size, Meter::new(None));
        let mut rush = Rush::new(connect, self.plan.give_up, warmup..warmup + seconds, flows);
        let mut fleet = self.fleet()?;
        fleet.run(&mut rush)?;
        Ok(rush.served())
    }

    fn fleet<S: Default>(&self) -> Result<Fleet<S>, Fault> {
        Fleet::new(self.route(self.plan.target, self.plan.sources)).map_err(Fault::Local)
    }

    fn compare(&mut self) -> Result<(), Fault> {
        let below = self.told.parts.iter().filter(|part| part.multiple <= 1.0);
        let below = below.max_by(|a, b| a.multiple.total_cmp(&b.multiple)).and_then(|part| part.echo_p99_us);
        for part in &mut self.told.parts {
            part.echo_p99_ratio = part.echo_p99_us.zip(below).and_then(|(here, below)| ratio(here, below));
        }
        let missed = |what| Err(Fault::Missed(what));
        let OverloadBars { goodput, ratio } = self.plan.bars;
        for part in self.told.parts.iter().filter(|part| part.multiple > 1.0) {
            let (multiple, share) = (part.multiple, part.goodput_share);
            if let Some(least) = goodput.filter(|least| share < *least) {
                return missed(format!(
                    "goodput at {multiple} times the peak is {share:.2} of it, not {least}"
                ));
            }
            match (ratio, part.echo_p99_ratio) {
                (Some(most), Some(ratio)) if ratio > most => {
                    return missed(format!(
                        "p99 of flows at {multiple} times the peak is {ratio:.2} times that below it, {most} it may be"
                    ));
                }
                (Some(_), None) => return missed("there is nothing to compare flows with".to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn record(self) -> Record {
        let told = Overload { give_up_seconds: self.plan.give_up.as_secs_f64(), ..self.told };
        Record { overload: Some(told), ..self.record }
    }
}
