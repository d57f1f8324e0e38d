//! In virtual time: no test waits.

mod quotas;
mod random;

use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::auth::Identity;
use crate::policy::rules::RuleId;
use crate::policy::{Incoming, Subject};
use crate::proto::request::RequestCommand;

const MB: u64 = 1_000_000;

fn accounts() -> (Arc<Accounts>, Instant) {
    let start = Instant::now();
    (Arc::new(Accounts::new(start)), start)
}

fn user(limit: u16, name: &str) -> AccountKey {
    AccountKey { limit: LimitId(limit), holder: AccountHolder::User(name.into()) }
}

fn held(accounts: &Accounts) -> usize {
    accounts.parts.iter().map(|part| part.lock().unwrap().accounts.len()).sum()
}

fn download(rate: u64, burst: u64) -> LimitTerms {
    LimitTerms { download: Some(BurstRate { rate, burst }), ..LimitTerms::default() }
}

/// Moves whatever is allowed, by the sessions in turn, until `end`; the bytes of each. `most` is what one move brings.
fn run(
    places: &mut [LimitPlace],
    begin: Instant,
    end: Instant,
    most: u64,
    line: impl Fn(u64, Instant),
) -> Vec<u64> {
    let mut moved = vec![0; places.len()];
    let mut wakes = vec![begin; places.len()];
    while let Some((at, nth)) = wakes.iter().enumerate().map(|(nth, at)| (*at, nth)).min()
        && at < end
    {
        wakes[nth] = match places[nth].allowance(LimitedWay::Down, at) {
            Allowance::Of(bytes) => {
                let bytes = bytes.min(most);
                places[nth].spend(LimitedWay::Down, bytes);
                moved[nth] += bytes;
                line(moved.iter().sum(), at);
                at
            }
            // A timer fires at whole milliseconds.
            Allowance::From(moment_ns) => {
                let ms = places[nth].instant(moment_ns).duration_since(begin).as_nanos().div_ceil(1_000_000);
                begin + Duration::from_millis(ms as u64)
            }
            Allowance::Unlimited | Allowance::Ended => panic!("there is a limit"),
        };
    }
    moved
}

#[test]
fn a_rate_is_kept_within_three_percent_and_never_exceeded_by_more_than_the_burst() {
    let rates = [MB, 20 * MB, 1_000 * MB, 10_000 * MB];
    for (rate, burst) in
        rates.into_iter().flat_map(|rate| [(rate, rate), (rate, rate / 4), (rate, rate / 100)])
    {
        let (accounts, begin) = accounts();
        accounts.set_terms(LimitId(1), &download(rate, burst));
        let mut places = [accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place")];
        let moved = run(&mut places, begin, begin + Duration::from_secs(10), u64::MAX, |moved, at| {
            let allowed = u128::from(rate) * at.duration_since(begin).as_nanos() / 1_000_000_000;
            assert!(u128::from(moved) <= allowed + u128::from(burst), "{moved} at {rate}");
        });
        let share = moved[0] as f64 / (rate * 10 + burst) as f64;
        assert!((0.97..=1.0).contains(&share), "{rate} and {burst}: {share}");
    }
}

/// However late sessions come for what they drew, and however little of it they use then.
#[test]
fn no_crowd_gets_past_the_line() {
    for seed in 1..=30 {
        let mut random = StdRng::seed_from_u64(seed);
        let (accounts, begin) = accounts();
        let rate = random.random_range(MB..1_000 * MB);
        let burst = rate / random.random_range(1..200);
        accounts.set_terms(LimitId(1), &download(rate, burst));
        let mut places: Vec<LimitPlace> = (0..random.random_range(1..40))
            .map(|_| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place"))
            .collect();
        let (mut moved, mut wakes) = (Vec::new(), vec![0; places.len()]);
        for ms in 0..3_000 {
            let at = begin + Duration::from_millis(ms);
            for (place, wake) in places.iter_mut().zip(&mut wakes).filter(|(_, wake)| **wake <= ms) {
                if let Allowance::Of(bytes) = place.allowance(LimitedWay::Down, at) {
                    let used = random.random_range(0..=bytes);
                    place.spend(LimitedWay::Down, used);
                    moved.push((ms, used));
                }
                *wake = ms + random.random_range(0..150);
            }
        }
        // What came above the line at any time, from whatever time on.
        let (mut above, mut last_ms) = (0, 0);
        for (ms, used) in moved {
            above = u64::saturating_sub(above, rate * (ms - last_ms) / 1000) + used;
            last_ms = ms;
            assert!(above <= burst + rate / 1000, "seed {seed}: {above} of {burst} at {rate} after {ms} ms");
        }
    }
}

/// A flow that stays below its rate is given whole turns: one that ends short costs a call for little.
#[test]
fn a_rate_that_is_not_reached_cuts_no_turn_short() {
    let turn = (limits::PUMP_BYTES_MAX + limits::PIPE_BYTES) as u64;
    let (accounts, begin) = accounts();
    accounts.set_terms(LimitId(1), &download(1_000 * MB, 100 * MB));
    let mut places: Vec<LimitPlace> = (0..4)
        .map(|_| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place"))
        .collect();
    for ms in 0..10_000 {
        let at = begin + Duration::from_millis(ms);
        let place = &mut places[ms as usize % 4];
        let Allowance::Of(bytes) = place.allowance(LimitedWay::Down, at) else { panic!("it waits at {ms}") };
        assert!(bytes >= turn, "{bytes} at {ms}");
        place.spend(LimitedWay::Down, 900_000);
    }
}

#[test]
fn ten_thousand_subjects_have_each_their_rate() {
    let (accounts, begin) = accounts();
    accounts.set_terms(LimitId(1), &download(MB, 100_000));
    let mut places: Vec<LimitPlace> = (0..10_000)
        .map(|n| accounts.enter(user(1, &n.to_string()), SessionKind::Tunnel, begin).expect("a place"))
        .collect();
    let mut moved = vec![0; places.len()];
    let mut wakes = vec![0; places.len()];
    for ms in (0..10_000).step_by(10) {
        let at = begin + Duration::from_millis(ms);
        for (nth, place) in places.iter_mut().enumerate() {
            while wakes[nth] <= ms {
                match place.allowance(LimitedWay::Down, at) {
                    Allowance::Of(bytes) => {
                        place.spend(LimitedWay::Down, bytes);
                        moved[nth] += bytes;
                    }
                    Allowance::From(ready_ns) => wakes[nth] = ready_ns.div_ceil(1_000_000).max(ms + 1),
                    Allowance::Unlimited | Allowance::Ended => panic!("there is a limit"),
                }
            }
        }
    }
    let (least, most) = (*moved.iter().min().unwrap(), *moved.iter().max().unwrap());
    assert!(least >= 97 * MB / 10 && most <= 101 * MB / 10, "{least} and {most}");
}

#[test]
fn sessions_of_one_user_get_the_same() {
    for (sessions, rate) in [(2, 10), (7, 10), (50, 10), (2, 1_000), (2, 10_000)] {
        let (accounts, begin) = accounts();
        let (rate, burst) = (rate * MB, rate * MB / 50);
        accounts.set_terms(LimitId(1), &download(rate, burst));
        let mut places: Vec<LimitPlace> = (0..sessions)
            .map(|_| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place"))
            .collect();
        let moved = run(&mut places, begin, begin + Duration::from_secs(10), 64 * 1024, |_, _| {});
        let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
        // The burst is whose who comes first.
        assert!((least + burst) as f64 >= 0.95 * *most as f64, "{sessions} at {rate}: {least} and {most}");
        let share = moved.iter().sum::<u64>() as f64 / (10 * rate + burst) as f64;
        assert!((0.97..=1.0).contains(&share), "{share}");
    }
}

/// What a crowd drew and did not use is no stock to let loose at once, however little each moves meanwhile.
#[test]
fn sessions_that_are_nearly_silent_hold_nothing() {
    let (accounts, begin) = accounts();
    let (rate, burst) = (MB, 100_000);
    accounts.set_terms(LimitId(1), &download(rate, burst));
    let mut places: Vec<LimitPlace> = (0..1000)
        .map(|_| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place"))
        .collect();
    for tenth in 0..600 {
        let at = begin + Duration::from_millis(tenth * 100 - tenth % 3);
        for place in &mut places {
            if let Allowance::Of(_) = place.allowance(LimitedWay::Down, at) {
                place.spend(LimitedWay::Down, 1);
            }
        }
    }
    let late = begin + Duration::from_secs(60);
    let at_once: u64 = places
        .iter_mut()
        .map(|place| match place.allowance(LimitedWay::Down, late) {
            Allowance::Of(bytes) => bytes,
            _ => 0,
        })
        .sum();
    assert!(at_once <= burst, "{at_once}");
}

#[test]
fn each_part_of_a_limit_is_kept_and_given_back() {
    let (accounts, now) = accounts();
    let terms = LimitTerms { connections: Some(2), udp_associations: Some(1), ..LimitTerms::default() };
    accounts.set_terms(LimitId(1), &terms);
    let enter = |name: &str, kind| accounts.enter(user(1, name), kind, now);
    let association = enter("ann", SessionKind::Association).expect("a place");
    assert_eq!(enter("ann", SessionKind::Association).err(), Some(Reached::Associations));
    let tunnel = enter("ann", SessionKind::Tunnel).expect("a place");
    assert_eq!(enter("ann", SessionKind::Tunnel).err(), Some(Reached::Connections));
    assert!(enter("bob", SessionKind::Tunnel).is_ok(), "another user has another account");
    assert!(
        accounts.enter(user(2, "ann"), SessionKind::Tunnel, now).is_ok(),
        "and another limit another one, too"
    );
    drop(association);
    let second = enter("ann", SessionKind::Tunnel).expect("a place");
    // Lowered below what there is: nobody is ended, and nobody comes.
    accounts.set_terms(LimitId(1), &LimitTerms { connections: Some(1), ..terms });
    drop(tunnel);
    assert_eq!(enter("ann", SessionKind::Tunnel).err(), Some(Reached::Connections));
    drop(second);
    assert!(enter("ann", SessionKind::Tunnel).is_ok());
    assert_eq!(held(&accounts), 0, "nothing is left of who has nothing");
}

#[test]
fn new_sessions_have_a_rate_that_outlives_them() {
    let (accounts, begin) = accounts();
    let rate = BurstRate { rate: 1, burst: 3 };
    accounts.set_terms(LimitId(1), &LimitTerms { new_per_second: Some(rate), ..LimitTerms::default() });
    let comes =
        |ms| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin + Duration::from_millis(ms)).is_ok();
    let came = (0..50).filter(|&ms| comes(ms)).count();
    assert_eq!(came, 3, "each left at once, and counts");
    assert!(!comes(900) && comes(1100) && !comes(1200));
    let hammered = (1200..1900).filter(|&ms| comes(ms)).count();
    assert_eq!(hammered, 0);
    let idle = accounts.parts.iter().map(|part| part.lock().unwrap().idle.len()).sum::<usize>();
    assert!((1..=4).contains(&idle), "{idle}: not one for each that was refused");
    drop(
        accounts
            .enter(user(1, "ann"), SessionKind::Tunnel, begin + Duration::from_secs(60))
            .expect("a place"),
    );
    assert_eq!(held(&accounts), 1);
}

/// An attacker with many addresses costs bounded memory, and drives nobody out who is active.
#[test]
fn accounts_of_many_sources_are_bounded_and_spare_who_is_active() {
    let (accounts, begin) = accounts();
    let terms = LimitTerms {
        connections: Some(1),
        new_per_second: Some(BurstRate { rate: 1, burst: 1 }),
        ..LimitTerms::default()
    };
    accounts.set_terms(LimitId(1), &terms);
    let block = |number: u32| AccountKey {
        limit: LimitId(1),
        holder: AccountHolder::Block(IpAddr::from(number.to_be_bytes()), 32),
    };
    let active = accounts.enter(block(u32::MAX), SessionKind::Tunnel, begin).expect("a place");
    for number in 0..400_000 {
        drop(accounts.enter(block(number), SessionKind::Tunnel, begin).expect("a place"));
    }
    let most = limits::ACCOUNTS_IDLE_MAX + limits::ACCOUNT_PARTS + 1;
    assert!((limits::ACCOUNTS_IDLE_MAX / 2..=most).contains(&held(&accounts)), "{}", held(&accounts));
    assert_eq!(accounts.enter(block(u32::MAX), SessionKind::Tunnel, begin).err(), Some(Reached::Connections));
    drop(active);
    let late = begin + Duration::from_secs(3600);
    for number in 0..10_000 {
        drop(accounts.enter(block(number), SessionKind::Tunnel, late).expect("a place"));
    }
    assert!(held(&accounts) <= 10_000 + limits::ACCOUNT_PARTS, "{} are forgotten", held(&accounts));
}

#[test]
fn datagrams_have_a_rate_across_sessions() {
    let (accounts, begin) = accounts();
    accounts.set_terms(
        LimitId(1),
        &LimitTerms { datagrams: Some(BurstRate { rate: 100, burst: 10 }), ..LimitTerms::default() },
    );
    let mut places: Vec<LimitPlace> = (0..3)
        .map(|_| accounts.enter(user(1, "ann"), SessionKind::Association, begin).expect("a place"))
        .collect();
    let mut passed = [0; 3];
    for ms in 0..10_000 {
        for (nth, place) in places.iter_mut().enumerate() {
            passed[nth] += u32::from(place.passes_datagram(begin + Duration::from_millis(ms)));
        }
    }
    let all: u32 = passed.iter().sum();
    assert!((970..=1010).contains(&all), "{passed:?}");
}

/// A plan of these limits for every session, each by source.
fn plan(accounts: &Arc<Accounts>, limits: &[(u16, Per, LimitTerms)]) -> LimitPlan {
    for (id, _, terms) in limits {
        accounts.set_terms(LimitId(*id), terms);
    }
    LimitPlan {
        accounts: accounts.clone(),
        users: Arc::default(),
        of_users: Vec::new(),
        all: limits.iter().map(|&(id, per, _)| Limit { id: LimitId(id), per }).collect(),
        by_rule: HashMap::new(),
    }
}

/// Lets a session of this source into a plan.
fn come(plan: &LimitPlan, source: u8, now: Instant) -> Result<LimitPlaces, Exceeded> {
    let incoming = Incoming { client: ([192, 0, 2, source], 1).into(), listener: 0 };
    let command = RequestCommand::UdpAssociate;
    let subject = Subject { incoming, identity: &Identity::Anonymous, parameters: None, command };
    let mut places = LimitPlaces::default();
    plan.enter(&mut places, &subject, std::iter::empty(), SessionKind::Association, now)?;
    Ok(places)
}

/// A limit that both the user and a rule name is one, and who is in several groups has a place in each of them.
#[test]
fn a_session_counts_once_in_each_group_of_its_user() {
    let (accounts, now) = accounts();
    let terms = LimitTerms { connections: Some(2), ..LimitTerms::default() };
    let team = Limit { id: LimitId(1), per: Per::Group };
    let [ann, bob, staff, night, limit] = ["ann", "bob", "staff", "night", "team"].map(Arc::<str>::from);
    let users = LimitedUsers::in_groups([(&staff, &ann), (&night, &ann), (&night, &bob)]);
    let plan = LimitPlan {
        users: Arc::new(users.with_limits([(&ann, &[limit][..])])),
        of_users: vec![team],
        by_rule: HashMap::from([(RuleId(3), vec![team])]),
        ..plan(&accounts, &[])
    };
    accounts.set_terms(team.id, &terms);
    let incoming = Incoming { client: ([192, 0, 2, 1], 1).into(), listener: 0 };
    let come = |user: &Arc<str>| {
        let (identity, command) = (Identity::User(user.clone()), RequestCommand::Connect);
        let subject = Subject { incoming, identity: &identity, parameters: None, command };
        let mut places = LimitPlaces::default();
        plan.enter(&mut places, &subject, std::iter::once(RuleId(3)), SessionKind::Tunnel, now)?;
        Ok::<_, Exceeded>(places)
    };
    let of_ann = come(&ann).expect("a place");
    assert_eq!(held(&accounts), 2, "staff and night");
    let of_bob = come(&bob).expect("a place");
    assert_eq!(come(&bob).err(), Some(Exceeded { limit: team.id, reached: Reached::Connections }));
    // What staff has room for night has not, and nothing of it is left there.
    assert!(come(&ann).is_err() && come(&"eve".into()).is_ok());
    drop(of_bob);
    let again = come(&ann).expect("a place");
    drop((of_ann, again));
    assert_eq!(held(&accounts), 0);
}

/// The last byte of a share would else carry a whole datagram for nothing.
#[test]
fn a_datagram_that_is_larger_than_what_is_left_is_paid_for() {
    for burst in [100, 20_000] {
        let (accounts, begin) = accounts();
        let upload = Some(BurstRate { rate: 20_000, burst });
        let plan = plan(&accounts, &[(1, Per::Source, LimitTerms { upload, ..LimitTerms::default() })]);
        let mut moved = 0;
        for second in 0..60 {
            // A session that ends pays, too.
            let mut places = come(&plan, 1, begin + Duration::from_secs(second)).expect("a place");
            for ms in 0..1000 {
                let at = begin + Duration::from_millis(second * 1000 + ms);
                for bytes in [8191, 60_000] {
                    moved += bytes * u64::from(places.passes_datagram(LimitedWay::Up, bytes, at));
                }
            }
        }
        assert!((1_000_000..1_400_000).contains(&moved), "{moved} with a burst of {burst}");
    }
}

/// Whoever is at his own limit must not use up what he shares with others.
#[test]
fn what_one_limit_stops_is_not_counted_in_another() {
    let (accounts, now) = accounts();
    let rate = |rate, burst| Some(BurstRate { rate, burst });
    let all = LimitTerms {
        connections: Some(100),
        new_per_second: rate(1, 10),
        datagrams: rate(1, 10),
        ..LimitTerms::default()
    };
    let own = LimitTerms { connections: Some(1), datagrams: rate(1, 2), ..LimitTerms::default() };
    let plan = plan(&accounts, &[(1, Per::Global, all), (2, Per::Source, own)]);
    let mut greedy = come(&plan, 1, now).expect("a place");
    for _ in 0..100 {
        assert_eq!(come(&plan, 1, now).err().map(|exceeded| exceeded.limit), Some(LimitId(2)));
        greedy.passes_datagram(LimitedWay::Up, 1, now);
    }
    assert_eq!(greedy.take_stopped(), 98);
    let others: Vec<_> = (2..20).map_while(|source| come(&plan, source, now).ok()).collect();
    assert_eq!(others.len(), 9, "one of ten has begun");
    let passed: usize = others
        .into_iter()
        .map(|mut places| (0..2).filter(|_| places.passes_datagram(LimitedWay::Up, 1, now)).count())
        .sum();
    assert_eq!(passed, 7, "two of ten are gone, and one is lent to the greedy one for a moment");
}

/// A rate that was lower made a line that the higher one must not wait for.
#[test]
fn a_rate_that_is_raised_lets_those_go_on_who_wait_for_the_old_one() {
    let (accounts, begin) = accounts();
    let rate = |rate, burst| Some(BurstRate { rate, burst });
    let slow =
        LimitTerms { new_per_second: rate(1, 1000), download: rate(1000, 1000), ..LimitTerms::default() };
    accounts.set_terms(LimitId(1), &slow);
    let mut places: Vec<_> =
        std::iter::from_fn(|| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).ok()).collect();
    assert_eq!(places.len(), 1000);
    for place in &mut places {
        place.allowance(LimitedWay::Down, begin);
    }
    let Allowance::From(ready_ns) = places[999].allowance(LimitedWay::Down, begin) else { panic!("a line") };
    assert!(ready_ns > 450_000_000_000, "{ready_ns}");
    let later = begin + Duration::from_secs(1);
    accounts.set_terms(LimitId(1), &slow);
    assert_eq!(places[999].allowance(LimitedWay::Down, later), Allowance::From(ready_ns), "nothing changed");
    let fast = LimitTerms { new_per_second: rate(100, 10), download: rate(MB, MB), ..LimitTerms::default() };
    accounts.set_terms(LimitId(1), &fast);
    let place = &mut places[999];
    let at = match place.allowance(LimitedWay::Down, later) {
        Allowance::From(ready_ns) => place.instant(ready_ns),
        _ => later,
    };
    assert!(at <= later + Duration::from_secs(2), "{:?}", at - later);
    assert!(accounts.enter(user(1, "ann"), SessionKind::Tunnel, later).is_ok());
}

#[test]
fn a_slow_rate_trickles() {
    let (accounts, begin) = accounts();
    accounts.set_terms(LimitId(1), &download(10, 1_000_000_000_000));
    let mut place = accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place");
    let mut last = begin;
    place.spend(LimitedWay::Down, 1_000_000_000_000 + 1000);
    for _ in 0..20 {
        if let Allowance::From(ready_ns) = place.allowance(LimitedWay::Down, last) {
            let at = place.instant(ready_ns);
            assert!(at <= last + Duration::from_secs(101), "{:?}", at - last);
            last = at;
        }
        if let Allowance::Of(bytes) = place.allowance(LimitedWay::Down, last) {
            assert!(bytes <= 10);
            place.spend(LimitedWay::Down, bytes);
        }
    }
}

/// A session that waits in two lines keeps its place in both.
#[test]
fn sessions_that_have_two_limits_get_what_the_narrower_allows() {
    let (accounts, begin) = accounts();
    let plan = plan(
        &accounts,
        &[(1, Per::Global, download(120_000, 10_000)), (2, Per::Source, download(100_000, 10_000))],
    );
    let mut all: Vec<_> = (0..50).map(|_| come(&plan, 1, begin).expect("a place")).collect();
    let mut moved = vec![0; all.len()];
    let mut wakes = vec![0; all.len()];
    for ms in 0..60_000 {
        let at = begin + Duration::from_millis(ms);
        for (nth, places) in all.iter_mut().enumerate() {
            if wakes[nth] > ms {
                continue;
            }
            match places.allowance(LimitedWay::Down, at) {
                Allowance::Of(bytes) => {
                    places.spend(LimitedWay::Down, bytes);
                    moved[nth] += bytes;
                }
                Allowance::From(ready_ns) => wakes[nth] = ready_ns.div_ceil(1_000_000),
                Allowance::Unlimited | Allowance::Ended => panic!("there are limits"),
            }
        }
    }
    let sum: u64 = moved.iter().sum();
    assert!((5_700_000..=6_010_000).contains(&sum), "{sum}");
    let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
    assert!(least * 10 >= most * 8, "{least} and {most}");
}
