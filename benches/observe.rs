//! What does it cost a worker to time its own turns and to tell of what it timed, and the admin thread to write a scrape?
//!
//!     cargo bench --bench observe
//!
//! A turn of a busy worker takes some microseconds and is timed twice, as a turn and as a delay. Telling is one letter for
//! each scrape and each second: a copy into memory that came with the letter, or into memory of its own.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use outflow::observe::{
    Counted, Counters, Latencies, Observed, TIMED, Timed, Totals, WorkerObserved, exposition,
};

use criterion_cpu::ThreadCpu;

/// Durations as a worker meets them, spread over many cells.
fn busy() -> Latencies {
    let mut latencies = Latencies::default();
    for step in 1..3_000_u64 {
        TIMED.iter().for_each(|entry| latencies.record(entry.what, Duration::from_micros(step * step * 7)));
    }
    latencies
}

fn worker(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("worker");
    let (mut latencies, mut us) = (busy(), 0);
    group.bench_function("timing one turn", |bencher| {
        bencher.iter(|| {
            us = (us + 37) % 200;
            latencies.record(Timed::Turn, black_box(Duration::from_micros(us)));
            latencies.record(Timed::Delay, black_box(Duration::from_micros(2 * us)));
        });
    });
    let counters = Counters::default();
    group.bench_function("one count", |bencher| {
        bencher.iter(|| counters.count(black_box(Counted::DialBegun)));
    });
    let (busy, mut copy) = (busy(), Latencies::default());
    group.bench_function("telling, into memory that came", |bencher| bencher.iter(|| copy.merge(&busy)));
    group.bench_function("telling, in memory of its own", |bencher| {
        bencher.iter_batched(|| (), |()| busy.clone(), BatchSize::PerIteration);
    });
    group.finish();
}

fn scrape(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("scrape");
    for workers in [2, 64] {
        let observed = || Observed {
            relay: "auto",
            totals: Totals::of([&Counters::default()]),
            latencies: busy(),
            workers: vec![WorkerObserved::default(); workers],
            rules: Vec::new(),
            limits: Vec::new(),
            listeners: Vec::new(),
            pools: Vec::new(),
            parents: Vec::new(),
            quota_store: None,
            process: None,
        };
        println!("{} bytes of {workers} workers", exposition(observed()).len());
        group.bench_function(format!("writing it, {workers} workers"), |bencher| {
            bencher.iter_batched(observed, exposition, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion_cpu::quick();
    worker(&mut criterion);
    scrape(&mut criterion);
    criterion.final_summary();
}
