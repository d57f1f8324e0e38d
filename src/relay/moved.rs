//! What moved, and by which engine.

use super::budget::Resume;

/// Which engine moved bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// recv and send through memory.
    Copy,
    /// splice through a pipe.
    Splice,
    /// recv, opening or sealing, and send (RFC 1961 section 5).
    Sealed,
    /// recv, opening or making records of TLS, and send.
    Tls,
}

impl Engine {
    /// Every engine, in the order of its number.
    pub const ALL: [Engine; 4] = [Engine::Copy, Engine::Splice, Engine::Sealed, Engine::Tls];

    /// The engine's name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Copy => "copy",
            Engine::Splice => "splice",
            Engine::Sealed => "sealed",
            Engine::Tls => "tls",
        }
    }
}

/// What one pump moved into the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that the sink has, without what a seal adds, by engine in the order of [`Engine::ALL`].
    by: [usize; Engine::ALL.len()],
    /// Bytes that were taken from the source's socket.
    pub taken: usize,
    /// When to pump again: without an event, where the budget was spent with more to do.
    pub resume: Resume,
}

impl Moved {
    /// Bytes that this engine moved.
    pub fn by(&self, engine: Engine) -> usize {
        self.by[engine as usize]
    }

    /// Bytes that all engines moved.
    pub fn bytes(&self) -> usize {
        self.by.iter().sum()
    }

    /// What moved in a pump that ended here and is to go on then.
    pub(super) fn until(self, resume: Resume) -> Moved {
        Moved { resume, ..self }
    }

    /// Adds bytes that this engine moved.
    pub(super) fn count(&mut self, engine: Engine, bytes: usize) {
        self.by[engine as usize] += bytes;
    }

    /// Adds what another pump of the same direction moved.
    pub(super) fn add(&mut self, more: Moved) {
        for (sum, bytes) in self.by.iter_mut().zip(more.by) {
            *sum += bytes;
        }
        self.taken += more.taken;
        self.resume = self.resume.min(more.resume);
    }
}
