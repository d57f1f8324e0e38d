//! The access records' own thread: a slow disk or a full pipe stops nobody but itself.

use crate::config::Access;
use crate::limits;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::thread::JoinHandle;

/// The sending end and the thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) sender: Option<Sender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the sink and starts the thread, if records are wanted.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be had.
    pub(super) fn start(access: &Access) -> io::Result<Writer> {
        let sink: Box<dyn Write + Send> = match access {
            Access::Off => return Ok(Writer { sender: None, thread: None }),
            Access::Stdout => Box::new(io::stdout()),
            Access::Path(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, batches) = bounded(limits::RECORD_BATCHES_MAX);
        let thread =
            std::thread::Builder::new().name("records".into()).spawn(move || write_all(sink, &batches))?;
        Ok(Writer { sender: Some(sender), thread: Some(thread) })
    }

    /// Waits until everything is written; the workers must have let go of their senders.
    pub(super) fn finish(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(mut sink: Box<dyn Write + Send>, batches: &Receiver<Vec<u8>>) {
    for batch in batches {
        if let Err(error) = sink.write_all(&batch).and_then(|()| sink.flush()) {
            tracing::error!(%error, bytes = batch.len(), "access records were lost");
        }
    }
}
