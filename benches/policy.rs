//! What does a verdict cost: the guard's, for each address that is to be dialled, and that of rules, of which there may be
//! 10,000, about 100,000 blocks and 1,000,000 names?
//!
//!     cargo bench --bench policy
//!
//! One session asks once for every address of its target. The guard's list is walked for special-purpose addresses alone, so
//! public ones should cost the same with any list.
//!
//! Rules are asked about what they name and about what they do not, at random. Warm, the same 64 questions come round. Anew, no
//! question comes twice, so that of a million names most of what is asked for comes from memory. Cold, something else is read
//! before each question, 4 MiB, so that nothing of the rules is in the core's own caches, or 64 MiB, so that it is in none; and
//! then other rules are asked, so that the code is. The clock is the wall's then, and what it takes itself is taken off. How
//! long rules take to be made ready and what they take of memory is told, too, and how long it takes that others come into
//! their groups.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;
#[path = "support/many_rules.rs"]
mod many_rules;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion};
use outflow::policy::rules::RuleSet;
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
/// Questions that come round, or are made before they are asked: few, so that what they take is in the first cache.
const ASKED: usize = 64;

/// How much is asked of how many rules.
struct Extent {
    sizes: &'static [ManyRules],
    /// Questions that are asked cold.
    asked_cold: usize,
    /// What is read in between, in MiB: more than a core has of its own, and more than all cores of a small machine have.
    others: &'static [usize],
}

const WHOLE: Extent = Extent { sizes: &SIZES, asked_cold: 500, others: &[4, 64] };
const ONCE: Extent = Extent { sizes: SIZES.split_at(2).0, asked_cold: 2, others: &[1] };

/// Rules of a size that are ready to answer.
fn made(size: ManyRules) -> RuleSet {
    let (specs, ids) = (size.specs(), size.ids());
    let before = cpu::used();
    let rules = RuleSet::new(specs, ids);
    let (took, bytes) = (cpu::used() - before, rules.bytes());
    let entries = (size.blocks + size.names).max(1);
    println!("{size}: made ready in {took:.2?}, {} KiB, {} bytes an entry", bytes >> 10, bytes / entries);
    rules
}

fn verdict(criterion: &mut Criterion<ThreadCpu>, extent: &Extent) {
    let mut group = criterion.benchmark_group("verdict");
    let others = made(SIZES[1]);
    for &size in extent.sizes {
        let rules = made(size);
        let asked: Vec<Asking> = (0..ASKED).map(|number| size.asking(number)).collect();
        let mut round = asked.iter().cycle();
        group.bench_function(BenchmarkId::new("warm", size), |bencher| {
            bencher.iter(|| rules.judge(&round.next().expect("a question").question()));
        });
        let groups = size.groups();
        group.bench_function(BenchmarkId::new("others in the groups", size), |bencher| {
            bencher.iter(|| rules.with_groups(&groups));
        });
        let mut numbers = ASKED..;
        group.bench_function(BenchmarkId::new("anew", size), |bencher| {
            let asking = || size.asking(numbers.next().unwrap_or_default());
            let judge = |asking: &mut Asking| rules.judge(&asking.question());
            bencher.iter_batched_ref(asking, judge, BatchSize::NumIterations(ASKED as u64));
        });
        for &mebibytes in extent.others {
            cold((size, extent.asked_cold), &rules, &others, mebibytes);
        }
    }
    group.finish();
}

/// Asks each question after other things had the caches, and tells how long it took.
fn cold((size, count): (ManyRules, usize), rules: &RuleSet, others: &RuleSet, mebibytes: usize) {
    let asked: Vec<Asking> = (0..count).map(|number| size.asking(number)).collect();
    let other = vec![1_u64; (mebibytes << 20) / size_of::<u64>()];
    let timed = |judge: &dyn Fn(&Asking)| -> Vec<Duration> {
        let time = |asking: &Asking| {
            black_box(other.iter().sum::<u64>());
            black_box(others.judge(&asking.question()));
            let begun = Instant::now();
            judge(asking);
            begun.elapsed()
        };
        let mut times: Vec<Duration> = asked.iter().map(time).collect();
        times.sort();
        times
    };
    let clock = timed(&|_| ())[count / 2];
    let times = timed(&|asking| {
        black_box(rules.judge(&asking.question()));
    });
    let at = |percent: usize| times[count * percent / 100].saturating_sub(clock);
    println!(
        "{size}: behind {mebibytes} MiB, half of them below {:?}, nine of ten below {:?}",
        at(50),
        at(90)
    );
}

fn main() {
    let mut criterion = criterion_cpu::quick();
    check(&mut criterion);
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    // Where each bench runs once it is to show that it does.
    let extent = if has("--bench") && !has("--test") { &WHOLE } else { &ONCE };
    verdict(&mut criterion, extent);
    criterion.final_summary();
}
