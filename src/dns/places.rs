//! Which names are being asked for, and which wait for a place: shared by where the clients come from.
//!
//! A place is a name about which servers are being asked. What a source may have of them is its share
//! ([`Shares`]); a name beyond it waits in its source's queue, and in those of all sources that wait for
//! the same name. Where the share is used up a place may still be had from another name, which then waits
//! again: from whoever has most in the same network, where that is more than one's own; if there is no
//! place left at all, from the network that has most; or from a name that has been asked for longer than
//! [`DNS_YIELD`]. So a name that nobody answers holds up no other for longer than that, and no name of
//! another source at all.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::limits::DNS_YIELD;
use crate::shares::{Network, Shares, Source};

/// A name that is being resolved, by its number.
pub(super) type JobKey = usize;

/// In a queue, names that have not been asked for come first, and those that lost their place behind them.
pub(super) const FRESH: u64 = 0;
pub(super) const AGAIN: u64 = 1 << 63;

/// Whose place it is, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamePlace {
    pub(super) client: Source,
    pub(super) since: Instant,
}

/// What comes of the turn of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueueTurn {
    /// A name has a place, at this source's expense.
    Start(JobKey, Source),
    /// A name has the place of the second name, which waits again.
    Instead(JobKey, Source, JobKey),
    /// The source whose turn it was has nothing to start now.
    Pass,
}

/// A network with names that wait, or with places.
#[derive(Debug, Default)]
struct NetworkNames {
    /// Sources with a queue, in turn.
    turns: VecDeque<Source>,
    /// Sources with places, by how many: the last one has most.
    most: BTreeSet<(usize, Source)>,
    places: usize,
}

/// The places of one resolver.
#[derive(Debug)]
pub(super) struct NamePlaces {
    shares: Shares,
    /// What waits of a source, by number. One that is empty goes when its turn comes.
    queues: HashMap<Source, BTreeMap<u64, JobKey>>,
    waiting: usize,
    lines: HashMap<Network, NetworkNames>,
    /// Networks with a source in turn.
    turns: VecDeque<Network>,
    /// The names that have places: those of a source, and all.
    asked: HashMap<Source, BTreeSet<(Instant, JobKey)>>,
    oldest: BTreeSet<(Instant, JobKey, Source)>,
    /// Networks by how many places they have.
    most: BTreeSet<(usize, Network)>,
}

impl NamePlaces {
    pub(super) fn of(places: usize) -> NamePlaces {
        NamePlaces {
            shares: Shares::of(places),
            queues: HashMap::new(),
            waiting: 0,
            lines: HashMap::new(),
            turns: VecDeque::new(),
            asked: HashMap::new(),
            oldest: BTreeSet::new(),
            most: BTreeSet::new(),
        }
    }

    /// Whether any name waits.
    pub(super) fn are_wanted(&self) -> bool {
        self.waiting > 0
    }

    /// A name waits at this source's expense; lower numbers come first.
    pub(super) fn queue(&mut self, client: Source, number: u64, job: JobKey) {
        self.waiting += 1;
        let queue = self.queues.entry(client).or_insert_with(|| {
            let network = client.network();
            let line = self.lines.entry(network).or_default();
            // Who comes new is looked at first: those in line have been.
            if line.turns.is_empty() {
                self.turns.push_front(network);
            }
            line.turns.push_front(client);
            BTreeMap::new()
        });
        queue.insert(number, job);
    }

    /// Takes a name out of this source's queue.
    pub(super) fn unqueue(&mut self, client: Source, number: u64) {
        let removed = self.queues.get_mut(&client).and_then(|queue| queue.remove(&number));
        self.waiting -= usize::from(removed.is_some());
    }

    /// Whose turn it is, and what comes of it; `None` when no source stands in line. What starts has its place
    /// and is out of this source's queue.
    pub(super) fn turn(&mut self, now: Instant) -> Option<QueueTurn> {
        let network = self.turns.pop_front()?;
        let client = self.lines.get_mut(&network)?.turns.pop_front()?;
        let first = self.queues.get(&client).and_then(|queue| queue.first_key_value());
        let turn = match first.map(|(&number, &job)| (number, job)) {
            Some((number, job)) => self.admit(client, number, job, now),
            None => QueueTurn::Pass,
        };
        if self.queues.get(&client).is_some_and(|queue| !queue.is_empty()) {
            self.lines.entry(network).or_default().turns.push_back(client);
        } else {
            self.queues.remove(&client);
        }
        if self.lines.get(&network).is_some_and(|line| !line.turns.is_empty()) {
            self.turns.push_back(network);
        }
        self.drop_idle(network);
        Some(turn)
    }

    fn admit(&mut self, client: Source, number: u64, job: JobKey, now: Instant) -> QueueTurn {
        if self.enter(client, job, now) {
            self.unqueue(client, number);
            return QueueTurn::Start(job, client);
        }
        let Some((victim, place)) = self.victim(client, now) else { return QueueTurn::Pass };
        self.forget(victim, place);
        self.shares.pass_on(place.client, client, 1);
        self.note(client, job, now);
        self.unqueue(client, number);
        QueueTurn::Instead(job, client, victim)
    }

    /// How many sources stand in line, at most.
    pub(super) fn in_line(&self) -> usize {
        self.queues.len()
    }

    /// Takes a place for a name that is in no queue of this source's, if its share has one.
    #[must_use]
    pub(super) fn enter(&mut self, client: Source, job: JobKey, now: Instant) -> bool {
        let fits = self.shares.take(client, 1);
        if fits {
            self.note(client, job, now);
        }
        fits
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, job: JobKey, place: NamePlace) {
        self.forget(job, place);
        self.shares.give(place.client, 1);
    }

    /// The name that has to make room for one of this source, and its place.
    fn victim(&self, client: Source, now: Instant) -> Option<(JobKey, NamePlace)> {
        let own = self.shares.held_by(client);
        let network = client.network();
        let line = self.lines.get(&network)?;
        let neighbour = line.most.last().filter(|&&(held, _)| held > own + 1);
        let stranger = || {
            let &(held, busiest) = self.most.last().filter(|_| self.shares.are_used_up())?;
            self.lines[&busiest].most.last().filter(|_| held > line.places + 1)
        };
        if let Some(&(_, source)) = neighbour.or_else(stranger) {
            return self.first_of(source);
        }
        let long =
            |&(_, place): &(JobKey, NamePlace)| now.saturating_duration_since(place.since) >= DNS_YIELD;
        let all = || {
            let &(since, job, client) = self.oldest.first().filter(|_| self.shares.are_used_up())?;
            Some((job, NamePlace { client, since }))
        };
        self.first_of(client).filter(long).or_else(|| all().filter(long))
    }

    fn first_of(&self, client: Source) -> Option<(JobKey, NamePlace)> {
        let &(since, job) = self.asked.get(&client)?.first()?;
        Some((job, NamePlace { client, since }))
    }

    fn note(&mut self, client: Source, job: JobKey, now: Instant) {
        self.oldest.insert((now, job, client));
        let asked = self.asked.entry(client).or_default();
        asked.insert((now, job));
        let held = asked.len();
        self.count(client, held - 1, held);
    }

    fn forget(&mut self, job: JobKey, NamePlace { client, since }: NamePlace) {
        self.oldest.remove(&(since, job, client));
        let Some(asked) = self.asked.get_mut(&client) else { return };
        asked.remove(&(since, job));
        let held = asked.len();
        if held == 0 {
            self.asked.remove(&client);
        }
        self.count(client, held + 1, held);
    }

    /// Sorts a source and its network in anew.
    fn count(&mut self, client: Source, before: usize, after: usize) {
        let network = client.network();
        let line = self.lines.entry(network).or_default();
        line.most.remove(&(before, client));
        self.most.remove(&(line.places, network));
        line.places = line.places + after - before;
        if after > 0 {
            line.most.insert((after, client));
        }
        if line.places > 0 {
            self.most.insert((line.places, network));
        }
        self.drop_idle(network);
    }

    fn drop_idle(&mut self, network: Network) {
        if self.lines.get(&network).is_some_and(|line| line.turns.is_empty() && line.places == 0) {
            self.lines.remove(&network);
        }
    }

    /// Whether nothing is kept of any source or network.
    #[cfg(test)]
    pub(super) fn are_idle(&self) -> bool {
        self.waiting == 0
            && self.shares.held() == 0
            && self.asked.is_empty()
            && self.oldest.is_empty()
            && self.most.is_empty()
    }
}
