//! The one line of JSON that a run leaves on standard output. Names are unique across the record, so
//! that a shell script can take a figure without a JSON parser; units stand last in each name.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

use crate::hgrm;
use crate::machine::Machine;
use crate::meter::Cost;
use crate::protocol::Protocol;

/// Three significant digits up to two minutes, in nanoseconds.
const LONGEST_NS: u64 = 120_000_000_000;

/// Durations of one kind; in the record it stands as its percentiles.
#[derive(Clone)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_max(LONGEST_NS, 3).expect("bounds that hdrhistogram accepts"))
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(LONGEST_NS));
    }

    /// A copy for the record; `None` when nothing was recorded.
    pub(crate) fn taken(&self) -> Option<Self> {
        (!self.0.is_empty()).then(|| self.clone())
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value below which this share lies, in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.quantile_us(quantile);
        Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: self.0.max() as f64 / 1e3,
        }
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.percentiles().serialize(serializer)
    }
}

/// A distribution in microseconds.
#[derive(Serialize)]
struct Percentiles {
    count: u64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    max_us: f64,
}

/// What became of the datagrams that were sent in the interval.
#[derive(Default, Serialize)]
pub(crate) struct Delivery {
    pub(crate) sent: u64,
    /// Not back within `--loss-after`.
    pub(crate) lost: u64,
    /// 0 to 1, of those sent.
    pub(crate) loss_share: f64,
    /// Of the lost, those that came back after all.
    pub(crate) late: u64,
    pub(crate) duplicates: u64,
    /// Came back after one that was sent later.
    pub(crate) reordered: u64,
    /// Of the lost, those that the kernel dropped at the load generator's own full sockets: not the
    /// server's fault.
    pub(crate) dropped_by_client: u64,
}

/// How many clients did not simply read their page.
#[derive(Default, Serialize)]
pub(crate) struct Fleeting {
    /// Stopped reading for a while.
    pub(crate) stalls: u64,
    /// Reset within the page.
    pub(crate) aborts: u64,
}

/// What the sessions of a soak did, and what came of it.
#[derive(Default, Serialize)]
pub(crate) struct Churned {
    pub(crate) exchanges: u64,
    pub(crate) pauses: u64,
    pub(crate) client_half_closes: u64,
    pub(crate) origin_half_closes: u64,
    pub(crate) client_resets: u64,
    pub(crate) client_kills: u64,
    pub(crate) origin_resets: u64,
    /// Closed or reset during the handshake.
    pub(crate) leaves: u64,
    /// Findings of bytes that the session never had: 0, or the run has failed.
    pub(crate) foreign_bytes: u64,
    /// Resets of either side that the other saw as an orderly end.
    pub(crate) resets_as_fins: u64,
}

/// What an attack did, and how the others fared: alone (`quiet`) and beside it.
#[derive(Default, Serialize)]
pub(crate) struct UnderAttack {
    pub(crate) attack: &'static str,
    pub(crate) quiet_sessions: u64,
    pub(crate) quiet_failures: u64,
    /// From `connect`, or from when that was due, to the success reply, of sessions that did not fail.
    pub(crate) quiet_p50_us: Option<f64>,
    pub(crate) quiet_p99_us: Option<f64>,
    pub(crate) beside_sessions: u64,
    pub(crate) beside_failures: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) beside_p50_us: Option<f64>,
    pub(crate) beside_p99_us: Option<f64>,
    /// Beside the attack to quiet.
    pub(crate) p50_ratio: Option<f64>,
    pub(crate) p99_ratio: Option<f64>,
    #[serde(flatten)]
    pub(crate) attempts: Attempts,
    /// The most that the server held at a time while it was attacked (with `--pid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_fds_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_rss_max: Option<u64>,
    /// Questions that the load generator's name server got, and answered, in both parts of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) names_asked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) names_answered: Option<u64>,
}

/// What became of the connections of an attack.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Attempts {
    pub(crate) attempts: u64,
    pub(crate) attempts_per_second: f64,
    /// Got the whole answer that they waited for.
    pub(crate) attempts_answered: u64,
    /// The server closed or reset them before.
    pub(crate) attempts_cut: u64,
    /// Left unanswered once their time was over.
    pub(crate) attempts_left: u64,
    /// Of the attempts, those that tried a right password among wrong ones, and those of them that learnt so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probes_answered: Option<u64>,
    /// Attempts a second, as far as one with the right password would have learnt so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) guesses_per_second: Option<f64>,
}

/// How a server fares under more sessions than it can serve.
#[derive(Default, Serialize)]
pub(crate) struct Overload {
    /// Sessions a second of a closed loop.
    pub(crate) peak_per_second: f64,
    /// How long clients waited before they left.
    pub(crate) give_up_seconds: f64,
    /// Of sessions at half the peak, before any overload.
    pub(crate) quiet_p99_us: Option<f64>,
    /// Flows that stood before and did not to the end.
    pub(crate) flows_lost: u64,
    pub(crate) parts: Vec<OverloadPart>,
}

/// Sessions at one multiple of the peak.
#[derive(Default, Serialize)]
pub(crate) struct OverloadPart {
    pub(crate) multiple: f64,
    /// Sessions a second that came.
    pub(crate) rate: f64,
    /// Sessions that were due in the measured interval.
    pub(crate) due: u64,
    /// Sessions that ended in it as they should, before their clients left.
    pub(crate) in_time: u64,
    /// Of those due, those whose clients left, and those that the server ended.
    pub(crate) late: u64,
    pub(crate) cut: u64,
    pub(crate) goodput_per_second: f64,
    /// Of the peak; below it, of what came.
    pub(crate) goodput_share: f64,
    /// From when a session was due to its end, of those that were served.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) late_starts: u64,
    /// Of flows that stood before: from when a ping was due until it was back.
    pub(crate) echo_round_trips: u64,
    pub(crate) echo_p50_us: Option<f64>,
    pub(crate) echo_p99_us: Option<f64>,
    /// To the same at the highest multiple below the peak.
    pub(crate) echo_p99_ratio: Option<f64>,
    /// Of sessions at half the peak, from two seconds behind the overload on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_failed: Option<u64>,
}

/// One run. A figure that the scenario does not have is left out.
#[derive(Default, Serialize)]
pub(crate) struct Record {
    pub(crate) scenario: &'static str,
    /// The server's address, or `none` for a direct run.
    pub(crate) server: String,
    pub(crate) target: String,
    /// How sessions introduced themselves, where the run could choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    /// The name that stood for the target's address in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_name: Option<String>,
    /// Sessions in flight, flows or connections held.
    pub(crate) connections: u64,
    pub(crate) errors: u64,
    /// Flows or connections on which nothing moved in the measured interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent_connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_error: Option<String>,
    #[serde(flatten)]
    pub(crate) cost: Cost,
    /// With it the same clients do the same again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_session: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_request: Option<f64>,
    /// Connections that the requests took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections_opened: Option<u64>,
    /// Requests that met a kept connection which the server had just closed, and were made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crossed_closes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_seconds_per_gb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round_trips: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round_trips_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_round_trip: Option<f64>,
    /// Datagrams that were echoed within the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) datagrams: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) datagrams_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_datagram: Option<f64>,
    #[serde(flatten)]
    pub(crate) fleeting: Option<Fleeting>,
    #[serde(flatten)]
    pub(crate) churned: Option<Churned>,
    #[serde(flatten)]
    pub(crate) delivery: Option<Delivery>,
    #[serde(flatten)]
    pub(crate) under_attack: Option<UnderAttack>,
    #[serde(flatten)]
    pub(crate) overload: Option<Overload>,
    /// Traced runs: system calls of the server for each session, those that wait for readiness apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls_per_session: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_per_session: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls_per_round_trip: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_per_round_trip: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pss_bytes_per_session: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_bytes_per_session: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fds_per_session: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel_bytes_per_session: Option<f64>,
    /// `cgroup`: the server's own. `machine`: everybody's, less what direct connections take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel_memory_from: Option<&'static str>,
    /// Why it is not from a cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel_memory_note: Option<String>,
    /// Open loop: sessions a second that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// Open loop: sessions that started more than 1 ms after they were due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late_starts: Option<u64>,
    /// Open loop: from when a session was due to its `connect`; it is part of the two below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start_delay: Option<Latency>,
    /// From `connect`, or from when that was due, to the success reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handshake: Option<Latency>,
    /// From the same moment to the first byte of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_to_first_byte: Option<Latency>,
    /// From the same moment to the last byte of the answer, of sessions that neither stall nor abort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Latency>,
    /// From the request, or the `connect` before the first of a connection, to the last byte of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round_trip: Option<Latency>,
    /// Traced runs: each call by name, all and failed, per session, request or round trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<BTreeMap<String, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed_calls: Option<BTreeMap<String, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<Machine>,
}

impl Record {
    /// The server's CPU seconds, where they were measured.
    fn cpu_seconds(&self) -> Option<f64> {
        self.cost.server.as_ref()?.cpu_seconds()
    }

    /// Writes each distribution to `PREFIX.NAME.hgrm`.
    pub(crate) fn save_distributions(&self, prefix: &Path) -> io::Result<()> {
        let named = [
            ("start-delay", &self.start_delay),
            ("handshake", &self.handshake),
            ("time-to-first-byte", &self.time_to_first_byte),
            ("session", &self.session),
            ("request", &self.request),
            ("round-trip", &self.round_trip),
        ];
        for (name, latency) in named {
            if let Some(Latency(histogram)) = latency {
                hgrm::save(prefix, name, histogram)?;
            }
        }
        Ok(())
    }

    /// Adds sessions, their rate and their cost.
    pub(crate) fn with_sessions(mut self, count: u64) -> Self {
        self.sessions = Some(count);
        self.sessions_per_second = ratio(count as f64, self.cost.seconds);
        self.cpu_us_per_session = self.cpu_seconds().and_then(|cpu| ratio(cpu * 1e6, count as f64));
        (self.calls_per_session, self.waits_per_session) = self.divide_calls(count);
        self
    }

    /// Adds bytes, their rate and their cost per 10^9.
    pub(crate) fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self.bytes_per_second = ratio(bytes as f64, self.cost.seconds);
        self.cpu_seconds_per_gb = self.cpu_seconds().and_then(|cpu| ratio(cpu, bytes as f64 / 1e9));
        self
    }

    /// Adds requests, their rate and their cost.
    pub(crate) fn with_requests(mut self, count: u64) -> Self {
        self.requests = Some(count);
        self.requests_per_second = ratio(count as f64, self.cost.seconds);
        self.cpu_us_per_request = self.cpu_seconds().and_then(|cpu| ratio(cpu * 1e6, count as f64));
        (self.calls_per_request, self.waits_per_request) = self.divide_calls(count);
        self
    }

    /// Adds round trips, their rate and their cost.
    pub(crate) fn with_round_trips(mut self, count: u64) -> Self {
        self.round_trips = Some(count);
        self.round_trips_per_second = ratio(count as f64, self.cost.seconds);
        self.cpu_us_per_round_trip = self.cpu_seconds().and_then(|cpu| ratio(cpu * 1e6, count as f64));
        (self.calls_per_round_trip, self.waits_per_round_trip) = self.divide_calls(count);
        self
    }

    /// Adds echoed datagrams, their rate and their cost.
    pub(crate) fn with_datagrams(mut self, count: u64) -> Self {
        self.datagrams = Some(count);
        self.datagrams_per_second = ratio(count as f64, self.cost.seconds);
        self.cpu_us_per_datagram = self.cpu_seconds().and_then(|cpu| ratio(cpu * 1e6, count as f64));
        self
    }

    /// Work and waits per session, request or round trip; fills in the calls by name.
    fn divide_calls(&mut self, count: u64) -> (Option<f64>, Option<f64>) {
        let Some(calls) = self.cost.calls.as_ref().filter(|_| count > 0) else { return (None, None) };
        let count = count as f64;
        self.calls = Some(calls.each(count));
        self.failed_calls = Some(calls.failed(count));
        (Some(calls.work() as f64 / count), Some(calls.waits() as f64 / count))
    }

    /// Adds what `count` held sessions take of the server, and of the kernel beyond `floor_bytes`.
    pub(crate) fn with_held(mut self, count: u64, floor_bytes: i64) -> Self {
        if let Some(growth) = &self.cost.kernel {
            self.kernel_bytes_per_session = ratio((growth.bytes - floor_bytes) as f64, count as f64);
            self.kernel_memory_from = Some(growth.from);
            self.kernel_memory_note.clone_from(&growth.why);
        }
        if let Some(server) = &self.cost.server {
            let per = |difference: i64| ratio(difference as f64, count as f64);
            self.pss_bytes_per_session = per(server.pss_growth());
            self.rss_bytes_per_session = per(server.rss_growth());
            self.fds_per_session = per(server.fd_growth());
        }
        self
    }
}

/// `None` instead of a division by nothing.
pub(crate) fn ratio(of: f64, per: f64) -> Option<f64> {
    (per > 0.0).then(|| of / per)
}
