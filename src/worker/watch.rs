//! What epoll is asked of a session's sockets, and what its events say.

use super::tokens::{Key, Source};
use crate::relay::Half;
use crate::sys::pipe::Pipe;
use crate::sys::udp::DatagramSocket;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use std::os::fd::AsRawFd;

/// What an event says, or several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Edge {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// FIN, and no failure: what is read short from here on ends there.
    pub(super) fin: bool,
    /// An error, or both directions shut.
    pub(super) failed: bool,
    pub(super) urgent: bool,
}

impl Edge {
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

    /// Tells the half that reads from the socket.
    pub(super) fn tell(self, reader: &mut Half<Pipe>) {
        if self.urgent {
            reader.source_urgent();
        }
        if self.failed {
            reader.source_alarmed();
        }
        if self.fin {
            reader.source_finished();
        } else if self.readable {
            reader.source_ready();
        }
    }
}

/// Read, write and urgent data, registered once for the life of a socket.
pub(super) fn interests() -> Interest {
    Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY
}

pub(super) fn watch(registry: &Registry, key: Key, port: u8, socket: &DatagramSocket) -> bool {
    let token = Source::Session { key, port }.token();
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE).is_ok()
}
