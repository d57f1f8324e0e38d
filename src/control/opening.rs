//! The sockets of a listener, opened.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::listener_kind::{options, scoped};
use super::unix_listener;
use crate::admin::SocketFile;
use crate::config::{Config, ConfiguredListener, ListenAddress, Steer};
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;

/// The sockets of a listener, one for each worker, and the file of one that is at a path: its socket is all workers'.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenedSockets {
    pub(super) sockets: Vec<Arc<Listener>>,
    pub(super) file: Option<Arc<SocketFile>>,
}

pub(super) fn open_one(
    one: ConfiguredListener<'_>,
    config: &Config,
    congestion: CongestionControl,
) -> io::Result<(OpenedSockets, Option<SocketAddr>)> {
    match (one.endpoint(), one.address()) {
        (None, ListenAddress::Unix(path)) => {
            let (socket, file) = unix_listener::open(&path, one.table(), config)?;
            let sockets = vec![socket; config.server.workers];
            Ok((OpenedSockets { sockets, file: Some(file) }, None))
        }
        (endpoint, _) => {
            let no_address = || io::Error::from(io::ErrorKind::Unsupported);
            open_group(scoped(endpoint.ok_or_else(no_address)?)?, config, congestion)
        }
    }
}

pub(super) fn open_group(
    mut address: SocketAddr,
    config: &Config,
    congestion: CongestionControl,
) -> io::Result<(OpenedSockets, Option<SocketAddr>)> {
    let options = options(address, config, congestion);
    let mut group: Vec<Arc<Listener>> = Vec::with_capacity(config.server.workers);
    for _ in 0..config.server.workers {
        let listener = Listener::open(address, &options)?;
        // Port 0 becomes a port with the first listener; the others share it.
        address = listener.address()?;
        group.push(Arc::new(listener));
    }
    if config.server.steer == Steer::Cpu {
        group[0].steer_by_cpu(u32::try_from(group.len()).unwrap_or(u32::MAX))?;
    }
    Ok((OpenedSockets { sockets: group, file: None }, Some(address)))
}
