//! Unix sockets that nobody but their owner may connect to, and who is at the other end of one.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::Errno;

/// Who is at the other end of a connection, as of when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProcess {
    /// The process's effective user.
    pub uid: u32,
    /// Its number, in our namespace of numbers.
    pub pid: i32,
}

/// Whose the file of a socket is to be; what is absent stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// The user's number.
    pub user: Option<u32>,
    /// The group's.
    pub group: Option<u32>,
}

/// What goes over a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// Bytes.
    Stream,
    /// Messages, each whole: SOCK_SEQPACKET.
    Messages,
}

impl SocketKind {
    fn as_type(self) -> Type {
        match self {
            SocketKind::Stream => Type::STREAM,
            SocketKind::Messages => Type::SEQPACKET,
        }
    }
}

/// What stands at the path of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A socket that nobody listens on any more.
    Stale,
    /// A socket that somebody listens on.
    Live,
    /// A socket of this user's, to which this process may not connect: whether somebody listens on it is not known.
    Closed(u32),
}

/// A socket that is bound to `path` and does not listen yet. Its file has mode 0600 from the first moment: the kernel makes
/// it with the mode of the socket itself (unix_bind), so that no umask, which is the whole process's, is touched.
///
/// # Errors
/// EADDRINUSE where something stands at the path; what socket(2), fchmod(2) or bind(2) refused.
pub fn bind_private(kind: SocketKind, path: &Path) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, kind.as_type().nonblocking(), None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Has a bound socket listen.
///
/// # Errors
/// What listen(2) refused.
pub fn listen(socket: &OwnedFd, backlog: i32) -> io::Result<()> {
    SockRef::from(socket).listen(backlog)
}

/// Whether it is a socket of this kind that listens at this path.
pub fn listens_at(kind: SocketKind, socket: &impl AsFd, path: &Path) -> bool {
    let socket = SockRef::from(socket);
    let is_of_kind = socket.domain().is_ok_and(|domain| domain == Domain::UNIX)
        && socket.r#type().is_ok_and(|found| found == kind.as_type());
    let is_there = || socket.local_addr().is_ok_and(|address| address.as_pathname() == Some(path));
    is_of_kind && socket.is_listener().unwrap_or(false) && is_there()
}

/// Which file stands at a path, by device and inode; what a link leads to is not looked at.
///
/// # Errors
/// What lstat(2) refused.
pub fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Gives the socket that stands at a path an owner and a mode, where it is the one of this [`identity`]. Whoever may write to
/// its folder may put another file there, or a link to one: that stays as it is.
///
/// # Errors
/// ENOTSOCK where another file stands there; what open(2), chown(2) or chmod(2) refused.
pub fn give(path: &Path, file: (u64, u64), owner: FileOwner, mode: u32) -> io::Result<()> {
    let there: File = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?.into();
    let found = there.metadata()?;
    if !found.file_type().is_socket() || (found.dev(), found.ino()) != file {
        return Err(Errno::ENOTSOCK.into());
    }
    // No call changes what a descriptor of O_PATH holds but by this name for it.
    let held = format!("/proc/self/fd/{}", there.as_raw_fd());
    if owner.user.is_some() || owner.group.is_some() {
        chown(&held, owner.user, owner.group)?;
    }
    std::fs::set_permissions(&held, Permissions::from_mode(mode))
}

/// A folder that is locked (flock); free again when dropped.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "held")] Flock<File>);

/// Locks a folder, which nobody but others who do so notice.
///
/// # Errors
/// EWOULDBLOCK where another has it locked; what open(2) or flock(2) said.
pub fn try_lock_folder(folder: &Path) -> io::Result<FolderLock> {
    let locked = Flock::lock(File::open(folder)?, FlockArg::LockExclusiveNonblock);
    locked.map(FolderLock).map_err(|(_, errno)| errno.into())
}

/// Looks what stands at the path of a unix socket, by connecting to it.
///
/// # Errors
/// ENOTSOCK where it is no socket, EPROTOTYPE where it is of another kind; what stat(2) or connect(2) says otherwise.
pub fn look(kind: SocketKind, path: &Path) -> io::Result<Found> {
    let owner = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Errno::ENOTSOCK.into()),
        Ok(metadata) => metadata.uid(),
    };
    let socket = Socket::new(Domain::UNIX, kind.as_type().nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(Found::Live),
        // Its queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Found::Live),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Stale),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Found::Closed(owner)),
        Err(error) => Err(error),
    }
}

/// Who is at the other end (SO_PEERCRED).
///
/// # Errors
/// What getsockopt(2) refused.
pub fn peer(stream: &impl AsFd) -> Result<PeerProcess, Errno> {
    getsockopt(stream, PeerCredentials)
        .map(|credentials| PeerProcess { uid: credentials.uid(), pid: credentials.pid() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::sys::machine;

    #[test]
    fn the_file_is_its_owners_alone_from_the_first_moment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let bound = bind_private(SocketKind::Stream, &path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(bind_private(SocketKind::Stream, &path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        listen(&bound, 4).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (ours, _) = UnixListener::from(bound).accept().unwrap();
        let own = PeerProcess { uid: machine::effective_user(), pid: std::process::id() as i32 };
        assert_eq!((peer(&ours), peer(&client)), (Ok(own), Ok(own)));
    }

    #[test]
    fn who_listens_is_told_from_what_was_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert_eq!(look(SocketKind::Stream, &path).unwrap(), Found::Nothing);
        let bound = bind_private(SocketKind::Stream, &path).unwrap();
        assert_eq!(look(SocketKind::Stream, &path).unwrap(), Found::Stale, "bound, and nobody listens");
        listen(&bound, 0).unwrap();
        let _queued: Vec<Found> = (0..4)
            .map(|_| look(SocketKind::Stream, &path).unwrap())
            .inspect(|found| assert_eq!(*found, Found::Live))
            .collect();
        drop(bound);
        assert_eq!(look(SocketKind::Stream, &path).unwrap(), Found::Stale);
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(look(SocketKind::Stream, &file).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
