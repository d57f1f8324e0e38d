//! What a child process does between fork and exec.

use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::setsid;

/// Has the kernel kill the child when the thread that spawns it ends, however that comes about.
///
/// The kernel forgets it for a child that changes its user (prctl(2)).
pub(crate) fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    let prepare = move || -> io::Result<()> {
        set_pdeathsig(Signal::SIGKILL)?;
        // A parent that ended before that call sends no signal any more.
        if parent_id() == parent { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    };
    // SAFETY: the closure makes two system calls and compares integers; it allocates nothing, takes no lock
    // and touches no memory but its own copy of `parent`, so that it may run between fork and exec.
    unsafe { command.pre_exec(prepare) }
}

/// Gives the child a session of its own and none of our descriptors but its standard three.
pub(crate) fn stand_alone(command: &mut Command) -> &mut Command {
    let prepare = || -> io::Result<()> {
        setsid()?;
        // SAFETY: the call takes numbers alone. Marked close-on-exec, the descriptors stay open for as long as
        // code of this process runs in the child. It fails before Linux 5.11: what this process was itself
        // given beyond the standard three is then inherited, and its own is close-on-exec already.
        let _ =
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        Ok(())
    };
    // SAFETY: the closure makes two system calls; it allocates nothing, takes no lock and touches no memory, so
    // that it may run between fork and exec.
    unsafe { command.pre_exec(prepare) }
}
