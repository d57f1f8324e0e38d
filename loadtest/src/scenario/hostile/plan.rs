//! What was asked for.

use std::net::SocketAddr;
use std::time::Duration;

use super::kind::{AttackKind, Force};
use crate::fault::Fault;

/// The attack, those who come beside it, and what they must not miss.
pub(crate) struct HostilePlan {
    pub(crate) kind: AttackKind,
    pub(crate) server: SocketAddr,
    pub(crate) target: SocketAddr,
    pub(crate) target_name: Option<String>,
    /// User and password of those whose login is not what is tried.
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) pid: Option<i32>,
    pub(crate) origin_pid: Option<i32>,
    /// Addresses of the others, who have one with the attack where that is what is tried.
    pub(crate) sources: u32,
    /// Sessions a second of the others.
    pub(crate) rate: f64,
    /// How long they are timed, each of the two times.
    pub(crate) seconds: Duration,
    /// How long the attack goes on before they come.
    pub(crate) lead: Duration,
    /// A session of theirs that is not over by then has failed.
    pub(crate) patience: Duration,
    pub(crate) force: Force,
    /// Where the name server of this program listens, for attacks that need one.
    pub(crate) dns: Option<SocketAddr>,
    /// Users of the server with their passwords.
    pub(crate) users: Vec<(String, String)>,
    pub(crate) thresholds: Thresholds,
}

/// What the run may be at most, or it fails.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Thresholds {
    /// p99 beside the attack to that of the quiet part.
    pub(crate) ratio: Option<f64>,
    pub(crate) failures: Option<u64>,
}

impl HostilePlan {
    /// The users of the file, of which an attack needs at least `least`.
    pub(crate) fn users(&self, least: usize) -> Result<&[(String, String)], Fault> {
        if self.users.len() < least {
            let (kind, have) = (self.kind.name(), self.users.len());
            return Err(Fault::Unarmed(format!("{kind} needs {least} users here, --users names {have}")));
        }
        Ok(&self.users)
    }
}
