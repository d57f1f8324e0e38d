//! How long the phases of sessions took: one set of histograms a worker, merged when it ends.

use crate::limits;
use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// Distributions in microseconds, exact to two digits of what the worker's clock saw: whole milliseconds, read
/// once a turn.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// Accept to the end of the request.
    pub handshake: Histogram<u64>,
    /// Name to addresses.
    pub dns: Histogram<u64>,
    /// First SYN to connected.
    pub connect: Histogram<u64>,
    /// Accept to close.
    pub session: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = || {
            Histogram::new_with_max(limits::LATENCY_MAX_US, 2)
                .expect("the bounds of a histogram are constants")
        };
        Latencies { handshake: histogram(), dns: histogram(), connect: histogram(), session: histogram() }
    }
}

impl Latencies {
    /// Counts one duration; what lies beyond the largest one counts as that.
    pub fn record(histogram: &mut Histogram<u64>, duration: Duration) {
        histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Takes over what another worker counted.
    pub fn merge(&mut self, other: &Latencies) {
        for (ours, theirs) in [
            (&mut self.handshake, &other.handshake),
            (&mut self.dns, &other.dns),
            (&mut self.connect, &other.connect),
            (&mut self.session, &other.session),
        ] {
            ours.add(theirs).expect("histograms of one kind");
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, histogram) in [
            ("handshake", &self.handshake),
            ("dns", &self.dns),
            ("connect", &self.connect),
            ("session", &self.session),
        ] {
            if !histogram.is_empty() {
                let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
                write!(
                    f,
                    "{separator}{name} p50 {:.1} p99 {:.1} p99.9 {:.1} ms",
                    ms(0.5),
                    ms(0.99),
                    ms(0.999)
                )?;
                separator = "; ";
            }
        }
        Ok(())
    }
}
