//! How the pools of addresses stand, for whoever looks: those of the configuration, in their order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use crate::config::unknown_value;
use crate::policy::egress::health::{AddressState, Fault};
use crate::policy::egress::ledger::Ledger;
use crate::policy::egress::ports::{PairUse, PortTerms};
use crate::policy::egress::standing::{ByHandError, Standing};

/// The pools in effect, and what lasts of them.
#[derive(Clone, Debug, Default)]
pub struct EgressInEffect {
    /// Each pool, in the order of the configuration.
    pub pools: Arc<[PoolInEffect]>,
    /// How their entries stand; `None` where there is no server, or never was a pool.
    pub ledger: Option<Arc<Ledger>>,
}

/// A pool as it is told of.
#[derive(Clone, Debug)]
pub struct PoolInEffect {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: Arc<str>,
    /// How it is chosen from.
    pub select: &'static str,
    /// What it says of ports.
    pub ports: PortTerms,
    /// Its entries in the order of the configuration.
    pub entries: Arc<[IpNet]>,
}

/// How a pool stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolTold {
    /// Its name.
    pub name: Arc<str>,
    /// How it is chosen from.
    pub select: &'static str,
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
        let Some(ledger) = &self.ledger else { return Vec::new() };
        let fullest = ledger.ports().fullest();
        self.pools.iter().map(|pool| told(pool, ledger, &fullest, now)).collect()
    }

    /// Each entry of the pools, of one alone where one is named, and behind it those addresses of it that stand otherwise.
    pub fn addresses(&self, only: Option<&str>, now: Instant) -> Vec<AddressTold> {
        let Some(ledger) = &self.ledger else { return Vec::new() };
        let now_ms = ledger.ports().now_ms(now);
        let pools = self.pools.iter().filter(|pool| only.is_none_or(|name| *name == *pool.name));
        let entries = pools.flat_map(|pool| pool.entries.iter().map(move |entry| (pool, *entry)));
        let standing = entries.filter_map(|(pool, entry)| Some((pool, ledger.standing(pool.number, entry)?)));
        standing.flat_map(|(pool, standing)| of_entry(pool, standing, now, now_ms)).collect()
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
        let standing = |entry: &IpNet| self.ledger.as_ref()?.standing(pool.number, *entry);
        let holds = |entry: &&IpNet| **entry == address || entry.contains(&address);
        let entries = || pool.entries.iter();
        // The entry itself before one that it may lie in.
        let entry = entries().find(|entry| **entry == address).or_else(|| entries().find(holds));
        let Some(found) = entry.and_then(standing) else {
            let what = format!("pool {:?} has no address {}", &*pool.name, network_text(&address));
            return Err(EgressOrderError::NotFound(what));
        };
        let others = entries().filter_map(standing).filter(|other| !Arc::ptr_eq(other, found));
        let serves = |other: &Arc<Standing>| other.state(now) != AddressState::Drained;
        if drained && found.network() == address.trunc() && !others.into_iter().any(serves) {
            let what = format!(
                "{} is the last address of pool {:?} that is not drained",
                network_text(&address),
                &*pool.name
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
    pub fn named(&self, name: &str) -> Result<&PoolInEffect, String> {
        let known = self.pools.iter().map(|pool| &*pool.name);
        let found = self.pools.iter().find(|pool| *pool.name == *name);
        found.ok_or_else(|| unknown_value(name, known))
    }
}

fn told(pool: &PoolInEffect, ledger: &Ledger, fullest: &[PairUse], now: Instant) -> PoolTold {
    let mut addresses = [0; AddressState::NAMES.len()];
    for standing in pool.entries.iter().filter_map(|entry| ledger.standing(pool.number, *entry)) {
        addresses[standing.state(now).number()] += 1;
    }
    let (mut active, mut open, mut waiting) = (0, 0, 0);
    // Those that sessions leave from yet, though a reload took them from the pool, are among these.
    for (_, standing) in ledger.all().filter(|(number, _)| *number == pool.number) {
        let ports = standing.ports_in_use();
        active += standing.active();
        open += u64::from(ports.0);
        waiting += u64::from(ports.1);
    }
    let sums = ledger.sums(pool.number);
    let has = |source: IpAddr| pool.entries.iter().any(|entry| entry.contains(&source));
    PoolTold {
        name: Arc::clone(&pool.name),
        select: pool.select,
        addresses,
        active,
        sessions: sums.sessions,
        cooldowns: sums.cooldowns,
        ports_open: open,
        ports_waiting: waiting,
        ports_most: ledger.ports().most(&pool.ports),
        fullest: fullest.iter().copied().filter(|pair| has(pair.source)).collect(),
    }
}

fn of_entry(pool: &PoolInEffect, standing: &Standing, now: Instant, now_ms: u64) -> Vec<AddressTold> {
    let tell = |address: IpNet, state: AddressState| AddressTold {
        pool: Arc::clone(&pool.name),
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
    use crate::policy::egress::health::{CooldownTerms, Outcome};

    /// A pool of two addresses and a prefix, and one of one address.
    fn pools(now: Instant) -> EgressInEffect {
        let entries =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Arc<[IpNet]>>();
        let pool = |number, name: &str, texts: &[&str]| PoolInEffect {
            number,
            name: name.into(),
            select: "sticky",
            ports: PortTerms { slice: Some(1_000), ..PortTerms::default() },
            entries: entries(texts),
        };
        let pools: Arc<[PoolInEffect]> = [
            pool(1, "fleet", &["192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64"]),
            pool(2, "one", &["192.0.2.9/32"]),
        ]
        .into();
        let wanted = pools.iter().flat_map(|pool| pool.entries.iter().map(|entry| (pool.number, *entry)));
        let ledger = Arc::new(Ledger::new(now).with(wanted));
        EgressInEffect { pools: Arc::clone(&pools), ledger: Some(ledger) }
    }

    #[test]
    fn a_pool_tells_how_its_addresses_stand_and_what_they_use() {
        let now = Instant::now();
        let egress = pools(now);
        let standing = egress.ledger.as_ref().unwrap().standing(1, "192.0.2.1/32".parse().unwrap()).unwrap();
        let source = standing.network().addr();
        let held: Vec<_> =
            (0..3).map(|_| standing.begin(source, "198.51.100.1:443".parse().unwrap())).collect();
        let mut closed = standing.begin(source, "198.51.100.1:443".parse().unwrap());
        closed.closes_first();
        drop(closed);
        let note = |outcome| {
            standing.note(&[], source, [198, 51, 100, 1].into(), outcome, &CooldownTerms::default(), now)
        };
        assert!(!note(Outcome::Connected) && note(Outcome::AddressMissing));
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
