//! A running server: its acceptor, its workers, and what they share.

mod changes;
mod handover;
mod opened;
mod parts;
mod prepared;

pub(super) use changes::Changing;
pub(super) use prepared::PreparedServer;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;

use self::opened::OpenedListeners;
use self::parts::parts_of;
use super::acceptor::Acceptor;
use super::descriptors::DescriptorBudget;
use super::egress_watch::EgressWatch;
use super::handover::{HandoverSides, Inheritance, Predecessor};
use super::line::Voice;
use super::memory::MemoryWatch;
use super::outlet::Outlet;
use super::plural::count_of;
use super::quota_keeper::QuotaKeeper;
use super::reload::{records_room, sink_of};
use super::running::{RunningWorker, boot_behind, run_workers};
use super::sandbox::Confinement;
use super::snapshot::{Parts, SnapshotMaker};
use super::start_error::StartError;
use super::trial::Trial;
use super::users::{UsersFile, UsersWatch};
use super::vitals::{Observation, VitalSight};
use super::watchdog::WatchdogFinding;
use crate::admin::{
    Admin, AdminOpening, Beside, InEffect, OrderLetter, ServerState, StalledWorker, Standing, Vitals, Watched,
};
use crate::config::{Choice, Config, OnFull};
use crate::limits;
use crate::observe::{Counted, EgressInEffect, Latencies, ListenersInEffect, NameAnswer, Totals};
use crate::threads::survive;
use crate::worker::{Changeover, Drill, Latch, Mail};

/// A server whose workers run.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    acceptor: Acceptor,
    /// The servers before and behind this one.
    handover: HandoverSides,
    workers: Vec<RunningWorker>,
    ended: Receiver<io::Result<Latencies>>,
    running: usize,
    /// When the drain ends, once there is one.
    drains_by: Option<Instant>,
    latencies: Latencies,
    /// Where access records go, if they go anywhere.
    records: Option<Outlet>,
    snapshots: SnapshotMaker,
    /// What keeps what is used of quotas, where there is a place for it.
    quotas: Option<QuotaKeeper>,
    /// What is done for pools once a second.
    egress_watch: EgressWatch,
    /// The users file, where passwords are asked for.
    users: Option<UsersWatch>,
    /// What an operator sees and changes.
    admin: Admin,
    /// How it stands, for whoever asks.
    standing: Arc<Standing>,
    /// What operators want of it; the sending end is kept, so that there is one to give away.
    orders: (Sender<OrderLetter>, Receiver<OrderLetter>),
    beside: Beside,
    /// Where latches tell that all workers have done something.
    settled: (Sender<()>, Receiver<()>),
    /// The records' sink is closed once this is let go of: nobody writes any more.
    rests_after: Option<Weak<Latch>>,
    /// The endpoint that comes once every worker keeps clients from it.
    admin_opens: Option<(AdminOpening, Weak<Latch>)>,
    /// Addresses of the endpoint that workers keep clients from until it has closed them.
    admin_closes: Option<(Vec<SocketAddr>, Weak<Latch>)>,
    sessions_per_worker: usize,
    observation: Observation,
    /// What it has given up.
    confinement: Arc<Confinement>,
    memory: MemoryWatch,
}

impl Server {
    /// Reads what the configuration names, opens the listeners and starts the workers.
    ///
    /// # Errors
    /// Whatever keeps it from serving; files are read before any socket opens.
    pub fn start(config: Config) -> Result<Server, StartError> {
        let prepared = PreparedServer::of(&config, Confinement::default());
        Server::start_prepared(config, prepared, Inheritance::default(), None)
    }

    /// As [`Server::start`], from a thread that then has no more rights than the server needs, nor have those that it starts: how that
    /// is tested.
    #[doc(hidden)]
    pub fn start_confined(config: Config) -> Result<Server, StartError> {
        let prepared = PreparedServer::confined(&config, None).map_err(StartError::Named)?;
        Server::start_prepared(config, prepared, Inheritance::default(), None)
    }

    /// Opens the listeners and starts the workers of a configuration whose files have been read, with what another process gave:
    /// a server whose place it takes, where there is one.
    ///
    /// # Errors
    /// As [`Server::start`], and what keeps it from taking that place.
    pub(super) fn start_prepared(
        config: Config,
        prepared: PreparedServer,
        inheritance: Inheritance,
        predecessor: Option<&Predecessor>,
    ) -> Result<Server, StartError> {
        let config = Arc::new(config);
        let (named, confinement) = prepared.tell()?;
        let (budget, congestion) = (named.budget, named.congestion);
        let refused = |what: &dyn Fn(&mut Trial)| StartError::Named(Trial::refused(&config, what));
        let records =
            start_records(&config, budget).map_err(|error| refused(&|trial| trial.cannot_record(&error)))?;
        let OpenedListeners { mut acceptor, takeover, admin, opening } =
            OpenedListeners::open(&config, congestion, inheritance)?;
        let serves = predecessor.is_none();
        if serves {
            acceptor.settle(&config, congestion);
        }
        let (parts, users) = parts_of(&config, named, records.as_ref())?;
        let snapshots = snapshot_maker(&config, parts, &acceptor, &opening);
        let quotas = if serves { start_quotas(&config, &snapshots)? } else { None };
        let boot = boot_behind(predecessor.map(Predecessor::boot));
        let (workers, ended) = run_workers(&config, serves.then_some(&acceptor), &snapshots, boot)?;
        let beside =
            Beside::of(records.as_ref().map(|outlet| outlet.lines.clone()), snapshots.verifier().as_ref());
        let handover = HandoverSides::new(takeover, boot);
        let standing =
            Arc::new(standing(&config, (&acceptor, &handover), budget, &snapshots, quotas.as_ref()));
        let (orders, settled) = (bounded(limits::ORDERS_QUEUED_MAX), bounded(1));
        beside.set_contexts(snapshots.contexts());
        beside.set_quota_store(quotas.as_ref().map(|keeper| keeper.health().clone()));
        let users = start_users(users, &snapshots, &workers)?;
        let mut server = Server {
            users,
            running: workers.len(),
            drains_by: None,
            config,
            acceptor,
            handover,
            workers,
            ended,
            latencies: Latencies::default(),
            records,
            snapshots,
            quotas,
            egress_watch: EgressWatch::default(),
            admin,
            standing,
            orders,
            beside,
            settled,
            rests_after: None,
            admin_opens: None,
            admin_closes: None,
            sessions_per_worker: budget.sessions_of(0),
            observation: Observation::default(),
            confinement: Arc::new(confinement),
            memory: MemoryWatch::new(),
        };
        server.follow_groups();
        match predecessor {
            Some(predecessor) => server.take_place_of(predecessor, opening)?,
            None => server.open_admin(opening)?,
        }
        Ok(server)
    }

    /// Where clients come in, in words: addresses, ports filled in, and unix sockets.
    pub(super) fn listening(&self) -> Vec<String> {
        self.acceptor.listening()
    }

    /// The addresses that it listens on, ports filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.acceptor.addresses()
    }

    /// The configuration in effect.
    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What it has given up, in words; `None` where that is nothing.
    pub(super) fn confined(&self) -> Option<&str> {
        self.confinement.summary()
    }

    /// The one line that says what runs.
    pub fn ready_line(&self) -> String {
        let addresses = self.acceptor.listening();
        let engine = self.config.server.relay.name();
        let file =
            self.config.file().map_or(String::new(), |file| format!("; configuration {}", file.display()));
        format!(
            "outflow {} ready: listening on {}; {}; relay {engine}; up to {} per worker{file}",
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
        self.handover.ending.by(by);
        self.acceptor.close();
        self.snapshots.drain();
        self.workers.iter_mut().for_each(|worker| worker.post.drain(by));
        self.post();
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

    fn send_snapshots(&mut self) {
        for (number, worker) in self.workers.iter_mut().enumerate() {
            worker.post.change(Changeover::to(self.snapshots.snapshot(number), self.snapshots.policy()));
        }
        self.post();
    }

    /// Opens the access record's file anew, where another stands at its path by now.
    pub fn reopen_records(&self) {
        self.records.iter().for_each(Outlet::reopen);
    }

    /// Has the users file looked at now: otherwise that is done twice a second.
    pub fn look_at_users(&self) {
        self.users.iter().for_each(UsersWatch::look);
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
            self.post();
            match self.ended.recv_timeout(limits::CONTROL_RETRY) {
                Err(RecvTimeoutError::Timeout) => {}
                end => {
                    self.note_end(end.ok());
                }
            }
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
        self.end_telling();
        self.admin.stop();
        self.quotas = None;
        self.snapshots.finish_learning();
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
        self.memory.tell(&self.workers);
        self.snapshots.every_second();
        self.end_spent();
        let EgressInEffect(egress) = self.egress();
        survive(|| self.egress_watch.look(egress.as_ref(), Instant::now())).unwrap_or_default();
        self.quotas.iter().for_each(|keeper| keeper.look(Instant::now()));
        survive(|| self.refresh_names()).unwrap_or_default();
    }

    /// The pools in effect.
    fn egress(&self) -> EgressInEffect {
        EgressInEffect(self.snapshots.made_rules().ways.egress.clone())
    }

    /// Has the workers end the sessions whose quota is used up, where there may be such.
    fn end_spent(&mut self) {
        if self.snapshots.accounts().take_spent() {
            self.workers.iter_mut().for_each(|worker| worker.post.end_spent());
            self.post();
        }
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

    /// How the server fares; to be asked once a second, after [`Server::look_at_workers`].
    pub(super) fn vitals(&mut self) -> Vitals {
        let each = || self.workers.iter().enumerate();
        let full = |(number, worker): (usize, &RunningWorker)| {
            let counted = Totals::of([&*worker.counters]);
            let held = counted.active() + counted.count_of(Counted::Associations);
            held >= self.snapshots.ceilings(number).sessions as u64
                || counted.active() >= worker.memory.sessions() as u64
        };
        let totals = self.totals();
        self.observation.look(VitalSight {
            full: each().any(full),
            server_answers: totals.count_of(Counted::NameServerAnswers),
            names_failed: [NameAnswer::ServerFailure, NameAnswer::Timeout, NameAnswer::NoServers]
                .into_iter()
                .map(|answer| totals.count_of(Counted::Name(answer)))
                .sum(),
        });
        let stalled = each().filter_map(|(number, worker)| {
            Some(StalledWorker { number, since: worker.watchdog.stalled_for()? })
        });
        let must_record = self.config.log.on_full == OnFull::Refuse;
        let records = self.records.as_ref().filter(|_| must_record);
        Vitals {
            looked_at: Instant::now(),
            stalled: stalled.collect(),
            at_ceiling: self.observation.at_ceiling(),
            no_name_server: self.observation.no_name_server(),
            cannot_record: records
                .is_some_and(|records| !records.takes_lines(limits::RECORD_ROOM_PER_SESSION)),
            degraded: self.quotas.as_ref().and_then(|keeper| keeper.trouble(Instant::now())),
        }
    }

    /// Tells quotas that it is so much later: how their periods are tested.
    #[doc(hidden)]
    pub fn tell_quotas(&mut self, later: Duration) {
        let now = Timestamp::now().checked_add(later).unwrap_or(Timestamp::MAX);
        self.snapshots.tell_quotas(now, Instant::now() + later);
    }

    /// Makes a worker fail in its next turn: how what follows is tested.
    #[doc(hidden)]
    pub fn drill(&self, number: usize, drill: Drill) {
        self.workers[number].mailbox.send(Mail::Drill(drill));
    }
}

/// What makes snapshots. No client may reach the listeners, nor the endpoint that is to open.
fn snapshot_maker(
    config: &Arc<Config>,
    parts: Parts,
    acceptor: &Acceptor,
    opening: &AdminOpening,
) -> SnapshotMaker {
    let own = [acceptor.addresses(), &opening.addresses()].concat();
    SnapshotMaker::new(Arc::clone(config), parts, own, acceptor.names())
}

/// What keeps what is used of quotas, where there is a place for it: accounts have by then what was used before.
fn start_quotas(config: &Config, snapshots: &SnapshotMaker) -> Result<Option<QuotaKeeper>, StartError> {
    let start = |path| QuotaKeeper::start(path, snapshots.accounts(), snapshots.holder_names());
    let refused = |what: String| StartError::Named(Trial::refused(config, &|trial| trial.cannot_keep(&what)));
    config.server.state.as_deref().map(start).transpose().map_err(refused)
}

/// What follows the users file, where passwords are asked for.
fn start_users(
    file: Option<UsersFile>,
    snapshots: &SnapshotMaker,
    workers: &[RunningWorker],
) -> Result<Option<UsersWatch>, StartError> {
    let Some((file, verifier)) = file.zip(snapshots.verifier()) else { return Ok(None) };
    let workers = workers.iter().map(|worker| worker.mailbox.clone()).collect();
    UsersWatch::start(file, verifier, workers).map(Some).map_err(StartError::Machine)
}

/// How a server stands whose workers accept.
fn standing(
    config: &Arc<Config>,
    (acceptor, handover): (&Acceptor, &HandoverSides),
    budget: DescriptorBudget,
    snapshots: &SnapshotMaker,
    quotas: Option<&QuotaKeeper>,
) -> Standing {
    let now = Instant::now();
    Standing::new(InEffect {
        state: ServerState::Serving,
        config: Arc::clone(config),
        listening: acceptor.listening(),
        sessions_max: budget.sessions_of_each(),
        level: config.log.level,
        rules: snapshots.rules(),
        limits: snapshots.limits(),
        listeners: ListenersInEffect::default().followed_by(snapshots.listeners(), std::iter::empty()),
        egress: EgressInEffect(snapshots.made_rules().ways.egress.clone()),
        older: handover.earlier.clone(),
        vitals: Vitals { degraded: quotas.and_then(|keeper| keeper.trouble(now)), ..Vitals::good(now) },
    })
}

/// What the admin endpoint looks at, and whom it asks.
fn watched(
    workers: &[RunningWorker],
    standing: &Arc<Standing>,
    orders: &Sender<OrderLetter>,
    beside: &Beside,
) -> Watched {
    let workers = workers.iter().map(RunningWorker::watched).collect();
    Watched { workers, beside: beside.clone(), standing: Arc::clone(standing), orders: orders.clone() }
}

/// The outlet of the access records, if they are wanted.
fn start_records(config: &Config, budget: DescriptorBudget) -> io::Result<Option<Outlet>> {
    let Some(sink) = sink_of(&config.log.access) else { return Ok(None) };
    let room = records_room(config, budget.sessions);
    Outlet::start("records", sink, Voice::Records, room).map(Some)
}
