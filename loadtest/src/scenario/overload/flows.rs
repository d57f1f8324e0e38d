//! Flows that stand before an overload and ping at a slow steady rate, on a thread of their own so that those who come do
//! not slow down what is timed. A round trip counts from when its ping was due.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Fleet, Link, Next, Ready, Route, Scenario, data_fault};
use crate::payload::Pattern;
use crate::progress::Done;
use crate::record::Latency;

/// Bytes of a ping.
const PING_BYTES: usize = 128;
/// How long all of them may take to open, while nobody else comes.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Where no part is counted.
const NOWHERE: usize = usize::MAX;

/// How many flows there are, and what they do.
#[derive(Clone, Copy)]
pub(super) struct FlowPlan {
    pub(super) count: u64,
    /// Pings a second of each.
    pub(super) pings: f64,
    /// Parts that round trips are told apart by.
    pub(super) parts: usize,
}

/// The flows, from their first ping on.
pub(super) struct Flows {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<FlowsTold, Fault>>,
}

/// What came of them.
pub(super) struct FlowsTold {
    /// The round trips of each part.
    pub(super) round_trips: Vec<Option<Latency>>,
    /// Flows that were lost.
    pub(super) lost: u64,
}

/// What the thread is told.
struct Shared {
    part: AtomicUsize,
    over: AtomicBool,
}

impl Flows {
    /// Opens them by this route, and returns once all are there.
    pub(super) fn start(route: Route, plan: FlowPlan) -> Result<Flows, Fault> {
        let shared = Arc::new(Shared { part: AtomicUsize::new(NOWHERE), over: AtomicBool::new(false) });
        let (told, (opened, all_open)) = (Arc::clone(&shared), channel());
        let mut fleet = Fleet::new(route).map_err(Fault::Local)?;
        let thread = thread::spawn(move || {
            // Else what is timed waits for the many sessions of the other thread.
            crate::sys::go_first();
            let mut pinging = Pinging::new(plan, told, opened);
            fleet.run(&mut pinging)?;
            if pinging.opened.is_some() {
                return Err(fleet.losses.first.unwrap_or(Fault::Stalled(OPEN_WITHIN)));
            }
            let round_trips = pinging.round_trips.iter().map(Latency::taken).collect();
            Ok(FlowsTold { round_trips, lost: fleet.losses.count })
        });
        let flows = Flows { shared, thread };
        match all_open.recv_timeout(OPEN_WITHIN) {
            Ok(()) => Ok(flows),
            Err(_) => Err(flows.finish().err().unwrap_or(Fault::Idle)),
        }
    }

    /// From now on round trips belong to this part, or to none.
    pub(super) fn enter(&self, part: Option<usize>) {
        self.shared.part.store(part.unwrap_or(NOWHERE), Ordering::Release);
    }

    /// Ends them.
    pub(super) fn finish(self) -> Result<FlowsTold, Fault> {
        self.shared.over.store(true, Ordering::Release);
        self.thread.join().expect("the flows do not panic")
    }
}

struct Pinging {
    plan: FlowPlan,
    shared: Arc<Shared>,
    /// Told once all flows are open, and then let go of.
    opened: Option<Sender<()>>,
    dialled: u64,
    open: u64,
    lost: u64,
    pattern: Pattern,
    inbox: [u8; PING_BYTES],
    round_trips: Vec<Latency>,
}

/// One flow.
#[derive(Default)]
struct Beat {
    /// When the present ping was due, or the next one is.
    due: Option<Instant>,
    sent: bool,
    received: usize,
}

impl Pinging {
    fn new(plan: FlowPlan, shared: Arc<Shared>, opened: Sender<()>) -> Pinging {
        Pinging {
            plan,
            shared,
            opened: Some(opened),
            dialled: 0,
            open: 0,
            lost: 0,
            pattern: Pattern::new(PING_BYTES),
            inbox: [0; PING_BYTES],
            round_trips: (0..plan.parts).map(|_| Latency::new()).collect(),
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.plan.pings)
    }

    /// Reads what is back; whether that is the whole ping.
    fn pong(&mut self, link: &mut Link<Beat>) -> Result<bool, Fault> {
        while link.state.received < PING_BYTES {
            let from = link.state.received;
            match link.read(&mut self.inbox[from..]) {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(count) => link.state.received += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(data_fault(error)),
            }
        }
        match self.inbox == *self.pattern.at(0, PING_BYTES) {
            true => Ok(true),
            false => Err(Fault::WrongBytes { position: 0 }),
        }
    }
}

impl Scenario for Pinging {
    type State = Beat;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        let wanted = self.dialled < self.plan.count;
        self.dialled += u64::from(wanted);
        wanted.then_some(now)
    }

    fn opened(&mut self, link: &mut Link<Beat>) -> Result<Next, Fault> {
        // Spread over an interval, so that they do not all ping at once.
        let due = Instant::now() + self.interval().mul_f64(self.open as f64 / self.plan.count as f64);
        link.state.due = Some(due);
        self.open += 1;
        if self.open == self.plan.count {
            self.opened.take().map(|opened| opened.send(()));
        }
        Ok(Next::Until(due))
    }

    fn ready(&mut self, link: &mut Link<Beat>, _ready: Ready) -> Result<Next, Fault> {
        loop {
            let due = link.state.due.expect("an open flow has a ping that is due");
            if !link.state.sent {
                if Instant::now() < due {
                    return Ok(Next::Until(due));
                }
                let ping = self.pattern.at(0, PING_BYTES).to_vec();
                // One that is answered before the next is sent fits into any buffer.
                link.write_all(&ping).map_err(data_fault)?;
                link.state.sent = true;
            }
            if !self.pong(link)? {
                return Ok(Next::Wait);
            }
            if let Some(here) = self.round_trips.get_mut(self.shared.part.load(Ordering::Acquire)) {
                here.record(due.elapsed());
            }
            link.state = Beat { due: Some(due + self.interval()), ..Beat::default() };
        }
    }

    fn closed(&mut self, _failed: bool) {
        self.lost += 1;
    }

    fn turn(&mut self, _now: Instant) -> Result<AfterTurn, Fault> {
        // One that is lost before all are open leaves nothing to measure.
        let in_vain = self.opened.is_some() && self.lost > 0;
        Ok(match in_vain || self.shared.over.load(Ordering::Acquire) {
            true => AfterTurn::Stop,
            false => AfterTurn::Continue,
        })
    }

    fn progress(&self) -> Option<Done> {
        None
    }
}
