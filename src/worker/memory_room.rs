//! How many sessions a worker may have for want of memory: what control finds out, and the worker goes by.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there may be. Control alone writes it, once a second; a worker reads it where it has a place for another.
#[derive(Debug)]
pub struct MemoryRoom(AtomicUsize);

impl Default for MemoryRoom {
    fn default() -> MemoryRoom {
        MemoryRoom(AtomicUsize::new(usize::MAX))
    }
}

impl MemoryRoom {
    /// How many there may be; without a bound the largest number.
    pub fn sessions(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Says how many there may be from now on.
    pub fn set(&self, sessions: usize) {
        self.0.store(sessions, Ordering::Relaxed);
    }
}
