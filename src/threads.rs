//! Work whose panic ends nothing but itself, and threads that begin anew after a panic.
//!
//! A tool for the other modules: it knows no job, and no state of anybody's.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use crate::limits;

/// Gives what `act` gives, or `None` where it panicked, which the panic hook has told of by then. What `act` was changing
/// may be half changed: the caller may do no more with it than drop it.
pub fn survive<T>(act: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // It may be anything, and dropping it may be the next panic.
            std::mem::forget(payload);
            None
        }
    }
}

/// Runs `run` on a thread of its own until it returns. Where it panics it is run again after a pause: its thread is the
/// only one of its kind, and what waits for it would wait for ever.
///
/// # Errors
/// Where the system gives no thread.
pub fn spawn(name: &str, mut run: impl FnMut() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let named = name.to_owned();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        while survive(&mut run).is_none() {
            survive(|| tracing::error!(thread = named, "a thread panicked and begins anew"));
            thread::sleep(limits::THREAD_RESTART_PAUSE);
        }
    })
}

/// Drops what takes long to be dropped, on a thread of its own; on this one, where the system gives none.
pub fn drop_apart<T: Send + 'static>(value: T) {
    let thread = thread::Builder::new().name("drops".to_owned());
    // Nobody waits for it; where there is no thread the closure goes, and the value with it.
    let _ = thread.spawn(move || survive(move || drop(value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("asked to");
        }
    }

    #[test]
    fn what_panics_gives_nothing_and_the_rest_goes_on() {
        assert_eq!(survive(|| 7), Some(7));
        assert_eq!(survive(|| panic!("asked to")), None::<u8>);
        assert_eq!(survive(|| std::panic::panic_any(PanicsWhenDropped)), None::<u8>);
    }

    #[test]
    fn a_thread_that_panics_begins_anew_with_what_it_had() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut times = 0;
        let thread = spawn("anew", move || {
            times += 1;
            sender.send(times).unwrap();
            assert!(times > 2, "asked to");
        });
        thread.unwrap().join().unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn what_is_dropped_apart_is_dropped_by_another() {
        struct Tells(std::sync::mpsc::Sender<thread::ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().id());
            }
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        drop_apart(Tells(sender));
        assert_ne!(receiver.recv(), Ok(thread::current().id()));
    }
}
