//! The thread for what may take long: files on a disk that does not answer, passwords to be hashed. The control thread
//! gives it one piece of work at a time and never waits for it.

use std::io;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::threads::{self, survive};

type ClerkWork<T> = Box<dyn FnOnce() -> T + Send>;

/// The control thread's end. What comes of each piece of work is a `T`.
#[derive(Debug)]
pub(super) struct Clerk<T> {
    work: Sender<ClerkWork<T>>,
    done: Receiver<Option<T>>,
    /// What the thread is at, in words.
    at: Option<&'static str>,
}

impl<T: Send + 'static> Clerk<T> {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start() -> io::Result<Clerk<T>> {
        let (work, next) = bounded::<ClerkWork<T>>(1);
        let (finished, done) = bounded(1);
        threads::spawn("clerk", move || {
            for work in &next {
                // Whoever waits for it is told of a panic, too.
                let _ = finished.send(survive(work));
            }
        })?;
        Ok(Clerk { work, done, at: None })
    }

    /// Has this done, unless the thread is at something else, which is given back in words.
    ///
    /// # Errors
    /// What is under way.
    pub(super) fn give(
        &mut self,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(), &'static str> {
        match self.at {
            Some(at) => Err(at),
            None => {
                self.at = Some(what);
                // There is room: nothing else is under way.
                let _ = self.work.send(Box::new(work));
                Ok(())
            }
        }
    }

    /// Where it shows what came of its work; `None` where that panicked.
    pub(super) fn done(&self) -> &Receiver<Option<T>> {
        &self.done
    }

    /// Takes note that the work has come to its end.
    pub(super) fn note_done(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_of_work_at_a_time_and_the_next_after_a_panic() {
        let mut clerk = Clerk::start().unwrap();
        let (go_on, wait) = bounded::<()>(1);
        assert_eq!(clerk.give("waiting", move || wait.recv().is_ok()), Ok(()));
        assert_eq!(clerk.give("else", || false), Err("waiting"));
        go_on.send(()).unwrap();
        assert_eq!(clerk.done().recv(), Ok(Some(true)));
        clerk.note_done();
        assert_eq!(clerk.give("panicking", || panic!("asked to")), Ok(()));
        assert_eq!(clerk.done().recv(), Ok(None));
        clerk.note_done();
        assert_eq!(clerk.give("more", || true), Ok(()));
        assert_eq!(clerk.done().recv(), Ok(Some(true)));
    }
}
