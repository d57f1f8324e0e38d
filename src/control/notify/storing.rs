//! Listeners that the service manager keeps for whoever comes next (FDSTORE=1): so a crash or a restart costs nobody who waits in
//! their queues.
//!
//! What it keeps is as much the next process's as this one's: it is let go of like a socket that another has, too, and never made to
//! refuse anybody. Whoever is to be refused is so once the manager has forgotten the socket.
//!
//! sd-notify has these words behind a feature that brings another crate in, to send them in a way that waits.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::control::acceptor::{Acceptor, StorableListener};
use crate::control::stored::name_of;
use crate::limits;

/// Our end, and where the manager's is.
pub(super) type ManagerWay<'a> = (&'a UnixDatagram, &'a SocketAddr);

/// What a service manager keeps.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// For how many descriptors it has room.
    pub(super) room: usize,
    /// The names of the listeners that it was given.
    names: BTreeSet<String>,
    /// It was said that there is no room for all.
    said: bool,
}

impl Store {
    /// Has the manager keep the listeners that there are, and forget those that are gone.
    pub(super) fn keep(&mut self, way: ManagerWay<'_>, acceptor: &mut Acceptor) {
        let mut room = self.room;
        if room == 0 {
            return;
        }
        let (mut names, mut without) = (BTreeSet::new(), Vec::new());
        for StorableListener { number, address, sockets } in acceptor.storable() {
            let Some(name) = name_of(&address).filter(|_| sockets.len() <= room) else {
                without.push(address.to_string());
                continue;
            };
            room -= sockets.len();
            let descriptors: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
            // One that it has already it does not take twice; what it could not be told it is told the next time.
            if self.names.contains(&name) || give(way, &name, &descriptors).is_ok() {
                acceptor.store(number, true);
                names.insert(name);
            }
        }
        for gone in self.names.difference(&names) {
            let _ = forget(way, gone);
        }
        self.names = names;
        if !without.is_empty() && !std::mem::replace(&mut self.said, true) {
            tracing::warn!(
                "the service manager has room for {} descriptors (FileDescriptorStoreMax): a crash loses who waits at {}",
                self.room,
                without.join(", ")
            );
        }
    }

    /// Has it forget all of them: they are to refuse whoever comes.
    pub(super) fn forget_all(&mut self, way: ManagerWay<'_>, acceptor: &mut Acceptor) {
        for name in std::mem::take(&mut self.names) {
            let _ = forget(way, &name);
        }
        acceptor.storable().iter().for_each(|listener| acceptor.store(listener.number, false));
    }
}

/// Has it keep these under a name, beside those that it has.
///
/// # Errors
/// It could not be told: what sendmsg(2) said. Some of them may be kept.
fn give(way: ManagerWay<'_>, name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut batches = numbers.chunks(limits::STORED_IN_MESSAGE_MAX);
    batches.try_for_each(|batch| tell(way, &format!("FDSTORE=1\nFDNAME={name}\n"), batch))
}

/// Has it close what it keeps under a name.
///
/// # Errors
/// It could not be told: what sendmsg(2) said.
pub(super) fn forget(way: ManagerWay<'_>, name: &str) -> io::Result<()> {
    tell(way, &format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[])
}

fn tell((socket, manager): ManagerWay<'_>, message: &str, descriptors: &[RawFd]) -> io::Result<()> {
    let address = match (manager.as_pathname(), manager.as_abstract_name()) {
        (Some(path), _) => UnixAddr::new(path)?,
        (None, Some(name)) => UnixAddr::new_abstract(name)?,
        (None, None) => return Err(io::ErrorKind::NotConnected.into()),
    };
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(message.as_bytes())], rights, flags, Some(&address))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::net::TcpListener;

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    fn heard(socket: &UnixDatagram) -> (String, usize) {
        let mut buffer = [0; 1024];
        let mut room = nix::cmsg_space!([RawFd; limits::STORED_IN_MESSAGE_MAX]);
        let mut into = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC)
                .unwrap();
        let mut passed = 0;
        for rights in message.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(numbers) = rights {
                passed += numbers.len();
                numbers.into_iter().for_each(|number| nix::unistd::close(number).unwrap());
            }
        }
        let length = message.bytes;
        (String::from_utf8(buffer[..length].to_vec()).unwrap(), passed)
    }

    /// Our end, and the address of the manager at a path or of an abstract name.
    fn way(address: SocketAddr) -> (UnixDatagram, SocketAddr) {
        (UnixDatagram::unbound().unwrap(), address)
    }

    #[test]
    fn sockets_are_stored_by_name_and_forgotten_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstracted =
            SocketAddr::from_abstract_name(format!("outflow-storing-{}", std::process::id())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for address in [SocketAddr::from_pathname(&path).unwrap(), abstracted] {
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            let (ours, manager) = way(address);
            give((&ours, &manager), "stored.a", &[listener.as_fd(), listener.as_fd()]).unwrap();
            assert_eq!(heard(&socket), ("FDSTORE=1\nFDNAME=stored.a\n".to_owned(), 2));
            forget((&ours, &manager), "stored.a").unwrap();
            assert_eq!(heard(&socket), ("FDSTOREREMOVE=1\nFDNAME=stored.a\n".to_owned(), 0));
        }
    }

    #[test]
    fn more_than_one_message_takes_go_in_several() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (ours, manager) = way(SocketAddr::from_pathname(&path).unwrap());
        give((&ours, &manager), "stored.b", &[listener.as_fd(); 300]).unwrap();
        assert_eq!([heard(&socket).1, heard(&socket).1], [limits::STORED_IN_MESSAGE_MAX, 47]);
    }

    #[test]
    fn a_manager_that_is_not_there_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, manager) = way(SocketAddr::from_pathname(folder.path().join("notify")).unwrap());
        assert!(forget((&ours, &manager), "stored.a").is_err());
    }
}
