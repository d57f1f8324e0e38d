//! The measured interval of a run: wall time, the server's cost, that of the origin and our own.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::fault::Fault;
use crate::kernel_memory::{Growth, MemoryGauge};
use crate::procfs::{CpuMark, Holdings, Tree};
use crate::strace::{Calls, Tracer};

/// What a server still does for sessions that its clients have ended (its own closes) belongs to them.
const SETTLE: Duration = Duration::from_millis(100);
/// How long a server that is stopped at each call is waited for.
const TRACED_SETTLE: Duration = Duration::from_millis(500);

/// Takes the figures at both ends of the interval.
#[derive(Default)]
pub(crate) struct Meter {
    server: Option<Tree>,
    origin: Option<Tree>,
    traced: bool,
    tracer: Option<Tracer>,
    calls: Option<Calls>,
    scale: Option<MemoryGauge>,
    growth: Option<Growth>,
    start: Option<Mark>,
    stop: Option<Mark>,
}

#[derive(Clone)]
struct Mark {
    at: Instant,
    server: Option<(CpuMark, Holdings)>,
    origin: Option<CpuMark>,
    own_s: f64,
    kernel_bytes: Option<u64>,
}

/// The cost of a run, flat so that a script finds each figure by its name alone.
#[derive(Default, Serialize)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// The load generator's own CPU: it must stay well below the server's.
    load_cpu_seconds: f64,
    /// The origin's, where its process is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_cpu_seconds: Option<f64>,
    #[serde(flatten)]
    pub(crate) server: Option<ServerCost>,
    /// In their own fields of the record, divided by what the run did.
    #[serde(skip)]
    pub(crate) calls: Option<Calls>,
    #[serde(skip)]
    pub(crate) kernel: Option<Growth>,
}

/// What the process tree of `--pid` spent in the interval, and held at its ends.
#[derive(Serialize)]
pub(crate) struct ServerCost {
    /// Left out of a traced run: tracing distorts it.
    #[serde(flatten)]
    cpu: Option<ServerCpu>,
    server_pss_before: u64,
    server_pss_after: u64,
    server_rss_before: u64,
    server_rss_after: u64,
    server_anonymous_before: u64,
    server_anonymous_after: u64,
    server_fds_before: u64,
    server_fds_after: u64,
}

#[derive(Serialize)]
struct ServerCpu {
    server_cpu_seconds: f64,
    server_user_seconds: f64,
    server_system_seconds: f64,
    /// 0 to 1.
    server_user_share: f64,
}

/// The ends of the interval.
#[derive(Clone, Copy)]
enum Edge {
    Start,
    Stop,
}

impl Meter {
    /// A meter for the server whose process tree begins at `pid`.
    pub(crate) fn new(pid: Option<i32>) -> Self {
        Self { server: pid.map(Tree::of), ..Self::default() }
    }

    /// Measures the origin as well.
    pub(crate) fn with_origin(self, pid: Option<i32>) -> Self {
        Self { origin: pid.map(Tree::of), ..self }
    }

    /// Counts the server's system calls in the interval, where `traced`.
    pub(crate) fn tracing(self, traced: bool) -> Self {
        Self { traced, ..self }
    }

    /// Weighs kernel memory as well; the scale is given up at the end of the interval.
    pub(crate) fn weighing(self, scale: Option<MemoryGauge>) -> Self {
        Self { scale, ..self }
    }

    /// The interval begins.
    pub(crate) fn start(&mut self) -> Result<(), Fault> {
        if let Some(tree) = self.server.as_mut().filter(|_| self.traced) {
            let pids = tree.pids().map_err(|error| Fault::ServerGone(tree.root(), error))?;
            self.tracer = Some(Tracer::attach(&pids).map_err(Fault::Tracing)?);
        }
        self.start = Some(self.mark(Edge::Start)?);
        Ok(())
    }

    /// The interval ends while traffic goes on.
    pub(crate) fn stop(&mut self) -> Result<(), Fault> {
        self.stop_at(None)
    }

    /// The interval ends with the last session: wall time stops now, the server's cost a little later.
    pub(crate) fn stop_settled(&mut self) -> Result<(), Fault> {
        let at = Instant::now();
        if self.server.is_some() {
            std::thread::sleep(if self.traced { TRACED_SETTLE } else { SETTLE });
        }
        self.stop_at(Some(at))
    }

    fn stop_at(&mut self, at: Option<Instant>) -> Result<(), Fault> {
        let mark = self.mark(Edge::Stop)?;
        if let Some(tracer) = self.tracer.take() {
            self.calls = Some(tracer.finish().map_err(Fault::Tracing)?);
        }
        // Taking the scale also sends the server back to its former cgroup.
        let before = self.start.as_ref().and_then(|start| start.kernel_bytes);
        if let (Some(scale), Some(before), Some(after)) = (self.scale.take(), before, mark.kernel_bytes) {
            self.growth = Some(scale.growth(before, after));
        }
        self.stop = Some(Mark { at: at.unwrap_or(mark.at), ..mark });
        Ok(())
    }

    /// Reading what a large tree holds takes milliseconds, and costs the server some: it stays outside of the
    /// interval.
    fn mark(&mut self, edge: Edge) -> Result<Mark, Fault> {
        match edge {
            Edge::Start => {
                let (holdings, kernel_bytes) = self.held()?;
                let (cpu, origin) = self.spent()?;
                Ok(Mark {
                    server: cpu.zip(holdings),
                    origin,
                    kernel_bytes,
                    own_s: own_cpu(),
                    at: Instant::now(),
                })
            }
            Edge::Stop => {
                let (at, own_s) = (Instant::now(), own_cpu());
                let (cpu, origin) = self.spent()?;
                let (holdings, kernel_bytes) = self.held()?;
                Ok(Mark { server: cpu.zip(holdings), origin, kernel_bytes, own_s, at })
            }
        }
    }

    /// CPU of server and origin so far.
    fn spent(&mut self) -> Result<(Option<CpuMark>, Option<CpuMark>), Fault> {
        let cpu = |tree: &mut Tree| tree.cpu().map_err(|error| Fault::ServerGone(tree.root(), error));
        Ok((self.server.as_mut().map(cpu).transpose()?, self.origin.as_mut().map(cpu).transpose()?))
    }

    /// What the server holds, and its memory in the kernel.
    fn held(&mut self) -> Result<(Option<Holdings>, Option<u64>), Fault> {
        let holdings =
            |tree: &mut Tree| tree.holdings().map_err(|error| Fault::ServerGone(tree.root(), error));
        let held = self.server.as_mut().map(holdings).transpose()?;
        Ok((held, self.scale.as_ref().map(MemoryGauge::bytes).transpose().map_err(Fault::KernelMemory)?))
    }

    /// What the interval cost; an interval that did not end counts as empty.
    pub(crate) fn cost(&self) -> Cost {
        let (Some(start), Some(stop)) = (&self.start, &self.stop) else { return Cost::default() };
        let server = start.server.as_ref().zip(stop.server.as_ref());
        let origin = start.origin.as_ref().zip(stop.origin.as_ref());
        Cost {
            seconds: stop.at.duration_since(start.at).as_secs_f64(),
            load_cpu_seconds: stop.own_s - start.own_s,
            origin_cpu_seconds: origin.map(|(before, after)| after.since(before).total_s),
            server: server.map(|(before, after)| between(before, after, self.traced)),
            calls: self.calls.clone(),
            kernel: self.growth.clone(),
        }
    }
}

impl ServerCost {
    /// CPU seconds of the interval, where they mean something.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        self.cpu.as_ref().map(|cpu| cpu.server_cpu_seconds)
    }

    /// Bytes of proportional set size gained in the interval.
    pub(crate) fn pss_growth(&self) -> i64 {
        self.server_pss_after as i64 - self.server_pss_before as i64
    }

    /// Bytes of resident set size gained in the interval.
    pub(crate) fn rss_growth(&self) -> i64 {
        self.server_rss_after as i64 - self.server_rss_before as i64
    }

    /// Descriptors gained in the interval.
    pub(crate) fn fd_growth(&self) -> i64 {
        self.server_fds_after as i64 - self.server_fds_before as i64
    }
}

fn between(before: &(CpuMark, Holdings), after: &(CpuMark, Holdings), traced: bool) -> ServerCost {
    let ((from, held), (to, holds)) = (before, after);
    let cpu = to.since(from);
    let ticked = cpu.user_s + cpu.system_s;
    let cpu = ServerCpu {
        server_cpu_seconds: cpu.total_s,
        server_user_seconds: cpu.user_s,
        server_system_seconds: cpu.system_s,
        server_user_share: if ticked > 0.0 { cpu.user_s / ticked } else { 0.0 },
    };
    ServerCost {
        cpu: (!traced).then_some(cpu),
        server_pss_before: held.pss_bytes,
        server_pss_after: holds.pss_bytes,
        server_rss_before: held.rss_bytes,
        server_rss_after: holds.rss_bytes,
        server_anonymous_before: held.anonymous_bytes,
        server_anonymous_after: holds.anonymous_bytes,
        server_fds_before: held.fds,
        server_fds_after: holds.fds,
    }
}

/// CPU seconds of this process, threads that have ended included, its children (strace) not.
fn own_cpu() -> f64 {
    // Linux has had this clock since 2.6.12.
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    time.map_or(0.0, |time| Duration::from(time).as_secs_f64())
}
