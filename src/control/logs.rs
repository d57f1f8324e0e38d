//! The log: from the subscriber of every thread, and from here, to one outlet at standard error.

use std::io;

use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use super::line::{Fields, Voice, log_line};
use super::log_form::{EventLine, LogForm};
use super::outlet::{Outlet, Sink};
use crate::config::{Format, Level, Log};
use crate::limits;
use crate::observe::LineSender;

/// The running log.
#[derive(Debug)]
pub(super) struct Logs {
    outlet: Outlet,
    form: LogForm,
    level: Level,
    /// The subscriber's threshold; `None` where the subscriber is another's.
    threshold: Option<Handle<LevelFilter, Registry>>,
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
        let form = LogForm::new(log.format);
        let voice = Voice::Log(form.clone());
        let outlet = Outlet::start("log", Sink::Stderr, voice, limits::LOG_QUEUE_BYTES_MAX)?;
        let (filter, threshold) = reload::Layer::new(filter_of(log.level));
        let lines = fmt::layer()
            .event_format(EventLine::new(form.clone()))
            .with_ansi(false)
            .log_internal_errors(false)
            .with_writer(ToQueue(outlet.lines.clone()));
        // A subscriber that is there already is a test's.
        let ours = tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok();
        // The hook that stands there writes to standard error itself.
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let said = panic.payload_as_str().unwrap_or("no words").escape_debug();
            let (place, thread) = (panic.location().map(ToString::to_string), thread.name());
            tracing::error!(thread, place, "panicked: {said}");
        }));
        Ok(Logs { outlet, form, level: log.level, threshold: ours.then_some(threshold) })
    }

    /// For tests: the log of the process stays as it is.
    #[cfg(test)]
    pub(super) fn apart() -> Logs {
        let outlet = Outlet::start("log", Sink::Stderr, Voice::Silent, limits::LOG_QUEUE_BYTES_MAX);
        let form = LogForm::new(Format::Text);
        Logs { outlet: outlet.expect("a thread"), form, level: Level::Info, threshold: None }
    }

    /// Writes from this level on, at once and on all threads; gives the level before.
    pub(super) fn set_level(&mut self, level: Level) -> Level {
        if let Some(threshold) = &self.threshold {
            // It fails only where the subscriber is gone.
            let _ = threshold.modify(|filter| *filter = filter_of(level));
        }
        std::mem::replace(&mut self.level, level)
    }

    /// Has later lines written in this form.
    pub(super) fn set_format(&self, format: Format) {
        self.form.set(format);
    }

    /// A line that is written whatever the level.
    pub(super) fn always(&self, message: &str, fields: Fields) {
        self.outlet.lines.send_or_lose(log_line(self.form.get(), "INFO", message, fields));
    }

    /// A line as it stands, or as a message where each line has to be JSON.
    pub(super) fn plain(&self, line: &str) {
        match self.form.get() {
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

fn filter_of(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
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
