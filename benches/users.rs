//! What does a login cost that is verified, and what does one cost that a worker remembers?
//!
//!     cargo bench --bench users
//!
//! - `verify`: `Users::verify`, on a verifier's thread: the lookup of the name and the hash. Users files of 1 and of
//!   10,000 entries should cost the same, for the hash is all there is to it.
//! - `remembered`: `VerifiedCache`, on the worker: what a session pays whose credentials were seen before. The cache is
//!   as full as it gets.
//! - `parse`: reading a users file of 10,000 entries, at the start.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use jiff::civil::{Date, date};
use outflow::auth::{Identity, Users, VerifiedCache, hash_password};
use outflow::limits::{VERIFIED_CACHE_ENTRIES, VERIFIED_CACHE_TTL};

use criterion_cpu::ThreadCpu;

/// No user of the files has a last day.
const TODAY: Date = date(2026, 11, 28);
const PASSWORD: &[u8] = b"correct-horse-12";
/// The entries of the larger file.
const ENTRIES: usize = 10_000;

fn argon2id() -> String {
    hash_password(PASSWORD).expect("a password can be hashed").to_string()
}

/// As htpasswd -B writes it; 5 is what it asks for by default, 10 what most others do.
fn bcrypt_of(cost: u32) -> String {
    bcrypt::hash(PASSWORD, cost).expect("a password can be hashed")
}

/// A file in which all users have one hash.
fn text(entries: usize, hash: &str) -> String {
    (0..entries).fold(String::new(), |mut text, n| {
        writeln!(text, "user{n}:{hash}").expect("a string takes any text");
        text
    })
}

fn users(entries: usize, hash: &str) -> Users {
    Users::parse(&text(entries, hash), Path::new("users.passwd")).expect("a valid file")
}

fn verify(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("verify");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_millis(1500));
    let (argon2id, bcrypt5, bcrypt10) = (argon2id(), bcrypt_of(5), bcrypt_of(10));
    for (name, hash, entries, user) in [
        ("argon2id, 1 user", &argon2id, 1, "user0"),
        ("argon2id, 10000 users", &argon2id, ENTRIES, "user5000"),
        ("argon2id, unknown user", &argon2id, ENTRIES, "nobody"),
        ("bcrypt of cost 5", &bcrypt5, 1, "user0"),
        ("bcrypt of cost 10", &bcrypt10, 1, "user0"),
    ] {
        let users = users(entries, hash);
        assert_eq!(users.verify(user.as_bytes(), PASSWORD, TODAY).is_some(), user != "nobody");
        group.bench_function(name, |bencher| {
            bencher.iter(|| users.verify(black_box(user.as_bytes()), black_box(PASSWORD), TODAY));
        });
    }
    group.finish();
}

fn remembered(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("remembered");
    let now = Instant::now();
    let mut cache = VerifiedCache::new(VERIFIED_CACHE_ENTRIES, VERIFIED_CACHE_TTL);
    let names: Vec<String> = (0..VERIFIED_CACHE_ENTRIES).map(|n| format!("user{n}")).collect();
    for name in &names {
        let identity = Identity::User(name.as_str().into());
        let tag = cache.tag(None, name.as_bytes(), PASSWORD);
        cache.insert(tag, Some(identity.into()), now);
    }
    let tag = cache.tag(None, b"user0", b"wrong");
    cache.insert(tag, None, now);
    // A prime: every name has its turn, and no two in a row are neighbours.
    let mut next = 0;
    group.bench_function("accepted", |bencher| {
        bencher.iter(|| {
            next = (next + 7919) % names.len();
            let tag = cache.tag(None, black_box(names[next].as_bytes()), PASSWORD);
            cache.get(&tag, now, || TODAY).expect("known")
        });
    });
    group.bench_function("refused", |bencher| {
        bencher.iter(|| {
            let tag = cache.tag(None, black_box(b"user0"), b"wrong");
            cache.get(&tag, now, || TODAY).expect("known")
        });
    });
    group.bench_function("unknown", |bencher| {
        bencher.iter(|| {
            let tag = cache.tag(None, black_box(b"nobody"), PASSWORD);
            cache.get(&tag, now, || TODAY).is_none()
        });
    });
    group.finish();
}

fn parse(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("parse");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, hash) in [("10000 of argon2id", argon2id()), ("10000 of bcrypt", bcrypt_of(4))] {
        let text = text(ENTRIES, &hash);
        group.bench_function(name, |bencher| {
            bencher.iter(|| Users::parse(black_box(&text), Path::new("users.passwd")).expect("a valid file"));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion_cpu::quick();
    verify(&mut criterion);
    remembered(&mut criterion);
    parse(&mut criterion);
    criterion.final_summary();
}
