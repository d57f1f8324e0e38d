//! What epoll is asked of a session's sockets, and what its events say.

use super::tokens::{EventSource, Key};
use crate::sys::udp::DatagramSocket;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use std::os::fd::AsRawFd;

pub(super) use crate::relay::Edge;

impl Edge {
    /// What an event of epoll's says.
    pub(super) fn of(event: &mio::event::Event) -> Edge {
        let failed = event.is_error() || event.is_write_closed();
        Edge {
            readable: event.is_readable() || event.is_read_closed() || failed,
            writable: event.is_writable(),
            fin: event.is_read_closed() && !failed,
            failed,
            urgent: event.is_priority(),
        }
    }
}

/// Read, write and urgent data, registered once for the life of a socket.
pub(super) fn interests() -> Interest {
    Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY
}

pub(super) fn watch(registry: &Registry, key: Key, socket_index: u8, socket: &DatagramSocket) -> bool {
    let token = EventSource::Session { key, socket_index }.token();
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE).is_ok()
}
