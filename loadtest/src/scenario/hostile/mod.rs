//! A hostile client, and what it costs the others: sessions at a steady small rate are timed alone (`quiet`), then the
//! same again beside an attack. What an attack does stands in a file of its own, each with its numbers.
//!
//! The others come from addresses of their own, 127.200.0.1 and up, each in a /24 of its own, and count from when they
//! were due. The attack is bounded in connections and time, runs on a thread of its own so that it does not slow down
//! what is timed, and ends with the run. Where names are needed, this program is the name server.

mod armed;
mod arming;
mod attack;
mod binds;
mod dials;
mod garbage;
mod guesses;
mod kind;
mod logins;
mod names;
mod nameserver;
mod others;
mod plan;
mod silent;
mod tokens;
mod watch;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use self::armed::Armed;
use self::attack::Attack;
pub(crate) use self::kind::{AttackKind, Force};
use self::nameserver::NameServer;
use self::others::{Others, PartResult};
pub(crate) use self::plan::{HostilePlan, Thresholds};
use self::watch::Watch;
use crate::fault::Fault;
use crate::fleet::{Fleet, Route, Sources};
use crate::handshake::Messages;
use crate::meter::Meter;
use crate::record::{Attempts, Record, UnderAttack, ratio};
use crate::scenario::starts::{Extent, Starts};

/// The first address of the others.
const OTHERS_FIRST: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 1);
/// From one of them to the next.
const OTHERS_STRIDE: u32 = 256;
/// The most of them at a time.
const OTHERS_IN_FLIGHT: u64 = 1000;

/// The run and its tally.
pub(crate) struct Hostile {
    plan: HostilePlan,
    quiet: PartResult,
    beside: PartResult,
    attempts: Attempts,
    held: Option<(u64, u64)>,
    names: Option<(u64, u64)>,
}

impl Hostile {
    pub(crate) fn new(plan: HostilePlan) -> Self {
        let (quiet, beside) = (PartResult::default(), PartResult::default());
        Self { plan, quiet, beside, attempts: Attempts::default(), held: None, names: None }
    }

    /// Both parts. `Err` when the load fails, or when a bar is missed.
    pub(crate) fn run(&mut self) -> Result<(), Fault> {
        let mut armed = arming::arm(&self.plan)?;
        let names = match armed.names.take() {
            Some(answer) => Some(NameServer::start(self.dns()?, self.plan.target, answer)?),
            None => None,
        };
        let mut others = Others::new(&self.plan, armed.who);
        self.quiet = self.part(&mut others, Meter::new(None))?;
        if let Some(first) = &self.quiet.first_failure {
            return Err(Fault::Unquiet { failures: self.quiet.failures, first: first.clone() });
        }
        let ended = self.besiege(&mut others, armed);
        self.names = names.map(NameServer::stop);
        ended?;
        self.compare()
    }

    fn dns(&self) -> Result<SocketAddr, Fault> {
        let kind = self.plan.kind.name();
        self.plan
            .dns
            .ok_or_else(|| Fault::Unarmed(format!("{kind} needs --dns, and a server that asks there")))
    }

    fn besiege(&mut self, others: &mut Others, armed: Armed) -> Result<(), Fault> {
        let over = Arc::new(AtomicBool::new(false));
        let mut watch = self.plan.pid.map(|pid| Watch::start(pid, Arc::clone(&over)));
        let (force, flag) = (self.plan.force, Arc::clone(&over));
        let mut fleet = Fleet::new(Route {
            // What is attacked is called with no server between.
            server: None,
            target: self.plan.server,
            messages: None,
            tls: None,
            sources: Sources { count: force.sources, stride: force.stride, ..Sources::in_a_row(0) },
            patience: Duration::MAX,
            max_errors: u64::MAX,
        })
        .map_err(Fault::Local)?;
        let attacker = thread::spawn(move || {
            let Armed { script, kept, .. } = armed;
            let mut attack = Attack::new(script, force, flag);
            let ended = fleet.run(&mut attack);
            // Whoever is still connected leaves now.
            drop((fleet, kept));
            (attack.tally(), ended)
        });
        thread::sleep(self.plan.lead);
        let meter = Meter::new(self.plan.pid).with_origin(self.plan.origin_pid);
        let beside = self.part(others, meter);
        over.store(true, Ordering::Release);
        let (attempts, ended) = attacker.join().expect("the attack does not panic");
        self.attempts = attempts;
        self.held = watch.take().map(Watch::finish).transpose()?;
        self.beside = beside?;
        ended
    }

    /// The others, once.
    fn part(&self, others: &mut Others, meter: Meter) -> Result<PartResult, Fault> {
        let plan = &self.plan;
        let starts =
            Starts { extent: Extent::Time(plan.seconds), in_flight: OTHERS_IN_FLIGHT, rate: Some(plan.rate) };
        let credentials = plan.credentials.as_ref().map(|(user, password)| (&**user, &**password));
        let sources = match others.share_the_attackers_address() {
            true => Sources::in_a_row(1),
            false => Sources { first: OTHERS_FIRST, count: plan.sources, stride: OTHERS_STRIDE },
        };
        let route = |server, target| Route {
            server,
            target,
            messages: Some(Messages::connect(plan.target, plan.target_name.as_deref(), credentials)),
            tls: None,
            sources,
            patience: Duration::MAX,
            max_errors: u64::MAX,
        };
        others.run(route, starts, meter)
    }

    fn compare(&self) -> Result<(), Fault> {
        let missed = |what| Err(Fault::Missed(what));
        let (failures, first) = (self.beside.failures, self.beside.first_failure.as_deref());
        if let Some(most) = self.plan.thresholds.failures.filter(|most| failures > *most) {
            let first = first.unwrap_or("unknown");
            return missed(format!("{failures} sessions failed beside the attack, {most} may ({first})"));
        }
        match (self.plan.thresholds.ratio, self.ratio(0.99)) {
            (Some(most), Some(ratio)) if ratio > most => {
                missed(format!("p99 beside the attack is {ratio:.2} times the quiet one, {most} it may be"))
            }
            (Some(_), None) => missed("no session was set up beside the attack".to_owned()),
            _ => Ok(()),
        }
    }

    fn ratio(&self, quantile: f64) -> Option<f64> {
        ratio(self.beside.quantile_us(quantile)?, self.quiet.quantile_us(quantile)?)
    }

    pub(crate) fn record(self) -> Record {
        let under_attack = UnderAttack {
            attack: self.plan.kind.name(),
            quiet_sessions: self.quiet.sessions,
            quiet_failures: self.quiet.failures,
            quiet_p50_us: self.quiet.quantile_us(0.5),
            quiet_p99_us: self.quiet.quantile_us(0.99),
            beside_sessions: self.beside.sessions,
            beside_failures: self.beside.failures,
            first_failure: self.beside.first_failure.clone(),
            beside_p50_us: self.beside.quantile_us(0.5),
            beside_p99_us: self.beside.quantile_us(0.99),
            p50_ratio: self.ratio(0.5),
            p99_ratio: self.ratio(0.99),
            server_fds_max: self.held.map(|(fds, _)| fds),
            server_rss_max: self.held.map(|(_, bytes)| bytes),
            names_asked: self.names.map(|(asked, _)| asked),
            names_answered: self.names.map(|(_, answered)| answered),
            attempts: self.attempts,
        };
        Record { under_attack: Some(under_attack), ..self.beside.record }
    }
}
