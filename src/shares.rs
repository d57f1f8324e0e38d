//! Pools that anyone can fill, shared by where their clients come from.
//!
//! A tool for the other modules: it counts, and knows no socket, clock or pool.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

/// One source: an IPv4 address, or an IPv6 /64, the least that one host is given and can roam in.
/// An IPv4-mapped address counts as its IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address.
    V6([u8; 8]),
}

/// What one customer may have many sources in: an IPv4 /24, or an IPv6 /48 (RFC 6177 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 48 bits of an IPv6 address.
    V6([u8; 6]),
}

impl Source {
    /// Its first address, and how many bits it fixes.
    pub fn block(self) -> (IpAddr, u8) {
        match self {
            Source::V4(octets) => (octets.into(), 32),
            Source::V6(octets) => (first_of(octets), 64),
        }
    }

    /// The network that the source is in.
    pub fn network(self) -> Network {
        match self {
            Source::V4([a, b, c, _]) => Network::V4([a, b, c]),
            Source::V6([a, b, c, d, e, f, ..]) => Network::V6([a, b, c, d, e, f]),
        }
    }
}

impl Network {
    /// Its first address, and how many bits it fixes.
    pub fn block(self) -> (IpAddr, u8) {
        match self {
            Network::V4([a, b, c]) => ([a, b, c, 0].into(), 24),
            Network::V6([a, b, c, d, e, f]) => (first_of([a, b, c, d, e, f, 0, 0]), 48),
        }
    }
}

/// The first address of a /64.
fn first_of(octets: [u8; 8]) -> IpAddr {
    let mut whole = [0; 16];
    whole[..8].copy_from_slice(&octets);
    whole.into()
}

impl fmt::Display for Source {
    /// An IPv4 address, or an IPv6 block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Source::V4(octets) => write!(f, "{}", Ipv4Addr::from(octets)),
            Source::V6(octets) => write!(f, "{}/64", first_of(octets)),
        }
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(v4) => Source::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Source::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Who holds how much of a pool, in whatever the pool is counted in.
///
/// A source may hold as much as is left free, and a network twice that. So whoever is alone has half of the pool (a
/// network two thirds), everyone's share shrinks as others come, and a source that comes new finds room, however greedy
/// those before it were. No share has to be configured, and what nobody else asks for is not kept from anyone.
#[derive(Debug)]
pub struct Shares {
    capacity: usize,
    held: usize,
    sources: HashMap<Source, usize>,
    networks: HashMap<Network, usize>,
}

impl Shares {
    /// The shares of a pool of this size, of which nobody holds anything.
    pub fn of(capacity: usize) -> Shares {
        Shares { capacity, held: 0, sources: HashMap::new(), networks: HashMap::new() }
    }

    /// Takes so much for a source; false, and nothing taken, where its share or its network's is used up.
    #[must_use]
    pub fn take(&mut self, source: Source, amount: usize) -> bool {
        let network = source.network();
        let free = self.capacity.saturating_sub(self.held + amount);
        let of = |held: Option<&usize>| held.copied().unwrap_or_default() + amount;
        let fits = self.held + amount <= self.capacity
            && of(self.sources.get(&source)) <= free.max(amount)
            && of(self.networks.get(&network)) <= (2 * free).max(amount);
        if fits && amount > 0 {
            self.held += amount;
            *self.sources.entry(source).or_default() += amount;
            *self.networks.entry(network).or_default() += amount;
        }
        fits
    }

    /// Gives back what was taken for a source.
    pub fn give(&mut self, source: Source, amount: usize) {
        self.held = self.held.saturating_sub(amount);
        lower(&mut self.sources, source, amount);
        lower(&mut self.networks, source.network(), amount);
    }

    /// Lets one source have what another holds, whatever their shares are.
    pub fn pass_on(&mut self, from: Source, to: Source, amount: usize) {
        self.give(from, amount);
        self.held += amount;
        *self.sources.entry(to).or_default() += amount;
        *self.networks.entry(to.network()).or_default() += amount;
    }

    /// The pool has another size from now on. Nothing is taken from anyone: one that is smaller than what is held is
    /// used up until enough is given back.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Whether nothing is left of the pool.
    pub fn are_used_up(&self) -> bool {
        self.held >= self.capacity
    }

    /// How much a source holds.
    pub fn held_by(&self, source: Source) -> usize {
        self.sources.get(&source).copied().unwrap_or_default()
    }

    /// How much all sources hold together.
    pub fn held(&self) -> usize {
        self.held
    }
}

/// The shares of one thread's pool, lent to whoever comes.
#[derive(Clone, Debug)]
pub struct Pool(Rc<RefCell<Shares>>);

/// What one user of a [`Pool`] has of it, given back when dropped.
#[derive(Debug)]
pub struct Lent {
    pool: Pool,
    source: Source,
    amount: usize,
}

impl Pool {
    /// A pool of this size that is all there.
    pub fn of(capacity: usize) -> Pool {
        Pool(Rc::new(RefCell::new(Shares::of(capacity))))
    }

    /// See [`Shares::resize`].
    pub fn resize(&self, capacity: usize) {
        self.0.borrow_mut().resize(capacity);
    }

    /// A user of the pool, from this source, that has nothing yet.
    pub fn nothing(&self, source: Source) -> Lent {
        Lent { pool: self.clone(), source, amount: 0 }
    }
}

impl Lent {
    /// Takes or gives back until it has `amount`; false, and nothing changed, where that is more than before and its share
    /// is used up.
    #[must_use]
    pub fn is_now(&mut self, amount: usize) -> bool {
        let mut shares = self.pool.0.borrow_mut();
        let fits = match amount.checked_sub(self.amount) {
            Some(0) => true,
            Some(more) => shares.take(self.source, more),
            None => {
                shares.give(self.source, self.amount - amount);
                true
            }
        };
        if fits {
            self.amount = amount;
        }
        fits
    }

    /// Gives everything back; it may take again.
    pub fn clear(&mut self) {
        if self.amount > 0 {
            self.pool.0.borrow_mut().give(self.source, std::mem::take(&mut self.amount));
        }
    }

    /// How much it has of the pool.
    pub fn amount(&self) -> usize {
        self.amount
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Lowers a count, and forgets whoever holds nothing: the tables have as many entries as the pool has users.
fn lower<K: Hash + Eq>(held: &mut HashMap<K, usize>, key: K, amount: usize) {
    if let Some(count) = held.get_mut(&key) {
        *count = count.saturating_sub(amount);
        if *count == 0 {
            held.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    /// Takes one by one until it is refused.
    fn take_all(shares: &mut Shares, source: Source) -> usize {
        (0..).take_while(|_| shares.take(source, 1)).count()
    }

    #[test]
    fn ipv6_counts_by_64_and_mapped_as_ipv4() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn a_source_reads_as_an_address_or_a_block() {
        assert_eq!(source("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(source("2001:db8:1:2::9").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn networks_are_24_and_48() {
        assert_eq!(source("192.0.2.1").network(), source("192.0.2.255").network());
        assert_ne!(source("192.0.2.1").network(), source("192.0.3.1").network());
        assert_eq!(source("2001:db8:1:2::1").network(), source("2001:db8:1:ffff::1").network());
        assert_ne!(source("2001:db8:1:2::1").network(), source("2001:db8:2:2::1").network());
    }

    #[test]
    fn whoever_is_alone_has_half_and_the_next_one_half_of_the_rest() {
        let mut shares = Shares::of(1_000);
        assert_eq!(take_all(&mut shares, source("192.0.2.1")), 500);
        assert_eq!(take_all(&mut shares, source("198.51.100.1")), 250);
        assert_eq!(shares.held_by(source("192.0.2.1")), 500);
        assert_eq!(shares.held(), 750);
    }

    #[test]
    fn a_pool_that_shrank_gives_nothing_until_it_has_its_size() {
        let mut shares = Shares::of(1_000);
        let (one, other) = (source("192.0.2.1"), source("198.51.100.1"));
        assert!(shares.take(one, 500));
        shares.resize(100);
        assert!(shares.are_used_up() && !shares.take(other, 1));
        shares.give(one, 450);
        assert!(shares.take(other, 10));
        shares.resize(1_000);
        assert!(shares.take(other, 400));
    }

    #[test]
    fn a_network_full_of_sources_has_two_thirds_of_it_and_others_find_room() {
        let mut shares = Shares::of(900);
        let mut took = 0;
        for subnet in 0..=u8::MAX {
            took += take_all(&mut shares, source(&format!("2001:db8:1:{subnet:x}::1")));
        }
        assert!((598..=602).contains(&took), "{took}");
        assert!(shares.take(source("2001:db8:2::1"), 100));
    }

    #[test]
    fn a_new_source_finds_room_behind_many_greedy_ones() {
        let mut shares = Shares::of(1_024);
        for n in 0..8 {
            take_all(&mut shares, source(&format!("10.0.{n}.1")));
        }
        assert!(shares.take(source("192.0.2.1"), 1));
    }

    #[test]
    fn never_more_is_held_than_there_is() {
        let mut shares = Shares::of(10);
        assert!(!shares.take(source("192.0.2.1"), 11));
        for n in 0..20 {
            take_all(&mut shares, source(&format!("10.0.{n}.1")));
        }
        assert!(shares.held() <= 10);
    }

    #[test]
    fn what_is_passed_on_is_held_by_the_other() {
        let mut shares = Shares::of(4);
        let (one, other) = (source("192.0.2.1"), source("198.51.100.1"));
        assert_eq!(take_all(&mut shares, one), 2);
        shares.pass_on(one, other, 1);
        assert_eq!((shares.held_by(one), shares.held_by(other), shares.held()), (1, 1, 2));
        shares.give(one, 1);
        shares.give(other, 1);
        assert!(shares.sources.is_empty() && shares.networks.is_empty());
    }

    #[test]
    fn who_has_given_everything_back_leaves_nothing() {
        let mut shares = Shares::of(100);
        let one = source("192.0.2.1");
        assert!(shares.take(one, 30) && shares.take(one, 5));
        shares.give(one, 30);
        assert_eq!(shares.held_by(one), 5);
        shares.give(one, 5);
        assert!(shares.sources.is_empty() && shares.networks.is_empty());
        assert_eq!(shares.held(), 0);
    }

    #[test]
    fn what_is_lent_comes_back_when_its_taker_goes() {
        let pool = Pool::of(100);
        let mut first = pool.nothing(source("192.0.2.1"));
        assert!(first.is_now(50) && !first.is_now(51));
        assert_eq!(first.amount(), 50);
        let mut second = pool.nothing(source("198.51.100.1"));
        assert!(second.is_now(25) && !second.is_now(26));
        // What one has is not taken away, however little is left by now.
        assert!(first.is_now(50));
        assert!(first.is_now(20) && second.is_now(26));
        drop(first);
        second.clear();
        assert_eq!(pool.0.borrow().held(), 0);
        assert!(second.is_now(50));
    }
}
