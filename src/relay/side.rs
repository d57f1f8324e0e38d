//! One end of a relay, and what an event says of its socket.

/// One of the two ends of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who asked.
    Client,
    /// Who was asked for.
    Target,
}

impl Side {
    /// The other end.
    pub fn opposite(self) -> Side {
        match self {
            Side::Client => Side::Target,
            Side::Target => Side::Client,
        }
    }
}

/// What one event says of a socket, or several events together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edge {
    /// There may be bytes, an end or an error to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// FIN, and no failure: what is read short from here on ends there.
    pub fin: bool,
    /// An error, or both directions shut.
    pub failed: bool,
    /// Urgent data stands in what is unread.
    pub urgent: bool,
}

impl Edge {
    /// Adds what another event says of what is unread.
    pub fn add_unread(&mut self, other: Edge) {
        self.readable |= other.readable;
        self.fin |= other.fin;
        self.failed |= other.failed;
        self.urgent |= other.urgent;
    }

    /// A read gave so many bytes where there was room for `room`: a short one emptied the socket, unless something else may
    /// have stopped it.
    pub fn note_read(&mut self, count: usize, room: usize) {
        self.readable = count == room || self.urgent || self.failed;
    }
}
