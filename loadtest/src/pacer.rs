//! An open loop: starts at a given rate, whatever becomes of what was started.
//!
//! The schedule is fixed when the run begins. A start that comes late keeps the time at which it was due, and
//! its latency counts from then: a server that stalls is charged with everybody who would have come meanwhile
//! (coordinated omission corrected).
//!
//! The loop is woken by a timerfd in its own epoll set: epoll's timeout counts whole milliseconds, too coarse
//! beyond some hundred starts a second. An edge-triggered timerfd costs one call for each sleep that a start
//! ends, and is never read: setting it anew clears it. On a virtual machine the wake-up itself takes about
//! 50 us (median, at 1,000 starts a second), which every latency would carry; so the loop wakes a little early
//! and polls without sleep for the rest, which leaves 0.2 us and costs the load 20 us of CPU a start. Polling
//! for longer takes the CPU that the origin shares with the clients.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A start later than this is counted as late: well above what a wake-up takes.
const LATE: Duration = Duration::from_millis(1);

/// How long before its time a start is awaited without sleep: what a wake-up takes, and some more.
const LEAD: Duration = Duration::from_micros(100);

/// The schedule of one run.
pub(crate) struct Pacer {
    per_second: f64,
    began: Option<Instant>,
    started: u64,
    late: u64,
}

impl Pacer {
    /// `per_second` is finite and above 0; the command line has checked that.
    pub(crate) fn new(per_second: f64) -> Self {
        Self { per_second, began: None, started: 0, late: 0 }
    }

    /// The first start is due now.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// When the next start is due; `None` before the beginning.
    pub(crate) fn due(&self) -> Option<Instant> {
        // Computed from the beginning each time: rounding does not add up.
        let offset = Duration::from_secs_f64(self.started as f64 / self.per_second);
        self.began.map(|began| began + offset)
    }

    /// Takes the next start if it is due: the time from which its latency counts.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due().filter(|due| *due <= now)?;
        self.started += 1;
        self.late += u64::from(now.duration_since(due) > LATE);
        Some(due)
    }

    /// Starts per second that were asked for.
    pub(crate) fn rate(&self) -> f64 {
        self.per_second
    }

    /// Starts that came more than a millisecond after they were due, for want of a free place or of CPU.
    pub(crate) fn late_starts(&self) -> u64 {
        self.late
    }
}

/// Wakes an event loop at a moment, to some microseconds.
pub(crate) struct Alarm {
    timer: TimerFd,
    set_for: Option<Instant>,
}

impl Alarm {
    /// Registers the alarm as `token`; its events carry nothing, the loop only has to look at the clock.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        registry.register(&mut SourceFd(&timer.as_fd().as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, set_for: None })
    }

    /// Goes off a little before `due`; `true` once it is so near that the loop must not sleep any more.
    pub(crate) fn approach(&mut self, due: Instant) -> io::Result<bool> {
        let near = due.saturating_duration_since(Instant::now()) <= LEAD;
        if !near {
            self.set(due - LEAD)?;
        }
        Ok(near)
    }

    /// Goes off at `due`, or at once if that has passed. The same moment again costs no call.
    pub(crate) fn set(&mut self, due: Instant) -> io::Result<()> {
        if self.set_for == Some(due) {
            return Ok(());
        }
        // A time of 0 would disarm the timer.
        let ahead = due.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let nanoseconds = i64::try_from(ahead.as_nanos()).unwrap_or(i64::MAX);
        let once = Expiration::OneShot(TimeSpec::nanoseconds(nanoseconds));
        self.timer.set(once, TimerSetTimeFlags::empty())?;
        self.set_for = Some(due);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    #[test]
    fn starts_keep_the_time_at_which_they_were_due() {
        let mut pacer = Pacer::new(1000.0);
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        assert_eq!(pacer.take(began), None);
        pacer.begin(began);
        assert_eq!(pacer.take(began), Some(began));
        assert_eq!(pacer.take(began), None);
        // Nobody could be let in for 4 ms: three of the four starts due by then are late.
        let due: Vec<Instant> = std::iter::from_fn(|| pacer.take(at(4))).collect();
        assert_eq!(due, [at(1), at(2), at(3), at(4)]);
        assert_eq!(pacer.late_starts(), 2);
        assert_eq!(pacer.due(), Some(at(5)));
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let mut pacer = Pacer::new(3.0);
        let began = Instant::now();
        pacer.begin(began);
        let hour = began + Duration::from_secs(3600);
        assert_eq!(std::iter::from_fn(|| pacer.take(hour)).count(), 10_801);
    }

    #[test]
    fn the_loop_is_woken_before_a_start_is_due() {
        let mut poll = Poll::new().expect("a poll");
        let mut alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        let due = Instant::now() + Duration::from_millis(2);
        assert!(!alarm.approach(due).expect("the timer is set"));
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(10))).expect("the loop wakes");
        assert!(!events.is_empty() && alarm.approach(due).expect("nothing to set"));
    }

    #[test]
    fn an_alarm_wakes_the_loop_again_and_again() {
        let mut poll = Poll::new().expect("a poll");
        let mut alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            let due = Instant::now() + Duration::from_micros(300);
            alarm.set(due).expect("the timer is set");
            poll.poll(&mut events, Some(Duration::from_secs(10))).expect("the loop wakes");
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
            assert!(Instant::now() >= due);
        }
    }
}
