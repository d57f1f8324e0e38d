//! The datagrams of UDP ASSOCIATE (RFC 1928 section 7), in batches.
//!
//! A batch is received into the worker's [`Inbox`], each datagram is judged where it lies, and what may go on leaves
//! as pieces of that memory: the header is skipped on the way to a target and written beside it on the way to a client.
//! No payload is copied but that of a fragment, of a datagram that waits for a name, and of a sealed one.

mod association;
mod drops;
mod fragments;
mod names;
mod outbox;
mod peers;
mod sealed;
mod tally;
mod terms;
mod up;

#[cfg(test)]
mod tests;

pub use association::{Association, Expected, Family, Pumped};
pub use drops::{Drop, Drops};
pub use tally::{Flow, Tallied, Tally};
pub use terms::Terms;

use self::outbox::Outbox;
use crate::limits;
use crate::proto::address::Name;
use crate::sys::mmsg::{Inbox, Sender};

/// What a worker lends to its associations: the memory of one batch.
#[derive(Debug)]
pub struct DatagramKit {
    inbox: Inbox,
    sender: Sender,
    /// To targets, by family.
    up: [Outbox; 2],
    down: Outbox,
    /// What the datagrams of sealed associations are opened to, or sealed to.
    translated: Vec<u8>,
    /// Names to be resolved: the lookup's number within its association, and the name. The worker takes them after
    /// each pump.
    pub asks: Vec<(u8, Name)>,
}

impl Default for DatagramKit {
    fn default() -> DatagramKit {
        DatagramKit {
            inbox: Inbox::new(limits::UDP_BATCH, limits::UDP_ROOM_BYTES),
            sender: Sender::default(),
            up: [Outbox::default(), Outbox::default()],
            down: Outbox::default(),
            translated: Vec::new(),
            asks: Vec::new(),
        }
    }
}
