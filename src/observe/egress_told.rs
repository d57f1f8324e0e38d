//! How the pools of addresses stand, for whoever looks: those of the configuration, in their order.

use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use crate::config::{Choice, unknown_value};
use crate::policy::egress::health::{AddressState, Fault};
use crate::policy::egress::ledger::Ledger;
use crate::policy::egress::ports::PairUse;
use crate::policy::egress::standing::{ByHandError, EntryStanding};
use crate::policy::egress::{AddressPool, Egress};

/// The pools in effect; `None` where there is none.
#[derive(Clone, Debug, Default)]
pub struct EgressInEffect(pub Option<Arc<Egress>>);

/// How a pool stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolTold {
    /// Its name.
    pub name: Arc<str>,
    /// How it is chosen from.
    pub select: &'static str,
    /// The interface that it leaves by, where that is not there: nothing leaves from it then.
    pub missing_interface: Option<Arc<str>>,
    /// How many of its entries are in each state, in the order of [`AddressState::NAMES`].
    pub addresses: [u64; AddressState::NAMES.len()],
    /// Sessions and attempts that leave from it now, and sessions that did so far.
    pub active: u64,
    /// See `active`.
    pub sessions: u64,
    /// How often an address was cooled for each fault, in the order of [`Fault::ALL`].
    pub cooldowns: [u64; Fault::ALL.len()],
    /// Ports of its connections: open, and in TIME_WAIT.
    pub ports_open: u64,
    /// See `ports_open`.
    pub ports_waiting: u64,
    /// How many ports a source has for each target.
    pub ports_most: u32,
    /// The pairs with the most ports in use, the fullest first.
    pub fullest: Vec<PairUse>,
}

/// How an entry of a pool stands, or an address of it that stands otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressTold {
    /// The pool's name.
    pub pool: Arc<str>,
    /// The address or the prefix.
    pub address: IpNet,
    /// The prefix that it is of, where it is told because it stands otherwise.
    pub within: Option<IpNet>,
    /// How it stands.
    pub state: AddressState,
    /// How long it is left alone yet, in milliseconds.
    pub left_ms: Option<u64>,
    /// What is counted of the entry; of an address of a prefix nothing is.
    pub counts: Option<AddressCounts>,
}

/// What is counted of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressCounts {
    /// Sessions and attempts that leave from it now.
    pub active: u64,
    /// Sessions that did so far.
    pub sessions: u64,
    /// Its ports that are open.
    pub ports_open: u32,
    /// Its ports that are in TIME_WAIT.
    pub ports_waiting: u32,
    /// How often it was cooled for each fault, in the order of [`Fault::ALL`].
    pub cooldowns: [u64; Fault::ALL.len()],
}

/// Why an address was not set by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressOrderError {
    /// There is no such pool or address.
    NotFound(String),
    /// It cannot be done as things are.
    Conflict(String),
}

impl EgressInEffect {
    /// Each pool.
    pub fn told(&self, now: Instant) -> Vec<PoolTold> {
        let Some(egress) = &self.0 else { return Vec::new() };
        let fullest = egress.ledger().ports().fullest();
        egress.pools().map(|pool| told(pool, egress.ledger(), &fullest, now)).collect()
    }

    /// Each entry of the pools, of one alone where one is named, and behind it those addresses of it that stand otherwise.
    pub fn addresses(&self, only: Option<&str>, now: Instant) -> Vec<AddressTold> {
        let Some(egress) = &self.0 else { return Vec::new() };
        let now_ms = egress.ledger().ports().now_ms(now);
        let pools = egress.pools().filter(|pool| only.is_none_or(|name| *name == **pool.name()));
        pools
            .flat_map(|pool| {
                pool.standings().iter().flat_map(move |standing| of_entry(pool, standing, now, now_ms))
            })
            .collect()
    }

    /// Has no new session leave from an address, or from an entry as a whole; or takes that back, which ends a cooldown, too. Gives
    /// the pool's name and whether that changed anything.
    ///
    /// # Errors
    /// There is no such pool, or no such address in it; it is the last that serves.
    pub fn set_drained(
        &self,
        pool: &str,
        address: IpNet,
        drained: bool,
        now: Instant,
    ) -> Result<bool, EgressOrderError> {
        let pool = self.named(pool).map_err(EgressOrderError::NotFound)?;
        let name = &**pool.name();
        let holds = |standing: &&Arc<EntryStanding>| standing.network().contains(&address.trunc());
        let Some(found) = pool.standings().iter().find(holds) else {
            let what = format!("pool {name:?} has no address {}", network_text(&address));
            return Err(EgressOrderError::NotFound(what));
        };
        let others = pool.standings().iter().filter(|other| !Arc::ptr_eq(other, found));
        let serves = |other: &Arc<EntryStanding>| other.state(now) != AddressState::Drained;
        if drained && found.network() == address.trunc() && !{ others }.any(serves) {
            let what = format!(
                "{} is the last address of pool {name:?} that is not drained",
                network_text(&address)
            );
            return Err(EgressOrderError::Conflict(what));
        }
        found.set_drained(address, drained, now).map_err(|error| match error {
            ByHandError::NotThere => EgressOrderError::NotFound(format!(
                "a part of {} is no address: one of its addresses is set by hand, or all of it",
                network_text(&found.network())
            )),
            ByHandError::TooMany => EgressOrderError::Conflict(format!(
                "too many addresses of {} are left alone to know of another",
                network_text(&found.network())
            )),
        })
    }

    /// The pool of this name.
    ///
    /// # Errors
    /// There is none, and which may be meant.
    pub fn named(&self, name: &str) -> Result<&Arc<AddressPool>, String> {
        let pools: Vec<&Arc<AddressPool>> = self.0.iter().flat_map(|egress| egress.pools()).collect();
        let found = pools.iter().copied().find(|pool| **pool.name() == *name);
        found.ok_or_else(|| unknown_value(name, pools.iter().map(|pool| &**pool.name())))
    }
}

fn told(pool: &AddressPool, ledger: &Ledger, fullest: &[PairUse], now: Instant) -> PoolTold {
    let mut addresses = [0; AddressState::NAMES.len()];
    pool.standings().iter().for_each(|standing| addresses[standing.state(now).number()] += 1);
    let (mut active, mut open, mut waiting) = (0, 0, 0);
    // Those that sessions leave from yet, though a reload took them from the pool, are among these.
    for (_, standing) in ledger.all().filter(|(of, _)| *of == pool.id()) {
        let ports = standing.ports_in_use();
        active += standing.active();
        open += u64::from(ports.0);
        waiting += u64::from(ports.1);
    }
    let sums = ledger.sums(pool.id());
    PoolTold {
        name: Arc::clone(pool.name()),
        select: pool.spec().choosing.select.name(),
        missing_interface: pool.missing_interface().cloned(),
        addresses,
        active,
        sessions: sums.sessions,
        cooldowns: sums.cooldowns,
        ports_open: open,
        ports_waiting: waiting,
        ports_most: pool.ports_most(),
        fullest: fullest.iter().copied().filter(|pair| pool.entry_of(pair.source).is_some()).collect(),
    }
}

fn of_entry(pool: &AddressPool, standing: &EntryStanding, now: Instant, now_ms: u64) -> Vec<AddressTold> {
    let tell = |address: IpNet, state: AddressState| AddressTold {
        pool: Arc::clone(pool.name()),
        address,
        within: None,
        state,
        left_ms: state.fault().map(|(_, until_ms)| until_ms.saturating_sub(now_ms)),
        counts: None,
    };
    let (ports_open, ports_waiting) = standing.ports_in_use();
    let counts = AddressCounts {
        active: standing.active(),
        sessions: standing.sessions(),
        ports_open,
        ports_waiting,
        cooldowns: standing.cooldowns(),
    };
    let entry = AddressTold { counts: Some(counts), ..tell(standing.network(), standing.state(now)) };
    let within = standing.states_within(now).into_iter().map(|(address, state)| AddressTold {
        within: Some(standing.network()),
        ..tell(address.into(), state)
    });
    std::iter::once(entry).chain(within).collect()
}

/// An address without its length, a prefix with it.
pub fn network_text(network: &IpNet) -> String {
    match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::egress::health::Outcome;
    use crate::policy::egress::{PoolClient, by_hand};

    /// A pool of two addresses and a prefix, and one of one address.
    fn pools(now: Instant) -> EgressInEffect {
        let fleet = ("fleet", &["192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64"][..]);
        EgressInEffect(Some(by_hand::egress(&[fleet, ("one", &["192.0.2.9/32"])], now)))
    }

    #[test]
    fn a_pool_tells_how_its_addresses_stand_and_what_they_use() {
        let now = Instant::now();
        let egress = pools(now);
        let (pool, source) = (egress.named("fleet").unwrap(), [192, 0, 2, 1].into());
        let begin = || pool.standing(source).unwrap().begin(source, "198.51.100.1:443".parse().unwrap());
        let held = [begin(), begin(), begin()];
        let mut closed = begin();
        closed.closes_first();
        drop(closed);
        for outcome in [Outcome::Connected, Outcome::AddressMissing] {
            pool.note(PoolClient::default(), (source, [198, 51, 100, 1].into()), outcome, now);
        }
        assert!(egress.set_drained("fleet", "192.0.2.2/32".parse().unwrap(), true, now).unwrap());
        let told = egress.told(now);
        assert_eq!((told[0].addresses, told[1].addresses), ([1, 1, 0, 1], [1, 0, 0, 0]));
        assert_eq!((told[0].active, told[0].sessions, told[0].cooldowns), (3, 1, [1, 0, 0, 0, 0]));
        assert_eq!((told[0].ports_open, told[0].ports_waiting, told[0].ports_most), (3, 1, 1_000));
        assert_eq!((told[0].fullest.len(), told[1].fullest.len()), (1, 0));
        assert_eq!((told[0].fullest[0].in_use, told[0].fullest[0].waiting), (4, 1));
        let addresses = egress.addresses(Some("fleet"), now);
        let states: Vec<_> = addresses.iter().map(|one| (one.state.name(), one.left_ms)).collect();
        assert_eq!(states, [("cooled", Some(1_000)), ("drained", None), ("serving", None)]);
        drop(held);
        assert_eq!(egress.told(now)[0].active, 0);
    }

    #[test]
    fn an_address_of_a_prefix_is_told_where_it_stands_otherwise() {
        let now = Instant::now();
        let egress = pools(now);
        let address = "2001:db8::7/128".parse().unwrap();
        assert!(egress.set_drained("fleet", address, true, now).unwrap());
        assert!(!egress.set_drained("fleet", address, true, now).unwrap(), "it was so");
        let told = egress.addresses(None, now);
        assert_eq!(told.len(), 5);
        let within = (told[3].address, told[3].within, told[3].state, told[3].counts);
        assert_eq!(within, (address, Some("2001:db8::/64".parse().unwrap()), AddressState::Drained, None));
        assert!(egress.set_drained("fleet", address, false, now).unwrap());
        assert_eq!(egress.addresses(None, now).len(), 4);
    }

    #[test]
    fn what_is_not_there_is_said_and_the_last_address_stays() {
        let now = Instant::now();
        let egress = pools(now);
        let drain = |pool: &str, address: &str| egress.set_drained(pool, address.parse().unwrap(), true, now);
        let words = |error: EgressOrderError| match error {
            EgressOrderError::NotFound(words) => (404, words),
            EgressOrderError::Conflict(words) => (409, words),
        };
        let refused = |pool: &str, address: &str| words(drain(pool, address).unwrap_err());
        assert!(refused("fleett", "192.0.2.1/32").1.contains("did you mean \"fleet\"?"));
        assert_eq!(refused("fleet", "192.0.2.9/32"), (404, "pool \"fleet\" has no address 192.0.2.9".into()));
        assert!(refused("fleet", "2001:db8::/96").1.starts_with("a part of 2001:db8::/64 is no address"));
        let last = "192.0.2.9 is the last address of pool \"one\" that is not drained";
        assert_eq!(refused("one", "192.0.2.9/32"), (409, last.into()));
        for entry in ["192.0.2.1/32", "192.0.2.2/32"] {
            assert_eq!(drain("fleet", entry), Ok(true));
        }
        assert_eq!(refused("fleet", "2001:db8::/64").0, 409);
        assert_eq!(drain("fleet", "2001:db8::1/128"), Ok(true), "there are others of the prefix");
    }
}
