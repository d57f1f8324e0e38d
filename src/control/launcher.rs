//! The process that starts the program anew, for a hand-over that a signal asks for.
//!
//! It is forked at the very beginning, before there is a thread and before the server gives anything up: what it starts has the
//! environment, the user and the directory that the server was started with. The serving process itself starts nothing, and
//! may be forbidden to.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::limits;
use crate::sys::launching::{fork_beside, in_passing};
use crate::sys::passing::MessageChannel;

/// The variable that tells the new server the number of its end of the channel.
pub(super) const TAKEOVER_FD: &str = "OUTFLOW_TAKEOVER_FD";
/// What would be taken for the new server's own, and was meant for the old one alone.
const NOT_INHERITED: [&str; 4] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The server's end of it. The process ends with this.
#[derive(Debug)]
pub(super) struct Launcher {
    channel: MessageChannel,
    program: ProgramFile,
}

/// The program's file: where it is, and which file it was.
#[derive(Debug)]
struct ProgramFile {
    path: Option<PathBuf>,
    running: Option<(u64, u64)>,
}

impl Launcher {
    /// To be called while this is the only thread.
    ///
    /// # Errors
    /// No process can be had.
    pub(super) fn fork() -> io::Result<Launcher> {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        let arguments: Vec<OsString> = arguments.collect();
        let program = ProgramFile::named(name.clone());
        let channel = fork_beside(|channel| serve(&channel, &name, &arguments))?;
        Ok(Launcher { channel, program })
    }

    /// Starts the program as it was started, with this end of a channel.
    ///
    /// # Errors
    /// What keeps it from being started.
    pub(super) fn start(&self, theirs: MessageChannel) -> io::Result<()> {
        use std::os::fd::AsFd;
        self.channel.send(b"start", &[theirs.as_fd()], limits::LAUNCH_PATIENCE)?;
        let answer = self.channel.receive(limits::LAUNCH_ANSWER_BYTES_MAX, limits::LAUNCH_PATIENCE)?;
        match answer {
            Some(answer) if answer.bytes == b"started" => Ok(()),
            Some(answer) => Err(io::Error::other(String::from_utf8_lossy(&answer.bytes).into_owned())),
            None => Err(io::Error::other("the process that starts programs is gone")),
        }
    }

    /// Whether another file stands by now where the program was started from.
    pub(super) fn program_is_another(&self) -> bool {
        let ProgramFile { path, running } = &self.program;
        let there = path.as_ref().and_then(|path| std::fs::metadata(path).ok());
        there.zip(*running).is_some_and(|(there, running)| identity(&there) != running)
    }
}

impl ProgramFile {
    /// The one that a shell starts by this name.
    fn named(name: OsString) -> ProgramFile {
        let running = std::fs::metadata("/proc/self/exe").ok().map(|file| identity(&file));
        let typed = PathBuf::from(name);
        let path = if typed.components().count() > 1 {
            std::env::current_dir().ok().map(|folder| folder.join(typed))
        } else {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).map(|folder| folder.join(&typed)).find(|path| path.is_file())
        };
        ProgramFile { path, running }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Starts what is asked for, until the server is gone.
fn serve(channel: &MessageChannel, name: &OsString, arguments: &[OsString]) {
    // They are meant for the server, whose group of processes has this one. Handlers, for what is ignored here would be
    // ignored by what is started.
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    loop {
        let asked = match channel.receive(limits::LAUNCH_ANSWER_BYTES_MAX, Duration::MAX) {
            Ok(Some(asked)) => asked,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
            Ok(None) | Err(_) => return,
        };
        let Some(end) = asked.descriptors.into_iter().next() else { continue };
        let failed = |error: io::Error| format!("{}: {error}", name.display());
        let run = || {
            let started = MessageChannel::of(end).and_then(|end| start(end, name, arguments));
            started.map_or_else(failed, |()| "started".to_owned())
        };
        let answer = in_passing(run, limits::LAUNCH_ANSWER_BYTES_MAX, limits::LAUNCH_PATIENCE);
        if channel.send(answer.unwrap_or_else(failed).as_bytes(), &[], limits::LAUNCH_PATIENCE).is_err() {
            return;
        }
    }
}

fn start(end: MessageChannel, name: &OsString, arguments: &[OsString]) -> io::Result<()> {
    let end = end.into_inheritable()?;
    let mut command = Command::new(name);
    command.args(arguments).env(TAKEOVER_FD, end.as_raw_fd().to_string());
    for variable in NOT_INHERITED {
        command.env_remove(variable);
    }
    command.spawn().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_file_is_found_as_a_shell_finds_it() {
        let by_path = std::env::current_exe().unwrap();
        let found = ProgramFile::named(by_path.clone().into());
        assert_eq!(found.path, Some(by_path));
        assert_eq!(
            found.path.and_then(|path| std::fs::metadata(path).ok()).map(|file| identity(&file)),
            found.running
        );
        assert!(ProgramFile::named("sh".into()).path.is_some_and(|path| path.is_absolute()));
        assert_eq!(ProgramFile::named("no-such-program-anywhere".into()).path, None);
    }
}
