//! Lines that are written without the subscriber: the counters, whose fields are many and named at run time, and what
//! an outlet says of itself. They read as the subscriber's do.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::log_form::LogForm;
use crate::admin::with_whom;
use crate::config::Format;
use crate::observe::writable;
use crate::sys::Errno;

/// The fields of a line, in their order.
pub(super) type Fields = Vec<(Cow<'static, str>, Value)>;

/// A log line with its line feed.
pub(super) fn log_line(format: Format, level: &str, message: &str, fields: Fields) -> Vec<u8> {
    let time = humantime::format_rfc3339_micros(now());
    let mut line = match format {
        Format::Text => {
            let mut line = format!("{time} {level:>5} {message}");
            for (name, value) in fields {
                // Writing to a String cannot fail.
                let _ = match value {
                    Value::String(text) => write!(line, " {name}={}", text.escape_debug()),
                    other => write!(line, " {name}={other}"),
                };
            }
            line
        }
        Format::Json => {
            // By hand, for the order of the keys.
            let mut line = format!("{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"fields\":{{");
            let _ = write!(line, "\"message\":{}", Value::from(message));
            for (name, value) in fields {
                let _ = write!(line, ",{}:{value}", Value::from(&*name));
            }
            line + "}}"
        }
    };
    line.push('\n');
    line.into_bytes()
}

/// How an outlet speaks of its own sink.
#[derive(Clone, Debug)]
pub(super) enum Voice {
    /// It speaks in the log, which is the sink.
    Log(LogForm),
    /// It speaks in the log, and by a line among the records.
    Records,
    /// It says nothing.
    Silent,
}

impl Voice {
    /// The sink refuses.
    pub(super) fn failing(&self, errno: Errno) {
        match self {
            Voice::Records if errno == Errno::ENXIO => {
                tracing::warn!("access records wait: nobody reads the FIFO that they go to");
            }
            Voice::Records => {
                let cause = with_whom(errno.to_string());
                tracing::error!(cause, "access records cannot be written: tried again until they can");
            }
            // What would be said would go where nothing goes.
            Voice::Log(_) | Voice::Silent => {}
        }
    }

    /// The sink takes lines again, after so long.
    pub(super) fn recovered(&self, after: Duration) {
        if matches!(self, Voice::Records) {
            tracing::warn!(after_ms = after.as_millis() as u64, "access records are written again");
        }
    }

    /// Another file stands at the path and is written from now on.
    pub(super) fn reopened(&self) {
        if matches!(self, Voice::Records) {
            tracing::info!("access record: a new file is written");
        }
    }

    /// The file was moved away, and no other can be opened in its place.
    pub(super) fn moved(&self, errno: Errno) {
        if matches!(self, Voice::Records) {
            tracing::warn!(cause = %errno, "access record: no new file can be opened, the one that was moved away is written on to");
        }
    }

    /// What the sink itself is told: how many lines are missing here, and what kept them from being written.
    pub(super) fn note(&self, lost: u64, cause: Option<Errno>) -> Option<Vec<u8>> {
        match self {
            Voice::Records if lost > 0 => {
                tracing::error!(lost, "access records were lost: their sink did not take them");
                let mut note = Map::new();
                note.insert("time".into(), humantime::format_rfc3339_millis(now()).to_string().into());
                note.insert("records_lost".into(), lost.into());
                Some(format!("{}\n", Value::from(note)).into_bytes())
            }
            Voice::Log(form) if lost > 0 || cause.is_some() => {
                let mut fields: Fields = vec![("lost".into(), lost.into())];
                fields.extend(cause.map(|errno| ("cause".into(), errno.to_string().into())));
                let message = match cause {
                    Some(_) => "log lines can be written again",
                    None => "log lines were lost: their sink did not take them",
                };
                Some(log_line(form.get(), "WARN", message, fields))
            }
            Voice::Records | Voice::Log(_) | Voice::Silent => None,
        }
    }
}

fn now() -> SystemTime {
    writable(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        vec![("accepted".into(), 3.into()), ("why".into(), "a\n\"b\"".into())]
    }

    #[test]
    fn a_text_line_is_one_line_with_every_field_behind_the_message() {
        let line = String::from_utf8(log_line(Format::Text, "INFO", "counters", fields())).unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.len() == "2026-01-02T03:04:05.006007Z".len(), "{time}");
        assert_eq!(rest, " INFO counters accepted=3 why=a\\n\\\"b\\\"\n");
    }

    #[test]
    fn a_json_line_has_the_fields_as_fields() {
        let line = String::from_utf8(log_line(Format::Json, "WARN", "a \"b\"", fields())).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["fields"]["message"], "a \"b\"");
        assert_eq!(value["fields"]["accepted"], 3);
        assert_eq!(value["fields"]["why"], "a\n\"b\"");
    }

    #[test]
    fn nothing_is_said_where_nothing_is_missing() {
        assert_eq!(Voice::Records.note(0, Some(Errno::ENOSPC)), None);
        assert_eq!(Voice::Log(LogForm::new(Format::Text)).note(0, None), None);
        assert_eq!(Voice::Silent.note(7, Some(Errno::EPIPE)), None);
        let note: Value = serde_json::from_slice(&Voice::Records.note(7, None).unwrap()).unwrap();
        assert_eq!(note["records_lost"], 7);
    }
}
