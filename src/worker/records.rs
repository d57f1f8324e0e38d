//! Access records on their way out: gathered for a moment, handed over in batches, and waited
//! for only at a worker's end, and then not for long.

use crate::limits;
use crate::observe::AccessRecord;
use crossbeam_channel::{Sender, TrySendError};
use std::time::Instant;

/// The records of one worker.
#[derive(Debug)]
pub(super) struct Records {
    sink: Option<Sender<Vec<u8>>>,
    lines: Vec<u8>,
    since: Option<Instant>,
    lost: u64,
}

impl Records {
    pub(super) fn new(sink: Option<Sender<Vec<u8>>>) -> Records {
        Records { sink, lines: Vec::new(), since: None, lost: 0 }
    }

    /// Whether anybody wants records.
    pub(super) fn wanted(&self) -> bool {
        self.sink.is_some()
    }

    pub(super) fn write(&mut self, record: &AccessRecord<'_>, now: Instant) {
        if self.lines.len() >= limits::RECORDS_HELD_MAX {
            self.lost += 1;
            return;
        }
        record.write_line(&mut self.lines);
        self.since.get_or_insert(now);
    }

    /// When the gathered records are due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + limits::RECORDS_BATCH_TIME)
    }

    /// Hands over what is due; `all` hands over whatever is there.
    pub(super) fn flush(&mut self, now: Instant, all: bool) {
        let ripe =
            self.lines.len() >= limits::RECORDS_BATCH_BYTES || self.due().is_some_and(|due| due <= now);
        let Some(sink) = self.sink.as_ref().filter(|_| !self.lines.is_empty() && (ripe || all)) else {
            return;
        };
        let batch = std::mem::take(&mut self.lines);
        let outcome = if all {
            sink.send_timeout(batch, limits::RECORDS_PATIENCE).map_err(|e| TrySendError::Full(e.into_inner()))
        } else {
            sink.try_send(batch)
        };
        match outcome {
            Ok(()) => {
                self.since = None;
                if self.lost > 0 {
                    tracing::error!(
                        lost = self.lost,
                        "access records were lost: their sink did not take them"
                    );
                    self.lost = 0;
                }
            }
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                self.lines = batch;
                self.since = Some(now);
            }
        }
    }
}
