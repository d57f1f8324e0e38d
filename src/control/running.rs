//! Workers on threads of their own, as the control thread has them.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::acceptor::Acceptor;
use super::post::Post;
use super::snapshot::SnapshotMaker;
use super::start_error::StartError;
use super::watchdog::Watchdog;
use crate::admin::WatchedWorker;
use crate::config::Config;
use crate::observe::{Counters, Latencies, Pulse};
use crate::policy::Policy;
use crate::sys::machine;
use crate::worker::{Mail, Mailbox, MemoryRoom, Prepared, Setup, Snapshot, prepare};

/// A worker that runs.
#[derive(Debug)]
pub(super) struct RunningWorker {
    pub(super) mailbox: Mailbox,
    pub(super) counters: Arc<Counters>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) memory: Arc<MemoryRoom>,
    pub(super) watchdog: Watchdog,
    /// What it had no room for.
    pub(super) post: Post,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl RunningWorker {
    /// What the admin endpoint has of it.
    pub(super) fn watched(&self) -> WatchedWorker {
        let (mailbox, counters) = (self.mailbox.clone(), self.counters.clone());
        WatchedWorker { mailbox, counters, pulse: self.pulse.clone() }
    }
}

/// The boot that sessions' numbers have: the second of the start, and behind that of the server before this one.
pub(super) fn boot_behind(before: Option<u32>) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
    before.map_or(now, |before| now.max(before.saturating_add(1)))
}

/// Starts the workers, and waits until all of them run; gives where they tell how they ended, too. They accept from the start
/// where there is an acceptor.
pub(super) fn run_workers(
    config: &Config,
    acceptor: Option<&Acceptor>,
    snapshots: &SnapshotMaker,
    boot: u32,
) -> Result<(Vec<RunningWorker>, Receiver<io::Result<Latencies>>), StartError> {
    let own_ports = Arc::default();
    let (sender, ended) = bounded(config.server.workers);
    let (starting, started) = bounded(config.server.workers);
    let mut workers = Vec::with_capacity(config.server.workers);
    for number in 0..config.server.workers {
        let (counters, pulse) = (Arc::new(Counters::default()), Arc::new(Pulse::default()));
        let memory = Arc::new(MemoryRoom::default());
        let prepared = prepare().map_err(StartError::Machine)?;
        let mailbox = prepared.mailbox();
        let setup = Setup {
            number,
            listeners: acceptor.map(|acceptor| acceptor.for_worker(number)).unwrap_or_default(),
            counters: counters.clone(),
            pulse: pulse.clone(),
            own_ports: Arc::clone(&own_ports),
            memory: memory.clone(),
            boot,
            starting: Some(starting.clone()),
        };
        let thread = run(prepared, setup, (snapshots.snapshot(number), snapshots.policy()), sender.clone())?;
        let watchdog = Watchdog::default();
        let (post, thread) = (Post::default(), Some(thread));
        workers.push(RunningWorker { mailbox, counters, pulse, memory, watchdog, post, thread });
    }
    drop((starting, sender));
    await_workers(&workers, &started, &ended)?;
    Ok((workers, ended))
}

/// Waits until every worker accepts.
fn await_workers(
    workers: &[RunningWorker],
    started: &Receiver<()>,
    ended: &Receiver<io::Result<Latencies>>,
) -> Result<(), StartError> {
    for _ in workers {
        // Disconnected before all have spoken: one of them could not start.
        if started.recv().is_err() {
            workers.iter().for_each(|worker| worker.mailbox.send(Mail::Drain { by: Instant::now() }));
            let failure = ended.iter().find_map(Result::err);
            return Err(StartError::Machine(failure.unwrap_or_else(|| io::ErrorKind::Other.into())));
        }
    }
    Ok(())
}

/// Runs a worker on a thread of its own, which says how it ended.
fn run(
    prepared: Prepared,
    setup: Setup,
    (snapshot, policy): (Arc<Snapshot>, Arc<Policy>),
    ended: Sender<io::Result<Latencies>>,
) -> Result<JoinHandle<()>, StartError> {
    let number = setup.number;
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || {
            let mut end = EndGuard(Some(ended));
            if snapshot.config.server.pin && !machine::pin_to_cpu(number) {
                tracing::warn!(worker = number, "cannot be pinned to a CPU");
            }
            machine::sleep_to_the_microsecond();
            end.tell(prepared.run(setup, snapshot, policy));
        })
        .map_err(StartError::Machine)
}

/// Tells the control thread how a worker's thread ended, whatever ends it.
struct EndGuard(Option<Sender<io::Result<Latencies>>>);

impl EndGuard {
    fn tell(&mut self, end: io::Result<Latencies>) {
        if let Some(ended) = self.0.take() {
            let _ = ended.send(end);
        }
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.tell(Err(io::Error::other("its thread panicked")));
    }
}
