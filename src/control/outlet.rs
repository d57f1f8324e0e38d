//! The thread behind a queue of lines. It alone meets the sink: a disk that is full, a pipe that nobody reads or whose
//! reader is gone stop this thread and nobody else. What the sink refuses is tried again until it is taken; no line is
//! dropped here, and none is joined to half of another.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::line::Voice;
use crate::limits;
use crate::observe::{Batch, LineReceiver, LineSender, lines};
use crate::sys::{Errno, Write, errno_of, output};
use crate::threads;

/// Where lines go.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    Stdout,
    Stderr,
    /// A file to append to, opened anew where another stands at its path.
    Path(PathBuf),
    /// Nothing: whatever was to be written has been.
    Nowhere,
}

/// A sink that can be written to.
#[derive(Debug)]
pub(super) struct OpenSink {
    sink: Sink,
    /// The file at the path.
    file: Option<File>,
    /// Begin with a line feed: the file ends with half a line that is not ours to complete.
    mend: bool,
}

impl OpenSink {
    /// # Errors
    /// The file cannot be opened for appending. A FIFO that nobody reads is no error.
    pub(super) fn open(sink: Sink) -> io::Result<OpenSink> {
        let mut opened = OpenSink { sink, file: None, mend: false };
        match opened.reopen() {
            Err(error) if !opened.awaits_reader(&error) => Err(error),
            Ok(()) | Err(_) => Ok(opened),
        }
    }

    /// Opens the file at the path.
    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::Path(path) = &self.sink {
            let file = output::open(path, limits::ACCESS_MODE)?;
            self.mend = file.metadata()?.is_file() && output::ends_within_a_line(path);
            self.file = Some(file);
        }
        Ok(())
    }

    /// Whether the path is that of a FIFO that nobody reads yet.
    fn awaits_reader(&self, error: &io::Error) -> bool {
        let Sink::Path(path) = &self.sink else { return false };
        let is_fifo = || std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
        errno_of(error) == Errno::ENXIO && is_fifo()
    }
}

/// The sending end, and what its thread is told.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) lines: LineSender,
    orders: Arc<Orders>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
}

#[derive(Debug, Default)]
struct Orders {
    /// Look whether another file stands at the path, now.
    reopen: AtomicBool,
    /// Write to this from now on.
    next: Mutex<Option<OpenSink>>,
    /// Close the sink once nothing is left to write.
    rest: AtomicBool,
    /// End once nothing is left to write.
    end: AtomicBool,
    /// Bytes that the sink took so far.
    taken: AtomicU64,
    /// Lines of the present batch that the sink has whole.
    whole: AtomicU64,
    /// The sink refuses.
    failing: AtomicBool,
}

impl Outlet {
    /// Opens the sink and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be had. A FIFO that nobody reads is no error.
    pub(super) fn start(name: &str, sink: Sink, voice: Voice, capacity: usize) -> io::Result<Outlet> {
        Outlet::over(name, OpenSink::open(sink)?, voice, capacity)
    }

    /// Starts the thread over a sink that is open.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn over(name: &str, sink: OpenSink, voice: Voice, capacity: usize) -> io::Result<Outlet> {
        let (sender, receiver) = lines(capacity);
        let orders = Arc::new(Orders::default());
        let (alive, ended) = bounded::<()>(1);
        let mut pen = Pen::new(sink, voice, orders.clone());
        threads::spawn(name, move || {
            output::write_from_the_background();
            pen.run(&receiver);
            // What the end waits for.
            let _ = &alive;
        })?;
        Ok(Outlet { lines: sender, orders, ended })
    }

    /// Opens the file at the path where that is another than the one that is open.
    pub(super) fn reopen(&self) {
        self.orders.reopen.store(true, Ordering::Relaxed);
        self.lines.wake();
    }

    /// Whether the sink takes lines, and the queue before it has room for one of so many bytes.
    pub(super) fn takes_lines(&self, bytes: usize) -> bool {
        !self.orders.failing.load(Ordering::Relaxed) && self.lines.has_room(bytes)
    }

    /// Has what waits, and what comes, written to this. Of what the sink so far has begun to take, it may keep half a line:
    /// that line is written whole to the next one.
    pub(super) fn switch(&self, next: OpenSink) {
        self.orders.rest.store(false, Ordering::Relaxed);
        *self.orders.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        self.lines.wake();
    }

    /// Has the sink closed once everything is written; for as long as nothing comes.
    pub(super) fn rest(&self) {
        self.orders.rest.store(true, Ordering::Relaxed);
        self.lines.wake();
    }

    /// Has the thread end once it has written everything.
    pub(super) fn end(&self) {
        self.orders.end.store(true, Ordering::Relaxed);
        self.lines.wake();
    }

    /// Waits until everything is written, though not for a sink that is stuck: what it holds up is lost, and counted.
    pub(super) fn finish(&self) {
        self.end();
        let began = Instant::now();
        loop {
            let before = self.orders.taken.load(Ordering::Relaxed);
            match self.ended.recv_timeout(limits::OUTLET_PATIENCE) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let moves = self.orders.taken.load(Ordering::Relaxed) != before;
                    if !moves || began.elapsed() >= limits::OUTLET_PATIENCE_MAX {
                        let whole = self.orders.whole.load(Ordering::Relaxed);
                        return self.lines.lose(self.lines.waiting().saturating_sub(whole));
                    }
                }
            }
        }
    }
}

/// What writes: the sink as it is, and how it fares.
struct Pen {
    to: OpenSink,
    voice: Voice,
    orders: Arc<Orders>,
    /// Why no file is open.
    refused: Errno,
    /// Whether it was said that the file was moved away and no other can be opened.
    said_moved: bool,
    looked_at: Instant,
    failure: Option<SinkFailure>,
    /// Lines that are missing here and not spoken of yet.
    lost: u64,
    said_at: Instant,
}

/// The sink refuses.
#[derive(Clone, Copy)]
struct SinkFailure {
    errno: Errno,
    since: Instant,
}

impl Pen {
    fn new(to: OpenSink, voice: Voice, orders: Arc<Orders>) -> Pen {
        let now = Instant::now();
        Pen {
            to,
            voice,
            orders,
            refused: Errno::ENXIO,
            said_moved: false,
            looked_at: now,
            failure: None,
            lost: 0,
            said_at: now,
        }
    }

    /// Writes what comes, until nobody can send or the order to end finds nothing left.
    fn run(&mut self, receiver: &LineReceiver) {
        loop {
            let patience = match self.to.sink {
                Sink::Path(_) => limits::OUTLET_LOOK,
                Sink::Stdout | Sink::Stderr | Sink::Nowhere => Duration::MAX,
            };
            match receiver.receive(patience) {
                Ok(Some(batch)) => self.take(batch, receiver),
                Ok(None) => {
                    self.look(&[], 0);
                }
                Err(_) => return,
            }
            if self.orders.rest.load(Ordering::Relaxed) && receiver.is_empty() {
                self.to = OpenSink { sink: Sink::Nowhere, file: None, mend: false };
            }
            if self.orders.end.load(Ordering::Relaxed) && receiver.is_empty() {
                return;
            }
        }
    }

    /// Writes one batch, and then what there is to say of the lines that are missing.
    fn take(&mut self, batch: Batch, receiver: &LineReceiver) {
        let failed = self.write(&batch.bytes);
        receiver.written(batch);
        self.orders.whole.store(0, Ordering::Relaxed);
        self.lost += receiver.take_lost();
        // Once a second where lines are lost for long.
        let due = receiver.is_empty() || self.said_at.elapsed() >= limits::OUTLET_NOTE_INTERVAL;
        let lost = if due { std::mem::take(&mut self.lost) } else { 0 };
        if let Some(note) = self.voice.note(lost, failed.map(|failure| failure.errno)) {
            self.said_at = Instant::now();
            self.write(&note);
        }
        if let Some(failure) = failed {
            self.voice.recovered(failure.since.elapsed());
        }
    }

    /// Writes all of it, however long that takes; gives the failure that was overcome, if there was one.
    fn write(&mut self, bytes: &[u8]) -> Option<SinkFailure> {
        let (mut at, mut pause) = (0, limits::OUTLET_RETRY_MIN);
        let mut overcome = None;
        self.look(bytes, 0);
        while at < bytes.len() {
            let errno = match self.put(&bytes[at..]) {
                Ok(count) => {
                    at += count;
                    pause = limits::OUTLET_RETRY_MIN;
                    self.orders.taken.fetch_add(count as u64, Ordering::Relaxed);
                    if at < bytes.len() {
                        let whole = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
                        self.orders.whole.store(whole as u64, Ordering::Relaxed);
                    }
                    overcome = self.failure.take().or(overcome);
                    self.orders.failing.store(false, Ordering::Relaxed);
                    continue;
                }
                Err(errno) => errno,
            };
            // A full pipe is no failure: its reader is slow.
            if errno != Errno::EAGAIN && self.failure.is_none() {
                self.failure = Some(SinkFailure { errno, since: Instant::now() });
                self.orders.failing.store(true, Ordering::Relaxed);
                self.voice.failing(errno);
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(limits::OUTLET_RETRY_MAX);
            at = self.look(bytes, at);
        }
        overcome
    }

    /// Writes once.
    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if std::mem::take(&mut self.to.mend)
            && let Err(errno) = self.put(b"\n")
        {
            self.to.mend = true;
            return Err(errno);
        }
        let outcome = match (&self.to.sink, &self.to.file) {
            (Sink::Nowhere, _) => Write::Bytes(bytes.len()),
            (Sink::Stdout, _) => output::write(io::stdout(), bytes),
            (Sink::Stderr, _) => output::write(io::stderr(), bytes),
            (Sink::Path(_), Some(file)) => output::write(file, bytes),
            (Sink::Path(_), None) => Write::Failed(self.refused),
        };
        match outcome {
            Write::Bytes(count) => Ok(count),
            Write::Blocked => Err(Errno::EAGAIN),
            Write::Failed(errno) => Err(errno),
        }
    }

    /// Looks, now and then, whether the file that is open still stands at its path, and opens the one that does. Gives
    /// where to go on: a new file gets the present line from its beginning.
    fn look(&mut self, bytes: &[u8], at: usize) -> usize {
        if let Some(next) = self.orders.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.to = next;
            (self.refused, self.said_moved) = (Errno::ENXIO, false);
            return begun_line(bytes, at);
        }
        let Sink::Path(path) = &self.to.sink else { return at };
        let asked = self.orders.reopen.swap(false, Ordering::Relaxed);
        if !asked && self.to.file.is_some() && self.looked_at.elapsed() < limits::OUTLET_LOOK {
            return at;
        }
        self.looked_at = Instant::now();
        let there = std::fs::metadata(path).ok();
        let open = self.to.file.as_ref().and_then(|file| file.metadata().ok());
        if open.as_ref().is_some_and(|open| there.as_ref().is_some_and(|there| same(open, there))) {
            self.said_moved = false;
            return at;
        }
        let had_one = self.to.file.is_some();
        match self.to.reopen() {
            Ok(()) => {
                self.said_moved = false;
                if had_one {
                    self.voice.reopened();
                }
                begun_line(bytes, at)
            }
            Err(error) => {
                self.refused = errno_of(&error);
                self.keep_or_close(open.as_ref());
                at
            }
        }
    }

    /// No other file can be opened in place of the one that is no longer at its path. Better one that was moved away
    /// than none, but what is written to one that was deleted nobody can ever read: that waits for another.
    fn keep_or_close(&mut self, open: Option<&Metadata>) {
        if open.is_some_and(|open| open.is_file() && open.nlink() == 0) {
            self.to.file = None;
        } else if self.to.file.is_some() && !std::mem::replace(&mut self.said_moved, true) {
            self.voice.moved(self.refused);
        }
    }
}

/// Where the line begins in which `at` is.
fn begun_line(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;
    use crate::control::log_form::LogForm;
    use nix::fcntl::OFlag;
    use std::fs::OpenOptions;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    fn fifo(folder: &Path) -> PathBuf {
        let path = folder.join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        path
    }

    /// Whatever a reader meets once the queue has overflowed: whole lines in their order, as many notes of lines that
    /// are missing as it takes, and no line unaccounted for.
    #[test]
    fn a_reader_that_comes_late_gets_whole_lines_and_the_count_of_those_that_are_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = fifo(folder.path());
        // More than the FIFO holds, so that a write stops within a line.
        let sink = Sink::Path(path.clone());
        let outlet =
            Outlet::start("test", sink, Voice::Log(LogForm::new(Format::Text)), 200_000).expect("an outlet");
        let sent = 3_000;
        for n in 0..sent {
            outlet.lines.send_or_lose(format!("{n} {}\n", "x".repeat(300)).into_bytes());
        }
        let lost = outlet.lines.lost();
        assert!(lost > 0 && lost < sent, "{lost}");
        let reader = BufReader::new(File::open(&path).expect("the FIFO"));
        outlet.end();
        let (mut last, mut came, mut told) = (None, 0, 0);
        for line in reader.lines().map(|line| line.expect("text")) {
            if let Some((_, count)) = line.split_once(" lost=") {
                told += count.split(' ').next().unwrap().parse::<u64>().expect("a count");
                continue;
            }
            let (n, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            let n: u64 = n.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(rest.len() == 300 && last < Some(n), "{last:?}, then {line}");
            (last, came) = (Some(n), came + 1);
        }
        assert_eq!((told, came), (lost, sent - lost));
    }

    /// A sink that never takes anything holds up the end for a moment only, and what it cost is counted.
    #[test]
    fn the_end_does_not_wait_for_a_sink_that_takes_nothing() {
        let sink = Sink::Path("/dev/full".into());
        let outlet = Outlet::start("test", sink, Voice::Silent, 10_000).expect("an outlet");
        assert!(outlet.takes_lines(100) && !outlet.takes_lines(10_001));
        for _ in 0..5 {
            outlet.lines.send_or_lose(b"a line\n".to_vec());
        }
        outlet.finish();
        assert_eq!(outlet.lines.lost(), 5);
        assert!(!outlet.takes_lines(100));
    }

    /// Where no other file can be made, lines go on to a file that was moved away, and wait where it was deleted.
    #[test]
    fn a_file_that_was_moved_away_is_written_on_and_one_that_was_deleted_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("file"), folder.path().join("moved"));
        let sink = OpenSink::open(Sink::Path(path.clone())).expect("a file");
        let mut pen = Pen::new(sink, Voice::Silent, Arc::default());
        std::fs::rename(&path, &moved).expect("moved");
        std::fs::create_dir(&path).expect("something that is no file");
        let look = |pen: &mut Pen| {
            pen.orders.reopen.store(true, Ordering::Relaxed);
            pen.look(b"one\n", 0);
        };
        look(&mut pen);
        assert_eq!(pen.put(b"one\n"), Ok(4));
        assert_eq!(std::fs::read(&moved).expect("the old file"), b"one\n");
        std::fs::remove_file(&moved).expect("deleted");
        look(&mut pen);
        assert_eq!(pen.put(b"two\n"), Err(Errno::EISDIR));
        std::fs::remove_dir(&path).expect("removed");
        look(&mut pen);
        assert_eq!(pen.put(b"two\n"), Ok(4));
        assert_eq!(std::fs::read(&path).expect("the new file"), b"two\n");
    }

    /// Lines that the sink took of the batch that it stopped in are no loss.
    #[test]
    fn the_end_counts_what_a_reader_does_not_find_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = fifo(folder.path());
        let reader = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
        let outlet = Outlet::start("test", Sink::Path(path), Voice::Silent, 1_000_000).expect("an outlet");
        let (sent, line) = (3_000, [b"x".repeat(99), b"\n".to_vec()].concat());
        outlet.lines.send(line.repeat(sent), sent as u64).expect("room");
        outlet.finish();
        let (mut text, mut reader) = (Vec::new(), reader.expect("the FIFO"));
        // Its end is that nothing more is there.
        let _ = reader.read_to_end(&mut text);
        let came = text.iter().filter(|byte| **byte == b'\n').count();
        assert!(came > 0 && came < sent, "{came}");
        assert_eq!(outlet.lines.lost(), (sent - came) as u64);
    }

    /// A file that takes the place of another in the middle of a line has the whole line.
    #[test]
    fn a_new_file_does_not_begin_within_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let sink = OpenSink::open(Sink::Path(path.clone())).expect("a file");
        let mut pen = Pen::new(sink, Voice::Silent, Arc::default());
        pen.put(b"one\ntw").expect("written");
        std::fs::rename(&path, folder.path().join("old")).expect("moved");
        pen.orders.reopen.store(true, Ordering::Relaxed);
        assert_eq!(pen.look(b"one\ntwo\n", 6), 4);
        pen.put(b"two\n").expect("written");
        assert_eq!(std::fs::read(&path).expect("the new file"), b"two\n");
    }
}
