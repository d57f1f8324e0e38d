//! A TCP relay: two halves, and what their ends mean together.

use super::half::{Ending, Half, Moved, Stage};
use super::kit::{Engine, Kit};
use super::wire::Ends;
use crate::sys::Errno;
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;

/// A direction that is over with every byte delivered.
const IN_ORDER: Stage = Stage::Done(Ending::Fin);

/// One of the two ends of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who asked.
    Client,
    /// Who was asked for.
    Target,
}

impl Side {
    /// The other end.
    pub fn opposite(self) -> Side {
        match self {
            Side::Client => Side::Target,
            Side::Target => Side::Client,
        }
    }
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Both directions ended with FIN, every byte delivered.
    Completed,
    /// This side was reset (or lost); what it had sent was handed to the other side's socket, which is to be
    /// reset in turn: as without a relay, a reset may overtake bytes.
    Reset {
        /// Whose socket failed.
        failed: Side,
    },
    /// This side is gone after a FIN of its own; the other has every byte and its FIN, and is to be given a
    /// moment to take them before it is closed.
    Linger {
        /// Whose socket failed.
        gone: Side,
    },
}

/// What one turn of a relay did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Driven {
    /// Client to target.
    pub up: Moved,
    /// Target to client.
    pub down: Moved,
    /// Set once the relay is over.
    pub finish: Option<Finish>,
}

impl Driven {
    /// Whether there is more to do without waiting for an event.
    pub fn again(&self) -> bool {
        self.finish.is_none() && (self.up.again || self.down.again)
    }

    /// Whether any byte was read or written.
    pub fn progressed(&self) -> bool {
        let of = |moved: &Moved| moved.taken + moved.copied + moved.spliced;
        of(&self.up) + of(&self.down) > 0
    }
}

/// Both directions of one TCP session.
#[derive(Debug)]
pub struct Relay {
    /// Client to target.
    pub up: Half<Pipe>,
    /// Target to client.
    pub down: Half<Pipe>,
}

impl Relay {
    /// A relay whose client sent `pending` behind its request.
    pub fn new(pending: &[u8], kit: &mut Kit<Pipe>) -> Relay {
        // The client's socket has TCP_NODELAY from its listener; the target's gets it with its second write.
        Relay { up: Half::new(pending, false, kit), down: Half::new(&[], true, kit) }
    }

    /// The half that reads from `side`.
    pub fn from_side(&mut self, side: Side) -> &mut Half<Pipe> {
        match side {
            Side::Client => &mut self.up,
            Side::Target => &mut self.down,
        }
    }

    /// The half that writes to `side`.
    pub fn to_side(&mut self, side: Side) -> &mut Half<Pipe> {
        self.from_side(side.opposite())
    }

    /// Whether either direction has ended: the half-close time limit holds, not the idle one.
    pub fn half_closed(&self) -> bool {
        self.up.stage() != Stage::Open || self.down.stage() != Stage::Open
    }

    /// The engine that the session's record names: splice once any byte went through a pipe.
    pub fn engine(&self) -> Engine {
        if self.up.spliced() || self.down.spliced() { Engine::Splice } else { Engine::Copy }
    }

    /// Moves what can be moved in both directions.
    pub fn drive(&mut self, client: &Stream, target: &Stream, kit: &mut Kit<Pipe>) -> Driven {
        // A sink that is gone is the other half's source. That half is told before it reads: the write has taken
        // the socket's error away, and a reset would look like an end in order.
        let last = self.down.stage() == IN_ORDER;
        let mut up = self.up.pump(&mut Ends { source: client, sink: target, last }, kit);
        tell_source(&self.up, &mut self.down);
        let last = self.up.stage() == IN_ORDER;
        let down = self.down.pump(&mut Ends { source: target, sink: client, last }, kit);
        if tell_source(&self.down, &mut self.up) {
            up.add(self.up.pump(&mut Ends { source: client, sink: target, last: false }, kit));
        }
        Driven { up, down, finish: self.finish() }
    }

    /// Gives everything lent back.
    pub fn release(&mut self, kit: &mut Kit<Pipe>) {
        self.up.release(kit);
        self.down.release(kit);
    }

    fn finish(&self) -> Option<Finish> {
        let failed = |failed| Some(Finish::Reset { failed });
        match (self.up.stage(), self.down.stage()) {
            (IN_ORDER, IN_ORDER) => Some(Finish::Completed),
            (Stage::Done(Ending::Reset), _) => failed(Side::Client),
            (_, Stage::Done(Ending::Reset)) => failed(Side::Target),
            (Stage::SinkGone(_), Stage::SinkGone(_)) => failed(Side::Target),
            (Stage::SinkGone(_), IN_ORDER) => Some(Finish::Linger { gone: Side::Target }),
            (IN_ORDER, Stage::SinkGone(_)) => Some(Finish::Linger { gone: Side::Client }),
            _ => None,
        }
    }
}

/// Tells `reader` what `writer` learnt of the socket that they share. True when the reader has news to act on.
fn tell_source(writer: &Half<Pipe>, reader: &mut Half<Pipe>) -> bool {
    match (writer.stage(), reader.stage()) {
        // RFC 9293 section 3.10.7.4 and Linux: a reset behind a FIN is EPIPE, and what came before the FIN stays
        // readable up to an orderly end.
        (Stage::SinkGone(Errno::EPIPE), Stage::Open) => reader.source_ready(),
        (Stage::SinkGone(_), Stage::Open) => reader.source_was_reset(),
        _ => return false,
    }
    true
}

impl Moved {
    fn add(&mut self, more: Moved) {
        self.copied += more.copied;
        self.spliced += more.spliced;
        self.taken += more.taken;
        self.again |= more.again;
    }
}
