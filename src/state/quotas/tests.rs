use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use tempfile::TempDir;

use super::*;

fn used(quota: &str, holder: &str, period: i64, bytes: [u64; 2]) -> KeptUse {
    let [up, down] = bytes;
    KeptUse { quota: quota.into(), holder: holder.into(), period, up, down }
}

/// A directory of state that is taken.
fn taken() -> (TempDir, StateDir) {
    let folder = tempfile::tempdir().unwrap();
    let directory = StateDir::take(folder.path()).unwrap();
    (folder, directory)
}

fn open(directory: &StateDir) -> (StoreOpened, Vec<KeptUse>) {
    let mut kept = Vec::new();
    let opened = QuotaStore::open(directory, "T", |one| kept.push(one)).unwrap();
    (opened, kept)
}

/// What the store has, and what was wrong with it.
fn kept(directory: &StateDir) -> Vec<KeptUse> {
    let (opened, kept) = open(directory);
    assert!(opened.set_aside.is_none(), "{:?}", opened.set_aside);
    opened.store.close().unwrap();
    kept
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_last_is_read() {
    let (folder, directory) = taken();
    assert_eq!(kept(&directory), []);
    let (opened, _) = open(&directory);
    let mut store = opened.store;
    let most = used("plans", "user:é\u{1b}\"'", i64::MAX, [u64::MAX, 7]);
    store
        .write(&[used("plans", "user:ann", 100, [1, 2]), most.clone(), used("a", "global", -5, [0, 1])])
        .unwrap();
    store.write(&[used("plans", "user:ann", 200, [0, 3]), used("a", "global", -5, [0, 0])]).unwrap();
    store.write(&[]).unwrap();
    store.close().unwrap();
    let most = KeptUse { up: i64::MAX as u64, ..most };
    assert_eq!(kept(&directory), [used("plans", "user:ann", 200, [0, 3]), most]);
    assert_eq!(names(&folder), ["lock", "quotas.db"], "closed it is one file");
    assert_eq!(folder.path().join(FILE).metadata().unwrap().mode() & 0o777, 0o600);
}

/// A store that was not closed has its last batches in the journal.
#[test]
fn what_was_committed_is_read_though_the_store_was_never_closed() {
    let (folder, directory) = taken();
    let (opened, _) = open(&directory);
    let mut store = opened.store;
    store.write(&[used("q", "user:a", 1, [1, 0])]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in names(&folder) {
        fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
    }
    assert!(names(&copy).contains(&"quotas.db-wal".to_owned()));
    assert_eq!(fs::metadata(copy.path().join("quotas.db-wal")).unwrap().mode() & 0o777, 0o600);
    let other = StateDir::take(copy.path()).unwrap();
    assert_eq!(kept(&other), [used("q", "user:a", 1, [1, 0])]);
}

#[test]
fn rows_of_periods_that_are_over_are_swept_a_part_at_a_time() {
    let (_folder, directory) = taken();
    let (opened, _) = open(&directory);
    let mut store = opened.store;
    let rows = limits::QUOTA_SWEEP_ROWS * 2 + 10;
    let all = (0..rows).map(|nth| used("q", &format!("source:{nth:06}"), i64::from(nth % 3), [1, 1]));
    let all: Vec<KeptUse> = all.chain([used("other", "user:a", 0, [1, 1])]).collect();
    store.write(&all).unwrap();
    let (mut behind, mut steps) = (Some(String::new()), 0);
    while let Some(holder) = behind {
        behind = store.sweep("q", &holder, 2).unwrap();
        steps += 1;
    }
    assert_eq!(steps, 3);
    store.close().unwrap();
    let left = kept(&directory);
    assert_eq!(left.len() as u32, rows / 3 + 1);
    assert!(left.iter().all(|one| one.period == 2 || &*one.quota == "other"));
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (folder, directory) = taken();
    let (opened, _) = open(&directory);
    opened.store.db.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    opened.store.close().unwrap();
    let refused = QuotaStore::open(&directory, "T", |_| {}).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "was written by a newer version (its format is 2, this version knows 1 at most)"
    );
    assert_eq!(names(&folder), ["lock", "quotas.db"]);
}

#[test]
fn a_store_that_another_program_has_open_is_left_alone() {
    let (folder, directory) = taken();
    let (opened, _) = open(&directory);
    let refused = QuotaStore::open(&directory, "T", |_| {}).unwrap_err();
    assert!(matches!(refused, QuotaStoreError::Busy), "{refused}");
    drop(opened);
    assert_eq!(names(&folder), ["lock", "quotas.db"]);
}

/// What is no store stays beside the new one, under a name of its own each time.
#[test]
fn a_file_that_is_no_store_is_set_aside_and_never_removed() {
    let (folder, directory) = taken();
    for (nth, contents) in [&b""[..], b"not a store", &[0; 8192], &[0xff; 4096]].into_iter().enumerate() {
        fs::write(folder.path().join(FILE), contents).unwrap();
        let (opened, kept) = open(&directory);
        let aside = opened.set_aside.expect("set aside");
        assert_eq!((aside.rescued, kept.len()), (0, 0));
        assert!(matches!(aside.cause, QuotaStoreError::Corrupt(_)), "{}", aside.cause);
        assert_eq!(fs::read(&aside.path).unwrap(), contents);
        let name = aside.path.file_name().unwrap().to_str().unwrap();
        let expected =
            if nth == 0 { "quotas.db.corrupt-T".to_owned() } else { format!("quotas.db.corrupt-T-{nth}") };
        assert_eq!(name, expected);
        opened.store.close().unwrap();
    }
    // A journal without its store would be read into the next one.
    fs::remove_file(folder.path().join(FILE)).unwrap();
    fs::write(folder.path().join("quotas.db-wal"), "old").unwrap();
    assert_eq!(kept(&directory), []);
    assert_eq!(fs::read(folder.path().join("quotas.db.corrupt-T-4-wal")).unwrap(), b"old");
}

/// A store of so many rows, as the bytes of its file.
fn sample(rows: u64) -> (Vec<u8>, Vec<KeptUse>) {
    let (folder, directory) = taken();
    let (opened, _) = open(&directory);
    let mut store = opened.store;
    let all: Vec<KeptUse> = (1..=rows)
        .map(|nth| used("plans", &format!("user:{nth:04}"), 1_790_000_000, [nth * 1_000_003, nth]))
        .collect();
    store.write(&all).unwrap();
    store.close().unwrap();
    (fs::read(folder.path().join(FILE)).unwrap(), all)
}

/// Whatever stands in the file: nothing panics, nothing is read that was not written, and who has lost something says so.
#[track_caller]
fn survives(damaged: &[u8], all: &[KeptUse], what: &str) {
    let (folder, directory) = taken();
    fs::write(folder.path().join(FILE), damaged).unwrap();
    let mut kept = Vec::new();
    match QuotaStore::open(&directory, "T", |one| kept.push(one)) {
        Ok(opened) => {
            assert!(kept.iter().all(|one| all.contains(one)), "{what}: a row that was never written");
            assert!(
                opened.set_aside.is_some() || kept.len() == all.len(),
                "{what}: rows are gone, and nothing is said"
            );
            if let Some(aside) = &opened.set_aside {
                assert_eq!(aside.rescued, kept.len() as u64, "{what}");
                assert_eq!(fs::read(&aside.path).unwrap().len(), damaged.len(), "{what}");
            }
            opened.store.close().unwrap();
            let (opened, again) = open(&directory);
            assert!(opened.set_aside.is_none(), "{what}: {:?}", opened.set_aside);
            assert_eq!(again, kept, "{what}");
        }
        Err(QuotaStoreError::Newer(_)) => {}
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn a_store_of_which_bytes_have_changed_is_never_believed_in_what_it_did_not_say() {
    let (good, all) = sample(200);
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut state = seed | 1;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for nth in 0..160 {
        let mut damaged = good.clone();
        for _ in 0..=next(3) {
            // Every other time in the first page, where most means something.
            let at = if nth % 2 == 0 { next(good.len()) } else { next(4096) };
            damaged[at] ^= 1 << next(8);
        }
        survives(&damaged, &all, &format!("seed {seed}, {nth}"));
    }
    for nth in 0..16 {
        let length = next(good.len());
        survives(&good[..length], &all, &format!("seed {seed}, cut {nth} to {length}"));
        let mut damaged = good.clone();
        let (from, bytes) = (next(good.len()), next(2000));
        damaged.iter_mut().skip(from).take(bytes).for_each(|byte| *byte = next(256) as u8);
        survives(&damaged, &all, &format!("seed {seed}, garbage {nth}"));
    }
}

/// Most rows outlive a page that does not.
#[test]
fn what_can_be_read_of_a_corrupt_store_is_counted_on() {
    let (good, all) = sample(2_000);
    let (folder, directory) = taken();
    let path = folder.path().join(FILE);
    fs::write(&path, &good).unwrap();
    let (opened, _) = open(&directory);
    let pages = opened.store.db.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0)).unwrap();
    opened.store.close().unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0x5a; 4096], (u64::from(pages) - 1) * 4096).unwrap();
    let (opened, kept) = open(&directory);
    let aside = opened.set_aside.expect("set aside");
    assert!(aside.rescued as usize == kept.len() && kept.len() > all.len() / 2, "{}", kept.len());
}

/// A disk that is away for a moment, and one that refuses: neither is a reason to begin at nothing.
#[test]
fn a_store_that_cannot_be_had_now_stays_where_it_is() {
    let (folder, directory) = taken();
    let path = folder.path().join(FILE);
    let refused = |path: &Path| {
        let before = names(&folder);
        let error = QuotaStore::open(&directory, "T", |_| panic!("a row")).expect_err("it is opened");
        assert!(!matches!(error, QuotaStoreError::Corrupt(_)), "{error}");
        assert_eq!((names(&folder), path.symlink_metadata().is_ok()), (before, true));
    };
    symlink(folder.path().join("away").join(FILE), &path).unwrap();
    refused(&path);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(&path);
}

/// What could be read of it is in memory alone until another can be made.
#[test]
fn a_corrupt_store_stays_until_there_is_another() {
    let (mut damaged, all) = sample(5);
    let at = damaged.windows(5).rposition(|some| some == b"user:").expect("a row");
    damaged[at + 5] ^= 1;
    let (folder, directory) = taken();
    fs::write(folder.path().join(FILE), &damaged).unwrap();
    fs::create_dir(folder.path().join(UNFINISHED)).unwrap();
    for _ in 0..2 {
        QuotaStore::open(&directory, "T", |_| ()).expect_err("there is no room for another");
    }
    fs::remove_dir(folder.path().join(UNFINISHED)).unwrap();
    let (opened, rescued) = open(&directory);
    assert_eq!((rescued.len(), opened.set_aside.is_some()), (all.len() - 1, true));
}
