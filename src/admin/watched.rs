//! What the endpoint looks at, and whom it asks.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::metrics::Beside;
use super::orders::OrderLetter;
use super::standing::Standing;
use crate::observe::{Counters, Pulse};
use crate::worker::Mailbox;

/// A running server as the endpoint sees it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The workers, by number.
    pub workers: Vec<WatchedWorker>,
    /// What others than the workers count.
    pub beside: Beside,
    /// How the server stands.
    pub standing: Arc<Standing>,
    /// Where orders to the control thread go.
    pub orders: Sender<OrderLetter>,
}

/// One worker as it is seen from outside.
#[derive(Clone, Debug)]
pub struct WatchedWorker {
    /// How it is asked.
    pub mailbox: Mailbox,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Which turn it is in.
    pub pulse: Arc<Pulse>,
}
