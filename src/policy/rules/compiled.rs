//! Rules as they answer: for each key the set of the value that is asked about, and the first rule that all of them leave.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::{KeyMask, Layout, RuleRow};
use super::members::RuleMembers;
use super::names::NameTable;
use super::networks::BlockTable;
use super::ports::PortTable;
use super::question::{Asked, Question, RuleId, RuleKey, RuleStep, Ruling};
use super::sets::SetId;
use super::spec::{Action, Logged, Mode};
use super::timetable::Timetable;
use crate::limits::RULE_SPANS_MAX;
use crate::policy::way::Way;
use crate::proto::request::RequestCommand;

/// What rules say, whoever is in which group.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) layout: Layout,
    /// What rules say, in their order.
    pub(super) answers: Vec<RuleAnswer>,
    /// What holds where none matches.
    pub(super) default: Action,
    /// Keys in which some rule needs a value.
    pub(super) needs: KeyMask,
    /// Keys that some rule has in one way or the other: no others are looked up.
    pub(super) asks: KeyMask,
    pub(super) from: BlockTable,
    /// By names.
    pub(super) listeners: HashMap<Arc<str>, SetId>,
    /// By [`command_place`].
    pub(super) commands: [SetId; COMMANDS],
    pub(super) ports: PortTable,
    pub(super) to_names: NameTable,
    pub(super) to_blocks: BlockTable,
    pub(super) unknown: UnknownSets,
    /// The same where each rule that may match counts, also those that deny.
    pub(super) possible: UnknownSets,
}

/// Sets for what is not known. They have the rules that allow what they may match, and those that deny what they match
/// whatever comes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnknownSets {
    /// Of the address behind a name.
    pub(super) address: SetId,
    /// Of a target of which nothing is known.
    pub(super) target: SetId,
    /// Of its port.
    pub(super) port: SetId,
}

/// What a rule says.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuleAnswer {
    pub(super) id: RuleId,
    pub(super) action: Action,
    pub(super) mode: Mode,
    pub(super) allow_private: bool,
    pub(super) log: Option<Logged>,
    pub(super) way: Way,
}

/// The sets of what is asked, by keys; a target may have two, of its name and of its address.
type AskedSets = [(SetId, SetId); RuleKey::COUNT];

/// Rules that answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answering<'a> {
    pub(super) rules: &'a Compiled,
    pub(super) members: &'a RuleMembers,
    pub(super) times: &'a Timetable,
    /// Of listeners, by their numbers.
    pub(super) listeners: &'a [SetId],
}

impl Compiled {
    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.layout.bytes()
            + size_of_val(&*self.answers)
            + self.from.bytes()
            + self.listeners.capacity() * size_of::<(Arc<str>, SetId)>()
            + self.ports.bytes()
            + self.to_names.bytes()
            + self.to_blocks.bytes()
    }
}

impl Answering<'_> {
    /// See [`RuleSet::judge`](super::RuleSet::judge).
    pub(super) fn judge(&self, question: &Question<'_>) -> Ruling {
        let Answering { rules, .. } = self;
        let (decides, reports) = self.first(&self.sets_of(question, &rules.unknown));
        let said = decides.map(|place| rules.answers[place]);
        let said = said.unwrap_or(RuleAnswer {
            id: RuleId::DEFAULT,
            action: rules.default,
            mode: Mode::Enforce,
            allow_private: false,
            log: None,
            way: Way::default(),
        });
        let would = reports.map(|place| rules.answers[place]).filter(|would| would.action != said.action);
        Ruling {
            action: said.action,
            rule: said.id,
            would: would.map(|would| would.id),
            allow_private: said.allow_private,
            log: said.log,
            way: said.way,
        }
    }

    /// What each rule comes to, up to the one that decides.
    pub(super) fn explain(&self, question: &Question<'_>) -> Vec<(RuleId, RuleStep)> {
        let possible = self.sets_of(question, &self.rules.possible);
        let certain = self.sets_of(question, &self.rules.unknown);
        let mut told = Vec::new();
        for (place, answer) in self.rules.answers.iter().enumerate() {
            let step = match self.failing(place, &possible) {
                Some((key, negated)) => RuleStep::Fails { key, negated },
                None if self.failing(place, &certain).is_some() => RuleStep::Open,
                None if answer.mode == Mode::Report => RuleStep::Reports,
                None => RuleStep::Decides,
            };
            told.push((answer.id, step));
            if step == RuleStep::Decides {
                break;
            }
        }
        told
    }

    /// The first condition of a rule that does not hold, and whether it is the `not_` twin.
    fn failing(&self, place: usize, sets: &AskedSets) -> Option<(RuleKey, bool)> {
        let (word, mask) = (self.rules.layout.word(place), self.rules.layout.mask(place));
        let row = &self.rules.layout.rows[word];
        if row.timed && self.times.holding(word) & mask == 0 {
            return Some((RuleKey::When, self.times.negated(place)));
        }
        RuleKey::ALL.into_iter().find_map(|key| {
            if row.needs.has(key) && self.any(sets, key, word) & mask == 0 {
                return Some((key, false));
            }
            (row.negates.has(key) && self.none(sets, key, word) & mask != 0).then_some((key, true))
        })
    }

    /// The places of the first rule that decides and of the first before it that reports.
    fn first(&self, sets: &AskedSets) -> (Option<usize>, Option<usize>) {
        let (mut decides, mut reports, mut settled) = (usize::MAX, usize::MAX, None);
        for (span, mut words) in self.live(sets).into_iter().enumerate().take(self.rules.layout.spans()) {
            while words != 0 {
                let word = span * 64 + words.trailing_zeros() as usize;
                words &= words - 1;
                let row = &self.rules.layout.rows[word];
                let reporting = word >= self.rules.layout.reports_from;
                let bound = if reporting { decides.min(reports) } else { decides };
                if settled == Some(row.class) || usize::from(row.first) >= bound {
                    continue;
                }
                let bits = self.matching(word, row, sets);
                if bits == 0 {
                    continue;
                }
                // The others of the class come behind it.
                settled = Some(row.class);
                let place = self.rules.layout.place(word, bits.trailing_zeros());
                match reporting {
                    true => reports = place.min(bound),
                    false => decides = place.min(bound),
                }
            }
        }
        let found = |place: usize| (place != usize::MAX).then_some(place);
        (found(decides), found(reports))
    }

    /// A summary of the words in which all keys that need a value have some rule of it.
    fn live(&self, sets: &AskedSets) -> [u64; RULE_SPANS_MAX] {
        let spans = self.rules.layout.spans();
        let mut live = [0; RULE_SPANS_MAX];
        live[..spans].copy_from_slice(&self.rules.layout.whole);
        for key in self.rules.needs.keys() {
            let (one, other) = sets[key as usize];
            let (one, other) = (self.members.sets.summary(one), self.members.sets.summary(other));
            let needing = self.rules.layout.needing(key);
            for span in 0..spans {
                live[span] &= !needing[span] | one[span] | other[span];
            }
        }
        live
    }

    /// The rules of a word that match.
    fn matching(&self, word: usize, row: &RuleRow, sets: &AskedSets) -> u64 {
        let mut bits = row.filled;
        if row.timed {
            bits &= self.times.holding(word);
        }
        for key in row.needs.keys() {
            bits &= self.any(sets, key, word);
        }
        for key in row.negates.keys() {
            bits &= !self.none(sets, key, word);
        }
        bits
    }

    fn any(&self, sets: &AskedSets, key: RuleKey, word: usize) -> u64 {
        let (one, other) = sets[key as usize];
        self.members.sets.any(one, word) | self.members.sets.any(other, word)
    }

    fn none(&self, sets: &AskedSets, key: RuleKey, word: usize) -> u64 {
        let (one, other) = sets[key as usize];
        self.members.sets.none(one, word) | self.members.sets.none(other, word)
    }

    /// The sets of what is asked; `unknown` stands for what is not known.
    fn sets_of(&self, question: &Question<'_>, unknown: &UnknownSets) -> AskedSets {
        let asks_users = self.rules.asks.has(RuleKey::Users) || self.rules.asks.has(RuleKey::Groups);
        let user = question.user.filter(|_| asks_users);
        let [named, grouped] = user.map(|user| self.members.of(user)).unwrap_or_default();
        let mut sets = [(SetId::EMPTY, SetId::EMPTY); RuleKey::COUNT];
        for key in self.rules.asks.keys() {
            let set = match key {
                RuleKey::When => SetId::EMPTY,
                RuleKey::Users => named,
                RuleKey::Groups => grouped,
                RuleKey::From => self.rules.from.set_of(question.source),
                RuleKey::Listeners => {
                    self.listeners.get(usize::from(question.listener)).copied().unwrap_or_default()
                }
                RuleKey::Commands => self.rules.commands[command_place(question.command)],
                RuleKey::Ports => match question.target {
                    Asked::Anything => unknown.port,
                    Asked::Name(_, port) | Asked::Told(_, port) | Asked::Address(_, port, _) => {
                        self.rules.ports.set_of(port)
                    }
                },
                RuleKey::To => match question.target {
                    Asked::Anything => unknown.target,
                    Asked::Name(..) => unknown.address,
                    Asked::Told(..) => SetId::EMPTY,
                    Asked::Address(ip, ..) => self.rules.to_blocks.set_of(ip),
                },
            };
            sets[key as usize].0 = set;
        }
        if let Asked::Name(name, _) | Asked::Told(name, _) | Asked::Address(_, _, Some(name)) =
            question.target
        {
            sets[RuleKey::To as usize].1 = self.rules.to_names.set_of(name.as_str());
        }
        sets
    }
}

/// Commands that rules tell apart.
pub(super) const COMMANDS: usize = 4;

/// Where a command's set is.
pub(super) fn command_place(command: RequestCommand) -> usize {
    match command {
        RequestCommand::Connect => 0,
        RequestCommand::Bind => 1,
        RequestCommand::UdpAssociate => 2,
        RequestCommand::Resolve | RequestCommand::ResolvePtr => 3,
    }
}
