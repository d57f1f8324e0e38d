//! From which message size on does splice cost less CPU than copy, through the relay's own code?
//!
//!     cargo bench --bench relay
//!
//! 16 sessions have one message each, `Relay::drive` moves them from client to target, and the CPU time of that alone
//! is counted, per message: with the engine `copy`, with `splice`, and with `auto`, which should follow the cheaper of
//! the two. `limits::PROMOTE_READ_BYTES` and `limits::DEMOTE_MOVE_BYTES` rest on where the first two cross.
//!
//! Clients and targets are a thread on another CPU that takes turns with this one (`support/flows.rs` says why).
//! Loopback charges the target's side of TCP to the relay's sends, in both engines alike: the difference between two
//! engines is meant, their quotient is nearer to 1 than it is behind a card.
//!
//! `relay` has messages as a loopback send leaves them, in pieces of 32 KiB; `relay-segments` as a card without header
//! splitting leaves them, in pieces of 1448 bytes. The second is what splice likes least.
//!
//! A message stands in the client's socket whole; sizes for which net.core.rmem_max is too low are left out.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/flows.rs"]
mod flows;
#[path = "support/paired.rs"]
mod paired;

use outflow::config::RelayMode;
use outflow::relay::{Budgets, Edge, Kit, Relay, Resume, Side};
use outflow::sys::pipe::Pipe;

use flows::{FLOWS, Flow, Flows, Load};
use paired::Paired;

const SIZES: [usize; 11] =
    [64, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];

/// Feeding segments takes long, and below these a message is a handful of them.
const SIZES_IN_SEGMENTS: [usize; 5] = [16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10];

/// The relays of all flows, and what they are lent.
struct Sessions {
    relays: Vec<Relay>,
    kit: Kit<Pipe>,
}

impl Sessions {
    fn new(mode: RelayMode) -> Sessions {
        let mut kit = Kit::new(FLOWS);
        Sessions { relays: (0..FLOWS).map(|_| Relay::new(mode, &[], &mut kit)).collect(), kit }
    }

    /// One readable event: moves the message of the flow and asserts that it was all of it.
    fn relay(&mut self, at: usize, flow: &Flow, bytes: usize) {
        let relay = &mut self.relays[at];
        relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
        let mut moved = 0;
        loop {
            let driven = relay.drive(&flow.source, &flow.sink, &mut self.kit, &mut { Budgets::TURN });
            moved += driven.up.bytes();
            if driven.resume() == Resume::OnEvent {
                break;
            }
        }
        assert_eq!(moved, bytes, "the sink did not take a whole message");
    }
}

fn engines(paired: &Paired, name: &str, load_of: fn(usize) -> Load, sizes: &[usize]) {
    let engines = [RelayMode::Copy, RelayMode::Splice, RelayMode::Auto];
    for &bytes in sizes {
        let mut sessions = engines.map(Sessions::new);
        let names = ["copy", "splice", "auto"].map(str::to_owned);
        let title = format!("{name}/{bytes}");
        Flows::compare(paired, &title, &names, load_of(bytes), |engine, at, flow, bytes| {
            sessions[engine].relay(at, flow, bytes);
        });
    }
}

fn main() {
    let paired = Paired::from_args();
    engines(&paired, "relay", Load::whole, &SIZES);
    engines(&paired, "relay-segments", Load::segments, &SIZES_IN_SEGMENTS);
}
