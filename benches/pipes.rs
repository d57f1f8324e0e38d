//! How large should a pipe be, how much should one splice pull, and how much should one copy read?
//!
//!     cargo bench --bench pipes
//!
//! 1 MiB waits in each of 16 sockets, or 512 KiB where it comes in segments. The bench moves it all to 16 other sockets
//! and counts the CPU time of that alone, for one such load and for a GB:
//!
//! - `pipe`: with splice, through pipes of different sizes;
//! - `pull`: with splice, in pulls of different lengths, through a pipe of `limits::PIPE_BYTES`;
//! - `piece`: with recv and send, in pieces of different lengths. `limits::SCRATCH_BYTES` is the length of a piece.
//!
//! A pipe's size counts slots of 4 KiB each, and a slot holds one piece of the socket's data, whatever its length: 32
//! KiB after a loopback send (`whole`), 1448 bytes after an Ethernet frame (`segments`). So loopback alone would make
//! small pipes look better than they are behind a card.
//!
//! `support/flows.rs` says who feeds and reads. net.core.rmem_max must let a socket hold the load.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/flows.rs"]
mod flows;
#[path = "support/paired.rs"]
mod paired;

use outflow::limits;
use outflow::sys::pipe::Pipe;
use outflow::sys::{Read, Write};

use flows::{Flow, Flows, Load};
use paired::Paired;

const PIPES: [usize; 7] = [16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
/// Of pulls and of pieces.
const LENGTHS: [usize; 6] = [16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];

/// Moves `bytes` through the pipe, at most `pull_bytes` at a time.
fn splice(pipe: &Pipe, pull_bytes: usize, flow: &Flow, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        let Read::Bytes(mut held) = pipe.fill_from(&flow.source, pull_bytes) else {
            panic!("the source was to hold {left} bytes more");
        };
        left -= held;
        while held > 0 {
            match pipe.drain_to(&flow.sink, held) {
                Write::Bytes(count) => held -= count,
                other => panic!("the sink was to take {held} bytes more: {other:?}"),
            }
        }
    }
}

/// Moves `bytes` through memory, at most `room` at a time.
fn copy(room: &mut [u8], flow: &Flow, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        let Read::Bytes(count) = flow.source.recv(room) else {
            panic!("the source was to hold {left} bytes more");
        };
        left -= count;
        assert_eq!(flow.sink.send(&room[..count]), Write::Bytes(count), "the sink has room for a load");
    }
}

/// One pipe for each size, used by one flow after the other.
fn sizes(paired: &Paired, layout: &str, load: Load) {
    let pipes = PIPES.map(|size| Pipe::open(size).expect("a pipe can be had"));
    Flows::compare(paired, &format!("pipe-{layout}"), &PIPES.map(kibibytes), load, |way, _, flow, bytes| {
        splice(&pipes[way], limits::PIPE_BYTES, flow, bytes);
    });
}

fn pulls(paired: &Paired, layout: &str, load: Load) {
    let pipe = Pipe::open(limits::PIPE_BYTES).expect("a pipe can be had");
    let (lengths, names) = lengths(load);
    Flows::compare(paired, &format!("pull-{layout}"), &names, load, |way, _, flow, bytes| {
        splice(&pipe, lengths[way], flow, bytes);
    });
}

fn pieces(paired: &Paired, layout: &str, load: Load) {
    let mut scratch = vec![0; load.bytes];
    let (lengths, names) = lengths(load);
    Flows::compare(paired, &format!("piece-{layout}"), &names, load, |way, _, flow, bytes| {
        copy(&mut scratch[..lengths[way]], flow, bytes);
    });
}

/// The lengths that the load is not shorter than, and their names.
fn lengths(load: Load) -> (Vec<usize>, Vec<String>) {
    LENGTHS
        .into_iter()
        .filter(|length| *length <= load.bytes)
        .map(|length| (length, kibibytes(length)))
        .unzip()
}

fn kibibytes(bytes: usize) -> String {
    format!("{} KiB", bytes >> 10)
}

fn main() {
    let paired = Paired::from_args();
    for (layout, load) in [("whole", Load::whole(1 << 20)), ("segments", Load::segments(512 << 10))] {
        sizes(&paired, layout, load);
        pulls(&paired, layout, load);
        pieces(&paired, layout, load);
    }
}
