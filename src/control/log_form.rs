//! The form of log lines, which may change between two of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format as Formatter, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Format;

/// The form, shared by all that write lines of the log.
#[derive(Clone, Debug)]
pub(super) struct LogForm {
    is_json: Arc<AtomicBool>,
}

impl LogForm {
    pub(super) fn new(format: Format) -> LogForm {
        LogForm { is_json: Arc::new(AtomicBool::new(format == Format::Json)) }
    }

    /// The form of the next line.
    pub(super) fn get(&self) -> Format {
        if self.is_json.load(Ordering::Relaxed) { Format::Json } else { Format::Text }
    }

    /// Has later lines written in this form.
    pub(super) fn set(&self, format: Format) {
        self.is_json.store(format == Format::Json, Ordering::Relaxed);
    }
}

/// Writes the subscriber's events in the form of the moment. There are no spans.
#[derive(Debug)]
pub(super) struct EventLine {
    form: LogForm,
    text: Formatter<Full>,
    json: Formatter<Json>,
}

impl EventLine {
    pub(super) fn new(form: LogForm) -> EventLine {
        let plain = || tracing_subscriber::fmt::format().with_target(false);
        EventLine { form, text: plain().with_ansi(false), json: plain().json() }
    }
}

impl<S, N> FormatEvent<S, N> for EventLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.form.get() {
            Format::Text => self.text.format_event(context, writer, event),
            Format::Json => self.json.format_event(context, writer, event),
        }
    }
}
