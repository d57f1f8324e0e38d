//! What waits for a worker that has no room for it: the control thread never waits for one that stands still.

use std::time::Instant;

use crate::worker::{Changeover, Mail, Mailbox};

/// What one worker is yet to be told: the latest only, so that a worker that stands still costs no memory.
#[derive(Debug, Default)]
pub(super) struct Post {
    changeover: Option<Changeover>,
    drain: Option<Instant>,
    /// A quota is used up that ends sessions.
    spent: bool,
}

impl Post {
    /// To be told soon.
    pub(super) fn change(&mut self, changeover: Changeover) {
        self.changeover = Some(match self.changeover.take() {
            Some(earlier) => changeover.behind(earlier),
            None => changeover,
        });
    }

    /// To be told soon.
    pub(super) fn drain(&mut self, by: Instant) {
        self.drain = Some(by);
    }

    /// To end the sessions whose quota is used up.
    pub(super) fn end_spent(&mut self) {
        self.spent = true;
    }

    /// Tells what the mailbox has room for; whether that was all.
    pub(super) fn send(&mut self, mailbox: &Mailbox) -> bool {
        if let Some(changeover) = self.changeover.take()
            && let Err(Mail::Snapshot(back)) = mailbox.try_send(Mail::Snapshot(Box::new(changeover)))
        {
            self.changeover = Some(*back);
            return false;
        }
        if let Some(by) = self.drain.take()
            && mailbox.try_send(Mail::Drain { by }).is_err()
        {
            self.drain = Some(by);
            return false;
        }
        if self.spent && mailbox.try_send(Mail::EndSpent).is_err() {
            return false;
        }
        self.spent = false;
        true
    }
}
