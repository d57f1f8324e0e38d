//! A half between two scripted ends, driven as edge-triggered epoll would: an edge when bytes, a FIN or a reset
//! arrive, an edge when room comes after a write that was short or EAGAIN, and none besides. A half that takes
//! anything for proved that is not stands still here, and the check for quiet finds it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::OnceLock;

use super::budget::{Budget, Resume};
use super::half::{Ending, Half, Stage};
use super::kit::Kit;
use super::moved::Moved;
use super::wire::{Wire, WireRead};
use crate::config::RelayMode;
use crate::limits;
use crate::sys::{Errno, Read, Write};

mod cases;
mod random;

/// The longest source.
const SOURCE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// When a script's budgets say that there is more.
const MORE_AT_MS: u64 = 1234;
/// Pumps of one script: far above what any needs.
const TURNS_MAX: usize = 4096;

/// What every source says, up to its length: no stretch of it equals another.
fn text() -> &'static [u8] {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.take(SOURCE_BYTES_MAX / 8).flatten().collect()
    })
}

/// How a source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The event says so (EPOLLRDHUP).
    Fin,
    /// A reset behind a FIN: the event tells a failure (EPOLLHUP), reads tell an end in order.
    FinThenReset,
    /// The event tells a failure, and so does the read behind the last byte.
    Reset,
}

/// What one read from the source does beside reading.
#[derive(Clone, Copy, Debug)]
enum ReadTurn {
    Plain,
    /// A splice that moves no more than this, with more to read. So does recv in front of urgent data.
    Short(usize),
    /// These arrive right behind the call, before the next event is asked for.
    Arrive(usize),
    /// An urgent byte stands here, with the FIN behind it: splice gives 0, though there is more. A recv is plain.
    Mark,
    /// The end of the script's source arrives so.
    End,
    Fail(Errno),
    /// This socket cannot be spliced from. A recv is plain.
    Refuse(Errno),
}

/// What one write to the sink does.
#[derive(Clone, Copy, Debug)]
enum WriteTurn {
    All,
    /// Takes this much and is full.
    Fill(usize),
    /// A splice that stopped for reasons of its own: no edge follows. A send takes everything.
    Stop(usize),
    Block,
    Fail(Errno),
    /// This socket cannot be spliced to. A send takes everything.
    Refuse(Errno),
}

#[derive(Debug)]
struct FakePipe {
    queue: RefCell<Vec<u8>>,
    live: Rc<Cell<usize>>,
}

impl Drop for FakePipe {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

/// Both sockets and the kernel around them. Offsets count from the first byte of [`text`].
#[derive(Debug, Default)]
struct World {
    arrived: usize,
    read: usize,
    taken: usize,
    end: Option<End>,
    /// How the source is to end.
    planned_end: Option<End>,
    source_failed: bool,
    urgent: bool,
    sink_full: bool,
    sink_error: Option<Errno>,
    splice_refused: bool,
    source_edge: bool,
    sink_edge: bool,
    reads: VecDeque<ReadTurn>,
    writes: VecDeque<WriteTurn>,
    /// Whether the next pipes can be had.
    opens: VecDeque<bool>,
    live_pipes: Rc<Cell<usize>>,
    fins: usize,
    nodelays: usize,
}

impl World {
    fn arrive(&mut self, count: usize) {
        if self.end.is_none() {
            self.arrived = (self.arrived + count).min(SOURCE_BYTES_MAX);
            self.source_edge = true;
        }
    }

    fn end_source(&mut self) {
        if self.end.is_none() && self.planned_end.is_some() {
            self.end = self.planned_end;
            self.source_edge = true;
        }
    }

    fn make_room(&mut self) {
        self.sink_edge |= self.sink_full;
        self.sink_full = false;
    }

    /// An event for another cause: epoll then tells all that holds for the socket.
    fn nudge(&mut self) {
        self.source_edge |= self.read < self.arrived || self.end.is_some();
        self.sink_edge |= !self.sink_full;
    }

    /// One read of at most `room` bytes; what was read lies before `self.read`.
    fn read(&mut self, room: usize, spliced: bool) -> Read {
        assert!(!self.source_failed, "read from a source that had failed");
        assert_eq!(self.sink_error, None, "read for a sink that is gone");
        assert!(room > 0);
        let turn = self.reads.pop_front().unwrap_or(ReadTurn::Plain);
        let mut count = room.min(self.arrived - self.read);
        match turn {
            ReadTurn::Short(most) if spliced || self.urgent => count = count.min(most),
            ReadTurn::Mark if spliced => return Read::End,
            ReadTurn::Refuse(errno) if spliced => {
                self.splice_refused = true;
                return Read::Failed(errno);
            }
            ReadTurn::Fail(errno) => {
                self.source_failed = true;
                return Read::Failed(errno);
            }
            _ => {}
        }
        self.read += count;
        let outcome = match self.end {
            _ if count > 0 => Read::Bytes(count),
            None => Read::Blocked,
            Some(End::Fin | End::FinThenReset) => Read::End,
            Some(End::Reset) => {
                self.source_failed = true;
                Read::Failed(Errno::ECONNRESET)
            }
        };
        match turn {
            ReadTurn::Arrive(count) => self.arrive(count),
            ReadTurn::End => self.end_source(),
            _ => {}
        }
        outcome
    }

    fn write(&mut self, bytes: &[u8], spliced: bool) -> Write {
        assert!(!bytes.is_empty(), "wrote nothing: what that means is ambiguous");
        assert_eq!(self.sink_error, None, "wrote to a sink that is gone");
        assert_eq!(self.fins, 0, "wrote behind the FIN");
        assert!(bytes == &text()[self.taken..][..bytes.len()], "not what comes at byte {}", self.taken);
        if self.sink_full {
            assert!(spliced, "a short send has told that the sink is full");
            return Write::Blocked;
        }
        let count = match self.writes.pop_front().unwrap_or(WriteTurn::All) {
            WriteTurn::Fill(most) => most.min(bytes.len()),
            WriteTurn::Stop(most) if spliced => {
                self.taken += most.min(bytes.len());
                return Write::Bytes(most.min(bytes.len()));
            }
            WriteTurn::Refuse(errno) if spliced => {
                self.splice_refused = true;
                return Write::Failed(errno);
            }
            WriteTurn::Block => 0,
            WriteTurn::Fail(errno) => {
                self.sink_error = Some(errno);
                return Write::Failed(errno);
            }
            WriteTurn::All | WriteTurn::Stop(_) | WriteTurn::Refuse(_) => bytes.len(),
        };
        self.taken += count;
        self.sink_full = count < bytes.len();
        if count == 0 { Write::Blocked } else { Write::Bytes(count) }
    }
}

impl Wire for World {
    type Pipe = FakePipe;

    fn recv(&mut self, buffer: &mut [u8], max_bytes: usize) -> WireRead {
        let outcome = self.read(buffer.len().min(max_bytes), false);
        if let Read::Bytes(count) = outcome {
            buffer[..count].copy_from_slice(&text()[self.read - count..self.read]);
        }
        outcome.into()
    }

    fn send(&mut self, bytes: &[u8]) -> Write {
        self.write(bytes, false)
    }

    fn fill(&mut self, pipe: &FakePipe, max_bytes: usize) -> Read {
        assert!(!self.splice_refused, "spliced after a refusal");
        assert!(pipe.queue.borrow().is_empty(), "filled a pipe that holds bytes");
        let outcome = self.read(max_bytes.min(limits::PIPE_BYTES), true);
        if let Read::Bytes(count) = outcome {
            pipe.queue.borrow_mut().extend_from_slice(&text()[self.read - count..self.read]);
        }
        outcome
    }

    fn drain(&mut self, pipe: &FakePipe, max_bytes: usize) -> Write {
        assert!(!self.splice_refused, "spliced after a refusal");
        let mut queue = pipe.queue.borrow_mut();
        assert_eq!(max_bytes, queue.len(), "the half has lost count of its pipe");
        let outcome = self.write(&queue, true);
        if let Write::Bytes(count) = outcome {
            queue.drain(..count);
        }
        outcome
    }

    fn unload(&mut self, pipe: &FakePipe, buffer: &mut [u8]) -> Read {
        let mut queue = pipe.queue.borrow_mut();
        // A read from a pipe may end early as well.
        let count = buffer.len().min(queue.len()).min(300_000);
        buffer[..count].copy_from_slice(&queue[..count]);
        queue.drain(..count);
        if count == 0 { Read::Blocked } else { Read::Bytes(count) }
    }

    fn open_pipe(&mut self, size_bytes: usize) -> Result<FakePipe, Errno> {
        assert_eq!(size_bytes, limits::PIPE_BYTES);
        if !self.opens.pop_front().unwrap_or(true) {
            return Err(Errno::EMFILE);
        }
        self.live_pipes.set(self.live_pipes.get() + 1);
        Ok(FakePipe { queue: RefCell::default(), live: Rc::clone(&self.live_pipes) })
    }

    fn set_nodelay(&mut self) {
        self.nodelays += 1;
    }

    fn finish(&mut self) {
        assert_eq!(self.sink_error, None, "sent FIN to a sink that is gone");
        self.fins += 1;
    }
}

/// The worker's part: edges in, pumps, and what must hold after each.
struct Driver {
    world: World,
    kit: Kit<FakePipe>,
    half: Half<FakePipe>,
    mode: RelayMode,
    resume: Resume,
    /// What the next turns may take; the turns behind them have no limit.
    allowances: VecDeque<usize>,
    turns: usize,
}

impl Driver {
    /// A half with the first `pending` bytes already read.
    fn new(mode: RelayMode, pending: usize, world: World) -> Driver {
        let mut kit = Kit::new(4);
        let half = Half::new(mode, &text()[..pending], false, &mut kit);
        let world = World { arrived: pending, read: pending, ..world };
        let allowances = VecDeque::new();
        Driver { world, kit, half, mode, resume: Resume::NextTurn, allowances, turns: 0 }
    }

    fn quiet(&self) -> bool {
        self.resume == Resume::OnEvent && !self.world.source_edge && !self.world.sink_edge
    }

    /// One turn of the worker, if anything calls for one.
    fn turn(&mut self) -> Moved {
        if self.quiet() {
            return Moved::default();
        }
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "never comes to rest: {:?}", self.half);
        if std::mem::take(&mut self.world.source_edge) {
            match self.world.end {
                None => self.half.source_ready(),
                Some(End::Fin) => self.half.source_finished(),
                Some(End::FinThenReset | End::Reset) => self.half.source_unsettled(),
            }
        }
        if std::mem::take(&mut self.world.sink_edge) {
            self.half.sink_ready();
        }
        let (taken, read) = (self.world.taken, self.world.read);
        let allowance = self.allowances.pop_front();
        let mut budget = allowance.map_or(Budget::TURN, |bytes| Budget::until(MORE_AT_MS, bytes));
        let moved = self.half.pump(&mut self.world, &mut self.kit, &mut budget);
        self.resume = moved.resume;
        assert_eq!(moved.bytes(), self.world.taken - taken);
        assert_eq!(moved.taken, self.world.read - read);
        let one_read = if self.mode == RelayMode::Copy { limits::SCRATCH_BYTES } else { limits::PIPE_BYTES };
        assert!(moved.bytes() <= limits::PUMP_BYTES_MAX + one_read, "over budget: {moved:?}");
        assert!(moved.taken <= limits::PUMP_BYTES_MAX + one_read, "over budget: {moved:?}");
        assert!(allowance.is_none_or(|bytes| moved.taken <= bytes), "over budget: {moved:?}");
        if let Resume::AtMs(at_ms) = moved.resume {
            assert_eq!((at_ms, Some(moved.taken)), (MORE_AT_MS, allowance));
        }
        assert!(self.half.ready() == (moved.resume != Resume::OnEvent), "{moved:?}: {:?}", self.half);
        self.check();
        moved
    }

    /// Turns until nothing calls for another.
    fn settle(&mut self) {
        while !self.quiet() {
            self.turn();
        }
    }

    fn check(&self) {
        let (world, pending) = (&self.world, self.half.pending_bytes());
        assert_eq!(self.half.bytes(), world.taken as u64);
        match self.half.stage() {
            Stage::SinkGone(_) => assert_eq!(pending, 0),
            _ => assert_eq!(world.read, world.taken + pending),
        }
        let (lent, pooled) = self.kit.pipes();
        assert_eq!(lent + pooled, world.live_pipes.get());
        assert!(lent <= usize::from(pending > 0), "an idle half holds a pipe");
        assert!(pending > 0 || self.kit.spare_bytes_lent() == 0, "an idle half holds memory");
        if self.quiet() {
            self.check_quiet();
        }
    }

    /// Without a further event nothing will move: so nothing may be left that could.
    fn check_quiet(&self) {
        let (world, stage) = (&self.world, self.half.stage());
        assert_eq!(world.fins, usize::from(stage == Stage::Done(Ending::Fin)), "FIN in {stage:?}");
        if let Some(errno) = world.sink_error {
            assert!(
                matches!(stage, Stage::SinkGone(seen) if seen == errno || (errno == Errno::EPIPE && seen == Errno::ECONNRESET))
                    || matches!(stage, Stage::Done(_))
            );
        } else if world.sink_full {
            assert!(self.half.pending_bytes() > 0, "nobody waits for the room");
        } else {
            let due = if world.source_failed { world.read } else { world.arrived };
            assert_eq!(world.taken, due, "stands still in {stage:?}: {:?}", self.half);
            let expected = match world.end {
                _ if world.source_failed => Stage::Done(Ending::Reset),
                None => Stage::Open,
                Some(End::Fin | End::FinThenReset) => Stage::Done(Ending::Fin),
                Some(End::Reset) => Stage::Done(Ending::Reset),
            };
            assert_eq!(stage, expected);
        }
    }

    /// The session is over: everything lent comes back, and no pipe that is kept holds bytes.
    fn release(mut self) -> World {
        self.half.release(&mut self.kit);
        let (lent, pooled) = self.kit.pipes();
        assert_eq!((lent, self.kit.spare_bytes_lent()), (0, 0));
        assert_eq!(pooled, self.world.live_pipes.get());
        for _ in 0..pooled {
            let pipe = self.kit.lend_pipe(|_| Err(())).expect("pooled");
            assert!(pipe.queue.borrow().is_empty(), "pooled with bytes in it");
            self.kit.close_pipe(pipe);
        }
        assert_eq!(self.world.live_pipes.get(), 0);
        self.world
    }
}
