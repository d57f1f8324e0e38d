//! What a worker goes by: everything that a reload may change, as one value.

use std::sync::Arc;

use crate::auth::{Verifier, gssapi};
use crate::config::Config;
use crate::dns;
use crate::policy::sources::Sources;
use crate::session::Rules;
use crate::sys::congestion::CongestionControl;

/// Everything that a reload may change. A worker replaces it between two turns. What has not changed is the same
/// `Arc` in the new one, and the worker leaves alone what it made of it.
///
/// Each worker has an `Arc` of its own around it: its sessions will hold it, and a count of holders that all workers
/// share would be written by all of them for every session.
///
/// Outside stands what lasts as long as the worker: its listeners, its number and CPU, its counters and pulse, the queue
/// of its records and what is done where that is full.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The configuration.
    pub config: Arc<Config>,
    /// What sessions are judged by.
    pub rules: Arc<Rules>,
    /// Where passwords are verified, if any are.
    pub verifier: Option<Arc<Verifier>>,
    /// Where GSSAPI contexts are accepted, if any are.
    pub gssapi: Option<Arc<gssapi::ContextAcceptor>>,
    /// How names are resolved.
    pub dns: Arc<dns::Settings>,
    /// What the sockets to targets are given.
    pub congestion: CongestionControl,
    /// What each source has, all workers' together, where that is limited.
    pub sources: Option<Arc<Sources>>,
    /// Whether somebody may ask who is busiest: where nobody can, nobody is counted.
    pub watched: bool,
    /// How many descriptors the worker may use for what.
    pub ceilings: Ceilings,
}

/// What one worker may have at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Connections.
    pub sessions: usize,
    /// Second connect attempts.
    pub second_attempts: usize,
    /// Names that no session waits for before it has an upstream.
    pub names_beside: usize,
    /// Pipes that are lent.
    pub pipes: usize,
}
