//! What an address of a pool is marked with: whether it is cooled and until when, whether it is drained by hand, whether somebody
//! probes it. All of it is one word, so that a worker sees all of a change or none of it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::Fault;

/// The marks of one address.
///
/// Every change is a compare-and-swap of the whole word, so that of two workers that see the same one goes first and the other
/// looks anew: a probe is one session's, a cooldown is begun once. Nothing else is published by the word, which is why each
/// access may be relaxed. An address that fares well is read and never written.
#[derive(Debug, Default)]
pub(super) struct Marks(AtomicU64);

/// What the word says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marked {
    /// The end of the cooldown or of the probe; where it is not cooled, since when that is so. In milliseconds.
    pub(super) at_ms: u64,
    /// Cooldowns in a row.
    pub(super) strikes: u8,
    /// Why it is cooled, if it is.
    pub(super) fault: Option<Fault>,
    /// One session tries whether it has recovered.
    pub(super) probed: bool,
    /// By hand: no new session leaves from it.
    pub(super) drained: bool,
}

const AT_BITS: u32 = 48;
const STRIKES_AT: u32 = AT_BITS;
const FAULT_AT: u32 = STRIKES_AT + 8;
const PROBED: u64 = 1 << (FAULT_AT + 4);
const DRAINED: u64 = PROBED << 1;
const FAULT: u64 = 0xf << FAULT_AT;

impl Marks {
    /// Whether nothing is wrong with the address: one load.
    pub(super) fn fares_well(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (FAULT | DRAINED) == 0
    }

    pub(super) fn read(&self) -> Marked {
        Marked::unpack(self.0.load(Ordering::Relaxed))
    }

    /// Changes what is marked, where it is to be changed; gives what was before and what is now.
    pub(super) fn change(&self, change: impl Fn(Marked) -> Option<Marked>) -> Option<(Marked, Marked)> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let before = Marked::unpack(word);
            let after = change(before)?;
            match self.0.compare_exchange_weak(word, after.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((before, after)),
                Err(other) => word = other,
            }
        }
    }
}

impl Marked {
    fn pack(self) -> u64 {
        let fault = self.fault.map_or(0, |fault| fault as u64 + 1);
        let flag = |set, bit| if set { bit } else { 0 };
        self.at_ms.min((1 << AT_BITS) - 1)
            | u64::from(self.strikes) << STRIKES_AT
            | fault << FAULT_AT
            | flag(self.probed, PROBED)
            | flag(self.drained, DRAINED)
    }

    fn unpack(word: u64) -> Marked {
        let fault = ((word & FAULT) >> FAULT_AT) as usize;
        Marked {
            at_ms: word & ((1 << AT_BITS) - 1),
            strikes: (word >> STRIKES_AT) as u8,
            fault: fault.checked_sub(1).and_then(|place| Fault::ALL.get(place).copied()),
            probed: word & PROBED != 0,
            drained: word & DRAINED != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_marked_is_read_again(
            at_ms in 0u64..1 << AT_BITS, strikes: u8, fault in 0..=Fault::ALL.len(), probed: bool, drained: bool
        ) {
            let fault = fault.checked_sub(1).map(|place| Fault::ALL[place]);
            let marked = Marked { at_ms, strikes, fault, probed, drained };
            let marks = Marks::default();
            prop_assert!(marks.fares_well());
            marks.change(|_| Some(marked));
            prop_assert_eq!(marks.read(), marked);
            prop_assert_eq!(marks.fares_well(), fault.is_none() && !drained);
        }
    }
}
