//! One direction of a relay: Open -> Draining -> Done, over copy or splice.
//!
//! Readiness is edge-triggered: `readable` and `writable` say what the last edge promised and no call has
//! disproved since. They are cleared on proof alone, so that no wake-up is lost: a read that came back short
//! (an emptied socket) or EAGAIN with an empty pipe; a write that came back short or EAGAIN.

use super::budget::{Budget, Resume};
use super::gear::Gear;
use super::kit::{Kit, Spare};
use super::moved::{Engine, Moved};
use super::side::Edge;
use super::wire::{Wire, WireRead};
use crate::config::RelayMode;
use crate::limits;
use crate::sys::pipe::Pipe;
use crate::sys::{Errno, Read, Write};

/// How a direction's sink is told that no more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The source ended in order: FIN.
    Fin,
    /// The source failed: RST.
    Reset,
}

/// Where a direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Reads and writes.
    Open,
    /// The source ended; what was read still has to be written.
    Draining(Ending),
    /// The source ended and everything was written; after `Fin` the sink has its FIN.
    Done(Ending),
    /// The sink is gone; what was pending is lost, as it would be without a relay.
    SinkGone(Errno),
}

#[derive(Debug)]
enum Carry<P> {
    Nothing,
    Bytes(Box<Spare>),
    Piped { pipe: P, held_bytes: usize },
}

/// One direction: source to sink.
#[derive(Debug)]
pub(super) struct Half<P> {
    carry: Carry<P>,
    bytes: u64,
    stage: Stage,
    gear: Gear,
    readable: bool,
    writable: bool,
    fin_seen: bool,
    /// A short read does not prove that the source is empty.
    unsettled: bool,
    source_reset: bool,
    /// An event told of a failure of the source that no read has met yet.
    alarmed: bool,
    /// Writes to the sink while it had Nagle's algorithm: the first is sent at once, the second may be held back.
    writes_with_nagle: u8,
    spliced: bool,
    /// Bytes of what is carried that are not the source's: the first ones, and not counted.
    preface_bytes: u16,
}

impl<P> Half<P> {
    /// A direction in which `pending` was read already and nothing of it written. `nodelay` says that the sink
    /// sends small writes at once without being told.
    pub(super) fn new(mode: RelayMode, pending: &[u8], nodelay: bool, kit: &mut Kit<P>) -> Half<P> {
        let carry = if pending.is_empty() { Carry::Nothing } else { Carry::Bytes(kit.keep(pending)) };
        Half {
            carry,
            bytes: 0,
            stage: Stage::Open,
            gear: Gear::first(mode),
            readable: false,
            writable: true,
            fin_seen: false,
            unsettled: false,
            source_reset: false,
            alarmed: false,
            writes_with_nagle: if nodelay { u8::MAX } else { 0 },
            spliced: false,
            preface_bytes: 0,
        }
    }

    /// So many bytes in front of what was pending are not the source's.
    pub(super) fn preface(&mut self, bytes: usize) {
        self.preface_bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
    }

    /// So many bytes of the source were written before there was a relay.
    pub(super) fn begin_behind(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// What a read gives is not what the source sent: a short one proves nothing.
    pub(super) fn translated(&mut self) {
        self.unsettled = true;
    }

    /// What an event says of the source's socket.
    pub(super) fn source_event(&mut self, edge: Edge) {
        if edge.urgent {
            self.source_urgent();
        }
        if edge.failed {
            self.source_alarmed();
        }
        if edge.fin {
            self.source_finished();
        } else if edge.readable {
            self.source_ready();
        }
    }

    /// What the source's events promised and no call has disproved, for who reads from it next.
    pub(super) fn promised(&self) -> Edge {
        Edge {
            readable: self.readable,
            writable: false,
            fin: self.fin_seen,
            failed: self.alarmed,
            urgent: self.unsettled,
        }
    }

    /// The source may have bytes, an end or an error.
    pub(super) fn source_ready(&mut self) {
        self.readable = true;
    }

    /// The source's FIN has arrived, behind whatever is still unread.
    pub(super) fn source_finished(&mut self) {
        self.fin_seen = true;
        self.readable = true;
    }

    /// Urgent data stands in the source: a read stops in front of it, and splice never gets past it.
    pub(super) fn source_urgent(&mut self) {
        self.gear = Gear::CopyForGood;
        self.source_unsettled();
    }

    /// The source failed or was shut down both ways: behind its bytes stands an end that no further edge
    /// announces, so that a short read does not prove that it is empty.
    pub(super) fn source_unsettled(&mut self) {
        self.unsettled = true;
        self.readable = true;
    }

    /// An event told of a failure: a read will find it, or [`Half::overlooks_failure`] tells that none will.
    pub(super) fn source_alarmed(&mut self) {
        self.alarmed = true;
        self.source_unsettled();
    }

    /// Whether a failure was told of that no read is going to find soon: the half reads no more, or its sink takes
    /// nothing. True once for each telling.
    pub(super) fn overlooks_failure(&mut self) -> bool {
        let overlooked = self.alarmed && (self.stage != Stage::Open || self.blocked());
        self.alarmed &= !overlooked;
        overlooked
    }

    /// A write to the source's socket met a reset, which takes the error away from the next read: an end that
    /// is read from here on was none.
    pub(super) fn source_was_reset(&mut self) {
        self.source_reset = true;
        self.readable = true;
    }

    /// The sink's socket failed while nothing was being written to it.
    pub(super) fn sink_failed(&mut self, errno: Errno, kit: &mut Kit<P>) {
        if !matches!(self.stage, Stage::Done(_) | Stage::SinkGone(_)) {
            self.lose_sink(errno, kit);
        }
    }

    /// The source failed while the sink takes nothing: what is pending is dropped, as a reset may.
    pub(super) fn source_failed(&mut self, errno: Errno, kit: &mut Kit<P>) {
        // EPIPE: a FIN came before the reset, and what it promised is due.
        if self.stage == Stage::Open && errno != Errno::EPIPE && !self.fin_seen {
            self.release(kit);
            self.stage = Stage::Done(Ending::Reset);
        }
    }

    /// Whether bytes wait for a sink that takes nothing.
    pub(super) fn blocked(&self) -> bool {
        !self.writable && self.pending_bytes() > 0
    }

    /// The sink may have room.
    pub(super) fn sink_ready(&mut self) {
        self.writable = true;
    }

    /// Where this direction stands.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Bytes that the sink has so far, without what a seal adds.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether any byte was spliced.
    pub(super) fn spliced(&self) -> bool {
        self.spliced
    }

    /// Bytes read and not yet written.
    pub(super) fn pending_bytes(&self) -> usize {
        match &self.carry {
            Carry::Nothing => 0,
            Carry::Bytes(spare) => spare.rest().len(),
            Carry::Piped { held_bytes, .. } => *held_bytes,
        }
    }

    /// Moves what can be moved, and draws what it takes from the budget. What the source's events promised stands, however
    /// the budget ends.
    pub(super) fn pump<W: Wire<Pipe = P>>(
        &mut self,
        wire: &mut W,
        kit: &mut Kit<P>,
        budget: &mut Budget,
    ) -> Moved {
        let mut moved = Moved::default();
        for _ in 0..budget.rounds() {
            if !self.push(wire, kit, &mut moved) {
                return moved;
            }
            match self.stage {
                Stage::Open if wire.ended() => self.stage = Stage::Draining(Ending::Fin),
                Stage::Open if !self.readable => return moved,
                Stage::Open if let Some(resume) = budget.waits_for(moved.bytes()) => {
                    return moved.until(resume);
                }
                Stage::Open if wire.spent() => break,
                Stage::Open => {
                    let before = moved.taken;
                    self.pull(wire, kit, budget.left_bytes(), &mut moved);
                    budget.draw(moved.taken - before);
                }
                Stage::Draining(ending) => {
                    if ending == Ending::Fin {
                        wire.finish();
                    }
                    self.stage = Stage::Done(ending);
                    return moved;
                }
                Stage::Done(_) | Stage::SinkGone(_) => return moved,
            }
        }
        moved.until(Resume::NextTurn)
    }

    /// Gives everything lent back. Must be called before the half is dropped.
    pub(super) fn release(&mut self, kit: &mut Kit<P>) {
        match std::mem::replace(&mut self.carry, Carry::Nothing) {
            Carry::Nothing => {}
            Carry::Bytes(spare) => kit.give_back_spare(spare),
            Carry::Piped { pipe, held_bytes: 0 } => kit.give_back_pipe(pipe),
            Carry::Piped { pipe, .. } => kit.close_pipe(pipe),
        }
    }

    /// Writes what is carried. True when nothing is pending any more and the direction may go on.
    fn push<W: Wire<Pipe = P>>(&mut self, wire: &mut W, kit: &mut Kit<P>, moved: &mut Moved) -> bool {
        while self.pending_bytes() > 0 {
            if !self.writable {
                return false;
            }
            self.set_nodelay_at_second(wire);
            let (outcome, engine, offered) = match &mut self.carry {
                Carry::Nothing => return true,
                Carry::Bytes(spare) => (wire.send(spare.rest()), W::THROUGH_MEMORY, spare.rest().len()),
                Carry::Piped { pipe, held_bytes } => {
                    (wire.drain(pipe, *held_bytes), Engine::Splice, *held_bytes)
                }
            };
            match outcome {
                Write::Bytes(count) => {
                    let own = count.min(usize::from(self.preface_bytes));
                    self.preface_bytes -= own as u16;
                    self.account(engine, wire.delivered(count - own), moved);
                    // A short send filled the sink; a short splice may have stopped for reasons of its own.
                    self.writable = count == offered || engine == Engine::Splice;
                    match &mut self.carry {
                        Carry::Nothing => {}
                        Carry::Bytes(spare) => spare.advance(count),
                        Carry::Piped { held_bytes, .. } => *held_bytes -= count,
                    }
                }
                Write::Blocked => self.writable = false,
                Write::Failed(Errno::EINVAL | Errno::ENOSYS) if engine == Engine::Splice => {
                    self.leave_splice(wire, kit);
                }
                Write::Failed(errno) => {
                    // splice sends in batches: when a later one meets the reset, the call returns what the earlier
                    // ones moved and the error is lost. The EPIPE of the next call says nothing of a FIN.
                    let lost = engine == Engine::Splice && errno == Errno::EPIPE;
                    self.lose_sink(if lost { Errno::ECONNRESET } else { errno }, kit);
                    return false;
                }
            }
        }
        self.release(kit);
        true
    }

    /// Whether a pump would find something to do without an event: a budget held it back.
    pub(super) fn ready(&self) -> bool {
        match self.stage {
            Stage::Done(_) | Stage::SinkGone(_) => false,
            _ if self.pending_bytes() > 0 => self.writable,
            Stage::Open => self.readable,
            Stage::Draining(_) => true,
        }
    }

    /// Reads once, and writes at once what went through the scratch buffer.
    fn pull<W: Wire<Pipe = P>>(
        &mut self,
        wire: &mut W,
        kit: &mut Kit<P>,
        max_bytes: usize,
        moved: &mut Moved,
    ) {
        if self.gear.splices()
            && wire.may_splice()
            && let Some(pipe) = kit.lend_pipe(|size| wire.open_pipe(size))
        {
            self.pull_spliced(pipe, wire, kit, max_bytes, moved);
        } else {
            self.pull_copied(wire, kit, max_bytes, moved);
        }
    }

    fn pull_spliced<W: Wire<Pipe = P>>(
        &mut self,
        pipe: P,
        wire: &mut W,
        kit: &mut Kit<P>,
        max_bytes: usize,
        moved: &mut Moved,
    ) {
        match wire.fill(&pipe, limits::PIPE_BYTES.min(max_bytes)) {
            Read::Bytes(count) => {
                moved.taken += count;
                self.carry = Carry::Piped { pipe, held_bytes: count };
                self.gear.shift_down(count);
                return;
            }
            // In front of an urgent byte splice says so, too, once the FIN is in: only recv can tell.
            Read::End => {
                kit.give_back_pipe(pipe);
                self.gear = Gear::CopyForGood;
                self.unsettled = true;
                return self.pull_copied(wire, kit, max_bytes, moved);
            }
            // The pipe was empty: the source is.
            Read::Blocked => self.source_emptied(),
            Read::Failed(Errno::EINVAL | Errno::ENOSYS) => self.gear = Gear::CopyForGood,
            Read::Failed(_) => self.stage = Stage::Draining(Ending::Reset),
        }
        kit.give_back_pipe(pipe);
    }

    fn pull_copied<W: Wire<Pipe = P>>(
        &mut self,
        wire: &mut W,
        kit: &mut Kit<P>,
        max_bytes: usize,
        moved: &mut Moved,
    ) {
        let room = kit.read_bytes();
        let WireRead { read, taken } = wire.recv(&mut kit.scratch[..room], max_bytes);
        moved.taken += taken;
        match read {
            Read::Bytes(count) => {
                if count > 0 {
                    self.send_scratch(count, wire, kit, moved);
                }
                let emptied = wire.emptied(taken, room.min(max_bytes));
                if emptied && !self.unsettled && !self.source_reset {
                    self.source_emptied();
                }
                self.gear.shift_up(count);
            }
            Read::End => self.source_ended(),
            Read::Blocked => self.source_emptied(),
            Read::Failed(_) => self.stage = Stage::Draining(Ending::Reset),
        }
    }

    fn send_scratch<W: Wire<Pipe = P>>(
        &mut self,
        count: usize,
        wire: &mut W,
        kit: &mut Kit<P>,
        moved: &mut Moved,
    ) {
        let mut sent = 0;
        if self.writable {
            self.set_nodelay_at_second(wire);
            match wire.send(&kit.scratch[..count]) {
                Write::Bytes(taken) => {
                    sent = taken;
                    self.account(W::THROUGH_MEMORY, wire.delivered(taken), moved);
                }
                Write::Blocked => {}
                Write::Failed(errno) => return self.lose_sink(errno, kit),
            }
        }
        if sent < count {
            self.writable = false;
            self.carry = Carry::Bytes(kit.keep_scratch(sent..count));
        }
    }

    /// Goes before every write. Nagle's algorithm cannot hold a first one back: the option is worth its call from
    /// the second on.
    fn set_nodelay_at_second<W: Wire<Pipe = P>>(&mut self, wire: &mut W) {
        if self.writes_with_nagle == 1 {
            wire.set_nodelay();
        }
        self.writes_with_nagle = self.writes_with_nagle.saturating_add(1);
    }

    fn account(&mut self, engine: Engine, count: usize, moved: &mut Moved) {
        self.bytes += count as u64;
        self.spliced |= engine == Engine::Splice;
        moved.count(engine, count);
    }

    /// Nothing more to read for now; with the FIN already seen, nothing more at all.
    fn source_emptied(&mut self) {
        if self.stage != Stage::Open {
            return;
        }
        self.readable = false;
        if self.fin_seen {
            self.source_ended();
        }
    }

    fn source_ended(&mut self) {
        let ending = if self.source_reset && !self.fin_seen { Ending::Reset } else { Ending::Fin };
        self.stage = Stage::Draining(ending);
    }

    fn lose_sink(&mut self, errno: Errno, kit: &mut Kit<P>) {
        self.stage = Stage::SinkGone(errno);
        self.release(kit);
    }

    /// The sink refuses splice with bytes in the pipe: they go on through memory, and so does all that follows.
    fn leave_splice<W: Wire<Pipe = P>>(&mut self, wire: &mut W, kit: &mut Kit<P>) {
        self.gear = Gear::CopyForGood;
        let Carry::Piped { pipe, held_bytes } = std::mem::replace(&mut self.carry, Carry::Nothing) else {
            return;
        };
        let mut bytes = vec![0; held_bytes];
        let mut filled = 0;
        while filled < held_bytes {
            match wire.unload(&pipe, &mut bytes[filled..]) {
                Read::Bytes(count) => filled += count,
                Read::End | Read::Blocked | Read::Failed(_) => {
                    kit.close_pipe(pipe);
                    return self.lose_sink(Errno::EIO, kit);
                }
            }
        }
        kit.give_back_pipe(pipe);
        self.carry = Carry::Bytes(kit.keep(&bytes));
    }
}

const _: () = assert!(size_of::<Half<Pipe>>() <= limits::HALF_BYTES_MAX);
