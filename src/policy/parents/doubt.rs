//! What speaks against a server and may not be its fault: a connection that it closed in place of a reply, as many proxies do where
//! a target is down, and a dial from a pool of addresses that came to nothing, where the address may be what is dead.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::triers::hash;
use crate::limits;
use crate::proto::address::Host;
use crate::shares::Source;

/// What there is of it since the server did last what it was asked for.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Closes: a bit for each class of targets, above them one for each class of networks that clients came from, above them one
    /// that says that another server reached such a target, and above it the second in which it began, from 1; 0: none.
    closed: AtomicU64,
    /// The entry of a pool from which a dial came to nothing; 0: none.
    entry: AtomicU64,
    /// The second in which it led a session on last, from 1; 0: none.
    served: AtomicU64,
}

/// What a server closed the connection on.
#[derive(Clone, Copy, Debug)]
pub struct ClosedOn<'a> {
    /// The target that it was asked for.
    pub target: &'a Host,
    /// The client that asked.
    pub client: IpAddr,
}

const CLASSES: u32 = 16;
const CLASS_BITS: u64 = (1 << CLASSES) - 1;
const REACHED: u64 = 1 << (2 * CLASSES);
const BEGAN_AT: u32 = 2 * CLASSES + 1;

impl Doubts {
    /// One more close; whether it is the server's fault: it closes on several targets, and for clients from several networks, or
    /// where another server leads on and this one has led nobody on of late. Who has targets that take one server and no other could
    /// have everybody kept away from all but that.
    pub(super) fn closed(&self, on: ClosedOn<'_>, within: Duration, now_ms: u64) -> bool {
        let bits = class(on.target) | class(Source::from(on.client).network()) << CLASSES;
        let second = second_of(now_ms);
        let within_s = within.as_secs().max(1);
        let add = |word: u64| {
            let fresh = word != 0 && second < (word >> BEGAN_AT).saturating_add(within_s);
            Some(if fresh { word | bits } else { second << BEGAN_AT | bits })
        };
        let before = self.closed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or_default();
        let word = add(before).unwrap_or_default();
        let (targets, networks) =
            ((word & CLASS_BITS).count_ones(), (word >> CLASSES & CLASS_BITS).count_ones());
        let served = self.served.load(Ordering::Relaxed);
        let serves = served != 0 && second < served.saturating_add(within_s);
        targets as usize >= limits::FAILED_TARGETS_MIN
            && (networks as usize >= limits::FAILED_CLIENTS_MIN || (word & REACHED != 0 && !serves))
    }

    /// It led a session on. Written once a second.
    pub(super) fn served(&self, now_ms: u64) {
        let second = second_of(now_ms);
        if self.served.load(Ordering::Relaxed) != second {
            self.served.store(second, Ordering::Relaxed);
        }
    }

    /// Another server led to what this one closed on.
    pub(super) fn was_reached(&self) {
        let add = |word: u64| (word != 0).then_some(word | REACHED);
        let _ = self.closed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// A dial from this entry of a pool came to nothing; whether one from another did, too, and it is not the address.
    pub(super) fn not_reached_from(&self, entry: u64) -> bool {
        let entry = entry.max(1);
        ![0, entry].contains(&self.entry.swap(entry, Ordering::Relaxed))
    }

    /// The server did what it was asked for. Most of the time there is nothing to forget, and nothing is written.
    pub(super) fn clear(&self) {
        for word in [&self.closed, &self.entry] {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// The second of a moment, from 1.
fn second_of(now_ms: u64) -> u64 {
    now_ms / 1000 + 1
}

/// The bit of the class that something is of.
fn class(of: impl Hash) -> u64 {
    1 << (hash(of) % u64::from(CLASSES))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn closes(doubts: &Doubts, target: u8, network: u8, now_ms: u64) -> bool {
        let target = Host::Ip([203, 0, 113, target].into());
        doubts.closed(ClosedOn { target: &target, client: [198, 51, network, 1].into() }, WITHIN, now_ms)
    }

    #[test]
    fn closes_on_many_targets_for_many_clients_are_the_servers() {
        let some = |targets: u8, networks: u8| {
            let doubts = Doubts::default();
            (0..200).any(|nth| closes(&doubts, nth % targets, nth % networks, 5))
        };
        assert!(some(64, 63));
        assert!(!some(1, 63), "one target is down");
        assert!(!some(64, 1), "one client asks for what is down");
    }

    /// One client is alone, and another server leads where this one closes.
    #[test]
    fn closes_are_the_servers_where_another_leads_on() {
        let doubts = Doubts::default();
        doubts.was_reached();
        assert!(!closes(&doubts, 1, 1, 5), "nothing was closed when that was so");
        doubts.was_reached();
        assert!(!closes(&doubts, 1, 1, 5), "one target may be closed to it");
        assert!((2..64).any(|target| closes(&doubts, target, 1, 5)));
        doubts.clear();
        assert!(!(2..64).any(|target| closes(&doubts, target, 1, 5)), "it has served since");
    }

    /// One client had targets that took one server and refused the others, faster than these led anybody on: they were all away.
    #[test]
    fn closes_are_not_the_servers_that_leads_others_on() {
        let doubts = Doubts::default();
        let closes_at = |now_ms| {
            (1..64).any(|target| {
                let away = closes(&doubts, target, 1, now_ms);
                doubts.was_reached();
                away
            })
        };
        doubts.served(5);
        doubts.clear();
        assert!(!closes_at(9_000), "it led one on within that time");
        assert!(closes_at(10_000));
    }

    #[test]
    fn closes_of_another_time_are_forgotten() {
        let doubts = Doubts::default();
        assert!(!(0..200_u8).any(|nth| closes(&doubts, nth, nth, u64::from(nth) * 5_000)));
    }

    #[test]
    fn dials_from_two_addresses_show_that_neither_is_what_is_dead() {
        let doubts = Doubts::default();
        assert!(!doubts.not_reached_from(7) && !doubts.not_reached_from(7));
        assert!(doubts.not_reached_from(8) && doubts.not_reached_from(7));
        doubts.clear();
        assert!(!doubts.not_reached_from(7));
    }
}
