//! The control thread's loop: signals, orders, what the clerk has done, the clock and the workers' end. It waits for none
//! of them in a call, so that a disk that stalls or a worker that stands still keeps nothing else from being heard.

mod handing_over;
mod turns;

use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvError, after, never, select, tick};

use super::asker::Asker;
use super::clerk::Clerk;
use super::deferred::Deferred;
use super::handing::HandingOver;
use super::launcher::Launcher;
use super::line::Fields;
use super::locals;
use super::logs::Logs;
use super::notify::ServiceManager;
use super::plural::count_of;
use super::quota_orders::QuotaOrder;
use super::reload::Successor;
use super::server::{Changing, Server};
use super::signals::SignalRequest;
use super::user_orders::UserOrder;
use super::users::NO_USERS_FILE;
use crate::admin::{Done, Order, OrderError, OrderLetter, ReloadReport, ServerState, Standing};
use crate::config::{ConfigSource, Level};
use crate::limits;
use crate::observe::{Counted, Latencies};
use crate::threads::survive;

/// What governs a running server.
pub(super) struct Controller<'a> {
    pub(super) server: Server,
    pub(super) logs: &'a mut Logs,
    standing: Arc<Standing>,
    manager: ServiceManager,
    /// When the manager was last told what to show.
    status_at: Instant,
    source: ConfigSource,
    signals: Receiver<SignalRequest>,
    clerk: Clerk<ClerkOutcome>,
    /// Who waits for what the clerk is at.
    waiting: Option<Waiting>,
    /// What waits for its turn.
    deferred: VecDeque<Deferred>,
    /// The service manager was told that a reload has begun, and not yet that it is over.
    reloading: bool,
    /// What the workers have been told and have yet to do.
    settling: Vec<Settling>,
    /// A hand-over to another server, if one is under way.
    handing: HandingOver,
    /// The process ends with the last session, and by then at the latest.
    exits_by: Option<Instant>,
    end: End,
}

/// Something that is done once every worker has done its part.
struct Settling {
    changing: Changing,
    /// When whoever asked is told in any case.
    until: Instant,
    asker: Asker,
    done: Done,
}

/// Who waits for the clerk, and whether what it prepares is to be gone over to.
struct Waiting {
    asker: Asker,
    changes: bool,
}

/// What the clerk's work comes to.
enum ClerkOutcome {
    /// A configuration was read and tried.
    Tried(Result<ReloadReport, OrderError>),
    /// A configuration can be gone over to.
    Prepared(Result<Box<Successor>, OrderError>),
}

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody has asked for it.
    Unasked,
    /// Another server has this one's place, and sessions the hand-over's time.
    HandedOver,
    /// Sessions have the drain's time.
    Draining,
    /// Asked for twice, or a worker is lost.
    Cut,
}

impl<'a> Controller<'a> {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        mut server: Server,
        source: ConfigSource,
        signals: Receiver<SignalRequest>,
        logs: &'a mut Logs,
        (mut manager, launcher): (ServiceManager, Option<Launcher>),
    ) -> io::Result<Controller<'a>> {
        manager.keep(server.listeners());
        manager.ready(&server.ready_line());
        let mut controller = Controller {
            standing: Arc::clone(server.standing()),
            server,
            logs,
            manager,
            status_at: Instant::now(),
            source,
            signals,
            clerk: Clerk::start()?,
            waiting: None,
            deferred: VecDeque::new(),
            reloading: false,
            settling: Vec::new(),
            handing: HandingOver::new(launcher),
            exits_by: None,
            end: End::Unasked,
        };
        controller.open_takeover();
        Ok(controller)
    }

    /// Hears and does what comes, until the process is to end with this code.
    pub(super) fn run(&mut self) -> ExitCode {
        let (refresh, mut changes) = (tick(limits::LOCALS_REFRESH), locals::watch());
        let watch = tick(limits::WATCHDOG_INTERVAL);
        let feeding = self.manager.feeding().map_or_else(never, tick);
        let (signals, orders, done) =
            (self.signals.clone(), self.server.orders().1.clone(), self.clerk.done().clone());
        let (mut ended, settled) = (self.server.ended().clone(), self.server.settled().clone());
        let mut workers_ended = false;
        let handovers = self.handing.letters();
        loop {
            let came = self.handing.came();
            let soon = if self.settle() { never() } else { after(limits::CONTROL_RETRY) };
            self.end_reload();
            select! {
                recv(signals) -> asked => if let Some(code) = self.heed(asked) {
                    return code;
                },
                recv(orders) -> letter => letter.map(|letter| self.carry_out(letter)).unwrap_or_default(),
                recv(done) -> finished => finished.map(|finished| self.go_on(finished)).unwrap_or_default(),
                recv(came) -> channel => self.let_ask(channel.ok()),
                recv(handovers) -> letter => letter.map(|letter| self.hear_handover(letter)).unwrap_or_default(),
                recv(settled) -> _ => {}
                recv(soon) -> _ => {}
                recv(refresh) -> _ => survive(|| self.server.refresh_locals()).unwrap_or_default(),
                recv(changes) -> news => match news {
                    Ok(()) => survive(|| self.server.refresh_locals()).unwrap_or_default(),
                    Err(_) => changes = never(),
                },
                recv(feeding) -> _ => self.feed(),
                recv(watch) -> _ => {
                    self.every_second();
                    if self.server.overdue() {
                        tracing::error!("a worker stands still and does not end: ending without it");
                        return ExitCode::FAILURE;
                    }
                }
                recv(ended) -> end => if self.note_end(end) {
                    (workers_ended, ended) = (true, never());
                },
            }
            // What sessions of the server before have and use goes by this one to the next.
            if workers_ended && (self.end != End::HandedOver || !self.server.earlier().are_there()) {
                break;
            }
        }
        let latencies = self.server.finish();
        if tracing::enabled!(tracing::Level::INFO) {
            let mut fields = self.fields();
            fields.push(("latencies".into(), latencies.to_string().into()));
            self.logs.always("ended", fields);
        }
        if matches!(self.end, End::Draining | End::HandedOver) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Looks after the workers, and tells how they fare.
    fn every_second(&mut self) {
        self.server.every_second();
        let vitals = self.server.vitals();
        self.standing.change(|standing| standing.vitals = vitals);
        if self.end == End::Unasked {
            self.manager.keep(self.server.listeners());
        }
        if self.status_at.elapsed() >= limits::STATUS_INTERVAL {
            self.status_at = Instant::now();
            self.manager.status(&self.status());
        }
    }

    /// What the service manager shows.
    fn status(&self) -> String {
        let (standing, totals) = (self.standing.now(), self.server.totals());
        let sessions = count_of(totals.active() as usize, "session");
        let state = match (standing.vitals.not_alive(Instant::now()), standing.not_ready()) {
            (Some(problem), _) => problem,
            (None, Some(problem)) => problem.to_owned(),
            (None, None) => standing.ready_words(),
        };
        let accepted = totals.count_of(Counted::Accepted);
        let mut counts = format!("{state}: {sessions}, {accepted} accepted");
        counts.extend(self.server.earlier().in_words().map(|words| format!("; {words}")));
        // The listeners of a drain are closed.
        if matches!(standing.state, ServerState::Draining | ServerState::Ending) {
            return counts;
        }
        format!("{counts}; listening on {}", standing.listening.join(", "))
    }

    /// Tells the service manager that we are alive, where every worker turns: this thread does by being here.
    fn feed(&self) {
        if self.standing.now().vitals.not_alive(Instant::now()).is_none() {
            self.manager.feed();
        }
    }

    /// A signal came, or nobody can send any more. Gives the exit code where there is nothing left to wait for.
    fn heed(&mut self, asked: Result<SignalRequest, RecvError>) -> Option<ExitCode> {
        match (asked, self.end) {
            (Ok(SignalRequest::Counters), _) => self.logs.always("counters", self.fields()),
            (Ok(SignalRequest::Handover), _) => self.start_anew("SIGUSR2"),
            (Ok(SignalRequest::Reload), end) => {
                // Whoever has moved the file away waits for that, whatever becomes of the rest.
                self.server.reopen_records();
                self.server.look_at_users();
                if end == End::Unasked && self.handing.program_is_another() {
                    self.start_anew("SIGHUP");
                    return None;
                }
                // One that waits reads what the file says then.
                if !self.deferred.iter().any(|one| matches!(one, Deferred::Reload(_))) {
                    self.in_turn(Deferred::Reload(Asker::signal("SIGHUP")));
                }
            }
            (Ok(SignalRequest::Leave), End::Unasked) => self.close(Asker::signal("signal 35"), true),
            // Who waits in a queue that the manager keeps, for whoever comes next, waits for nobody.
            (Ok(SignalRequest::Leave), _) => self.manager.forget_all(self.server.listeners()),
            (Ok(SignalRequest::Unknown(signal)), _) => {
                tracing::warn!(signal, "a signal that asks for nothing here: ignored");
            }
            (Ok(SignalRequest::End) | Err(_), End::Cut) => return Some(ExitCode::FAILURE),
            (Ok(SignalRequest::End) | Err(_), End::Draining) => {
                tracing::warn!("a second signal: ending at once");
                self.drain(End::Cut, Instant::now());
            }
            (Ok(SignalRequest::End) | Err(_), End::Unasked) if self.end_waits() => {}
            (Ok(SignalRequest::End) | Err(_), End::Unasked | End::HandedOver) => {
                tracing::info!(sessions = self.server.totals().active(), "draining");
                self.drain(End::Draining, self.drains_by());
            }
        }
        None
    }

    /// Carries out an order, or has it begun.
    fn carry_out(&mut self, OrderLetter { order, by, reply }: OrderLetter) {
        let asker = Asker::new(by, reply);
        match order {
            Order::SetLevel(level) => {
                let was = self.set_level(level);
                asker.tell(Ok(Done::Level { level, was }));
            }
            Order::Reload { dry_run: true } => self.in_turn(Deferred::DryRun(asker)),
            Order::Reload { dry_run: false } => self.in_turn(Deferred::Reload(asker)),
            Order::Drain { exit } => self.close(asker, exit),
            Order::Undrain => self.in_turn(Deferred::Open(asker)),
            Order::ListUsers => asker.tell(match self.server.listed_users() {
                Some(users) => Ok(Done::Users(users)),
                None => Err(OrderError::NotFound(NO_USERS_FILE.to_owned())),
            }),
            Order::SetUser { .. } | Order::RemoveUser { .. } => {
                let order =
                    UserOrder { order: Box::new(order), tell: Box::new(move |outcome| asker.tell(outcome)) };
                self.server.order_user(order);
            }
            Order::ResetQuota { limit, holder } => {
                let order = QuotaOrder { limit, holder, tell: Box::new(move |outcome| asker.tell(outcome)) };
                self.server.order_quota(order);
            }
        }
    }

    /// Reads the configuration anew and goes over to it.
    fn reload(&mut self, asker: Asker) {
        if self.end != End::Unasked {
            return asker.tell(Err(OrderError::Conflict("the process is about to end".to_owned())));
        }
        self.reloading = true;
        self.manager.reloading();
        let preparation = self.server.preparation(self.source.clone());
        self.give(Waiting { asker, changes: true }, move || ClerkOutcome::Prepared(preparation.prepare()));
    }

    /// Tells the service manager that a reload is over, be it that it was refused, once nothing of it is left to do.
    fn end_reload(&mut self) {
        let waits = self.deferred.iter().any(|one| matches!(one, Deferred::Reload(_)));
        if self.reloading && !waits && self.waiting.is_none() && self.settling.is_empty() {
            self.reloading = false;
            self.manager.ready(&self.status());
        }
    }

    /// Closes to new clients.
    fn close(&mut self, asker: Asker, exit: bool) {
        if self.end != End::Unasked {
            return asker.tell(Err(OrderError::Conflict("the process is about to end".to_owned())));
        }
        self.exits_by = exit.then(|| self.drains_by());
        let later = "a drain was asked for after it";
        self.refuse_deferred(later, |order| matches!(order, Deferred::Open(_)));
        self.manager.forget_all(self.server.listeners());
        let changing = self.server.close_listeners();
        self.standing.change(|standing| standing.state = ServerState::Draining);
        self.await_workers(changing, asker, Done::Draining { sessions: 0 });
    }

    /// Opens to new clients again.
    fn open(&mut self, asker: Asker) {
        if self.end != End::Unasked {
            return asker.tell(Err(OrderError::Conflict("the process is about to end".to_owned())));
        }
        self.exits_by = None;
        if !self.server.is_closed() {
            return asker.tell(Ok(Done::Serving { sessions: self.server.totals().active() }));
        }
        match self.server.open_listeners() {
            Ok(changing) => {
                let listening = self.server.listening();
                self.standing.change(|standing| {
                    (standing.state, standing.listening) = (ServerState::Serving, listening);
                });
                self.await_workers(changing, asker, Done::Serving { sessions: 0 });
            }
            Err(why) => asker.tell(Err(OrderError::Conflict(why))),
        }
    }

    fn set_level(&mut self, level: Level) -> Level {
        self.standing.change(|standing| standing.level = level);
        self.logs.set_level(level)
    }

    /// Has the clerk, who is at nothing else, do something for whoever asked.
    fn give(&mut self, waiting: Waiting, work: impl FnOnce() -> ClerkOutcome + Send + 'static) {
        self.clerk.give(work);
        self.waiting = Some(waiting);
    }

    /// The clerk has come to an end with something; `None` where that panicked.
    fn go_on(&mut self, finished: Option<ClerkOutcome>) {
        if let Some(Waiting { asker, .. }) = self.waiting.take() {
            match finished {
                Some(ClerkOutcome::Tried(tried)) => asker.tell(tried.map(Done::Reload)),
                Some(ClerkOutcome::Prepared(Ok(candidate))) => self.adopt(asker, *candidate),
                Some(ClerkOutcome::Prepared(Err(error))) => asker.tell(Err(error)),
                None => asker.tell(Err(OrderError::Failed("it panicked: see the log".to_owned()))),
            }
        }
    }

    fn adopt(&mut self, asker: Asker, mut candidate: Successor) {
        if self.end != End::Unasked {
            return asker.tell(Err(OrderError::Conflict("the process is about to end".to_owned())));
        }
        let report = std::mem::take(&mut candidate.report);
        let config = candidate.config.clone();
        let changing = match self.server.adopt(candidate) {
            Ok(changing) => changing,
            Err(error) => return asker.tell(Err(OrderError::Failed(format!("the admin endpoint: {error}")))),
        };
        self.logs.set_format(config.log.format);
        self.set_level(config.log.level);
        let (listening, sessions_max) = (self.server.listening(), self.server.sessions_max());
        self.standing.change(|standing| {
            (standing.config, standing.listening) = (config, listening);
            standing.sessions_max = sessions_max;
        });
        self.await_workers(changing, asker, Done::Reload(report));
    }

    /// Tells whoever asked once every worker has done its part.
    fn await_workers(&mut self, changing: Changing, asker: Asker, done: Done) {
        let until = Instant::now() + limits::ORDER_PATIENCE;
        self.settling.push(Settling { changing, until, asker, done });
    }

    /// Gets on with what waits for workers; false where something still does.
    fn settle(&mut self) -> bool {
        let now = Instant::now();
        let handed = self.settle_handover(now);
        let (over, settling) = std::mem::take(&mut self.settling)
            .into_iter()
            .partition(|one: &Settling| one.changing.is_over() || one.until <= now);
        self.settling = settling;
        // What follows from what they have done comes before whoever asked is told: the endpoint listens by then.
        let posted = self.server.post();
        // Every count of every worker is summed up for it: not where nobody asks.
        let asked = !over.is_empty() || self.exits_by.is_some();
        let sessions = if asked { self.server.totals().active() } else { 0 };
        for Settling { changing, asker, done, .. } in over {
            asker.tell(Ok(match done {
                Done::Draining { .. } => Done::Draining { sessions },
                Done::Serving { .. } => Done::Serving { sessions },
                Done::Reload(mut report) => {
                    report.warnings.extend(changing.late().map(str::to_owned));
                    Done::Reload(report)
                }
                other => other,
            }));
        }
        self.begin_deferred();
        if let Some(by) = self.exits_by.filter(|_| self.end == End::Unasked && self.settling.is_empty())
            && (sessions == 0 || by <= now)
        {
            self.drain(End::Draining, by.max(now));
        }
        handed && posted && self.settling.is_empty() && (self.exits_by.is_none() || self.end != End::Unasked)
    }

    /// A worker ended; true where it was the last.
    fn note_end(&mut self, ended: Result<io::Result<Latencies>, RecvError>) -> bool {
        if let Ok(Err(error)) = &ended {
            // Nobody accepts on its listeners any more: better no server than one that loses clients.
            tracing::error!(%error, "a worker ended: draining");
            self.drain(End::Cut, self.drains_by());
        }
        self.server.note_end(ended.ok())
    }

    fn drains_by(&self) -> Instant {
        Instant::now() + self.server.config().timeouts.drain
    }

    fn drain(&mut self, end: End, by: Instant) {
        self.end = end;
        self.reloading = false;
        self.refuse_deferred("the process is about to end", |_| true);
        self.standing.change(|standing| standing.state = ServerState::Ending);
        self.server.drain(by);
        self.manager.stopping(&self.status());
    }

    /// What was counted, as fields of a line.
    fn fields(&self) -> Fields {
        self.server.totals().fields().into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}
