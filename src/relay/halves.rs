//! Two halves over the two sockets of a session, and what the end of one means to the other.

use super::budget::{Budget, Budgets};
use super::driven::{Driven, Finish};
use super::half::{Ending, Half, Stage};
use super::kit::Kit;
use super::moved::{Engine, Moved};
use super::side::{Edge, Side};
use super::wire::Ends;
use crate::config::RelayMode;
use crate::sys::Errno;
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;

/// A direction that is over with every byte delivered.
pub(super) const IN_ORDER: Stage = Stage::Done(Ending::Fin);

/// Both directions of one TCP session.
#[derive(Debug)]
pub(super) struct Halves {
    /// Client to target.
    up: Half<Pipe>,
    /// Target to client.
    down: Half<Pipe>,
}

impl Halves {
    /// Two halves whose client sent `pending` behind its request.
    pub(super) fn new(mode: RelayMode, pending: &[u8], kit: &mut Kit<Pipe>) -> Halves {
        // The client's socket has TCP_NODELAY from its listener; the target's gets it with its second write.
        Halves { up: Half::new(mode, pending, false, kit), down: Half::new(mode, &[], true, kit) }
    }

    /// What either half reads is not what its source sent: a short read proves nothing. The client may have sent
    /// something by now.
    pub(super) fn translated(mut self) -> Halves {
        self.up.translated();
        self.down.translated();
        self.up.source_ready();
        self
    }

    /// So many bytes in front of what was pending are not the client's.
    pub(super) fn preface(&mut self, bytes: usize) {
        self.up.preface(bytes);
    }

    /// So many bytes of the client were written to the target before there was a relay.
    pub(super) fn begin_behind(&mut self, bytes: usize) {
        self.up.begin_behind(bytes);
    }

    /// An event of one side's socket.
    pub(super) fn event(&mut self, side: Side, edge: Edge) {
        self.reader_of(side).source_event(edge);
        if edge.writable {
            self.writer_to(side).sink_ready();
        }
    }

    /// Begins the direction from this side anew behind one that is over, with what was read for it already.
    pub(super) fn begin_anew(&mut self, from: Side, mode: RelayMode, pending: &[u8], kit: &mut Kit<Pipe>) {
        let half = self.reader_of(from);
        half.release(kit);
        let promised = half.promised();
        *half = Half::new(mode, pending, from == Side::Target, kit);
        half.source_event(promised);
    }

    /// What this side's events promised and no call has disproved.
    pub(super) fn promised(&self, side: Side) -> Edge {
        match side {
            Side::Client => self.up.promised(),
            Side::Target => self.down.promised(),
        }
    }

    /// Where the directions stand, that from the client first.
    pub(super) fn stages(&self) -> (Stage, Stage) {
        (self.up.stage(), self.down.stage())
    }

    /// Bytes of this side that the other has.
    pub(super) fn bytes(&self, from: Side) -> u64 {
        match from {
            Side::Client => self.up.bytes(),
            Side::Target => self.down.bytes(),
        }
    }

    /// Bytes for this side that were read and that it does not have.
    pub(super) fn pending_bytes(&self, to: Side) -> usize {
        match to {
            Side::Client => self.down.pending_bytes(),
            Side::Target => self.up.pending_bytes(),
        }
    }

    /// Whether either direction has ended.
    pub(super) fn half_closed(&self) -> bool {
        self.up.stage() != Stage::Open || self.down.stage() != Stage::Open
    }

    /// Whether the target has not ended its direction.
    pub(super) fn target_still_open(&self) -> bool {
        self.down.stage() == Stage::Open
    }

    /// Splice once any byte went through a pipe.
    pub(super) fn engine(&self) -> Engine {
        if self.up.spliced() || self.down.spliced() { Engine::Splice } else { Engine::Copy }
    }

    /// Whether something could be moved without an event.
    pub(super) fn ready(&self) -> bool {
        self.up.ready() || self.down.ready()
    }

    /// Whether something that comes from this side could be moved without an event.
    pub(super) fn ready_from(&self, side: Side) -> bool {
        match side {
            Side::Client => self.up.ready(),
            Side::Target => self.down.ready(),
        }
    }

    /// Moves what can be moved in both directions, each by `pump`: a half, its two ends, and which side it reads from.
    pub(super) fn drive(
        &mut self,
        client: &Stream,
        target: &Stream,
        kit: &mut Kit<Pipe>,
        budgets: &mut Budgets,
        mut pump: impl FnMut(&mut Half<Pipe>, Ends<'_>, Side, &mut Kit<Pipe>, &mut Budget) -> Moved,
    ) -> Driven {
        self.look_for_failures(client, target, kit);
        // A sink that is gone is the other half's source. That half is told before it reads: the write has taken
        // the socket's error away, and a reset would look like an end in order.
        let last = self.down.stage() == IN_ORDER;
        let ends = Ends { source: client, sink: target, last };
        let mut up = pump(&mut self.up, ends, Side::Client, kit, &mut budgets.up);
        tell_source(&self.up, &mut self.down);
        let last = self.up.stage() == IN_ORDER;
        let ends = Ends { source: target, sink: client, last };
        let down = pump(&mut self.down, ends, Side::Target, kit, &mut budgets.down);
        if tell_source(&self.down, &mut self.up) {
            let last = self.down.stage() == IN_ORDER;
            let ends = Ends { source: client, sink: target, last };
            up.add(pump(&mut self.up, ends, Side::Client, kit, &mut budgets.up));
        }
        self.look_for_failures(client, target, kit);
        Driven { up, down, finish: self.finish() }
    }

    /// Moves what can be moved in both directions, as it is.
    pub(super) fn drive_plain(
        &mut self,
        client: &Stream,
        target: &Stream,
        kit: &mut Kit<Pipe>,
        budgets: &mut Budgets,
    ) -> Driven {
        self.drive(client, target, kit, budgets, |half, mut ends, _, kit, budget| {
            half.pump(&mut ends, kit, budget)
        })
    }

    /// Gives everything lent back.
    pub(super) fn release(&mut self, kit: &mut Kit<Pipe>) {
        self.up.release(kit);
        self.down.release(kit);
    }

    /// The half that reads from `side`.
    fn reader_of(&mut self, side: Side) -> &mut Half<Pipe> {
        match side {
            Side::Client => &mut self.up,
            Side::Target => &mut self.down,
        }
    }

    /// The half that writes to `side`.
    fn writer_to(&mut self, side: Side) -> &mut Half<Pipe> {
        self.reader_of(side.opposite())
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

    fn drive(halves: &mut Halves, client: &Stream, target: &Stream, kit: &mut Kit<Pipe>) -> Driven {
        halves.drive_plain(client, target, kit, &mut { Budgets::TURN })
    }

    /// Halves in `mode` whose target has answered and takes nothing, which they do not know yet, and whose
    /// client has sent bytes and been reset.
    fn stuck(mode: RelayMode, test: impl FnOnce(&mut Halves, &Stream, &Stream, &mut Kit<Pipe>)) {
        let (client, mut client_peer) = connection();
        let (target, mut target_peer) = connection();
        target_peer.write_all(b"an answer").expect("the target sends");
        fill(&target);
        client_peer.write_all(&[1; 1000]).expect("the client sends");
        reset(client_peer);
        let mut kit = Kit::new(4);
        let mut halves = Halves::new(mode, &[], &mut kit);
        halves.up.source_ready();
        test(&mut halves, &client, &target, &mut kit);
        halves.release(&mut kit);
    }

    const RESET: Option<Finish> = Some(Finish::Reset { failed: Side::Client });

    #[test]
    fn a_reset_that_came_before_its_half_was_blocked_is_seen() {
        for mode in [RelayMode::Copy, RelayMode::Splice] {
            stuck(mode, |halves, client, target, kit| {
                halves.up.source_alarmed();
                assert_eq!(drive(halves, client, target, kit).finish, RESET, "{mode:?}");
            });
        }
    }

    #[test]
    fn a_reset_that_a_write_met_is_seen_by_a_blocked_half() {
        for mode in [RelayMode::Copy, RelayMode::Splice] {
            stuck(mode, |halves, client, target, kit| {
                halves.down.source_ready();
                assert_eq!(drive(halves, client, target, kit).finish, RESET, "{mode:?}");
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
            let mut halves = Halves::new(mode, &[], &mut kit);
            halves.up.source_alarmed();
            assert_eq!(drive(&mut halves, &client, &target, &mut kit).finish, None, "{mode:?}");
            target_peer.set_nonblocking(true).expect("non-blocking");
            let mut last = 0;
            let mut buffer = vec![0; 64 * 1024];
            while halves.up.stage() != IN_ORDER {
                match target_peer.read(&mut buffer) {
                    Ok(count) => last = buffer[count - 1],
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                halves.up.sink_ready();
                drive(&mut halves, &client, &target, &mut kit);
            }
            target_peer.set_nonblocking(false).expect("blocking");
            let mut rest = Vec::new();
            drop(target);
            target_peer.read_to_end(&mut rest).expect("the rest");
            assert_eq!(rest.last().copied().unwrap_or(last), 1, "{mode:?}");
            halves.release(&mut kit);
        }
    }
}
