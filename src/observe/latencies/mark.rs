//! An earlier state of distributions in few bytes, for what came since.

use super::{Latencies, TIMED};

/// How often each duration had been counted at a moment: some kilobytes, where [`Latencies`] take a quarter of a
/// megabyte.
#[derive(Clone, Debug)]
pub struct LatencyMark([MarkedDistribution; TIMED.len()]);

#[derive(Clone, Debug, Default)]
struct MarkedDistribution {
    /// Durations in microseconds, and how often each was there.
    counts: Vec<(u64, u64)>,
    sum_us: u64,
}

/// Before anything was counted.
impl Default for LatencyMark {
    fn default() -> LatencyMark {
        LatencyMark(std::array::from_fn(|_| MarkedDistribution::default()))
    }
}

impl Latencies {
    /// What has been counted so far.
    pub fn mark(&self) -> LatencyMark {
        LatencyMark(std::array::from_fn(|at| {
            let distribution = &self.0[at];
            let recorded = distribution.histogram.iter_recorded();
            MarkedDistribution {
                counts: recorded.map(|cell| (cell.value_iterated_to(), cell.count_at_value())).collect(),
                sum_us: distribution.sum_us,
            }
        }))
    }

    /// What was counted since a mark of the same distributions; where it is none of theirs, all that they have.
    #[must_use]
    pub fn since(&self, mark: &LatencyMark) -> Latencies {
        let mut earlier = Latencies::default();
        for (ours, marked) in earlier.0.iter_mut().zip(&mark.0) {
            for (us, count) in &marked.counts {
                ours.histogram.saturating_record_n(*us, *count);
            }
            ours.sum_us = marked.sum_us;
        }
        self.minus(&earlier)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::Timed;

    #[test]
    fn what_came_since_a_mark_is_what_came_since_a_copy() {
        let mut now = Latencies::default();
        let us = Duration::from_micros;
        assert_eq!(now.since(&LatencyMark::default()).quantiles(Timed::Turn), None);
        for value in 0..5_000 {
            now.record(Timed::Turn, us(value * value));
        }
        now.record(Timed::Session, us(u64::MAX));
        let (copy, mark) = (now.clone(), now.mark());
        assert_eq!(now.since(&mark).quantiles(Timed::Turn), None);
        assert_eq!(now.since(&mark).quantiles(Timed::Session), None);
        for value in 0..300 {
            now.record(Timed::Turn, us(1_000 * value));
            now.record(Timed::Delay, us(value));
        }
        for what in [Timed::Turn, Timed::Delay] {
            let since = now.since(&mark);
            assert_eq!(since.quantiles(what), now.minus(&copy).quantiles(what));
            assert_eq!((since.count(what), since.sum(what)), (300, now.minus(&copy).sum(what)));
        }
        assert_eq!(now.since(&LatencyMark::default()).quantiles(Timed::Turn), now.quantiles(Timed::Turn));
    }
}
