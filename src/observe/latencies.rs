//! How long things took: one set of distributions a worker, and what is made of them: quantiles, buckets, differences.

mod mark;

pub use mark::LatencyMark;

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits;

/// One entry of the list of what is timed.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// What it is.
    pub what: Timed,
    /// Its name in the log and in the API.
    pub name: &'static str,
    /// Its metric's name, without the prefix of the program.
    pub metric: &'static str,
    /// What it times, in a sentence.
    pub help: &'static str,
    /// The upper bounds of its metric's buckets, in microseconds.
    pub bounds_us: &'static [u64],
}

/// Makes of the one list of what is timed the enum [`Timed`] and [`TIMED`].
macro_rules! timed {
    ($($(#[doc = $help:literal])+ $name:ident = $log_name:literal, $bounds:expr;)+) => {
        /// What is timed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Timed {
            $($(#[doc = $help])+ $name,)+
        }

        /// Every entry, in the order of the log's line.
        pub const TIMED: &[Timing] = &[$(
            Timing {
                what: Timed::$name,
                name: $log_name,
                metric: concat!($log_name, "_seconds"),
                help: concat!($($help),+).trim_ascii(),
                bounds_us: $bounds,
            },
        )+];
    };
}

timed! {
    /// From accept to the end of the request.
    Handshake = "handshake", PHASE_BOUNDS_US;
    /// From credentials, or the first token of a security context, to the answer.
    Auth = "auth", PHASE_BOUNDS_US;
    /// From name to addresses.
    Dns = "dns", PHASE_BOUNDS_US;
    /// From the first SYN to connected.
    Connect = "connect", PHASE_BOUNDS_US;
    /// From connected to the target's first byte.
    FirstByte = "first_byte", PHASE_BOUNDS_US;
    /// From accept to close.
    Session = "session", SESSION_BOUNDS_US;
    /// One turn of a worker's loop, from the events to the next wait for some.
    Turn = "turn", LOOP_BOUNDS_US;
    /// The longest that a ready socket may have waited for its service in a turn.
    Delay = "delay", LOOP_BOUNDS_US;
}

// The bounds of buckets are part of the interface: who moves one breaks the history of every graph over it.

/// Phases of a session: from what a fast disk's cache answers to the longest usual time limit.
const PHASE_BOUNDS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
/// Whole sessions, up to a day.
const SESSION_BOUNDS_US: &[u64] = &[
    10_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    14_400_000_000,
    86_400_000_000,
];
/// The worker's own part: turns of some microseconds, up to what the watchdog calls a stall.
const LOOP_BOUNDS_US: &[u64] = &[
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000,
];

/// One distribution in microseconds, exact to two digits, and its exact sum.
#[derive(Clone, Debug)]
struct Distribution {
    histogram: Histogram<u64>,
    sum_us: u64,
}

/// Distributions by what is timed.
#[derive(Clone, Debug)]
pub struct Latencies([Distribution; TIMED.len()]);

/// A distribution in a few numbers, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiles {
    /// How many durations there are.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 90 of 100 took no longer.
    pub p90_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// 999 of 1000 took no longer.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Default for Distribution {
    fn default() -> Distribution {
        let histogram = Histogram::new_with_max(limits::LATENCY_MAX_US, 2);
        Distribution { histogram: histogram.expect("the bounds of a histogram are constants"), sum_us: 0 }
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(std::array::from_fn(|_| Distribution::default()))
    }
}

impl Latencies {
    /// Counts one duration; what lies beyond the largest one counts as that.
    #[inline]
    pub fn record(&mut self, what: Timed, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let Distribution { histogram, sum_us } = &mut self.0[what as usize];
        histogram.saturating_record(us);
        *sum_us = sum_us.saturating_add(us);
    }

    /// Forgets everything, and keeps the memory for it.
    pub fn clear(&mut self) {
        for Distribution { histogram, sum_us } in &mut self.0 {
            histogram.reset();
            *sum_us = 0;
        }
    }

    /// Takes over what another worker counted.
    pub fn merge(&mut self, other: &Latencies) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            ours.histogram.add(&theirs.histogram).expect("histograms of one kind");
            ours.sum_us = ours.sum_us.saturating_add(theirs.sum_us);
        }
    }

    /// What was counted since an earlier copy of the same distributions.
    #[must_use]
    pub fn minus(&self, earlier: &Latencies) -> Latencies {
        let mut since = self.clone();
        for (ours, theirs) in since.0.iter_mut().zip(&earlier.0) {
            // One that is no earlier copy has nothing to take off: then this is since the start.
            let mut histogram = ours.histogram.clone();
            if histogram.subtract(&theirs.histogram).is_ok() {
                *ours = Distribution { histogram, sum_us: ours.sum_us.saturating_sub(theirs.sum_us) };
            }
        }
        since
    }

    /// How many durations of this there are.
    pub fn count(&self, what: Timed) -> u64 {
        self.0[what as usize].histogram.len()
    }

    /// The sum of all durations of this.
    pub fn sum(&self, what: Timed) -> Duration {
        Duration::from_micros(self.0[what as usize].sum_us)
    }

    /// The distribution in a few numbers; `None` where nothing was counted.
    pub fn quantiles(&self, what: Timed) -> Option<Quantiles> {
        let histogram = &self.0[what as usize].histogram;
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Quantiles {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(histogram.max()),
        })
    }

    /// The durations of this by the buckets of its metric: the upper bound of each in seconds, and how many lie in it
    /// and in none before. What lies beyond the last bound has a bucket without one. A bound is met to two digits.
    pub fn buckets(&self, what: Timed) -> Vec<(f64, u64)> {
        let histogram = &self.0[what as usize].histogram;
        let bounds = TIMED[what as usize].bounds_us;
        let seconds = bounds.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let mut buckets: Vec<(f64, u64)> = seconds.map(|bound| (bound, 0)).collect();
        for cell in histogram.iter_recorded() {
            let least = histogram.lowest_equivalent(cell.value_iterated_to());
            buckets[bounds.partition_point(|bound| *bound < least)].1 += cell.count_at_value();
        }
        buckets
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for Timing { what, name, .. } in TIMED {
            if let Some(Quantiles { p50_ms, p99_ms, p999_ms, .. }) = self.quantiles(*what) {
                write!(f, "{separator}{name} p50 {p50_ms:.1} p99 {p99_ms:.1} p99.9 {p999_ms:.1} ms")?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn each_duration_is_shown_by_its_name() {
        let (mut ours, mut theirs) = (Latencies::default(), Latencies::default());
        assert_eq!(ours.to_string(), "");
        ours.record(Timed::Session, 4 * MS);
        theirs.record(Timed::Handshake, MS);
        theirs.record(Timed::Dns, 2 * MS);
        theirs.record(Timed::Connect, 3 * MS);
        ours.merge(&theirs);
        let shown = |name: &str, ms: u32| format!("{name} p50 {ms}.0 p99 {ms}.0 p99.9 {ms}.0 ms");
        let expected =
            [("handshake", 1), ("dns", 2), ("connect", 3), ("session", 4)].map(|(name, ms)| shown(name, ms));
        assert_eq!(ours.to_string(), expected.join("; "));
        ours.clear();
        assert_eq!((ours.to_string(), ours.sum(Timed::Dns)), (String::new(), Duration::ZERO));
    }

    #[test]
    fn a_difference_has_what_came_since_and_no_more() {
        let mut now = Latencies::default();
        now.record(Timed::Auth, 900 * MS);
        let earlier = now.clone();
        assert_eq!(now.minus(&earlier).quantiles(Timed::Auth), None);
        (0..99).for_each(|_| now.record(Timed::Auth, 4 * MS));
        now.record(Timed::Auth, 40 * MS);
        let since = now.minus(&earlier);
        assert_eq!((since.count(Timed::Auth), since.sum(Timed::Auth)), (100, 436 * MS));
        let quantiles = since.quantiles(Timed::Auth).expect("durations");
        assert_eq!([quantiles.p50_ms, quantiles.p99_ms].map(f64::floor), [4.0, 4.0]);
        assert_eq!([quantiles.p999_ms, quantiles.max_ms].map(f64::floor), [40.0, 40.0]);
        // A worker that began anew has counted less than before.
        assert_eq!(earlier.minus(&now).count(Timed::Auth), 1);
    }

    #[test]
    fn the_sum_is_exact_where_the_distribution_is_not() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|us| latencies.record(Timed::Turn, Duration::from_micros(1_000_000 + us)));
        assert_eq!(latencies.sum(Timed::Turn), Duration::from_micros(1_000_500_500));
        latencies.record(Timed::Turn, Duration::MAX);
        assert_eq!(latencies.count(Timed::Turn), 1001);
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_pass() {
        let mut latencies = Latencies::default();
        let mut expected = vec![0; SESSION_BOUNDS_US.len() + 1];
        for (at, us) in SESSION_BOUNDS_US.iter().enumerate() {
            latencies.record(Timed::Session, Duration::from_micros(*us));
            latencies.record(Timed::Session, Duration::from_micros(us / 100 * 102));
            expected[at] += 1;
            expected[at + 1] += 1;
        }
        let buckets = latencies.buckets(Timed::Session);
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!(buckets.into_iter().map(|(_, count)| count).collect::<Vec<_>>(), expected);
    }

    /// Graphs and alerts name these bounds, and histories are only comparable while they stay.
    #[test]
    fn the_bounds_of_buckets_are_the_same_in_every_release() {
        let bounds = |what: Timed| {
            let buckets = Latencies::default().buckets(what);
            let (_, finite) = buckets.split_last().expect("one without a bound");
            finite.iter().map(|(bound, _)| bound.to_string()).collect::<Vec<_>>().join(" ")
        };
        let phase = "0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30";
        for what in [Timed::Handshake, Timed::Auth, Timed::Dns, Timed::Connect, Timed::FirstByte] {
            assert_eq!(bounds(what), phase, "{what:?}");
        }
        assert_eq!(bounds(Timed::Session), "0.01 0.1 0.5 1 5 15 60 300 900 3600 14400 86400");
        let turn =
            "0.00001 0.000025 0.00005 0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 1 5";
        assert_eq!((bounds(Timed::Turn), bounds(Timed::Delay)), (turn.to_owned(), turn.to_owned()));
        for (at, entry) in TIMED.iter().enumerate() {
            assert_eq!(entry.what as usize, at);
            assert!(entry.help.ends_with('.') && entry.bounds_us.is_sorted(), "{}", entry.name);
        }
    }
}
