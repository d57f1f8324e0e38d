//! What a worker is given at its start.

use crate::auth::{Verifier, gssapi};
use crate::config::Config;
use crate::dns;
use crate::observe::{Counters, LineSender, Pulse};
use crate::policy::own_ports::OwnPorts;
use crate::policy::sources::Sources;
use crate::session::Rules;
use crate::sys::congestion::Congestion;
use crate::sys::listener::Listener;
use crossbeam_channel::Sender;
use std::sync::Arc;

/// Everything that a worker is given.
#[derive(Debug)]
pub struct Setup {
    /// Its number, and the CPU it keeps to.
    pub number: usize,
    /// Its listener of every group.
    pub listeners: Vec<Arc<Listener>>,
    /// The configuration.
    pub config: Arc<Config>,
    /// What sessions are judged by.
    pub rules: Arc<Rules>,
    /// Where passwords are verified, if any are.
    pub verifier: Option<Arc<Verifier>>,
    /// Where GSSAPI contexts are accepted, if any are.
    pub gssapi: Option<Arc<gssapi::Acceptor>>,
    /// How names are resolved.
    pub dns: Arc<dns::Settings>,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Where it shows what it is doing.
    pub pulse: Arc<Pulse>,
    /// Connections at a time.
    pub ceiling: usize,
    /// Second connect attempts at a time.
    pub second_attempts_max: usize,
    /// Names at a time that no session waits for before it has an upstream.
    pub names_beside_max: usize,
    /// Pipes lent at a time.
    pub pipes_max: usize,
    /// Where access records go.
    pub records: Option<LineSender>,
    /// What the sockets to targets are given.
    pub congestion: Congestion,
    /// The UDP ports that associations have open, all workers' together.
    pub own_ports: Arc<OwnPorts>,
    /// What each source has, all workers' together, where that is limited.
    pub sources: Option<Arc<Sources>>,
    /// What makes session numbers unique over restarts.
    pub boot: u32,
    /// Told once the worker accepts.
    pub starting: Option<Sender<()>>,
}
