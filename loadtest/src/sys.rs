//! The only unsafe code of the load generator: calls for which no typed wrapper exists.
//!
//! It returns results and never logs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Takes up to `max` received bytes off a TCP socket without copying them (`MSG_TRUNC`, tcp(7)).
///
/// Returns how many were dropped; 0 means that the peer has sent its FIN. `WouldBlock` means that
/// nothing is there yet. The socket need not be non-blocking.
pub(crate) fn discard(socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: for a TCP socket MSG_TRUNC makes the kernel skip the copy, so the null buffer is never
    // written; on any other socket a write to it fails with EFAULT and touches no memory of ours. The
    // descriptor is open for as long as the borrow lives.
    let taken = unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), max, flags) };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}
