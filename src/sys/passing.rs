//! Messages that carry descriptors, between two processes of this machine: SOCK_SEQPACKET and SCM_RIGHTS (unix(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{Errno, unix};

/// Descriptors that one message carries at most: SCM_MAX_FD of the kernel.
pub const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// One end of a channel; the other process sees its end once the last who holds this has let go.
#[derive(Debug)]
pub struct MessageChannel(Socket);

/// A message, and the descriptors that came with it.
#[derive(Debug)]
pub struct PassedMessage {
    /// What was said.
    pub bytes: Vec<u8>,
    /// In the order in which they were sent; closed for every program that this one starts.
    pub descriptors: Vec<OwnedFd>,
}

/// Room for the control message of as many descriptors as there may be, aligned as the kernel wants it.
#[repr(C, align(8))]
struct ControlRoom([u8; CONTROL_BYTES]);

// SAFETY: CMSG_SPACE computes a length and touches nothing.
const CONTROL_BYTES: usize =
    unsafe { libc::CMSG_SPACE((DESCRIPTORS_PER_MESSAGE * size_of::<RawFd>()) as libc::c_uint) } as usize;

impl MessageChannel {
    /// Two ends.
    ///
    /// # Errors
    /// What socketpair(2) refused.
    pub fn pair() -> io::Result<(MessageChannel, MessageChannel)> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
        Ok((MessageChannel(one), MessageChannel(other)))
    }

    /// The end that whoever listens at a path has.
    ///
    /// # Errors
    /// ENOENT or ECONNREFUSED where nobody listens there; what socket(2) or connect(2) said.
    pub fn connect(path: &Path) -> io::Result<MessageChannel> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(MessageChannel(socket))
    }

    /// An end that was inherited, or accepted.
    ///
    /// # Errors
    /// It is no such socket.
    pub fn of(socket: OwnedFd) -> io::Result<MessageChannel> {
        let socket = Socket::from(socket);
        if socket.domain()? != Domain::UNIX || socket.r#type()? != Type::SEQPACKET {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no unix socket for messages"));
        }
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        Ok(MessageChannel(socket))
    }

    /// The end of one who comes to a listening socket; `None` where nobody has come.
    ///
    /// # Errors
    /// What accept4(2) said.
    pub fn accept(listening: &OwnedFd) -> io::Result<Option<MessageChannel>> {
        match SockRef::from(listening).accept() {
            Ok((socket, _)) => MessageChannel::of(socket.into()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who made the other end.
    ///
    /// # Errors
    /// What getsockopt(2) refused.
    pub fn peer(&self) -> Result<unix::PeerProcess, Errno> {
        unix::peer(&self.0)
    }

    /// Says something, and passes descriptors on with it: [`DESCRIPTORS_PER_MESSAGE`] at most.
    ///
    /// # Errors
    /// EPIPE where the other end is gone; `TimedOut` where it takes nothing for so long; what sendmsg(2) said.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
        if descriptors.len() > DESCRIPTORS_PER_MESSAGE {
            return Err(Errno::EINVAL.into());
        }
        loop {
            match self.send_now(bytes, descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(libc::POLLOUT, patience)?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }

    fn send_now(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut room = ControlRoom([0; CONTROL_BYTES]);
        // SAFETY: msghdr is made of integers and pointers, for which zeros are values.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
        if !descriptors.is_empty() {
            let length = size_of_val(descriptors) as libc::c_uint;
            header.msg_control = (&raw mut room).cast();
            // SAFETY: CMSG_SPACE computes a length.
            header.msg_controllen = unsafe { libc::CMSG_SPACE(length) } as _;
            // SAFETY: the header's control part is `room`, aligned for it and as long as CMSG_SPACE says, so that
            // its first message and as many descriptors as were counted lie within it; BorrowedFd is a RawFd to the byte.
            unsafe {
                let first = libc::CMSG_FIRSTHDR(&raw const header);
                ((*first).cmsg_level, (*first).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
                (*first).cmsg_len = libc::CMSG_LEN(length) as _;
                let data = libc::CMSG_DATA(first);
                std::ptr::copy_nonoverlapping(descriptors.as_ptr().cast::<u8>(), data, length as usize);
            }
        }
        // SAFETY: the header's parts are valid for reads for the whole call.
        let sent = unsafe { libc::sendmsg(self.0.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next message, of so many bytes at most; `None` where the other end is gone.
    ///
    /// # Errors
    /// `TimedOut` where nothing comes for so long; `InvalidData` where the message is longer, or not all of its descriptors
    /// could be had: those that came are closed; what recvmsg(2) said.
    pub fn receive(&self, most_bytes: usize, patience: Duration) -> io::Result<Option<PassedMessage>> {
        loop {
            match self.receive_now(most_bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(libc::POLLIN, patience)?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    /// The next message that has come, as [`MessageChannel::receive`] gives it.
    ///
    /// # Errors
    /// `WouldBlock` where none has; as there.
    pub fn receive_now(&self, most_bytes: usize) -> io::Result<Option<PassedMessage>> {
        let mut bytes = vec![0; most_bytes];
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut room = ControlRoom([0; CONTROL_BYTES]);
        // SAFETY: as in `send_now`.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
        header.msg_control = (&raw mut room).cast();
        header.msg_controllen = CONTROL_BYTES as _;
        let mut length = self.receive_into(&mut header);
        if length < 0 && Errno::last() == Errno::ECONNRESET {
            // The other end is gone and had something unread. That is said once, before what it had said itself.
            length = self.receive_into(&mut header);
        }
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        // Before anything else, so that what came is closed whatever follows.
        let descriptors = descriptors_in(&header);
        if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message came in part"));
        }
        // A message is never empty here: nothing is the end.
        if length == 0 && descriptors.is_empty() {
            return Ok(None);
        }
        bytes.truncate(length as usize);
        Ok(Some(PassedMessage { bytes, descriptors }))
    }

    fn receive_into(&self, header: &mut libc::msghdr) -> isize {
        // SAFETY: the header's parts are `receive_now`'s own, and valid for writes for the whole call.
        unsafe { libc::recvmsg(self.0.as_raw_fd(), header, libc::MSG_CMSG_CLOEXEC) }
    }

    /// Has the other end say nothing any more: what it said before can still be read.
    pub fn stop_hearing(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Read);
    }

    /// Ends it for both: what was sent before can still be read.
    pub fn shut_down(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }

    /// The descriptor of this end, which a program that this one starts is to have.
    ///
    /// # Errors
    /// What fcntl(2) refused.
    pub fn into_inheritable(self) -> io::Result<OwnedFd> {
        self.0.set_cloexec(false)?;
        Ok(self.0.into())
    }

    fn wait(&self, events: libc::c_short, patience: Duration) -> io::Result<()> {
        let mut one = [libc::pollfd { fd: self.0.as_raw_fd(), events, revents: 0 }];
        match poll(&mut one, i32::try_from(patience.as_millis()).unwrap_or(i32::MAX)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// poll(2): how many of these have something; -1 milliseconds are for ever.
fn poll(all: &mut [libc::pollfd], milliseconds: i32) -> Result<usize, Errno> {
    // SAFETY: all is valid for reads and writes of as many entries as it has, for the whole call.
    let ready = unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, milliseconds) };
    usize::try_from(ready).map_err(|_| Errno::last())
}

impl AsFd for MessageChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until a descriptor can be read, or the other one; whether the first can. An end counts as something to read.
///
/// # Errors
/// What poll(2) refused.
pub fn wait_for_either(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let entry = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut both = [entry(one), entry(other)];
    loop {
        match poll(&mut both, -1) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(both[0].revents != 0),
        }
    }
}

/// Takes the descriptors that the kernel wrote into a header's control part.
fn descriptors_in(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the header is as recvmsg left it, its control part alive: the macros go from message to message within the
    // length that it says.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: next points to a whole control message, for the kernel wrote it; an array of descriptors follows
        // where it says SCM_RIGHTS, as long as its length says, and each of them is new and nobody else's.
        unsafe {
            if ((*next).cmsg_level, (*next).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let bytes = (*next).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(next).cast::<RawFd>();
                for nth in 0..bytes / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(nth).read_unaligned()));
                }
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_message_and_its_descriptors_come_as_they_were_sent() {
        let (one, other) = MessageChannel::pair().unwrap();
        let mut files: Vec<File> =
            (0..DESCRIPTORS_PER_MESSAGE).map(|_| tempfile::tempfile().unwrap()).collect();
        for (nth, file) in files.iter_mut().enumerate() {
            write!(file, "{nth}").unwrap();
            file.rewind().unwrap();
        }
        let all: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        one.send(b"all", &all, SECOND).unwrap();
        one.send(b"none", &[], SECOND).unwrap();
        let message = other.receive(16, SECOND).unwrap().unwrap();
        assert_eq!((message.bytes.as_slice(), message.descriptors.len()), (&b"all"[..], all.len()));
        for (nth, descriptor) in message.descriptors.into_iter().enumerate() {
            let mut text = String::new();
            File::from(descriptor).read_to_string(&mut text).unwrap();
            assert_eq!(text, nth.to_string());
        }
        let message = other.receive(16, SECOND).unwrap().unwrap();
        assert_eq!((message.bytes.as_slice(), message.descriptors.len()), (&b"none"[..], 0));
        assert!(one.send(b"", &[all[0]; DESCRIPTORS_PER_MESSAGE + 1], SECOND).is_err());
        drop(one);
        assert!(other.receive(16, SECOND).unwrap().is_none());
        assert_eq!(other.send(b"x", &[], SECOND).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn who_says_nothing_and_who_takes_nothing_is_waited_for_as_long_as_was_said() {
        let (one, other) = MessageChannel::pair().unwrap();
        let short = Duration::from_millis(20);
        assert_eq!(other.receive(16, short).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let refused = (0..100_000).find_map(|_| one.send(&[0; 1024], &[], short).err());
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::TimedOut);
    }

    /// What was said before the end is read behind it, by either side's wish: one message decides who serves.
    #[test]
    fn what_came_before_the_end_is_read_behind_it() {
        let (one, other) = MessageChannel::pair().unwrap();
        one.send(b"last", &[], SECOND).unwrap();
        other.stop_hearing();
        other.send(b"no", &[], SECOND).unwrap();
        assert_eq!(one.receive(16, SECOND).unwrap().unwrap().bytes, b"no");
        assert_eq!(one.send(b"late", &[], SECOND).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(other.receive(16, SECOND).unwrap().unwrap().bytes, b"last");
        assert!(other.receive(16, SECOND).unwrap().is_none());
    }

    /// The kernel says first that what was sent here was not read.
    #[test]
    fn the_last_word_of_an_end_that_did_not_listen_is_heard() {
        let (one, other) = MessageChannel::pair().unwrap();
        one.send(b"unread", &[], SECOND).unwrap();
        other.send(b"refused", &[], SECOND).unwrap();
        drop(other);
        assert_eq!(one.receive(16, SECOND).unwrap().unwrap().bytes, b"refused");
        assert!(one.receive(16, SECOND).unwrap().is_none());
    }

    /// A message that is too long, and descriptors for which the process has no room: nothing of it is taken, and nothing
    /// stays open.
    #[test]
    fn what_came_in_part_is_closed() {
        const ALONE: &str = "OUTFLOW_TEST_OF_PASSING_ALONE";
        if std::env::var_os(ALONE).is_none() {
            // The limit is the whole process's.
            let me = std::env::current_exe().unwrap();
            let name = "sys::passing::tests::what_came_in_part_is_closed";
            let ended =
                std::process::Command::new(me).args(["--exact", name]).env(ALONE, "1").output().unwrap();
            return assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        }
        let (one, other) = MessageChannel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let before = open_descriptors();
        one.send(&[0; 17], &[file.as_fd(); 3], SECOND).unwrap();
        assert_eq!(other.receive(16, SECOND).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(open_descriptors(), before);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        one.send(b"more", &[file.as_fd(); 100], SECOND).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, before as u64 + 20, hard).unwrap();
        let refused = other.receive(16, SECOND).map(|_| ());
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(open_descriptors(), before);
    }

    #[test]
    fn other_sockets_are_none() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        MessageChannel::of(one.into()).unwrap_err();
        MessageChannel::of(tempfile::tempfile().unwrap().into()).unwrap_err();
    }
}
