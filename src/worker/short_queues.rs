//! The queues of a worker's listeners together: their places, and who is in hand.

use std::time::Instant;

use super::acceptance::{Acceptance, Accepting};

impl Acceptance {
    /// Gives each queue the places that it is to have, of `most`; whether how many are kept short has changed.
    pub(super) fn set_places(&mut self, now: Instant, most: u32) -> bool {
        if self.overload.queues == 0 && self.listeners.iter().all(|here| !here.queue.is_overloaded()) {
            return false;
        }
        self.overload.most = most;
        let mut narrowed = 0;
        for here in &mut self.listeners {
            let places = here.queue.places(now, most, !here.ready);
            if places != here.narrowed && here.socket.set_backlog(places.unwrap_or(most)).is_ok() {
                here.narrowed = places;
            }
            narrowed += usize::from(here.narrowed.is_some());
        }
        std::mem::replace(&mut self.overload.queues, narrowed) != narrowed
    }

    /// Whether one of this listener can be taken in hand: how long one of a unix socket has stood nobody can tell, so that
    /// these stay in their queue.
    pub(super) fn may_take_in_hand(&self, at: usize) -> bool {
        let here = &self.listeners[at];
        here.timed && here.ready && here.in_hand.is_none() && self.paused_until.is_none()
    }

    /// How many places the shortest queue has, where it is time to say that one is kept short.
    pub(super) fn says_narrowed(&mut self, now: Instant) -> Option<u32> {
        let places = self.listeners.iter().filter_map(|here| here.narrowed).min()?;
        self.overload.says_narrowed(now).then_some(places)
    }

    /// When there is something to do about a queue, whether or not anybody comes.
    pub(super) fn minds_queues_at(&self) -> Option<Instant> {
        let looks = self.listeners.iter().filter_map(|here| here.queue.looks_at());
        // Behind a pause: nobody is looked at in one.
        let in_hand = self.listeners.iter().filter_map(Accepting::in_hand_until);
        looks.chain(in_hand.map(|until| self.paused_until.map_or(until, |paused| until.max(paused)))).min()
    }
}

impl Accepting {
    /// By when the one in hand has a place or is reset.
    fn in_hand_until(&self) -> Option<Instant> {
        self.in_hand.as_ref().map(|one| one.until)
    }
}
