//! A TCP relay: two halves, and what their ends mean together.

use super::edge::Edge;
use super::half::{Ending, Half, Stage};
use super::kit::Kit;
use super::moved::{Engine, Moved};
use super::sealed::{Sealed, SealedEnds};
use super::wire::Ends;
use crate::config::RelayMode;
use crate::limits;
use crate::seal::{Seal, SealError};
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
        [self.up, self.down].iter().any(|moved| moved.taken + moved.bytes() > 0)
    }
}

/// Both directions of one TCP session.
#[derive(Debug)]
pub struct Relay {
    /// Client to target.
    pub(super) up: Half<Pipe>,
    /// Target to client.
    pub(super) down: Half<Pipe>,
    sealed: Option<Box<Sealed>>,
}

impl Relay {
    /// A relay whose client sent `pending` behind its request.
    pub fn new(mode: RelayMode, pending: &[u8], kit: &mut Kit<Pipe>) -> Relay {
        // The client's socket has TCP_NODELAY from its listener; the target's gets it with its second write.
        Relay {
            up: Half::new(mode, pending, false, kit),
            down: Half::new(mode, &[], true, kit),
            sealed: None,
        }
    }

    /// A relay whose client's side is sealed (RFC 1961 section 5). `pending` was opened already, `begun` is not.
    pub fn sealed(pending: &[u8], seal: Box<Seal>, begun: Vec<u8>, kit: &mut Kit<Pipe>) -> Relay {
        let mut relay = Relay::new(RelayMode::Copy, pending, kit);
        relay.sealed = Some(Box::new(Sealed::new(seal, begun)));
        relay.up.translated();
        relay.down.translated();
        relay.up.source_ready();
        relay
    }

    /// An event of one side's socket.
    pub fn event(&mut self, side: Side, edge: Edge) {
        self.reader_of(side).source_event(edge);
        if edge.writable {
            self.writer_to(side).sink_ready();
        }
    }

    /// Why a sealed client cannot be understood, or answered, any more.
    pub fn seal_error(&self) -> Option<&SealError> {
        self.sealed.as_ref()?.error()
    }

    /// Bytes of the client that the target has.
    pub fn bytes_up(&self) -> u64 {
        self.up.bytes()
    }

    /// Bytes of the target that the client has, without what a seal adds.
    pub fn bytes_down(&self) -> u64 {
        self.down.bytes()
    }

    /// Bytes for this side that it does not have: read, and of a sealed message that is not whole, too.
    pub fn pending_bytes(&self, to: Side) -> usize {
        match to {
            Side::Client => self.down.pending_bytes(),
            Side::Target => {
                self.up.pending_bytes() + self.sealed.as_ref().map_or(0, |sealed| sealed.held_bytes())
            }
        }
    }

    /// The half that reads from `side`.
    pub(super) fn reader_of(&mut self, side: Side) -> &mut Half<Pipe> {
        match side {
            Side::Client => &mut self.up,
            Side::Target => &mut self.down,
        }
    }

    /// The half that writes to `side`.
    pub(super) fn writer_to(&mut self, side: Side) -> &mut Half<Pipe> {
        self.reader_of(side.opposite())
    }

    /// Whether either direction has ended: the half-close time limit holds, not the idle one.
    pub fn half_closed(&self) -> bool {
        self.up.stage() != Stage::Open || self.down.stage() != Stage::Open
    }

    /// The engine that the session's record names: splice once any byte went through a pipe.
    pub fn engine(&self) -> Engine {
        if self.sealed.is_some() {
            Engine::Sealed
        } else if self.up.spliced() || self.down.spliced() {
            Engine::Splice
        } else {
            Engine::Copy
        }
    }

    /// Moves what can be moved in both directions.
    pub fn drive(&mut self, client: &Stream, target: &Stream, kit: &mut Kit<Pipe>) -> Driven {
        self.look_for_failures(client, target, kit);
        // A sink that is gone is the other half's source. That half is told before it reads: the write has taken
        // the socket's error away, and a reset would look like an end in order.
        let mut up = self.pump_up(client, target, kit);
        tell_source(&self.up, &mut self.down);
        let last = self.up.stage() == IN_ORDER;
        let ends = Ends { source: target, sink: client, last };
        let down = pump(&mut self.down, ends, false, &mut self.sealed, kit);
        if tell_source(&self.down, &mut self.up) {
            up.add(self.pump_up(client, target, kit));
        }
        self.look_for_failures(client, target, kit);
        Driven { up, down, finish: self.finish() }
    }

    fn pump_up(&mut self, client: &Stream, target: &Stream, kit: &mut Kit<Pipe>) -> Moved {
        let last = self.down.stage() == IN_ORDER;
        let ends = Ends { source: client, sink: target, last };
        pump(&mut self.up, ends, true, &mut self.sealed, kit)
    }

    /// A failure is found by the half that reads from the socket. Where that half has stopped reading, the socket
    /// is asked, or what the other half's write has met is passed on: no further event would tell.
    fn look_for_failures(&mut self, client: &Stream, target: &Stream, kit: &mut Kit<Pipe>) {
        for (side, socket) in [(Side::Client, client), (Side::Target, target)] {
            if self.reader_of(side).overlooks_failure()
                && let Some(errno) = socket.take_error()
            {
                self.writer_to(side).sink_failed(errno, kit);
                self.reader_of(side).source_failed(errno, kit);
            }
            if let Stage::SinkGone(errno) = self.writer_to(side).stage()
                && self.reader_of(side).blocked()
            {
                self.reader_of(side).source_failed(errno, kit);
            }
        }
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

/// Moves what can be moved in one direction.
fn pump(
    half: &mut Half<Pipe>,
    mut ends: Ends<'_>,
    up: bool,
    sealed: &mut Option<Box<Sealed>>,
    kit: &mut Kit<Pipe>,
) -> Moved {
    let Some(sealed) = sealed else { return half.pump(&mut ends, kit) };
    let mut seal_kit = std::mem::take(&mut kit.seal);
    let moved = half.pump(
        &mut SealedEnds { ends, sealed, kit: &mut seal_kit, up, messages: limits::SEALED_MESSAGES_PER_TURN },
        kit,
    );
    kit.seal = seal_kit;
    moved
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::tests::{connection, reset};
    use crate::sys::Write as Sent;
    use std::io::{ErrorKind, Read, Write};

    /// Leaves no room in what `stream` may send: its peer does not read.
    fn fill(stream: &Stream) {
        // The peer's kernel still takes over a part of what looked full: small writes find the room.
        while [64 * 1024, 1].map(|len| matches!(stream.send(&vec![0; len]), Sent::Bytes(_))).contains(&true) {
        }
    }

    /// A relay in `mode` whose target has answered and takes nothing, which the relay does not know yet, and whose
    /// client has sent bytes and been reset.
    fn stuck(mode: RelayMode, test: impl FnOnce(&mut Relay, &Stream, &Stream, &mut Kit<Pipe>)) {
        let (client, mut client_peer) = connection();
        let (target, mut target_peer) = connection();
        target_peer.write_all(b"an answer").expect("the target sends");
        fill(&target);
        client_peer.write_all(&[1; 1000]).expect("the client sends");
        reset(client_peer);
        let mut kit = Kit::new(4);
        let mut relay = Relay::new(mode, &[], &mut kit);
        relay.up.source_ready();
        test(&mut relay, &client, &target, &mut kit);
        relay.release(&mut kit);
    }

    const RESET: Option<Finish> = Some(Finish::Reset { failed: Side::Client });

    #[test]
    fn a_reset_that_came_before_its_half_was_blocked_is_seen() {
        for mode in [RelayMode::Copy, RelayMode::Splice] {
            stuck(mode, |relay, client, target, kit| {
                relay.up.source_alarmed();
                assert_eq!(relay.drive(client, target, kit).finish, RESET, "{mode:?}");
            });
        }
    }

    #[test]
    fn a_reset_that_a_write_met_is_seen_by_a_blocked_half() {
        for mode in [RelayMode::Copy, RelayMode::Splice] {
            stuck(mode, |relay, client, target, kit| {
                relay.down.source_ready();
                assert_eq!(relay.drive(client, target, kit).finish, RESET, "{mode:?}");
            });
        }
    }

    #[test]
    fn a_fin_behind_a_full_sink_is_no_failure() {
        for mode in [RelayMode::Copy, RelayMode::Splice] {
            let (client, mut client_peer) = connection();
            let (target, mut target_peer) = connection();
            fill(&target);
            client_peer.write_all(&[1; 1000]).expect("the client sends");
            drop(client_peer);
            let mut kit = Kit::new(4);
            let mut relay = Relay::new(mode, &[], &mut kit);
            relay.up.source_alarmed();
            assert_eq!(relay.drive(&client, &target, &mut kit).finish, None, "{mode:?}");
            target_peer.set_nonblocking(true).expect("non-blocking");
            let mut last = 0;
            let mut buffer = vec![0; 64 * 1024];
            while relay.up.stage() != IN_ORDER {
                match target_peer.read(&mut buffer) {
                    Ok(count) => last = buffer[count - 1],
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                relay.up.sink_ready();
                relay.drive(&client, &target, &mut kit);
            }
            target_peer.set_nonblocking(false).expect("blocking");
            let mut rest = Vec::new();
            drop(target);
            target_peer.read_to_end(&mut rest).expect("the rest");
            assert_eq!(rest.last().copied().unwrap_or(last), 1, "{mode:?}");
            relay.release(&mut kit);
        }
    }
}
