//! What every bench measures: the CPU time of the thread that plays the relay.
//!
//! Wall time would count how long the other side takes, and how long other programs had the CPU, neither of which is
//! the relay's cost. Others still cost it cache and clock rate. Linux charges what a loopback send does beyond the
//! socket (the receiver's side of TCP included) to the thread that sends.

use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time that the calling thread has used so far.
pub(crate) fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has a CPU clock for each thread").into()
}

/// The CPU time that `work` takes. Reading the clock takes part of a microsecond: `work` should take many.
#[allow(dead_code, reason = "criterion brings its own")]
pub(crate) fn used_by(work: impl FnOnce()) -> Duration {
    let before = used();
    work();
    used() - before
}

/// Keeps the calling thread on the first CPU that the process may use. The same CPU from run to run is worth more
/// than a free one.
#[allow(dead_code, reason = "what only computes is measured wherever it runs")]
pub(crate) fn pin_first() {
    pin(|cpus| cpus.first());
}

/// Keeps the calling thread on the last CPU that the process may use, out of the way of the first.
#[allow(dead_code, reason = "not every bench has a thread on the other side")]
pub(crate) fn pin_last() {
    pin(|cpus| cpus.last());
}

/// The process's CPUs are those of its first call: a thread inherits those of the one that starts it, which may have
/// been kept on one by then.
#[allow(dead_code, reason = "as its callers")]
fn pin(choose: impl FnOnce(&[core_affinity::CoreId]) -> Option<&core_affinity::CoreId>) {
    static CPUS: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    let cpus = CPUS.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    if !choose(cpus).is_some_and(|cpu| core_affinity::set_for_current(*cpu)) {
        eprintln!("no CPU could be chosen: the numbers will scatter more");
    }
}
