//! Load generator and cost meter for SOCKS and HTTP proxies.
//!
//! `outflow-load` puts a proxy on this machine under a load and says what that cost the server:
//! CPU, memory and descriptors of its whole process tree, seen from outside. One process is the origin,
//! another the clients; both are built to cost far less than what they measure. Each run leaves one line
//! of JSON.
//!
//! ```text
//! outflow-load origin --cpu 1 &          # prints: outflow-load origin ready: echo=127.0.0.1:40001 ...
//! outflow-load connect --server 127.0.0.1:1080 --target PAGE --pid PID --cpu 1 --count 20000
//! outflow-load connect --server 127.0.0.1:1080 --target PAGE --rate 5000 --seconds 10 --hgrm run
//! outflow-load connect --server 127.0.0.1:3128 --protocol http --target PAGE --pid PID
//! outflow-load http --server 127.0.0.1:3128 --target HTTP --size 1024 --connections 64 --pid PID
//! outflow-load stream down --server 127.0.0.1:1080 --target SOURCE --flows 16 --pid PID
//! outflow-load stream up --server 127.0.0.1:1080 --target SINK --flows 16 --pid PID
//! outflow-load echo --server 127.0.0.1:1080 --target ECHO --connections 64 --size 128 --pid PID
//! outflow-load mix --server 127.0.0.1:1080 --target PAGE --target-name localhost --seconds 10 --pid PID
//! outflow-load churn --server 127.0.0.1:1080 --target KEYED --seconds 60 --in-flight 64 --seed 7
//! outflow-load udp --server 127.0.0.1:1080 --target UDP --associations 4 --size 200 --pid PID
//! outflow-load hostile names --server 127.0.0.1:1080 --target PAGE --dns 127.0.0.1:5353 --pid PID
//! outflow-load overload --server 127.0.0.1:1080 --target PAGE --echo ECHO --multiples 0.9,2,10 --patience 2
//! outflow-load idle --server 127.0.0.1:1080 --target ECHO --connections 8000 --touch 1024 --pid PID
//! ```
//!
//! `connect` is a closed loop: each of the sessions in flight begins when one has ended. With `--rate` it is an
//! open loop: sessions start when they are due, and latency counts from then, so that a server which stalls is
//! charged with everybody who would have come meanwhile (coordinated omission corrected).
//!
//! `--protocol` of `connect`, `stream` and `idle` is how sessions introduce themselves: `socks5`, `socks4`, `http` (CONNECT),
//! and `https-connect` and `socks5-tls`, which are the same under TLS. `http` is another load: requests with the whole
//! address (absolute form) over connections that are kept, as a browser or a crawler sends them for `http://` pages.
//! `idle --fetch` holds such connections.
//!
//! `mix` is a scraping fleet in either loop: sessions like HTTPS, pages of many sizes, clients that stop reading and
//! clients that reset. `udp` counts what is lost and what comes late, twice or out of order. `churn` is a soak that
//! ends sessions in every way and checks each byte at both ends: one that is wrong fails the run, which `--seed`
//! gives again. `connect`, `echo` and `mix` check what they receive; `stream` does not look at a byte, for its sinks
//! do not copy.
//!
//! `overload` finds the peak in a closed loop and has more come than can be served: what is served before its client
//! has left (`--patience`), and what flows that stood before wait beside it. `loadtest/overload.sh` runs it against a
//! server that has a share of one CPU.
//!
//! `--target-name` asks the server for a name in place of the target's address. `--direct` in place of
//! `--server` gives the floor: the same load with no server between. A server that refuses, lies, hangs or
//! dies ends the run with the reason on standard error and exit code 1. Load goes to addresses of this
//! machine alone, and to names that can be of no other (`localhost`, `*.localhost`), unless
//! `--i-own-this-host` says otherwise.
//!
//! A record holds the server's cost where `--pid` names its process, the origin's with `--origin-pid`, and
//! the machine's description. `--strace` counts the server's system calls, by name, instead of its CPU time.
//! `idle` weighs the kernel's memory too: in a cgroup of the server's own where the rights suffice, else by
//! the whole machine's (roughly: slabs that were freed before are used again unseen). `--hgrm PREFIX` leaves
//! the whole distribution of each latency, in the percentile form of HdrHistogram, for its plotter.
//!
//! `outflow-load compare loadtest/peers.toml` starts many servers, puts each under the same loads in turn and
//! leaves a table, all records as JSON, and a report as one HTML file.
//!
//! `loadtest/measure.sh` runs all of it against a release build and prints each figure beside its bar:
//! system calls per session, memory and descriptors of an idle session, CPU per gigabyte with splice and
//! with copy, CPU per round trip, and the user share of each.

mod cgroup;
mod cli;
mod compare;
mod fault;
mod fleet;
mod handshake;
mod hgrm;
mod interrupt;
mod kernel_memory;
mod keyed;
mod machine;
mod meter;
mod origin;
mod pacer;
mod payload;
mod procfs;
mod progress;
mod protocol;
mod record;
mod scenario;
mod scope;
mod seeded;
mod strace;
mod sys;
mod tls;
mod udp;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use mio::Waker;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::cli::{
    ChurnArgs, Cli, Command, Common, ConnectArgs, EchoArgs, HostileArgs, HttpArgs, IdleArgs, MixArgs,
    OriginArgs, OverloadArgs, StreamArgs, UdpArgs,
};
use crate::fault::Fault;
use crate::fleet::{Fleet, Losses, Route, Sources};
use crate::handshake::Messages;
use crate::interrupt::Interrupt;
use crate::kernel_memory::MemoryGauge;
use crate::machine::Machine;
use crate::meter::Meter;
use crate::origin::Place;
use crate::procfs::Tree;
use crate::protocol::Protocol;
use crate::record::Record;
use crate::scenario::churn::{self, Action, Churn};
use crate::scenario::connect::Connect;
use crate::scenario::echo::Echo;
use crate::scenario::exchange::Asked;
use crate::scenario::hostile::Hostile;
use crate::scenario::http::{Http, Persistence};
use crate::scenario::idle::{Before, Idle};
use crate::scenario::mix::{Habits, Mix};
use crate::scenario::overload::Overloading;
use crate::scenario::starts::Starts;
use crate::scenario::stream::{Stream, Window};
use crate::scope::Scope;
use crate::tls::TlsClient;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match within_scope(&cli).and_then(|scope| run(cli.command, scope)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outflow-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The scope, once all that was typed lies in it.
fn within_scope(cli: &Cli) -> Result<Scope, Box<dyn Error>> {
    let scope = Scope::new(cli.i_own_this_host)?;
    cli.command.addresses().into_iter().try_for_each(|address| scope.check(address))?;
    cli.command.target_name().map_or(Ok(()), |name| scope.check_name(name))?;
    Ok(scope)
}

fn run(command: Command, scope: Scope) -> Result<(), Box<dyn Error>> {
    raise_descriptor_limit()?;
    match command {
        Command::Origin(args) => serve_origin(&args),
        Command::Connect(args) => connect(&args),
        Command::Http(args) => http(&args),
        Command::Stream(args) => stream(&args),
        Command::Echo(args) => echo(&args),
        Command::Idle(args) => idle(&args),
        Command::Mix(args) => mix(&args),
        Command::Churn(args) => churn(&args),
        Command::Udp(args) => udp(&args, scope),
        Command::Hostile(args) => hostile(&args),
        Command::Overload(args) => overload(&args),
        Command::Compare(args) => compare::compare(&args, &scope),
        Command::Guard { mark } => {
            compare::guard::stand(&mark);
            Ok(())
        }
    }
}

fn serve_origin(args: &OriginArgs) -> Result<(), Box<dyn Error>> {
    pin(args.cpu)?;
    let place = match args.whole_loopback {
        true => Place::WholeLoopback { both_families: args.both_families },
        false => Place::Address(args.address),
    };
    let mut origin = origin::Origin::bind(place, args.supply, args.page_size)?;
    say(&format!("outflow-load origin ready: {}", origin.addresses()?))?;
    Ok(origin.run()?)
}

fn connect(args: &ConnectArgs) -> Result<(), Box<dyn Error>> {
    let extent = cli::extent(args.count, args.seconds, 1000);
    let starts = Starts { extent, in_flight: args.in_flight, rate: args.rate };
    let meter = meter(&args.common).tracing(args.strace);
    let mut scenario = Connect::new(starts, args.size as usize, meter);
    let mut fleet = fleet_by(args.protocol, &args.common, args.max_errors)?;
    let ended = fleet.run(&mut scenario);
    let protocol = args.common.server.map(|_| args.protocol);
    let record = Record { protocol, ..scenario.record() };
    report("connect", &args.common, &fleet.losses, ended, record)
}

fn http(args: &HttpArgs) -> Result<(), Box<dyn Error>> {
    let persistence = Persistence {
        extent: cli::extent(args.count, args.seconds, 1000),
        connections: args.connections,
        per_connection: args.per_connection,
    };
    let meter = meter(&args.common).tracing(args.strace);
    let mut scenario = Http::new(persistence, &asked(&args.common, args.size), meter);
    let mut fleet = unspoken_fleet(args.common.server, &args.common, args.max_errors)?;
    let ended = fleet.run(&mut scenario);
    report("http", &args.common, &fleet.losses, ended, scenario.record())
}

/// A page of `size` bytes.
fn asked(common: &Common, size: u32) -> Asked<'_> {
    Asked {
        target: common.target,
        name: common.target_name.as_deref(),
        credentials: common.credentials(),
        direct: common.server.is_none(),
        size: size as usize,
    }
}

fn stream(args: &StreamArgs) -> Result<(), Box<dyn Error>> {
    let window = Window { warmup: args.warmup, seconds: args.seconds, bytes: args.bytes };
    let mut scenario = Stream::new(args.direction, args.flows, window, meter(&args.common))?;
    let mut fleet = fleet_by(args.protocol, &args.common, 0)?;
    let ended = fleet.run(&mut scenario);
    let protocol = args.common.server.map(|_| args.protocol);
    let record = Record { protocol, ..scenario.record() };
    report(args.direction.scenario(), &args.common, &fleet.losses, ended, record)
}

fn echo(args: &EchoArgs) -> Result<(), Box<dyn Error>> {
    let extent = cli::extent(args.count, args.seconds, 100_000);
    let meter = meter(&args.common).tracing(args.strace);
    let mut scenario = Echo::new(args.connections, args.size as usize, extent, args.warmup, meter);
    let mut fleet = fleet(&args.common, 0)?;
    let ended = fleet.run(&mut scenario);
    report("echo", &args.common, &fleet.losses, ended, scenario.record())
}

fn idle(args: &IdleArgs) -> Result<(), Box<dyn Error>> {
    let before = |direct: bool| match args.fetch {
        None => Before::Echo(args.touch as usize),
        Some(size) => {
            let asked = Asked { direct, ..asked(&args.common, size) };
            Before::Fetch { request: asked.request(), size: size as usize }
        }
    };
    let scenario = |direct, meter| Idle::new(args.connections, args.in_flight, before(direct), meter);
    // A server in a cgroup of ours has to be sent home before we end.
    let interrupt = Interrupt::caught()?;
    let scale = match args.common.pid {
        Some(pid) => {
            let pids = Tree::of(pid).pids().map_err(|error| Fault::ServerGone(pid, error))?;
            MemoryGauge::of(&pids, args.kernel_memory)
        }
        None => None,
    };
    // A plain relay that is called directly can be weighed in its cgroup alone: on the machine's scale nothing would
    // tell it from the floor.
    let weighable =
        |scale: &MemoryGauge| args.common.server.is_some() || matches!(scale, MemoryGauge::Cgroup(_));
    let scale = scale.filter(weighable);
    // Clients and origin stand on the machine's scale as well, with as much as direct connections take. These
    // stay open until the end: what they freed could be used again unseen.
    let mut direct = unspoken_fleet(None, &args.common, 0)?;
    direct.heed(&interrupt);
    let mut floor = scenario(true, Meter::new(None).weighing(Some(MemoryGauge::Machine { why: None })));
    if matches!(scale, Some(MemoryGauge::Machine { .. })) {
        direct.run(&mut floor)?;
    }
    let mut scenario = scenario(args.common.server.is_none(), meter(&args.common).weighing(scale));
    let mut fleet = match args.fetch {
        None => fleet_by(args.protocol, &args.common, 0)?,
        Some(_) => unspoken_fleet(args.common.server, &args.common, 0)?,
    };
    fleet.heed(&interrupt);
    let opened = fleet.run(&mut scenario);
    let protocol = args.common.server.filter(|_| args.fetch.is_none()).map(|_| args.protocol);
    let record = Record { protocol, ..scenario.record(floor.kernel_growth()) };
    report("idle", &args.common, &fleet.losses, opened, record)?;
    fleet.expect_silence();
    match args.seconds {
        Some(seconds) => scenario.hold_until(Some(Instant::now() + seconds), None),
        None => scenario.hold_until(None, Some(when_input_closes(fleet.waker()?))),
    }
    Ok(fleet.run(&mut scenario)?)
}

fn mix(args: &MixArgs) -> Result<(), Box<dyn Error>> {
    let extent = cli::extent(args.count, args.seconds, 1000);
    let starts = Starts { extent, in_flight: args.in_flight, rate: args.rate };
    let habits = Habits {
        pages: args.pages.clone(),
        stalls: args.stalls,
        stall_for: args.stall_for,
        aborts: args.aborts,
        seed: args.seed,
    };
    let mut scenario = Mix::new(starts, habits, meter(&args.common));
    let mut fleet = fleet(&args.common, args.max_errors)?;
    let ended = fleet.run(&mut scenario);
    report("mix", &args.common, &fleet.losses, ended, scenario.record())
}

fn churn(args: &ChurnArgs) -> Result<(), Box<dyn Error>> {
    let common = &args.common;
    let starts =
        Starts { extent: cli::extent(args.count, args.seconds, 1000), in_flight: args.in_flight, rate: None };
    let actions = if args.actions.is_empty() { Action::ALL.to_vec() } else { args.actions.clone() };
    let seed = args.seed.unwrap_or_else(churn::any_seed);
    let mut scenario = Churn::new(starts, actions, seed, common.patience, meter(common));
    let mut fleet = fleet(common, 0)?;
    let ended = fleet.run(&mut scenario);
    let ended = scenario.audit(common.target, ended);
    report("churn", common, &fleet.losses, ended, scenario.record())
}

fn udp(args: &UdpArgs, scope: Scope) -> Result<(), Box<dyn Error>> {
    pin(args.common.cpu)?;
    let common = &args.common;
    let plan = udp::UdpPlan {
        server: common.server,
        target: common.target,
        target_name: common.target_name.clone(),
        scope,
        messages: common.server.map(|server| Messages::associate(server, common.credentials())),
        sources: common.sources,
        patience: common.patience,
        associations: args.associations,
        size: args.size as usize,
        drive: args.rate.map_or(udp::Drive::Window(args.window as usize), udp::Drive::Rate),
        joined: args.joined,
        loss_after: args.loss_after,
        warmup: args.warmup,
        extent: cli::extent(args.count, args.seconds, 100_000),
    };
    let mut udp = udp::Udp::new(plan, meter(common));
    let ended = udp.run();
    report("udp", common, &Losses::default(), ended, udp.record())
}

fn hostile(args: &HostileArgs) -> Result<(), Box<dyn Error>> {
    pin(args.common.cpu)?;
    let mut hostile = Hostile::new(args.plan()?);
    let ended = hostile.run();
    report("hostile", &args.common, &Losses::default(), ended, hostile.record())
}

fn overload(args: &OverloadArgs) -> Result<(), Box<dyn Error>> {
    pin(args.common.cpu)?;
    let mut overloading = Overloading::new(args.plan()?);
    let ended = overloading.run();
    report("overload", &args.common, &Losses::default(), ended, overloading.record())
}

fn meter(common: &Common) -> Meter {
    Meter::new(common.pid).with_origin(common.origin_pid)
}

fn fleet<S: Default>(common: &Common, max_errors: u64) -> Result<Fleet<S>, Box<dyn Error>> {
    fleet_by(Protocol::Socks5, common, max_errors)
}

fn fleet_by<S: Default>(
    protocol: Protocol,
    common: &Common,
    max_errors: u64,
) -> Result<Fleet<S>, Box<dyn Error>> {
    let (name, credentials) = (common.target_name.as_deref(), common.credentials());
    pin(common.cpu)?;
    Ok(Fleet::new(Route {
        messages: Some(Messages::of(protocol, common.target, name, credentials)?),
        tls: if common.server.is_some() && protocol.under_tls() { Some(TlsClient::new()?) } else { None },
        ..unspoken_route(common.server, common, max_errors)
    })?)
}

/// Of connections to `server`, or directly to the target, whose first word is the scenario's.
fn unspoken_fleet<S: Default>(
    server: Option<SocketAddr>,
    common: &Common,
    max_errors: u64,
) -> Result<Fleet<S>, Box<dyn Error>> {
    pin(common.cpu)?;
    Ok(Fleet::new(unspoken_route(server, common, max_errors))?)
}

fn unspoken_route(server: Option<SocketAddr>, common: &Common, max_errors: u64) -> Route {
    Route {
        server,
        target: common.target,
        messages: None,
        tls: None,
        sources: Sources::in_a_row(common.sources),
        patience: common.patience,
        max_errors,
    }
}

/// Prints the record, of a run that failed as well, and gives the failure back.
fn report(
    scenario: &'static str,
    common: &Common,
    losses: &Losses,
    ended: Result<(), Fault>,
    record: Record,
) -> Result<(), Box<dyn Error>> {
    let first = ended.as_ref().err().or(losses.first.as_ref());
    let record = Record {
        scenario,
        server: common.server.map_or("none".to_owned(), |server| server.to_string()),
        target: common.target.to_string(),
        target_name: common.target_name.clone(),
        // A fault of the run itself is no session's.
        errors: losses.count.max(ended.is_err().into()),
        first_error: first.map(ToString::to_string),
        machine: Some(Machine::here()),
        ..record
    };
    say(&serde_json::to_string(&record)?)?;
    if let Some(prefix) = &common.hgrm {
        record.save_distributions(prefix)?;
    }
    Ok(ended?)
}

/// One line, at once: scripts wait for it.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Becomes true at the end of standard input, and wakes the loop.
fn when_input_closes(waker: Waker) -> Arc<AtomicBool> {
    let closed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&closed);
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1)) {}
        flag.store(true, Ordering::Release);
        // A loop that cannot be woken looks at the flag by itself, within its longest sleep.
        let _ = waker.wake();
    });
    closed
}

fn pin(cpu: Option<usize>) -> Result<(), Box<dyn Error>> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|error| format!("cannot run on CPU {cpu}: {error}"))?;
    // Clients and origin share this CPU. It is no fault where it is refused, only a dearer server.
    let _ = sys::take_turns();
    Ok(())
}

/// Thousands of sessions need as many descriptors; the soft limit is usually 1024.
fn raise_descriptor_limit() -> Result<(), nix::Error> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}
