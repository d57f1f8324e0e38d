//! What a worker knows of one listener's queue: whether connections stand in it for longer than they should, and how many
//! places it has meanwhile.
//!
//! A queue bounds how many wait and not how long: under a load that is never served it holds seconds of work, and who is
//! taken from it has left. So a queue in which connections keep standing for longer than [`limits::QUEUE_TARGET`] gets as
//! many places as its worker serves within that time, as it was measured just before; whoever comes to a full one the kernel
//! leaves unanswered, which costs the worker nothing. Who has stood for too long by then is reset. A queue that runs empty
//! gets more places, until it has all that it had: nothing has to be set, and a wrong guess does not stay.
//!
//! It asks nothing as long as turns take all who wait: only where a queue was not found empty for as long as the target is the
//! first of a turn asked how long it stood.

use std::time::{Duration, Instant};

use crate::limits;
use crate::sys::stream::QueueStay;

/// What is known of a queue.
#[derive(Debug, Default)]
pub(super) enum QueueWatch {
    /// Nobody stands in it for long.
    #[default]
    Short,
    /// Since then whoever was asked has stood for longer than the target; so many were served since, of this many and of those
    /// who came.
    Standing { since: Instant, served: u32, waiting: u32 },
    /// They have for so long that more come than are served.
    Overloaded(Overloaded),
}

/// A queue that is kept short.
#[derive(Debug)]
pub(super) struct Overloaded {
    /// How many places it is to have.
    places: u32,
    /// Since when is counted, how many were served since, and whether there was nobody to serve.
    since: Instant,
    served: u32,
    ran_empty: bool,
}

/// What becomes of a connection that was taken from a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueVerdict {
    Serve,
    /// It has stood for too long, or its client has left.
    Shed,
}

impl QueueWatch {
    /// Whether more come than are served.
    pub(super) fn is_overloaded(&self) -> bool {
        matches!(self, QueueWatch::Overloaded(_))
    }

    /// One was taken, of whom this is known. How many wait behind it is asked only where others stand for long.
    pub(super) fn judge(
        &mut self,
        queued: QueueStay,
        now: Instant,
        waiting: impl FnOnce() -> u32,
    ) -> QueueVerdict {
        let long = queued.stood >= limits::QUEUE_TARGET;
        match self {
            QueueWatch::Short if long => {
                *self = QueueWatch::Standing { since: now, served: 0, waiting: waiting() };
            }
            QueueWatch::Standing { .. } if !long => *self = QueueWatch::Short,
            QueueWatch::Standing { since, served, waiting: before }
                if now - *since >= limits::QUEUE_INTERVAL =>
            {
                let (places, waiting) = (places(*served, now - *since), waiting());
                *self = match waiting < *before - *before / limits::QUEUE_DRAINS_PART {
                    // They become fewer: a worker that stood still works off who came meanwhile.
                    true => QueueWatch::Standing { since: now, served: 0, waiting },
                    false => {
                        let (since, served, ran_empty) = (now, 0, false);
                        QueueWatch::Overloaded(Overloaded { places, since, served, ran_empty })
                    }
                };
            }
            // Of those who have left many have just come by the kernel's account: what they said is sent again for them.
            QueueWatch::Overloaded(_) if queued.stood >= limits::QUEUE_WAIT_MAX || queued.left => {
                return QueueVerdict::Shed;
            }
            _ => {}
        }
        QueueVerdict::Serve
    }

    /// One was taken, and is served.
    pub(super) fn serve(&mut self) {
        match self {
            QueueWatch::Short => {}
            QueueWatch::Standing { served, .. } | QueueWatch::Overloaded(Overloaded { served, .. }) => {
                *served += 1;
            }
        }
    }

    /// Nobody is left in it.
    pub(super) fn note_empty(&mut self) {
        match self {
            QueueWatch::Short => {}
            QueueWatch::Standing { .. } => *self = QueueWatch::Short,
            QueueWatch::Overloaded(overloaded) => overloaded.ran_empty = true,
        }
    }

    /// How many places it is to have from now on, of as many at most; `None`: all of them. Whether it is empty now may be known.
    pub(super) fn places(&mut self, now: Instant, most: u32, is_empty: bool) -> Option<u32> {
        let QueueWatch::Overloaded(overloaded) = self else { return None };
        let span = now.saturating_duration_since(overloaded.since);
        if span >= limits::QUEUE_INTERVAL {
            overloaded.places = match overloaded.ran_empty || is_empty {
                // As many as came were served, and more could have been: of how many nothing is known.
                true => overloaded.places.saturating_mul(2),
                // Half of what was thought before: intervals differ where a CPU is shared.
                false => overloaded.places.midpoint(places(overloaded.served, span)),
            };
            (overloaded.since, overloaded.served, overloaded.ran_empty) = (now, 0, false);
        }
        if overloaded.places >= most {
            *self = QueueWatch::Short;
            return None;
        }
        Some(overloaded.places)
    }

    /// When its places are to be looked at again, whether or not anybody comes.
    pub(super) fn looks_at(&self) -> Option<Instant> {
        match self {
            QueueWatch::Overloaded(overloaded) => Some(overloaded.since + limits::QUEUE_INTERVAL),
            QueueWatch::Short | QueueWatch::Standing { .. } => None,
        }
    }
}

/// How many are served within the target, where so many were in so long.
fn places(served: u32, span: Duration) -> u32 {
    let within = f64::from(served) * limits::QUEUE_TARGET.as_secs_f64() / span.as_secs_f64();
    (within as u32).max(limits::QUEUE_PLACES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MOST: u32 = 4096;

    fn stood(ms: u32) -> QueueStay {
        QueueStay { stood: ms * MS, left: false }
    }

    /// One was taken, and as many wait as ever.
    fn judge(watch: &mut QueueWatch, queued: QueueStay, now: Instant) -> QueueVerdict {
        watch.judge(queued, now, || 1000)
    }

    /// One that was taken and served.
    fn serve(watch: &mut QueueWatch, ms: u32, now: Instant) {
        assert_eq!(judge(watch, stood(ms), now), QueueVerdict::Serve, "{ms}");
        watch.serve();
    }

    /// A queue whose connections have stood for too long while so many were served in an interval.
    fn overloaded(served: u32) -> (QueueWatch, Instant) {
        let (mut watch, now) = (QueueWatch::default(), Instant::now());
        assert_eq!(judge(&mut watch, stood(300), now), QueueVerdict::Serve);
        (0..served).for_each(|_| watch.serve());
        let now = now + limits::QUEUE_INTERVAL;
        assert_eq!(judge(&mut watch, stood(300), now), QueueVerdict::Serve);
        assert!(watch.is_overloaded());
        (watch, now)
    }

    /// One long turn, however long it was, is over before it is overload: everybody who waited is served.
    #[test]
    fn a_worker_that_stood_still_serves_who_waited() {
        let (mut watch, now) = (QueueWatch::default(), Instant::now());
        serve(&mut watch, 3000, now);
        serve(&mut watch, 3000, now + limits::QUEUE_INTERVAL - MS);
        watch.note_empty();
        serve(&mut watch, 3000, now + 2 * limits::QUEUE_INTERVAL);
        assert!(!watch.is_overloaded());
        serve(&mut watch, 10, now + 3 * limits::QUEUE_INTERVAL);
        serve(&mut watch, 3000, now + 4 * limits::QUEUE_INTERVAL);
        assert!(!watch.is_overloaded(), "one between them had not stood");
        assert_eq!(watch.places(now + 9 * limits::QUEUE_INTERVAL, MOST, false), None);
    }

    /// Who came while a worker stood still has stood for long, and is served soon.
    #[test]
    fn a_queue_that_becomes_shorter_is_no_overload() {
        let (mut watch, mut now) = (QueueWatch::default(), Instant::now());
        for waiting in [1000, 870, 760, 660] {
            assert_eq!(watch.judge(stood(3000), now, || waiting), QueueVerdict::Serve);
            now += limits::QUEUE_INTERVAL;
        }
        assert!(!watch.is_overloaded());
        watch.judge(stood(3000), now, || 650);
        assert!(watch.is_overloaded());
    }

    #[test]
    fn a_queue_gets_as_many_places_as_are_served_within_the_target() {
        let (mut watch, now) = overloaded(50);
        // 50 in 100 ms are 100 in 200 ms.
        assert_eq!(watch.places(now, MOST, false), Some(100));
        let later = now + limits::QUEUE_INTERVAL;
        (0..150).for_each(|_| serve(&mut watch, 200, later));
        assert_eq!(watch.places(later, MOST, false), Some(200), "half of 100, and of 300");
        assert_eq!(watch.places(later + MS, MOST, false), Some(200));
        let (mut watch, now) = overloaded(0);
        assert_eq!(watch.places(now, MOST, false), Some(limits::QUEUE_PLACES_MIN));
    }

    /// A queue that was too short for what is served between two of a CPU's turns.
    #[test]
    fn a_queue_that_ran_empty_gets_twice_the_places() {
        let (mut watch, now) = overloaded(50);
        watch.note_empty();
        serve(&mut watch, 200, now);
        assert_eq!(watch.places(now + limits::QUEUE_INTERVAL, MOST, false), Some(200));
        assert_eq!(watch.places(now + limits::QUEUE_INTERVAL, 200, false), None, "that is all of them");
        assert!(!watch.is_overloaded());
    }

    #[test]
    fn who_stood_too_long_is_shed_while_more_come_than_are_served() {
        let (mut watch, now) = overloaded(50);
        let mut judge = |stood: Duration, left| judge(&mut watch, QueueStay { stood, left }, now);
        assert_eq!(judge(limits::QUEUE_WAIT_MAX, false), QueueVerdict::Shed);
        assert_eq!(judge(limits::QUEUE_WAIT_MAX - MS, false), QueueVerdict::Serve);
        assert_eq!(judge(Duration::ZERO, true), QueueVerdict::Shed);
        let mut watch = QueueWatch::default();
        // It may have half closed.
        let left = QueueStay { stood: limits::QUEUE_WAIT_MAX, left: true };
        assert_eq!(watch.judge(left, now, || 1), QueueVerdict::Serve, "without overload");
    }

    /// Behind an overload the queue is as long as ever within a second, be it that nobody comes any more.
    #[test]
    fn a_queue_that_runs_empty_has_all_its_places_again() {
        let (mut watch, mut now) = overloaded(0);
        let began = now;
        while watch.is_overloaded() {
            now = watch.looks_at().expect("a moment");
            watch.places(now, MOST, true);
        }
        assert!(now - began <= Duration::from_secs(1), "{:?}", now - began);
        assert_eq!((watch.places(now, MOST, true), watch.looks_at()), (None, None));
    }
}
