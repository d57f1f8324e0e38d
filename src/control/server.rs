//! A running server: its acceptor, its workers, and what they share.

use super::acceptor::Acceptor;
use super::descriptors;
use super::writer::Writer;
use crate::auth::{Users, UsersError, Verifier, gssapi};
use crate::config::{self, AuthMethod, Config, RelayMode, Steer};
use crate::dns::{self, Hosts, ResolvConf};
use crate::limits;
use crate::observe::{Counters, Latencies, Totals};
use crate::policy::guard::Guard;
use crate::session::Rules;
use crate::sys::congestion::Congestion;
use crate::sys::machine;
use crate::worker::{Mail, Mailbox, Prepared, Setup, prepare};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A server whose workers run.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    acceptor: Acceptor,
    workers: Vec<Worker>,
    ended: Receiver<io::Result<Latencies>>,
    running: usize,
    latencies: Latencies,
    writer: Writer,
    locals: Vec<IpAddr>,
    sessions_per_worker: usize,
}

#[derive(Debug)]
struct Worker {
    mailbox: Mailbox,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The users file.
    Users(UsersError),
    /// The GSSAPI library or the service's credentials: what to look at, and why.
    Gssapi(String),
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The access record's file.
    Access(io::Error),
    /// The congestion control that the configuration names.
    Congestion(String, io::Error),
    /// Threads or epoll.
    Machine(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Users(error) => write!(f, "{error}"),
            StartError::Gssapi(why) => f.write_str(why),
            StartError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            StartError::Access(error) => write!(f, "[log] access: {error}"),
            StartError::Congestion(name, error) => write!(
                f,
                "[server] congestion: this kernel does not give us \"{name}\": {error} (net.ipv4.tcp_available_congestion_control and tcp_allowed_congestion_control list what it has)"
            ),
            StartError::Machine(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Users(error) => Some(error),
            StartError::Gssapi(_) => None,
            StartError::Listen(_, error)
            | StartError::Access(error)
            | StartError::Congestion(_, error)
            | StartError::Machine(error) => Some(error),
        }
    }
}

impl Server {
    /// Reads what the configuration names, opens the listeners and starts the workers.
    ///
    /// # Errors
    /// Whatever keeps it from serving; files are read before any socket opens.
    pub fn start(config: Config) -> Result<Server, StartError> {
        let limit = machine::raise_descriptor_limit();
        let config = Arc::new(config);
        let verifier = start_verifier(&config)?;
        let gssapi = start_gssapi(&config)?;
        let dns = Arc::new(dns_settings(&config));
        let writer = Writer::start(&config.log.access).map_err(StartError::Access)?;
        let congestion = congestion(&config.server.congestion)?;
        let acceptor = Acceptor::open(&config, congestion)
            .map_err(|(address, error)| StartError::Listen(address, error))?;
        let locals = machine::local_addresses();
        let rules = Arc::new(rules(&config, acceptor.addresses(), locals.clone()));
        let budget = descriptors::divide(limit, &config);
        let sessions = budget.sessions * config.server.workers;
        if sessions < config.server.max_connections {
            tracing::warn!(
                sessions,
                wanted = config.server.max_connections,
                "server.max_connections is more than can be had"
            );
        }
        let boot = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
        let own_ports = Arc::default();
        let (sender, ended) = bounded(config.server.workers);
        let (starting, started) = bounded(config.server.workers);
        let mut workers = Vec::with_capacity(config.server.workers);
        for number in 0..config.server.workers {
            let counters = Arc::new(Counters::default());
            let prepared = prepare().map_err(StartError::Machine)?;
            let mailbox = prepared.mailbox();
            let setup = Setup {
                number,
                listeners: acceptor.for_worker(number),
                config: config.clone(),
                rules: rules.clone(),
                verifier: verifier.clone(),
                gssapi: gssapi.clone(),
                dns: dns.clone(),
                counters: counters.clone(),
                ceiling: budget.sessions,
                second_attempts_max: budget.second_attempts,
                pipes_max: budget.pipes,
                records: writer.sender.clone(),
                congestion,
                own_ports: Arc::clone(&own_ports),
                boot,
                starting: Some(starting.clone()),
            };
            let thread = run(prepared, setup, sender.clone())?;
            workers.push(Worker { mailbox, counters, thread: Some(thread) });
        }
        drop((starting, sender));
        warn_of_steering(&config);
        await_workers(&workers, &started, &ended)?;
        Ok(Server {
            running: workers.len(),
            config,
            acceptor,
            workers,
            ended,
            latencies: Latencies::default(),
            writer,
            locals,
            sessions_per_worker: budget.sessions,
        })
    }

    /// The addresses that it listens on, ports filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.acceptor.addresses()
    }

    /// The one line that says what runs.
    pub fn ready_line(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        let engine = match self.config.server.relay {
            RelayMode::Auto => "auto",
            RelayMode::Splice => "splice",
            RelayMode::Copy => "copy",
        };
        format!(
            "outflow {} ready: listening on {}; {} workers; relay {engine}; up to {} sessions per worker",
            env!("CARGO_PKG_VERSION"),
            addresses.join(", "),
            self.workers.len(),
            self.sessions_per_worker,
        )
    }

    /// What was counted so far, over all workers.
    pub fn totals(&self) -> Totals {
        Totals::of(self.workers.iter().map(|worker| &*worker.counters))
    }

    /// Accepts what is queued, closes the listeners, and ends by then at the latest.
    pub fn drain(&mut self, by: Instant) {
        self.acceptor.close();
        for worker in &self.workers {
            worker.mailbox.send(Mail::Drain { by });
        }
    }

    /// Reads the local addresses anew and tells the workers' guards.
    pub fn refresh_locals(&mut self) {
        let locals = machine::local_addresses();
        if locals != self.locals {
            self.locals = locals.clone();
            let rules = Arc::new(rules(&self.config, self.acceptor.addresses(), locals));
            for worker in &self.workers {
                worker.mailbox.send(Mail::Rules(rules.clone()));
            }
        }
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
        self.writer.finish();
        self.latencies.clone()
    }

    /// Makes a worker panic in its next turn: how its replacement is tested.
    #[doc(hidden)]
    pub fn panic_worker(&self, number: usize) {
        self.workers[number].mailbox.send(Mail::Panic);
    }
}

/// Waits until every worker accepts.
fn await_workers(
    workers: &[Worker],
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

/// Steering goes by CPU number, pinning by the CPUs that the process may use.
fn warn_of_steering(config: &Config) {
    let aligned = machine::usable_cpus().into_iter().take(config.server.workers).eq(0..config.server.workers);
    if config.server.steer == Steer::Cpu && !(config.server.pin && aligned) {
        tracing::warn!(
            "server.steer is \"cpu\", but worker N does not run on CPU N: connections change CPUs"
        );
    }
}

/// Runs a worker on a thread of its own, which says how it ended.
fn run(
    prepared: Prepared,
    setup: Setup,
    ended: Sender<io::Result<Latencies>>,
) -> Result<JoinHandle<()>, StartError> {
    let number = setup.number;
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || {
            if setup.config.server.pin && !machine::pin_to_cpu(number) {
                tracing::warn!(worker = number, "cannot be pinned to a CPU");
            }
            machine::sleep_to_the_microsecond();
            let _ = ended.send(prepared.run(setup));
        })
        .map_err(StartError::Machine)
}

fn start_verifier(config: &Config) -> Result<Option<Arc<Verifier>>, StartError> {
    let Some(users) =
        config.auth.users.as_ref().filter(|_| config.auth.methods.contains(&AuthMethod::Password))
    else {
        return Ok(None);
    };
    let users = Users::load(users).map_err(StartError::Users)?;
    let threads = cpus().min(limits::VERIFIER_THREADS_MAX);
    Verifier::start(Arc::new(users), threads).map(|v| Some(Arc::new(v))).map_err(StartError::Machine)
}

fn start_gssapi(config: &Config) -> Result<Option<Arc<gssapi::Acceptor>>, StartError> {
    if !config.auth.methods.contains(&AuthMethod::Gssapi) {
        return Ok(None);
    }
    let credentials = gssapi::credentials(&config.auth.gssapi).map_err(StartError::Gssapi)?;
    let acceptor = gssapi::Acceptor::start(credentials, cpus().min(limits::GSS_THREADS_MAX));
    acceptor.map(|acceptor| Some(Arc::new(acceptor))).map_err(StartError::Machine)
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn rules(config: &Config, own: &[SocketAddr], locals: Vec<IpAddr>) -> Rules {
    let guard = Guard::new(config.guard.allow_private, config.guard.allow.clone(), own.to_vec());
    Rules {
        methods: config.auth.methods.clone(),
        guard: guard.with_locals(locals),
        gssapi: config.auth.gssapi.clone(),
    }
}

fn congestion(wanted: &config::Congestion) -> Result<Congestion, StartError> {
    match wanted {
        config::Congestion::Auto => Ok(Congestion::auto()),
        config::Congestion::System => Ok(Congestion::default()),
        config::Congestion::Named(name) => {
            Congestion::everywhere(name).map_err(|error| StartError::Congestion(name.clone(), error))
        }
    }
}

fn dns_settings(config: &Config) -> dns::Settings {
    let system = ResolvConf::load(Path::new("/etc/resolv.conf")).unwrap_or_else(|_| ResolvConf::parse(""));
    let hosts = match config.dns.hosts {
        true => Hosts::load(Path::new("/etc/hosts")).unwrap_or_else(|_| Hosts::empty()),
        false => Hosts::empty(),
    };
    dns::Settings {
        servers: if config.dns.servers.is_empty() { system.servers } else { config.dns.servers.clone() },
        timeout: config.timeouts.dns,
        try_timeout: system.timeout,
        attempts: system.attempts,
        cache_entries: (config.dns.cache_entries / config.server.workers.max(1)).max(1),
        prefer: config.dns.prefer,
        hosts,
    }
}
