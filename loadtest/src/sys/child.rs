//! What a child process does between fork and exec.

use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

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
