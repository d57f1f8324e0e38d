//! What a worker does about the queues of its listeners when more come than it can serve: how much a turn accepts, how many
//! places a queue has, and who is in hand where there is no place for another session.

use std::net::SocketAddr;
use std::time::Instant;

use crate::limits;
use crate::observe::ShedCause;
use crate::sys::stream::Stream;

/// What a worker remembers of overload beside each queue.
#[derive(Debug)]
pub(super) struct Overload {
    /// How many of its queues are kept short, and how many places they have otherwise.
    pub(super) queues: usize,
    pub(super) most: u32,
    /// How many were reset since that was last said, by why, and when it was.
    shed: [u64; ShedCause::ALL.len()],
    said_at: Option<Instant>,
    /// When it was last said that a queue is kept short.
    narrowed_said_at: Option<Instant>,
}

impl Default for Overload {
    fn default() -> Overload {
        Overload {
            queues: 0,
            most: 0,
            shed: [0; ShedCause::ALL.len()],
            said_at: None,
            narrowed_said_at: None,
        }
    }
}

impl Overload {
    /// One was reset; gives how many were since this was last said, where it is time to say so.
    pub(super) fn shed(&mut self, cause: ShedCause, now: Instant) -> Option<u64> {
        let count = &mut self.shed[cause as usize];
        *count += 1;
        let due = self.said_at.is_none_or(|at| now - at >= limits::SHED_LOG_INTERVAL);
        due.then(|| {
            self.said_at = Some(now);
            std::mem::take(count)
        })
    }

    /// Whether it is time to say that a queue is kept short.
    pub(super) fn says_narrowed(&mut self, now: Instant) -> bool {
        let due = self.narrowed_said_at.is_none_or(|at| now - at >= limits::SHED_LOG_INTERVAL);
        if due {
            self.narrowed_said_at = Some(now);
        }
        due
    }
}

/// A connection that was taken to learn how long it has stood, and that has no place yet.
#[derive(Debug)]
pub(super) struct InHand {
    pub(super) client: Stream,
    pub(super) peer: SocketAddr,
    /// By then it has a place, or is reset.
    pub(super) until: Instant,
}

impl InHand {
    /// One that was just taken; `None` where the kernel does not say how long it stood.
    pub(super) fn of(client: Stream, peer: SocketAddr, now: Instant) -> Option<InHand> {
        let stood = client.queued()?.stood;
        Some(InHand { client, peer, until: now + limits::CEILING_WAIT_MAX.saturating_sub(stood) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shed_is_said_once_a_minute_with_how_many_there_were() {
        let (mut overload, now) = (Overload::default(), Instant::now());
        assert_eq!(overload.shed(ShedCause::Queue, now), Some(1));
        assert_eq!([(); 3].map(|()| overload.shed(ShedCause::Queue, now)), [None; 3]);
        assert_eq!(overload.shed(ShedCause::Queue, now + limits::SHED_LOG_INTERVAL), Some(4));
    }
}
