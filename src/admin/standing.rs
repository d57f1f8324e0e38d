//! How the server stands: written by the control thread, read by the endpoint.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::health::Vitals;
use super::older::OlderServers;
use crate::config::{Config, Level};
use crate::observe::{EgressInEffect, LimitsInEffect, ListenersInEffect, RulesInEffect};

/// Whether new clients are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Not yet: some worker does not accept so far.
    Starting,
    /// They are.
    Serving,
    /// The listeners are closed, and can be opened again.
    Draining,
    /// The process ends once its sessions have, or their time is up.
    Ending,
}

impl ServerState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            ServerState::Starting => "starting",
            ServerState::Serving => "serving",
            ServerState::Draining => "draining",
            ServerState::Ending => "ending",
        }
    }
}

/// What holds now.
#[derive(Clone, Debug)]
pub struct InEffect {
    /// Whether new clients are taken.
    pub state: ServerState,
    /// The configuration. What a reload does not take has its old value in it.
    pub config: Arc<Config>,
    /// Where clients are accepted, or were before the drain: addresses, ports filled in, and unix sockets.
    pub listening: Vec<String>,
    /// How many sessions each worker may have, by its number.
    pub sessions_max: Vec<usize>,
    /// From which level on the log is written.
    pub level: Level,
    /// The rules by which sessions are judged.
    pub rules: RulesInEffect,
    /// The limits that sessions come under.
    pub limits: LimitsInEffect,
    /// What listeners are called, and what is spoken there.
    pub listeners: ListenersInEffect,
    /// The pools of addresses that sessions leave from.
    pub egress: EgressInEffect,
    /// Servers before this one that have sessions yet.
    pub older: OlderServers,
    /// What the last look found.
    pub vitals: Vitals,
}

impl InEffect {
    /// Why clients had better go elsewhere, if they had.
    pub fn not_ready(&self) -> Option<&'static str> {
        match self.state {
            ServerState::Starting => Some("starting"),
            ServerState::Draining | ServerState::Ending => Some("draining"),
            ServerState::Serving => self.vitals.unfit(),
        }
    }

    /// What is said where clients are taken: that something does not work as it should, too.
    pub fn ready_words(&self) -> String {
        match &self.vitals.degraded {
            Some(what) => format!("ready, degraded: {what}"),
            None => "ready".to_owned(),
        }
    }
}

/// [`InEffect`], shared. No worker asks for it, so that a lock costs no session anything.
#[derive(Debug)]
pub struct Standing(Mutex<InEffect>);

impl Standing {
    /// To be shared from here on.
    pub fn new(in_effect: InEffect) -> Standing {
        Standing(Mutex::new(in_effect))
    }

    /// What holds at this moment.
    pub fn now(&self) -> InEffect {
        self.lock().clone()
    }

    /// Whether new clients are taken at this moment.
    pub fn state(&self) -> ServerState {
        self.lock().state
    }

    /// Has something else hold from now on.
    pub fn change(&self, change: impl FnOnce(&mut InEffect)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, InEffect> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
