//! What comes of leaving from an address, what of that is the address's fault, and when it is left alone for it.

use std::time::Duration;

use crate::limits;

/// What came of an attempt to leave from an address, or of a session that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target answered.
    Connected,
    /// bind(2) took it for a socket that is for any target: this machine has the address, and nothing was heard by it.
    Bound,
    /// connect(2): EADDRNOTAVAIL. No port is left for this source and this target; other targets are as they were.
    PortsUsedUp,
    /// bind(2): EADDRNOTAVAIL or EACCES. This machine does not have the address, or may not use it.
    AddressMissing,
    /// There is no way to the target: ENETUNREACH, EHOSTUNREACH.
    Unreachable,
    /// The target refused: ECONNREFUSED.
    Refused,
    /// The target ended it by a reset: ECONNRESET.
    Reset,
    /// Nothing came in time.
    TimedOut,
}

/// Why an address is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This machine does not have it.
    Missing,
    /// Too many targets cannot be reached from it.
    Unreachable,
    /// Too many targets refuse it.
    Refused,
    /// Too many targets reset it.
    Reset,
    /// Too many targets do not answer it.
    TimedOut,
}

impl Fault {
    /// Every fault, in the order of its number.
    pub const ALL: &[Fault] =
        &[Fault::Missing, Fault::Unreachable, Fault::Refused, Fault::Reset, Fault::TimedOut];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Missing => "missing",
            Fault::Unreachable => "unreachable",
            Fault::Refused => "refused",
            Fault::Reset => "reset",
            Fault::TimedOut => "timed_out",
        }
    }
}

/// When an address of a pool is left alone: `cooldown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CooldownTerms {
    /// Of a hundred attempts, how many may be refused.
    pub refused: u8,
    /// Of a hundred, how many may be reset, get no answer or find no way.
    pub reset_rate: u8,
    /// How many attempts of a window it takes to judge.
    pub min_samples: u32,
    /// The longest cooldown.
    pub max: Duration,
}

impl Default for CooldownTerms {
    fn default() -> CooldownTerms {
        CooldownTerms { refused: 50, reset_rate: 50, min_samples: 20, max: Duration::from_secs(600) }
    }
}

impl CooldownTerms {
    /// Of a thousand attempts, how many may fail so.
    pub(super) fn thousandths(&self, fault: Fault) -> u64 {
        10 * u64::from(if fault == Fault::Refused { self.refused } else { self.reset_rate })
    }

    /// How long the cooldown after so many in a row is.
    pub(super) fn span_ms(&self, strikes: u8) -> u64 {
        let doubled = u32::from(strikes.saturating_sub(1)).min(30);
        let first = limits::COOLDOWN_FIRST.as_millis() as u64;
        (first << doubled).min(self.max.as_millis() as u64).max(1)
    }
}
