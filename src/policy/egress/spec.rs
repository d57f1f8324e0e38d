//! Pools as an operator means them: checked values, of which nothing is made yet.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::fault::CooldownTerms;
use super::key;
use crate::limits::EGRESS_BLOCK_LISTED_MAX;

/// A pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolSpec {
    /// Its name, which no other pool has.
    pub name: Arc<str>,
    /// Its addresses and blocks of them, of which none has another's.
    pub addresses: Vec<IpNet>,
    /// How a session comes to its address.
    pub choosing: Choosing,
    /// When an address is left alone.
    pub cooldown: CooldownTerms,
    /// What its sockets are given.
    pub sockets: PoolSockets,
    /// What is to be told of it.
    pub tags: BTreeMap<Arc<str>, Arc<str>>,
}

impl PoolSpec {
    /// Its entries: addresses, and blocks that are too large to be taken for theirs.
    pub fn entries(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.addresses.iter().flat_map(entries_of)
    }
}

/// How a session comes to its address.
#[derive(Clone, Debug, PartialEq)]
pub struct Choosing {
    /// By what.
    pub select: PoolSelect,
    /// What a sticky session's key is made of.
    pub sticky_on: Vec<StickyOn>,
    /// After how long a key has another address; `None`: never.
    pub ttl: Option<Duration>,
    /// Whether that time begins anew with each session.
    pub sliding: bool,
    /// How many other addresses a session tries where the first one fails.
    pub failover: u8,
    /// Which targets it leads to.
    pub family: PoolFamily,
}

impl Default for Choosing {
    fn default() -> Choosing {
        Choosing {
            select: PoolSelect::default(),
            sticky_on: vec![StickyOn::Source],
            ttl: None,
            sliding: false,
            failover: 2,
            family: PoolFamily::default(),
        }
    }
}

/// By what a session comes to its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolSelect {
    /// The hash of its key gives it: see [`super::key`].
    #[default]
    Sticky,
    /// Any.
    Random,
    /// The next one.
    RoundRobin,
    /// The one with the fewest sessions.
    LeastUsed,
    /// The one that the client connected to, where the pool has it; else as sticky sessions of its source.
    Client,
}

/// A part of a sticky session's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickyOn {
    /// Who logged in.
    User,
    /// The session that the user's name has beside the user.
    Session,
    /// Where the client comes from: an IPv4 address, or an IPv6 /64.
    Source,
    /// The host that it asks for.
    Target,
}

/// Which targets a pool leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolFamily {
    /// Those of the families that it has addresses of.
    #[default]
    Match,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// What the sockets of a pool are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSockets {
    /// The ports that they may have; `None`: those of the kernel.
    pub ports: Option<RangeInclusive<u16>>,
    /// Ports of an address that are left to each target: with fewer free the next address is taken.
    pub reserve: u16,
    /// Connections of an address to one target at a time; 0: as many as there are ports.
    pub per_target: u16,
    /// The interface that they leave by.
    pub interface: Option<Arc<str>>,
    /// The mark of their packets (SO_MARK).
    pub fwmark: Option<u32>,
    /// The DSCP of their packets (RFC 2474).
    pub dscp: Option<u8>,
    /// Whether they may have addresses that no interface has (IP_FREEBIND).
    pub freebind: bool,
    /// The network namespace that they are opened in.
    pub netns: Option<PathBuf>,
}

/// A small block's addresses, or the block.
fn entries_of(net: &IpNet) -> Vec<IpNet> {
    match listed(net) {
        Some(count) => {
            let places = (0..u128::from(count)).filter(|place| key::is_host(net, *place));
            places.map(|place| IpNet::from(key::at(net, place))).collect()
        }
        None => vec![*net],
    }
}

/// How many addresses a block has, where it is small enough to be taken for them.
pub fn listed(net: &IpNet) -> Option<u32> {
    let free = u32::from(net.max_prefix_len() - net.prefix_len());
    1_u32.checked_shl(free).filter(|count| *count <= EGRESS_BLOCK_LISTED_MAX)
}
