//! The directory of a server's state, and the lock that keeps another server from it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::{files, machine};

/// The file whose lock says that a server uses the directory. It is empty, and stays: the lock is the kernel's and ends with
/// its last holder, however that ends. Whoever inherits the descriptor has the lock, too.
const LOCK: &str = "lock";
/// What a directory may not have: whoever can write there can put another file in the place of ours.
const OTHERS_MAY_WRITE: u32 = 0o002;

/// A directory that is this server's for as long as the value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why a directory can keep no state.
#[derive(Debug)]
pub enum StateDirError {
    /// It cannot be looked at.
    Unreachable(io::Error),
    /// It is something else.
    NotADirectory,
    /// Anybody may write there.
    OthersMayWrite,
    /// It belongs to another user than the server and root.
    OfAnother(u32),
    /// The server may not write there.
    Unwritable(io::Error),
    /// Another server has it.
    InUse,
    /// The lock cannot be had for another reason.
    Lock(io::Error),
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateDirError::Unreachable(error) => write!(f, "cannot be used: {error}"),
            StateDirError::NotADirectory => f.write_str("is not a directory"),
            StateDirError::OthersMayWrite => f.write_str("can be written by everybody: chmod o-w"),
            StateDirError::OfAnother(owner) => {
                let user = machine::effective_user();
                write!(f, "belongs to user {owner}, and the server runs as user {user}")
            }
            StateDirError::Unwritable(error) => write!(f, "cannot be written: {error}"),
            StateDirError::InUse => f.write_str("is in use by another server"),
            StateDirError::Lock(error) => write!(f, "cannot be locked: {error}"),
        }
    }
}

impl StateDir {
    /// Takes the directory.
    ///
    /// # Errors
    /// It can keep no state, or another server has it.
    pub fn take(path: &Path) -> Result<StateDir, StateDirError> {
        StateDir::check(path)?;
        let lock = files::open_or_make(&path.join(LOCK), 0o600).map_err(StateDirError::Unwritable)?;
        match lock.try_lock() {
            Ok(()) => Ok(StateDir { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateDirError::InUse),
            Err(TryLockError::Error(error)) => Err(StateDirError::Lock(error)),
        }
    }

    /// Whether a directory can keep state; it may be in use.
    ///
    /// # Errors
    /// Why not.
    pub fn check(path: &Path) -> Result<(), StateDirError> {
        let found = fs::metadata(path).map_err(StateDirError::Unreachable)?;
        if !found.is_dir() {
            return Err(StateDirError::NotADirectory);
        }
        if found.mode() & OTHERS_MAY_WRITE != 0 {
            return Err(StateDirError::OthersMayWrite);
        }
        if ![0, machine::effective_user()].contains(&found.uid()) {
            return Err(StateDirError::OfAnother(found.uid()));
        }
        files::can_write_in(path).map_err(StateDirError::Unwritable)
    }

    /// Where a file of this name stands.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown};

    fn refused(path: &Path) -> String {
        let said = StateDir::check(path).expect_err("it was taken").to_string();
        assert_eq!(StateDir::take(path).expect_err("it was taken").to_string(), said);
        said
    }

    #[test]
    fn a_directory_is_one_servers_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let taken = StateDir::take(folder.path()).unwrap();
        assert_eq!(taken.file("quotas.db"), folder.path().join("quotas.db"));
        assert_eq!(folder.path().join(LOCK).metadata().unwrap().mode() & 0o777, 0o600);
        let other = StateDir::take(folder.path()).unwrap_err();
        assert_eq!(other.to_string(), "is in use by another server");
        StateDir::check(folder.path()).unwrap();
        drop(taken);
        StateDir::take(folder.path()).unwrap();
    }

    /// Whoever may write there could else keep the server from its start.
    #[test]
    fn a_lock_that_is_a_pipe_is_waited_for_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&folder.path().join(LOCK), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = StateDir::take(folder.path()).unwrap_err();
        assert!(matches!(refused, StateDirError::Unwritable(_)), "{refused}");
    }

    #[test]
    fn a_directory_that_can_keep_nothing_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let absent = refused(&folder.path().join("none"));
        assert!(absent.starts_with("cannot be used: No such file"), "{absent}");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(refused(&file), "is not a directory");
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(refused(&open), "can be written by everybody: chmod o-w");
        // Only root can give a directory away.
        if chown(&file, Some(1234), None).is_ok() {
            fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
            chown(&open, Some(1234), None).unwrap();
            assert_eq!(refused(&open), "belongs to user 1234, and the server runs as user 0");
        }
    }
}
