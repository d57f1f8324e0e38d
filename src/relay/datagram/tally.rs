//! Where the datagrams of one association went and came from, by target, where `log.udp_targets` asks for it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::limits;
use crate::policy::Decision;
use crate::policy::rules::RuleId;
use crate::shares::Lent;

/// Datagrams and their bytes (payload alone) that a sink took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Number of datagrams.
    pub datagrams: u64,
    /// Number of bytes of their payload.
    pub bytes: u64,
}

impl Flow {
    /// Adds another count.
    pub fn add(&mut self, other: Flow) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
    }
}

/// What went to each target and came from it. Counted is what the kernel took.
#[derive(Debug)]
pub struct Tally {
    targets: HashMap<SocketAddr, TargetCounts>,
    /// What was of targets past the bound, all together.
    rest: TargetCounts,
    /// The names by which addresses were asked for, the latest last.
    names: VecDeque<(IpAddr, Box<str>)>,
    /// How many targets of the worker's pool this tally holds.
    held: Lent,
}

/// Both ways of one target.
#[derive(Clone, Debug, Default)]
struct TargetCounts {
    name: Option<Box<str>>,
    /// The rule that let the latest of its datagrams pass about which rules were asked.
    rule: Option<RuleId>,
    would_deny: Option<RuleId>,
    up: Flow,
    down: Flow,
}

/// One line of a tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tallied<'a> {
    /// The name that its address was asked for by, if it was.
    pub name: Option<&'a str>,
    /// Where it is; absent for all the targets together that found no place in the tally.
    pub address: Option<SocketAddr>,
    /// The rule that let its datagrams pass; absent as the address is.
    pub rule: Option<RuleId>,
    /// The first rule in report mode that would have denied them.
    pub would_deny: Option<RuleId>,
    /// Client to target.
    pub up: Flow,
    /// Target to client.
    pub down: Flow,
}

impl Tally {
    /// An empty tally that takes the places of its targets from a pool.
    pub fn new(held: Lent) -> Tally {
        Tally { targets: HashMap::new(), rest: TargetCounts::default(), names: VecDeque::new(), held }
    }

    /// Every target of which something was moved, and what had no place in the end.
    pub fn lines(&self) -> impl Iterator<Item = Tallied<'_>> {
        let targets = self.targets.iter().map(|(address, counts)| (Some(*address), counts));
        let all = targets.chain([(None, &self.rest)]);
        let moved = all.filter(|(_, counts)| counts.up.datagrams + counts.down.datagrams > 0);
        moved.map(|(address, counts)| Tallied {
            name: counts.name.as_deref(),
            address,
            rule: address.map(|_| counts.rule.unwrap_or(RuleId::DEFAULT)),
            would_deny: counts.would_deny,
            up: counts.up,
            down: counts.down,
        })
    }

    /// Datagrams that went to a target.
    pub(super) fn up(&mut self, to: SocketAddr, flow: Flow) {
        self.of(to).up.add(flow);
    }

    /// Datagrams that came from a target.
    pub(super) fn down(&mut self, from: SocketAddr, flow: Flow) {
        self.of(from).down.add(flow);
    }

    /// The name by which an address was asked for, before the first datagram goes there.
    pub(super) fn name(&mut self, ip: IpAddr, name: &str) {
        if self.names.len() >= limits::UDP_NAMES_MAX {
            self.names.pop_front();
        }
        self.names.push_back((ip, name.into()));
    }

    /// By which rule datagrams to a target or from it may pass.
    pub(super) fn allowed(&mut self, target: SocketAddr, decision: &Decision) {
        let target = without_scope(target);
        if self.has_place_for(target) {
            let counts = self.place(target);
            counts.would_deny = counts.would_deny.or(decision.would_deny());
            if let Some(rule) = decision.by.rule() {
                counts.rule = Some(rule);
            }
        }
    }

    fn of(&mut self, target: SocketAddr) -> &mut TargetCounts {
        let target = without_scope(target);
        if self.has_place_for(target) { self.place(target) } else { &mut self.rest }
    }

    fn has_place_for(&mut self, target: SocketAddr) -> bool {
        let places = self.targets.len() + 1;
        self.targets.contains_key(&target) || (places <= limits::UDP_TARGETS_MAX && self.held.is_now(places))
    }

    fn place(&mut self, target: SocketAddr) -> &mut TargetCounts {
        self.targets.entry(target).or_insert_with(|| {
            let name = self.names.iter().rfind(|(ip, _)| *ip == target.ip()).map(|(_, name)| name.clone());
            TargetCounts { name, ..TargetCounts::default() }
        })
    }
}

/// The kernel may name a scope beside an answer's address where none was typed.
fn without_scope(target: SocketAddr) -> SocketAddr {
    SocketAddr::new(target.ip(), target.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::DecidedBy;
    use crate::shares::{Pool, Source};

    fn tally(pool: &Pool) -> Tally {
        Tally::new(pool.nothing(Source::from(IpAddr::from([192, 0, 2, 1]))))
    }

    fn target(number: usize) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 1], number as u16))
    }

    fn flow(datagrams: u64) -> Flow {
        Flow { datagrams, bytes: 10 * datagrams }
    }

    #[test]
    fn both_ways_of_a_target_are_in_its_line_under_its_name() {
        let mut tally = tally(&Pool::of(1_000));
        tally.name(target(1).ip(), "a.example");
        tally.up(target(1), flow(2));
        tally.down(target(1), flow(1));
        tally.up(target(1), flow(1));
        let line = Tallied {
            name: Some("a.example"),
            address: Some(target(1)),
            rule: Some(RuleId::DEFAULT),
            would_deny: None,
            up: flow(3),
            down: flow(1),
        };
        assert_eq!(tally.lines().collect::<Vec<_>>(), [line]);
    }

    #[test]
    fn what_is_past_the_bound_is_in_one_line_without_a_target() {
        let mut tally = tally(&Pool::of(10_000));
        for number in 0..limits::UDP_TARGETS_MAX + 5 {
            tally.up(target(number), flow(1));
        }
        tally.up(target(0), flow(1));
        let lines: Vec<_> = tally.lines().collect();
        assert_eq!(lines.len(), limits::UDP_TARGETS_MAX + 1);
        let rest =
            Tallied { name: None, address: None, rule: None, would_deny: None, up: flow(5), down: flow(0) };
        assert_eq!(lines.last(), Some(&rest));
        assert!(lines.iter().any(|line| line.address == Some(target(0)) && line.up == flow(2)));
    }

    #[test]
    fn the_rule_of_a_target_is_the_one_that_let_its_latest_datagrams_pass() {
        let mut tally = tally(&Pool::of(1_000));
        let by = |rule, would| Decision {
            by: DecidedBy::Rule(RuleId(rule)),
            would: Some(RuleId(would)),
            ..Decision::BY_DEFAULT
        };
        tally.allowed(target(1), &by(3, 5));
        tally.allowed(target(2), &by(7, 5));
        tally.up(target(1), flow(1));
        tally.allowed(target(1), &by(4, 6));
        tally.up(target(1), flow(1));
        let lines: Vec<_> = tally.lines().collect();
        assert_eq!(lines.len(), 1, "nothing went to the other: {lines:?}");
        assert_eq!((lines[0].rule, lines[0].would_deny), (Some(RuleId(4)), Some(RuleId(5))));
    }

    #[test]
    fn one_source_leaves_places_to_others() {
        let pool = Pool::of(10);
        let mut tally = tally(&pool);
        for number in 0..10 {
            tally.up(target(number), flow(1));
        }
        assert_eq!(tally.lines().count(), 5 + 1);
    }
}
