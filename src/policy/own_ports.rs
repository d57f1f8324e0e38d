//! The UDP ports that associations have open, all workers' together: a datagram to one of them would be a loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// How many sockets of ours are bound to each port. Written when a socket comes or goes, read for each datagram.
#[derive(Debug)]
pub struct OwnPorts(Box<[AtomicU16]>);

/// Keeps a port on the list; dropped after its socket is closed.
#[derive(Debug)]
pub struct Held {
    ports: Arc<OwnPorts>,
    port: u16,
}

impl Default for OwnPorts {
    fn default() -> OwnPorts {
        OwnPorts((0..=u16::MAX).map(|_| AtomicU16::new(0)).collect())
    }
}

impl OwnPorts {
    /// Whether a socket of ours is bound to `port`, at whatever address.
    pub fn has(&self, port: u16) -> bool {
        self.0[usize::from(port)].load(Ordering::Relaxed) > 0
    }

    /// Puts a port on the list for as long as the returned value lives.
    #[must_use]
    pub fn hold(self: &Arc<OwnPorts>, port: u16) -> Held {
        self.0[usize::from(port)].fetch_add(1, Ordering::Relaxed);
        Held { ports: self.clone(), port }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ports.0[usize::from(self.port)].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_ours_until_its_last_holder_is_gone() {
        let ports = Arc::new(OwnPorts::default());
        assert!(!ports.has(65_535));
        let (one, other) = (ports.hold(65_535), ports.hold(65_535));
        drop(one);
        assert!(ports.has(65_535) && !ports.has(65_534));
        drop(other);
        assert!(!ports.has(65_535));
    }
}
