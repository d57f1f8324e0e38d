//! Who and what was busiest in the last minute: users, sources and targets, by the sessions that they began and by the
//! bytes that they moved. Each worker counts its own in bounded memory; who asks merges.

mod sketch;

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use self::sketch::{Heaviest, Sketch, Weighed, merge};
use crate::limits;
use crate::proto::address::Host;
use crate::shares::Source;

/// Whose sessions and bytes are counted.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The verified user.
    pub user: Option<&'a Arc<str>>,
    /// Where the client is.
    pub source: Source,
    /// What was asked for.
    pub target: Option<&'a Host>,
}

/// What talkers are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TalkedBy {
    /// Sessions whose request came.
    Sessions,
    /// Bytes both ways.
    Bytes,
}

/// The two counts of one kind of talker.
#[derive(Debug)]
struct Ranking<K> {
    by_sessions: Sketch<K>,
    by_bytes: Sketch<K>,
}

impl<K: Clone + Eq + Hash> Ranking<K> {
    fn new() -> Ranking<K> {
        let sketch = || Sketch::new(limits::TALKERS_COUNTED);
        Ranking { by_sessions: sketch(), by_bytes: sketch() }
    }

    fn add(&mut self, key: &K, sessions: u64, bytes: u64) {
        self.by_sessions.add(key, sessions);
        self.by_bytes.add(key, bytes);
    }

    fn found(&self) -> Ranked<K> {
        Ranked { by_sessions: self.by_sessions.found(), by_bytes: self.by_bytes.found() }
    }
}

/// What one ranking found.
#[derive(Debug)]
struct Ranked<K> {
    by_sessions: Heaviest<K>,
    by_bytes: Heaviest<K>,
}

/// A part of the last minute, while it lasts.
#[derive(Debug)]
struct TalkWindow {
    users: Ranking<Arc<str>>,
    sources: Ranking<Source>,
    targets: Ranking<Host>,
}

/// A part of the last minute for others to read: it changes no more.
#[derive(Debug)]
struct WindowFound {
    users: Ranked<Arc<str>>,
    sources: Ranked<Source>,
    targets: Ranked<Host>,
}

impl TalkWindow {
    fn new() -> TalkWindow {
        TalkWindow { users: Ranking::new(), sources: Ranking::new(), targets: Ranking::new() }
    }

    fn found(&self) -> Arc<WindowFound> {
        Arc::new(WindowFound {
            users: self.users.found(),
            sources: self.sources.found(),
            targets: self.targets.found(),
        })
    }
}

/// What one worker counts. It knows no clock: whoever calls says what time it is, in milliseconds, never going back.
#[derive(Debug)]
pub struct Talkers {
    present: TalkWindow,
    /// The window that `present` is of, counted from the clock's start.
    number: u64,
    /// Those before it and their numbers, the latest last.
    past: VecDeque<(u64, Arc<WindowFound>)>,
}

/// Milliseconds of one window.
const WINDOW_MS: u64 = limits::TALKERS_WINDOW.as_millis() as u64;

impl Talkers {
    /// Counts from now on.
    pub fn new(now_ms: u64) -> Talkers {
        Talkers { present: TalkWindow::new(), number: now_ms / WINDOW_MS, past: VecDeque::new() }
    }

    /// Counts what somebody did: so many sessions, so many bytes.
    pub fn count(&mut self, parties: &Parties<'_>, sessions: u64, bytes: u64, now_ms: u64) {
        self.turn_to(now_ms);
        let TalkWindow { users, sources, targets } = &mut self.present;
        if let Some(user) = parties.user {
            users.add(user, sessions, bytes);
        }
        sources.add(&parties.source, sessions, bytes);
        if let Some(target) = parties.target {
            targets.add(target, sessions, bytes);
        }
    }

    /// What was counted in the last minute.
    pub fn found(&mut self, now_ms: u64) -> TalkersFound {
        self.turn_to(now_ms);
        let past = self.past.iter().map(|(_, found)| Arc::clone(found));
        TalkersFound { windows: past.chain([self.present.found()]).collect() }
    }

    /// When the present window ends.
    pub fn window_ends_ms(&self) -> u64 {
        (self.number + 1) * WINDOW_MS
    }

    /// Begins the window of this moment, unless it lasts, and forgets those that are over.
    pub fn turn_to(&mut self, now_ms: u64) {
        let number = now_ms / WINDOW_MS;
        if number > self.number {
            let before = std::mem::replace(&mut self.present, TalkWindow::new());
            self.past.push_back((self.number, before.found()));
            self.number = number;
        }
        while self.past.front().is_some_and(|(of, _)| *of + limits::TALKERS_WINDOWS <= number) {
            self.past.pop_front();
        }
    }
}

/// What workers counted in the last minute.
#[derive(Clone, Debug, Default)]
pub struct TalkersFound {
    windows: Vec<Arc<WindowFound>>,
}

/// The kinds of talkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TalkerKind {
    /// Verified users.
    Users,
    /// IPv4 addresses and IPv6 /64 of clients.
    Sources,
    /// Hosts as asked.
    Targets,
}

/// One of the busiest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talker {
    /// User, source or host.
    pub name: String,
    /// Sessions whose request came.
    pub sessions: u64,
    /// Bytes both ways.
    pub bytes: u64,
    /// By how much the count that it is ranked by may be too large; it is never too small. The other count is what is
    /// certain of it.
    pub over: u64,
}

impl TalkersFound {
    /// Takes in what another worker counted.
    pub fn add(&mut self, other: TalkersFound) {
        self.windows.extend(other.windows);
    }

    /// The busiest of a kind, the first one first.
    pub fn top(&self, kind: TalkerKind, by: TalkedBy, limit: usize) -> Vec<Talker> {
        let windows = self.windows.iter();
        match kind {
            TalkerKind::Users => top(windows.map(|window| &window.users), by, limit),
            TalkerKind::Sources => top(windows.map(|window| &window.sources), by, limit),
            TalkerKind::Targets => top(windows.map(|window| &window.targets), by, limit),
        }
    }
}

fn top<'a, K: Clone + Eq + Hash + ToString + 'a>(
    windows: impl Iterator<Item = &'a Ranked<K>> + Clone,
    by: TalkedBy,
    limit: usize,
) -> Vec<Talker> {
    let by_sessions = merge(windows.clone().map(|ranked| &ranked.by_sessions));
    let by_bytes = merge(windows.map(|ranked| &ranked.by_bytes));
    let (ranked, other) = match by {
        TalkedBy::Sessions => (by_sessions, by_bytes),
        TalkedBy::Bytes => (by_bytes, by_sessions),
    };
    let mut ranked: Vec<Weighed<K>> = ranked.into_values().collect();
    if limit < ranked.len() {
        ranked.select_nth_unstable_by_key(limit, |weighed| Reverse(weighed.count));
        ranked.truncate(limit);
    }
    let talker = |Weighed { key, count, over }: Weighed<K>| {
        let certain = certain_of(&other, &key);
        let (sessions, bytes) = match by {
            TalkedBy::Sessions => (count, certain),
            TalkedBy::Bytes => (certain, count),
        };
        Talker { name: key.to_string(), sessions, bytes, over }
    };
    let mut top: Vec<Talker> = ranked.into_iter().map(talker).collect();
    // Those that are equal always stand in the same order.
    let count = |talker: &Talker| match by {
        TalkedBy::Sessions => talker.sessions,
        TalkedBy::Bytes => talker.bytes,
    };
    top.sort_by(|one, other| count(other).cmp(&count(one)).then_with(|| one.name.cmp(&other.name)));
    top
}

fn certain_of<K: Eq + Hash>(merged: &HashMap<K, Weighed<K>>, key: &K) -> u64 {
    merged.get(key).map_or(0, |weighed| weighed.count - weighed.over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn source(last: u8) -> Source {
        Source::from(IpAddr::from([192, 0, 2, last]))
    }

    fn anonymous(last: u8) -> Parties<'static> {
        Parties { user: None, source: source(last), target: None }
    }

    fn names(found: &TalkersFound, kind: TalkerKind, by: TalkedBy) -> Vec<(String, u64, u64)> {
        let top = found.top(kind, by, 10).into_iter();
        top.map(|talker| (talker.name, talker.sessions, talker.bytes)).collect()
    }

    #[test]
    fn users_sources_and_targets_are_ranked_by_sessions_and_by_bytes() {
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let (host, ip) = (Host::parse(b"example.com").unwrap(), Host::parse(b"198.51.100.1").unwrap());
        let mut talkers = Talkers::new(0);
        talkers.count(&Parties { user: Some(&ann), source: source(1), target: Some(&host) }, 1, 0, 5);
        talkers.count(&Parties { user: Some(&ann), source: source(1), target: Some(&host) }, 1, 0, 6);
        talkers.count(&Parties { user: Some(&ann), source: source(1), target: Some(&host) }, 0, 30, 7);
        talkers.count(&Parties { user: Some(&bob), source: source(2), target: Some(&ip) }, 1, 500, 8);
        talkers.count(&anonymous(2), 1, 0, 9);
        let found = talkers.found(10);
        let named = |name: &str, sessions, bytes| (name.to_owned(), sessions, bytes);
        let (ann, bob) = (named("ann", 2, 30), named("bob", 1, 500));
        assert_eq!(names(&found, TalkerKind::Users, TalkedBy::Sessions), [ann.clone(), bob.clone()]);
        assert_eq!(names(&found, TalkerKind::Users, TalkedBy::Bytes), [bob, ann]);
        let first = named("192.0.2.1", 2, 30);
        let second = named("192.0.2.2", 2, 500);
        assert_eq!(names(&found, TalkerKind::Sources, TalkedBy::Sessions), [first, second]);
        let (host, ip) = (named("example.com", 2, 30), named("198.51.100.1", 1, 500));
        assert_eq!(names(&found, TalkerKind::Targets, TalkedBy::Bytes), [ip, host]);
        assert_eq!(found.top(TalkerKind::Users, TalkedBy::Bytes, 1).len(), 1);
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten_window_by_window() {
        let mut talkers = Talkers::new(0);
        for (last, now_ms) in [(1, 0), (2, WINDOW_MS), (3, 5 * WINDOW_MS)] {
            talkers.count(&anonymous(last), 1, 0, now_ms);
        }
        let mut at = |now_ms| {
            let found = talkers.found(now_ms);
            let mut names = names(&found, TalkerKind::Sources, TalkedBy::Sessions);
            names.sort();
            names.into_iter().map(|(name, ..)| name.replace("192.0.2.", "")).collect::<String>()
        };
        assert_eq!(at(6 * WINDOW_MS - 1), "123");
        assert_eq!(at(6 * WINDOW_MS), "23");
        assert_eq!(at(7 * WINDOW_MS), "3");
        assert_eq!(at(11 * WINDOW_MS), "");
        assert_eq!(at(1000 * WINDOW_MS), "");
    }

    #[test]
    fn what_workers_counted_is_summed() {
        let mut sum = TalkersFound::default();
        for _ in 0..3 {
            let mut talkers = Talkers::new(0);
            talkers.count(&anonymous(1), 2, 100, 0);
            talkers.count(&anonymous(1), 2, 100, WINDOW_MS);
            sum.add(talkers.found(WINDOW_MS));
        }
        let talker = Talker { name: "192.0.2.1".into(), sessions: 12, bytes: 600, over: 0 };
        assert_eq!(sum.top(TalkerKind::Sources, TalkedBy::Bytes, 10), [talker]);
    }

    #[test]
    fn a_minute_costs_no_more_memory_however_many_talk() {
        let mut talkers = Talkers::new(0);
        for number in 0..100_000u32 {
            let source = Source::from(IpAddr::from(number.to_be_bytes()));
            talkers.count(&Parties { user: None, source, target: None }, 1, 1, u64::from(number));
        }
        let found = talkers.found(100_000);
        assert_eq!(found.windows.len() as u64, limits::TALKERS_WINDOWS);
        let places = found.windows.iter().map(|window| window.sources.by_sessions.counted.len());
        assert_eq!(places.max(), Some(limits::TALKERS_COUNTED));
        let talker = &found.top(TalkerKind::Sources, TalkedBy::Sessions, 1)[0];
        assert!(talker.sessions - talker.over <= 1, "{talker:?}");
    }
}
