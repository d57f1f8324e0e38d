//! Sessions that relay, and sessions that linger.

use super::core::Core;
use super::slot::{Fate, Linger, Phase, Slot};
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::limits;
use crate::observe::Direction;
use crate::outcome::Reason;
use crate::relay::{Budgets, Driven, Engine, Finish, Resume, Side};
use crate::sys::Read;
use crate::sys::stream::Liveness;
use std::time::{Duration, Instant};

impl Core {
    pub(super) fn relay_event(&mut self, slot: &mut Slot, socket_index: u8, edge: Edge) -> Fate {
        let side = match socket_index {
            CLIENT_SOCKET => Side::Client,
            socket_index if socket_index == slot.upstream_index => Side::Target,
            // An attempt that lost and was closed in this very batch of events.
            _ => return Fate::Keep,
        };
        let Phase::Relay(relay) = &mut slot.phase else { return Fate::Keep };
        relay.event(side, edge);
        self.drive(slot)
    }

    /// Moves what can be moved in a turn: no session has a limit.
    pub(super) fn drive(&mut self, slot: &mut Slot) -> Fate {
        self.drive_within(slot, &mut { Budgets::TURN })
    }

    /// Moves what can be moved within these budgets, and sees to it that the session goes on when they allow it.
    pub(super) fn drive_within(&mut self, slot: &mut Slot, budgets: &mut Budgets) -> Fate {
        let Slot { client: Some(client), upstream: Some(upstream), phase: Phase::Relay(relay), .. } =
            &mut *slot
        else {
            return Fate::Keep;
        };
        let was_half_closed = relay.half_closed();
        let driven = relay.drive(client, upstream, &mut self.kit, budgets);
        let half_closed = relay.half_closed();
        self.count(&driven);
        if driven.progressed() {
            slot.times.active_ms = self.ms(self.now);
        }
        if let Some(finish) = driven.finish {
            return self.finish(slot, finish);
        }
        if half_closed && !was_half_closed {
            // The half-close time counts from the FIN.
            slot.times.active_ms = self.ms(self.now);
            self.arm(
                slot.key,
                self.now + slot.snapshot.config.timeouts.half_close.min(limits::LIVENESS_AFTER),
            );
        }
        match driven.resume() {
            Resume::OnEvent => {}
            Resume::NextTurn => self.enqueue(slot),
            Resume::AtMs(at_ms) => self.arm_by(slot.key, at_ms),
        }
        Fate::Keep
    }

    fn count(&self, driven: &Driven) {
        for (direction, moved) in [(Direction::Up, &driven.up), (Direction::Down, &driven.down)] {
            for engine in Engine::ALL {
                self.counters.relay(direction, engine, moved.by(engine));
            }
        }
        if driven.up.by(Engine::Splice) + driven.down.by(Engine::Splice) > 0 {
            self.note_pipes();
        }
    }

    fn finish(&mut self, slot: &mut Slot, finish: Finish) -> Fate {
        let reason_of = |side| match side {
            Side::Client => Reason::ClientReset,
            Side::Target => Reason::TargetReset,
        };
        match finish {
            Finish::Completed => Fate::Close(Reason::Completed),
            Finish::Reset { failed } => {
                if let Some(other) = slot.socket(failed.opposite()) {
                    other.reset_on_close();
                }
                let Phase::Relay(relay) = &slot.phase else { return Fate::Close(reason_of(failed)) };
                let Some(error) = relay.seal_error() else { return Fate::Close(reason_of(failed)) };
                tracing::debug!(client = %slot.peer, %error, "sealed session cut off");
                // This side did not fail, but what it gets is not all either.
                if let Some(this) = slot.socket(failed) {
                    this.reset_on_close();
                }
                Fate::Close(Reason::Protection)
            }
            Finish::Linger { gone } => {
                slot.settle(&mut self.kit);
                match gone {
                    Side::Client => slot.client = None,
                    Side::Target => slot.upstream = None,
                }
                self.linger(slot, gone.opposite(), reason_of(gone), slot.snapshot.config.timeouts.half_close)
            }
        }
    }

    /// Gives one side, which has had its FIN, a moment to take what it is owed: closing at once would turn what
    /// it still sends into a RST, and that would take its bytes away.
    /// `patience` bounds how long a slow reader may take to acknowledge them.
    pub(super) fn linger(&mut self, slot: &mut Slot, side: Side, reason: Reason, patience: Duration) -> Fate {
        let until = self.now + limits::LINGER;
        let last = self.now + patience.max(limits::LINGER);
        slot.phase = Phase::Linger(Linger { side, reason, until, last });
        self.arm(slot.key, until);
        self.linger_event(slot)
    }

    pub(super) fn linger_event(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Linger(linger) = slot.phase else { return Fate::Keep };
        for _ in 0..limits::PUMP_ROUNDS_MAX {
            let Some(socket) = slot.socket(linger.side) else { return Fate::Close(linger.reason) };
            match socket.recv(self.kit.scratch()) {
                Read::Bytes(_) => {}
                Read::Blocked => return Fate::Keep,
                Read::End | Read::Failed(_) => return Fate::Close(linger.reason),
            }
        }
        self.enqueue(slot);
        Fate::Keep
    }

    pub(super) fn linger_timer(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Linger(mut linger) = slot.phase else { return Fate::Keep };
        let owed = slot.socket(linger.side).is_some_and(|socket| socket.unacknowledged_bytes() > 0);
        if self.now >= linger.until && owed && self.now < linger.last {
            // A reset would take from a slow reader what a FIN has promised.
            linger.until = self.now + limits::LINGER;
            slot.phase = Phase::Linger(linger);
        }
        if self.now < linger.until {
            self.arm(slot.key, linger.until);
            return Fate::Keep;
        }
        if let Some(socket) = slot.socket(linger.side) {
            socket.reset_on_close();
        }
        Fate::Close(linger.reason)
    }

    /// The first look at a relay's clock: soon enough to make its upstream socket lively.
    pub(super) fn arm_relay(&mut self, slot: &Slot) {
        self.arm(slot.key, self.now + slot.snapshot.config.timeouts.idle.min(limits::LIVENESS_AFTER));
    }

    pub(super) fn relay_timer(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Relay(relay) = &slot.phase else { return Fate::Keep };
        let (limit, reason) = if relay.half_closed() {
            (slot.snapshot.config.timeouts.half_close, Reason::HalfClose)
        } else {
            (slot.snapshot.config.timeouts.idle, Reason::Idle)
        };
        // What a budget holds back is not idle: it goes on as soon as the budget allows it.
        let held_back = relay.ready() && !slot.queued;
        if held_back {
            slot.times.active_ms = self.ms(self.now);
        }
        let deadline = self.start + Duration::from_millis(slot.times.active_ms) + limit;
        if deadline <= self.now {
            return Fate::Close(reason);
        }
        let age_ms = self.ms(self.now) - slot.times.accepted_ms;
        let mut next = self.rounded(deadline, limit);
        if !slot.lively {
            if age_ms >= limits::LIVENESS_AFTER.as_millis() as u64 {
                slot.lively = true;
                if let Some(upstream) = &slot.upstream {
                    upstream.set_liveness(&liveness(&slot.snapshot.config));
                }
            } else {
                next = next.min(self.now + limits::LIVENESS_AFTER);
            }
        }
        self.arm(slot.key, next);
        if held_back { self.drive(slot) } else { Fate::Keep }
    }

    /// Long limits share wake-ups: their deadlines are rounded up.
    fn rounded(&self, deadline: Instant, limit: Duration) -> Instant {
        let step = limits::IDLE_ROUNDING.as_millis() as u64;
        if limit < limits::IDLE_ROUNDING * 16 {
            return deadline;
        }
        self.start + Duration::from_millis(self.ms(deadline).div_ceil(step) * step)
    }
}

/// How a socket notices a peer that is gone, from the configuration.
pub(crate) fn liveness(config: &crate::config::Config) -> Liveness {
    Liveness {
        keepalive_idle: limits::KEEPALIVE_IDLE.min(config.timeouts.idle).max(Duration::from_secs(1)),
        keepalive_interval: limits::KEEPALIVE_INTERVAL,
        unacked: config.timeouts.unacked,
    }
}
