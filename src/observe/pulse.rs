//! What a worker is doing, for others to see: one number with one writer, so that it costs a turn no call and no lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a worker does at a moment of its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Begins, at first or anew.
    Starting,
    /// Sleeps until there is something to do.
    Waiting,
    /// Deals with events, mail among them.
    Events,
    /// Lets sessions go on that had more to do.
    Queue,
    /// Walks over its sessions for somebody who asked.
    Walks,
    /// Lets timers fire.
    Timers,
    /// Hands out what the resolver found.
    Names,
    /// Accepts connections.
    Accepts,
    /// Hands over access records.
    Records,
    /// Ends the sessions that are left.
    Closing,
    /// Has ended.
    Ended,
}

impl Activity {
    const ALL: [Activity; 11] = [
        Activity::Starting,
        Activity::Waiting,
        Activity::Events,
        Activity::Queue,
        Activity::Walks,
        Activity::Timers,
        Activity::Names,
        Activity::Accepts,
        Activity::Records,
        Activity::Closing,
        Activity::Ended,
    ];

    /// The word for logs.
    pub fn name(self) -> &'static str {
        match self {
            Activity::Starting => "starting",
            Activity::Waiting => "waiting",
            Activity::Events => "events",
            Activity::Queue => "queue",
            Activity::Walks => "walks",
            Activity::Timers => "timers",
            Activity::Names => "names",
            Activity::Accepts => "accepts",
            Activity::Records => "records",
            Activity::Closing => "closing",
            Activity::Ended => "ended",
        }
    }

    /// Whether it may last without end: no turn is under way.
    pub fn is_rest(self) -> bool {
        matches!(self, Activity::Waiting | Activity::Ended)
    }
}

/// Bits of the activity; the turn's number stands above them.
const ACTIVITY_BITS: u32 = 4;
const ACTIVITY_MASK: u64 = (1 << ACTIVITY_BITS) - 1;

/// Which turn a worker is in, and what it does in it. Only that worker writes it.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// The next turn begins.
    pub fn turn(&self) {
        let turn = (self.0.load(Ordering::Relaxed) >> ACTIVITY_BITS).wrapping_add(1);
        self.0.store((turn << ACTIVITY_BITS) | Activity::Events as u64, Ordering::Relaxed);
    }

    /// The turn goes on with this.
    pub fn enter(&self, activity: Activity) {
        let turn = self.0.load(Ordering::Relaxed) & !ACTIVITY_MASK;
        self.0.store(turn | activity as u64, Ordering::Relaxed);
    }

    /// The turn's number, and what is done in it.
    pub fn read(&self) -> (u64, Activity) {
        let value = self.0.load(Ordering::Relaxed);
        let activity = Activity::ALL.get((value & ACTIVITY_MASK) as usize).copied();
        (value >> ACTIVITY_BITS, activity.unwrap_or(Activity::Starting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_and_activities_are_told_apart() {
        let pulse = Pulse::default();
        assert_eq!(pulse.read(), (0, Activity::Starting));
        for turn in 1..=3 {
            pulse.turn();
            assert_eq!(pulse.read(), (turn, Activity::Events));
            for activity in Activity::ALL {
                pulse.enter(activity);
                assert_eq!(pulse.read(), (turn, activity));
            }
        }
    }
}
