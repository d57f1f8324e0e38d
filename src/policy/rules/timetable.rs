//! Which rules hold at this time of the week: written by whoever has a clock, read by those who have none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::schedule::{Schedule, WeekTime};
use super::spec::Condition;

/// A rule with times: its place and its bit, and its schedules by their places.
#[derive(Clone, Debug)]
struct TimedRule {
    place: usize,
    bit: u32,
    when: Condition<usize>,
}

/// The rules with times.
#[derive(Debug)]
pub(super) struct Timetable {
    zones: Vec<TimeZone>,
    /// Each with the place of its zone.
    schedules: Vec<(usize, Schedule)>,
    /// In the order of their places.
    rules: Vec<TimedRule>,
    /// The second that was told last.
    now: AtomicI64,
    /// How often what holds has changed.
    changes: AtomicU32,
    /// Which rules hold, by their bits: words without rules that have times say nothing.
    holding: Box<[AtomicU64]>,
}

/// By what schedules are known that say the same: the zone, the days, the hours.
type ScheduleKey = (usize, Vec<i8>, Vec<(u16, u16)>);

impl Timetable {
    /// The rules of these places, bits and conditions, in the order of their places, of so many words.
    pub(super) fn new<'a>(
        words: usize,
        rules: impl Iterator<Item = (usize, u32, &'a Condition<Schedule>)>,
    ) -> Timetable {
        let mut table = Timetable {
            zones: Vec::new(),
            schedules: Vec::new(),
            rules: Vec::new(),
            now: AtomicI64::new(i64::MIN),
            changes: AtomicU32::new(0),
            holding: (0..words).map(|_| AtomicU64::new(0)).collect(),
        };
        let mut known: HashMap<ScheduleKey, usize> = HashMap::new();
        for (place, bit, when) in rules.filter(|(.., when)| !when.is_empty()) {
            let mut places = |schedules: &[Schedule]| -> Vec<usize> {
                schedules.iter().map(|schedule| table.place(schedule, &mut known)).collect()
            };
            let when = Condition { any_of: places(&when.any_of), none_of: places(&when.none_of) };
            table.rules.push(TimedRule { place, bit, when });
        }
        table
    }

    /// The place of this schedule, of which there may be one already.
    fn place(&mut self, schedule: &Schedule, known: &mut HashMap<ScheduleKey, usize>) -> usize {
        let zone = self.zones.iter().position(|zone| *zone == schedule.zone).unwrap_or_else(|| {
            self.zones.push(schedule.zone.clone());
            self.zones.len() - 1
        });
        let days = schedule.days.iter().map(|day| day.to_monday_zero_offset()).collect();
        let hours = schedule.hours.iter().map(|hours| (hours.start, hours.end)).collect();
        *known.entry((zone, days, hours)).or_insert_with(|| {
            self.schedules.push((zone, schedule.clone()));
            self.schedules.len() - 1
        })
    }

    /// Says what time it is.
    pub(super) fn tell(&self, now: Timestamp) {
        if self.rules.is_empty() {
            return;
        }
        self.now.store(now.as_second(), Ordering::Relaxed);
        let has = self.having(now);
        let mut words = vec![0; self.holding.len()];
        for rule in self.rules.iter().filter(|rule| failing(rule, &has).is_none()) {
            words[rule.bit as usize / 64] |= 1 << (rule.bit % 64);
        }
        let mut changed = false;
        for (holding, word) in self.holding.iter().zip(words) {
            changed |= holding.swap(word, Ordering::Relaxed) != word;
        }
        if changed {
            // Who sees the number sees what has changed.
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// The same rules at this time, whatever these are told.
    pub(super) fn at(&self, time: Timestamp) -> Timetable {
        let Timetable { zones, schedules, rules, holding, .. } = self;
        let table = Timetable {
            zones: zones.clone(),
            schedules: schedules.clone(),
            rules: rules.clone(),
            now: AtomicI64::new(i64::MIN),
            changes: AtomicU32::new(0),
            holding: holding.iter().map(|_| AtomicU64::new(0)).collect(),
        };
        table.tell(time);
        table
    }

    /// Another number whenever what holds has changed.
    pub(super) fn epoch(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Which rules of a word hold.
    pub(super) fn holding(&self, word: usize) -> u64 {
        self.holding[word].load(Ordering::Relaxed)
    }

    /// Whether it is the `not_` twin that keeps the rule of this place from holding.
    pub(super) fn negated(&self, place: usize) -> bool {
        let told = Timestamp::from_second(self.now.load(Ordering::Relaxed));
        let rule = self.rules.binary_search_by_key(&place, |rule| rule.place);
        match (told, rule) {
            (Ok(told), Ok(rule)) => failing(&self.rules[rule], &self.having(told)).unwrap_or_default(),
            _ => false,
        }
    }

    /// Bytes that it takes, schedules aside.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.holding) + size_of_val(&*self.rules)
    }

    /// Which schedules have this moment.
    fn having(&self, now: Timestamp) -> Vec<bool> {
        let times: Vec<WeekTime> = self.zones.iter().map(|zone| WeekTime::new(now, zone)).collect();
        self.schedules.iter().map(|(zone, schedule)| schedule.has_time(times[*zone])).collect()
    }
}

/// Whether it is the `not_` twin that fails, where one of the two does.
fn failing(rule: &TimedRule, has: &[bool]) -> Option<bool> {
    let Condition { any_of, none_of } = &rule.when;
    let met = |schedules: &[usize]| schedules.iter().any(|&schedule| has[schedule]);
    if !any_of.is_empty() && !met(any_of) {
        return Some(false);
    }
    met(none_of).then_some(true)
}
