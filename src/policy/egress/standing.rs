//! How each entry of a pool stands: its health, the sessions that leave from it, the ports that they use.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ipnet::IpNet;

use super::client::PoolClient;
use super::health::{AddressState, Charge, CooldownTerms, Fault, Health, Outcome};
use super::known::KnownAddresses;
use super::ports::{NetworkPorts, PairCells, PortLeft, PortUses, Ports};
use super::suspicion::{FailureTally, TallyOf};
use crate::shares::Source;

/// An entry of a pool, an address or a prefix, for as long as it is in the pool or a session leaves from it: a reload that
/// keeps the entry keeps this, and with it what was set by hand.
///
/// All workers count here, each session at its begin and at its end; entries stand apart in memory, so that two that leave from
/// different ones meet nowhere.
#[derive(Debug)]
#[repr(align(128))]
pub struct EntryStanding {
    network: IpNet,
    ports: Arc<Ports>,
    /// Attempts that took a port or a socket, and those that have given it back.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Sessions that came about, and those of them that heard nothing by that: sockets for any target.
    connected: AtomicU64,
    bound: AtomicU64,
    /// Attempts that came to nothing.
    failed: AtomicU64,
    uses: PortUses,
    /// What its network says of ports.
    network_ports: NetworkPorts,
    health: Health,
    /// Of a prefix, once one of its addresses failed or was set by hand.
    known: OnceLock<Box<KnownAddresses>>,
}

/// What an attempt or a session has of a source: a port to a target, or a socket for any target. Given back when dropped.
#[derive(Debug)]
pub struct SourceUse {
    standing: Arc<EntryStanding>,
    pair: Option<(PairCells, SocketAddr)>,
    left: PortLeft,
}

/// Why an address was not set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByHandError {
    /// It is of no entry of the pool.
    NotThere,
    /// As many addresses of the prefix are left alone as are known of one.
    TooMany,
}

impl EntryStanding {
    /// Nothing is known of it so far.
    pub fn new(network: IpNet, ports: Arc<Ports>) -> EntryStanding {
        EntryStanding {
            network: network.trunc(),
            ports,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            bound: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            uses: PortUses::of(1),
            network_ports: NetworkPorts::default(),
            health: Health::default(),
            known: OnceLock::new(),
        }
    }

    /// The ports of all entries.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The address, or the prefix.
    pub fn network(&self) -> IpNet {
        self.network
    }

    /// Whether it is one address.
    pub fn is_address(&self) -> bool {
        self.network.prefix_len() == self.network.max_prefix_len()
    }

    /// Sessions and attempts that leave from it now.
    pub fn active(&self) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        self.begun.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// Sessions that came about so far.
    pub fn sessions(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Attempts that were answered so far.
    fn answered(&self) -> u64 {
        self.sessions().saturating_sub(self.bound.load(Ordering::Relaxed))
    }

    /// Attempts of which it is known what came of them: of one that its client gives up, and of a socket for any target, nothing is.
    fn attempts(&self) -> u64 {
        self.answered() + self.failed.load(Ordering::Relaxed)
    }

    /// Ports that its connections to targets use: open, and in TIME_WAIT.
    pub fn ports_in_use(&self) -> (u32, u32) {
        (self.uses.open(0), self.uses.waiting(0))
    }

    /// How often it was cooled for each fault, in the order of [`Fault::ALL`]: with all of its addresses that are known.
    pub fn cooldowns(&self) -> [u64; Fault::ALL.len()] {
        let known = self.known.get().into_iter().flat_map(|known| known.all());
        known.fold(self.health.cooldowns(), |sum, (_, health)| {
            let of = health.cooldowns();
            std::array::from_fn(|at| sum[at] + of[at])
        })
    }

    /// How the entry stands.
    pub fn state(&self, now: Instant) -> AddressState {
        self.health.state(self.ports.now_ms(now))
    }

    /// How those addresses of a prefix stand that do not stand as it does.
    pub fn states_within(&self, now: Instant) -> Vec<(IpAddr, AddressState)> {
        let now_ms = self.ports.now_ms(now);
        let known = self.known.get().into_iter().flat_map(|known| known.all());
        let states = known.map(|(address, health)| (address, health.state(now_ms)));
        states.filter(|(_, state)| *state != AddressState::Serving).collect()
    }

    /// Whether a session may leave from this address of it: see [`Health::is_fit`].
    pub fn is_fit(&self, address: IpAddr, client: PoolClient, now: Instant) -> bool {
        let now_ms = self.ports.now_ms(now);
        self.health.is_fit(client, now_ms)
            && self.own(address).is_none_or(|health| health.is_fit(client, now_ms))
    }

    /// Takes this address of it for a session: see [`Health::take`]. Asked of the one that is chosen alone.
    pub fn take(&self, address: IpAddr, client: PoolClient, now: Instant) -> bool {
        let now_ms = self.ports.now_ms(now);
        self.own(address).is_none_or(|health| health.take(client, now_ms)) && self.health.take(client, now_ms)
    }

    /// The same for a socket that is for any target: see [`Health::take_for_any`].
    pub fn take_for_any(&self, address: IpAddr, client: PoolClient, now: Instant) {
        let now_ms = self.ports.now_ms(now);
        let own = self.own(address).into_iter();
        own.chain([&self.health]).for_each(|health| _ = health.take_for_any(client, now_ms));
    }

    /// How bad it would be for this client to take this address all the same, where none is fit: the least is to be taken.
    pub fn badness(&self, address: IpAddr, client: PoolClient) -> u64 {
        let own = self.own(address).map_or(0, |health| health.badness(client));
        own.max(self.health.badness(client))
    }

    /// A connection from an address of it to this target begins: it takes a port from now on.
    pub fn begin(self: &Arc<EntryStanding>, source: IpAddr, target: SocketAddr) -> SourceUse {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.uses.take(0);
        let pair = Some((self.ports.take(source, target), target));
        SourceUse { standing: Arc::clone(self), pair, left: PortLeft::Free }
    }

    /// A socket for any target begins: an association's, or a listener of BIND.
    pub fn begin_for_any(self: &Arc<EntryStanding>) -> SourceUse {
        self.begun.fetch_add(1, Ordering::Relaxed);
        SourceUse { standing: Arc::clone(self), pair: None, left: PortLeft::Free }
    }

    /// What came of an attempt from an address of it, or of a session: true where something is another now. `pool` are all
    /// entries of the pool, this one among them.
    pub fn note(
        &self,
        pool: &[Arc<EntryStanding>],
        client: PoolClient,
        (address, target): (IpAddr, IpAddr),
        outcome: Outcome,
        terms: &CooldownTerms,
        now: Instant,
    ) -> bool {
        let asked = self.ports.asked();
        match outcome {
            Outcome::Connected => {
                self.connected.fetch_add(1, Ordering::Relaxed);
                asked.was_served(client);
            }
            Outcome::Bound => {
                self.connected.fetch_add(1, Ordering::Relaxed);
                self.bound.fetch_add(1, Ordering::Relaxed);
            }
            // One that was reset was answered before.
            Outcome::PortsUsedUp | Outcome::Reset => {}
            Outcome::AddressMissing | Outcome::Unreachable | Outcome::Refused | Outcome::TimedOut => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (now_ms, attempts) = (self.ports.now_ms(now), self.attempts());
        // Whoever has a machine has the /64 that it is in.
        let target = self.ports.hash(Source::from(target));
        let charge =
            Charge { outcome, target, client, asked, attempts, served: self.answered(), terms, now_ms };
        let others = |fault, of| self.others(pool, fault, of, now_ms);
        let changed = match self.is_address() {
            true => self.health.note(&charge, others),
            false => self.note_within(address, &charge, others),
        };
        if changed {
            self.ports.changed();
        }
        changed
    }

    /// Whether it is known to work, though an attempt has come to nothing of late: sessions have come about since.
    pub fn works(&self, now: Instant) -> bool {
        self.health.works(self.answered(), self.ports.now_ms(now))
    }

    /// The same of an address of a prefix.
    fn note_within(
        &self,
        address: IpAddr,
        charge: &Charge<'_>,
        others: impl Fn(Fault, TallyOf) -> FailureTally,
    ) -> bool {
        let (outcome, now_ms) = (charge.outcome, charge.now_ms);
        // Of the prefix all failures are counted but one that is an address's alone; of the address those that it has.
        let of_prefix = match outcome {
            Outcome::AddressMissing => false,
            _ => self.health.note(charge, others),
        };
        let says_nothing = matches!(outcome, Outcome::Bound | Outcome::PortsUsedUp);
        let fails = !says_nothing && outcome != Outcome::Connected;
        let key = self.ports.hash(address);
        let own = match fails {
            true => self.known.get_or_init(Box::default).learn(key, address, now_ms),
            false => self.known.get().and_then(|known| known.find(key)),
        };
        let of_address = own.is_some_and(|known| {
            let one = u64::from(!says_nothing);
            let attempts = known.attempts.fetch_add(one, Ordering::Relaxed) + one;
            known.health.note(&Charge { attempts, ..*charge }, |_, _| FailureTally::default())
        });
        of_prefix || of_address
    }

    /// Has no new session leave from it, or from one of its addresses; or takes that back, and ends a cooldown. False where it was
    /// so.
    ///
    /// # Errors
    /// It has no such address, or too many others are left alone.
    pub fn set_drained(&self, network: IpNet, drained: bool, now: Instant) -> Result<bool, ByHandError> {
        let changed = self.mark_drained(network, drained, now)?;
        if changed {
            self.ports.changed();
        }
        Ok(changed)
    }

    fn mark_drained(&self, network: IpNet, drained: bool, now: Instant) -> Result<bool, ByHandError> {
        let now_ms = self.ports.now_ms(now);
        if network.trunc() == self.network {
            return Ok(self.health.set_drained(drained, now_ms));
        }
        let address = network.addr();
        if network.prefix_len() != network.max_prefix_len() || !self.network.contains(&address) {
            return Err(ByHandError::NotThere);
        }
        let key = self.ports.hash(address);
        let own = match drained {
            true => Some(
                self.known
                    .get_or_init(Box::default)
                    .learn(key, address, now_ms)
                    .ok_or(ByHandError::TooMany)?,
            ),
            false => self.known.get().and_then(|known| known.find(key)),
        };
        Ok(own.is_some_and(|known| known.health.set_drained(drained, now_ms)))
    }

    /// What its network says of ports.
    pub(super) fn network_ports(&self) -> &NetworkPorts {
        &self.network_ports
    }

    /// What of its ports is counted.
    pub(super) fn uses(&self) -> &PortUses {
        &self.uses
    }

    /// How the others of the pool fare that are not left alone.
    fn others(&self, pool: &[Arc<EntryStanding>], fault: Fault, of: TallyOf, now_ms: u64) -> FailureTally {
        let others = pool.iter().filter(|other| !std::ptr::eq(&***other, self));
        let tallies = others.filter_map(|other| other.health.tally(fault, of, other.attempts(), now_ms));
        tallies.fold(FailureTally::default(), FailureTally::and)
    }

    /// The health of this very address, where it is one of a prefix that is known.
    fn own(&self, address: IpAddr) -> Option<&Health> {
        self.known.get().and_then(|known| known.find(self.ports.hash(address))).map(|known| &known.health)
    }
}

impl SourceUse {
    /// Our side closes the connection first: its port stays in TIME_WAIT. Where a reset ends it after all, see
    /// [`SourceUse::was_reset`].
    pub fn closes_first(&mut self) {
        if let Some((_, target)) = self.pair {
            self.left = self.standing.network_ports.left_waiting(target);
        }
    }

    /// A reset ends the connection: its port is free at once.
    pub fn was_reset(&mut self) {
        self.left = PortLeft::Free;
    }

    /// The entry that it is of.
    pub fn standing(&self) -> &Arc<EntryStanding> {
        &self.standing
    }
}

impl Drop for SourceUse {
    fn drop(&mut self) {
        let EntryStanding { ports, uses, ended, .. } = &*self.standing;
        if let Some((cells, _)) = self.pair {
            ports.give(cells, self.left);
            uses.give(0, self.left, ports.turns());
        }
        ended.fetch_add(1, Ordering::Relaxed);
    }
}
