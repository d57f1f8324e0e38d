//! Deadlines: a condition becomes true in time or the test says what it waited for.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer may take on a loaded machine before it counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Polls `probe` until it yields a value; panics with `what` after `limit`.
pub(crate) fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Polls `probe` until it is true; panics with `what` after `limit`.
pub(crate) fn until_true(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) {
    until(what, limit, || probe().then_some(()));
}

/// Watches that `probe` stays true for all of `span`: for absences, which no event announces.
pub(crate) fn throughout(what: &str, span: Duration, mut probe: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < span {
        assert!(probe(), "after {:?} no longer true: {what}", started.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a call again that a signal has cut short: some tests send signals to their own process, any thread of it may be the one
/// that is interrupted, and a socket with a timeout does not go on by itself (signal(7)).
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Runs `work` and gives its value with the time that it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let value = work();
    (value, started.elapsed())
}
