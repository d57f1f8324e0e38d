//! The datagrams of one association that are under way: which came back, which are lost, which came twice.
//! No socket and no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Datagrams that one association may have under way or in memory: at 1,000,000 a second with a
/// `--loss-after` of 1 s all of them.
const SLOTS_MAX: usize = 1 << 20;
/// How many settled datagrams are remembered, to tell a second copy from a late one.
const REMEMBERED: usize = 1 << 14;

/// What became of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DatagramState {
    Out,
    Back,
    Lost,
}

#[derive(Clone, Copy)]
struct Slot {
    /// When it was meant to be sent: its round trip counts from there.
    intended: Instant,
    /// When it was sent: its loss counts from there.
    sent: Instant,
    state: DatagramState,
}

/// What an echo says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// In time.
    InTime { intended: Instant, reordered: bool },
    /// An echo that was counted as lost.
    Late,
    /// An echo that was back already.
    Duplicate,
    /// Its number was never sent.
    Unknown,
}

/// Numbers from 0 up in the order of sending.
#[derive(Default)]
pub(super) struct Flight {
    /// The number of `slots[0]`.
    base: u64,
    slots: VecDeque<Slot>,
    out: usize,
    /// All before this number are back or lost.
    settled: u64,
    /// One more than the highest number that came back.
    newest: u64,
}

impl Flight {
    /// Datagrams under way.
    pub(super) fn out(&self) -> usize {
        self.out
    }

    /// How many more may be launched.
    pub(super) fn room(&self) -> usize {
        SLOTS_MAX - self.slots.len()
    }

    /// The number of the next datagram.
    pub(super) fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// The next datagram has been sent.
    pub(super) fn launch(&mut self, intended: Instant, sent: Instant) {
        self.slots.push_back(Slot { intended, sent, state: DatagramState::Out });
        self.out += 1;
    }

    /// Datagram `number` came back.
    pub(super) fn land(&mut self, number: u64) -> Landing {
        if number >= self.next() {
            return Landing::Unknown;
        }
        let Some(at) = number.checked_sub(self.base) else { return Landing::Late };
        let slot = &mut self.slots[at as usize];
        match slot.state {
            DatagramState::Back => Landing::Duplicate,
            DatagramState::Lost => {
                slot.state = DatagramState::Back;
                Landing::Late
            }
            DatagramState::Out => {
                slot.state = DatagramState::Back;
                self.out -= 1;
                let reordered = number < self.newest;
                self.newest = self.newest.max(number + 1);
                Landing::InTime { intended: slot.intended, reordered }
            }
        }
    }

    /// Gives up what was sent before `now - loss_after`; `lost` is told each number.
    pub(super) fn expire(&mut self, now: Instant, loss_after: Duration, mut lost: impl FnMut(u64)) {
        while self.settled < self.next() {
            let slot = &mut self.slots[(self.settled - self.base) as usize];
            if slot.state == DatagramState::Out {
                if now.duration_since(slot.sent) < loss_after {
                    break;
                }
                slot.state = DatagramState::Lost;
                self.out -= 1;
                lost(self.settled);
            }
            self.settled += 1;
        }
        let forget = ((self.settled - self.base) as usize).saturating_sub(REMEMBERED);
        self.slots.drain(..forget);
        self.base += forget as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn launched(count: u64, at: Instant) -> Flight {
        let mut flight = Flight::default();
        (0..count).for_each(|_| flight.launch(at, at));
        flight
    }

    #[test]
    fn each_echo_is_told_from_the_others() {
        let at = Instant::now();
        let mut flight = launched(3, at);
        assert_eq!(flight.land(1), Landing::InTime { intended: at, reordered: false });
        assert_eq!(flight.land(0), Landing::InTime { intended: at, reordered: true });
        assert_eq!(flight.land(1), Landing::Duplicate);
        assert_eq!(flight.land(3), Landing::Unknown);
        assert_eq!(flight.out(), 1);
    }

    #[test]
    fn a_lost_one_frees_its_place_and_may_still_come() {
        let at = Instant::now();
        let mut flight = launched(2, at);
        flight.land(0);
        let mut lost = Vec::new();
        flight.expire(at + SECOND / 2, SECOND, |number| lost.push(number));
        assert!(lost.is_empty());
        flight.expire(at + SECOND, SECOND, |number| lost.push(number));
        assert_eq!((lost, flight.out()), (vec![1], 0));
        assert_eq!(flight.land(1), Landing::Late);
        assert_eq!(flight.land(1), Landing::Duplicate);
    }

    #[test]
    fn memory_is_bounded() {
        let at = Instant::now();
        let count = REMEMBERED as u64 + 10;
        let mut flight = launched(count, at);
        for number in 0..count {
            flight.land(number);
        }
        flight.expire(at, SECOND, |_| {});
        assert_eq!((flight.slots.len(), flight.base, flight.next()), (REMEMBERED, 10, count));
        assert_eq!(flight.land(3), Landing::Late);
    }
}
