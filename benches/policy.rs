//! What does the guard cost for each address that is to be dialled, and what does a long `guard.allow` add?
//!
//!     cargo bench --bench policy
//!
//! One session asks once for every address of its target. The list is walked for special-purpose addresses alone, so
//! public ones should cost the same with any list.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use criterion::{BenchmarkId, Criterion};
use outflow::policy::{Guard, Locals};

use criterion_cpu::ThreadCpu;

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

fn main() {
    let mut criterion = criterion_cpu::quick();
    check(&mut criterion);
    criterion.final_summary();
}
