//! Quotas, in virtual time.

use std::collections::BTreeMap;

use super::*;

const HOUR: u64 = 3600;

fn hour(nth: u64) -> QuotaSpan {
    QuotaSpan { since: nth * HOUR, until: (nth + 1) * HOUR }
}

fn quota(bytes: u64, on_reached: OnReached) -> LimitTerms {
    let quota = QuotaTerms { bytes, direction: QuotaDirection::Both, on_reached, span: hour(100) };
    LimitTerms { quota: Some(quota), ..LimitTerms::default() }
}

fn enter(accounts: &Arc<Accounts>, key: &AccountKey, now: Instant) -> Result<LimitPlace, Reached> {
    accounts.enter(key.clone(), SessionKind::Tunnel, now)
}

/// Bytes up and down that are used by now.
fn used(accounts: &Accounts, AccountKey { limit, holder }: &AccountKey) -> (u64, u64) {
    accounts.quota_use(*limit, holder).map_or((0, 0), |QuotaUse { up, down, .. }| (up, down))
}

#[test]
fn a_quota_that_is_used_up_refuses_slows_or_ends() {
    for on_reached in [OnReached::Refuse, OnReached::Slow, OnReached::Close] {
        let (accounts, now) = accounts();
        let rate = BurstRate { rate: MB, burst: MB };
        let terms = LimitTerms { download: Some(rate), ..quota(100, on_reached) };
        accounts.set_terms(LimitId(1), &terms);
        let ann = user(1, "ann");
        let mut place = enter(&accounts, &ann, now).expect("a place");
        let before = place.allowance(LimitedWay::Down, now);
        assert_eq!(before == Allowance::Unlimited, on_reached == OnReached::Slow, "{before:?}");
        assert!(!place.count(60, 39) && !accounts.take_spent());
        assert!(enter(&accounts, &ann, now).is_ok());

        let ends = place.count(0, 1);
        assert_eq!((ends, place.is_ended()), (on_reached == OnReached::Close, ends), "{on_reached:?}");
        assert_eq!(accounts.take_spent(), ends, "those that move nothing are to be told");
        let after = place.allowance(LimitedWay::Down, now);
        assert_eq!(after == Allowance::Ended, ends, "{after:?}");
        assert!(matches!(after, Allowance::Of(_) | Allowance::Ended), "the rates hold: {after:?}");
        let refused = enter(&accounts, &ann, now).err();
        let expected = (on_reached != OnReached::Slow).then_some(Reached::Quota);
        assert_eq!(refused, expected, "{on_reached:?}");
        assert!(enter(&accounts, &user(1, "bob"), now).is_ok());

        accounts.set_span(LimitId(1), hour(101));
        assert!(enter(&accounts, &ann, now).is_ok() && !place.is_ended(), "a new period");
        assert_eq!(used(&accounts, &ann), (0, 0));
    }
}

#[test]
fn one_way_may_count_alone() {
    for (direction, spent) in [(QuotaDirection::Up, (10, 0)), (QuotaDirection::Down, (0, 10))] {
        let (accounts, now) = accounts();
        let mut terms = quota(10, OnReached::Close);
        terms.quota.as_mut().expect("a quota").direction = direction;
        accounts.set_terms(LimitId(1), &terms);
        let place = enter(&accounts, &user(1, "ann"), now).expect("a place");
        assert!(!place.count(spent.1, spent.0), "{direction:?}");
        assert!(place.count(spent.0, spent.1), "{direction:?}");
    }
}

/// What moved at full speed before a quota was used up is no debt to the rates that hold then.
#[test]
fn rates_begin_with_their_burst_once_a_quota_is_used_up() {
    let (accounts, now) = accounts();
    let rate = BurstRate { rate: MB, burst: MB };
    let slow = LimitTerms { download: Some(rate), ..quota(100 * MB, OnReached::Slow) };
    accounts.set_terms(LimitId(1), &slow);
    let mut place = enter(&accounts, &user(1, "ann"), now).expect("a place");
    for _ in 0..100 {
        assert_eq!(place.allowance(LimitedWay::Down, now), Allowance::Unlimited);
        place.spend(LimitedWay::Down, MB);
        place.count(0, MB);
    }
    assert!(matches!(place.allowance(LimitedWay::Down, now), Allowance::Of(_)));
    let mut moved = 0;
    while let Allowance::Of(bytes) = place.allowance(LimitedWay::Down, now) {
        place.spend(LimitedWay::Down, bytes);
        moved += bytes;
    }
    assert!((MB / 2..=MB).contains(&moved), "{moved}");
    accounts.set_span(LimitId(1), hour(101));
    assert_eq!(place.allowance(LimitedWay::Down, now), Allowance::Unlimited, "until the period is over");
}

/// Once a rate that a reload brought began with all that had moved before it.
#[test]
fn a_rate_that_is_new_begins_with_its_burst() {
    let (accounts, now) = accounts();
    accounts.set_terms(LimitId(1), &quota(MB, OnReached::Refuse));
    let mut place = enter(&accounts, &user(1, "ann"), now).expect("a place");
    for _ in 0..1000 {
        assert_eq!(place.allowance(LimitedWay::Down, now), Allowance::Unlimited);
        place.spend(LimitedWay::Down, MB);
    }
    let rate = BurstRate { rate: MB, burst: MB };
    accounts.set_terms(LimitId(1), &LimitTerms { download: Some(rate), ..quota(MB, OnReached::Refuse) });
    let later = now + Duration::from_secs(1);
    assert!(matches!(place.allowance(LimitedWay::Down, later), Allowance::Of(_)));
}

/// A reload changes how much there is, and not what is used.
#[test]
fn another_quota_keeps_what_is_used() {
    let (accounts, now) = accounts();
    accounts.set_terms(LimitId(1), &quota(100, OnReached::Refuse));
    let ann = user(1, "ann");
    let place = enter(&accounts, &ann, now).expect("a place");
    place.count(40, 50);
    accounts.set_terms(LimitId(1), &quota(90, OnReached::Close));
    assert!(accounts.take_spent() && place.is_ended());
    accounts.set_terms(LimitId(1), &LimitTerms::default());
    assert!(!place.is_ended() && enter(&accounts, &ann, now).is_ok());
    accounts.set_terms(LimitId(1), &quota(91, OnReached::Refuse));
    assert!(enter(&accounts, &ann, now).is_ok());
    assert_eq!(used(&accounts, &ann), (40, 50));
}

/// Use is remembered where nobody is there, until the period is over.
#[test]
fn what_is_used_is_remembered_for_as_long_as_it_counts() {
    let (accounts, now) = accounts();
    accounts.set_terms(LimitId(1), &quota(100, OnReached::Refuse));
    let ann = user(1, "ann");
    enter(&accounts, &ann, now).expect("a place").count(100, 0);
    drop(enter(&accounts, &user(1, "bob"), now));
    assert_eq!(held(&accounts), 1, "who has used nothing is forgotten");
    assert_eq!(enter(&accounts, &ann, now).err(), Some(Reached::Quota));
    accounts.sweep(now);
    assert_eq!(held(&accounts), 1);
    accounts.set_span(LimitId(1), hour(101));
    accounts.sweep(now);
    assert_eq!(held(&accounts), 0);
}

/// A million sources that use a little drive out each other, and nobody who has used more than they did.
#[test]
fn whoever_has_used_least_is_forgotten_first() {
    const MOST: usize = 4096;
    let (accounts, now) = accounts();
    for part in &accounts.parts {
        part.lock().unwrap().kept.most = MOST / limits::ACCOUNT_PARTS;
    }
    accounts.set_terms(LimitId(1), &quota(1000, OnReached::Refuse));
    let block = |number: u32| AccountKey {
        limit: LimitId(1),
        holder: AccountHolder::Block(IpAddr::from(number.to_be_bytes()), 32),
    };
    let active = enter(&accounts, &block(u32::MAX), now).expect("a place");
    active.count(1, 0);
    let spent: Vec<_> = (0..1000).map(|number| block(u32::MAX - 1 - number)).collect();
    for key in &spent {
        enter(&accounts, key, now).expect("a place").count(1000, 0);
    }
    for number in 0..30_000 {
        enter(&accounts, &block(number), now).expect("a place").count(0, 5);
    }
    assert!((MOST / 2..=MOST + 1).contains(&held(&accounts)), "{}", held(&accounts));
    assert_eq!(used(&accounts, &block(u32::MAX)), (1, 0));
    for key in &spent {
        assert_eq!(enter(&accounts, key, now).err(), Some(Reached::Quota));
    }
}

#[test]
fn what_was_used_before_is_counted_on() {
    let (accounts, now) = accounts();
    accounts.set_terms(LimitId(1), &quota(100, OnReached::Refuse));
    let before = |name: &str, since, up| {
        let AccountKey { limit, holder } = user(1, name);
        QuotaUse { limit, holder, since, up, down: 1 }
    };
    assert!(accounts.restore_use(before("ann", 100 * HOUR, 50)));
    assert!(!accounts.restore_use(before("ann", 100 * HOUR, 70)), "once");
    assert!(!accounts.restore_use(before("bob", 99 * HOUR, 99)), "an old period");
    assert!(accounts.restore_use(before("cid", 101 * HOUR, 98)), "a clock that goes behind");
    let other = QuotaUse { limit: LimitId(2), ..before("dan", 100 * HOUR, 1) };
    assert!(!accounts.restore_use(other), "there is no such quota");
    let ann = enter(&accounts, &user(1, "ann"), now).expect("a place");
    ann.count(0, 49);
    drop(ann);
    assert_eq!(enter(&accounts, &user(1, "ann"), now).err(), Some(Reached::Quota));
    assert_eq!(used(&accounts, &user(1, "cid")), (98, 1));
}

#[test]
fn changes_are_told_once_and_all_of_them_by_a_walk() {
    let (accounts, now) = accounts();
    accounts.set_terms(LimitId(1), &quota(100, OnReached::Refuse));
    enter(&accounts, &user(1, "eve"), now).expect("a place").count(1, 1);
    assert_eq!(accounts.take_changes(10), QuotaChanges::default(), "nobody asked yet");
    accounts.keep_changes();
    let names = ["ann", "bob", "cid"];
    let places = names.map(|name| enter(&accounts, &user(1, name), now).expect("a place"));
    for round in 1..=3 {
        for place in &places {
            place.count(1, 0);
            place.count(1, 1);
        }
        let (first, rest) = (accounts.take_changes(2), accounts.take_changes(2));
        assert_eq!((first.uses.len(), first.more, rest.uses.len(), rest.more), (2, true, 1, false));
        let all = first.uses.into_iter().chain(rest.uses);
        assert!(all.into_iter().all(|one| (one.up, one.down) == (2 * round, round)));
    }
    assert_eq!(accounts.take_changes(2), QuotaChanges::default());
    let (mut at, mut seen) = (AccountsCursor::default(), Vec::new());
    while !at.is_over() {
        seen.extend(accounts.quota_uses(&mut at, 1).into_iter().map(|one| one.holder));
    }
    seen.sort();
    assert_eq!(seen, ["ann", "bob", "cid", "eve"].map(|name| AccountHolder::User(name.into())));
    let ann = user(1, "ann");
    assert_eq!(accounts.reset_use(ann.limit, &ann.holder).map(|before| before.up), Some(6));
    let changes = accounts.take_changes(2).uses;
    assert_eq!((changes.len(), changes[0].up), (1, 0));
}

#[test]
fn changes_that_find_no_room_are_said_to_be_missed() {
    let (accounts, now) = accounts();
    accounts.set_terms(LimitId(1), &quota(100, OnReached::Refuse));
    accounts.keep_changes();
    let mut places = Vec::new();
    for number in 0..=limits::QUOTA_CHANGES_MAX {
        places.push(enter(&accounts, &user(1, &number.to_string()), now).expect("a place"));
        places[number].count(1, 0);
    }
    let changes = accounts.take_changes(usize::MAX);
    assert_eq!((changes.uses.len(), changes.missed), (limits::QUOTA_CHANGES_MAX, true));
    places[limits::QUOTA_CHANGES_MAX].count(1, 0);
    assert_eq!(accounts.take_changes(usize::MAX).uses.len(), 1, "whoever goes on counting is told of");
}

/// Random numbers that a seed gives again (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// What a user has used, in the plainest way, and how many sessions he has; nothing is known of whoever has none and has used
/// nothing.
#[derive(Clone, Copy, Default)]
struct PlainUse {
    since: u64,
    up: u64,
    down: u64,
    sessions: usize,
}

impl PlainUse {
    /// What it is worth in the period of this hour.
    fn at(self, hour: u64) -> (u64, u64) {
        if self.since < hour { (0, 0) } else { (self.up, self.down) }
    }

    fn count(&mut self, hour: u64, up: u64, down: u64) {
        if self.since < hour {
            (self.up, self.down) = (0, 0);
        }
        if self.since < hour || self.since > hour + 1 {
            self.since = hour;
        }
        self.up += up;
        self.down += down;
    }

    fn forget(&mut self, hour: u64) {
        if self.sessions == 0 && self.at(hour) == (0, 0) {
            *self = PlainUse::default();
        }
    }
}

/// Random sessions of a few users on a random clock, against a list of what each has used.
#[test]
fn accounts_count_what_a_plain_list_counts() {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let seed = clock.as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    (0..300).for_each(|_| compare_with_a_list(&mut dice));
}

const NAMES: [&str; 4] = ["ann", "bob", "cid", "dan"];

fn compare_with_a_list(dice: &mut Dice) {
    let (accounts, now) = accounts();
    accounts.keep_changes();
    let bytes = 1 + dice.below(10_000);
    let on_reached = [OnReached::Refuse, OnReached::Close][dice.below(2) as usize];
    accounts.set_terms(LimitId(1), &quota(bytes, on_reached));
    let (mut plain, mut told) = ([PlainUse::default(); NAMES.len()], BTreeMap::new());
    let (mut at, mut live): (u64, Vec<(usize, LimitPlace)>) = (100, Vec::new());
    let is_spent = |one: PlainUse, at| one.at(at).0 + one.at(at).1 >= bytes;
    for _ in 0..500 {
        let who = dice.below(NAMES.len() as u64) as usize;
        match dice.below(12) {
            0..=2 => match enter(&accounts, &user(1, NAMES[who]), now) {
                Ok(place) => {
                    assert!(!is_spent(plain[who], at), "{who} is let in");
                    plain[who].sessions += 1;
                    live.push((who, place));
                }
                Err(reached) => assert!(reached == Reached::Quota && is_spent(plain[who], at)),
            },
            3..=8 if !live.is_empty() => {
                let nth = dice.below(live.len() as u64) as usize;
                let (who, (up, down)) = (live[nth].0, (dice.below(500), dice.below(500)));
                plain[who].count(at, up, down);
                let ends = live[nth].1.count(up, down);
                assert_eq!(ends, is_spent(plain[who], at) && on_reached == OnReached::Close);
                if ends || dice.below(4) == 0 {
                    live.swap_remove(nth);
                    plain[who].sessions -= 1;
                    plain[who].forget(at);
                }
            }
            9 => {
                let AccountKey { limit, holder } = user(1, NAMES[who]);
                accounts.reset_use(limit, &holder);
                (plain[who].up, plain[who].down) = (0, 0);
                plain[who].forget(at);
            }
            10 => {
                // On by one, back over the end of the period, or far off either way.
                let far = dice.below(50);
                at = [at + 1, at.max(1) - 1, at + far, at.max(far) - far][dice.below(4) as usize];
                accounts.set_span(LimitId(1), hour(at));
                accounts.sweep(now);
                plain.iter_mut().for_each(|one| one.forget(at));
            }
            _ => told.extend(accounts.take_changes(3).uses.into_iter().map(|one| (one.holder.clone(), one))),
        }
        for (who, name) in NAMES.iter().enumerate() {
            assert_eq!(used(&accounts, &user(1, name)), plain[who].at(at), "{name}");
        }
    }
    told.extend(accounts.take_changes(usize::MAX).uses.into_iter().map(|one| (one.holder.clone(), one)));
    for (who, name) in NAMES.iter().enumerate() {
        let (up, down) = plain[who].at(at);
        if up + down > 0 {
            let told = &told[&AccountHolder::User((*name).into())];
            assert_eq!((told.up, told.down), (up, down), "{name} as it was told");
        }
    }
}

/// Sessions on several threads that move turns until they are ended.
#[test]
fn sessions_on_many_threads_use_what_there_is_and_few_turns_more() {
    const SESSIONS: u64 = 6;
    let turn = limits::QUOTA_OVERRUN_BYTES;
    let (accounts, now) = accounts();
    let bytes = 400 * turn;
    accounts.set_terms(LimitId(1), &quota(bytes, OnReached::Close));
    accounts.keep_changes();
    let ann = user(1, "ann");
    let places: Vec<_> = (0..SESSIONS).map(|_| enter(&accounts, &ann, now).expect("a place")).collect();
    let sums: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let sessions: Vec<_> = (1..)
            .zip(places)
            .map(|(seed, mut place)| {
                scope.spawn(move || {
                    let (mut dice, mut up, mut down) = (Dice(seed), 0, 0);
                    while place.allowance(LimitedWay::Up, now) != Allowance::Ended {
                        let moved = (dice.below(turn + 1), dice.below(turn + 1));
                        (up, down) = (up + moved.0, down + moved.1);
                        if place.count(moved.0, moved.1) {
                            break;
                        }
                    }
                    (up, down)
                })
            })
            .collect();
        sessions.into_iter().map(|session| session.join().expect("a session")).collect()
    });
    let (up, down) = (sums.iter().map(|one| one.0).sum::<u64>(), sums.iter().map(|one| one.1).sum::<u64>());
    assert_eq!(used(&accounts, &ann), (up, down));
    assert!((bytes..bytes + SESSIONS * 2 * turn).contains(&(up + down)), "{} of {bytes}", up + down);
    let told = accounts.take_changes(1).uses;
    assert_eq!((told[0].up, told[0].down), (up, down));
}
