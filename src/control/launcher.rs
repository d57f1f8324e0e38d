//! The process that starts the program anew, for a hand-over that a signal asks for.
//!
//! It is forked at the very beginning, before there is a thread and before the server gives anything up: what it starts has the
//! environment, the user and the directory that the server was started with. The serving process itself starts nothing, and
//! may be forbidden to. Of the rights of root it keeps those that a configuration of the server could ever need.
//!
//! Who takes over a server that root started, and that goes on as another user, may have the program started, too: as root. So
//! root starts none that this user could have put there, nor one with such a configuration.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use super::sandbox;
use crate::config::Config;
use crate::limits;
use crate::sys::launching::{fork_beside, in_passing};
use crate::sys::machine;
use crate::sys::passing::MessageChannel;
use crate::sys::privileges::ProcessUser;
use crate::sys::replacing::replaceable;

/// The variable that tells the new server the number of its end of the channel.
pub(super) const TAKEOVER_FD: &str = "OUTFLOW_TAKEOVER_FD";
/// What would be taken for the new server's own, and was meant for the old one alone.
const NOT_INHERITED: [&str; 4] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The server's end of it. The process ends with this.
#[derive(Debug)]
pub(super) struct Launcher {
    channel: MessageChannel,
    program: ProgramFile,
    objection: Option<String>,
}

/// What is started, and whom it is kept from.
#[derive(Debug)]
pub(super) struct Startable {
    name: OsString,
    arguments: Vec<OsString>,
    /// The program's file, and the configuration's.
    program: Option<PathBuf>,
    configuration: Option<PathBuf>,
    /// Whom the server goes on as, where root starts it.
    user: Option<String>,
}

/// What it is where nobody can put anything in its place.
const SAFE: &str = "safe";

/// The program's file: where it is, and which file it was.
#[derive(Debug)]
struct ProgramFile {
    path: Option<PathBuf>,
    running: Option<(u64, u64)>,
}

impl Launcher {
    /// The process for a server with this configuration, out of this file. To be called while this is the only thread.
    ///
    /// # Errors
    /// No process can be had.
    pub(super) fn fork(config: &Config, configuration: Option<&Path>) -> io::Result<Launcher> {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        let arguments: Vec<OsString> = arguments.collect();
        let program = ProgramFile::named(name.clone());
        let user =
            config.server.user.as_deref().filter(|_| machine::effective_user() == 0).map(str::to_owned);
        let configuration = configuration.and_then(|file| std::path::absolute(file).ok());
        let startable = Startable { name, arguments, program: program.path.clone(), configuration, user };
        let objection = startable.objection();
        let channel = fork_beside(|channel| {
            // Rights that cannot be given up are no reason to start nothing.
            let _ = sandbox::narrow_launcher(config);
            serve(&channel, &startable);
        })?;
        Ok(Launcher { channel, program, objection })
    }

    /// Why the program would not be started as things are, where that is so.
    pub(super) fn objection(&self) -> Option<&str> {
        self.objection.as_deref()
    }

    /// Starts the program as it was started, with this end of a channel.
    ///
    /// # Errors
    /// What keeps it from being started.
    pub(super) fn start(&self, theirs: MessageChannel) -> io::Result<()> {
        use std::os::fd::AsFd;
        self.channel.send(b"start", &[theirs.as_fd()], limits::LAUNCH_PATIENCE)?;
        let patience = limits::LAUNCH_INTERVAL + limits::LAUNCH_PATIENCE;
        let answer = self.channel.receive(limits::LAUNCH_ANSWER_BYTES_MAX, patience)?;
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

impl Startable {
    /// Why root is not to start it, where that is so. To be called while this is the only thread.
    fn objection(&self) -> Option<String> {
        let user = self.user.as_deref()?;
        let said = in_passing(
            || self.replaceable_by(user),
            limits::LAUNCH_ANSWER_BYTES_MAX,
            limits::LAUNCH_PATIENCE,
        );
        match said {
            Ok(said) if said == SAFE => None,
            Ok(said) => Some(said),
            Err(error) => Some(format!("nobody can say what {user} may replace: {error}")),
        }
    }

    /// What this user may have root run, in words. The process is nobody else's afterwards.
    fn replaceable_by(&self, user: &str) -> String {
        let account = match ProcessUser::named(user) {
            Ok(account) if account.is_root() => return SAFE.to_owned(),
            Ok(account) => account,
            Err(error) => return error.to_string(),
        };
        if let Err(error) = account.become_it(&HashSet::new()) {
            return format!("{account}: {error}");
        }
        for file in self.program.iter().chain(&self.configuration) {
            match replaceable(file) {
                Ok(None) => {}
                Ok(Some(weak)) => {
                    let what =
                        if weak == *file { String::new() } else { format!(", and so {}", file.display()) };
                    return format!(
                        "{account} may replace {}{what}: as root nothing is started by it",
                        weak.display()
                    );
                }
                Err(error) => return format!("{}: {error}", file.display()),
            }
        }
        SAFE.to_owned()
    }

    fn start(&self, end: MessageChannel) -> io::Result<()> {
        let end = end.into_inheritable()?;
        // By the path that was looked at, whatever comes to stand before it in PATH.
        let mut command = Command::new(self.program.as_deref().unwrap_or(Path::new(&self.name)));
        command.arg0(&self.name).args(&self.arguments).env(TAKEOVER_FD, end.as_raw_fd().to_string());
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        command.spawn().map(drop)
    }
}

/// Starts what is asked for, until the server is gone.
fn serve(channel: &MessageChannel, startable: &Startable) {
    // They are meant for the server, whose group of processes has this one. Handlers, for what is ignored here would be
    // ignored by what is started.
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    let mut started: Option<Instant> = None;
    loop {
        let asked = match channel.receive(limits::LAUNCH_ANSWER_BYTES_MAX, Duration::MAX) {
            Ok(Some(asked)) => asked,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
            Ok(None) | Err(_) => return,
        };
        let Some(end) = asked.descriptors.into_iter().next() else { continue };
        let failed = |error: io::Error| format!("{}: {error}", startable.name.display());
        let run = || {
            let started = MessageChannel::of(end).and_then(|end| startable.start(end));
            started.map_or_else(failed, |()| "started".to_owned())
        };
        let answer = match startable.objection() {
            Some(objection) => objection,
            None => {
                // Whoever has taken the server over may ask without end, and each program has more rights than he.
                let passed = started.map_or(Duration::MAX, |at| at.elapsed());
                thread::sleep(limits::LAUNCH_INTERVAL.saturating_sub(passed));
                started = Some(Instant::now());
                in_passing(run, limits::LAUNCH_ANSWER_BYTES_MAX, limits::LAUNCH_PATIENCE)
                    .unwrap_or_else(failed)
            }
        };
        if channel.send(answer.as_bytes(), &[], limits::LAUNCH_PATIENCE).is_err() {
            return;
        }
    }
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
