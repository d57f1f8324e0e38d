//! One pool: its addresses, and the order in which a session tries them.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::hash_map::HashMap;
use ipnet::IpNet;

use super::client::PoolClient;
use super::health::Outcome;
use super::key::{self, KeyHash};
use super::ledger::Ledger;
use super::ports::{PortRoom, PortTerms, TimeWaitReuse};
use super::sliding::SlidingKeys;
use super::spec::{PoolFamily, PoolSelect, PoolSockets, PoolSpec, StickyOn};
use super::standing::EntryStanding;
use super::turns::PoolTurns;
use crate::outbound::OutboundOptions;
use crate::policy::way::EgressId;
use crate::proto::address::Host;
use crate::shares::Source;

/// A pool.
#[derive(Debug)]
pub struct AddressPool {
    id: EgressId,
    spec: PoolSpec,
    /// Addresses, and blocks too large to be taken for theirs: those of IPv4 first.
    entries: Box<[IpNet]>,
    /// The hashes of the entries.
    hashes: Box<[u64]>,
    /// How the entries stand.
    standings: Box<[Arc<EntryStanding>]>,
    /// How many ports each address has, where the operator says so.
    slice: Option<u32>,
    /// What its sockets are given.
    options: OutboundOptions,
    /// Where the entries of IPv4 end.
    v4: usize,
    /// The places of single addresses, and those of blocks.
    by_address: HashMap<IpAddr, u16>,
    blocks: Box<[u16]>,
    /// When keys were used, where that counts.
    sliding: Option<SlidingKeys>,
    /// Whether the interface that it leaves by was not there when that was last looked at: one thread looks, and whoever tells reads.
    lacks_interface: AtomicBool,
}

/// What is known of a session that wants to leave.
#[derive(Clone, Copy, Debug)]
pub struct LeavingAsked<'a> {
    /// Who logged in.
    pub user: Option<&'a str>,
    /// The session that the user's name has beside the user.
    pub session: Option<&'a str>,
    /// For how long it wants its address, in place of the pool's `ttl`.
    pub ttl: Option<Duration>,
    /// Where the client comes from.
    pub source: IpAddr,
    /// The address that the client connected to: see [`AddressPool::wants_reached`].
    pub reached: Option<IpAddr>,
    /// The host that it asks for.
    pub target: Option<&'a Host>,
    /// The time of day.
    pub unix_seconds: u64,
}

/// How a session goes through the addresses of its pool. A copy begins where this one is: each target address that a session
/// dials can have one of its own, and so the same first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Whose session it is.
    client: PoolClient,
    /// The hash of the session's key, or any number.
    key: u64,
    /// Whether that is the hash of a key, which keeps the session at its address.
    sticky: bool,
    order: CandidateOrder,
    /// The address that is tried before all others.
    first: Option<IpAddr>,
    /// How far it is, of IPv4 and of IPv6.
    steps: [PoolStep; 2],
}

/// In which order entries come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CandidateOrder {
    /// By how much the key is for them.
    ByKey,
    /// One behind the other, from a place of each family on.
    From([u16; 2]),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PoolStep {
    /// Entries that were looked at, each once in a round.
    looked: u16,
    /// Candidates that came of it.
    found: u16,
    /// Candidates that were given out.
    given: u8,
    /// The score of the last one.
    score: Option<u64>,
}

impl Candidates {
    /// The hash of what keeps the session at its address, where anything does.
    pub fn session_key(&self) -> Option<u64> {
        self.sticky.then_some(self.key)
    }

    /// Whose session it is.
    pub fn client(&self) -> PoolClient {
        self.client
    }
}

impl AddressPool {
    /// The pool of this number, whose entries stand as the ledger says and whose sockets are given this.
    pub(super) fn new(
        id: EgressId,
        spec: PoolSpec,
        mut options: OutboundOptions,
        ledger: &Ledger,
    ) -> AddressPool {
        let mut entries: Vec<IpNet> = spec.entries().collect();
        entries.sort_by_key(|net| net.addr().is_ipv6());
        let is_block = |net: &IpNet| net.prefix_len() < net.max_prefix_len();
        // No interface has the addresses of a block that a route leads here. Of IPv4 there are none: they are taken for addresses.
        options.freebind.v6 |= entries.iter().any(is_block);
        let standing = |net: &IpNet| {
            let unknown = || Arc::new(EntryStanding::new(*net, Arc::clone(ledger.ports())));
            ledger.standing(id, *net).cloned().unwrap_or_else(unknown)
        };
        let slice = options.ports.as_ref().map(|ports| u32::from(ports.end() - ports.start()) + 1);
        let sliding = (spec.choosing.sliding && spec.choosing.ttl.is_some()).then(SlidingKeys::new);
        let numbered = || (0_u16..).zip(&entries);
        AddressPool {
            id,
            by_address: numbered()
                .filter(|(_, net)| !is_block(net))
                .map(|(at, net)| (net.addr(), at))
                .collect(),
            blocks: numbered().filter(|(_, net)| is_block(net)).map(|(at, _)| at).collect(),
            hashes: entries.iter().map(key::entry).collect(),
            standings: entries.iter().map(standing).collect(),
            v4: entries.partition_point(|net| net.addr().is_ipv4()),
            entries: entries.into(),
            slice,
            options,
            sliding,
            spec,
            lacks_interface: AtomicBool::new(false),
        }
    }

    /// The interface that it leaves by, where that is not there: nothing leaves from the pool then.
    pub fn missing_interface(&self) -> Option<&Arc<str>> {
        self.spec.sockets.interface.as_ref().filter(|_| self.lacks_interface.load(Ordering::Relaxed))
    }

    /// Takes note of whether that interface is not there.
    pub fn note_interface(&self, is_missing: bool) {
        self.lacks_interface.store(is_missing, Ordering::Relaxed);
    }

    /// Its number.
    pub fn id(&self) -> EgressId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// All that is configured of it.
    pub fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// What its sockets are given.
    pub fn options(&self) -> &OutboundOptions {
        &self.options
    }

    /// How each entry stands, in their order.
    pub fn standings(&self) -> &[Arc<EntryStanding>] {
        &self.standings
    }

    /// How many ports each of its addresses has for each target: as many as the operator says, or as its network has.
    pub fn ports_most(&self) -> u32 {
        let network = || self.standings.first().map_or(0, |any| any.network_ports().range());
        self.slice.unwrap_or_else(network)
    }

    /// What its network says of ports, as far as it says it: how many there are, and who may take them out of TIME_WAIT.
    pub fn set_network(&self, range: Option<u32>, reuse: TimeWaitReuse) {
        self.standings.iter().for_each(|standing| standing.network_ports().set(range, reuse));
    }

    /// How the entry stands that an address is of.
    pub fn standing(&self, ip: IpAddr) -> Option<&Arc<EntryStanding>> {
        self.standings.get(self.entry_of(ip)?)
    }

    /// What room an address has for one more connection to this target.
    pub fn room(&self, source: IpAddr, target: SocketAddr) -> PortRoom {
        let PoolSockets { reserve, per_target, .. } = self.spec.sockets;
        match (reserve, per_target, self.standings.first()) {
            (0, 0, _) | (.., None) => PortRoom::Enough,
            (.., Some(any)) => {
                let (reserve, per_target) = (reserve.into(), per_target.into());
                any.ports().room(source, target, &PortTerms { most: self.ports_most(), reserve, per_target })
            }
        }
    }

    /// What came of a client's leaving from an address towards a target.
    pub fn note(
        &self,
        client: PoolClient,
        (source, target): (IpAddr, IpAddr),
        outcome: Outcome,
        now: Instant,
    ) {
        if let Some(standing) = self.standing(source) {
            let pair = (source, target);
            standing.note(&self.standings, client, pair, outcome, &self.spec.cooldown, now);
        }
    }

    /// Takes an address that [`AddressPool::next`] gave: one that was left alone is tried by one session, and false for another that was
    /// given it at the same moment.
    pub fn take(&self, source: IpAddr, client: PoolClient, now: Instant) -> bool {
        let taken = |standing: &Arc<EntryStanding>| {
            !standing.is_fit(source, client, now) || standing.take(source, client, now)
        };
        self.standing(source).is_none_or(taken)
    }

    /// Its addresses, and its blocks that are too large to be taken for theirs, each as one entry.
    pub fn entries(&self) -> &[IpNet] {
        &self.entries
    }

    /// The entry that an address is of.
    pub fn entry_of(&self, ip: IpAddr) -> Option<usize> {
        let ip = ip.to_canonical();
        let block = || self.blocks.iter().find(|at| self.entries[usize::from(**at)].contains(&ip));
        self.by_address.get(&ip).or_else(block).map(|at| usize::from(*at))
    }

    /// Whether [`LeavingAsked::reached`] matters: the kernel has to be asked for it.
    pub fn wants_reached(&self) -> bool {
        self.spec.choosing.select == PoolSelect::Client
    }

    /// Whether it leads to targets of this one's family.
    pub fn leads_to(&self, target: IpAddr) -> bool {
        let is_v6 = target.to_canonical().is_ipv6();
        let wanted = match self.spec.choosing.family {
            PoolFamily::Match => true,
            PoolFamily::V4 => !is_v6,
            PoolFamily::V6 => is_v6,
        };
        wanted && !self.family(is_v6).is_empty()
    }

    fn family(&self, is_v6: bool) -> Range<usize> {
        if is_v6 { self.v4..self.entries.len() } else { 0..self.v4 }
    }

    /// How a session goes through the addresses.
    pub fn choose(&self, asked: &LeavingAsked<'_>, turns: &mut PoolTurns) -> Candidates {
        let (steps, first, sticky) = ([PoolStep::default(); 2], None, false);
        let client = self.client(asked);
        let from = |turn: u64| {
            let place = |is_v6| (turn % self.family(is_v6).len().max(1) as u64) as u16;
            CandidateOrder::From([place(false), place(true)])
        };
        match self.spec.choosing.select {
            PoolSelect::Sticky => match self.key(asked, true) {
                Some(key) => {
                    Candidates { client, key, sticky: true, order: CandidateOrder::ByKey, first, steps }
                }
                None => {
                    let (key, order) = (turns.random(), CandidateOrder::ByKey);
                    Candidates { client, key, sticky, order, first, steps }
                }
            },
            PoolSelect::Random => {
                let key = turns.random();
                Candidates { client, key, sticky, order: from(key >> 32), first, steps }
            }
            PoolSelect::LeastUsed => {
                let key = turns.random();
                let order =
                    CandidateOrder::From([false, true].map(|is_v6| self.least_used(is_v6, key >> 32)));
                Candidates { client, key, sticky, order, first, steps }
            }
            PoolSelect::RoundRobin => {
                let key = turns.random();
                Candidates { client, key, sticky, order: from(turns.turn(self.id).into()), first, steps }
            }
            PoolSelect::Client => {
                let reached = asked.reached.map(|ip| ip.to_canonical());
                let first = reached.filter(|ip| self.entry_of(*ip).is_some());
                let key = self.key_of(&[StickyOn::Source], asked).0;
                Candidates { client, key, sticky, order: CandidateOrder::ByKey, first, steps }
            }
        }
    }

    fn client(&self, asked: &LeavingAsked<'_>) -> PoolClient {
        let Some(any) = self.standings.first() else { return PoolClient::default() };
        let network = any.ports().hash(Source::from(asked.source).network());
        PoolClient::of(asked.user.map(|user| any.ports().hash(user)), network)
    }

    /// The place of the entry of a family with the fewest sessions now; of several the first one behind any place, so that
    /// sessions that begin at once do not all come to the same.
    fn least_used(&self, is_v6: bool, any: u64) -> u16 {
        let standings = &self.standings[self.family(is_v6)];
        let count = standings.len() as u64;
        let places = (0..count).map(|nth| (any + nth) % count);
        places.min_by_key(|place| standings[*place as usize].active()).unwrap_or_default() as u16
    }

    /// The address that a session has towards a target of this one's family, where the next one like it has the same; asking
    /// renews nothing.
    pub fn settled(&self, asked: &LeavingAsked<'_>, target: IpAddr, now: Instant) -> Option<IpAddr> {
        if self.spec.choosing.select != PoolSelect::Sticky {
            return None;
        }
        let key = self.key(asked, false)?;
        let steps = [PoolStep::default(); 2];
        let (client, order) = (self.client(asked), CandidateOrder::ByKey);
        self.next(&mut Candidates { client, key, sticky: true, order, first: None, steps }, target, now)
    }

    /// The key of a sticky session; `None` where it lacks a part of it. `renews`: it is used now.
    pub(super) fn key(&self, asked: &LeavingAsked<'_>, renews: bool) -> Option<u64> {
        let choosing = &self.spec.choosing;
        let (key, parts) = self.key_of(&choosing.sticky_on, asked);
        if parts < choosing.sticky_on.len() {
            return None;
        }
        let Some(ttl) = asked.ttl.or(choosing.ttl).map(|ttl| ttl.as_secs().max(1)) else { return Some(key) };
        let epoch = key::epoch(key, asked.unix_seconds, ttl);
        let epoch = match &self.sliding {
            Some(keys) => keys.epoch(key, asked.unix_seconds, ttl, (epoch, renews)),
            None => epoch,
        };
        Some(key::in_epoch(key, epoch))
    }

    /// The hash of these parts of a session, and how many of them it has.
    fn key_of(&self, parts: &[StickyOn], asked: &LeavingAsked<'_>) -> (u64, usize) {
        let mut hash = KeyHash::new();
        let mut add = |part: StickyOn, bytes: &[u8]| {
            if parts.contains(&part) {
                hash.add(kind(part), bytes);
            }
        };
        if let Some(user) = asked.user {
            add(StickyOn::User, user.as_bytes());
        }
        if let Some(session) = asked.session {
            add(StickyOn::Session, session.as_bytes());
        }
        match asked.source.to_canonical() {
            IpAddr::V4(v4) => add(StickyOn::Source, &v4.octets()),
            IpAddr::V6(v6) => add(StickyOn::Source, &v6.octets()[..8]),
        }
        match asked.target {
            Some(Host::Name(name)) => add(StickyOn::Target, name.as_str().as_bytes()),
            Some(Host::Ip(ip)) => match ip.to_canonical() {
                IpAddr::V4(v4) => add(StickyOn::Target, &v4.octets()),
                IpAddr::V6(v6) => add(StickyOn::Target, &v6.octets()),
            },
            None => {}
        }
        hash.finish()
    }

    /// The next address to leave from towards a target of this one's family; `None` where there is no other to try. What is
    /// left alone for now is passed over; where all is, the least bad serves.
    pub fn next(&self, leaving: &mut Candidates, target: IpAddr, now: Instant) -> Option<IpAddr> {
        if !self.leads_to(target) {
            return None;
        }
        let is_v6 = target.to_canonical().is_ipv6();
        let tries = self.spec.choosing.failover.saturating_add(1);
        let begun = Candidates { steps: [PoolStep::default(); 2], ..*leaving };
        while leaving.steps[usize::from(is_v6)].given < tries {
            let Some(ip) = self.candidate(leaving, is_v6) else { break };
            if self.serves(ip, leaving.client, now) {
                leaving.steps[usize::from(is_v6)].given += 1;
                return Some(ip);
            }
        }
        let step = &mut leaving.steps[usize::from(is_v6)];
        if step.given > 0 {
            return None;
        }
        step.given = tries;
        // All are left alone: the least bad serves.
        let mut again = begun;
        let all = std::iter::from_fn(|| self.candidate(&mut again, is_v6)).take(usize::from(tries));
        all.min_by_key(|ip| self.standing(*ip).map_or(0, |standing| standing.badness(*ip, begun.client)))
    }

    /// Whether an address is not left alone by this client for now.
    fn serves(&self, ip: IpAddr, client: PoolClient, now: Instant) -> bool {
        self.standing(ip).is_none_or(|standing| standing.is_fit(ip, client, now))
    }

    /// The next candidate of a family, whatever is known of it.
    fn candidate(&self, leaving: &mut Candidates, is_v6: bool) -> Option<IpAddr> {
        let (family, tries) = (self.family(is_v6), u16::from(self.spec.choosing.failover) + 1);
        let step = &mut leaving.steps[usize::from(is_v6)];
        let first = leaving.first.filter(|ip| ip.is_ipv6() == is_v6);
        loop {
            let looked = step.looked;
            step.looked = looked.saturating_add(1);
            let nth = match first {
                Some(ip) if looked == 0 => {
                    step.found += 1;
                    return Some(ip);
                }
                Some(_) => looked - 1,
                None => looked,
            };
            let (count, by_key) = (family.len() as u16, leaving.order == CandidateOrder::ByKey);
            // A key's addresses are as many as are tried; who has none may be given any.
            if (by_key && step.found >= tries) || nth >= count.saturating_mul(tries) {
                return None;
            }
            let (place, round) = (nth % count, nth / count);
            let at = match leaving.order {
                CandidateOrder::ByKey => {
                    let below = step.score.filter(|_| place > 0);
                    let (at, score) = self.ranked(family.clone(), leaving.key, below)?;
                    step.score = Some(score);
                    at
                }
                CandidateOrder::From(places) => {
                    family.start + usize::from((places[usize::from(is_v6)] + place) % count)
                }
            };
            match self.address(at, leaving.key, round as u8) {
                Some(ip) if Some(ip) != first => {
                    step.found = step.found.saturating_add(1);
                    return Some(ip);
                }
                _ => {}
            }
        }
    }

    /// The entry that a key is most for, of those for which it is less than the last one.
    fn ranked(&self, family: Range<usize>, key: u64, below: Option<u64>) -> Option<(usize, u64)> {
        let hashes = &self.hashes[family.clone()];
        let scores = || hashes.iter().map(|hash| key::score(*hash, key));
        // The score tells which entry it is: a comparison for each, and nothing kept beside.
        let score = match below {
            None => scores().max()?,
            Some(below) => scores().filter(|score| *score < below).max()?,
        };
        let at = scores().position(|own| own == score)?;
        Some((family.start + at, score))
    }

    /// The address of an entry at the `round`-th time that it comes; an address comes once.
    fn address(&self, at: usize, key: u64, round: u8) -> Option<IpAddr> {
        let net = &self.entries[at];
        match net.prefix_len() == net.max_prefix_len() {
            true => (round == 0).then(|| net.addr()),
            false => Some(key::host(net, self.hashes[at], key, round)),
        }
    }
}

/// The number of a part in a key.
fn kind(part: StickyOn) -> u8 {
    match part {
        StickyOn::User => 1,
        StickyOn::Session => 2,
        StickyOn::Source => 3,
        StickyOn::Target => 4,
    }
}
