//! The most that the server holds at a time, looked at from a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::fault::Fault;
use crate::procfs::Tree;

/// Often enough for what an attack piles up.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A look at the server every now and then.
pub(crate) struct Watch {
    thread: JoinHandle<Result<(u64, u64), Fault>>,
}

impl Watch {
    /// Looks at the tree of `pid` until `over` is true.
    pub(crate) fn start(pid: i32, over: Arc<AtomicBool>) -> Self {
        let thread = thread::spawn(move || {
            let mut tree = Tree::of(pid);
            let mut most = (0, 0);
            while !over.load(Ordering::Acquire) {
                let (fds, resident) = tree.glance().map_err(|error| Fault::ServerGone(pid, error))?;
                most = (fds.max(most.0), resident.max(most.1));
                thread::sleep(BETWEEN_LOOKS);
            }
            Ok(most)
        });
        Self { thread }
    }

    /// The most descriptors and the most resident bytes.
    pub(crate) fn finish(self) -> Result<(u64, u64), Fault> {
        self.thread.join().expect("the watch does not panic")
    }
}
