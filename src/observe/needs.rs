//! What live traffic needs of a policy: told by the workers, gathered by one thread.
//!
//! A sender never waits. What it told lately it does not tell again, and what finds no room is dropped and counted: whatever
//! is asked for again is told then.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits;
use crate::proto::address::Host;
use crate::proto::request::RequestCommand;

/// One thing that somebody asked for and got.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrafficNeed {
    /// Who; `None`: nobody in particular.
    pub user: Option<Arc<str>>,
    /// What for.
    pub command: RequestCommand,
    /// Where to: the name that was asked for, or the address.
    pub host: Host,
    /// The port there.
    pub port: u16,
}

/// Where needs go. Each worker has its own [`NeedsTold`] of it.
#[derive(Clone, Debug)]
pub struct NeedSender(Sender<TrafficNeed>);

/// A queue of needs.
pub fn needs() -> (NeedSender, Receiver<TrafficNeed>) {
    let (sender, receiver) = bounded(limits::NEEDS_QUEUED_MAX);
    (NeedSender(sender), receiver)
}

impl NeedSender {
    /// Whether both lead to the same queue.
    pub fn is(&self, other: &NeedSender) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// What one worker has told.
#[derive(Debug)]
pub struct NeedsTold {
    sender: NeedSender,
    hasher: RandomState,
    /// Hashes of what was told lately, each at its place: another one there takes it.
    told: Box<[u64]>,
}

impl NeedsTold {
    /// Nothing so far.
    pub fn new(sender: NeedSender) -> NeedsTold {
        NeedsTold { sender, hasher: RandomState::new(), told: vec![0; limits::NEEDS_REMEMBERED].into() }
    }

    /// Where needs go.
    pub fn sender(&self) -> &NeedSender {
        &self.sender
    }

    /// Tells of a need, unless it was told lately; false where there was no room.
    pub fn tell(&mut self, user: Option<&Arc<str>>, command: RequestCommand, host: &Host, port: u16) -> bool {
        // Zero stands for nothing.
        let hash = self.hasher.hash_one((user, command, host, port)) | 1;
        let place = (hash >> 1) as usize % self.told.len();
        if self.told[place] == hash {
            return true;
        }
        let need = TrafficNeed { user: user.cloned(), command, host: host.clone(), port };
        let sent = self.sender.0.try_send(need).is_ok();
        if sent {
            self.told[place] = hash;
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_need_is_told_once_by_each_worker_and_to_each_queue() {
        let (sender, receiver) = needs();
        let (mut one, mut other) = (NeedsTold::new(sender.clone()), NeedsTold::new(sender.clone()));
        let ann: Arc<str> = "ann".into();
        for _ in 0..3 {
            assert!(one.tell(Some(&ann), RequestCommand::Connect, &host("Example.com."), 443));
            assert!(one.tell(None, RequestCommand::Connect, &host("example.com"), 443));
        }
        assert!(other.tell(None, RequestCommand::Connect, &host("example.com"), 443));
        let told: Vec<TrafficNeed> = receiver.try_iter().collect();
        assert_eq!(
            told.iter().map(|need| need.user.as_deref()).collect::<Vec<_>>(),
            [Some("ann"), None, None]
        );
        assert!(told.iter().all(|need| need.host == host("example.com") && need.port == 443));
        assert!(one.sender().is(&sender) && !sender.is(&needs().0));
    }

    #[test]
    fn what_finds_no_room_is_told_the_next_time() {
        let (sender, receiver) = needs();
        let mut worker = NeedsTold::new(sender);
        let mut tell = |port: usize| {
            worker.tell(None, RequestCommand::Bind, &host("192.0.2.1"), u16::try_from(port).unwrap())
        };
        let most = limits::NEEDS_QUEUED_MAX;
        assert_eq!((1..=most).filter(|port| tell(*port)).count(), most);
        assert!(!tell(most + 1));
        receiver.try_iter().for_each(drop);
        assert!(tell(most + 1));
        assert_eq!(receiver.try_iter().count(), 1);
    }
}
