//! Accepting where the kernel has no descriptor to give although there is a place: who waits is told as at the ceiling.
//!
//! To learn how long a client has stood it has to be taken, and to be reset, too. So each worker keeps one descriptor in
//! reserve, and lets go of it for the first of a queue. As long as it cannot be had again nobody else is taken.

use super::Worker;
use super::acceptance::Acceptance;
use super::errno::pause_cause;
use super::queues::InHand;
use crate::limits;
use crate::observe::{Counted, ShedCause};
use crate::sys::Errno;
use crate::sys::spare::SpareDescriptor;

impl Worker {
    /// Whether anybody can be taken: the descriptor in reserve is there, or is again. Otherwise whoever is in hand by it is reset
    /// once it has waited too long.
    pub(super) fn may_take(&mut self) -> bool {
        if self.acceptance.regain_reserve().is_ok() {
            return true;
        }
        let now = self.core.now;
        for at in 0..self.acceptance.listeners.len() {
            let in_hand = &mut self.acceptance.listeners[at].in_hand;
            if let Some(overdue) = in_hand.take_if(|one| one.until <= now) {
                self.shed(&overdue.client, ShedCause::Descriptors);
            }
        }
        let regained = self.acceptance.regain_reserve();
        if let Err(errno) = regained {
            self.pause_accepting(errno);
        }
        regained.is_ok()
    }

    /// Resets those of a queue who have waited too long, one after the other by the descriptor in reserve. The first who has
    /// not is in hand by it.
    pub(super) fn shed_by_reserve(&mut self, at: usize) {
        for _ in 0..limits::SHEDS_PER_TURN {
            let here = &mut self.acceptance.listeners[at];
            if !here.timed || !here.ready || here.in_hand.is_some() {
                return;
            }
            if self.acceptance.regain_reserve().is_err() {
                return;
            }
            self.acceptance.reserve = None;
            let here = &mut self.acceptance.listeners[at];
            let (client, peer) = match here.socket.accept() {
                Ok((client, peer)) => (client, peer.unwrap_or(limits::UNIX_CLIENT)),
                Err(Errno::EAGAIN) => return here.note_empty(self.core.now),
                // Somebody else was quicker.
                Err(_) => return,
            };
            match InHand::of(client, peer, self.core.now) {
                Some(one) if one.until <= self.core.now => self.shed(&one.client, ShedCause::Descriptors),
                one => here.in_hand = one,
            }
        }
    }

    /// Accepting pauses for want of what this says, which is counted, and said once a second.
    pub(super) fn pause_accepting(&mut self, errno: Errno) {
        self.core.counters.count(Counted::AcceptPaused(pause_cause(errno)));
        if self.acceptance.pause(self.core.now) {
            tracing::warn!(worker = self.core.number, cause = %errno, "accepting pauses");
        }
    }
}

impl Acceptance {
    /// Has the descriptor in reserve, where it is gone, taken again.
    fn regain_reserve(&mut self) -> Result<(), Errno> {
        if self.reserve.is_none() {
            self.reserve = Some(SpareDescriptor::take()?);
        }
        Ok(())
    }
}
