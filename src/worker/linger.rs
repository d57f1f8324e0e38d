//! Connections that linger: one side is left, has our FIN, and a moment to take what it is owed. Closing at once would turn
//! what it still sends into a RST, and that would take its bytes away.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::core::Core;
use super::next::Next;
use crate::limits;
use crate::outcome::Reason;
use crate::sys::Read;
use crate::sys::stream::Stream;

/// The side that is left. What it sends is dropped.
#[derive(Debug)]
pub(super) struct Linger {
    socket: Stream,
    /// Why the session ended.
    pub(super) reason: Reason,
    until: Instant,
    /// When even bytes that are not acknowledged are given up.
    last: Instant,
}

impl Linger {
    /// `patience` bounds how long a slow reader may take to acknowledge what it is owed.
    pub(super) fn new(socket: Stream, reason: Reason, patience: Duration, now: Instant) -> Linger {
        Linger { socket, reason, until: now + limits::LINGER, last: now + patience.max(limits::LINGER) }
    }

    pub(super) fn begin(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        core.arm(connection.key, self.until);
        self.drain(core, connection)
    }

    /// Reads and drops what the side sends.
    pub(super) fn drain(&mut self, core: &mut Core, connection: &mut Connection) -> Next {
        for _ in 0..limits::PUMP_ROUNDS_MAX {
            match self.socket.recv(core.kit.scratch()) {
                Read::Bytes(_) => {}
                Read::Blocked => return Next::Wait,
                Read::End | Read::Failed(_) => return Next::Close(self.reason),
            }
        }
        core.enqueue(connection);
        Next::Wait
    }

    /// The side that is left gets nothing more.
    pub(super) fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    pub(super) fn timer(&mut self, core: &mut Core, connection: &Connection) -> Next {
        let owed = self.socket.unacknowledged_bytes() > 0;
        if core.now >= self.until && owed && core.now < self.last {
            // A reset would take from a slow reader what a FIN has promised.
            self.until = core.now + limits::LINGER;
        }
        if core.now < self.until {
            core.arm(connection.key, self.until);
            return Next::Wait;
        }
        self.socket.reset_on_close();
        Next::Close(self.reason)
    }
}
