//! Pipes as the vehicle of splice(2): bytes go from socket to socket without entering the process.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};

use super::{Errno, Read, Write};

/// Both ends of one pipe; closed when dropped.
#[derive(Debug)]
pub struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
}

impl Pipe {
    /// Opens a pipe and asks for `size_bytes` of room; the kernel may leave it smaller (unprivileged users
    /// past pipe-user-pages-soft), and its size is no promise either way: a slot may hold a whole GRO packet.
    ///
    /// # Errors
    /// What pipe2(2) refused (EMFILE, ENFILE).
    pub fn open(size_bytes: usize) -> Result<Pipe, Errno> {
        let (output, input) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(i32::try_from(size_bytes).unwrap_or(i32::MAX)));
        Ok(Pipe { output, input })
    }

    /// Moves up to `max_bytes` from `source` into the pipe.
    ///
    /// `Blocked` says "the source is empty" only when the pipe was empty before the call; with bytes in the
    /// pipe it may as well say "the pipe is full".
    pub fn fill_from(&self, source: impl AsFd, max_bytes: usize) -> Read {
        Read::of(|| splice(&source, None, &self.input, None, max_bytes, flags()))
    }

    /// Moves up to `max_bytes` out of the pipe into `sink`. The pipe must hold bytes: then `Blocked` can only
    /// mean that the sink is full.
    pub fn drain_to(&self, sink: impl AsFd, max_bytes: usize) -> Write {
        Write::of(|| splice(&self.output, None, &sink, None, max_bytes, flags()))
    }

    /// Takes bytes out of the pipe into memory, for a sink that refuses splice.
    pub fn read(&self, buffer: &mut [u8]) -> Read {
        Read::of(|| nix::unistd::read(&self.output, buffer))
    }
}

/// Never SPLICE_F_MORE: on a last chunk it holds the bytes back for a delayed-ACK time.
fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}
