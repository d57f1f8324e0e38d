//! What lines are written to: a standard stream, or a file that is opened to append.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};

use super::Write;

/// Opens a file to append to; makes it, with this mode less the umask, where there is none.
///
/// It is opened non-blocking, which means something to a FIFO alone: where nobody reads it ENXIO comes at once, and
/// where it is full `Blocked`.
///
/// # Errors
/// What open(2) refused.
pub fn open(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(mode).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Whether the last byte of a regular file is something else than a line feed, as far as it can be read.
pub fn ends_within_a_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let length = std::fs::metadata(path)?.len();
        let mut byte = [b'\n'];
        if length > 0 {
            OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(path)?
                .read_exact_at(&mut byte, length - 1)?;
        }
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte != b'\n')
}

/// Lets this thread write to its terminal from the background, where the terminal stops who does (`stty tostop`): the
/// signal would stop every thread, and a line of the log is not worth the sessions.
pub fn write_from_the_background() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTTOU);
    // It is only asked for what every system permits.
    let _ = signals.thread_block();
}

/// Writes what the sink takes. A standard stream may block: it shares its modes with whoever gave it to us.
pub fn write(sink: impl AsFd, bytes: &[u8]) -> Write {
    Write::of(|| nix::unistd::write(&sink, bytes))
}
