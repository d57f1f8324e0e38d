//! What does the wire format of a handshake cost? Each decoder and the encoder of the reply, on whole messages.
//!
//!     cargo bench --bench proto
//!
//! A session reads one greeting, at most one login and one request, and writes one reply. All of it together should be
//! far below the microsecond that one system call costs; a change that makes it show here is a change for the worse.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/criterion_cpu.rs"]
mod criterion_cpu;

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::Criterion;
use outflow::proto::{Rep, greeting, reply, request, userpass};

use criterion_cpu::ThreadCpu;

fn decoders(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("decode");
    let greetings: [(&str, &[u8]); 2] =
        [("greeting, 1 method", b"\x05\x01\x00"), ("greeting, 3 methods", b"\x05\x03\x00\x01\x02")];
    for (name, bytes) in greetings {
        group.bench_function(name, |bencher| bencher.iter(|| greeting::decode(black_box(bytes))));
    }
    let login = b"\x01\x05alice\x10correct-horse-12";
    group.bench_function("userpass", |bencher| bencher.iter(|| userpass::decode(black_box(login))));
    let requests: [(&str, &[u8]); 5] = [
        ("request, IPv4", b"\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"),
        (
            "request, IPv6",
            b"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb",
        ),
        ("request, name", b"\x05\x01\x00\x03\x0fwww.example.com\x01\xbb"),
        ("request, name in capitals", b"\x05\x01\x00\x03\x0fWWW.EXAMPLE.COM\x01\xbb"),
        ("request, IPv4 as a name", b"\x05\x01\x00\x03\x09192.0.2.1\x01\xbb"),
    ];
    for (name, bytes) in requests {
        group.bench_function(name, |bencher| bencher.iter(|| request::decode(black_box(bytes))));
    }
    group.finish();
}

fn encoder(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("encode");
    for (name, bound) in [("reply, IPv4", "192.0.2.1:40000"), ("reply, IPv6", "[2001:db8::1]:40000")] {
        let bound: SocketAddr = bound.parse().expect("an address");
        group.bench_function(name, |bencher| {
            bencher.iter(|| reply::encode(black_box(Rep::Succeeded), black_box(bound)));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion_cpu::quick();
    decoders(&mut criterion);
    encoder(&mut criterion);
    criterion.final_summary();
}
