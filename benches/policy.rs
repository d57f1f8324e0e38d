//! What does a verdict cost: the guard's, for each address that is to be dialled, and that of rules, of which there may be
//! 10,000, about 100,000 blocks and 1,000,000 names?
//!
//!     cargo bench --bench policy
//!
//! One session asks once for every address of its target. The guard's list is walked for special-purpose addresses alone, so
//! public ones should cost the same with any list.
//!
//! Rules are asked about what they name and about what they do not, at random. Warm, the same 4,096 questions come round:
//! what the sets of all of them stand in is more than the first cache holds. Cold, 64 MiB of something else are read before
//! each question, so that neither data nor code is in any cache; what the clock itself takes then is taken off. How long rules
//! take to be made ready and what they take of memory is told, too.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;
#[path = "support/many_rules.rs"]
mod many_rules;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use outflow::policy::{Guard, Locals};

use criterion_cpu::ThreadCpu;
use many_rules::{Asking, ManyRules};

const ADDRESSES: [(&str, &str); 8] = [
    ("public IPv4", "93.184.215.14:443"),
    ("public IPv6", "[2606:2800:21f:cb07::1]:443"),
    ("private IPv4", "192.168.1.1:443"),
    ("unique local IPv6", "[fd00::1]:443"),
    ("IPv4 in NAT64", "[64:ff9b::c0a8:101]:443"),
    ("own listener", "192.0.2.80:1080"),
    ("own listener by loopback", "127.0.0.1:1080"),
    ("public, our port", "93.184.215.14:1080"),
];

/// A guard as a gateway has it: a wildcard listener, four interfaces, and `blocks` exempt ones of which the last
/// exempts none of the addresses above.
fn guard(blocks: u8) -> Guard {
    let allow = (0..blocks).map(|n| format!("10.{n}.0.0/16").parse().expect("a block")).collect();
    let own = vec!["0.0.0.0:1080".parse().expect("an address")];
    let locals = (80..84).map(|n| IpAddr::from(Ipv4Addr::new(192, 0, 2, n)));
    Guard::new(false, allow, own).with_locals(Locals::new(locals))
}

fn check(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("check");
    for blocks in [0, 100] {
        let guard = guard(blocks);
        for (name, address) in ADDRESSES {
            let address: SocketAddr = address.parse().expect("an address");
            let id = BenchmarkId::new(name, format!("{blocks} allowed"));
            group.bench_function(id, |bencher| bencher.iter(|| guard.check(black_box(address))));
        }
    }
    group.finish();
}

/// Rules, blocks and names.
const SIZES: [ManyRules; 3] = [
    ManyRules { rules: 1, blocks: 0, names: 0 },
    ManyRules { rules: 100, blocks: 1_000, names: 10_000 },
    ManyRules { rules: 10_000, blocks: 100_000, names: 1_000_000 },
];
/// Questions that come round.
const ASKED: usize = 4_096;
/// Questions that are asked cold.
const ASKED_COLD: usize = 500;
/// What is read in between: more than any cache of a server has for one core.
const OTHER_BYTES: usize = 64 << 20;

fn verdict(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("verdict");
    for size in SIZES {
        let specs = size.specs();
        let ids = size.ids();
        let begun = Instant::now();
        let rules = outflow::policy::rules::RuleSet::new(specs, ids);
        let took = begun.elapsed();
        let entries = size.blocks + size.names;
        println!(
            "{size}: made ready in {took:.2?}, {} KiB, {} bytes an entry",
            rules.bytes() >> 10,
            rules.bytes() / entries.max(1)
        );
        let asked: Vec<Asking> = (0..ASKED).map(|number| size.asking(number)).collect();
        let mut round = asked.iter().cycle();
        group.bench_function(BenchmarkId::new("warm", size), |bencher| {
            bencher.iter(|| rules.judge(&round.next().expect("a question").question()));
        });
        if criterion_runs_benches() {
            cold(size, &asked, |asking| {
                black_box(rules.judge(&asking.question()));
            });
        }
    }
    group.finish();
}

/// Whether it is more than a look whether all benches run.
fn criterion_runs_benches() -> bool {
    !std::env::args().any(|argument| argument == "--test")
}

/// Asks each question after other things had the caches, and tells how long it took.
fn cold(size: ManyRules, asked: &[Asking], judge: impl Fn(&Asking)) {
    let other = vec![1_u64; OTHER_BYTES / size_of::<u64>()];
    let timed = |work: &dyn Fn(&Asking)| -> Vec<Duration> {
        let time = |asking: &Asking| {
            black_box(other.iter().sum::<u64>());
            let begun = Instant::now();
            work(asking);
            begun.elapsed()
        };
        let mut times: Vec<Duration> = asked.iter().take(ASKED_COLD).map(time).collect();
        times.sort();
        times
    };
    let (clock, times) = (timed(&|_| ()), timed(&judge));
    let at = |percent: usize| {
        let place = ASKED_COLD * percent / 100;
        times[place].saturating_sub(clock[ASKED_COLD / 2])
    };
    println!("{size}: cold, median {:?}, nine of ten below {:?}", at(50), at(90));
}

fn main() {
    let mut criterion = criterion_cpu::quick();
    check(&mut criterion);
    verdict(&mut criterion);
    criterion.final_summary();
}
