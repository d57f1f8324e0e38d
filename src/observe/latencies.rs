//! How long the phases of sessions took: one set of histograms a worker, merged when it ends.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits;

/// Makes of the one list of what is timed the enum [`Timed`] and the names of its values.
macro_rules! timed {
    ($($(#[doc = $help:literal])+ $name:ident = $log_name:literal;)+) => {
        /// What is timed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Timed {
            $($(#[doc = $help])+ $name,)+
        }

        /// The name in the log of each, in the order of their numbers.
        const NAMES: &[&str] = &[$($log_name),+];
    };
}

timed! {
    /// Accept to the end of the request.
    Handshake = "handshake";
    /// Name to addresses.
    Dns = "dns";
    /// First SYN to connected.
    Connect = "connect";
    /// Accept to close.
    Session = "session";
}

/// Distributions in microseconds, exact to two digits of what the worker's clock saw: whole milliseconds, read
/// once a turn.
#[derive(Clone, Debug)]
pub struct Latencies([Histogram<u64>; NAMES.len()]);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(std::array::from_fn(|_| {
            Histogram::new_with_max(limits::LATENCY_MAX_US, 2)
                .expect("the bounds of a histogram are constants")
        }))
    }
}

impl Latencies {
    /// Counts one duration; what lies beyond the largest one counts as that.
    pub fn record(&mut self, what: Timed, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0[what as usize].saturating_record(us);
    }

    /// Takes over what another worker counted.
    pub fn merge(&mut self, other: &Latencies) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            ours.add(theirs).expect("histograms of one kind");
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, histogram) in NAMES.iter().zip(&self.0) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_shown_by_its_name() {
        let (mut ours, mut theirs) = (Latencies::default(), Latencies::default());
        assert_eq!(ours.to_string(), "");
        ours.record(Timed::Session, Duration::from_millis(4));
        theirs.record(Timed::Handshake, Duration::from_millis(1));
        theirs.record(Timed::Dns, Duration::from_millis(2));
        theirs.record(Timed::Connect, Duration::from_millis(3));
        ours.merge(&theirs);
        let shown = |name: &str, ms: u32| format!("{name} p50 {ms}.0 p99 {ms}.0 p99.9 {ms}.0 ms");
        let expected =
            [("handshake", 1), ("dns", 2), ("connect", 3), ("session", 4)].map(|(name, ms)| shown(name, ms));
        assert_eq!(ours.to_string(), expected.join("; "));
    }
}
