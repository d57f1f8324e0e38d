//! The only unsafe code of the load generator: calls for which no typed wrapper exists, and what goes
//! with them.
//!
//! It returns results and never logs.

mod batch;
pub(crate) mod child;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};

pub(crate) use batch::Batch;

/// This process takes its turn after the others on its CPU instead of preempting them (SCHED_BATCH, sched(7)).
///
/// What wakes a process that preempts another has to interrupt that CPU: a call into the hypervisor on a virtual
/// machine, which the server under test would pay for with every answer to a client while the origin runs.
pub(crate) fn take_turns() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads the parameters through a pointer that is valid for it; 0 is this process.
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// This thread preempts the others on its CPU (SCHED_FIFO, sched(7)), where this process may say so: CAP_SYS_NICE, and no control
/// group that keeps it from that.
pub(crate) fn go_first() {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the parameters through a pointer that is valid for it; 0 is the thread that calls.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
}

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

/// How many datagrams the kernel has dropped because this socket's receive buffer was full.
pub(crate) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // include/uapi/linux/sock_diag.h: the ninth of these counters is SK_MEMINFO_DROPS.
    const COUNTERS: usize = 9;
    let mut counters = [0_u32; COUNTERS];
    let mut length = size_of_val(&counters) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `counters`, which is as long, and tells in
    // `length` how many; the descriptor is open for as long as the borrow lives.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counters.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(counters[COUNTERS - 1]) } else { Err(io::Error::last_os_error()) }
}

/// Gives a UDP socket a receive buffer in which a burst finds room, as large as this process may ask for.
pub(crate) fn widen(socket: BorrowedFd<'_>) -> io::Result<()> {
    const RECEIVE_BYTES: usize = 4 << 20;
    // Forced past net.core.rmem_max with the right to do so, else as far as that goes.
    setsockopt(&socket, RcvBufForce, &RECEIVE_BYTES)
        .or_else(|_| setsockopt(&socket, RcvBuf, &RECEIVE_BYTES))
        .map_err(io::Error::from)
}
