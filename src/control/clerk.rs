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
        Ok(Clerk { work, done })
    }

    /// Has this done. Nothing else may be under way: what is done is shown before there is more.
    pub(super) fn give(&mut self, work: impl FnOnce() -> T + Send + 'static) {
        // There is room for one.
        let _ = self.work.send(Box::new(work));
    }

    /// Where it shows what came of its work; `None` where that panicked.
    pub(super) fn done(&self) -> &Receiver<Option<T>> {
        &self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_of_work_after_the_other_and_the_next_after_a_panic() {
        let mut clerk = Clerk::start().unwrap();
        clerk.give(|| true);
        assert_eq!(clerk.done().recv(), Ok(Some(true)));
        clerk.give(|| panic!("asked to"));
        assert_eq!(clerk.done().recv(), Ok(None));
        clerk.give(|| true);
        assert_eq!(clerk.done().recv(), Ok(Some(true)));
    }
}
