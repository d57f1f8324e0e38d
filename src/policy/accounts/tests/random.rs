//! Accounts against one that counts by hand what came when, over histories at random in virtual time.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// One user's account as it may be read in a minute: all that there was.
#[derive(Default)]
struct ByHand {
    /// Kinds of those that are there.
    there: Vec<SessionKind>,
    /// When sessions began, since the rate of them was last another.
    begun: Vec<Duration>,
    /// When datagrams passed and bytes were moved, likewise.
    passed: Vec<(Duration, u64)>,
    moved: Vec<(Duration, u64)>,
}

impl ByHand {
    /// Whether one more may come, or what is reached.
    fn admits(&self, terms: &LimitTerms, kind: SessionKind, now: Duration) -> Result<(), Reached> {
        let ByHand { there, begun, .. } = self;
        let is_below = |most: Option<u64>, count: usize| most.is_none_or(|most| (count as u64) < most);
        let associations = there.iter().filter(|kind| **kind == SessionKind::Association).count();
        if !is_below(terms.connections, there.len()) {
            return Err(Reached::Connections);
        }
        if kind == SessionKind::Association && !is_below(terms.udp_associations, associations) {
            return Err(Reached::Associations);
        }
        match terms.new_per_second.is_none_or(|rate| has_room(rate, begun, now)) {
            true => Ok(()),
            false => Err(Reached::NewSessions),
        }
    }
}

/// Whether there may be one more by `now` than came at these moments.
fn has_room(rate: BurstRate, times: &[Duration], now: Duration) -> bool {
    // Of each moment on there may be the burst, and what the rate brings.
    (0..=times.len()).all(|first| {
        let since = times.get(first).copied().unwrap_or(now);
        let (count, brought) =
            ((times.len() - first) as u128, (now - since).as_nanos() * u128::from(rate.rate));
        (count + 1) * NANOSECONDS <= brought + u128::from(rate.burst) * NANOSECONDS
    })
}

/// Whether what was had since the beginning is within the rate.
fn is_within(rate: BurstRate, had: &[(Duration, u64)], begin: Duration, now: Duration) -> bool {
    let sum: u128 = had.iter().map(|(_, amount)| u128::from(*amount)).sum();
    sum * NANOSECONDS
        <= (now - begin).as_nanos() * u128::from(rate.rate) + u128::from(rate.burst) * NANOSECONDS
}

const NANOSECONDS: u128 = 1_000_000_000;

struct Chance(StdRng);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    fn rate(&mut self) -> Option<BurstRate> {
        // Each takes whole nanoseconds: what is rounded is never more than the rate, and would be less here.
        let rate = 10_u64.pow(self.below(5) as u32) * [1, 2, 4, 5, 8][self.below(5) as usize];
        let burst = 1 + self.below(2 * rate.max(3));
        (self.below(4) > 0).then_some(BurstRate { rate, burst })
    }

    fn terms(&mut self) -> LimitTerms {
        let mut most = |end| (self.below(3) > 0).then(|| self.below(end));
        LimitTerms {
            connections: most(12),
            udp_associations: most(6),
            new_per_second: self.rate(),
            upload: self.rate(),
            datagrams: self.rate(),
            ..LimitTerms::default()
        }
    }
}

/// Whatever comes in whatever order: sessions are let in and refused as by hand, for the same reason, and nothing goes beyond
/// a rate.
fn history(chance: &mut Chance) {
    let (accounts, start) = accounts();
    let names = ["ann", "bob"];
    let mut by_hand = [ByHand::default(), ByHand::default()];
    let mut places: Vec<(usize, LimitPlace)> = Vec::new();
    let mut terms = chance.terms();
    accounts.set_terms(LimitId(1), &terms);
    let (mut now, mut changed) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..300 {
        now += match chance.below(4) {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(chance.below(1_000)),
            2 => Duration::from_micros(chance.below(20_000)),
            _ => Duration::from_millis(chance.below(2_000)),
        };
        let (at, who) = (start + now, chance.below(2) as usize);
        let what = chance.below(20);
        if what == 0 {
            terms = chance.terms();
            accounts.set_terms(LimitId(1), &terms);
            changed = now;
            // Who is there goes: what is in hand of an old rate may be used for a moment.
            places.clear();
            by_hand = Default::default();
        } else if what < 10 {
            let kind = if chance.below(3) == 0 { SessionKind::Association } else { SessionKind::Tunnel };
            let expected = by_hand[who].admits(&terms, kind, now);
            let came = accounts.enter(user(1, names[who]), kind, at);
            assert_eq!(came.as_ref().map(drop).map_err(|reached| *reached), expected, "{now:?} of {terms:?}");
            if let Ok(place) = came {
                by_hand[who].there.push(kind);
                by_hand[who].begun.push(now);
                places.push((who, place));
            }
        } else if !places.is_empty() {
            let nth = chance.below(places.len() as u64) as usize;
            let who = places[nth].0;
            let one = &mut by_hand[who];
            if what < 13 {
                let (_, place) = places.swap_remove(nth);
                let kind = one.there.iter().position(|kind| *kind == place.kind).expect("it is there");
                one.there.swap_remove(kind);
                continue;
            }
            for _ in 0..1 + chance.below(30) {
                if places[nth].1.passes_datagram(at) {
                    one.passed.push((now, 1));
                }
                if let Allowance::Of(bytes) = places[nth].1.allowance(LimitedWay::Up, at) {
                    let bytes = 1 + chance.below(bytes);
                    places[nth].1.spend(LimitedWay::Up, bytes);
                    one.moved.push((now, bytes));
                }
            }
            assert!(
                terms.datagrams.is_none_or(|rate| is_within(rate, &one.passed, changed, now)),
                "{terms:?}"
            );
            assert!(terms.upload.is_none_or(|rate| is_within(rate, &one.moved, changed, now)), "{terms:?}");
        }
    }
}

fn histories(count: usize) {
    let seed = rand::random();
    println!("seed {seed}");
    let mut chance = Chance(StdRng::seed_from_u64(seed));
    (0..count).for_each(|_| history(&mut chance));
}

#[test]
fn whatever_comes_is_let_in_and_refused_as_by_hand() {
    histories(300);
}

/// As many as of rules.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_histories_are_as_by_hand() {
    histories(100_000);
}
