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
