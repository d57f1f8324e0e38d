//! What a worker lends to its associations.

use super::outbox::Outbox;
use crate::limits;
use crate::policy::Decision;
use crate::proto::address::Name;
use crate::sys::mmsg::{Inbox, Sender};

/// The memory of one batch.
#[derive(Debug)]
pub struct DatagramKit {
    pub(super) inbox: Inbox,
    pub(super) sender: Sender,
    /// To targets, by family.
    pub(super) up: [Outbox; 2],
    pub(super) down: Outbox,
    /// What the datagrams of sealed associations are opened to, or sealed to.
    pub(super) translated: Vec<u8>,
    /// Names to be resolved: the lookup's number within its association, and the name. The worker takes them after
    /// each pump.
    pub asks: Vec<(u8, Name)>,
    /// What rules decided anew. The worker takes it after each pump.
    pub decisions: Vec<Decision>,
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
            decisions: Vec::new(),
        }
    }
}
