//! What a worker is given for as long as it lives.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::acceptance::Acceptance;
use super::memory_room::MemoryRoom;
use super::snapshot::{Changeover, NumberedListener, Snapshot};
use crate::observe::{Counters, Latencies, Pulse};
use crate::policy::own_ports::OwnPorts;
use crate::policy::{Nat64, Policy};

/// Everything that a worker is given for good; what may change is in its snapshot.
#[derive(Debug)]
pub struct Setup {
    /// Its number, and the CPU it keeps to.
    pub number: usize,
    /// Its socket of every listener.
    pub listeners: Vec<NumberedListener>,
    /// The counters that it writes.
    pub counters: Arc<Counters>,
    /// Where it shows what it is doing.
    pub pulse: Arc<Pulse>,
    /// The UDP ports that associations have open, all workers' together.
    pub own_ports: Arc<OwnPorts>,
    /// How many sessions there is memory for.
    pub memory: Arc<MemoryRoom>,
    /// What makes session numbers unique over restarts.
    pub boot: u32,
    /// Told once the worker accepts.
    pub starting: Option<Sender<()>>,
}

/// What else a worker begins with: from control, or from the worker that panicked in its place.
#[derive(Debug)]
pub(super) struct Inherited {
    pub(super) snapshot: Arc<Snapshot>,
    /// Without the translators that a worker knows of.
    pub(super) policy: Arc<Policy>,
    /// What is to be gone over to at once.
    pub(super) next: Option<Changeover>,
    pub(super) first_serial: u64,
    /// How long things took until now.
    pub(super) latencies: Latencies,
    /// The NAT64 prefixes that name servers showed to the worker before this one.
    pub(super) shown: Vec<Nat64>,
    /// Its listeners, those that go among them.
    pub(super) acceptance: Acceptance,
}

impl Inherited {
    /// What the first worker of a thread begins with.
    pub(super) fn first(snapshot: Arc<Snapshot>, policy: Arc<Policy>, acceptance: Acceptance) -> Inherited {
        let (latencies, shown) = (Latencies::default(), Vec::new());
        Inherited { snapshot, policy, next: None, first_serial: 0, latencies, shown, acceptance }
    }
}
