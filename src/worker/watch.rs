//! What epoll is asked of a session's sockets, and what its events say.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::tokens::{EventSource, Key};
use crate::sys::listener::Listener;
use crate::sys::stream::Stream;
use crate::sys::udp::DatagramSocket;

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
fn interests() -> Interest {
    Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY
}

/// Watches the connected socket of a session, for everything.
pub(super) fn watch_stream(
    registry: &Registry,
    key: Key,
    socket_index: u8,
    stream: &Stream,
) -> io::Result<()> {
    let token = EventSource::Session { key, socket_index }.token();
    registry.register(&mut SourceFd(&stream.as_raw_fd()), token, interests())
}

/// Watches a socket for a session that was watched for nobody's; what is there already is told.
pub(super) fn rewatch_stream(
    registry: &Registry,
    key: Key,
    socket_index: u8,
    stream: &Stream,
) -> io::Result<()> {
    let token = EventSource::Session { key, socket_index }.token();
    registry.reregister(&mut SourceFd(&stream.as_raw_fd()), token, interests())
}

/// Watches a session's listener for connections.
pub(super) fn watch_listener(
    registry: &Registry,
    key: Key,
    socket_index: u8,
    listener: &Listener,
) -> io::Result<()> {
    let token = EventSource::Session { key, socket_index }.token();
    registry.register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)
}

/// Watches a session's socket for datagrams; false where that is refused.
pub(super) fn watch_datagrams(
    registry: &Registry,
    key: Key,
    socket_index: u8,
    socket: &DatagramSocket,
) -> bool {
    let token = EventSource::Session { key, socket_index }.token();
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE).is_ok()
}
