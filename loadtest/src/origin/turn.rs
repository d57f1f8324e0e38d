//! What one turn of a service may move, and what comes of it.

/// What one flow may move in a turn before the others have theirs.
pub(super) const BUDGET_BYTES: usize = 4 << 20;

/// What is to become of a connection after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Again,
    Close,
}
