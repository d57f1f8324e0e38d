//! Who leaves from a pool, as far as the health of its addresses asks: what one client meets is not held against an address.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::limits;
use crate::policy::few_hashes::FewHashes;

/// A client: hashes of who it is, and of the network that it comes from. Its name is who it is, where it has logged in, and the
/// network otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolClient {
    /// 0: nobody.
    pub(super) own: u32,
    pub(super) network: u32,
}

impl PoolClient {
    /// Who has this name, where it has one, and comes from this network: hashes of both.
    pub(super) fn of(name: Option<u64>, network: u64) -> PoolClient {
        let (own, network) = (name.unwrap_or(network) as u32, network as u32);
        PoolClient { own: own.max(1), network }
    }
}

/// Whom the cooldown of an address concerns.
///
/// It is written before the mark that begins the cooldown. A session that reads between the two may take the address for one
/// more time, or pass it over once.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// A [`Reach`].
    reach: AtomicU32,
    /// Those that it concerns. Of a cooldown that concerns all: whose probes have failed, and the networks that those came from.
    clients: FewHashes<{ limits::CLIENTS_CONCERNED }>,
}

/// How far a cooldown reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Reach {
    /// Everybody.
    All,
    /// The clients that found the address bad. Whether it is, is not known: their targets may be.
    Some,
    /// The same, and the one that was asked about was served by other addresses meanwhile.
    Compared,
    /// The clients that found it bad, and others are served by it.
    Contested,
}

impl Concerned {
    pub(super) fn reach(&self) -> Reach {
        match self.reach.load(Ordering::Relaxed) {
            1 => Reach::Some,
            2 => Reach::Compared,
            3 => Reach::Contested,
            _ => Reach::All,
        }
    }

    pub(super) fn set_reach(&self, reach: Reach) {
        self.reach.store(reach as u32, Ordering::Relaxed);
    }

    /// A cooldown begins that reaches so far.
    pub(super) fn begin(&self, reach: Reach) {
        self.clients.clear();
        self.set_reach(reach);
    }

    /// One more client, in the place of another where there is none.
    pub(super) fn add(&self, client: PoolClient) {
        self.clients.add(client.own.into());
    }

    /// The same, with the network that it comes from: a customer with names enough is known by that.
    pub(super) fn add_tried(&self, client: PoolClient) {
        self.clients.add(client.own.into());
        self.clients.add(client.network.into());
    }

    /// Whether a client is among them.
    fn has(&self, client: PoolClient) -> bool {
        self.clients.has(client.own.into())
    }

    /// Whether a client or its network is among them.
    pub(super) fn has_tried(&self, client: PoolClient) -> bool {
        self.has(client) || self.clients.has(client.network.into())
    }

    /// Whether the cooldown concerns a client.
    pub(super) fn concerns(&self, client: PoolClient) -> bool {
        self.reach() == Reach::All || self.has(client)
    }
}

/// Whether a client that found an address bad is served by others: of one client at a time, the one that was asked about last. One
/// load for a session that goes well, unless it is that client's.
#[derive(Debug, Default)]
pub(super) struct AskedClient {
    /// 0: nobody.
    own: AtomicU32,
    served: AtomicU32,
}

impl AskedClient {
    /// Asks about a client from now on.
    pub(super) fn ask(&self, client: PoolClient) {
        if self.own.load(Ordering::Relaxed) != client.own {
            self.served.store(0, Ordering::Relaxed);
            self.own.store(client.own, Ordering::Relaxed);
        }
    }

    /// A session of this client went well.
    pub(super) fn was_served(&self, client: PoolClient) {
        let asked = self.own.load(Ordering::Relaxed);
        if asked != 0
            && asked == client.own
            && self.served.load(Ordering::Relaxed) < limits::SERVED_ELSEWHERE_MIN
        {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it is known that this client was served.
    pub(super) fn is_served(&self, client: PoolClient) -> bool {
        self.own.load(Ordering::Relaxed) == client.own
            && self.served.load(Ordering::Relaxed) >= limits::SERVED_ELSEWHERE_MIN
    }
}
