//! Where a server is asked for its place: a unix socket of its own, for its own user and root alone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::messages::tell_refused;
use crate::admin::{SocketFile, SocketFileError};
use crate::limits;
use crate::sys::machine;
use crate::sys::passing::{MessageChannel, wait_for_either};
use crate::sys::privileges::ProcessUser;
use crate::sys::unix::{PeerProcess, SocketKind};
use crate::threads;

/// The socket of the server before this one.
#[derive(Debug)]
pub(in crate::control) struct GivenTakeover {
    pub(in crate::control) path: PathBuf,
    pub(in crate::control) socket: OwnedFd,
    pub(in crate::control) file: Option<SocketFile>,
}

/// A socket at which servers ask for this one's place.
#[derive(Debug)]
pub(in crate::control) struct TakeoverSocket {
    pub(in crate::control) path: PathBuf,
    pub(in crate::control) socket: Arc<OwnedFd>,
    file: Option<SocketFile>,
    given: bool,
}

impl TakeoverSocket {
    /// The one at a path: what was given, where it is the same, or else a new one.
    ///
    /// # Errors
    /// What keeps it from being listened at.
    pub(in crate::control) fn open(
        path: &Path,
        given: Option<GivenTakeover>,
    ) -> Result<TakeoverSocket, String> {
        if let Some(given) = given.filter(|given| given.path == path) {
            let GivenTakeover { path, socket, file } = given;
            return Ok(TakeoverSocket { path, socket: Arc::new(socket), file, given: true });
        }
        let opened = SocketFile::listen_as(SocketKind::Messages, path, limits::HANDOVER_BACKLOG);
        let (socket, file) = opened.map_err(|error| in_words(path, &error))?;
        Ok(TakeoverSocket { path: path.to_owned(), socket: Arc::new(socket), file: Some(file), given: false })
    }

    /// Whether one could be had.
    ///
    /// # Errors
    /// As [`TakeoverSocket::open`].
    /// With each, whether another server has it.
    pub(in crate::control) fn probe(path: &Path) -> Result<(), (String, bool)> {
        let probed = SocketFile::probe_as(SocketKind::Messages, path);
        probed.map_err(|error| (in_words(path, &error), error.in_use))
    }

    /// Whether it is that of the server before.
    pub(in crate::control) fn is_given(&self) -> bool {
        self.given
    }

    /// Which file it has, by device and inode.
    pub(in crate::control) fn file(&self) -> Option<(u64, u64)> {
        self.file.as_ref().and_then(SocketFile::identity)
    }

    /// Says whether another server has it, and looks after its file.
    pub(in crate::control) fn lend(&self, lent: bool) {
        self.file.iter().for_each(|file| file.lend(lent));
    }
}

fn in_words(path: &Path, SocketFileError { what, in_use }: &SocketFileError) -> String {
    let hint = if *in_use { " (--takeover takes its place)" } else { "" };
    format!("cannot listen at {}: {what}{hint}", path.display())
}

/// The thread that takes whoever asks. It ends when this is dropped, and leaves those who are queued to whoever has the
/// socket, too.
#[derive(Debug)]
pub(in crate::control) struct TakeoverDoor {
    _stop: UnixStream,
}

impl TakeoverDoor {
    /// Shows whoever comes here. Root and the server's own user are let in.
    ///
    /// # Errors
    /// No thread or no socket can be had.
    pub(in crate::control) fn start(
        socket: Arc<OwnedFd>,
    ) -> io::Result<(TakeoverDoor, Receiver<MessageChannel>)> {
        let (stop, stopped) = UnixStream::pair()?;
        let (come, came) = bounded(1);
        threads::spawn("takeover", move || accept(&socket, &stopped, &come))?;
        Ok((TakeoverDoor { _stop: stop }, came))
    }
}

fn accept(socket: &OwnedFd, stopped: &UnixStream, come: &Sender<MessageChannel>) {
    loop {
        match wait_for_either(stopped.as_fd(), socket.as_fd()) {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => return tracing::error!(%error, "nobody can ask for a hand-over any more"),
        }
        let channel = match MessageChannel::accept(socket) {
            Ok(Some(channel)) => channel,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "who asks for a hand-over cannot be let in");
                std::thread::sleep(limits::ACCEPT_PAUSE);
                continue;
            }
        };
        match channel.peer() {
            Ok(peer) if [0, machine::effective_user()].contains(&peer.uid) => {
                if come.send(channel).is_err() {
                    return;
                }
            }
            Ok(PeerProcess { uid, pid }) => {
                let may = ProcessUser::in_words();
                let why = format!("user {uid} may not ask, but {may} and root may");
                tracing::warn!(pid, "a hand-over was asked for and refused: {why}");
                tell_refused(&channel, why);
            }
            Err(error) => tracing::warn!(%error, "who asks for a hand-over cannot be told"),
        }
    }
}
