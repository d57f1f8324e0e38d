//! In virtual time: no test waits.

use std::time::Duration;

use super::*;

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
            Allowance::Unlimited => panic!("there is a limit"),
        };
    }
    moved
}

#[test]
fn a_rate_is_kept_within_three_percent_and_never_exceeded_by_more_than_the_burst() {
    for rate in [MB, 20 * MB, 1_000 * MB, 10_000 * MB] {
        let (accounts, begin) = accounts();
        let burst = rate / 4;
        accounts.set_terms(LimitId(1), &download(rate, burst));
        let mut places = [accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place")];
        let moved = run(&mut places, begin, begin + Duration::from_secs(10), u64::MAX, |moved, at| {
            let allowed = u128::from(rate) * at.duration_since(begin).as_nanos() / 1_000_000_000;
            assert!(u128::from(moved) <= allowed + u128::from(burst), "{moved} at {rate}");
        });
        let share = moved[0] as f64 / (rate * 10 + burst) as f64;
        assert!((0.97..=1.0).contains(&share), "{rate}: {share}");
    }
}

#[test]
fn sessions_of_one_user_get_the_same() {
    for sessions in [2, 7, 50] {
        let (accounts, begin) = accounts();
        accounts.set_terms(LimitId(1), &download(10 * MB, 200_000));
        let mut places: Vec<LimitPlace> = (0..sessions)
            .map(|_| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place"))
            .collect();
        let moved = run(&mut places, begin, begin + Duration::from_secs(10), 64 * 1024, |_, _| {});
        let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
        // The burst is whose who comes first.
        assert!((least + 200_000) as f64 >= 0.95 * *most as f64, "{sessions}: {least} and {most}");
        let share = moved.iter().sum::<u64>() as f64 / (100 * MB + 200_000) as f64;
        assert!((0.97..=1.0).contains(&share), "{share}");
    }
}

/// What a crowd drew and did not use is no stock to let loose at once.
#[test]
fn silent_sessions_hold_nothing() {
    let (accounts, begin) = accounts();
    let (rate, burst) = (MB, 100_000);
    accounts.set_terms(LimitId(1), &download(rate, burst));
    let mut places: Vec<LimitPlace> = (0..1000)
        .map(|_| accounts.enter(user(1, "ann"), SessionKind::Tunnel, begin).expect("a place"))
        .collect();
    for second in 0..60 {
        let at = begin + Duration::from_secs(second);
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
    let pour = BurstRate { rate: 1, burst: 3 };
    accounts.set_terms(LimitId(1), &LimitTerms { new_per_second: Some(pour), ..LimitTerms::default() });
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
