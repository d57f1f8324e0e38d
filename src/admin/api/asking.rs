//! A question to workers, and who has answered it so far.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};
use mio::Waker;

use crate::limits;
use crate::worker::{Mail, Mailbox, Reply, Walked};

/// A question that is under way: what comes in, and whose answer is missing.
#[derive(Debug)]
pub(super) struct Asking<T> {
    answers: Receiver<T>,
    asked: usize,
    /// Those that are waited for.
    missing: Vec<usize>,
    /// Those that could not be asked.
    deaf: Vec<usize>,
    until: Instant,
    refused: bool,
    broken: bool,
}

impl<T> Asking<T> {
    /// Asks these workers, each known by its number. There is room for whatever they answer: none of them waits for it to
    /// be read, and none has more to say than it has sessions.
    pub(super) fn ask<'a>(
        workers: impl IntoIterator<Item = (usize, &'a Mailbox)>,
        waker: &Arc<Waker>,
        now: Instant,
        mut letter: impl FnMut(Reply<T>) -> Mail,
    ) -> Asking<T> {
        let (sender, answers) = unbounded();
        let reply = Reply::new(sender, Some(Arc::clone(waker)));
        let (missing, deaf): (Vec<_>, Vec<_>) =
            workers.into_iter().partition(|(_, mailbox)| mailbox.offer(letter(reply.clone())));
        let [missing, deaf] = [missing, deaf].map(|workers: Vec<(usize, &Mailbox)>| {
            workers.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
        });
        let asked = missing.len() + deaf.len();
        Asking {
            answers,
            asked,
            missing,
            deaf,
            until: now + limits::WORKERS_ANSWER_TIME,
            refused: false,
            broken: false,
        }
    }

    /// A question whose answers a test gives.
    #[cfg(test)]
    pub(super) fn of(answers: Receiver<T>, workers: Vec<usize>, until: Instant) -> Asking<T> {
        let (asked, deaf) = (workers.len(), Vec::new());
        Asking { answers, asked, missing: workers, deaf, until, refused: false, broken: false }
    }

    /// The next answer that has come.
    pub(super) fn next(&mut self) -> Option<T> {
        self.answers.try_recv().ok()
    }

    /// Takes note that a worker has said all that it says, and how its walk ended.
    pub(super) fn note_end(&mut self, worker: usize, walked: Walked) {
        self.missing.retain(|number| *number != worker);
        self.refused |= walked == Walked::Refused;
        self.broken |= walked == Walked::Broken;
    }

    /// Whether a worker has too many other questions to answer.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether a worker began anew, or ended, before it had said all.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether no more answers are waited for: all are there, or their time is up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.missing.is_empty() || self.until <= now
    }

    /// When it is over at the latest.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Which workers have not answered, in words; `None` where all have.
    pub(super) fn silent(&self) -> Option<String> {
        let mut silent = [&self.missing[..], &self.deaf[..]].concat();
        silent.sort_unstable();
        let (last, others) = silent.split_last()?;
        let others: Vec<String> = others.iter().map(usize::to_string).collect();
        let within = limits::WORKERS_ANSWER_TIME;
        Some(match others.is_empty() {
            true => format!("worker {last} has not answered within {within:?}"),
            false => format!("workers {} and {last} have not answered within {within:?}", others.join(", ")),
        })
    }

    /// Whether nobody has answered.
    pub(super) fn is_in_vain(&self) -> bool {
        self.missing.len() + self.deaf.len() == self.asked
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Poll, Token};

    use super::*;
    use crate::worker::{TalkersTold, prepare};

    fn waker() -> (Poll, Arc<Waker>) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        (poll, Arc::new(waker))
    }

    #[test]
    fn those_that_have_not_answered_are_named_once_the_time_is_up() {
        let (_poll, waker) = waker();
        let workers = [prepare().unwrap(), prepare().unwrap(), prepare().unwrap(), prepare().unwrap()];
        let mailboxes: Vec<Mailbox> = workers.iter().map(|worker| worker.mailbox()).collect();
        // The last one is gone.
        let [_first, _second, _third, gone] = workers;
        drop(gone);
        let now = Instant::now();
        let mut asking: Asking<TalkersTold> =
            Asking::ask(mailboxes.iter().enumerate(), &waker, now, |reply| Mail::Talkers { reply });
        assert!(!asking.is_over(now) && asking.is_in_vain() && asking.next().is_none());
        asking.note_end(1, Walked::Whole);
        assert!(!asking.is_in_vain());
        assert_eq!(asking.silent().unwrap(), "workers 0, 2 and 3 have not answered within 2s");
        assert!(!asking.is_over(asking.until() - Duration::from_millis(1)) && asking.is_over(asking.until()));
        asking.note_end(0, Walked::Broken);
        asking.note_end(2, Walked::Whole);
        assert!(asking.is_over(now), "one that could not be asked is not waited for");
        assert!(asking.is_broken() && !asking.is_refused());
        assert_eq!(asking.silent().unwrap(), "worker 3 has not answered within 2s");
    }

    #[test]
    fn no_worker_is_over_at_once() {
        let (_poll, waker) = waker();
        let now = Instant::now();
        let asking: Asking<TalkersTold> = Asking::ask([], &waker, now, |reply| Mail::Talkers { reply });
        assert!(asking.is_over(now) && asking.silent().is_none());
    }
}
