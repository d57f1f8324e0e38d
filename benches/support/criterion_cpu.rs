//! Criterion on the CPU clock of the bench's thread in place of the wall's.

use std::time::Duration;

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};

use crate::cpu;

/// CPU time of the calling thread.
pub(crate) struct ThreadCpu;

impl Measurement for ThreadCpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu::used()
    }

    fn end(&self, start: Duration) -> Duration {
        cpu::used() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A short run: about a second for each bench. Options on the command line win.
pub(crate) fn quick() -> Criterion<ThreadCpu> {
    let quick = Criterion::default()
        .with_measurement(ThreadCpu)
        .sample_size(50)
        .nresamples(5_000)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .without_plots();
    quick.configure_from_args()
}
