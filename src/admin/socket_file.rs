//! Unix sockets at paths: opened in place of what a crash left, and removed with whoever listens there.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::limits;
use crate::sys::privileges::ProcessUser;
use crate::sys::unix::SocketKind;
use crate::sys::{Errno, files, unix};

/// Why a path cannot be listened on, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFileError {
    /// The words.
    pub what: String,
    /// Another has it, who may be this very server, running.
    pub in_use: bool,
}

impl SocketFileError {
    fn of(what: impl Into<String>) -> SocketFileError {
        SocketFileError { what: what.into(), in_use: false }
    }
}

/// The file of a unix socket of ours; removed when dropped, unless another stands there by then or it is another process's.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    file: Option<(u64, u64)>,
    /// Another process has the socket, and removes the file.
    lent: AtomicBool,
}

impl SocketFile {
    /// Listens at a path, for nobody but our own user and root. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// What keeps it from that.
    pub fn listen(path: &Path, backlog: i32) -> Result<(OwnedFd, SocketFile), SocketFileError> {
        SocketFile::listen_as(SocketKind::Stream, path, backlog)
    }

    /// Listens so for this kind of socket.
    ///
    /// # Errors
    /// As [`SocketFile::listen`].
    pub fn listen_as(
        kind: SocketKind,
        path: &Path,
        backlog: i32,
    ) -> Result<(OwnedFd, SocketFile), SocketFileError> {
        // Of two servers that find what a crash left, the second would remove what the first has made of it.
        let _alone = lock_folder(path);
        if look(kind, path)? == unix::Found::Stale {
            let removed = std::fs::remove_file(path);
            removed.map_err(|error| {
                SocketFileError::of(format!("what an earlier server left there cannot be removed: {error}"))
            })?;
        }
        let bound = unix::bind_private(kind, path).and_then(|socket| {
            unix::listen(&socket, backlog)?;
            Ok(socket)
        });
        let socket = bound.map_err(|error| refused_at(path, &error))?;
        Ok((socket, SocketFile { path: path.to_owned(), file: identity(path), lent: AtomicBool::new(false) }))
    }

    /// The file of a socket that another process opened and has, too: this file, by device and inode.
    pub fn given(path: &Path, file: (u64, u64)) -> SocketFile {
        SocketFile { path: path.to_owned(), file: Some(file), lent: AtomicBool::new(true) }
    }

    /// Says whether another process has the socket, and removes the file.
    pub fn lend(&self, lent: bool) {
        self.lent.store(lent, Ordering::Release);
    }

    /// Which file it is, by device and inode.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.file
    }

    /// Whether a path could be listened on; nothing is there afterwards that was not there before.
    ///
    /// # Errors
    /// As [`SocketFile::listen`].
    pub fn probe(path: &Path) -> Result<(), SocketFileError> {
        SocketFile::probe_as(SocketKind::Stream, path)
    }

    /// Whether this kind of socket could be listened on there.
    ///
    /// # Errors
    /// As [`SocketFile::listen`].
    pub fn probe_as(kind: SocketKind, path: &Path) -> Result<(), SocketFileError> {
        // Whether a file could be made beside it, which is what bind(2) does.
        let beside = path.with_file_name(".outflow-socket");
        look(kind, path)?;
        files::can_append(&beside).map_err(|error| refused_at(path, &error))
    }

    /// Gives it an owner and a mode: whoever may write it may connect.
    ///
    /// # Errors
    /// Another file stands there by now, or what chown(2) or chmod(2) refused.
    pub fn give(&self, owner: unix::FileOwner, mode: u32) -> io::Result<()> {
        let given =
            self.file.map_or(Err(Errno::ENOTSOCK.into()), |file| unix::give(&self.path, file, owner, mode));
        given.map_err(|error| match error.raw_os_error() {
            Some(errno) if errno == Errno::ENOTSOCK as i32 => {
                io::Error::other("another file stands there by now, and stays as it is")
            }
            _ => io::Error::other(format!("its file is not given its owner and its mode: {error}")),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.lent.load(Ordering::Acquire) {
            return;
        }
        let there = identity(&self.path);
        if there.is_some() && there == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Which file stands at a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    unix::identity(path).ok()
}

/// Keeps other servers from opening sockets in the same folder meanwhile. Whoever may read a folder may lock it: who does so
/// for long keeps no server from its start.
fn lock_folder(path: &Path) -> Option<unix::FolderLock> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for _ in 0..limits::ADMIN_LOCK_TRIES {
        match unix::try_lock_folder(folder) {
            Ok(lock) => return Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(limits::ADMIN_LOCK_PAUSE);
            }
            Err(_) => return None,
        }
    }
    None
}

/// What stands at the path, if a socket of ours may.
fn look(kind: SocketKind, path: &Path) -> Result<unix::Found, SocketFileError> {
    match unix::look(kind, path) {
        Ok(unix::Found::Live) => {
            Err(SocketFileError { what: "another server listens there".to_owned(), in_use: true })
        }
        Ok(unix::Found::Closed(owner)) => {
            let what = format!(
                "a socket of user {owner} stands there, to which {} may not connect: that of a server that runs, or what one \
                 left behind, which is to be removed",
                ProcessUser::in_words()
            );
            Err(SocketFileError { what, in_use: true })
        }
        Ok(found) => Ok(found),
        Err(error) if error.raw_os_error() == Some(Errno::ENOTSOCK as i32) => {
            Err(SocketFileError::of("it is no socket, and stays as it is"))
        }
        Err(error) if error.raw_os_error() == Some(Errno::EPROTOTYPE as i32) => {
            Err(SocketFileError { what: "a socket of another kind stands there".to_owned(), in_use: true })
        }
        Err(error) => Err(refused_at(path, &error)),
    }
}

fn refused_at(path: &Path, error: &io::Error) -> SocketFileError {
    SocketFileError::of(match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(folder)) => {
            format!(
                "there is no folder {}: make it (for a service of systemd: RuntimeDirectory=)",
                folder.display()
            )
        }
        _ => error.to_string(),
    })
}
