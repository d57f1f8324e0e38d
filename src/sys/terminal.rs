//! The terminal of the process: whether there is one, and one that shows nothing of what is typed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgid, getpgrp, getppid, getsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;

/// What takes the process from its terminal: the shell behind it must find the terminal as it was.
const LEAVING: [i32; 5] = [SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP];

/// Whether the process has a terminal (credentials(7)): that of the shell that started it.
pub fn is_there() -> bool {
    File::open("/dev/tty").is_ok()
}

/// A terminal without echo, until dropped or until a signal ends or stops the process.
#[derive(Debug)]
pub struct Hidden {
    terminal: File,
    before: Termios,
    signals: Handle,
    watcher: Option<JoinHandle<()>>,
}

impl Hidden {
    /// Turns the echo off and drops what was typed ahead: it has been shown, and was not typed for this.
    ///
    /// # Errors
    /// No terminal, or one whose settings cannot be changed.
    pub fn new(terminal: BorrowedFd<'_>) -> io::Result<Hidden> {
        let terminal = File::from(terminal.try_clone_to_owned()?);
        let before = tcgetattr(&terminal)?;
        let mut signals = Signals::new(LEAVING)?;
        let handle = signals.handle();
        let (other, settings) = (terminal.try_clone()?, before.clone());
        let watcher = thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let _ = tcsetattr(&other, SetArg::TCSADRAIN, &settings);
                // Comes back from a stop alone.
                let _ = emulate_default_handler(signal);
                let _ = hide(other.as_fd(), &settings);
            }
        })?;
        hide(terminal.as_fd(), &before)?;
        Ok(Hidden { terminal, before, signals: handle, watcher: Some(watcher) })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// Whether somebody is there who can let this process go on once it has stopped: a parent of this session in a group of
/// its own, as a shell is. (POSIX calls a process group without one orphaned, and does not stop it.)
pub fn may_stop() -> bool {
    let parent = getppid();
    let group = getpgid(Some(parent)).is_ok_and(|group| group != getpgrp());
    group && getsid(Some(parent)).is_ok_and(|session| getsid(None) == Ok(session))
}

/// No echo but for the line feed; what was typed so far is dropped.
fn hide(terminal: BorrowedFd<'_>, before: &Termios) -> nix::Result<()> {
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    hidden.local_flags.insert(LocalFlags::ICANON | LocalFlags::ISIG | LocalFlags::ECHONL);
    tcsetattr(terminal, SetArg::TCSAFLUSH, &hidden)
}
