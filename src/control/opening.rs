//! The sockets of a listener, opened.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::listener_kind::{options, scoped};
use super::plural::count_of;
use super::unix_listener;
use crate::admin::SocketFile;
use crate::config::{Config, ConfiguredListener, ListenAddress, Steer};
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;

/// The sockets of a listener in the order in which they were bound, and the file of one that is at a path. Where there are
/// fewer than workers, as of a unix socket, several workers accept on one; where there are more, a worker has several.
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
            Ok((OpenedSockets { sockets: vec![socket], file: Some(file) }, None))
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

impl OpenedSockets {
    /// Those that one of so many workers accepts on.
    pub(super) fn of_worker(&self, worker: usize, workers: usize) -> impl Iterator<Item = &Arc<Listener>> {
        let sockets = self.sockets.len();
        let first = if sockets < workers { worker % sockets.max(1) } else { worker };
        self.sockets.iter().skip(first).step_by(workers.max(1))
    }

    /// Opens as many as make one for each worker, where others may listen at the address beside these.
    pub(super) fn grow(&mut self, address: SocketAddr, config: &Config, congestion: CongestionControl) {
        let options = options(address, config, congestion);
        let shares = self.sockets.first().is_some_and(|socket| socket.shares_port());
        while shares && self.sockets.len() < config.server.workers {
            match Listener::open(address, &options) {
                Ok(socket) => self.sockets.push(Arc::new(socket)),
                Err(error) => {
                    let (sockets, workers) = (count_of(self.sockets.len(), "socket"), config.server.workers);
                    tracing::warn!(%error, "{address} has {sockets} for {workers} workers: some accept on one");
                    return;
                }
            }
        }
    }

    /// Has the kernel spread what comes as the configuration says.
    pub(super) fn steer(&self, config: &Config) {
        let Some(first) = self.sockets.first().filter(|socket| socket.shares_port()) else { return };
        match config.server.steer {
            Steer::Cpu => {
                if let Err(error) = first.steer_by_cpu(u32::try_from(self.sockets.len()).unwrap_or(u32::MAX))
                {
                    tracing::warn!(%error, "connections are not steered by the CPU that receives them");
                }
            }
            // Whoever opened them may have steered.
            _ => drop(first.stop_steering()),
        }
    }
}
