//! The order of verification: networks take turns, in a network its sources, at a source its users; and whoever guesses
//! rests between two guesses, so that silence tells nothing.
//!
//! What a client learns it learns by a verification, and those of one source at one user begin no faster than [`Pace`]
//! lets them, however many connections they come by and whether or not anyone still waits for the answer.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use super::cache::Tag;
use super::pace::{Pace, Rate};
use super::turns::Turns;
use crate::limits::{
    GUESS_INTERVAL, GUESSES_AT_ONCE, NETWORK_GUESS_INTERVAL, NETWORK_GUESSES_AT_ONCE, PACE_KEYS,
    REGULARS_MAX, SOURCE_GUESS_INTERVAL, SOURCE_GUESSES_AT_ONCE, VERIFY_QUEUE_MAX,
};
use crate::shares::{Network, Source};

/// A login that waits for its answer.
pub(super) trait Waiter {
    /// Whether nobody is there any more to be told.
    fn has_left(&self) -> bool;
}

/// A source and a user, by a keyed hash: nobody can choose two that have the same.
pub(super) type SourceUser = u64;

/// Identical logins of one source whose turn has come.
pub(super) struct LoginTurn<W> {
    pub(super) source: Source,
    pub(super) pair: SourceUser,
    pub(super) tag: Tag,
    pub(super) waiters: Vec<W>,
}

/// The logins that wait, in the order in which they are verified.
pub(super) struct FairQueue<W> {
    networks: Turns<Network>,
    nodes: HashMap<Network, Node>,
    sources: HashMap<Source, UserQueue>,
    lines: HashMap<SourceUser, LoginQueue<W>>,
    /// Whoever may not have a turn before a moment; the number tells two of one moment apart.
    rests: BTreeMap<(Instant, u64), Rest>,
    serial: u64,
    paces: Paces,
    regulars: Regulars,
    hasher: RandomState,
    /// Waiters, those that have left among them.
    len: usize,
}

/// The sources of one network.
#[derive(Default)]
struct Node {
    state: State,
    sources: Turns<Source>,
}

/// The users of one source: those that are new, and those that had a turn and want another.
///
/// New ones are taken from both ends, so that neither many that came before nor many that come later keep one waiting.
#[derive(Default)]
struct UserQueue {
    state: State,
    fresh: VecDeque<SourceUser>,
    served: VecDeque<SourceUser>,
    taken: u8,
}

/// Where a network or a source stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing of it waits.
    #[default]
    Idle,
    /// It waits for its turn.
    Waits,
    /// It may not have one yet.
    Rests,
}

/// The distinct logins of one source at one user, in the order in which they came. They are taken from both ends, so that
/// neither those that came before nor those that come later keep one waiting.
struct LoginQueue<W> {
    order: VecDeque<Tag>,
    waiters: HashMap<Tag, Vec<W>>,
    from_the_end: bool,
}

/// Users who were right, by source: the last [`REGULARS_MAX`] of them.
///
/// Every second turn is for one of these: names and addresses are easily had, and whoever comes with many of them may not
/// shut out those who have logged in from where they are.
#[derive(Default)]
struct Regulars {
    pairs: HashSet<SourceUser>,
    order: VecDeque<SourceUser>,
    /// Regulars that wait for a turn, each once.
    waiting: VecDeque<(Source, SourceUser)>,
    are_next: bool,
}

#[derive(Clone, Copy)]
enum Rest {
    Network(Network),
    Source(Source),
    User(Source, SourceUser),
}

/// How fast one may guess: a source at one user, a source at all users, a network.
struct Paces {
    pairs: Pace<SourceUser>,
    sources: Pace<Source>,
    networks: Pace<Network>,
}

impl<W: Waiter> FairQueue<W> {
    pub(super) fn new() -> FairQueue<W> {
        let rate = |at_once, interval| Rate { at_once, interval };
        FairQueue {
            networks: Turns::default(),
            nodes: HashMap::new(),
            sources: HashMap::new(),
            lines: HashMap::new(),
            rests: BTreeMap::new(),
            serial: 0,
            paces: Paces {
                pairs: Pace::new(rate(GUESSES_AT_ONCE, GUESS_INTERVAL), PACE_KEYS),
                sources: Pace::new(rate(SOURCE_GUESSES_AT_ONCE, SOURCE_GUESS_INTERVAL), PACE_KEYS),
                networks: Pace::new(rate(NETWORK_GUESSES_AT_ONCE, NETWORK_GUESS_INTERVAL), PACE_KEYS),
            },
            regulars: Regulars::default(),
            hasher: RandomState::new(),
            len: 0,
        }
    }

    /// The key of a source's logins at one user.
    pub(super) fn pair(&self, source: Source, user: &[u8]) -> SourceUser {
        self.hasher.hash_one((source, user))
    }

    /// Adds a login, behind the others of its source at its user. True if it shares a verification that was due already.
    pub(super) fn push(&mut self, source: Source, pair: SourceUser, tag: Tag, waiter: W) -> bool {
        self.len += 1;
        let line = self.lines.entry(pair).or_insert_with(|| {
            match self.regulars.pairs.contains(&pair) {
                true => self.regulars.waiting.push_back((source, pair)),
                false => self.sources.entry(source).or_default().fresh.push_back(pair),
            }
            LoginQueue { order: VecDeque::new(), waiters: HashMap::new(), from_the_end: false }
        });
        let twins = line.waiters.entry(tag).or_default();
        let shares = !twins.is_empty();
        twins.push(waiter);
        if !shares {
            line.order.push_back(tag);
        }
        self.await_source(source);
        if self.len > VERIFY_QUEUE_MAX {
            self.sweep();
        }
        shares
    }

    /// The logins to verify next; [`FairQueue::finished`] must be told when they are. They count as wrong until
    /// [`FairQueue::was_right`].
    pub(super) fn pop(&mut self, now: Instant) -> Option<LoginTurn<W>> {
        self.wake(now);
        let turn = match self.regulars.are_next {
            true => self.pop_regular(now).or_else(|| self.pop_network(now)),
            false => self.pop_network(now).or_else(|| self.pop_regular(now)),
        }?;
        self.regulars.are_next = !self.regulars.pairs.contains(&turn.pair);
        Some(turn)
    }

    fn pop_regular(&mut self, now: Instant) -> Option<LoginTurn<W>> {
        while let Some((source, pair)) = self.regulars.waiting.pop_front() {
            let network = source.network();
            let paces = &self.paces;
            let ready_at = paces.pairs.ready_at(pair, now).max(paces.sources.ready_at(source, now));
            let ready_at = ready_at.max(paces.networks.ready_at(network, now));
            if ready_at > now {
                self.rest(ready_at, Rest::User(source, pair));
            } else if let Some(turn) = self.take(source, pair, now) {
                self.networks.started(network);
                self.nodes.entry(network).or_default().sources.started(source);
                // It may have been forgotten as one that was right, and waits among the others now.
                self.await_source(source);
                return Some(turn);
            }
        }
        None
    }

    fn pop_network(&mut self, now: Instant) -> Option<LoginTurn<W>> {
        while let Some(network) = self.networks.pop() {
            let ready_at = self.paces.networks.ready_at(network, now);
            self.nodes.entry(network).or_default().state = State::Idle;
            if ready_at > now {
                self.nodes.entry(network).or_default().state = State::Rests;
                self.rest(ready_at, Rest::Network(network));
                continue;
            }
            let turn = self.pop_source(network, now);
            self.await_network(network);
            if let Some(turn) = turn {
                self.networks.started(network);
                return Some(turn);
            }
        }
        None
    }

    fn pop_source(&mut self, network: Network, now: Instant) -> Option<LoginTurn<W>> {
        let source = self.nodes.get_mut(&network)?.sources.pop()?;
        let users = self.sources.get_mut(&source)?;
        let ready_at = self.paces.sources.ready_at(source, now);
        if ready_at > now {
            users.state = State::Rests;
            self.rest(ready_at, Rest::Source(source));
            return None;
        }
        users.state = State::Idle;
        let turn = self.pop_user(source, now);
        self.await_source(source);
        if turn.is_some() {
            self.nodes.entry(network).or_default().sources.started(source);
        }
        turn
    }

    fn pop_user(&mut self, source: Source, now: Instant) -> Option<LoginTurn<W>> {
        let users = self.sources.get_mut(&source)?;
        let pair = users.pop()?;
        let ready_at = self.paces.pairs.ready_at(pair, now);
        if ready_at > now {
            self.rest(ready_at, Rest::User(source, pair));
            return None;
        }
        self.take(source, pair, now)
    }

    /// Takes the next logins of a source at a user whose turn it is.
    fn take(&mut self, source: Source, pair: SourceUser, now: Instant) -> Option<LoginTurn<W>> {
        let line = self.lines.get_mut(&pair)?;
        let mut taken = None;
        while taken.is_none()
            && let Some((tag, mut waiters)) = line.pop()
        {
            self.len -= waiters.len();
            waiters.retain(|waiter| !waiter.has_left());
            taken = (!waiters.is_empty()).then_some((tag, waiters));
        }
        if line.order.is_empty() {
            self.lines.remove(&pair);
        } else {
            self.put_back(source, pair);
        }
        let (tag, waiters) = taken?;
        self.paces.pairs.take(pair, now);
        self.paces.sources.take(source, now);
        self.paces.networks.take(source.network(), now);
        Some(LoginTurn { source, pair, tag, waiters })
    }

    /// Notes that a verification for `source` has ended.
    pub(super) fn finished(&mut self, source: Source) {
        let network = source.network();
        self.networks.finished(network);
        if let Some(node) = self.nodes.get_mut(&network) {
            node.sources.finished(source);
        }
        self.forget(source);
    }

    /// Takes the attempt back, as the password was right, and counts the user among the regulars.
    pub(super) fn was_right(&mut self, source: Source, pair: SourceUser) {
        self.paces.pairs.give_back(pair);
        self.paces.sources.give_back(source);
        self.paces.networks.give_back(source.network());
        self.regulars.insert(pair);
    }

    /// When the next rest is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.rests.first_key_value().map(|((at, _), _)| *at)
    }

    fn rest(&mut self, until: Instant, who: Rest) {
        self.serial += 1;
        self.rests.insert((until, self.serial), who);
    }

    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.rests.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Rest::Network(network) => {
                    self.nodes.entry(network).or_default().state = State::Idle;
                    self.await_network(network);
                }
                Rest::Source(source) => {
                    self.sources.entry(source).or_default().state = State::Idle;
                    self.await_source(source);
                }
                Rest::User(source, pair) => {
                    self.put_back(source, pair);
                    self.await_source(source);
                }
            }
        }
    }

    /// Queues a user whose turn or rest is over, for another turn.
    fn put_back(&mut self, source: Source, pair: SourceUser) {
        match self.regulars.pairs.contains(&pair) {
            true => self.regulars.waiting.push_back((source, pair)),
            false => self.sources.entry(source).or_default().served.push_back(pair),
        }
    }

    /// Has a source wait for its turn if any of its users do.
    fn await_source(&mut self, source: Source) {
        let Some(users) = self.sources.get_mut(&source) else { return };
        if users.state == State::Idle && !users.is_empty() {
            users.state = State::Waits;
            self.nodes.entry(source.network()).or_default().sources.push(source);
            self.await_network(source.network());
        }
        self.forget(source);
    }

    /// Has a network wait for its turn if any of its sources do.
    fn await_network(&mut self, network: Network) {
        let Some(node) = self.nodes.get_mut(&network) else { return };
        if node.state == State::Idle && !node.sources.is_empty() {
            node.state = State::Waits;
            self.networks.push(network);
        }
    }

    /// Drops what is kept of a source that has nothing waiting and nothing under way, and of its network.
    fn forget(&mut self, source: Source) {
        if self.sources.get(&source).is_some_and(|users| users.state == State::Idle && users.is_empty()) {
            self.sources.remove(&source);
        }
        let idle = |node: &Node| node.state == State::Idle && node.sources.is_idle();
        if self.nodes.get(&source.network()).is_some_and(idle) {
            self.nodes.remove(&source.network());
        }
    }

    /// Drops those that have left; their number pays for the look at all.
    fn sweep(&mut self) {
        self.len = 0;
        for line in self.lines.values_mut() {
            line.waiters.values_mut().for_each(|waiters| waiters.retain(|waiter| !waiter.has_left()));
            line.waiters.retain(|_, waiters| !waiters.is_empty());
            line.order.retain(|tag| line.waiters.contains_key(tag));
            self.len += line.waiters.values().map(Vec::len).sum::<usize>();
        }
    }
}

impl UserQueue {
    fn pop(&mut self) -> Option<SourceUser> {
        self.taken = (self.taken + 1) % 3;
        match self.taken {
            1 => self.fresh.pop_front().or_else(|| self.served.pop_front()),
            2 => self.fresh.pop_back().or_else(|| self.served.pop_front()),
            _ => self.served.pop_front().or_else(|| self.fresh.pop_front()),
        }
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.served.is_empty()
    }
}

impl Regulars {
    fn insert(&mut self, pair: SourceUser) {
        if self.pairs.insert(pair) {
            self.order.push_back(pair);
            if self.order.len() > REGULARS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.pairs.remove(&oldest);
            }
        }
    }
}

impl<W> LoginQueue<W> {
    fn pop(&mut self) -> Option<(Tag, Vec<W>)> {
        let tag = if self.from_the_end { self.order.pop_back() } else { self.order.pop_front() }?;
        self.from_the_end = !self.from_the_end;
        Some((tag, self.waiters.remove(&tag).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests;
