//! Idle connections to servers of parents: connected, and as far in their handshake as they can be before it is known for what.

use std::net::SocketAddr;
use std::time::Instant;

use slab::Slab;

use super::dial::{Dial, Dialler, Upstream, Won};
use super::server_talk::{Heard, WarmStream, hear, send};
use super::tokens::{WARM_SOCKET, idle_key};
use super::watch::Edge;
use crate::observe::ParentServerHits;
use crate::proto::client::{ClientProtocol, ClientTalk, TalkOutput};
use crate::proto::userpass::Credentials;

/// How the handshake with a server begins.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) protocol: ClientProtocol,
    pub(super) login: Option<Credentials>,
}

/// Those of one worker.
#[derive(Debug, Default)]
pub(super) struct Warm {
    entries: Slab<WarmEntry>,
    /// How many there have been: the number of the next.
    begun: u32,
    /// How many of each server were told of that are ready.
    told: Vec<(u16, u64)>,
}

#[derive(Debug)]
struct WarmEntry {
    number: u32,
    /// The number of the server.
    server: u16,
    opening: Option<Opening>,
    /// Nothing while it is looked at: whatever goes wrong closes it.
    stage: Option<WarmStage>,
    until: Instant,
}

#[derive(Debug)]
enum WarmStage {
    Dialling(Box<Dial>),
    Greeting { upstream: Upstream, ends: (SocketAddr, SocketAddr), talk: ClientTalk },
    Ready(WarmStream),
}

impl Warm {
    /// How many there are, ready or not.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are of a server.
    pub(super) fn of(&self, server: u16) -> usize {
        self.entries.iter().filter(|(_, entry)| entry.server == server).count()
    }

    /// One that is ready for a session, the oldest; it is the session's from here on.
    pub(super) fn take(&mut self, server: u16) -> Option<WarmStream> {
        let ready =
            |entry: &WarmEntry| entry.server == server && matches!(entry.stage, Some(WarmStage::Ready(_)));
        let oldest =
            self.entries.iter().filter(|(_, entry)| ready(entry)).min_by_key(|(_, entry)| entry.until);
        let place = oldest.map(|(place, _)| place)?;
        match self.entries.remove(place).stage {
            Some(WarmStage::Ready(stream)) => Some(stream),
            Some(WarmStage::Dialling(_) | WarmStage::Greeting { .. }) | None => None,
        }
    }

    /// Tells how many of each server are ready.
    pub(super) fn tell(&mut self, servers: &ParentServerHits) {
        self.told.iter_mut().for_each(|(_, ready)| *ready = 0);
        for (_, entry) in
            self.entries.iter().filter(|(_, entry)| matches!(entry.stage, Some(WarmStage::Ready(_))))
        {
            match self.told.iter_mut().find(|(server, _)| *server == entry.server) {
                Some((_, ready)) => *ready += 1,
                None => self.told.push((entry.server, 1)),
            }
        }
        self.told.iter().for_each(|(server, ready)| servers.set_ready(*server, *ready));
        self.told.retain(|(_, ready)| *ready > 0);
    }

    /// Begins with another one.
    pub(super) fn begin(
        &mut self,
        (server, opening): (u16, Option<Opening>),
        until: Instant,
        (mut dial, dialler): (Dial, Dialler<'_>),
    ) {
        self.begun = self.begun.wrapping_add(1);
        let number = self.begun;
        if dial.start_next(&Dialler { key: idle_key(number), ..dialler }).is_ok() {
            let stage = Some(WarmStage::Dialling(Box::new(dial)));
            self.entries.insert(WarmEntry { number, server, opening, stage, until });
        }
    }

    /// An event of the socket of this number.
    pub(super) fn event(&mut self, number: u32, edge: Edge, dialler: Dialler<'_>, scratch: &mut [u8]) {
        let found = self.entries.iter().find(|(_, entry)| entry.number == number).map(|(place, _)| place);
        let Some(place) = found else { return };
        let mut entry = self.entries.remove(place);
        entry.stage = entry.event(edge, &Dialler { key: idle_key(number), ..dialler }, scratch);
        if entry.stage.is_some() {
            self.entries.insert(entry);
        }
    }

    /// Closes those whose time is up.
    pub(super) fn expire(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.until > now);
    }

    /// When the first of them is to be closed.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.entries.iter().map(|(_, entry)| entry.until).min()
    }

    /// Closes one, where there is one: somebody needs its descriptor.
    pub(super) fn make_room(&mut self) -> bool {
        let first = self.entries.iter().next().map(|(place, _)| place);
        first.map(|place| self.entries.remove(place)).is_some()
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

impl WarmEntry {
    /// What an event makes of it; `None` where nothing is left of it.
    fn event(&mut self, edge: Edge, dialler: &Dialler<'_>, scratch: &mut [u8]) -> Option<WarmStage> {
        match self.stage.take()? {
            WarmStage::Dialling(mut dial) => match dial.event(WARM_SOCKET, edge, dialler).ok()? {
                None => Some(WarmStage::Dialling(dial)),
                Some(won) => self.connected(won),
            },
            WarmStage::Greeting { upstream, ends, mut talk } => {
                let feed = |input: &[u8], out: &mut TalkOutput| talk.feed(input, out);
                match hear(&upstream.stream, scratch, (edge.fin, &mut false), feed) {
                    Heard::Pending if !edge.fin && !edge.failed => {
                        Some(WarmStage::Greeting { upstream, ends, talk })
                    }
                    Heard::Ready => Some(WarmStage::Ready(WarmStream {
                        stream: upstream.stream,
                        server: ends.0,
                        local: ends.1,
                        talk: Some(talk),
                    })),
                    Heard::Pending | Heard::Done(_) | Heard::Closed { .. } | Heard::Failed(_) => None,
                }
            }
            // What it says without being asked is its end, or none of its protocol.
            WarmStage::Ready(stream) => {
                (!edge.readable && !edge.fin && !edge.failed).then_some(WarmStage::Ready(stream))
            }
        }
    }

    fn connected(&mut self, won: Won) -> Option<WarmStage> {
        let Won { upstream, dialed, .. } = won;
        let ends = (dialed.address, dialed.local);
        let ready = |upstream: Upstream, talk| {
            WarmStage::Ready(WarmStream { stream: upstream.stream, server: ends.0, local: ends.1, talk })
        };
        let Some(Opening { protocol, login }) = self.opening.take() else {
            return Some(ready(upstream, None));
        };
        let mut out = TalkOutput::default();
        let talk = ClientTalk::begin(protocol, login, &mut out);
        if out.is_empty() {
            return Some(ready(upstream, Some(talk)));
        }
        send(&upstream.stream, &out).then_some(WarmStage::Greeting { upstream, ends, talk })
    }
}
