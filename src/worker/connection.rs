//! What every connection of a worker has, whatever phase it is in.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use super::left::Left;
use super::snapshot::Snapshot;
use super::tokens::Key;
use crate::observe::ParentFault;
use crate::observe::live::Proxied;
use crate::policy::accounts::LimitPlaces;
use crate::policy::sources::SourcePlace;
use crate::policy::{Incoming, Subject};
use crate::proto::request::RequestCommand;
use crate::relay::Engine;
use crate::session::Facts;

/// A connection without its phase and the sockets that are the phase's.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: Key,
    /// Which of the worker's sessions it is: that of the key, unless others were on this connection before.
    pub(super) serial: u64,
    /// Stands in the queue of those with more to do.
    pub(super) queued: bool,
    /// The talkers have heard of its request.
    pub(super) counted: bool,
    /// Reserved for its record, in bytes; 0 where nothing is.
    pub(super) record_room: u16,
    /// The snapshot under which it was accepted: its methods, time limits, ports and engines stay what they were then. What
    /// it asks for is judged by the newest policy, `Core::policy`.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) peer: SocketAddr,
    /// Which listener it came by: see [`Incoming`].
    pub(super) listener: u16,
    /// What the balancer said that it came by; `peer` is the client that was named then.
    pub(super) proxied: Option<Arc<Proxied>>,
    /// Its place among the sessions of its source, where `limits.per_source` limits them.
    pub(super) place: Option<Box<SourcePlace>>,
    /// Its places in the limits that it counts in.
    pub(super) places: Option<Box<RefCell<LimitPlaces>>>,
    /// What it has of the pool that it leaves from.
    pub(super) left: Option<Box<Left>>,
    pub(super) facts: Facts,
    pub(super) address: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) times: Times,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// Bytes both ways that the talkers have heard of.
    pub(super) told_bytes: u64,
    /// What moved its bytes; `None` before there is an upstream.
    pub(super) engine: Option<Engine>,
}

/// Through which server of which parent a session is led, as records have it.
#[derive(Clone, Debug)]
pub(super) struct Led {
    pub(super) parent: Arc<str>,
    /// `None` where the session goes without any, as the parent's `fallback` has it.
    pub(super) server: Option<Arc<str>>,
    /// What kept that from leading the session on, by its own fault; without one what the last that was tried failed by.
    pub(super) fault: Option<ParentFault>,
    /// The server's number.
    pub(super) number: u16,
    /// It counts among the sessions that the server has.
    pub(super) held: bool,
}

/// Moments and durations of a session in milliseconds since the worker's start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) accepted_ms: u64,
    pub(super) active_ms: u64,
    pub(super) handshake_ms: Option<u32>,
    pub(super) dns_ms: Option<u32>,
    pub(super) connect_ms: Option<u32>,
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(
        key: Key,
        incoming: Incoming,
        place: Option<Box<SourcePlace>>,
        snapshot: Arc<Snapshot>,
        now_ms: u64,
    ) -> Connection {
        Connection {
            key,
            serial: key.serial(),
            queued: false,
            counted: false,
            record_room: 0,
            snapshot,
            peer: incoming.client,
            listener: incoming.listener,
            proxied: None,
            place,
            places: None,
            left: None,
            facts: Facts::default(),
            address: None,
            local: None,
            times: Times { accepted_ms: now_ms, active_ms: now_ms, ..Times::default() },
            bytes_up: 0,
            bytes_down: 0,
            told_bytes: 0,
            engine: None,
        }
    }

    /// The session on it is over, and is in no count any more; another may begin.
    pub(super) fn end_session(&mut self) {
        if let Some(place) = &mut self.place {
            place.end_session();
        }
        let (place, snapshot) = (self.place.take(), Arc::clone(&self.snapshot));
        *self = Connection {
            queued: self.queued,
            proxied: self.proxied.take(),
            ..Connection::new(self.key, self.incoming(), place, snapshot, 0)
        };
    }

    /// Another session begins.
    pub(super) fn begin_session(&mut self, serial: u64, snapshot: Arc<Snapshot>, now_ms: u64) {
        self.serial = serial;
        self.snapshot = snapshot;
        (self.times.accepted_ms, self.times.active_ms) = (now_ms, now_ms);
    }

    /// Whom policy judges, for a command of its session.
    pub(super) fn subject(&self, command: RequestCommand) -> Subject<'_> {
        self.facts.subject(self.incoming(), command)
    }

    /// How it came in.
    pub(super) fn incoming(&self) -> Incoming {
        Incoming { client: self.peer, listener: self.listener }
    }
}
