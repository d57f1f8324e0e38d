//! The measured interval of a run: wall time, the server's cost, our own cost.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::fault::Fault;
use crate::procfs::{self, Cpu, Holdings};

/// What a server still does for sessions that its clients have ended (its own closes) belongs to them.
const SETTLE: Duration = Duration::from_millis(100);

/// Takes the figures at both ends of the interval.
pub(crate) struct Meter {
    pid: Option<i32>,
    start: Option<Mark>,
    stop: Option<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    server: Option<(Cpu, Holdings)>,
    own: Cpu,
}

/// The cost of a run, flat so that a script finds each figure by its name alone.
#[derive(Serialize, Default)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// The load generator's own CPU: it must stay well below the server's.
    load_cpu_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(flatten)]
    pub(crate) server: Option<ServerCost>,
}

/// What the process tree of `--pid` spent in the interval, and held at its ends.
#[derive(Serialize)]
pub(crate) struct ServerCost {
    pub(crate) server_cpu_seconds: f64,
    server_user_seconds: f64,
    server_system_seconds: f64,
    /// 0 to 1.
    server_user_share: f64,
    server_pss_before: u64,
    server_pss_after: u64,
    server_rss_before: u64,
    server_rss_after: u64,
    server_anonymous_before: u64,
    server_anonymous_after: u64,
    server_fds_before: u64,
    server_fds_after: u64,
}

impl Meter {
    pub(crate) fn new(pid: Option<i32>) -> Self {
        Self { pid, start: None, stop: None }
    }

    /// The interval begins.
    pub(crate) fn start(&mut self) -> Result<(), Fault> {
        self.start = Some(self.mark()?);
        Ok(())
    }

    /// The interval ends while traffic goes on.
    pub(crate) fn stop(&mut self) -> Result<(), Fault> {
        self.stop = Some(self.mark()?);
        Ok(())
    }

    /// The interval ends with the last session: wall time stops now, the server's cost a little later.
    pub(crate) fn stop_settled(&mut self) -> Result<(), Fault> {
        let at = Instant::now();
        if self.pid.is_some() {
            std::thread::sleep(SETTLE);
        }
        self.stop = Some(Mark { at, ..self.mark()? });
        Ok(())
    }

    fn mark(&self) -> Result<Mark, Fault> {
        let server = self.pid.map(|pid| {
            let gone = |error| Fault::ServerGone(pid, error);
            Ok((procfs::cpu(pid).map_err(gone)?, procfs::holdings(pid).map_err(gone)?))
        });
        let own = procfs::cpu(std::process::id() as i32).unwrap_or_default();
        Ok(Mark { at: Instant::now(), server: server.transpose()?, own })
    }

    /// What the interval cost; an interval that did not end counts as empty.
    pub(crate) fn cost(&self) -> Cost {
        let (Some(start), Some(stop)) = (self.start, self.stop) else { return Cost::default() };
        Cost {
            seconds: stop.at.duration_since(start.at).as_secs_f64(),
            load_cpu_seconds: stop.own.exact_s - start.own.exact_s,
            server: start.server.zip(stop.server).map(|(before, after)| between(before, after)),
        }
    }
}

impl ServerCost {
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

fn between(before: (Cpu, Holdings), after: (Cpu, Holdings)) -> ServerCost {
    let (from, held) = before;
    let (to, holds) = after;
    let (user, system) = (to.user_s - from.user_s, to.system_s - from.system_s);
    let (ticked, exact) = (user + system, to.exact_s - from.exact_s);
    // A thread or process that ended in the interval took its exact count with it.
    let total = if exact > ticked * 0.9 { exact } else { ticked };
    ServerCost {
        server_cpu_seconds: total,
        server_user_seconds: user,
        server_system_seconds: system,
        server_user_share: if ticked > 0.0 { user / ticked } else { 0.0 },
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
