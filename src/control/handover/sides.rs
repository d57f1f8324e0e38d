//! What a server has of those before and behind it.

use crossbeam_channel::{Receiver, Sender};

use super::door::TakeoverSocket;
use super::ending::OwnEnding;
use super::uses::CarriedFromPredecessor;
use crate::admin::OlderServers;

/// What a server has of those before and behind it.
#[derive(Debug)]
pub(in crate::control) struct HandoverSides {
    /// Where a server asks that is to take this one's place.
    pub(in crate::control) takeover: Option<TakeoverSocket>,
    /// What its sessions' numbers begin with.
    pub(in crate::control) boot: u32,
    /// The server before this one, and what is counted of it once it has said all else.
    pub(in crate::control) earlier: OlderServers,
    pub(in crate::control) carried: Option<CarriedFromPredecessor>,
    /// When this one ends itself, once another has its place.
    pub(in crate::control) ending: OwnEnding,
    /// What ends the telling of what sessions have, and is told of that.
    pub(in crate::control) telling: Option<(Sender<()>, Receiver<()>)>,
}

impl HandoverSides {
    pub(in crate::control) fn new(takeover: Option<TakeoverSocket>, boot: u32) -> HandoverSides {
        let (earlier, ending) = (OlderServers::default(), OwnEnding::default());
        HandoverSides { takeover, boot, earlier, carried: None, ending, telling: None }
    }
}
