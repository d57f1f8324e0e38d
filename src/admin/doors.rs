//! Where the endpoint is reached: listeners on unix sockets and on addresses, opened before anything goes by them.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::access::AdminPeer;
use super::answer::HttpAnswer;
use super::rights::cannot_bind;
use super::socket_file::{SocketFile, SocketFileError};
use super::status::HttpStatus;
use super::stream::AdminStream;
use crate::config::{Endpoint, ListenAddress, overlap};
use crate::limits;
use crate::sys::listener::Listener;
use crate::sys::sock_diag::SocketOwners;
use crate::sys::{machine, unix};

/// Why an address cannot be had, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DoorError {
    pub(super) what: String,
    /// Another has it, who may be this very server, running.
    pub(super) in_use: bool,
}

/// A listener that is bound, and that nobody is let in by yet. Only a unix socket listens already: one that does not is
/// taken for what a crash left.
#[derive(Debug)]
pub(super) struct BoundDoor {
    address: ListenAddress,
    socket: OwnedFd,
    kind: DoorKind,
    /// The number by which another process gave it.
    given: Option<u16>,
    kept: bool,
}

/// A listener of the endpoint that another process opened and has, too: the server before this one, or a service manager.
#[derive(Debug)]
pub struct GivenDoor {
    /// As whoever gave it knows it.
    pub number: Option<u16>,
    /// As it is, or was, configured.
    pub address: ListenAddress,
    /// It listens.
    pub socket: OwnedFd,
    /// A service manager keeps it for whoever comes next.
    pub kept: bool,
    /// The file of a unix socket that is to go with this server.
    pub file: Option<SocketFile>,
}

/// A listener of the endpoint as it is offered to another server.
#[derive(Debug)]
pub struct OfferedDoor {
    /// By which it is told what became of it.
    pub number: u16,
    /// As it is configured.
    pub address: ListenAddress,
    /// A service manager keeps it.
    pub kept: bool,
    /// Whoever holds it keeps it open.
    pub socket: Arc<OwnedFd>,
    /// The file of a unix socket that goes with the server, by device and inode.
    pub file: Option<(u64, u64)>,
}

impl GivenDoor {
    /// A socket that is given, where it is one that listens.
    ///
    /// # Errors
    /// It is no stream socket of TCP or at a path, or it does not listen.
    pub fn checked(socket: OwnedFd) -> io::Result<OwnedFd> {
        Listener::given(socket).map(OwnedFd::from)
    }
}

/// What a listener is bound to.
#[derive(Debug)]
enum DoorKind {
    Tcp(SocketAddr),
    Unix { file: Option<Arc<SocketFile>> },
}

impl DoorKind {
    fn tcp(&self) -> Option<SocketAddr> {
        match self {
            DoorKind::Tcp(address) => Some(*address),
            DoorKind::Unix { .. } => None,
        }
    }
}

/// A listener.
#[derive(Debug)]
pub(super) struct Door {
    address: ListenAddress,
    kind: DoorKind,
    listener: DoorListener,
}

#[derive(Debug)]
enum DoorListener {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

impl DoorError {
    fn at(self, address: &ListenAddress) -> DoorError {
        DoorError { what: format!("cannot listen on {address}: {}", self.what), ..self }
    }
}

impl BoundDoor {
    /// Binds an address, also where it overlaps one of ours that goes. A unix socket that nobody listens on any more is
    /// replaced.
    ///
    /// # Errors
    /// What keeps it from being bound, in words.
    pub(super) fn bind(address: &ListenAddress, goes: &[SocketAddr]) -> Result<BoundDoor, DoorError> {
        let bound = match address {
            ListenAddress::Unix(path) => bind_unix(path),
            ListenAddress::Tcp(endpoint) => bind_tcp(endpoint, goes).map_err(|error| DoorError {
                what: cannot_bind(endpoint.address.port(), &error),
                in_use: error.kind() == io::ErrorKind::AddrInUse,
            }),
        };
        let (socket, kind) = bound.map_err(|error| error.at(address))?;
        Ok(BoundDoor { address: address.clone(), socket, kind, given: None, kept: false })
    }

    /// One that another process opened.
    ///
    /// # Errors
    /// Where it is bound cannot be said.
    pub(super) fn given(given: GivenDoor) -> Result<BoundDoor, DoorError> {
        let GivenDoor { number, address, socket, kept, file } = given;
        let kind = match &address {
            ListenAddress::Unix(_) => DoorKind::Unix { file: file.map(Arc::new) },
            ListenAddress::Tcp(_) => {
                let bound = SockRef::from(&socket).local_addr().ok().and_then(|bound| bound.as_socket());
                let unbound = || DoorError { what: "it is bound to no address".to_owned(), in_use: false };
                DoorKind::Tcp(bound.ok_or_else(unbound).map_err(|error| error.at(&address))?)
            }
        };
        Ok(BoundDoor { address, socket, kind, given: number, kept })
    }

    /// The number by which another process gave it.
    pub(super) fn given_number(&self) -> Option<u16> {
        self.given
    }

    /// What is offered of it to another server, with a duplicate of its socket; and its file.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub(super) fn to_offer(&self, number: u16) -> io::Result<(OfferedDoor, Option<Arc<SocketFile>>)> {
        let file = match &self.kind {
            DoorKind::Unix { file } => file.clone(),
            DoorKind::Tcp(_) => None,
        };
        let socket = Arc::new(self.socket.try_clone()?);
        let identity = file.as_ref().and_then(|file| file.identity());
        let offered =
            OfferedDoor { number, address: self.address.clone(), kept: self.kept, socket, file: identity };
        Ok((offered, file))
    }

    /// Whether an address could be bound; nothing is there afterwards that was not there before.
    ///
    /// # Errors
    /// As [`BoundDoor::bind`].
    pub(super) fn probe(address: &ListenAddress, goes: &[SocketAddr]) -> Result<(), DoorError> {
        match address {
            ListenAddress::Unix(path) => {
                SocketFile::probe(path).map_err(|error| DoorError::from(error).at(address))
            }
            ListenAddress::Tcp(_) => BoundDoor::bind(address, goes).map(drop),
        }
    }

    /// As it is configured.
    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The address and port, where it has one.
    pub(super) fn tcp(&self) -> Option<SocketAddr> {
        self.kind.tcp()
    }

    /// Lets clients in.
    ///
    /// # Errors
    /// What listen(2) refused.
    pub(super) fn listen(self) -> io::Result<Door> {
        let listener = match &self.kind {
            DoorKind::Tcp(_) => {
                let socket = Socket::from(self.socket);
                socket.listen(limits::ADMIN_BACKLOG)?;
                DoorListener::Tcp(mio::net::TcpListener::from_std(TcpListener::from(socket)))
            }
            DoorKind::Unix { .. } => {
                let listener = UnixListener::from(self.socket);
                DoorListener::Unix(mio::net::UnixListener::from_std(listener))
            }
        };
        Ok(Door { address: self.address, kind: self.kind, listener })
    }
}

impl Door {
    /// As it is configured.
    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The address and port, where it has one.
    pub(super) fn tcp(&self) -> Option<SocketAddr> {
        self.kind.tcp()
    }

    /// Whether others than this machine's processes may reach it.
    pub(super) fn is_beyond(&self) -> bool {
        self.address.is_beyond()
    }

    /// The listener, for a poll.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match &mut self.listener {
            DoorListener::Tcp(listener) => listener,
            DoorListener::Unix(listener) => listener,
        }
    }

    /// Takes one connection, with who is at its other end.
    ///
    /// # Errors
    /// What accept4(2) said: EAGAIN where nobody waits. ENOTCONN where whoever it was has left.
    pub(super) fn accept(&self, owners: &mut Option<SocketOwners>) -> io::Result<(AdminStream, AdminPeer)> {
        match &self.listener {
            DoorListener::Tcp(listener) => {
                let (stream, theirs) = listener.accept()?;
                // Answers leave at once, whole.
                let _ = stream.set_nodelay(true);
                let peer = peer_of(theirs, stream.local_addr()?, owners);
                // Whoever has reset it may have been followed at the same port by somebody else, who was found just now. What
                // was sent before the reset could still be read.
                stream.peer_addr()?;
                Ok((AdminStream::Tcp(stream), peer))
            }
            DoorListener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                let process = unix::peer(&stream)?;
                Ok((AdminStream::Unix(stream), AdminPeer::Process(process)))
            }
        }
    }
}

/// As a browser or a client is told.
impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DoorKind::Tcp(address) => write!(f, "http://{address}/"),
            DoorKind::Unix { .. } => self.address.fmt(f),
        }
    }
}

/// Who is at the other end of a TCP connection: the kernel knows of connections within this machine.
fn peer_of(theirs: SocketAddr, ours: SocketAddr, owners: &mut Option<SocketOwners>) -> AdminPeer {
    let [theirs, ours] = [theirs, ours].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
    if !ours.ip().is_loopback() && theirs.ip() != ours.ip() {
        return AdminPeer::Host(theirs);
    }
    if owners.is_none() {
        *owners = SocketOwners::open().ok();
    }
    let owner = owners.as_mut().map(|owners| owners.owner(theirs, ours));
    if let Some(Err(_)) = owner {
        *owners = None;
    }
    AdminPeer::Here(theirs, owner.and_then(Result::ok).flatten())
}

fn bind_tcp(endpoint: &Endpoint, goes: &[SocketAddr]) -> io::Result<(OwnedFd, DoorKind)> {
    let no_interface = || io::Error::other("there is no such interface");
    let address = endpoint.scoped(machine::interface_index).ok_or_else(no_interface)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    // Set before the bind it lets two servers of one user share an address unnoticed. Set behind it, it lets those share
    // alone who set it before: ours, with one of ours that goes.
    let moves = goes.iter().any(|ours| overlap(*ours, address));
    socket.set_reuse_port(moves)?;
    socket.bind(&SockAddr::from(address))?;
    socket.set_reuse_port(true)?;
    let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok((socket.into(), DoorKind::Tcp(bound)))
}

fn bind_unix(path: &Path) -> Result<(OwnedFd, DoorKind), DoorError> {
    let (socket, file) = SocketFile::listen(path, limits::ADMIN_BACKLOG)?;
    Ok((socket, DoorKind::Unix { file: Some(Arc::new(file)) }))
}

impl From<SocketFileError> for DoorError {
    fn from(SocketFileError { what, in_use }: SocketFileError) -> DoorError {
        DoorError { what, in_use }
    }
}

/// Tells a client that there are too many already, and closes its connection. What it has sent is read first, as far as it
/// is there: closed with unread bytes the connection would be reset.
pub(super) fn turn_away(mut stream: AdminStream) {
    let answer = HttpAnswer::error(HttpStatus::UNAVAILABLE, "too many connections").with("retry-after", 1);
    let (head, body) = answer.into_bytes(false, false);
    let _ = stream.read(&mut [0; limits::ADMIN_HEAD_BYTES_MAX]);
    // A socket that is new has room for it.
    let _ = stream.write(&[&head[..], &body].concat());
    stream.end();
}

/// Has a poll tell of a listener.
///
/// # Errors
/// What epoll_ctl(2) refused.
pub(super) fn register(registry: &Registry, door: &mut Door, token: Token) -> io::Result<()> {
    registry.register(door.source(), token, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix_at(path: &Path) -> ListenAddress {
        ListenAddress::Unix(path.to_owned())
    }

    fn fails(address: &ListenAddress) -> String {
        let refused = BoundDoor::bind(address, &[]).map(|_| ()).unwrap_err();
        assert_eq!(BoundDoor::probe(address, &[]).unwrap_err(), refused, "a probe says the same");
        refused.what
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        BoundDoor::probe(&unix_at(&path), &[]).unwrap();
        let door = BoundDoor::bind(&unix_at(&path), &[]).unwrap().listen().unwrap();
        assert!(fails(&unix_at(&path)).ends_with("another server listens there"));
        drop(door);
        assert!(!path.exists(), "it goes with its listener");
        let file = directory.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        assert!(fails(&unix_at(&file)).contains("it is no socket"));
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
        assert!(fails(&unix_at(&directory.path().join("none/admin.sock"))).contains("RuntimeDirectory="));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    /// Another server may have been started at the path since: its socket stays.
    #[test]
    fn a_socket_of_another_is_not_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let door = BoundDoor::bind(&unix_at(&path), &[]).unwrap().listen().unwrap();
        std::fs::rename(&path, directory.path().join("moved")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(door);
        assert!(path.exists());
    }

    /// Two servers that start where a crash left a socket: one of them listens, and is not robbed of it by the other.
    #[test]
    fn of_those_who_start_at_once_one_has_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        for _ in 0..50 {
            drop(UnixListener::bind(&path).unwrap());
            let bound: Vec<BoundDoor> = std::thread::scope(|scope| {
                let bind = || BoundDoor::bind(&unix_at(&path), &[]).ok();
                let all: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                all.into_iter().filter_map(|one| one.join().unwrap()).collect()
            });
            assert_eq!(bound.len(), 1);
            std::os::unix::net::UnixStream::connect(&path).unwrap();
        }
    }

    /// All addresses in place of one, and one in place of all; others than ours are told from those.
    #[test]
    fn one_that_goes_makes_room_for_one_that_takes_its_place() {
        let tcp = |address: SocketAddr| ListenAddress::Tcp(address.into());
        let mut door = BoundDoor::bind(&tcp(([127, 0, 0, 1], 0).into()), &[]).unwrap().listen().unwrap();
        let port = door.tcp().unwrap().port();
        for next in [[0, 0, 0, 0], [127, 0, 0, 1], [0, 0, 0, 0]] {
            let next = tcp((next, port).into());
            assert!(fails(&next).contains("in use"));
            let goes = [door.tcp().unwrap()];
            BoundDoor::probe(&next, &goes).unwrap();
            door = BoundDoor::bind(&next, &goes).unwrap().listen().unwrap();
            std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
            door.accept(&mut None).unwrap();
        }
    }

    #[test]
    fn an_address_is_bound_and_said_with_its_port() {
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap_or_else(|()| panic!("an address")));
        let bound = BoundDoor::bind(&any, &[]).unwrap();
        let address = bound.tcp().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err(), "it does not listen yet");
        let door = bound.listen().unwrap();
        assert_eq!(door.to_string(), format!("http://{address}/"));
        std::net::TcpStream::connect(address).unwrap();
        assert!(
            fails(&ListenAddress::Tcp(address.into())).starts_with(&format!("cannot listen on {address}: "))
        );
    }

    /// What was sent before a reset can still be read: it is not to be taken for a word of whoever has the port by then.
    #[test]
    fn who_has_left_is_not_taken_for_who_came_by_the_same_port() {
        let any = "127.0.0.1:0".parse().unwrap_or_else(|()| panic!("an address"));
        let bound = BoundDoor::bind(&ListenAddress::Tcp(any), &[]).unwrap();
        let (to, door) = (SockAddr::from(bound.tcp().unwrap()), bound.listen().unwrap());
        let connect = |from: SocketAddr| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SockAddr::from(from)).unwrap();
            socket.connect(&to).unwrap();
            socket
        };
        let first = connect(([127, 0, 0, 1], 0).into());
        let from = first.local_addr().unwrap().as_socket().unwrap();
        (&first).write_all(b"DELETE ").unwrap();
        first.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(first);
        let second = connect(from);
        let mut owners = SocketOwners::open().ok();
        let left = door.accept(&mut owners).map(|(_, peer)| peer).unwrap_err();
        assert_eq!(left.kind(), io::ErrorKind::NotConnected);
        let (_, peer) = door.accept(&mut owners).unwrap();
        assert_eq!(peer, AdminPeer::Here(from, Some(machine::effective_user())));
        drop(second);
    }
}
