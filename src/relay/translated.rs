//! A session whose client's side is translated: what the client sends is opened on the way to the target, what the target
//! sends is sealed on the way to the client.
//!
//! Both happen behind the read, so that a [`Half`](super::half::Half) holds, counts and writes what its sink takes, and its
//! end is what it is elsewhere.

use std::fmt;

use super::budget::Budgets;
use super::driven::Driven;
use super::halves::Halves;
use super::kit::{Kit, SealKit, with_seal_kit};
use super::moved::Engine;
use super::side::{Edge, Side};
use super::wire::{Wire, WireRead};
use crate::config::RelayMode;
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;
use crate::sys::{Errno, Read, Write};

/// How the client's side of a session is translated, and what that holds between two reads.
pub(super) trait Translation {
    /// What its bytes count as.
    const ENGINE: Engine;

    /// How much may be opened in a turn, however little comes of it.
    const STEPS_PER_TURN: usize;

    /// The longest piece that is opened at once.
    const PIECE_BYTES_MAX: usize;

    /// Content of the client: what comes of one read of so many bytes at most, and of what was read before. 0 bytes where
    /// there is none. `steps` is counted down.
    fn open(
        &mut self,
        source: &mut impl Wire,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
        steps: &mut usize,
    ) -> WireRead;

    /// For the client: what one read of the target, of so many bytes at most, is sealed in. `batch` is told.
    fn seal(
        &mut self,
        source: &mut impl Wire,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
        batch: &mut SealedBatch,
    ) -> WireRead;

    /// Says to the client that no more comes, before its FIN.
    fn end(&mut self, _: &Stream) {}

    /// Says to the client what is owed beside the target's bytes. Nothing of these is half written.
    fn settle(&mut self, _: &Stream) {}

    /// How many bytes of the client wait here: content, and what no content has come of yet.
    fn held_bytes(&self) -> usize;

    /// Why the session cannot go on, once it cannot.
    fn error(&self) -> Option<&dyn fmt::Display>;

    /// Whether the client was told of the error.
    fn told(&self) -> bool {
        false
    }
}

/// Lays what has come of the client and is not opened into `raw`, and what one read brings behind it, unless it has a whole
/// piece. `max_bytes` are read at most, and what `wanted` bytes have room for, or any one piece of `longest`: what the buffer does
/// not take stays with the session. How many bytes stand there, and how many of them were read.
///
/// # Errors
/// What the read gave, where that is no bytes.
pub(super) fn read_on(
    (begun, is_whole): (&[u8], bool),
    source: &mut impl Wire,
    raw: &mut [u8],
    (wanted, longest): (usize, usize),
    max_bytes: usize,
) -> Result<(usize, usize), Read> {
    let begin = begun.len();
    raw[..begin].copy_from_slice(begun);
    if is_whole {
        return Ok((begin, 0));
    }
    let room = wanted.clamp(longest, raw.len()).min(begin.saturating_add(max_bytes));
    match source.recv(&mut raw[begin..room], room - begin).read {
        Read::Bytes(count) => Ok((begin + count, count)),
        other => Err(other),
    }
}

/// What was made for the client of one read of the target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SealedBatch {
    /// Bytes of the target in it.
    plain_bytes: usize,
    /// Bytes of it that the client's socket has not taken.
    left_bytes: usize,
}

impl SealedBatch {
    /// So many bytes of the target, in so many.
    pub(super) fn of(plain_bytes: usize, left_bytes: usize) -> SealedBatch {
        SealedBatch { plain_bytes, left_bytes }
    }

    /// The client's socket took so many bytes: how many bytes of the target the client has by that. Those of one read count
    /// once all that they were sealed in is taken.
    fn delivered(&mut self, count: usize) -> usize {
        self.left_bytes -= count;
        if self.left_bytes == 0 { std::mem::take(&mut self.plain_bytes) } else { 0 }
    }
}

/// What translates a client's side, between two turns.
#[derive(Debug)]
pub(super) struct TranslatedSide<T> {
    pub(super) translation: T,
    /// What the target's last read was sealed in.
    batch: SealedBatch,
}

impl<T: Translation> TranslatedSide<T> {
    pub(super) fn new(translation: T) -> TranslatedSide<T> {
        TranslatedSide { translation, batch: SealedBatch::default() }
    }

    /// The direction from this side to the socket beside `ends`.
    pub(super) fn ends<'a, W: Wire<Pipe = Pipe>>(
        &'a mut self,
        (ends, sink): (W, &'a Stream),
        kit: &'a mut SealKit,
        from: Side,
    ) -> TranslatedEnds<'a, T, W> {
        let TranslatedSide { translation, batch } = self;
        TranslatedEnds { ends, sink, translation, batch, kit, from, steps: T::STEPS_PER_TURN }
    }

    /// Says to the client what is owed, where nothing of the target's bytes is half written.
    pub(super) fn settle(&mut self, halves: &Halves, client: &Stream) {
        if halves.pending_bytes(Side::Client) == 0 {
            self.translation.settle(client);
        }
    }
}

/// The halves of a session whose client's side is translated, and what translates it.
#[derive(Debug)]
pub(super) struct TranslatedHalves<T> {
    halves: Halves,
    side: TranslatedSide<T>,
}

impl<T: Translation> TranslatedHalves<T> {
    /// A session whose client sent `pending`, which was opened already.
    pub(super) fn new(pending: &[u8], translation: T, kit: &mut Kit<Pipe>) -> TranslatedHalves<T> {
        let halves = Halves::new(RelayMode::Copy, pending, kit).translated();
        TranslatedHalves { halves, side: TranslatedSide::new(translation) }
    }

    /// So many bytes in front of what was pending are not the client's.
    pub(super) fn preface(&mut self, bytes: usize) {
        self.halves.preface(bytes);
    }

    /// An event of one side's socket.
    pub(super) fn event(&mut self, side: Side, edge: Edge) {
        self.halves.event(side, edge);
    }

    /// Moves what can be moved in both directions, as far as the budgets reach.
    pub(super) fn drive(
        &mut self,
        client: &Stream,
        target: &Stream,
        kit: &mut Kit<Pipe>,
        budgets: &mut Budgets,
    ) -> Driven {
        let TranslatedHalves { halves, side } = self;
        let driven = halves.drive(client, target, kit, budgets, |half, ends, from, kit, budget| {
            let sink = ends.sink;
            with_seal_kit(kit, |seal_kit, kit| {
                half.pump(&mut side.ends((ends, sink), seal_kit, from), kit, budget)
            })
        });
        side.settle(halves, client);
        driven
    }

    /// What translates it.
    pub(super) fn translation(&self) -> &T {
        &self.side.translation
    }

    /// Bytes of this side that the other has, without what sealing adds.
    pub(super) fn bytes(&self, from: Side) -> u64 {
        self.halves.bytes(from)
    }

    /// Bytes for this side that it does not have: read, and of what could not be opened yet, too.
    pub(super) fn pending_bytes(&self, to: Side) -> usize {
        let held = if to == Side::Target { self.side.translation.held_bytes() } else { 0 };
        self.halves.pending_bytes(to) + held
    }

    /// Whether something could be moved without an event.
    pub(super) fn ready(&self) -> bool {
        self.halves.ready()
    }

    /// Whether something that comes from this side could be moved without an event.
    pub(super) fn ready_from(&self, side: Side) -> bool {
        self.halves.ready_from(side)
    }

    /// Whether either direction has ended.
    pub(super) fn half_closed(&self) -> bool {
        self.halves.half_closed()
    }

    /// Whether the target has not ended its direction.
    pub(super) fn target_still_open(&self) -> bool {
        self.halves.target_still_open()
    }

    /// Gives everything lent back.
    pub(super) fn release(&mut self, kit: &mut Kit<Pipe>) {
        self.halves.release(kit);
    }
}

/// One direction of a translated session, over what its bytes come and go by.
pub(super) struct TranslatedEnds<'a, T, W> {
    ends: W,
    sink: &'a Stream,
    translation: &'a mut T,
    batch: &'a mut SealedBatch,
    kit: &'a mut SealKit,
    /// Which side is read from.
    from: Side,
    /// How much may still be opened in this turn.
    steps: usize,
}

impl<T: Translation, W: Wire<Pipe = Pipe>> Wire for TranslatedEnds<'_, T, W> {
    type Pipe = Pipe;

    const THROUGH_MEMORY: Engine = T::ENGINE;

    const BUFFER_BYTES_MIN: usize = T::PIECE_BYTES_MAX;

    fn recv(&mut self, buffer: &mut [u8], max_bytes: usize) -> WireRead {
        let TranslatedEnds { ends, translation, batch, kit, from, steps, .. } = self;
        match from {
            Side::Client => translation.open(ends, buffer, max_bytes, kit, steps),
            Side::Target => translation.seal(ends, buffer, max_bytes, kit, batch),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Write {
        self.ends.send(bytes)
    }

    // What is translated passes through memory: no half of such a session splices.
    fn fill(&mut self, _: &Pipe, _: usize) -> Read {
        Read::Failed(Errno::EINVAL)
    }

    fn drain(&mut self, _: &Pipe, _: usize) -> Write {
        Write::Failed(Errno::EINVAL)
    }

    fn unload(&mut self, pipe: &Pipe, buffer: &mut [u8]) -> Read {
        self.ends.unload(pipe, buffer)
    }

    fn open_pipe(&mut self, size_bytes: usize) -> Result<Pipe, Errno> {
        self.ends.open_pipe(size_bytes)
    }

    fn set_nodelay(&mut self) {
        self.ends.set_nodelay();
    }

    fn finish(&mut self) {
        if self.from == Side::Target && self.ends.tells_end() {
            self.translation.end(self.sink);
        }
        self.ends.finish();
    }

    fn delivered(&mut self, count: usize) -> usize {
        match self.from {
            Side::Client => count,
            Side::Target => self.batch.delivered(count),
        }
    }

    fn ended(&self) -> bool {
        self.ends.ended()
    }

    fn spent(&self) -> bool {
        self.steps == 0
    }
}
