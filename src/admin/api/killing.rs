//! Sessions that an operator ends.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use mio::Waker;
use serde_json::json;

use super::asking::Asking;
use super::question::Chosen;
use crate::admin::answer::HttpAnswer;
use crate::admin::status::HttpStatus;
use crate::observe::filter::Selection;
use crate::observe::live::SessionId;
use crate::worker::{Killed, Mail, Mailbox};

/// An order to end sessions that is under way.
#[derive(Debug)]
pub(super) struct Killing {
    asking: Asking<Killed>,
    /// The session, where it is one by its id.
    one: Option<SessionId>,
    ended: u64,
}

impl Killing {
    /// Has the session of this id ended.
    pub(super) fn one(
        id: SessionId,
        workers: &[(usize, &Mailbox)],
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Killing {
        let which = Selection::Ids(HashSet::from([id]));
        Killing::begin(which, Some(usize::from(id.worker)), Some(id), workers, waker, now)
    }

    /// Has those ended that are chosen.
    pub(super) fn chosen(
        chosen: Chosen,
        workers: &[(usize, &Mailbox)],
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Killing {
        Killing::begin(Selection::Filter(chosen.filter), chosen.worker, None, workers, waker, now)
    }

    fn begin(
        which: Selection,
        worker: Option<usize>,
        one: Option<SessionId>,
        workers: &[(usize, &Mailbox)],
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Killing {
        let which = Arc::new(which);
        let asked = workers.iter().copied().filter(|(number, _)| worker.is_none_or(|one| one == *number));
        let asking = Asking::ask(asked, waker, now, |reply| Mail::Kill { which: Arc::clone(&which), reply });
        Killing { asking, one, ended: 0 }
    }

    /// Takes what has come; the answer once all of it has.
    pub(super) fn go_on(&mut self, now: Instant) -> Option<HttpAnswer> {
        while let Some(Killed { worker, walked, ended }) = self.asking.next() {
            self.ended += ended;
            self.asking.note_end(worker, walked);
        }
        self.asking.is_over(now).then(|| self.answer())
    }

    /// When it answers at the latest.
    pub(super) fn until(&self) -> Instant {
        self.asking.until()
    }

    fn answer(&self) -> HttpAnswer {
        let ended = self.ended;
        let (refused, broken) = (self.asking.is_refused(), self.asking.is_broken());
        let trouble = match (self.asking.silent(), refused, broken) {
            (Some(silent), _, _) => {
                Some(format!("{silent}: it will end those of its sessions that are meant"))
            }
            (None, true, _) => Some("a worker has too many other questions to answer: ask again".to_owned()),
            (None, false, true) => Some("a worker began anew meanwhile".to_owned()),
            (None, false, false) => None,
        };
        match (trouble, self.one) {
            (None, Some(id)) if ended == 0 => {
                HttpAnswer::error(HttpStatus::NOT_FOUND, format!("there is no session {id}"))
            }
            (None, _) => HttpAnswer::json(HttpStatus::OK, &json!({"ended": ended})),
            (Some(trouble), _) if ended == 0 => HttpAnswer::error(HttpStatus::UNAVAILABLE, trouble),
            (Some(trouble), _) => {
                HttpAnswer::json(HttpStatus::OK, &json!({"ended": ended, "warning": trouble}))
            }
        }
    }

    /// How many have ended so far.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }
}
