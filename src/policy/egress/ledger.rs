//! What lasts of pools over reloads: how each entry stands, by pool and address.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::health::Fault;
use super::ports::Ports;
use super::standing::EntryStanding;
use crate::policy::way::EgressId;

/// How all entries of all pools stand: those of the configuration, and those that sessions leave from yet.
///
/// By-hand marks, cooldowns and counts are those of a pool's name and an address, so that a reload that keeps both keeps them.
/// They are in memory alone: a restart knows nothing of them.
#[derive(Clone, Debug)]
pub struct Ledger {
    ports: Arc<Ports>,
    entries: HashMap<(EgressId, IpNet), Arc<EntryStanding>>,
    /// What entries counted that are gone, by pool.
    gone: HashMap<EgressId, LedgerSums>,
}

/// What a pool's entries counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSums {
    /// Sessions.
    pub sessions: u64,
    /// Cooldowns for each fault, in the order of [`Fault::ALL`].
    pub cooldowns: [u64; Fault::ALL.len()],
}

impl Ledger {
    /// Nothing is in it.
    pub fn new(now: Instant) -> Ledger {
        Ledger { ports: Arc::new(Ports::new(now)), entries: HashMap::new(), gone: HashMap::new() }
    }

    /// The ledger that has these entries from now on: those that there are stay, and so does one from which a session leaves.
    #[must_use]
    pub fn with(&self, wanted: impl IntoIterator<Item = (EgressId, IpNet)>) -> Ledger {
        let mut left = self.entries.clone();
        let mut entries = HashMap::new();
        for (pool, network) in wanted {
            let key = (pool, network.trunc());
            let made = || Arc::new(EntryStanding::new(key.1, Arc::clone(&self.ports)));
            entries.insert(key, left.remove(&key).unwrap_or_else(made));
        }
        let mut gone = self.gone.clone();
        for (key, standing) in left {
            if standing.active() > 0 {
                entries.insert(key, standing);
            } else {
                gone.entry(key.0).or_default().add(&standing);
            }
        }
        Ledger { ports: Arc::clone(&self.ports), entries, gone }
    }

    /// How an entry of a pool stands.
    pub fn standing(&self, pool: EgressId, network: IpNet) -> Option<&Arc<EntryStanding>> {
        self.entries.get(&(pool, network.trunc()))
    }

    /// The ports of all of them.
    pub fn ports(&self) -> &Arc<Ports> {
        &self.ports
    }

    /// Every entry with its pool, in no order.
    pub fn all(&self) -> impl Iterator<Item = (EgressId, &Arc<EntryStanding>)> {
        self.entries.iter().map(|((pool, _), standing)| (*pool, standing))
    }

    /// What the entries of a pool counted so far, with those that are gone.
    pub fn sums(&self, pool: EgressId) -> LedgerSums {
        let mut sums = self.gone.get(&pool).copied().unwrap_or_default();
        self.all().filter(|(of, _)| *of == pool).for_each(|(_, standing)| sums.add(standing));
        sums
    }

    /// How often an address came to stand otherwise, so far: while this is the same, nothing is to be looked at.
    pub fn changes(&self) -> u64 {
        self.ports.changes()
    }

    /// Gives back what has been in TIME_WAIT for its time. Called by one thread, once a second.
    pub fn fade(&self, now: Instant) {
        self.ports.fade(now, self.entries.values().map(|standing| standing.uses()));
    }
}

impl LedgerSums {
    fn add(&mut self, standing: &EntryStanding) {
        self.sessions += standing.sessions();
        self.cooldowns.iter_mut().zip(standing.cooldowns()).for_each(|(sum, one)| *sum += one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::egress::PoolClient;

    fn network(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_that_a_reload_keeps_keeps_what_was_set_by_hand_and_one_with_sessions_its_counts() {
        let now = Instant::now();
        let [a, b, c] = ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64"].map(network);
        let first =
            Ledger::new(now).with([(EgressId(1), a), (EgressId(1), b), (EgressId(2), a), (EgressId(1), c)]);
        assert!(first.standing(EgressId(1), a).unwrap().set_drained(a, true, now).unwrap());
        let within = network("2001:db8::7/128");
        assert!(first.standing(EgressId(1), c).unwrap().set_drained(within, true, now).unwrap());
        let session =
            first.standing(EgressId(1), b).unwrap().begin(b.addr(), "198.51.100.1:443".parse().unwrap());
        let second = first.with([(EgressId(1), a), (EgressId(1), c)]);
        assert_eq!(second.standing(EgressId(1), a).unwrap().state(now).name(), "drained");
        assert!(!second.standing(EgressId(1), c).unwrap().is_fit(within.addr(), PoolClient::default(), now));
        assert!(second.standing(EgressId(1), c).unwrap().is_fit(
            network("2001:db8::8/128").addr(),
            PoolClient::default(),
            now
        ));
        assert!(second.standing(EgressId(2), a).is_none(), "no session of it is left");
        assert_eq!(second.standing(EgressId(1), b).unwrap().active(), 1);
        let third = second.with([(EgressId(1), a), (EgressId(1), b), (EgressId(2), a)]);
        assert_eq!(third.standing(EgressId(1), b).unwrap().active(), 1, "what came back has its session");
        drop(session);
        assert_eq!(third.standing(EgressId(1), b).unwrap().active(), 0);
        assert_eq!(third.standing(EgressId(2), a).unwrap().state(now).name(), "serving", "another pool's");
    }

    #[test]
    fn what_an_entry_counted_is_not_lost_with_it() {
        use super::super::health::{CooldownTerms, Outcome};
        let now = Instant::now();
        let a = network("192.0.2.1/32");
        let ledger = Ledger::new(now).with([(EgressId(1), a)]);
        let standing = Arc::clone(ledger.standing(EgressId(1), a).unwrap());
        let pool = [Arc::clone(&standing)];
        let target = [198, 51, 100, 1].into();
        for outcome in [Outcome::Connected, Outcome::AddressMissing] {
            let pair = (a.addr(), target);
            standing.note(&pool, PoolClient::default(), pair, outcome, &CooldownTerms::default(), now);
        }
        let sums = LedgerSums { sessions: 1, cooldowns: [1, 0, 0, 0, 0] };
        assert_eq!(ledger.sums(EgressId(1)), sums);
        let gone = ledger.with([]);
        assert_eq!((gone.sums(EgressId(1)), gone.all().count()), (sums, 0));
        assert_eq!(gone.with([(EgressId(1), a)]).sums(EgressId(1)), sums);
    }
}
