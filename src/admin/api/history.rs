//! What the last quarter of an hour was like, second by second: a bounded ring that a look once a second feeds.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use humantime::format_rfc3339_millis;
use serde::Serialize;

use crate::limits;
use crate::observe::{Counted, Direction, Totals, writable};
use crate::outcome::Reason;
use crate::relay::Engine;
use crate::relay::datagram::Drop;

/// What grows, and how many sessions there are, at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Sessions that are there.
    pub(super) active: u64,
    accepted: u64,
    closed: u64,
    bytes_up: u64,
    bytes_down: u64,
    datagrams_up: u64,
    datagrams_down: u64,
    datagrams_dropped: u64,
    refused: u64,
}

/// The reasons of sessions that got nothing for what they brought.
const REFUSED: [Reason; 5] =
    [Reason::Denied, Reason::AuthFailed, Reason::NoMethod, Reason::Protocol, Reason::Http];

impl Sums {
    /// What these counts come to.
    pub(super) fn of(totals: &Totals) -> Sums {
        let datagrams = |direction| totals.count_of(Counted::Datagrams(direction));
        let refused: u64 = REFUSED.into_iter().map(|reason| totals.closed_for(reason)).sum();
        Sums {
            active: totals.active(),
            accepted: totals.count_of(Counted::Accepted),
            closed: totals.closed(),
            bytes_up: bytes_of(totals, Direction::Up),
            bytes_down: bytes_of(totals, Direction::Down),
            datagrams_up: datagrams(Direction::Up),
            datagrams_down: datagrams(Direction::Down),
            datagrams_dropped: Drop::ALL
                .into_iter()
                .map(|drop| totals.count_of(Counted::Dropped(drop)))
                .sum(),
            // One that is turned away was never a session: it has no reason.
            refused: refused + totals.count_of(Counted::SourceTurnedAway),
        }
    }

    /// How fast all of it grew since `before`, which was so long ago.
    fn rates(&self, before: &Sums, span: Duration) -> PerSecond {
        let seconds = span.as_secs_f64();
        let rate = |of: fn(&Sums) -> u64| Some(tenths(of(self).saturating_sub(of(before)) as f64 / seconds));
        PerSecond {
            accepted: rate(|sums| sums.accepted),
            closed: rate(|sums| sums.closed),
            bytes_up: rate(|sums| sums.bytes_up),
            bytes_down: rate(|sums| sums.bytes_down),
            datagrams_up: rate(|sums| sums.datagrams_up),
            datagrams_down: rate(|sums| sums.datagrams_down),
            datagrams_dropped: rate(|sums| sums.datagrams_dropped),
            refused: rate(|sums| sums.refused),
        }
    }
}

/// Bytes relayed one way, by whatever engine, and those of datagrams.
pub(super) fn bytes_of(totals: &Totals, direction: Direction) -> u64 {
    let relayed: u64 = Engine::ALL.into_iter().map(|engine| totals.bytes(direction, engine)).sum();
    relayed + totals.count_of(Counted::DatagramBytes(direction))
}

/// A number to one digit behind the point: what a person reads of it, in fewer bytes.
pub(super) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// How fast each sum grows; `None` where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct PerSecond {
    accepted: Option<f64>,
    closed: Option<f64>,
    bytes_up: Option<f64>,
    bytes_down: Option<f64>,
    datagrams_up: Option<f64>,
    datagrams_down: Option<f64>,
    datagrams_dropped: Option<f64>,
    refused: Option<f64>,
}

/// How overloaded the workers were in a second, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Of all turns that ended in it, the length that one in a hundred exceeded, in milliseconds.
    pub(super) turn_p99_ms: Option<f64>,
    /// The same of the delays from readiness to service.
    pub(super) delay_p99_ms: Option<f64>,
}

/// One second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    active: Option<u64>,
    rates: PerSecond,
    load: Load,
}

/// The seconds that were, and what the newest looks found.
#[derive(Debug, Default)]
pub(super) struct History {
    seconds: VecDeque<Second>,
    /// The newest look, and the one before it.
    last: Option<(Instant, Sums)>,
    before: Option<(Instant, Sums)>,
    end: Option<SystemTime>,
}

impl History {
    /// Takes down what a look finds, a second after the last one. Seconds that had no look stay unknown.
    pub(super) fn add(&mut self, now: Instant, wall: SystemTime, sums: Sums, load: Load) {
        if let Some((at, before)) = self.last {
            let span = now.saturating_duration_since(at);
            if span < limits::HISTORY_INTERVAL / 2 {
                return;
            }
            let missed = (span.as_secs_f64() / limits::HISTORY_INTERVAL.as_secs_f64()).round() as usize;
            for _ in 1..missed.min(limits::HISTORY_POINTS_MAX) {
                self.push(Second::default());
            }
            self.push(Second { active: Some(sums.active), rates: sums.rates(&before, span), load });
        }
        (self.before, self.last, self.end) = (self.last, Some((now, sums)), Some(wall));
    }

    fn push(&mut self, second: Second) {
        if self.seconds.len() >= limits::HISTORY_POINTS_MAX {
            self.seconds.pop_front();
        }
        self.seconds.push_back(second);
    }

    /// How fast things go, over the last second or two.
    pub(super) fn rates(&self, now: Instant, sums: &Sums) -> PerSecond {
        let since = |at: Instant| now.saturating_duration_since(at);
        let old_enough = |look: &&(Instant, Sums)| since(look.0) >= limits::HISTORY_INTERVAL / 2;
        let look = self.last.iter().chain(&self.before).find(old_enough);
        look.map(|(at, before)| sums.rates(before, since(*at))).unwrap_or_default()
    }

    /// All of it, as the API gives it.
    pub(super) fn show(&self) -> ShownHistory {
        fn column<T>(seconds: &VecDeque<Second>, of: impl Fn(&Second) -> T) -> Vec<T> {
            seconds.iter().map(of).collect()
        }
        let seconds = &self.seconds;
        ShownHistory {
            interval_s: limits::HISTORY_INTERVAL.as_secs(),
            end: self.end.map(time_text),
            series: Series {
                active: column(seconds, |second| second.active),
                accepted: column(seconds, |second| second.rates.accepted),
                bytes_up: column(seconds, |second| second.rates.bytes_up),
                bytes_down: column(seconds, |second| second.rates.bytes_down),
                datagrams_up: column(seconds, |second| second.rates.datagrams_up),
                datagrams_down: column(seconds, |second| second.rates.datagrams_down),
                datagrams_dropped: column(seconds, |second| second.rates.datagrams_dropped),
                refused: column(seconds, |second| second.rates.refused),
                turn_p99_ms: column(seconds, |second| second.load.turn_p99_ms),
                delay_p99_ms: column(seconds, |second| second.load.delay_p99_ms),
            },
        }
    }
}

/// A moment as the API and the access record write it.
pub(super) fn time_text(time: SystemTime) -> String {
    format_rfc3339_millis(writable(time)).to_string()
}

/// The answer to a question for the history.
#[derive(Debug, Serialize)]
pub(super) struct ShownHistory {
    interval_s: u64,
    end: Option<String>,
    series: Series,
}

/// One value for each second, the oldest first.
#[derive(Debug, Serialize)]
struct Series {
    active: Vec<Option<u64>>,
    accepted: Vec<Option<f64>>,
    bytes_up: Vec<Option<f64>>,
    bytes_down: Vec<Option<f64>>,
    datagrams_up: Vec<Option<f64>>,
    datagrams_down: Vec<Option<f64>>,
    datagrams_dropped: Vec<Option<f64>>,
    refused: Vec<Option<f64>>,
    turn_p99_ms: Vec<Option<f64>>,
    delay_p99_ms: Vec<Option<f64>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Counters;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn accepted(accepted: u64) -> Sums {
        Sums { active: accepted / 2, accepted, ..Sums::default() }
    }

    fn load(turn: f64) -> Load {
        Load { turn_p99_ms: Some(turn), delay_p99_ms: None }
    }

    #[test]
    fn counts_of_all_engines_and_reasons_are_summed() {
        let counters = Counters::default();
        for reason in Reason::ALL {
            counters.accept();
            counters.close(reason);
        }
        counters.accept();
        for (more, engine) in Engine::ALL.into_iter().enumerate() {
            counters.relay(Direction::Up, engine, 10 + more);
        }
        counters.add(Counted::DatagramBytes(Direction::Up), 1_000);
        counters.add(Counted::Datagrams(Direction::Down), 3);
        counters.count(Counted::Dropped(Drop::Loop));
        counters.count(Counted::SourceTurnedAway);
        let sums = Sums::of(&Totals::of([&counters]));
        let engines = Engine::ALL.len() as u64;
        let bytes_up = 1_000 + 10 * engines + (0..engines).sum::<u64>();
        let all = Reason::ALL.len() as u64;
        let expected = Sums {
            active: 1,
            accepted: all + 1,
            closed: all,
            bytes_up,
            datagrams_down: 3,
            datagrams_dropped: 1,
            refused: 6,
            ..Sums::default()
        };
        assert_eq!(sums, expected);
    }

    #[test]
    fn each_second_has_its_rates_and_one_without_a_look_is_unknown() {
        let (mut history, start, wall) = (History::default(), Instant::now(), SystemTime::UNIX_EPOCH);
        assert_eq!(history.rates(start, &accepted(5)), PerSecond::default());
        history.add(start, wall, accepted(10), load(1.0));
        history.add(start + ms(1_000), wall, accepted(20), load(2.0));
        // Too soon to be another second.
        history.add(start + ms(1_100), wall, accepted(900), load(9.0));
        history.add(start + ms(2_000), wall, accepted(22), load(3.0));
        history.add(start + ms(5_000), wall + ms(5_000), accepted(52), load(4.0));
        let shown = serde_json::to_value(history.show()).unwrap();
        assert_eq!((&shown["interval_s"], &shown["end"]), (&1.into(), &"1970-01-01T00:00:05.000Z".into()));
        let series = |name: &str| shown["series"][name].to_string();
        assert_eq!(series("accepted"), "[10.0,2.0,null,null,10.0]");
        assert_eq!(series("active"), "[10,11,null,null,26]");
        assert_eq!(series("turn_p99_ms"), "[2.0,3.0,null,null,4.0]");
        assert_eq!(series("delay_p99_ms"), "[null,null,null,null,null]");
        // Since the newest look that is not too new.
        let now = |ms_behind: u64| start + ms(5_000 + ms_behind);
        assert_eq!(history.rates(now(100), &accepted(60)).accepted, Some(12.3));
        assert_eq!(history.rates(now(1_000), &accepted(60)).accepted, Some(8.0));
    }

    #[test]
    fn so_many_seconds_are_kept_and_the_oldest_goes_first() {
        let (mut history, start, wall) = (History::default(), Instant::now(), SystemTime::now());
        let more = 7;
        for second in 0..=(limits::HISTORY_POINTS_MAX + more) as u64 {
            history.add(start + ms(1_000 * second), wall, accepted(second * second), Load::default());
        }
        let shown = serde_json::to_value(history.show()).unwrap();
        let accepted_a_second = shown["series"]["accepted"].as_array().unwrap();
        assert_eq!(accepted_a_second.len(), limits::HISTORY_POINTS_MAX);
        assert_eq!(accepted_a_second[0].as_f64(), Some(2.0 * more as f64 + 1.0));
        for (name, values) in shown["series"].as_object().unwrap() {
            assert_eq!(values.as_array().map(Vec::len), Some(limits::HISTORY_POINTS_MAX), "{name}");
        }
        // A clock that stood still for a week leaves nothing but the newest.
        history.add(start + ms(604_800_000), wall, accepted(0), Load::default());
        let shown = serde_json::to_value(history.show()).unwrap();
        assert_eq!(
            shown["series"]["accepted"].as_array().unwrap()[..899].iter().filter(|v| v.is_null()).count(),
            899
        );
    }
}
