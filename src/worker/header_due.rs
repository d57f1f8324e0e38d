//! Whether a load balancer has to say who a client is before the client speaks (the PROXY protocol).

use super::snapshot::Snapshot;
use crate::config::ProxyProtocol;
use crate::policy::Incoming;

/// What stands in front of a connection's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderDue {
    /// Nothing.
    No,
    /// A header, if the connection begins with one.
    Perhaps,
    /// A header.
    Yes,
}

impl HeaderDue {
    /// What is due of a client that comes in like this; `None`: nothing may come of it, for it is no balancer that is believed
    /// and there has to be one.
    pub(super) fn of(snapshot: &Snapshot, incoming: Incoming) -> Option<HeaderDue> {
        let Some(table) = snapshot.listener_table(incoming.listener) else { return Some(HeaderDue::No) };
        let peer = incoming.client.ip().to_canonical();
        let believed = || table.proxy_from.iter().any(|block| block.contains(&peer));
        match table.proxy_protocol {
            ProxyProtocol::Off => Some(HeaderDue::No),
            ProxyProtocol::Optional => Some(if believed() { HeaderDue::Perhaps } else { HeaderDue::No }),
            ProxyProtocol::Required => believed().then_some(HeaderDue::Yes),
        }
    }
}
