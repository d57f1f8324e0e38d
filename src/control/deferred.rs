//! Orders that wait for what is under way.

use super::asker::Asker;

/// An order that waits for what is under way: the clerk has one thing to do at a time, the file may have changed since it
/// was read, and a reload finds the addresses free that the one before it gives up.
pub(super) enum Deferred {
    Reload(Asker),
    DryRun(Asker),
    Open(Asker),
}

impl Deferred {
    pub(super) fn into_asker(self) -> Asker {
        match self {
            Deferred::Reload(asker) | Deferred::DryRun(asker) | Deferred::Open(asker) => asker,
        }
    }
}
