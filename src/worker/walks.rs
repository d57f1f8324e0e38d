//! The walks over all sessions that a worker has under way, and how each is answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::mailbox::{Killed, Listed, Reply, TalkersTold, Walked};
use crate::limits;
use crate::observe::filter::{Selection, SessionFilter};
use crate::observe::talkers::TalkersFound;

/// The walks of a worker: they take turns.
#[derive(Debug, Default)]
pub(super) struct Walks {
    queue: VecDeque<Walk>,
    /// When what sessions moved is counted next for the talkers; `None` where there are none.
    counts_at: Option<Instant>,
}

/// One walk. However it ends, who asked is told so.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) task: Task,
    worker: usize,
    /// The place that is looked at next.
    pub(super) at: usize,
    over: bool,
}

/// What a walk is for.
#[derive(Debug)]
pub(super) enum Task {
    /// Tell of those that pass.
    List { filter: Arc<SessionFilter>, reply: Reply<Listed> },
    /// End those that are meant.
    Kill { which: Arc<Selection>, ended: u64, reply: Reply<Killed> },
    /// Count what they moved since the walk before, and tell the talkers to whoever asks.
    Talkers { reply: Option<Reply<TalkersTold>> },
    /// Begin to count: what they have moved so far is no matter.
    BeginTalkers,
    /// End those that the rules deny by now.
    Revoke { ended: u64 },
    /// End those whose quota is used up by now.
    EndSpent,
    /// Close what is kept for another request.
    EndKept,
}

impl Walk {
    pub(super) fn new(task: Task, worker: usize) -> Walk {
        Walk { task, worker, at: 0, over: false }
    }

    /// Says how it ended.
    pub(super) fn end(mut self, walked: Walked, total: usize, found: TalkersFound) {
        self.over = true;
        self.say(walked, total, found);
    }

    /// Ends where nobody listens.
    pub(super) fn give_up(mut self) {
        self.over = true;
    }

    fn say(&self, walked: Walked, total: usize, found: TalkersFound) {
        let worker = self.worker;
        // Nobody need be there to hear it.
        let _ = match &self.task {
            Task::List { reply, .. } => reply.send(Listed::End { worker, walked, total }),
            Task::Kill { reply, ended, .. } => reply.send(Killed { worker, walked, ended: *ended }),
            Task::Talkers { reply: Some(reply) } => reply.send(TalkersTold { worker, walked, found }),
            Task::Talkers { reply: None }
            | Task::BeginTalkers
            | Task::Revoke { .. }
            | Task::EndSpent
            | Task::EndKept => true,
        };
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if !self.over {
            self.say(Walked::Broken, 0, TalkersFound::default());
        }
    }
}

impl Walks {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the worker has to begin one by itself.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.counts_at
    }

    /// Lets a walk take its turns; gives it back where there are too many.
    pub(super) fn enter(&mut self, walk: Walk) -> Result<(), Walk> {
        if self.queue.len() >= limits::WALKS_MAX {
            return Err(walk);
        }
        self.queue.push_back(walk);
        Ok(())
    }

    /// Counts for the talkers from now on, or no more.
    pub(super) fn count(&mut self, worker: usize, from: Option<Instant>) {
        self.counts_at = from.map(|now| now + limits::TALKERS_WINDOW);
        if from.is_some() {
            self.queue.push_back(Walk::new(Task::BeginTalkers, worker));
        }
    }

    /// Ends what the rules deny by now; a walk for rules before them need not go on.
    pub(super) fn revoke(&mut self, worker: usize) {
        self.queue.retain(|walk| !matches!(walk.task, Task::Revoke { .. }));
        self.queue.push_back(Walk::new(Task::Revoke { ended: 0 }, worker));
    }

    /// Ends whose quota is used up by now. A walk that is under way goes on: it may never come to an end otherwise.
    pub(super) fn end_spent(&mut self, worker: usize) {
        self.queue.retain(|walk| !matches!(walk.task, Task::EndSpent) || walk.at > 0);
        self.queue.push_back(Walk::new(Task::EndSpent, worker));
    }

    /// Closes what is kept for another request.
    pub(super) fn end_kept(&mut self, worker: usize) {
        self.queue.push_back(Walk::new(Task::EndKept, worker));
    }

    /// The walk whose turn it is. Where it is time, that for the talkers takes its turns, too.
    pub(super) fn next(&mut self, worker: usize, now: Instant) -> Option<Walk> {
        if self.counts_at.is_some_and(|at| at <= now) {
            self.counts_at = Some(now + limits::TALKERS_WINDOW);
            self.queue.push_back(Walk::new(Task::Talkers { reply: None }, worker));
        }
        self.queue.pop_front()
    }

    /// Puts a walk back that has more to do.
    pub(super) fn put_back(&mut self, walk: Walk) {
        self.queue.push_back(walk);
    }
}
