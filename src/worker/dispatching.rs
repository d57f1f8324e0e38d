//! In which order a turn meets its events.

use crossbeam_channel::Receiver;
use mio::{Events, Token};

use super::Worker;
use super::mailbox::Mail;
use super::slot::Phase;
use super::tokens::EventSource;
use super::watch::Edge;

impl Worker {
    /// Meets the events of a turn as they come; under overload those of sessions that are set up first, so that these do not
    /// wait for the many that have just begun.
    pub(super) fn dispatch_all(&mut self, events: &Events, mail: &Receiver<Mail>) {
        let overloaded = self.acceptance.overload.queues > 0;
        let mut later = std::mem::take(&mut self.spare_events);
        for event in events {
            let (token, edge) = (event.token(), Edge::of(event));
            match overloaded && self.begins(token) {
                true => later.push((token, edge)),
                false => self.dispatch(token, edge, mail),
            }
        }
        for (token, edge) in later.drain(..) {
            self.dispatch(token, edge, mail);
        }
        self.spare_events = later;
    }

    /// Whether an event is of a session that is being set up.
    fn begins(&self, token: Token) -> bool {
        let EventSource::Session { key, .. } = EventSource::of(token) else { return false };
        self.slots.get(key.index()).is_some_and(|slot| matches!(slot.phase, Phase::Handshake(_)))
    }
}
