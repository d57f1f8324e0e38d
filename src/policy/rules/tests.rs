//! The compiled rules against rules that are asked one after the other.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{TimeZone, offset};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::by_hand::name;
use super::linear::Linear;
use super::schedule::{Hours, Schedule};
use super::spec::{
    Action, Condition, Destination, GroupSpec, ListSpec, Logged, Mode, NamePattern, RuleSpec, RuleSpecs,
};
use super::*;
use crate::limits::RULES_MAX;
use crate::policy::way::{EgressId, Way};
use crate::proto::address::Name;
use crate::proto::request::RequestCommand;

const USERS: [&str; 5] = ["ann", "bob", "eve", "dan", "an"];
const SOURCES: [&str; 6] = ["10.1.2.3", "10.9.9.9", "192.0.2.1", "2001:db8::1", "::ffff:10.1.2.4", "::1"];
const BLOCKS: [&str; 12] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/24",
    "10.1.2.3/32",
    "10.1.2.128/25",
    "192.0.2.0/24",
    "::/0",
    "2001:db8::/32",
    "2001:db8::1/128",
    "::ffff:10.0.0.0/104",
];
const NAMES: [&str; 8] = [
    "com",
    "example.com",
    "a.example.com",
    "b.a.example.com",
    "xexample.com",
    "org",
    "d.c.b.a.example.com",
    "x",
];
const LISTENERS: [&str; 3] = ["127.0.0.1:1080", "[::1]:1080", "0.0.0.0:1081"];
const COMMANDS: [RequestCommand; 4] =
    [RequestCommand::Connect, RequestCommand::Bind, RequestCommand::UdpAssociate, RequestCommand::Resolve];
const PORTS: [u16; 9] = [0, 1, 80, 255, 256, 443, 8000, 8080, 65_535];
/// A Friday noon, the night after it, a Sunday.
const TIMES: [&str; 3] = ["2026-11-27T12:00:00Z", "2026-11-28T02:30:00Z", "2026-11-29T12:00:00Z"];

fn hours(start: u16, end: u16) -> Hours {
    Hours { start, end }
}

/// Rules at random, of few values, so that they often meet.
struct Maker(StdRng);

impl Maker {
    fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.below(most)).map(|_| make(self)).collect()
    }

    /// No condition mostly, else one half of it or both.
    fn condition<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Condition<T> {
        let mut half = |maker: &mut Self, n| match maker.one_in(n) {
            true => maker.some(3, &mut make),
            false => Vec::new(),
        };
        Condition { any_of: half(self, 4), none_of: half(self, 8) }
    }

    fn block(&mut self) -> IpNet {
        self.pick(&BLOCKS).parse().expect("a block")
    }

    fn pattern(&mut self) -> NamePattern {
        let name = name(self.pick(&NAMES));
        match self.below(3) {
            0 => NamePattern::Exact(name),
            1 => NamePattern::Below(name),
            _ => NamePattern::Under(name),
        }
    }

    fn destination(&mut self) -> Destination {
        match self.below(3) {
            0 => Destination::Network(self.block()),
            1 => Destination::Name(self.pattern()),
            _ => Destination::List(self.below(3)),
        }
    }

    fn schedule(&mut self) -> Schedule {
        let days = [Weekday::Friday, Weekday::Saturday, Weekday::Sunday];
        let zone = if self.one_in(2) { TimeZone::UTC } else { TimeZone::fixed(offset(9)) };
        Schedule {
            days: if self.one_in(2) { Vec::new() } else { self.some(2, |maker| maker.pick(&days)) },
            hours: match self.below(4) {
                0 => Vec::new(),
                1 => vec![hours(600, 1000)],
                2 => vec![hours(1300, 200)],
                _ => vec![hours(0, 60), hours(700, 730)],
            },
            zone,
        }
    }

    fn rule(&mut self, number: usize) -> RuleSpec {
        RuleSpec {
            name: format!("rule {number}").into(),
            users: self.condition(|maker| maker.pick(&USERS).into()),
            groups: self.condition(|maker| maker.below(3)),
            from: self.condition(Self::block),
            listeners: self.condition(|maker| maker.pick(&LISTENERS).into()),
            to: self.condition(Self::destination),
            ports: self.condition(|maker| {
                let (one, other) = (maker.pick(&PORTS), maker.pick(&PORTS));
                one.min(other)..=one.max(other)
            }),
            commands: self.condition(|maker| maker.pick(&COMMANDS)),
            when: if self.one_in(8) { self.condition(Self::schedule) } else { Condition::default() },
            action: if self.one_in(2) { Action::Allow } else { Action::Deny },
            mode: if self.one_in(4) { Mode::Report } else { Mode::Enforce },
            allow_private: self.one_in(3),
            log: self.pick(&[None, Some(Logged::All), Some(Logged::Nothing)]),
            way: Way { egress: self.pick(&[None, Some(EgressId(1)), Some(EgressId(2))]), parent: None },
        }
    }

    fn groups(&mut self) -> Vec<GroupSpec> {
        let mut members = || match self.one_in(4) {
            true => Vec::new(),
            false => self.some(3, |maker| maker.pick(&USERS).into()),
        };
        (0..3).map(|_| GroupSpec { name: "group".into(), members: members() }).collect()
    }

    fn specs(&mut self) -> RuleSpecs {
        let rules = if self.one_in(20) { 300 } else { self.below(16) };
        RuleSpecs {
            rules: (0..rules).map(|number| self.rule(number)).collect(),
            lists: (0..3)
                .map(|_| ListSpec {
                    names: if self.one_in(3) { Vec::new() } else { self.some(4, Self::pattern) },
                    networks: if self.one_in(3) { Vec::new() } else { self.some(4, Self::block) },
                    ..ListSpec::default()
                })
                .collect(),
            groups: self.groups(),
            default: if self.one_in(2) { Action::Allow } else { Action::Deny },
        }
    }
}

/// What is asked, with what it borrows from.
struct Asking {
    user: Option<&'static str>,
    name: Name,
    source: IpAddr,
    address: IpAddr,
    port: u16,
    listener: u16,
    command: RequestCommand,
    known: usize,
}

impl Asking {
    fn new(maker: &mut Maker) -> Asking {
        Asking {
            user: if maker.one_in(3) { None } else { Some(maker.pick(&USERS)) },
            name: name(maker.pick(&NAMES)),
            source: maker.pick(&SOURCES).parse().expect("an address"),
            address: maker.pick(&SOURCES).parse().expect("an address"),
            port: maker.pick(&PORTS),
            listener: maker.pick(&[0, 1, 2, 3, 60_000]),
            command: maker.pick(&COMMANDS),
            known: maker.below(6),
        }
    }

    fn question(&self) -> Question<'_> {
        let target = match self.known {
            0 => Asked::Anything,
            1 => Asked::Name(&self.name, self.port),
            2 => Asked::Told(&self.name, self.port),
            3 => Asked::Address(self.address, self.port, None),
            _ => Asked::Address(self.address, self.port, Some(&self.name)),
        };
        let Asking { user, source, listener, command, .. } = *self;
        Question { user, source, listener, command, target }
    }
}

/// The ruling of the first rule that decides, one after the other.
fn judged(linear: &Linear<'_>, steps: &[(RuleId, RuleStep)]) -> Ruling {
    let rules = &linear.specs.rules;
    let place = |wanted: RuleStep| steps.iter().position(|(_, step)| *step == wanted);
    let (decides, reports) = (place(RuleStep::Decides), place(RuleStep::Reports));
    let action = decides.map_or(linear.specs.default, |place| rules[place].action);
    Ruling {
        action,
        rule: decides.map_or(RuleId::DEFAULT, |place| steps[place].0),
        would: reports.filter(|&place| rules[place].action != action).map(|place| steps[place].0),
        allow_private: decides.is_some_and(|place| action == Action::Allow && rules[place].allow_private),
        log: decides.and_then(|place| rules[place].log),
        way: decides.map(|place| rules[place].way).unwrap_or_default(),
    }
}

/// Makes so many rule sets at random, and asks each so many questions.
fn compare(sets: usize, questions: usize) {
    let seed = rand::random();
    println!("seed {seed}");
    let mut maker = Maker(StdRng::seed_from_u64(seed));
    let listeners: Vec<(Arc<str>, u16)> = LISTENERS.into_iter().map(Arc::from).zip([0, 2, 3]).collect();
    for _ in 0..sets {
        let mut specs = maker.specs();
        let ids: Vec<RuleId> = (0..specs.rules.len()).map(|place| RuleId(1000 - place as u16)).collect();
        let mut rules = RuleSet::new(specs.clone(), ids.clone()).with_listeners(&listeners);
        // Others may be in the groups by now, once or twice, and those of before left no trace.
        for _ in 0..maker.below(3) {
            specs.groups = maker.groups();
            rules = rules.with_groups(&specs.groups);
        }
        let now = (!maker.one_in(4)).then(|| maker.pick(&TIMES).parse::<Timestamp>().expect("a time"));
        if let Some(now) = now {
            rules.tell_time(now);
        }
        for _ in 0..questions {
            let asking = Asking::new(&mut maker);
            let question = asking.question();
            let linear = Linear { specs: &specs, listeners: &listeners, now, question };
            let mut steps = Vec::new();
            for (rule, id) in specs.rules.iter().zip(&ids) {
                steps.push((*id, linear.step(rule)));
                if steps.last().is_some_and(|(_, step)| *step == RuleStep::Decides) {
                    break;
                }
            }
            assert_eq!(rules.explain(&question), steps, "{question:?} now {now:?} of {specs:#?}");
            assert_eq!(
                rules.judge(&question),
                judged(&linear, &steps),
                "{question:?} now {now:?} of {specs:#?}"
            );
        }
    }
}

#[test]
fn compiled_rules_say_what_they_say_one_after_the_other() {
    compare(2_000, 50);
}

/// As many sets as questions above.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_compiled_rule_sets_say_what_they_say_one_after_the_other() {
    compare(100_000, 10);
}

/// What is said to be shadowed or without values has to be: questions about addresses, which leave nothing open, are asked of
/// one rule at a time.
#[test]
fn rules_that_are_said_never_to_match_never_do() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut maker = Maker(StdRng::seed_from_u64(seed));
    let (mut shadowed, mut unmatchable) = (0, 0);
    for _ in 0..600 {
        let specs = maker.specs();
        let (shadows, empty) = (specs.shadowed(), specs.unmatchable());
        shadowed += shadows.len();
        unmatchable += empty.len();
        for _ in 0..if shadows.is_empty() && empty.is_empty() { 0 } else { 40 } {
            let asking = Asking { known: 3 + maker.below(2), ..Asking::new(&mut maker) };
            let now = Some(maker.pick(&TIMES).parse().expect("a time"));
            let linear = Linear { specs: &specs, listeners: &[], now, question: asking.question() };
            let matches = |place: usize| !matches!(linear.step(&specs.rules[place]), RuleStep::Fails { .. });
            for &(place, by) in &shadows {
                let asked = linear.question;
                assert!(!matches(place) || matches(by), "rule {place} by {by}, {asked:?} of {specs:#?}");
            }
            assert!(empty.iter().all(|(place, _)| !matches(*place)), "{empty:?} of {specs:#?}");
        }
    }
    assert!(shadowed > 100 && unmatchable > 100, "{shadowed} shadowed, {unmatchable} without values");
}

/// Rules in each class that there is, as many as there may be: the last place and the last word are as good as the first.
#[test]
fn as_many_rules_as_there_may_be_are_told_apart() {
    let rule = |number: usize| {
        let has = |key: RuleKey| number >> (key as u8) & 1 != 0;
        let mut rule = by_hand::deny(|rule| rule.users = by_hand::any([Arc::from(format!("user{number}"))]));
        rule.mode = if has(RuleKey::When) { Mode::Report } else { Mode::Enforce };
        rule.action = if has(RuleKey::Users) { Action::Deny } else { Action::Allow };
        rule.from.any_of.extend(has(RuleKey::From).then(|| IpNet::from(IpAddr::from([127, 0, 0, 1]))));
        rule.listeners.any_of.extend(has(RuleKey::Listeners).then(|| Arc::from(LISTENERS[0])));
        rule.commands.any_of.extend(has(RuleKey::Commands).then_some(RequestCommand::Connect));
        rule.ports.any_of.extend(has(RuleKey::Ports).then_some(443..=443));
        rule.to = if has(RuleKey::To) { by_hand::to(["example.com"]) } else { Condition::default() };
        rule
    };
    let rules = by_hand::rules(Action::Deny, (0..RULES_MAX).map(rule));
    let rules = by_hand::at(&rules, &[(LISTENERS[0], 7)]);
    let name = name("example.com");
    for number in (0..RULES_MAX).step_by(37).chain([RULES_MAX - 1]) {
        let user = format!("user{number}");
        let (source, target) = (IpAddr::from([127, 0, 0, 1]), Asked::Name(&name, 443));
        let question =
            Question { user: Some(&user), source, listener: 7, command: RequestCommand::Connect, target };
        let (ruling, wanted, id) = (rules.judge(&question), rule(number), RuleId(number as u16 + 1));
        match wanted.mode {
            Mode::Enforce => assert_eq!((ruling.rule, ruling.action), (id, wanted.action)),
            Mode::Report => assert_eq!(ruling.would, (wanted.action == Action::Allow).then_some(id)),
        }
        assert_eq!(rules.judge(&Question { user: None, ..question }).rule, RuleId::DEFAULT);
    }
}

#[test]
fn the_epoch_is_another_when_the_time_changes_what_rules_say() {
    let noon = Schedule { days: vec![Weekday::Friday], hours: vec![hours(720, 780)], zone: TimeZone::UTC };
    let rules = by_hand::rules(Action::Allow, [by_hand::deny(|rule| rule.when = by_hand::any([noon]))]);
    let anything = Question {
        user: None,
        source: IpAddr::from([127, 0, 0, 1]),
        listener: 0,
        command: RequestCommand::UdpAssociate,
        target: Asked::Anything,
    };
    let mut epoch = rules.epoch();
    for (time, action, changes) in [
        ("2026-11-27T11:59:59Z", Action::Allow, false),
        ("2026-11-27T12:00:00Z", Action::Deny, true),
        ("2026-11-27T12:59:59Z", Action::Deny, false),
        // A clock that is put back.
        ("2026-11-27T11:00:00Z", Action::Allow, true),
        ("2026-12-04T12:30:00Z", Action::Deny, true),
    ] {
        rules.tell_time(time.parse().expect("a time"));
        assert_eq!(rules.judge(&anything).action, action, "{time}");
        assert_eq!(rules.epoch() != epoch, changes, "{time}");
        epoch = rules.epoch();
    }
}
