use super::*;
use crate::policy::accounts::{
    AccountKey, LimitTerms, OnReached, QuotaDirection, QuotaSpan, QuotaTerms, SessionKind,
};

/// How long a period of these tests is, and when the present one began: now, or the rows of limits that there are not would
/// be too old.
const DAY: u64 = 24 * 3600;

fn since() -> u64 {
    seconds_now() / DAY * DAY
}

/// Accounts of one limit with a quota, and its names.
fn accounts() -> (Arc<Accounts>, Arc<HolderNames>) {
    let accounts = Arc::new(Accounts::new(Instant::now()));
    accounts.set_terms(LimitId(0), &terms());
    let names = HolderNames { limits: ["plan".into()].into(), ..HolderNames::default() };
    (accounts, Arc::new(names))
}

fn kept_use(quota: &str, holder: &str, period: u64, up: u64) -> KeptUse {
    KeptUse { quota: quota.into(), holder: holder.into(), period: period as i64, up, down: 1 }
}

/// A directory whose store has these.
fn directory(uses: &[KeptUse]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directory = StateDir::take(folder.path()).unwrap();
    let mut store = QuotaStore::open(&directory, "T", |_| {}).unwrap().store;
    store.write(uses).unwrap();
    store.close().unwrap();
    folder
}

/// What a store has.
fn contents(folder: &tempfile::TempDir) -> Vec<KeptUse> {
    let directory = StateDir::take(folder.path()).unwrap();
    let mut uses = Vec::new();
    let opened = QuotaStore::open(&directory, "T", |one| uses.push(one)).unwrap();
    assert!(opened.set_aside.is_none());
    uses
}

fn user(name: &str) -> AccountHolder {
    AccountHolder::User(name.into())
}

#[test]
fn a_hundred_thousand_subjects_count_on_after_a_start() {
    let uses: Vec<KeptUse> =
        (0..100_000).map(|nth| kept_use("plan", &format!("user:{nth:06}"), since(), nth + 1)).collect();
    let folder = directory(&uses);
    let (accounts, names) = accounts();
    let started = Instant::now();
    let keeper = QuotaKeeper::start(folder.path(), &accounts, names).unwrap();
    println!("took {:?}", started.elapsed());
    let (mut cursor, mut count) = (AccountsCursor::default(), 0);
    while !cursor.is_over() {
        count += accounts.quota_uses(&mut cursor, limits::QUOTA_USES_PER_STEP).len();
    }
    assert_eq!((count, keeper.health().told(Instant::now()).rows), (100_000, 100_000));
    let used = accounts.quota_use(LimitId(0), &user("000041")).unwrap();
    assert_eq!((used.since, used.up, used.down), (since(), 42, 1));
    assert!(!accounts.has_changes(), "what was read need not be written");
    drop(keeper);
    assert_eq!(contents(&folder).len(), 100_000);
}

/// Those of the period before stay for a clock that steps back, and those of a limit that is not there for whoever took it out
/// by mistake.
#[test]
fn rows_of_periods_that_are_over_are_removed() {
    let long_ago = since() - limits::QUOTA_ORPHANS_KEPT.as_secs() - DAY;
    let stay = [
        kept_use("gone", "user:a", since() - 7 * DAY, 1),
        kept_use("plan", "user:a", since(), 1),
        kept_use("plan", "user:b", since() - DAY, 1),
    ];
    let go = [kept_use("plan", "user:c", since() - 2 * DAY, 1), kept_use("gone", "user:b", long_ago, 1)];
    let folder = directory(&[&stay[..], &go].concat());
    let (accounts, names) = accounts();
    let keeper = QuotaKeeper::start(folder.path(), &accounts, names).unwrap();
    let by = Instant::now() + Duration::from_secs(10);
    while keeper.health().told(Instant::now()).rows > 3 {
        assert!(Instant::now() < by, "they are still there");
        std::thread::yield_now();
    }
    assert_eq!(accounts.quota_use(LimitId(0), &user("b")), None, "of a period that is over");
    drop(keeper);
    assert_eq!(contents(&folder), stay);
}

/// The thread that keeps them is woken by changes alone.
#[test]
fn nobody_is_woken_where_nothing_changed() {
    let folder = directory(&[kept_use("plan", "user:a", since(), 5)]);
    let (accounts, names) = accounts();
    let keeper = QuotaKeeper::start(folder.path(), &accounts, names).unwrap();
    keeper.look(Instant::now());
    assert_eq!((keeper.wake.len(), keeper.trouble(Instant::now())), (0, None));
    accounts.reset_use(LimitId(0), &user("a")).unwrap();
    let now = Instant::now();
    keeper.look(now);
    let later = now + limits::QUOTA_STORE_SILENCE;
    let told = keeper.trouble(later);
    assert!(told.is_none() || told.is_some_and(|words| words.contains("has not answered for 10s")));
    let health = keeper.health().clone();
    drop(keeper);
    assert_eq!((contents(&folder), health.told(later).behind), (Vec::new(), Duration::ZERO));
}

/// A reload that takes a limit out by mistake, and the next one that puts it back, once gave everybody a fresh quota.
#[test]
fn a_quota_that_comes_back_counts_on() {
    let folder =
        directory(&[kept_use("plan", "user:a", since(), 41), kept_use("plan", "user:b", since(), 7)]);
    let (accounts, names) = accounts();
    let without = Arc::new(HolderNames::default());
    let keeper = QuotaKeeper::start(folder.path(), &accounts, without.clone()).unwrap();
    let used = |name: &str| accounts.quota_use(LimitId(0), &user(name)).map(|used| used.up);
    assert_eq!(used("a"), None, "nobody knows the limit");
    let by = Instant::now() + Duration::from_secs(10);
    keeper.set_names(names);
    while used("a") != Some(41) || used("b") != Some(7) {
        assert!(Instant::now() < by, "{:?}", used("a"));
        std::thread::yield_now();
    }
    drop(keeper);
    assert_eq!(contents(&folder).len(), 2);
}

/// The terms of a limit with a quota of this day.
fn terms() -> LimitTerms {
    let span = QuotaSpan { since: since(), until: since() + DAY };
    let (direction, on_reached) = (QuotaDirection::Both, OnReached::Refuse);
    let quota = QuotaTerms { bytes: 1_000_000, direction, on_reached, span };
    LimitTerms { quota: Some(quota), ..LimitTerms::default() }
}

fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let by = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < by, "{what}");
        std::thread::yield_now();
    }
}

/// A server that started without it, and one whose limits somebody was quicker to use than the disk.
#[test]
fn a_quota_that_comes_with_a_reload_goes_on_with_what_the_store_has() {
    let rows = [kept_use("gold", "user:a", since(), 100), kept_use("gold", "user:b", since(), 7)];
    let folder = directory(&rows);
    let (accounts, _) = accounts();
    let names = HolderNames { limits: ["plan".into(), "gold".into()].into(), ..HolderNames::default() };
    let names = Arc::new(names);
    let keeper = QuotaKeeper::start(folder.path(), &accounts, names.clone()).unwrap();
    let gold = LimitId(1);
    assert_eq!(accounts.quota_use(gold, &user("a")), None);
    accounts.set_terms(gold, &terms());
    let key = AccountKey { limit: gold, holder: user("a") };
    let place = accounts.enter(key, SessionKind::Tunnel, Instant::now()).unwrap();
    place.count(5, 0);
    keeper.set_names(names.clone());
    let up = |name: &str| accounts.quota_use(gold, &user(name)).map(|used| used.up);
    await_that("what was used counts on", || (up("a"), up("b")) == (Some(105), Some(7)));
    drop(place);
    // Whatever is told again is not counted again.
    keeper.set_names(names);
    drop(keeper);
    assert_eq!((up("a"), up("b")), (Some(105), Some(7)));
    assert_eq!(contents(&folder), [kept_use("gold", "user:a", since(), 105), rows[1].clone()]);
}

/// Neither of one nor of all: the store that could not be written then has it yet.
#[test]
fn what_is_set_back_while_there_is_no_store_does_not_come_back_with_it() {
    for holder in [Some("user:a"), None] {
        let folder = directory(&[kept_use("plan", "user:a", since(), 100)]);
        let (accounts, names) = accounts();
        let keeper = QuotaKeeper::start(folder.path(), &accounts, names).unwrap();
        let [store, away, in_the_way] =
            ["quotas.db", "away", "quotas.db.new"].map(|name| folder.path().join(name));
        std::fs::rename(&store, &away).unwrap();
        std::fs::create_dir(&in_the_way).unwrap();
        let (told, outcome) = bounded(1);
        let tell = Box::new(move |done| told.send(done).unwrap());
        let order = QuotaOrder { limit: "plan".to_owned(), holder: holder.map(str::to_owned), tell };
        keeper.give(order).unwrap();
        let done = outcome.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        assert!(matches!(done, Done::QuotaReset { accounts: 1, kept: false, .. }), "{done:?}");
        std::fs::remove_dir(&in_the_way).unwrap();
        std::fs::rename(&away, &store).unwrap();
        await_that("the store is open again", || keeper.trouble(Instant::now()).is_none());
        assert_eq!(accounts.quota_use(LimitId(0), &user("a")), None);
        drop(keeper);
        assert_eq!(contents(&folder), []);
    }
}
