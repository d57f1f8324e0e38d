//! What Prometheus scrapes: everything that is counted and timed, in its text format, by its project's own encoder.
//!
//! Counts are sums over the workers. Only what tells whether work is spread evenly is told of each worker, under names of
//! its own: a label on everything would be so many times the series, and nobody asks which worker refused a name.

mod pools;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType as Kind;
use prometheus_client::registry::Registry;

use super::counted::{Metric, MetricType};
use super::counters::{Counters, Totals};
use super::egress_told::PoolTold;
use super::latencies::{Latencies, TIMED, Timed, Timing};
use super::limits_told::LimitTold;
use super::listeners_told::ListenerTold;
use super::parents_told::ParentTold;
use super::rules_told::RuleTold;
use crate::observe::Counted;
use crate::policy::parents::ParentServerState;
use crate::state::StoreTold;

/// The type of what [`exposition`] writes: version 0.0.4 of the text format, which every Prometheus reads.
pub const EXPOSITION_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Everything that is told at one moment.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The relay engine that is configured.
    pub relay: &'static str,
    /// What was counted, over all workers.
    pub totals: Totals,
    /// What was timed, over all workers.
    pub latencies: Latencies,
    /// What each worker has done, in their order.
    pub workers: Vec<WorkerObserved>,
    /// What each rule decided.
    pub rules: Vec<RuleTold>,
    /// What of each limit was reached.
    pub limits: Vec<LimitTold>,
    /// What was spoken at each listener.
    pub listeners: Vec<ListenerTold>,
    /// How each pool of addresses stands.
    pub pools: Vec<PoolTold>,
    /// What came of each parent.
    pub parents: Vec<ParentTold>,
    /// How the store of quotas fares, where there is one.
    pub quota_store: Option<StoreTold>,
    /// What the process uses, where that can be known.
    pub process: Option<ProcessUse>,
}

/// What tells whether work is spread evenly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerObserved {
    /// Connections that it has now.
    pub active: u64,
    /// Connections that it accepted.
    pub accepted: u64,
    /// How long all of its turns took, in seconds.
    pub busy_s: f64,
}

/// What a process uses and may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUse {
    /// CPU time of all of its threads, in seconds.
    pub cpu_s: f64,
    /// Memory that it has in RAM, in bytes.
    pub rss_bytes: u64,
    /// Addresses that it has mapped, in bytes.
    pub virtual_bytes: u64,
    /// Descriptors that are open.
    pub open_fds: u64,
    /// Descriptors that may be open.
    pub max_fds: u64,
    /// Threads that run.
    pub threads: u64,
    /// When it began, in seconds since 1970.
    pub start_s: f64,
}

impl WorkerObserved {
    /// What a worker has counted and timed.
    pub fn of(counters: &Counters, latencies: &Latencies) -> WorkerObserved {
        let totals = Totals::of([counters]);
        WorkerObserved {
            active: totals.active(),
            accepted: totals.count_of(Counted::Accepted),
            busy_s: latencies.sum(Timed::Turn).as_secs_f64(),
        }
    }
}

/// The text of one scrape.
pub fn exposition(observed: Observed) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessCollector(observed.process)));
    registry.sub_registry_with_prefix("outflow").register_collector(Box::new(observed));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes everything");
    text
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let about = "The version of this relay and the engine that is configured.";
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("relay", self.relay)];
        encoder.encode_descriptor("build", about, None, Kind::Info)?.encode_info(&labels)?;
        let about = "Workers that relay.";
        encoder
            .encode_descriptor("workers", about, None, Kind::Gauge)?
            .encode_gauge(&count(&self.workers))?;
        for (metric, values) in self.totals.metrics() {
            counted(&mut encoder, metric, values)?;
        }
        ruled(&mut encoder, &self.rules)?;
        limited(&mut encoder, &self.limits)?;
        spoken(&mut encoder, &self.listeners)?;
        pools::pools(&mut encoder, &self.pools)?;
        led(&mut encoder, &self.parents)?;
        self.quota_store.as_ref().map_or(Ok(()), |told| stored(&mut encoder, told))?;
        for entry in TIMED {
            timed(&mut encoder, entry, &self.latencies)?;
        }
        let workers = || self.workers.iter();
        let about = "Connections that are open now, by worker.";
        by_worker(&mut encoder, "worker_connections_active", about, workers().map(|worker| worker.active))?;
        let about = "Connections accepted, by worker.";
        let accepted = workers().map(|worker| worker.accepted);
        by_worker_total(&mut encoder, "worker_connections_accepted", about, accepted)?;
        let about = "How long all turns of a worker took: of a second, the part in which it did not wait.";
        by_worker_total(&mut encoder, "worker_busy_seconds", about, workers().map(|worker| worker.busy_s))
    }
}

fn count<T>(list: &[T]) -> u64 {
    list.len() as u64
}

/// A metric of the list of what is counted, with the value of each combination of its labels: zeros, too, or a rate would
/// not see the first one.
fn counted(encoder: &mut DescriptorEncoder<'_>, metric: &Metric, values: &[u64]) -> fmt::Result {
    // The encoder adds the ending of counters itself.
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    let kind = match metric.kind {
        MetricType::Counter => Kind::Counter,
        MetricType::Gauge => Kind::Gauge,
    };
    let mut family = encoder.encode_descriptor(name, metric.help, None, kind)?;
    for (within, value) in values.iter().enumerate() {
        let labels = metric.labels_of(within);
        let mut one = family.encode_family(&labels)?;
        match metric.kind {
            MetricType::Counter => one.encode_counter::<NoLabelSet, _, u64>(value, None)?,
            MetricType::Gauge => one.encode_gauge(value)?,
        }
    }
    Ok(())
}

/// How the store of quotas fares. Where there is none nothing is told: 0 would be a store that is broken.
fn stored(encoder: &mut DescriptorEncoder<'_>, told: &StoreTold) -> fmt::Result {
    let about = "Whether what is used of quotas is kept, and nothing of it was lost.";
    let up = u64::from(told.trouble.is_none());
    encoder.encode_descriptor("quota_store_up", about, None, Kind::Gauge)?.encode_gauge(&up)?;
    let about = "For how long something that was used of a quota has been in memory alone.";
    let behind = told.behind.as_secs_f64();
    encoder
        .encode_descriptor("quota_store_behind_seconds", about, None, Kind::Gauge)?
        .encode_gauge(&behind)?;
    let about = "Uses of quotas that are in the store.";
    encoder.encode_descriptor("quota_store_uses", about, None, Kind::Gauge)?.encode_gauge(&told.rows)?;
    let about = "Times that the store of quotas could not be opened, read or written.";
    let mut errors = encoder.encode_descriptor("quota_store_errors", about, None, Kind::Counter)?;
    errors.encode_counter::<NoLabelSet, _, u64>(&told.errors, None)
}

fn timed(encoder: &mut DescriptorEncoder<'_>, entry: &Timing, latencies: &Latencies) -> fmt::Result {
    let mut histogram = encoder.encode_descriptor(entry.metric, entry.help, None, Kind::Histogram)?;
    let (sum, count) = (latencies.sum(entry.what).as_secs_f64(), latencies.count(entry.what));
    histogram.encode_histogram::<NoLabelSet>(sum, count, &latencies.buckets(entry.what), None)
}

/// What each rule decided: the verdict that it gives now, though it has given none so far, and others that it gave.
fn ruled(encoder: &mut DescriptorEncoder<'_>, rules: &[RuleTold]) -> fmt::Result {
    let mut family = encoder.encode_descriptor("rule_hits", RULE_HITS, None, Kind::Counter)?;
    for rule in rules {
        for (verdict, hits) in rule.verdicts() {
            let labels = [("rule", &*rule.name), ("verdict", verdict.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&hits, None)?;
        }
    }
    Ok(())
}

const RULE_HITS: &str =
    "What each rule decided, or would have where it only reports: requests, and targets of associations.";

/// What of each limit was reached: all that it has a bound for, though it was not so far, and what it had one for.
fn limited(encoder: &mut DescriptorEncoder<'_>, limits: &[LimitTold]) -> fmt::Result {
    let mut family = encoder.encode_descriptor("limit_reached", LIMIT_REACHED, None, Kind::Counter)?;
    for limit in limits {
        for (kind, count) in limit.kinds() {
            let labels = [("limit", &*limit.name), ("kind", kind.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

const LIMIT_REACHED: &str = "How often what of each limit was reached: sessions refused, sessions held back by a rate of bytes, \
                             datagrams dropped.";

/// What was spoken at each listener: what may be, though it was not so far, and what was all the same.
fn spoken(encoder: &mut DescriptorEncoder<'_>, listeners: &[ListenerTold]) -> fmt::Result {
    let mut family = encoder.encode_descriptor("sessions", SESSIONS, None, Kind::Counter)?;
    for listener in listeners {
        for (protocol, count) in listener.protocols() {
            let labels = [("listener", &*listener.says.name), ("protocol", protocol)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

const SESSIONS: &str =
    "Sessions whose handshake is over, by the listener that they came by and what was spoken there.";

/// What came of each parent. Where there is none there is no line of them.
fn led(encoder: &mut DescriptorEncoder<'_>, parents: &[ParentTold]) -> fmt::Result {
    if parents.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor("parent_sessions", PARENT_SESSIONS, None, Kind::Counter)?;
    for parent in parents {
        let labels = [("parent", &*parent.name)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&parent.counts.sessions, None)?;
    }
    let mut family = encoder.encode_descriptor("parent_warm_sessions", PARENT_WARM, None, Kind::Counter)?;
    for parent in parents {
        let labels = [("parent", &*parent.name)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&parent.counts.warm, None)?;
    }
    let mut family =
        encoder.encode_descriptor("parent_direct_sessions", PARENT_DIRECT, None, Kind::Counter)?;
    for parent in parents {
        let labels = [("parent", &*parent.name)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&parent.counts.direct, None)?;
    }
    let mut family = encoder.encode_descriptor("parent_failures", PARENT_FAILURES, None, Kind::Counter)?;
    for parent in parents {
        for (fault, count) in parent.faults() {
            let labels = [("parent", &*parent.name), ("cause", fault.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    let mut family = encoder.encode_descriptor("parent_up", PARENT_UP, None, Kind::Gauge)?;
    for parent in parents {
        family.encode_family(&[("parent", &*parent.name)])?.encode_gauge(&parent.up())?;
    }
    let mut family = encoder.encode_descriptor("parent_servers", PARENT_SERVERS, None, Kind::Gauge)?;
    for parent in parents {
        for (state, count) in ParentServerState::NAMES.iter().zip(&parent.states()) {
            family.encode_family(&[("parent", &*parent.name), ("state", state)])?.encode_gauge(count)?;
        }
    }
    let mut family = encoder.encode_descriptor("parent_sessions_active", PARENT_ACTIVE, None, Kind::Gauge)?;
    for parent in parents {
        family.encode_family(&[("parent", &*parent.name)])?.encode_gauge(&parent.active())?;
    }
    Ok(())
}

const PARENT_SESSIONS: &str =
    "Sessions that were led to their targets, by the parent that they went through.";
const PARENT_WARM: &str = "Those of them for which an idle connection to a server of the parent was there.";
const PARENT_DIRECT: &str =
    "Sessions that went to their targets without the parent, for none of its servers led them on.";
const PARENT_FAILURES: &str =
    "Tries of a server of a parent that came to nothing by its own fault, by cause.";
const PARENT_UP: &str = "Servers of a parent that sessions are not kept from.";
const PARENT_SERVERS: &str = "Servers of a parent, by how they stand.";
const PARENT_ACTIVE: &str = "Sessions that go through a parent now.";

fn by_worker<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    about: &str,
    values: impl Iterator<Item = V>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, about, None, Kind::Gauge)?;
    for (worker, value) in values.enumerate() {
        family.encode_family(&[("worker", worker)])?.encode_gauge(&value)?;
    }
    Ok(())
}

fn by_worker_total<V: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    about: &str,
    values: impl Iterator<Item = V>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, about, None, Kind::Counter)?;
    for (worker, value) in values.enumerate() {
        let labels = [("worker", worker)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

/// The metrics of a process as every client library of Prometheus names them: without the prefix.
#[derive(Debug)]
struct ProcessCollector(Option<ProcessUse>);

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(used) = self.0 else { return Ok(()) };
        let about = "Total user and system CPU time spent in seconds.";
        let mut cpu = encoder.encode_descriptor("process_cpu_seconds", about, None, Kind::Counter)?;
        cpu.encode_counter::<NoLabelSet, _, u64>(&used.cpu_s, None)?;
        for (name, about, value) in [
            ("process_resident_memory_bytes", "Resident memory size in bytes.", used.rss_bytes),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", used.virtual_bytes),
            ("process_open_fds", "Number of open file descriptors.", used.open_fds),
            ("process_max_fds", "Maximum number of open file descriptors.", used.max_fds),
        ] {
            encoder.encode_descriptor(name, about, None, Kind::Gauge)?.encode_gauge(&value)?;
        }
        let about = "Start time of the process since unix epoch in seconds.";
        let mut start = encoder.encode_descriptor("process_start_time_seconds", about, None, Kind::Gauge)?;
        start.encode_gauge(&used.start_s)
    }
}

#[cfg(test)]
mod tests;
