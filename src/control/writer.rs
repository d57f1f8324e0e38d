//! The access records' own thread: a slow disk or a full pipe stops nobody but itself.

use crate::config::Access;
use crate::limits;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::fs::OpenOptions;
use std::io::{self, Write};

/// The sending end and the thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) sender: Option<Sender<Vec<u8>>>,
    /// Disconnected once the thread has ended.
    ended: Option<Receiver<()>>,
}

impl Writer {
    /// Opens the sink and starts the thread, if records are wanted.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be had.
    pub(super) fn start(access: &Access) -> io::Result<Writer> {
        let sink: Box<dyn Write + Send> = match access {
            Access::Off => return Ok(Writer { sender: None, ended: None }),
            Access::Stdout => Box::new(io::stdout()),
            Access::Path(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, batches) = bounded(limits::RECORD_BATCHES_MAX);
        let (alive, ended) = bounded(1);
        std::thread::Builder::new().name("records".into()).spawn(move || {
            write_all(sink, &batches);
            drop::<Sender<()>>(alive);
        })?;
        Ok(Writer { sender: Some(sender), ended: Some(ended) })
    }

    /// Waits until everything is written, though not for a sink that is stuck; the workers must have let go of
    /// their senders.
    pub(super) fn finish(&mut self) {
        self.sender = None;
        let ended = self.ended.take().map(|ended| ended.recv_timeout(limits::RECORDS_PATIENCE));
        if let Some(Err(RecvTimeoutError::Timeout)) = ended {
            tracing::error!("access records were lost: their sink does not take them");
        }
    }
}

fn write_all(mut sink: Box<dyn Write + Send>, batches: &Receiver<Vec<u8>>) {
    let mut torn = false;
    for mut batch in batches {
        if torn {
            // What stands there may end in the middle of a line.
            batch.insert(0, b'\n');
        }
        torn = false;
        if let Err(error) = sink.write_all(&batch).and_then(|()| sink.flush()) {
            tracing::error!(%error, bytes = batch.len(), "access records were lost");
            torn = true;
        }
    }
}
