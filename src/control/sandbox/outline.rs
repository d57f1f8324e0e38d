//! What a server has given up, in words: for its log, and for `check`.

use std::collections::HashSet;
use std::fmt;

use super::grants::{self, Scene};
use crate::config::{Config, Seccomp};
use crate::sys::landlock::FilesConfined;
use crate::sys::privileges::{Capability, ProcessUser};

/// All of it.
pub(super) struct Outline<'a> {
    pub(super) config: &'a Config,
    pub(super) account: &'a ProcessUser,
    pub(super) kept: &'a HashSet<Capability>,
    pub(super) files: &'a FilesOutline,
}

/// What becomes of files that the configuration does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FilesOutline {
    /// The kernel is to refuse them.
    Wanted,
    /// It does, as far as that.
    Confined(FilesConfined),
    /// The kernel cannot.
    Unsupported,
    /// Nobody wants that.
    Off,
    /// Something of the configuration would fail.
    InTheWay(String),
}

impl FilesOutline {
    /// What a configuration wants.
    pub(super) fn of(scene: &Scene) -> FilesOutline {
        match grants::obstacle(scene) {
            _ if !scene.config.sandbox.landlock => FilesOutline::Off,
            Some(what) => FilesOutline::InTheWay(what),
            None => FilesOutline::Wanted,
        }
    }
}

impl fmt::Display for FilesOutline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilesOutline::Confined(FilesConfined::Fully(version)) => {
                write!(f, "no other files (Landlock {version})")
            }
            FilesOutline::Confined(FilesConfined::Partly(version)) => {
                write!(f, "no other files, in part (Landlock {version})")
            }
            FilesOutline::Confined(FilesConfined::Unsupported) | FilesOutline::Unsupported => {
                f.write_str("all files (this kernel has no Landlock)")
            }
            FilesOutline::Wanted | FilesOutline::Off => f.write_str("all files"),
            FilesOutline::InTheWay(what) => write!(f, "all files ({what})"),
        }
    }
}

impl fmt::Display for Outline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outline { config, account, kept, files } = self;
        let mut names: Vec<String> = kept.iter().map(ToString::to_string).collect();
        names.sort();
        let capabilities = match names.is_empty() {
            true => "no capabilities".to_owned(),
            false => names.join(", "),
        };
        let calls = match config.sandbox.seccomp {
            Seccomp::Off => "all system calls",
            Seccomp::Log => "other system calls logged",
            Seccomp::Kill => "no other system calls",
        };
        let dumps = if config.sandbox.core_dumps { "core dumps" } else { "no core dumps" };
        write!(f, "user {account}; {capabilities}; no new privileges; {files}; {calls}; {dumps}")
    }
}
