//! What does a session pay for its pool: to choose, and to be given its first address?
//!
//!     cargo bench --bench egress
//!
//! Keys are others each time: a key is hashed, and with `sticky` every entry is looked at. What a session that names no pool pays is
//! a part of `policy`.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use criterion::{BenchmarkId, Criterion};
use outflow::outbound::OutboundOptions;
use outflow::policy::EgressId;
use outflow::policy::egress::{Choosing, Egress, LeavingAsked, PoolSelect, PoolSpec, PoolTurns, StickyOn};

use criterion_cpu::ThreadCpu;

const POOLS: [(&str, &str); 4] = [
    ("4", "198.51.100.0/30"),
    ("254", "198.51.100.0/24"),
    ("64", "2001:db8:1::/64"),
    ("48", "2001:db8:1::/48"),
];

fn egress(addresses: &str, select: PoolSelect) -> Egress {
    let choosing =
        Choosing { select, sticky_on: vec![StickyOn::User, StickyOn::Session], ..Choosing::default() };
    let spec = PoolSpec {
        name: "pool".into(),
        addresses: vec![addresses.parse().expect("a block")],
        choosing,
        ..PoolSpec::default()
    };
    Egress::new([(EgressId(1), spec, OutboundOptions::default())], None, Instant::now())
}

fn choose(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("choose");
    for (select, name) in [
        (PoolSelect::Sticky, "sticky"),
        (PoolSelect::Random, "random"),
        (PoolSelect::RoundRobin, "round-robin"),
        (PoolSelect::LeastUsed, "least-used"),
    ] {
        for (size, addresses) in POOLS {
            if addresses.contains(':') && !matches!(select, PoolSelect::Sticky | PoolSelect::Random) {
                continue;
            }
            let (egress, mut turns, now) = (egress(addresses, select), PoolTurns::new(1), Instant::now());
            let v6 = addresses.contains(':');
            let target: IpAddr = if v6 {
                "2001:db8:ffff::1".parse().expect("an address")
            } else {
                Ipv4Addr::new(192, 0, 2, 1).into()
            };
            let sessions: Vec<String> = (0..1_000).map(|nth| format!("session{nth}")).collect();
            let mut nth = 0;
            group.bench_function(
                BenchmarkId::new(name, if v6 { format!("/{size}") } else { size.to_owned() }),
                |bencher| {
                    bencher.iter(|| {
                        nth = (nth + 1) % sessions.len();
                        let asked = LeavingAsked {
                            user: Some("a-customer"),
                            session: Some(&sessions[nth]),
                            ttl: None,
                            source: Ipv4Addr::LOCALHOST.into(),
                            reached: None,
                            target: None,
                            unix_seconds: 1_700_000_000,
                        };
                        let pool = egress.pool(EgressId(1)).expect("it is there");
                        let mut leaving = pool.choose(black_box(&asked), &mut turns);
                        black_box(pool.next(&mut leaving, target, now))
                    });
                },
            );
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion_cpu::quick();
    choose(&mut criterion);
    criterion.final_summary();
}
