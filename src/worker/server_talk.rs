//! What is said to a server of a parent, and how it is heard: over its socket, without taking a byte that is not its own.

use std::net::SocketAddr;

use super::dial::{Upstream, Won};
use super::goal::{Caller, Goal};
use super::left::Left;
use crate::limits;
use crate::policy::parents::{ParentServer, ParentSpec, SendProxy};
use crate::proto::client::{ChainLeg, ChainTalk, ClientTalk, Fed, ProxyBound, TalkError, TalkOutput, Talked};
use crate::proto::proxy_protocol::{Tlvs, encode_v1, encode_v2};
use crate::sys::stream::Stream;
use crate::sys::{Read, Write};

/// What came of listening to a server.
#[derive(Debug)]
pub(super) enum Heard {
    /// More has to come.
    Pending,
    /// It waits for a request.
    Ready,
    /// It has done what it was asked for.
    Done(ProxyBound),
    /// It has closed the connection, and whether in the midst of what it had to say.
    Closed { unfinished: bool },
    /// It has not done it.
    Failed(TalkError),
}

/// A connection to a server that waits for a session.
#[derive(Debug)]
pub(super) struct WarmStream {
    pub(super) stream: Stream,
    pub(super) server: SocketAddr,
    pub(super) local: SocketAddr,
    /// `None` where nothing may be said before it is known for whom.
    pub(super) talk: Option<ClientTalk>,
}

/// What a server is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedOf<'a> {
    pub(super) spec: &'a ParentSpec,
    pub(super) server: &'a ParentServer,
    pub(super) goal: &'a Goal,
    /// Which of its targets.
    pub(super) nth: usize,
    /// The name by which the client is known there, where it is by its own.
    pub(super) user: Option<&'a [u8]>,
}

/// A connected server that is asked for something.
#[derive(Debug)]
pub(super) struct Talking {
    pub(super) upstream: Upstream,
    pub(super) server: SocketAddr,
    pub(super) local: SocketAddr,
    talk: ChainTalk,
    /// It has said something.
    pub(super) heard: bool,
    /// It says nothing more than what is there.
    pub(super) fin: bool,
    /// It was connected before there was a session.
    pub(super) warm: bool,
    /// The client's first bytes are on their way.
    pub(super) early_bytes: u16,
    /// What it has of the pool that it left from. Given back behind its socket.
    pub(super) left: Option<Box<Left>>,
}

impl Talking {
    /// Tells a server that was connected to what is known from the start.
    ///
    /// # Errors
    /// Why nothing can come of it; `None` where there is nobody to be asked.
    pub(super) fn begin(won: Won, caller: Caller, asked: &AskedOf<'_>) -> Result<Talking, Option<TalkError>> {
        let Won { upstream, dialed, left, .. } = won;
        let mut out = TalkOutput::default();
        write_header(asked.spec, caller, dialed.address, &mut out);
        let talk = ChainTalk::begin(asked.legs(), &mut out).map_err(Some)?.ok_or(None)?;
        if !send(&upstream.stream, &out) {
            return Err(Some(talk.closed()));
        }
        let (server, local, heard, fin) = (dialed.address, dialed.local, false, false);
        Ok(Talking { upstream, server, local, talk, heard, fin, warm: false, early_bytes: 0, left })
    }

    /// Goes on over a connection that was made before: what it was not asked for is asked for now. `None` where it is of no use.
    pub(super) fn resume(warm: WarmStream, socket_index: u8, asked: &AskedOf<'_>) -> Option<Talking> {
        let WarmStream { stream, server, local, talk } = warm;
        let (mut out, mut legs) = (TalkOutput::default(), asked.legs());
        let talk = match talk {
            None => ChainTalk::begin(legs, &mut out).ok()??,
            Some(talk) => {
                let first = (!legs.is_empty()).then(|| legs.remove(0))?;
                ChainTalk::resume(talk, (first.command, first.target), legs, &mut out).ok()?
            }
        };
        let upstream = Upstream { stream, socket_index };
        let (heard, fin) = (false, false);
        send(&upstream.stream, &out).then_some(Talking {
            upstream,
            server,
            local,
            talk,
            heard,
            fin,
            warm: true,
            early_bytes: 0,
            left: None,
        })
    }

    /// Takes what the server has said.
    pub(super) fn hear(&mut self, scratch: &mut [u8]) -> Heard {
        let Talking { upstream, talk, heard, fin, .. } = self;
        hear(&upstream.stream, scratch, (*fin, heard), |input, out| talk.feed(input, out))
    }

    /// Sends the client's first bytes behind the request, where that is on its way and the protocol lets them follow; false where
    /// the server does not take them. One that has not spoken may be gone, and they would have to go another way as well.
    pub(super) fn send_early(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() || self.early_bytes > 0 || !self.heard || !self.talk.takes_early_bytes() {
            return true;
        }
        self.early_bytes = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        send(&self.upstream.stream, &bytes[..usize::from(self.early_bytes)])
    }

    /// Whether it has been asked for the target, and its answer to that is all that is due.
    pub(super) fn awaits_target(&self) -> bool {
        self.talk.awaits_target()
    }

    /// Whether the proxy that is spoken to is the one that is asked for the target, and told the client's name where something
    /// is: none stands behind it.
    pub(super) fn is_last(&self) -> bool {
        self.talk.is_last()
    }

    /// Why nothing comes of it where it is closed now.
    pub(super) fn closed(&self) -> TalkError {
        self.talk.closed()
    }
}

impl AskedOf<'_> {
    /// What is said to each proxy of the chain.
    fn legs(&self) -> Vec<ChainLeg> {
        let AskedOf { server, goal, nth, user, .. } = *self;
        server.legs((goal.command(), goal.target(nth)), user)
    }
}

/// Writes what a server is told of the client in front of all else, where it is told anything.
fn write_header(spec: &ParentSpec, caller: Caller, server: SocketAddr, out: &mut TalkOutput) {
    let tlvs = Tlvs { authority: None, unique_id: None, crc32c: false };
    let ends = caller.client.map(|client| (client, server));
    match spec.send_proxy {
        SendProxy::Off => {}
        SendProxy::Version1 => encode_v1(ends, out),
        SendProxy::Version2 => encode_v2(ends, tlvs, out),
    }
}

/// Whether all of this is on its way. It is little: a socket that has no room for it is not being read.
pub(super) fn send(stream: &Stream, bytes: &[u8]) -> bool {
    bytes.is_empty() || matches!(stream.send(bytes), Write::Bytes(count) if count == bytes.len())
}

/// Takes what a server has said, as far as `feed` uses it: what stands behind is the target's, and is found by whoever reads next.
/// `fin` says that nothing comes behind what is there; `heard` becomes true where there was anything.
pub(super) fn hear(
    stream: &Stream,
    scratch: &mut [u8],
    (fin, heard): (bool, &mut bool),
    mut feed: impl FnMut(&[u8], &mut TalkOutput) -> Fed,
) -> Heard {
    let buffer = &mut scratch[..limits::PARENT_UNUSED_BYTES_MAX];
    loop {
        let count = match stream.peek(buffer) {
            Read::Bytes(count) => count,
            Read::Blocked => return Heard::Pending,
            Read::End | Read::Failed(_) => return Heard::Closed { unfinished: false },
        };
        *heard = true;
        let mut out = TalkOutput::default();
        let (used, talked) = feed(&buffer[..count], &mut out);
        // What was seen is there to be taken.
        if used > 0 && !matches!(stream.recv(&mut buffer[..used]), Read::Bytes(taken) if taken == used) {
            return Heard::Closed { unfinished: false };
        }
        if !send(stream, &out) {
            return Heard::Closed { unfinished: false };
        }
        match talked {
            Talked::Done(bound) => return Heard::Done(bound),
            Talked::Failed(error) => return Heard::Failed(error),
            Talked::Ready => return Heard::Ready,
            Talked::Pending if used == 0 && fin => return Heard::Closed { unfinished: true },
            Talked::Pending if used == 0 => return Heard::Pending,
            Talked::Pending => {}
        }
    }
}
