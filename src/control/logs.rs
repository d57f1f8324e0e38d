//! The log: from the subscriber of every thread, and from here, to one outlet at standard error.

use std::io;

use tracing_subscriber::fmt::MakeWriter;

use super::line::{Fields, Voice, log_line};
use super::outlet::{Outlet, Sink};
use crate::config::{Format, Level, Log};
use crate::limits;
use crate::observe::LineSender;

/// The running log.
#[derive(Debug)]
pub(super) struct Logs {
    outlet: Outlet,
    format: Format,
}

/// Gives the subscriber a writer that cannot fail and does not wait: the subscriber would answer a failed write with
/// `eprintln!`, which panics where standard error is what failed.
#[derive(Clone, Debug)]
struct ToQueue(LineSender);

impl Logs {
    /// Starts the thread that writes, and makes its queue where this process's events and panics go.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(log: &Log) -> io::Result<Logs> {
        let outlet = Outlet::start("log", Sink::Stderr, Voice::Log(log.format), limits::LOG_QUEUE_BYTES_MAX)?;
        let level = match log.level {
            Level::Error => tracing::Level::ERROR,
            Level::Warn => tracing::Level::WARN,
            Level::Info => tracing::Level::INFO,
            Level::Debug => tracing::Level::DEBUG,
            Level::Trace => tracing::Level::TRACE,
        };
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_target(false)
            .log_internal_errors(false)
            .with_writer(ToQueue(outlet.lines.clone()));
        // A subscriber that is there already is a test's.
        let _ = match log.format {
            Format::Text => subscriber.with_ansi(false).try_init(),
            Format::Json => subscriber.json().try_init(),
        };
        // The hook that stands there writes to standard error itself.
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let said = panic.payload_as_str().unwrap_or("no words").escape_debug();
            let (place, thread) = (panic.location().map(ToString::to_string), thread.name());
            tracing::error!(thread, place, "panicked: {said}");
        }));
        Ok(Logs { outlet, format: log.format })
    }

    /// For tests: the log of the process stays as it is.
    #[cfg(test)]
    pub(super) fn apart() -> Logs {
        let outlet = Outlet::start("log", Sink::Stderr, Voice::Silent, limits::LOG_QUEUE_BYTES_MAX);
        Logs { outlet: outlet.expect("a thread"), format: Format::Text }
    }

    /// A line that is written whatever the level.
    pub(super) fn always(&self, message: &str, fields: Fields) {
        self.outlet.lines.send_or_lose(log_line(self.format, "INFO", message, fields));
    }

    /// A line as it stands, or as a message where each line has to be JSON.
    pub(super) fn plain(&self, line: &str) {
        match self.format {
            Format::Text => self.outlet.lines.send_or_lose(format!("{line}\n").into_bytes()),
            Format::Json => self.always(line, Fields::new()),
        }
    }

    /// The queue of the log.
    pub(super) fn lines(&self) -> LineSender {
        self.outlet.lines.clone()
    }

    /// Waits for the last line, though not for a sink that is stuck.
    pub(super) fn finish(&self) {
        self.outlet.finish();
    }
}

impl<'a> MakeWriter<'a> for ToQueue {
    type Writer = &'a ToQueue;

    fn make_writer(&'a self) -> &'a ToQueue {
        self
    }
}

impl io::Write for &ToQueue {
    /// The subscriber writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send_or_lose(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
