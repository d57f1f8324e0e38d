//! What does the resolver cost a worker for a name that it knows, and for one that it has to ask for?
//!
//!     cargo bench --bench dns
//!
//! All of it through `Resolver`, as a worker drives it, without a socket:
//!
//! - `known`: a lookup that the cache or the hosts file answers, which is all that a session with such a name costs;
//!   the cache has one name, or all that it holds by default, in no order that a CPU could guess.
//! - `asked`: a lookup, the actions that it gives, both answers and the answer to the session, for ever new names: with
//!   the cache off, with one that grows, and with one that is full, so that each name evicts another.
//! - `read`: the answer of a server alone, from bytes to the answer for the session, of 1 and of 16 addresses and of 4
//!   behind two aliases.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion};
use outflow::dns::{ExchangeId, Hosts, Prefer, Resolver, ResolverAction, Settings};
use outflow::shares::Source;

use criterion_cpu::ThreadCpu;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// Names in a full cache: the default of `dns.cache_entries`, or a few where each bench runs once, to see that it does.
fn full() -> usize {
    let has = |flag: &str| std::env::args().any(|word| word == flag);
    if has("--bench") && !has("--test") { 65_536 } else { 256 }
}

fn resolver(cache_entries: usize, prefer: Prefer) -> Resolver {
    let settings = Settings {
        servers: vec!["192.0.2.53:53".parse().expect("an address")],
        cache_entries,
        prefer,
        hosts: Hosts::parse("192.0.2.7 listed.example\n"),
        ..Settings::default()
    };
    Resolver::new(Arc::new(settings), [7; 32])
}

fn name(n: usize) -> String {
    format!("host-{n}.example.com")
}

/// What the answer section of a message holds.
#[derive(Clone, Copy)]
struct Contents {
    aliases: u8,
    addresses: u8,
}

const ONE_ADDRESS: Contents = Contents { aliases: 0, addresses: 1 };

/// The answer to a query with one question, byte by byte (RFC 1035 section 4.1).
fn answer(query: &[u8], contents: Contents) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|&byte| byte == 0).expect("a name ends with 0") + 1;
    let kind = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
    let mut message = Vec::with_capacity(512);
    message.extend_from_slice(&query[..2]);
    // A response to a recursive query, recursion available, no error; one question.
    message.extend_from_slice(&[0x81, 0x80, 0, 1, 0, contents.aliases + contents.addresses, 0, 0, 0, 0]);
    message.extend_from_slice(&query[12..name_end + 4]);
    // The owner of the first record is the question's name.
    let mut owner: [u8; 2] = [0xc0, 12];
    for alias in 0..contents.aliases {
        record(&mut message, owner, CNAME, &[2, b'c', b'0' + alias, 0xc0, 12]);
        let target = message.len() - 5;
        owner = (0xc000 | u16::try_from(target).expect("a short message")).to_be_bytes();
    }
    for address in 0..contents.addresses {
        match kind {
            AAAA => record(
                &mut message,
                owner,
                AAAA,
                &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, address],
            ),
            _ => record(&mut message, owner, A, &Ipv4Addr::new(198, 51, 100, address).octets()),
        }
    }
    message
}

/// One record of class IN that lives for an hour.
fn record(message: &mut Vec<u8>, owner: [u8; 2], kind: u16, data: &[u8]) {
    message.extend_from_slice(&owner);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, 0, 0x0e, 0x10]);
    message.extend_from_slice(&u16::try_from(data.len()).expect("short data").to_be_bytes());
    message.extend_from_slice(data);
}

/// The queries that the resolver has to send.
fn queries(resolver: &mut Resolver) -> Vec<(ExchangeId, Vec<u8>)> {
    let mut queries = Vec::new();
    while let Some(action) = resolver.poll_action() {
        if let ResolverAction::Send { exchange, payload } = action {
            queries.push((exchange, payload));
        }
    }
    queries
}

/// The addresses that the session was given.
fn addresses(resolver: &mut Resolver) -> usize {
    let mut count = 0;
    while let Some(action) = resolver.poll_action() {
        if let ResolverAction::Answer { answer, .. } = action {
            count = answer.expect("the server had an answer").len();
        }
    }
    count
}

/// Whose lookups they are.
fn client() -> Source {
    Source::V4([192, 0, 2, 1])
}

/// A lookup of an unknown name, from the call to the answer.
fn ask(resolver: &mut Resolver, name: &str, now: Instant) {
    assert!(resolver.lookup(name, client(), 1, now).is_none(), "{name} was to be unknown");
    for (exchange, query) in queries(resolver) {
        resolver.received(exchange, &answer(&query, ONE_ADDRESS), now);
    }
    assert_eq!(addresses(resolver), 2);
}

fn known(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("known");
    let (now, full) = (Instant::now(), full());
    for count in [1, full] {
        let mut resolver = resolver(full, Prefer::HappyEyeballs);
        let names: Vec<String> = (0..count).map(name).collect();
        names.iter().for_each(|name| ask(&mut resolver, name, now));
        let mut next = 0;
        group.bench_function(format!("cached, one of {count}"), |bencher| {
            bencher.iter(|| {
                // A prime: every name has its turn, and no two in a row are neighbours.
                next = (next + 7919) % count;
                resolver.lookup(black_box(&names[next]), client(), 1, now).expect("cached")
            });
        });
    }
    let mut resolver = resolver(full, Prefer::HappyEyeballs);
    group.bench_function("hosts file", |bencher| {
        bencher.iter(|| resolver.lookup(black_box("listed.example"), client(), 1, now).expect("listed"));
    });
    group.finish();
}

fn asked(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("asked");
    let (now, full) = (Instant::now(), full());
    for (what, entries) in [("no cache", 0), ("a cache that grows", 1 << 22), ("a full cache", full)] {
        let mut resolver = resolver(entries, Prefer::HappyEyeballs);
        let before = if entries == full { full } else { 0 };
        (0..before).for_each(|n| ask(&mut resolver, &name(n), now));
        let mut next = before;
        group.bench_function(what, |bencher| {
            let fresh = || {
                next += 1;
                name(next)
            };
            bencher.iter_batched(fresh, |name| ask(&mut resolver, &name, now), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn read(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("read");
    let now = Instant::now();
    for (what, contents) in [
        ("1 address", ONE_ADDRESS),
        ("16 addresses", Contents { aliases: 0, addresses: 16 }),
        ("2 aliases, 4 addresses", Contents { aliases: 2, addresses: 4 }),
    ] {
        group.bench_function(what, |bencher| {
            let asking = || {
                let mut resolver = resolver(0, Prefer::Ipv4Only);
                assert!(resolver.lookup("www.example.com", client(), 1, now).is_none());
                let (exchange, query) = queries(&mut resolver).pop().expect("one family is asked for");
                (resolver, exchange, answer(&query, contents))
            };
            let read = |(mut resolver, exchange, message): (Resolver, ExchangeId, Vec<u8>)| {
                resolver.received(exchange, black_box(&message), now);
                assert_eq!(addresses(&mut resolver), usize::from(contents.addresses));
                resolver
            };
            bencher.iter_batched(asking, read, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion_cpu::quick();
    known(&mut criterion);
    asked(&mut criterion);
    read(&mut criterion);
    criterion.final_summary();
}
