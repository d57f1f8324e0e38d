//! The UDP echo: what comes goes back to its sender, a whole batch with two system calls.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use mio::net::UdpSocket;

use super::turn::Fate;
use crate::sys::{self, Batch};

/// Datagrams of one call.
const BATCH: usize = 64;
/// Batches of one turn; then the TCP services have theirs.
const BATCHES_PER_TURN: usize = 16;
/// Bytes from one datagram to the next in a batch: more than the longest has.
const STRIDE: usize = 1 << 16;

/// The socket and the batch that is on its way.
pub(super) struct UdpEcho {
    pub(super) socket: UdpSocket,
    batch: Batch,
    /// The part of the batch that was received and not yet sent back.
    held: std::ops::Range<usize>,
}

impl UdpEcho {
    /// Takes a free port of `address`.
    pub(super) fn bind(address: IpAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::new(address, 0))?;
        sys::widen(socket.as_fd())?;
        Ok(Self { socket, batch: Batch::new(BATCH, STRIDE), held: 0..0 })
    }

    /// Echoes what is there; `Again` when the budget ended first.
    pub(super) fn step(&mut self) -> io::Result<Fate> {
        for _ in 0..BATCHES_PER_TURN {
            if !self.give_back()? {
                return Ok(Fate::Keep);
            }
            match self.batch.receive(self.socket.as_fd()) {
                Ok(count) => self.held = 0..count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) => return Err(error),
            }
            if self.held.end < BATCH {
                self.give_back()?;
                return Ok(Fate::Keep);
            }
        }
        Ok(Fate::Again)
    }

    /// `false` while the send buffer is full: the next event goes on.
    fn give_back(&mut self) -> io::Result<bool> {
        while !self.held.is_empty() {
            match self.batch.send(self.socket.as_fd(), self.held.start, self.held.end) {
                Ok(count) => self.held.start += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // One that cannot be answered (a port 0, a firewall) is dropped, as UDP allows.
                Err(_) => self.held.start += 1,
            }
        }
        Ok(true)
    }
}
