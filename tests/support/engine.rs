//! The relay engines.

/// Which relay engine a test runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Copy,
    Splice,
    Auto,
}

impl Engine {
    /// As the configuration spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Copy => "copy",
            Engine::Splice => "splice",
            Engine::Auto => "auto",
        }
    }
}
