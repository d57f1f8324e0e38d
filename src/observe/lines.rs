//! A queue of finished lines on their way to the one thread that writes them: bounded in bytes, and its senders never
//! wait. What finds no room is dropped by its sender and counted here.
//!
//! tracing-appender's `NonBlocking` comes near: but its bound counts lines, which may be of any length, and what its
//! sink refuses is gone without a count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::limits::LINES_BATCH_OVERHEAD_BYTES;

/// The sending end; clones send to the same queue.
#[derive(Clone, Debug)]
pub struct LineSender {
    shared: Arc<Shared>,
    /// Unbounded by itself: what stands in it was given room by `Shared::bytes`.
    batches: Sender<Batch>,
}

/// The end of the thread that writes.
#[derive(Debug)]
pub struct LineReceiver {
    shared: Arc<Shared>,
    batches: Receiver<Batch>,
}

/// Whole lines, each with its line feed. Whatever becomes of it, its room is free again afterwards, and lines that were
/// not written are counted as lost.
#[derive(Debug)]
pub struct Batch {
    /// The text of the lines; empty where the receiver was only to be woken.
    pub bytes: Vec<u8>,
    lines: u64,
    room: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity: AtomicUsize,
    /// Room that is taken, in bytes.
    bytes: AtomicUsize,
    /// Lines that were sent and are not written yet.
    waiting: AtomicU64,
    /// Lines that were dropped since the receiver last asked.
    unsaid: AtomicU64,
    /// Lines that were ever dropped.
    lost: AtomicU64,
    /// A batch to wake the receiver is on its way: one is enough.
    woken: AtomicBool,
}

/// A queue with room for so many bytes.
pub fn lines(capacity: usize) -> (LineSender, LineReceiver) {
    let shared = Arc::new(Shared {
        capacity: AtomicUsize::new(capacity),
        bytes: AtomicUsize::new(0),
        waiting: AtomicU64::new(0),
        unsaid: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        woken: AtomicBool::new(false),
    });
    let (sender, receiver) = unbounded();
    (LineSender { shared: shared.clone(), batches: sender }, LineReceiver { shared, batches: receiver })
}

impl LineSender {
    /// Sends so many lines, or gives them back where there is no room for them.
    ///
    /// # Errors
    /// The lines themselves.
    pub fn send(&self, mut bytes: Vec<u8>, lines: u64) -> Result<(), Vec<u8>> {
        // What was grown for more than it holds would take room that nobody counts.
        if bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        let room = bytes.capacity() + LINES_BATCH_OVERHEAD_BYTES;
        if !self.shared.take(room, self.shared.capacity()) {
            return Err(bytes);
        }
        self.shared.waiting.fetch_add(lines, Ordering::SeqCst);
        self.batches.send(self.batch(bytes, lines, room)).map_err(|refused| {
            let mut batch = refused.into_inner();
            self.shared.waiting.fetch_sub(std::mem::take(&mut batch.lines), Ordering::SeqCst);
            std::mem::take(&mut batch.bytes)
        })
    }

    /// Whether a line of so many bytes would find room now.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.shared.bytes.load(Ordering::Relaxed) + bytes <= self.shared.capacity.load(Ordering::Relaxed)
    }

    /// Takes room for a line that is to come, of so many bytes at most; false where there is none.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> bool {
        self.shared.take(bytes, self.shared.capacity())
    }

    /// Reserves room for a line that nothing depends on: half of the queue is not for those.
    #[must_use]
    pub fn reserve_some(&self, bytes: usize) -> bool {
        self.shared.take(bytes, self.shared.capacity() / 2)
    }

    /// Gives back room that was reserved and is not needed.
    pub fn release(&self, bytes: usize) {
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Sends lines whose room was reserved, and is theirs from now on: they are never refused.
    pub fn send_reserved(&self, mut bytes: Vec<u8>, lines: u64, room: usize) {
        bytes.shrink_to_fit();
        self.shared.waiting.fetch_add(lines, Ordering::SeqCst);
        // Where nobody receives, dropping it counts its lines.
        let _ = self.batches.send(self.batch(bytes, lines, room));
    }

    /// Sends one line, or drops and counts it.
    pub fn send_or_lose(&self, line: Vec<u8>) {
        if self.send(line, 1).is_err() {
            self.lose(1);
        }
    }

    /// Counts lines that were dropped for want of room.
    pub fn lose(&self, lines: u64) {
        self.shared.lose(lines);
        // Where lines wait, the receiver looks at the count behind them.
        if self.shared.waiting.load(Ordering::SeqCst) == 0 {
            self.wake();
        }
    }

    /// Has the receiver look up though there may be no line.
    pub fn wake(&self) {
        if !self.shared.woken.swap(true, Ordering::SeqCst) {
            let _ = self.batches.send(self.batch(Vec::new(), 0, 0));
        }
    }

    fn batch(&self, bytes: Vec<u8>, lines: u64, room: usize) -> Batch {
        Batch { bytes, lines, room, shared: self.shared.clone() }
    }

    /// Has the queue hold so many bytes from now on. What waits beyond that stays.
    pub fn set_capacity(&self, capacity: usize) {
        self.shared.capacity.store(capacity, Ordering::Relaxed);
    }

    /// How many lines were ever dropped.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// How many bytes of its room are taken, and how many there are.
    pub fn room(&self) -> (usize, usize) {
        (self.shared.bytes.load(Ordering::Relaxed), self.shared.capacity())
    }

    /// How many lines wait to be written.
    pub fn waiting(&self) -> u64 {
        self.shared.waiting.load(Ordering::Relaxed)
    }
}

impl LineReceiver {
    /// The next lines; none within this time.
    ///
    /// # Errors
    /// Nobody can send any more, and nothing is left.
    pub fn receive(&self, patience: Duration) -> Result<Option<Batch>, RecvTimeoutError> {
        match self.batches.recv_timeout(patience) {
            Ok(batch) => {
                if batch.bytes.is_empty() {
                    self.shared.woken.store(false, Ordering::SeqCst);
                }
                Ok(Some(batch))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(gone) => Err(gone),
        }
    }

    /// A batch was written: its room is free again.
    pub fn written(&self, mut batch: Batch) {
        self.shared.waiting.fetch_sub(std::mem::take(&mut batch.lines), Ordering::SeqCst);
    }

    /// How many lines were dropped since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.shared.unsaid.swap(0, Ordering::SeqCst)
    }

    /// Whether nothing is left to receive.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

impl Shared {
    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    fn take(&self, room: usize, limit: usize) -> bool {
        let within = |taken: usize| Some(taken + room).filter(|sum| *sum <= limit);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::SeqCst);
        self.unsaid.fetch_add(lines, Ordering::SeqCst);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.shared.bytes.fetch_sub(self.room, Ordering::Relaxed);
        if self.lines > 0 {
            self.shared.waiting.fetch_sub(self.lines, Ordering::SeqCst);
            self.shared.lose(self.lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn no_more_bytes_wait_than_there_is_room_for_however_they_come() {
        for length in [1, 100, 5_000, 70_000] {
            let (sender, receiver) = lines(100_000);
            // Memory counts, not what of it is used.
            let grown = |length| {
                let mut line = Vec::with_capacity(10 * length);
                line.resize(length, b'x');
                line
            };
            while sender.send(grown(length), 1).is_ok() {}
            let held: usize = std::iter::from_fn(|| receiver.receive(SOON).expect("a sender"))
                .map(|batch| batch.bytes.capacity() + LINES_BATCH_OVERHEAD_BYTES)
                .sum();
            assert!(held <= 100_000, "{held} bytes in lines of {length}");
            assert!(held > 20_000, "{held} bytes in lines of {length}");
        }
    }

    #[test]
    fn room_is_free_again_once_a_batch_is_written() {
        let (sender, receiver) = lines(1_000);
        for round in 0..100 {
            sender.send(vec![b'x'; 800], 3).unwrap_or_else(|_| panic!("round {round}"));
            assert_eq!(sender.send(vec![b'y'; 800], 1), Err(vec![b'y'; 800]));
            let batch = receiver.receive(SOON).unwrap().expect("a batch");
            assert_eq!(sender.waiting(), 3);
            receiver.written(batch);
            assert_eq!(sender.waiting(), 0);
        }
    }

    #[test]
    fn what_is_lost_is_told_once_and_counted_for_ever() {
        let (sender, receiver) = lines(1_000);
        sender.send_or_lose(vec![b'x'; 800]);
        sender.send_or_lose(vec![b'y'; 800]);
        sender.lose(2);
        assert_eq!((receiver.take_lost(), receiver.take_lost()), (3, 0));
        assert_eq!(sender.lost(), 3);
    }

    /// A panic of who writes, or a receiver that is gone.
    #[test]
    fn a_batch_that_nobody_writes_is_lost_and_leaves_its_room() {
        let (sender, receiver) = lines(1_000);
        sender.send(vec![b'x'; 800], 3).unwrap();
        drop(receiver.receive(SOON).unwrap().expect("a batch"));
        assert_eq!((sender.waiting(), sender.lost()), (0, 3));
        assert!(sender.reserve(1_000));
        sender.release(1_000);
        drop(receiver);
        assert_eq!(sender.send(vec![b'x'; 8], 1), Err(vec![b'x'; 8]), "given back: its sender counts it");
        assert!(sender.reserve(500));
        sender.send_reserved(vec![b'y'; 8], 1, 500);
        assert_eq!((sender.waiting(), sender.lost()), (0, 4));
        assert!(sender.reserve(1_000));
    }

    /// However often it is to be woken: one batch is enough, as nothing bounds those.
    #[test]
    fn a_receiver_that_is_busy_is_woken_once() {
        let (sender, receiver) = lines(10);
        for _ in 0..100 {
            sender.wake();
        }
        assert!(receiver.receive(SOON).unwrap().is_some() && receiver.is_empty());
        sender.wake();
        assert!(!receiver.is_empty(), "and again once it was");
    }

    #[test]
    fn a_receiver_that_waits_for_nothing_else_hears_of_a_loss() {
        let (sender, receiver) = lines(10);
        sender.send_or_lose(vec![b'x'; 800]);
        assert!(receiver.receive(SOON).unwrap().expect("a wake-up").bytes.is_empty());
        assert_eq!(receiver.take_lost(), 1);
    }
}
