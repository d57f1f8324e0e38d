//! A running server: its acceptor, its workers, and what they share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::acceptor::Acceptor;
use super::descriptors::DescriptorBudget;
use super::line::Voice;
use super::outlet::{Outlet, Sink};
use super::plural::count_of;
use super::snapshot::SnapshotMaker;
use super::start_error::StartError;
use super::trial::{Named, Report, Trial};
use super::users::{UsersWatch, WatchedUsers};
use super::watchdog::{Watchdog, WatchdogFinding};
use crate::admin::{Admin, Beside, InEffect, OrderLetter, ServerState, Standing, Watched, WatchedWorker};
use crate::config::{Access, Choice, Config, OnFull};
use crate::limits;
use crate::observe::{Counted, Counters, Latencies, Pulse, Totals};
use crate::sys::machine;
use crate::threads::survive;
use crate::worker::{Drill, Mail, Mailbox, Prepared, Setup, Snapshot, prepare};

/// A server whose workers run.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    acceptor: Acceptor,
    workers: Vec<RunningWorker>,
    ended: Receiver<io::Result<Latencies>>,
    running: usize,
    /// When the drain ends, once there is one.
    drains_by: Option<Instant>,
    latencies: Latencies,
    /// Where access records go, if they go anywhere.
    records: Option<Outlet>,
    snapshots: SnapshotMaker,
    /// The users file, where passwords are asked for.
    users: Option<UsersWatch>,
    /// What an operator sees and changes.
    admin: Admin,
    /// Where its orders come.
    orders: Receiver<OrderLetter>,
    beside: Beside,
    sessions_per_worker: usize,
}

#[derive(Debug)]
struct RunningWorker {
    mailbox: Mailbox,
    counters: Arc<Counters>,
    pulse: Arc<Pulse>,
    watchdog: Watchdog,
    thread: Option<JoinHandle<()>>,
}

impl RunningWorker {
    /// What the admin endpoint has of it.
    fn watched(&self) -> WatchedWorker {
        let (mailbox, counters) = (self.mailbox.clone(), self.counters.clone());
        WatchedWorker { mailbox, counters, pulse: self.pulse.clone() }
    }
}

impl Server {
    /// Reads what the configuration names, opens the listeners and starts the workers.
    ///
    /// # Errors
    /// Whatever keeps it from serving; files are read before any socket opens.
    pub fn start(config: Config) -> Result<Server, StartError> {
        let config = Arc::new(config);
        let mut named = named(&config)?;
        let budget = named.budget;
        let users = named.users.take();
        let (users, stamp) = users.map_or((None, None), |(users, stamp)| (Some(Arc::new(users)), stamp));
        let refused = |what: &dyn Fn(&mut Trial)| StartError::Named(Trial::refused(&config, what));
        let records =
            start_records(&config, budget).map_err(|error| refused(&|trial| trial.cannot_record(&error)))?;
        let acceptor = Acceptor::open(&config, named.congestion)
            .map_err(|(nth, error)| refused(&|trial| trial.cannot_listen(nth, &error)))?;
        let mut admin = Admin::default();
        let opening = admin
            .prepare(&config.admin)
            .map_err(|error| refused(&|trial| trial.cannot_administer(&error)))?;
        let own = [acceptor.addresses(), &opening.addresses()].concat();
        let snapshots = SnapshotMaker::start(config.clone(), named, users.clone(), &own)?;
        let boot = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
        let own_ports = Arc::default();
        let (sender, ended) = bounded(config.server.workers);
        let (starting, started) = bounded(config.server.workers);
        let mut workers = Vec::with_capacity(config.server.workers);
        for number in 0..config.server.workers {
            let (counters, pulse) = (Arc::new(Counters::default()), Arc::new(Pulse::default()));
            let prepared = prepare().map_err(StartError::Machine)?;
            let mailbox = prepared.mailbox();
            let setup = Setup {
                number,
                listeners: acceptor.for_worker(number),
                counters: counters.clone(),
                pulse: pulse.clone(),
                records: records.as_ref().map(|outlet| outlet.lines.clone()),
                on_full: config.log.on_full,
                own_ports: Arc::clone(&own_ports),
                boot,
                starting: Some(starting.clone()),
            };
            let thread = run(prepared, setup, snapshots.snapshot(number), sender.clone())?;
            let watchdog = Watchdog::default();
            workers.push(RunningWorker { mailbox, counters, pulse, watchdog, thread: Some(thread) });
        }
        drop((starting, sender));
        await_workers(&workers, &started, &ended)?;
        let beside = Beside::of(records.as_ref().map(|outlet| outlet.lines.clone()), snapshots.verifier());
        let (watched, orders) = watched(&config, acceptor.addresses(), budget, &workers, &beside);
        admin.configure(opening, &watched).map_err(StartError::Machine)?;
        let users = users.zip(snapshots.verifier().cloned()).zip(config.auth.users.clone());
        let users = users.map(|((users, verifier), path)| {
            let workers = workers.iter().map(|worker| worker.mailbox.clone()).collect();
            WatchedUsers { path, stamp, users, verifier, workers }
        });
        Ok(Server {
            users: users.map(UsersWatch::start).transpose().map_err(StartError::Machine)?,
            running: workers.len(),
            drains_by: None,
            config,
            acceptor,
            workers,
            ended,
            latencies: Latencies::default(),
            records,
            snapshots,
            admin,
            orders,
            beside,
            sessions_per_worker: budget.sessions_of(0),
        })
    }

    /// The addresses that it listens on, ports filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.acceptor.addresses()
    }

    /// The one line that says what runs.
    pub fn ready_line(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        let engine = self.config.server.relay.name();
        format!(
            "outflow {} ready: listening on {}; {}; relay {engine}; up to {} per worker",
            env!("CARGO_PKG_VERSION"),
            addresses.join(", "),
            count_of(self.workers.len(), "worker"),
            count_of(self.sessions_per_worker, "session"),
        )
    }

    /// What was counted so far, over all workers.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::of(self.workers.iter().map(|worker| &*worker.counters));
        self.beside.add_to(&mut totals, self.workers.iter().map(|worker| &worker.mailbox));
        totals
    }

    /// What is counted beside the workers: whoever starts something that counts tells it.
    pub(super) fn beside(&self) -> &Beside {
        &self.beside
    }

    /// Accepts what is queued, closes the listeners, and ends by then at the latest.
    pub fn drain(&mut self, by: Instant) {
        self.drains_by = Some(by);
        self.acceptor.close();
        self.snapshots.drain();
        for worker in &self.workers {
            worker.mailbox.send(Mail::Drain { by });
        }
    }

    /// Reads the local addresses anew, and gives the workers other snapshots where they changed.
    pub fn refresh_locals(&mut self) {
        if self.snapshots.refresh_locals() {
            self.send_snapshots();
        }
    }

    /// Reads the system's files about names anew where they changed, and gives the workers other snapshots then.
    pub fn refresh_names(&mut self) {
        if self.snapshots.refresh_names() {
            self.send_snapshots();
        }
    }

    fn send_snapshots(&self) {
        for (number, worker) in self.workers.iter().enumerate() {
            worker.mailbox.send(Mail::Snapshot(self.snapshots.snapshot(number)));
        }
    }

    /// Opens the access record's file anew, where another stands at its path by now.
    pub fn reopen_records(&self) {
        self.records.iter().for_each(Outlet::reopen);
    }

    /// Has the users file looked at now: otherwise that is done twice a second.
    pub fn look_at_users(&self) {
        self.users.iter().for_each(UsersWatch::look);
    }

    /// Where orders come.
    pub(super) fn orders(&self) -> &Receiver<OrderLetter> {
        &self.orders
    }

    /// Where workers report their end.
    pub(super) fn ended(&self) -> &Receiver<io::Result<Latencies>> {
        &self.ended
    }

    /// Takes note of one worker's end; true when it was the last.
    pub(super) fn note_end(&mut self, end: Option<io::Result<Latencies>>) -> bool {
        if let Some(Ok(latencies)) = end {
            self.latencies.merge(&latencies);
        }
        self.running = self.running.saturating_sub(1);
        self.running == 0
    }

    /// Waits for the threads of a drained server and for the last record.
    pub fn finish(&mut self) -> Latencies {
        while self.running > 0 {
            let end = self.ended.recv().ok();
            self.note_end(end);
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
        self.admin.stop();
        if let Some(records) = &self.records {
            records.finish();
        }
        self.latencies.clone()
    }

    /// Whether a worker should have ended by now and has not: it stands still, and would keep the process for ever.
    pub(super) fn overdue(&self) -> bool {
        self.running > 0 && self.drains_by.is_some_and(|by| by + limits::DRAIN_SLACK <= Instant::now())
    }

    /// What is to be done once a second.
    pub(super) fn every_second(&mut self) {
        self.look_at_workers();
        survive(|| self.refresh_names()).unwrap_or_default();
    }

    /// Looks whether every worker turns, a second after the last look.
    pub fn look_at_workers(&mut self) {
        for (worker, watched) in self.workers.iter_mut().enumerate() {
            match watched.watchdog.look(&watched.pulse) {
                Some(WatchdogFinding::Stalls(activity)) => {
                    watched.counters.count(Counted::Stall);
                    let (doing, patience) = (activity.name(), limits::STALL_PATIENCE);
                    tracing::error!(worker, doing, "a worker has been in one turn for {patience:?}");
                }
                Some(WatchdogFinding::TurnsAgain) => {
                    tracing::warn!(worker, "a worker that stood still turns again")
                }
                None => {}
            }
        }
    }

    /// Makes a worker fail in its next turn: how what follows is tested.
    #[doc(hidden)]
    pub fn drill(&self, number: usize, drill: Drill) {
        self.workers[number].mailbox.send(Mail::Drill(drill));
    }
}

/// What the admin endpoint has of a server that begins to serve, and where its orders come.
fn watched(
    config: &Arc<Config>,
    listening: &[SocketAddr],
    budget: DescriptorBudget,
    workers: &[RunningWorker],
    beside: &Beside,
) -> (Watched, Receiver<OrderLetter>) {
    let in_effect = InEffect {
        state: ServerState::Serving,
        config: config.clone(),
        listening: listening.to_vec(),
        sessions_max: (0..workers.len()).map(|number| budget.sessions_of(number)).collect(),
        level: config.log.level,
    };
    let (sender, orders) = bounded(limits::ORDERS_QUEUED_MAX);
    let workers = workers.iter().map(RunningWorker::watched).collect();
    let standing = Arc::new(Standing::new(in_effect));
    (Watched { workers, beside: beside.clone(), standing, orders: sender }, orders)
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
    snapshot: Arc<Snapshot>,
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
            end.tell(prepared.run(setup, snapshot));
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

/// What the configuration names; warnings about it go to the log.
fn named(config: &Config) -> Result<Named, StartError> {
    let mut trial = Trial::of(config);
    let named = trial.named();
    let Report { errors, warnings } = trial.into_report();
    warnings.lines().for_each(|line| tracing::warn!("{line}"));
    named.ok_or(StartError::Named(errors))
}

/// The outlet of the access records, if they are wanted.
fn start_records(config: &Config, budget: DescriptorBudget) -> io::Result<Option<Outlet>> {
    let sink = match &config.log.access {
        Access::Off => return Ok(None),
        Access::Stdout => Sink::Stdout,
        Access::Path(path) => Sink::Path(path.clone()),
    };
    let promised = match config.log.on_full {
        OnFull::Drop => 0,
        OnFull::Refuse => budget.sessions * limits::RECORD_ROOM_PER_SESSION,
    };
    let room = limits::RECORDS_QUEUE_BYTES_MAX + promised;
    Outlet::start("records", sink, Voice::Records, room).map(Some)
}
