//! How far a run is, on a terminal that watches it.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Often enough to watch, too seldom to cost anything.
const BETWEEN_UPDATES: Duration = Duration::from_millis(250);

/// What a run has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) count: u64,
    /// Where the run ends with a count.
    pub(crate) of: Option<u64>,
    pub(crate) unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Sessions,
    RoundTrips,
    Datagrams,
    Bytes,
}

/// A line on standard error that is replaced as the run goes on; nothing where that is no terminal.
pub(crate) struct Line {
    bar: Option<ProgressBar>,
    next: Instant,
}

impl Line {
    /// The line appears with the first `show`.
    pub(crate) fn new() -> Self {
        let target = || ProgressDrawTarget::stderr_with_hz(20);
        let bar = stderr().is_terminal().then(|| ProgressBar::with_draw_target(None, target()));
        Self { bar, next: Instant::now() }
    }

    /// Shows what `done` says, if it is time to.
    pub(crate) fn show(&mut self, now: Instant, done: impl FnOnce() -> Option<Done>) {
        let Some(bar) = &self.bar else { return };
        if now < self.next {
            return;
        }
        self.next = now + BETWEEN_UPDATES;
        if let Some(done) = done() {
            if bar.position() == 0 {
                bar.set_style(style(done));
                done.of.inspect(|total| bar.set_length(*total));
                bar.reset_eta();
            }
            bar.set_position(done.count);
        }
    }

    /// The line disappears.
    pub(crate) fn clear(&self) {
        self.bar.as_ref().inspect(|bar| bar.finish_and_clear());
    }
}

fn style(done: Done) -> ProgressStyle {
    let figures = match done.unit {
        Unit::Sessions => "{human_pos} sessions, {per_sec}",
        Unit::RoundTrips => "{human_pos} round trips, {per_sec}",
        Unit::Datagrams => "{human_pos} datagrams, {per_sec}",
        Unit::Bytes => "{bytes}, {bytes_per_sec}",
    };
    let rest = if done.of.is_some() { "[{bar:30}] {percent} % " } else { "" };
    ProgressStyle::with_template(&format!("{{elapsed}} {rest}{figures}")).expect("a template that is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for unit in [Unit::Sessions, Unit::RoundTrips, Unit::Bytes] {
            for of in [None, Some(1)] {
                style(Done { count: 0, of, unit });
            }
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_asked() {
        let mut line = Line { bar: None, next: Instant::now() };
        line.show(Instant::now(), || panic!("nobody watches"));
        line.clear();
    }
}
