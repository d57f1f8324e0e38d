//! A process beside this one, forked before there is a thread, and descriptors that go to programs.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};

use super::passing::MessageChannel;

/// Forks a process that does nothing but `run` with its end of a channel, and ends; gives this process's end. Of this process's
/// descriptors it has the standard ones alone, and its memory is open to root alone.
///
/// # Errors
/// There are other threads, or what fork(2) or socketpair(2) refused.
pub fn fork_beside(run: impl FnOnce(MessageChannel)) -> io::Result<MessageChannel> {
    if !super::environment::is_only_thread() {
        return Err(io::Error::other("there are threads already"));
    }
    let (ours, theirs) = MessageChannel::pair()?;
    // SAFETY: there is no other thread, so that no lock is held that the child would wait for: it may do whatever this
    // process may.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(ours),
        ForkResult::Child => {
            drop(ours);
            close_others(theirs.as_fd().as_raw_fd());
            // What this process gives up the other has yet: nobody who has come to be of its user may write to its memory.
            let _ = super::privileges::set_dumpable(false);
            run(theirs);
            std::process::exit(0)
        }
    }
}

/// Does something in a process of its own that ends with it, and gives what it said. A program that it starts is an orphan from
/// then on: whoever looks after those, as the service manager does that started this process, hears of its end.
///
/// # Errors
/// There are other threads, or what fork(2), socketpair(2) or the channel said.
pub fn in_passing(run: impl FnOnce() -> String, bytes_max: usize, patience: Duration) -> io::Result<String> {
    if !super::environment::is_only_thread() {
        return Err(io::Error::other("there are threads already"));
    }
    let (ours, theirs) = MessageChannel::pair()?;
    // SAFETY: there is no other thread, so that no lock is held that the child would wait for.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(theirs);
            let said = ours.receive(bytes_max, patience);
            // It has said its last word, or is gone.
            let _ = waitpid(child, None);
            let said = said?.ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok(String::from_utf8_lossy(&said.bytes).into_owned())
        }
        ForkResult::Child => {
            drop(ours);
            let said = run();
            let _ = theirs.send(&said.as_bytes()[..said.len().min(bytes_max)], &[], patience);
            std::process::exit(0)
        }
    }
}

/// Closes everything that is open beside the standard descriptors and one more.
fn close_others(kept: RawFd) {
    let numbers =
        |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok();
    let open: Vec<RawFd> =
        std::fs::read_dir("/proc/self/fd").map(|all| all.filter_map(numbers).collect()).unwrap_or_default();
    for number in open.into_iter().filter(|number| *number > 2 && *number != kept) {
        // SAFETY: this process was forked just now and goes by nothing but `kept`: whatever value of it has this
        // descriptor is never looked at or dropped. One that was the listing's own is closed already, which does nothing.
        unsafe { libc::close(number) };
    }
}

/// The descriptor of this number, which a variable of the environment says is for this process.
///
/// # Errors
/// EBADF where nothing is open there.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only asks.
    if number <= 2 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(super::Errno::EBADF.into());
    }
    // SAFETY: it is open, whoever started this process says that it is this process's to have, and this is called for each
    // such variable once, before anything else is opened: no other value has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The harness has threads, beside which nothing may be forked.
    #[test]
    fn nothing_is_forked_beside_threads() {
        let refused = std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || receiver.recv());
            let refused = fork_beside(|_| ()).map(|_| ());
            drop(sender);
            refused
        });
        assert!(refused.unwrap_err().to_string().contains("threads"));
    }

    #[test]
    fn what_is_not_open_was_not_inherited() {
        inherited(1).unwrap_err();
        inherited(RawFd::MAX).unwrap_err();
    }
}
