//! Typed outcomes around system calls; the only unsafe code of the program.
//!
//! Nothing here logs, reads a clock or decides policy: a call goes in, what the kernel said comes out, and
//! where an answer of the kernel is ambiguous the call that gives it says so.

pub mod attempt;
pub mod cgroup;
pub mod congestion;
pub mod environment;
pub mod files;
pub mod gssapi;
pub mod landlock;
pub mod launching;
pub mod listener;
pub mod machine;
pub mod mmsg;
pub mod netlink;
pub mod outbound;
pub mod output;
pub mod passed;
pub mod passing;
pub mod pipe;
pub mod privileges;
pub mod proc_net;
pub mod replacing;
pub mod seccomp;
pub mod sock_diag;
pub mod spare;
pub mod stream;
pub mod sysctl;
pub mod terminal;
pub mod udp;
pub mod unix;

pub use nix::errno::Errno;

use std::os::fd::AsFd;

use socket2::SockRef;

/// What a read from a non-blocking source gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This many bytes, at least one.
    Bytes(usize),
    /// The peer ended its side in order (FIN).
    End,
    /// Nothing now. From a splice into a pipe that holds bytes this may also mean that the pipe is full.
    Blocked,
    /// The kernel refused.
    Failed(Errno),
}

/// What a write to a non-blocking sink gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// This many bytes were taken, at least one; fewer than offered means that the sink is full.
    Bytes(usize),
    /// No room now.
    Blocked,
    /// The kernel refused.
    Failed(Errno),
}

/// Calls again where a signal came in between: EINTR says nothing about the socket.
fn uninterrupted(mut call: impl FnMut() -> nix::Result<usize>) -> nix::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

impl Read {
    fn of(call: impl FnMut() -> nix::Result<usize>) -> Read {
        match uninterrupted(call) {
            Ok(0) => Read::End,
            Ok(count) => Read::Bytes(count),
            Err(Errno::EAGAIN) => Read::Blocked,
            Err(errno) => Read::Failed(errno),
        }
    }
}

impl Write {
    fn of(call: impl FnMut() -> nix::Result<usize>) -> Write {
        match uninterrupted(call) {
            Ok(0) | Err(Errno::EAGAIN) => Write::Blocked,
            Ok(count) => Write::Bytes(count),
            Err(errno) => Write::Failed(errno),
        }
    }
}

/// Marks what a socket sends from here on (SO_MARK).
///
/// # Errors
/// EPERM without CAP_NET_ADMIN.
pub fn set_mark(socket: &impl AsFd, mark: u32) -> Result<(), Errno> {
    SockRef::from(socket).set_mark(mark).map_err(|error| errno_of(&error))
}

/// The errno of an I/O error, EIO where it has none.
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
