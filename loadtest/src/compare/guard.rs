//! A small process that outlives a killed comparison just long enough to end what that has started.
//!
//! It is this very program once more, in a session of its own, so that a terminal's signals pass it by, and it
//! holds nothing but a pipe from the warden, which says goodbye in one byte. Without that, the end of the pipe
//! means that the warden was killed: whoever carries its mark is then killed as well. A started process closes
//! its copy of the pipe by its exec, so by then each has the mark, or its parent's death has killed it.

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sys::child::stand_alone;

/// The mark's name in the environment.
pub(super) const MARK: &str = "OUTFLOW_LOAD_MARK";
/// The subcommand, which no help names.
pub(crate) const SUBCOMMAND: &str = "guard-comparison";
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// A fork or an exec in the midst of a look hides a process from that one.
const EMPTY_LOOKS: u32 = 2;
/// Who does not end by KILL for so long does not end.
const GIVE_UP: Duration = Duration::from_secs(10);

/// The warden's end of it; dropping it is the goodbye.
pub(super) struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Has whoever carries `mark`, or `mark` with a number, killed should we be killed.
    pub(super) fn start(mark: &str) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        // It is no leftover itself, and keeps no folder in use.
        command.args([SUBCOMMAND, mark]).env_remove(MARK).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = stand_alone(&mut command).spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // One that somebody has killed needs no goodbye.
            let _ = pipe.write_all(b".");
        }
        let _ = self.child.wait();
    }
}

/// What the process itself does.
pub(crate) fn stand(mark: &str) {
    let said = io::stdin().read_exact(&mut [0]);
    if said.is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof) {
        kill_all(mark);
    }
}

fn kill_all(mark: &str) {
    let numbered = format!("{mark}.");
    let until = Instant::now() + GIVE_UP;
    let mut empty_looks = 0;
    while empty_looks < EMPTY_LOOKS && Instant::now() < until {
        let found: Vec<i32> =
            everybody().filter(|&pid| carries(pid, |its| its.starts_with(&numbered))).collect();
        empty_looks = if found.is_empty() { empty_looks + 1 } else { 0 };
        for pid in found {
            // One that has ended since is not found again.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        thread::sleep(LOOK);
    }
}

fn everybody() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether `pid` has a mark in its environment that is `wanted`.
pub(super) fn carries(pid: i32, wanted: impl Fn(&str) -> bool) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|&byte| byte == 0).filter_map(mark_of).any(wanted))
}

fn mark_of(entry: &[u8]) -> Option<&str> {
    str::from_utf8(entry).ok()?.strip_prefix(MARK)?.strip_prefix('=')
}
