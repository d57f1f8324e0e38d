//! Walks over all sessions for whoever asks: to tell of them, to end them, to count what they moved.
//!
//! A walk looks at a bounded part of the slab in each turn, in the order of its places, which no session changes: whoever
//! lives through the whole walk is met exactly once. The worker does not sleep meanwhile, and never waits for who asks.

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use super::Worker;
use super::mailbox::{Listed, Reply, Walked};
use super::slot::Phase;
use super::talking;
use super::view::View;
use super::walks::{Task, Walk};
use crate::limits;
use crate::observe::filter::{Selection, SessionFilter};
use crate::observe::talkers::{Talkers, TalkersFound};
use crate::outcome::Reason;
use crate::policy::accounts::LimitKind;

impl Worker {
    /// Begins a walk that somebody asks for, unless there are too many.
    pub(super) fn begin_walk(&mut self, task: Task) {
        if let Err(walk) = self.walks.enter(Walk::new(task, self.core.number)) {
            let sessions = self.slots.len() - self.core.kept;
            walk.end(Walked::Refused, sessions, TalkersFound::default());
        }
    }

    /// Goes by whether the snapshot is watched.
    pub(super) fn watch(&mut self) {
        let now = self.core.now;
        let (watched, counts) = (self.core.snapshot.watched, self.core.talkers.is_some());
        if watched != counts {
            self.core.talkers = watched.then(|| Box::new(Talkers::new(self.core.ms(now))));
            self.walks.count(self.core.number, watched.then_some(now));
        }
    }

    /// Goes on with the walk whose turn it is.
    pub(super) fn walk(&mut self) {
        let Some(mut walk) = self.walks.next(self.core.number, self.core.now) else { return };
        let heard = match &mut walk.task {
            Task::List { filter, reply } => self.list(&mut walk.at, filter, reply),
            Task::Kill { which, ended, .. } => {
                self.kill(&mut walk.at, which, ended);
                true
            }
            Task::Revoke { ended } => {
                let ends = self.part_ends(walk.at);
                self.revoke(&mut walk.at, ends, ended);
                true
            }
            Task::EndSpent => {
                self.end_spent(&mut walk.at);
                true
            }
            Task::EndKept => {
                self.end_kept(&mut walk.at);
                true
            }
            Task::Talkers { .. } | Task::BeginTalkers => {
                self.count_talkers(&mut walk.at, matches!(walk.task, Task::Talkers { .. }));
                true
            }
        };
        if !heard {
            return walk.give_up();
        }
        if walk.at < self.slots.capacity() {
            return self.walks.put_back(walk);
        }
        if let Task::Revoke { ended } = walk.task
            && ended > 0
        {
            tracing::info!(worker = self.core.number, ended, "sessions ended that the rules deny now");
        }
        let now_ms = self.core.ms(self.core.now);
        let found = match (&walk.task, &mut self.core.talkers) {
            (Task::Talkers { reply: Some(_) }, Some(talkers)) => talkers.found(now_ms),
            _ => TalkersFound::default(),
        };
        walk.end(Walked::Whole, self.slots.len() - self.core.kept, found);
    }

    /// Where this turn's part of a walk ends at the latest.
    fn part_ends(&self, at: usize) -> usize {
        (at + limits::WALK_PLACES_PER_TURN).min(self.slots.capacity())
    }

    /// Tells of some sessions; false where nobody listens any more.
    fn list(&self, at: &mut usize, filter: &SessionFilter, reply: &Reply<Listed>) -> bool {
        let (time, ends) = (SystemTime::now(), self.part_ends(*at));
        let mut page = Vec::new();
        while *at < ends && page.len() < limits::LIST_PAGE_SESSIONS {
            if let Some(slot) = self.slots.get(*at).filter(|slot| slot.phase.is_session()) {
                let view = View::of(&self.core, slot);
                if filter.passes(&view.candidate()) {
                    page.push(view.keep(time));
                }
            }
            *at += 1;
        }
        page.is_empty() || reply.send(Listed::Page(page))
    }

    /// Ends some sessions.
    fn kill(&mut self, at: &mut usize, which: &Selection, ended: &mut u64) {
        let (ends, mut left) = (self.part_ends(*at), limits::KILLS_PER_TURN);
        while *at < ends && left > 0 {
            if let Some(slot) = self.slots.get(*at).filter(|slot| slot.phase.is_session()) {
                let view = View::of(&self.core, slot);
                let meant = match which {
                    Selection::Ids(ids) => ids.contains(&view.id()),
                    Selection::Filter(filter) => filter.passes(&view.candidate()),
                };
                if meant {
                    // Neither end is to take what it has for the whole.
                    slot.phase.reset_on_close();
                    let reason = match &slot.phase {
                        Phase::Linger(linger) => linger.reason,
                        _ => Reason::Killed,
                    };
                    self.close(*at, reason);
                    *ended += 1;
                    left -= 1;
                }
            }
            *at += 1;
        }
    }

    /// Ends some of the sessions whose quota is used up: those that move nothing do not find out by themselves.
    fn end_spent(&mut self, at: &mut usize) {
        let (ends, mut left) = (self.part_ends(*at), limits::KILLS_PER_TURN);
        while *at < ends && left > 0 {
            if let Some(slot) = self.slots.get_mut(*at)
                && let Some(limit) = slot.spent()
            {
                slot.phase.reset_on_close();
                slot.put_limit(limit);
                self.core.counters.limits.add(limit, LimitKind::Quota, 1);
                self.close(*at, Reason::Quota);
                left -= 1;
            }
            *at += 1;
        }
    }

    /// Closes some of the connections that are kept for another request.
    fn end_kept(&mut self, at: &mut usize) {
        let (ends, mut left) = (self.part_ends(*at), limits::KILLS_PER_TURN);
        while *at < ends && left > 0 {
            if self.slots.get(*at).is_some_and(|slot| !slot.phase.is_session()) {
                self.close(*at, Reason::Drained);
                left -= 1;
            }
            *at += 1;
        }
    }

    /// Counts what some sessions moved since they were last counted; `told` says whether the talkers hear of it.
    fn count_talkers(&mut self, at: &mut usize, told: bool) {
        let ends = self.part_ends(*at);
        for place in *at..ends {
            if let Some(slot) = self.slots.get_mut(place).filter(|slot| slot.phase.is_session()) {
                talking::moved(&mut self.core, slot, told);
            }
        }
        *at = ends;
    }
}
