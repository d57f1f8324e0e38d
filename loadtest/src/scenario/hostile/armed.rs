//! An attack that is ready, and who comes beside it.

use std::any::Any;

use super::attack::AttackScript;
use super::nameserver::Answer;

/// Who comes beside the attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// CONNECT to the target as the command line says.
    Anybody,
    /// CONNECT to a good name, a new one each time.
    WithNames,
    /// The users of the file in turn.
    NewUsers,
    /// The first user of the file, from the address of the attack.
    KnownUser,
    /// A GSSAPI token, its last octet a moment later.
    WithTokens,
}

/// An attack that is ready.
pub(crate) struct Armed {
    pub(crate) script: Box<dyn AttackScript>,
    pub(crate) who: Who,
    /// What the name server answers for the attack's names; good names are always answered.
    pub(crate) names: Option<Answer>,
    /// Sockets that have to stay open meanwhile.
    pub(crate) kept: Box<dyn Any + Send>,
}

impl Armed {
    pub(crate) fn new(script: impl AttackScript + 'static, who: Who) -> Self {
        Self { script: Box::new(script), who, names: None, kept: Box::new(()) }
    }
}
