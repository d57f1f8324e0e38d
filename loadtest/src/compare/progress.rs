//! How far a comparison is: a bar on a terminal, a line for each run elsewhere.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

/// Goes to standard error; standard output has the table.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// For so many runs.
    pub(crate) fn new(runs: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}, about {eta} left  {wide_msg}");
            let bar = ProgressBar::new(runs);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar }
    }

    /// A run begins.
    pub(crate) fn step(&self, scenario: &str, round: u32, rounds: u32, server: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{scenario}, round {round} of {rounds}: {server}"));
            bar.inc(1);
        }
    }

    /// What a run gave; a terminal has the bar instead.
    pub(crate) fn tell(&self, line: &str) {
        if self.bar.is_none() {
            eprintln!("{line}");
        }
    }

    /// What went wrong; everyone sees it.
    pub(crate) fn complain(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Progress {
    /// The bar goes.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
