//! The numbers that an operator looks at first.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::history::{PerSecond, bytes_of};
use super::limited::ShownLimit;
use super::rules::ShownRule;
use crate::observe::{
    Activity, Counted, Counters, Direction, Latencies, ProcessUse, Quantiles, TIMED, Timed, Totals,
};

/// The answer to a question for the numbers.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    pub(super) version: &'static str,
    pub(super) time: String,
    pub(super) uptime_s: f64,
    pub(super) state: &'static str,
    pub(super) ready: bool,
    pub(super) alive: bool,
    pub(super) not_ready: Option<&'static str>,
    pub(super) degraded: Option<String>,
    pub(super) relay: &'static str,
    pub(super) listeners: Vec<String>,
    pub(super) older: Vec<Value>,
    pub(super) log_level: &'static str,
    pub(super) workers: Vec<WorkerStats>,
    pub(super) counters: Map<String, Value>,
    pub(super) rules: Vec<ShownRule>,
    pub(super) limits: Vec<ShownLimit>,
    pub(super) egress: Vec<Value>,
    pub(super) parents: Vec<Value>,
    pub(super) rates: PerSecond,
    pub(super) latencies: Map<String, Value>,
    pub(super) process: Value,
}

/// One worker.
#[derive(Debug, Serialize)]
pub(super) struct WorkerStats {
    number: usize,
    active: u64,
    accepted: u64,
    sessions_max: usize,
    activity: &'static str,
    stalled: bool,
    bytes_up: u64,
    bytes_down: u64,
    turn_ms: Option<OwnPart>,
    delay_ms: Option<OwnPart>,
}

/// How long a worker's own part took of late, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct OwnPart {
    p50: f64,
    p99: f64,
    max: f64,
}

impl WorkerStats {
    /// Of what a worker counts, how many sessions it may have, what it does, whether it stands still, and what it timed in
    /// the last minute.
    pub(super) fn of(
        number: usize,
        counters: &Counters,
        sessions_max: usize,
        (activity, stalled): (Activity, bool),
        minute: &Latencies,
    ) -> WorkerStats {
        let totals = Totals::of([counters]);
        let own_part = |what| {
            let Quantiles { p50_ms: p50, p99_ms: p99, max_ms: max, .. } = minute.quantiles(what)?;
            Some(OwnPart { p50, p99, max })
        };
        WorkerStats {
            number,
            active: totals.active(),
            accepted: totals.count_of(Counted::Accepted),
            sessions_max,
            activity: activity.name(),
            stalled,
            bytes_up: bytes_of(&totals, Direction::Up),
            bytes_down: bytes_of(&totals, Direction::Down),
            turn_ms: own_part(Timed::Turn),
            delay_ms: own_part(Timed::Delay),
        }
    }
}

/// Every count under its name in the log.
pub(super) fn counters(totals: &Totals) -> Map<String, Value> {
    totals.all_fields().into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// What was timed, by its name; null where nothing was.
pub(super) fn latencies(minute: &Latencies) -> Map<String, Value> {
    let shown = |what| {
        minute.quantiles(what).map(|Quantiles { count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms }| {
            json!({
                "count": count, "p50_ms": p50_ms, "p90_ms": p90_ms, "p99_ms": p99_ms, "p999_ms": p999_ms,
                "max_ms": max_ms,
            })
        })
    };
    TIMED.iter().map(|entry| (entry.name.to_owned(), shown(entry.what).into())).collect()
}

/// What the process uses; null where the kernel does not say.
pub(super) fn process(used: Option<ProcessUse>) -> Value {
    let shown = |used: ProcessUse| {
        json!({
            "cpu_s": used.cpu_s, "rss_bytes": used.rss_bytes, "open_fds": used.open_fds, "max_fds": used.max_fds,
            "threads": used.threads,
        })
    };
    used.map(shown).into()
}
