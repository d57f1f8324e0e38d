//! How long things took, as the workers tell it when they are asked. Nobody waits for a worker: one that stands still has
//! what it told before.

use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use mio::Waker;

use crate::observe::Latencies;
use crate::worker::{Mail, Mailbox, Reply};

/// What each worker told last.
#[derive(Debug)]
pub struct WorkerLatencies(Vec<Told>);

#[derive(Debug)]
struct Told {
    last: Box<Latencies>,
    /// The memory of what it told before.
    spare: Option<Box<Latencies>>,
    reply: Reply<Box<Latencies>>,
    answers: Receiver<Box<Latencies>>,
    /// Was asked and has not answered.
    owes: bool,
}

impl WorkerLatencies {
    /// Of so many workers, none of which has told anything; each answer wakes this poll, if there is one.
    pub fn of(workers: usize, waker: Option<&Arc<Waker>>) -> WorkerLatencies {
        let told = |_| {
            let (sender, answers) = bounded(1);
            let reply = Reply::new(sender, waker.cloned());
            Told { last: Box::default(), spare: None, reply, answers, owes: false }
        };
        WorkerLatencies((0..workers).map(told).collect())
    }

    /// Asks the workers that these mailboxes are of, in their order, but for those that owe an answer.
    pub fn ask(&mut self, mailboxes: &[Mailbox]) {
        self.take();
        for (told, mailbox) in self.0.iter_mut().zip(mailboxes).filter(|(told, _)| !told.owes) {
            let mut copy = told.spare.take().unwrap_or_default();
            copy.clear();
            told.owes = mailbox.offer(Mail::Latencies(copy, told.reply.clone()));
        }
    }

    /// Takes the answers that came; true where no worker owes one.
    pub fn take(&mut self) -> bool {
        for told in &mut self.0 {
            if let Ok(latencies) = told.answers.try_recv() {
                told.spare = Some(std::mem::replace(&mut told.last, latencies));
                told.owes = false;
            }
        }
        !self.0.iter().any(|told| told.owes)
    }

    /// What one worker told last.
    pub fn of_worker(&self, number: usize) -> Option<&Latencies> {
        self.0.get(number).map(|told| &*told.last)
    }

    /// What all workers told last.
    pub fn merged(&self) -> Latencies {
        let mut all = Latencies::default();
        self.0.iter().for_each(|told| all.merge(&told.last));
        all
    }
}
