//! What the server needs of the machine as a whole.

use super::facts::NetFacts;
use super::finding::{Finding, Severity};
use crate::config::Config;
use crate::control::descriptors;
use crate::sys::{machine, sysctl};

/// Descriptors of a session: its client's and its target's.
const SESSION_DESCRIPTORS: usize = 2;

/// What the machine gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HostFacts {
    /// Descriptors that a process like this one may have.
    pub(super) descriptors: usize,
    /// The most that a process may be given (fs.nr_open).
    pub(super) nr_open: Option<u64>,
    /// net.core.somaxconn.
    pub(super) somaxconn: Option<u64>,
    /// Connections that are tracked, and how many may be; `None` where none are.
    pub(super) conntrack: Option<(u64, u64)>,
    /// Sessions that the server would have room for.
    pub(super) sessions: usize,
}

impl HostFacts {
    pub(super) fn read(config: &Config) -> HostFacts {
        let descriptors = machine::raise_descriptor_limit();
        let tracked = |name: &str| sysctl::number(&format!("net/netfilter/nf_conntrack_{name}"));
        HostFacts {
            descriptors,
            nr_open: sysctl::number("fs/nr_open"),
            somaxconn: sysctl::number("net/core/somaxconn"),
            conntrack: tracked("count").zip(tracked("max")).filter(|(count, _)| *count > 0),
            sessions: descriptors::divide(descriptors, config).sessions,
        }
    }
}

pub(super) fn findings(config: &Config, host: &HostFacts, net: &NetFacts) -> Vec<Finding> {
    let finding = |severity, check, what: String, mend: Vec<String>| Finding {
        severity,
        check,
        subject: "server".to_owned(),
        what,
        mend,
    };
    let mut found = Vec::new();
    let wanted = config.server.max_connections;
    if host.sessions < wanted {
        let more = host.descriptors + SESSION_DESCRIPTORS * (wanted - host.sessions) * 17 / 16;
        let mut mend = vec![format!("in its unit LimitNOFILE={more}, or ulimit -n {more} before it starts")];
        if host.nr_open.is_some_and(|most| most < more as u64) {
            mend.insert(0, format!("sysctl -w fs.nr_open={more}"));
        }
        let what = format!(
            "max_connections is {wanted}, and a process like this one may open {} descriptors, which are {} sessions",
            host.descriptors, host.sessions
        );
        found.push(finding(Severity::Warning, "descriptors", what, mend));
    }
    let backlog = u64::from(config.server.backlog);
    if let Some(most) = host.somaxconn.filter(|most| *most < backlog) {
        let what = format!(
            "backlog is {backlog}, and net.core.somaxconn cuts it to {most}: a burst of clients is dropped"
        );
        let mend = vec![format!("sysctl -w net.core.somaxconn={backlog}")];
        found.push(finding(Severity::Warning, "backlog", what, mend));
    }
    // Each session is two connections, and either may be tracked for a while after it.
    let connections = (SESSION_DESCRIPTORS as u64).saturating_mul(host.sessions as u64);
    if let Some((count, most)) = host.conntrack
        && most < connections
    {
        let what = format!(
            "{} sessions are {connections} connections, and nf_conntrack_max is {most}, of which {count} are used: beyond it \
             packets are dropped",
            host.sessions
        );
        let mend =
            vec![format!("sysctl -w net.netfilter.nf_conntrack_max={}", connections.saturating_mul(2))];
        found.push(finding(Severity::Warning, "conntrack", what, mend));
    }
    if config.egress.iter().any(|pool| pool.netns.is_none()) {
        found.extend(
            time_wait(net).map(|(what, mend)| finding(Severity::Hint, "time_wait", what, vec![mend])),
        );
    }
    found
}

/// Whether ports in TIME_WAIT are lost for a minute.
pub(super) fn time_wait(net: &NetFacts) -> Option<(String, String)> {
    let what = |because: &str| {
        format!(
            "{because}: a port that our side left behind is kept from its target for 60 s, and each address has about {} \
             new connections a second to it",
            net.ports.as_ref().map_or(0, |ports| u64::from(ports.end() - ports.start()) / 60)
        )
    };
    match (net.tw_reuse?, net.timestamps?) {
        (1, 0) => Some((
            what("net.ipv4.tcp_timestamps is 0, so that tcp_tw_reuse has no effect"),
            "sysctl -w net.ipv4.tcp_timestamps=1".to_owned(),
        )),
        (1, _) => None,
        (other, _) => Some((
            what(&format!("net.ipv4.tcp_tw_reuse is {other}")),
            "sysctl -w net.ipv4.tcp_tw_reuse=1".to_owned(),
        )),
    }
}
