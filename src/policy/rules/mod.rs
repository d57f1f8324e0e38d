//! Rules: one ordered list, of which the first that matches decides.
//!
//! [`RuleSpecs`] is what an operator means, [`RuleSet`] what answers. What is asked may not be known whole yet, a name before
//! it is resolved or a listener before its peer comes: then the answer is whether anything could be allowed.

#[cfg(test)]
pub(crate) mod by_hand;
mod linear;
mod question;
pub mod schedule;
pub mod spec;

pub use question::{Asked, Question, RuleId, RuleKey, RuleStep, Ruling};

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use self::linear::Linear;
use self::spec::{Action, RuleSpec, RuleSpecs};

/// Rules that answer, to be had again for little by `clone`. Immutable but for the time.
#[derive(Clone, Debug)]
pub struct RuleSet {
    specs: Arc<RuleSpecs>,
    ids: Arc<[RuleId]>,
    /// The second it is; written by whoever has a clock: [`RuleSet::tell_time`].
    now: Arc<AtomicI64>,
    /// Which listener has which number: the text as typed, and the number.
    listeners: Arc<[(Arc<str>, u16)]>,
}

impl RuleSet {
    /// Rules that answer as these say; each has the id of its place in `ids`.
    pub fn new(specs: RuleSpecs, ids: Vec<RuleId>) -> RuleSet {
        RuleSet {
            specs: Arc::new(specs),
            ids: ids.into(),
            now: Arc::new(AtomicI64::new(i64::MIN)),
            listeners: Arc::new([]),
        }
    }

    /// The same rules, which know listeners by these texts, as they are typed in `server.listen`, and numbers. They share
    /// what they are told of the time.
    #[must_use]
    pub fn with_listeners(&self, listeners: &[(Arc<str>, u16)]) -> RuleSet {
        RuleSet { listeners: listeners.into(), ..self.clone() }
    }

    /// Says what time it is. Where it is not told, no rule with times matches.
    pub fn tell_time(&self, now: Timestamp) {
        self.now.store(now.as_second(), Ordering::Relaxed);
    }

    /// Another number whenever the time has changed what they say, and seldom else: no schedule changes within a minute.
    pub fn epoch(&self) -> u32 {
        match self.specs.rules.iter().all(|rule| rule.when.is_empty()) {
            true => 0,
            false => self.now.load(Ordering::Relaxed).div_euclid(60) as u32,
        }
    }

    /// Whether they are the very same rules, for the same listeners.
    pub fn is_as(&self, other: &RuleSet) -> bool {
        Arc::ptr_eq(&self.specs, &other.specs) && self.listeners == other.listeners
    }

    /// The rules, in the order in which they are asked.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &RuleSpec)> {
        self.ids.iter().copied().zip(&self.specs.rules)
    }

    /// What holds where no rule matches.
    pub fn default_action(&self) -> Action {
        self.specs.default
    }

    /// What they say of this: the first rule that matches, else the default. Of what is not known whole: the first rule that
    /// allows it whatever comes, or may allow it, else what denies it.
    pub fn judge(&self, question: &Question<'_>) -> Ruling {
        let (mut would, mut decides) = (None, None);
        for (place, step) in self.steps(question).enumerate() {
            match step {
                RuleStep::Reports => would = would.or(Some(place)),
                RuleStep::Decides => decides = Some(place),
                RuleStep::Open | RuleStep::Fails { .. } => {}
            }
            if decides.is_some() {
                break;
            }
        }
        let rules = &self.specs.rules;
        let action = decides.map_or(self.specs.default, |place| rules[place].action);
        Ruling {
            action,
            rule: decides.map_or(RuleId::DEFAULT, |place| self.ids[place]),
            would: would.filter(|&place| rules[place].action != action).map(|place| self.ids[place]),
            allow_private: action == Action::Allow && decides.is_some_and(|place| rules[place].allow_private),
            log: decides.and_then(|place| rules[place].log),
        }
    }

    /// What each rule comes to for this, in their order: the last one is the one that decides, where one does.
    pub fn explain(&self, question: &Question<'_>) -> Vec<(RuleId, RuleStep)> {
        let mut told = Vec::new();
        for (id, step) in self.ids.iter().zip(self.steps(question)) {
            told.push((*id, step));
            if step == RuleStep::Decides {
                break;
            }
        }
        told
    }

    fn steps<'a>(&'a self, question: &Question<'a>) -> impl Iterator<Item = RuleStep> + use<'a> {
        let now = Timestamp::from_second(self.now.load(Ordering::Relaxed)).ok();
        let linear = Linear { specs: &self.specs, listeners: &self.listeners, now, question: *question };
        self.specs.rules.iter().map(move |rule| linear.step(rule))
    }
}
