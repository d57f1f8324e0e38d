//! What an event says of one side's socket.

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
