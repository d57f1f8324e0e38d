//! How far a run is, on a terminal that watches it.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Often enough to watch, too seldom to cost anything.
const BETWEEN_UPDATES: Duration = Duration::from_millis(250);

/// What a run has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) count: u64,
    /// Where the run ends with a count.
    pub(crate) of: Option<u64>,
    pub(crate) unit: ProgressUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressUnit {
    Sessions,
    Requests,
    RoundTrips,
    Datagrams,
    Bytes,
}

/// A line on standard error that is replaced as the run goes on; nothing where that is no terminal.
pub(crate) struct Line {
    bar: Option<ProgressBar>,
    /// When the line appeared, and what was done by then.
    first: Option<(Instant, u64)>,
    next: Instant,
}

impl Line {
    /// The line appears with the first `show`.
    pub(crate) fn new() -> Self {
        let target = || ProgressDrawTarget::stderr_with_hz(20);
        let bar = stderr().is_terminal().then(|| ProgressBar::with_draw_target(None, target()));
        Self { bar, first: None, next: Instant::now() }
    }

    /// Shows what `done` says, if it is time to.
    pub(crate) fn show(&mut self, now: Instant, done: impl FnOnce() -> Option<Done>) {
        let Some(bar) = &self.bar else { return };
        if now < self.next {
            return;
        }
        self.next = now + BETWEEN_UPDATES;
        if let Some(done) = done() {
            let (since, before) = *self.first.get_or_insert_with(|| {
                bar.set_style(style(done));
                done.of.inspect(|total| bar.set_length(*total));
                (now, done.count)
            });
            // The crate's own estimate takes the first step for an immense rate.
            let seconds = now.duration_since(since).as_secs_f64().max(0.001);
            bar.set_message(figures(done, done.count.saturating_sub(before) as f64 / seconds));
            bar.set_position(done.count);
        }
    }

    /// The line disappears.
    pub(crate) fn clear(&self) {
        self.bar.as_ref().inspect(|bar| bar.finish_and_clear());
    }
}

fn style(done: Done) -> ProgressStyle {
    let bar = if done.of.is_some() { "[{bar:30}] {percent} % " } else { "" };
    ProgressStyle::with_template(&format!("{{elapsed}} {bar}{{msg}}")).expect("a template that is valid")
}

fn figures(done: Done, per_second: f64) -> String {
    let (count, rate) = (HumanCount(done.count), HumanCount(per_second as u64));
    match done.unit {
        ProgressUnit::Sessions => format!("{count} sessions, {rate} a second"),
        ProgressUnit::Requests => format!("{count} requests, {rate} a second"),
        ProgressUnit::RoundTrips => format!("{count} round trips, {rate} a second"),
        ProgressUnit::Datagrams => format!("{count} datagrams, {rate} a second"),
        ProgressUnit::Bytes => {
            format!("{}, {} a second", DecimalBytes(done.count), DecimalBytes(per_second as u64))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_units() {
        let figures = |unit| figures(Done { count: 1_500_000, of: None, unit }, 2500.7);
        assert_eq!(figures(ProgressUnit::Sessions), "1,500,000 sessions, 2,500 a second");
        assert_eq!(figures(ProgressUnit::Bytes), "1.50 MB, 2.50 kB a second");
    }

    #[test]
    fn every_template_is_valid() {
        for of in [None, Some(1)] {
            style(Done { count: 0, of, unit: ProgressUnit::Sessions });
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_asked() {
        let mut line = Line { bar: None, first: None, next: Instant::now() };
        line.show(Instant::now(), || panic!("nobody watches"));
        line.clear();
    }
}
