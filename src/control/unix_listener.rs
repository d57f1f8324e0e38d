//! Listeners on unix sockets: one socket that all workers accept on, and whose its file is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Group, User};

use crate::admin::{SocketFile, SocketFileError};
use crate::config::{Config, ListenerConfig, SocketMode};
use crate::sys::listener::Listener;
use crate::sys::unix::FileOwner;

/// The mode of a file that nobody but its owner may write.
const OWNERS_ALONE: u32 = 0o600;

/// Opens one, and gives its file to whom the table says. Nobody else can connect before that.
///
/// # Errors
/// What keeps it from that.
pub(super) fn open(
    path: &Path,
    table: Option<&ListenerConfig>,
    config: &Config,
) -> io::Result<(Arc<Listener>, Arc<SocketFile>)> {
    let backlog = i32::try_from(config.server.backlog).unwrap_or(i32::MAX);
    let (socket, file) = SocketFile::listen(path, backlog).map_err(in_words)?;
    adjust(&file, table)?;
    Ok((Arc::new(Listener::of(socket)), Arc::new(file)))
}

/// Whether one could be opened.
///
/// # Errors
/// As [`open`].
pub(super) fn probe(path: &Path) -> io::Result<()> {
    SocketFile::probe(path).map_err(in_words)
}

/// Gives a file the owner and the mode of the table: whoever may write it may connect.
///
/// # Errors
/// There is no such user or group, or what chown(2) or chmod(2) refused.
pub(super) fn adjust(file: &SocketFile, table: Option<&ListenerConfig>) -> io::Result<()> {
    let Some(table) = table else { return Ok(()) };
    let SocketMode(mode) = table.mode.unwrap_or(SocketMode(OWNERS_ALONE));
    file.give(owner(Some(table))?, mode)
}

/// The numbers of the user and the group that are to own the file.
///
/// # Errors
/// There is no such user or group, or nobody can say.
pub(super) fn owner(table: Option<&ListenerConfig>) -> io::Result<FileOwner> {
    let Some(owner) = table.and_then(|table| table.owner.as_deref()) else {
        return Ok(FileOwner { user: None, group: None });
    };
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (owner, None),
    };
    let none = |what: &str, name: &str| io::Error::other(format!("there is no {what} {name:?}"));
    let user = match user {
        "" => None,
        name => Some(match name.parse() {
            Ok(number) => number,
            Err(_) => User::from_name(name)?.ok_or_else(|| none("user", name))?.uid.as_raw(),
        }),
    };
    let group = match group {
        None => None,
        Some(name) => Some(match name.parse() {
            Ok(number) => number,
            Err(_) => Group::from_name(name)?.ok_or_else(|| none("group", name))?.gid.as_raw(),
        }),
    };
    Ok(FileOwner { user, group })
}

fn in_words(SocketFileError { what, in_use }: SocketFileError) -> io::Error {
    io::Error::new(if in_use { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other }, what)
}
