//! Datagrams by the batch: `recvmmsg` and `sendmmsg` over one block of memory.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Datagrams that a kernel cuts out of one call (UDP_MAX_SEGMENTS of older ones), and their bytes.
const JOINED_MAX: usize = 64;
const JOINED_BYTES_MAX: usize = 65_507;

/// Room for a fixed number of datagrams, their lengths and their peers' addresses.
///
/// What was received can be sent as it lies: each datagram then goes back to where it came from.
pub(crate) struct Batch {
    stride: usize,
    data: Box<[u8]>,
    lengths: Box<[usize]>,
    names: Box<[libc::sockaddr_storage]>,
    /// 0: the socket is connected, no address goes with the datagram.
    name_lengths: Box<[libc::socklen_t]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Batch {
    /// Room for `count` datagrams of up to `stride` bytes; a longer one is cut to `stride`.
    pub(crate) fn new(count: usize, stride: usize) -> Self {
        // SAFETY: all three are plain C structures of integers and pointers, for which zeros are valid.
        let (name, vector, header) = unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            stride,
            data: vec![0; count * stride].into(),
            lengths: vec![0; count].into(),
            names: vec![name; count].into(),
            name_lengths: vec![0; count].into(),
            vectors: vec![vector; count].into(),
            headers: vec![header; count].into(),
        }
    }

    /// How many datagrams fit.
    pub(crate) fn capacity(&self) -> usize {
        self.lengths.len()
    }

    /// The bytes of datagram `at`, as received or as set.
    pub(crate) fn datagram(&self, at: usize) -> &[u8] {
        &self.data[at * self.stride..][..self.lengths[at]]
    }

    /// Sets datagram `at` to `len` bytes (at most the stride) for a connected socket, and gives them.
    pub(crate) fn set(&mut self, at: usize, len: usize) -> &mut [u8] {
        self.lengths[at] = len;
        self.name_lengths[at] = 0;
        &mut self.data[at * self.stride..][..len]
    }

    /// Takes what is there, up to the capacity, and says how many datagrams that were.
    ///
    /// Fewer than the capacity means that the socket was empty. `WouldBlock` means that it had none at
    /// all. The socket need not be non-blocking.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let count = self.capacity();
        self.lengths.fill(self.stride);
        self.name_lengths.fill(size_of::<libc::sockaddr_storage>() as libc::socklen_t);
        self.point(0, count);
        // SAFETY: `point` has set `count` headers to memory of this batch that is as long as they say; the
        // exclusive borrow keeps all others away during the call, and the descriptor is open.
        let taken = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
        for at in 0..taken {
            self.lengths[at] = self.headers[at].msg_len as usize;
            self.name_lengths[at] = self.headers[at].msg_hdr.msg_namelen;
        }
        Ok(taken)
    }

    /// Sends the datagrams from `from` to `to` (excluded) and says how many went.
    ///
    /// Fewer than asked means that the next one met an error, which the next call gives; `WouldBlock` is
    /// one of them. The socket need not be non-blocking.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, from: usize, to: usize) -> io::Result<usize> {
        self.point(from, to);
        let headers = &mut self.headers[from..to];
        // SAFETY: `point` has set these headers to memory of this batch that is as long as they say; the
        // kernel only reads it, and the descriptor is open.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Sends a part of the batch from a connected socket, datagrams as long as the stride, in a single call: the kernel cuts them
    /// (UDP_SEGMENT), as senders of QUIC have it do.
    pub(crate) fn send_joined(
        &mut self,
        socket: BorrowedFd<'_>,
        from: usize,
        to: usize,
    ) -> io::Result<usize> {
        let most = (JOINED_BYTES_MAX / self.stride).clamp(1, JOINED_MAX);
        let to = to.min(from + most);
        let bytes = [IoSlice::new(&self.data[from * self.stride..to * self.stride])];
        let segment = u16::try_from(self.stride).map_err(|_| io::ErrorKind::InvalidInput)?;
        let cut = [ControlMessage::UdpGsoSegments(&segment)];
        sendmsg::<()>(socket.as_raw_fd(), &bytes, &cut, MsgFlags::MSG_DONTWAIT, None)?;
        Ok(to - from)
    }

    /// Points the headers `from..to` to their datagrams and addresses, afresh for every call: pointers kept
    /// from before would not outlive the borrows in between.
    fn point(&mut self, from: usize, to: usize) {
        let (data, names) = (&mut self.data[..to * self.stride], &mut self.names[..to]);
        for (at, (bytes, name)) in data.chunks_exact_mut(self.stride).zip(names).enumerate().skip(from) {
            self.vectors[at] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: self.lengths[at] };
            let header = &mut self.headers[at].msg_hdr;
            header.msg_iov = &raw mut self.vectors[at];
            header.msg_iovlen = 1;
            header.msg_namelen = self.name_lengths[at];
            header.msg_name = match self.name_lengths[at] {
                0 => std::ptr::null_mut(),
                _ => (&raw mut *name).cast(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn a_batch_goes_back_to_where_each_datagram_came_from() {
        let echo = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = echo.local_addr().expect("its address");
        let mut batch = Batch::new(4, 100);
        let empty = batch.receive(echo.as_fd()).expect_err("nothing is there");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let clients = [b"one".as_slice(), b"", b"three"].map(|text| {
            let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
            client.send_to(text, address).expect("sent");
            (client, text)
        });
        assert_eq!(batch.receive(echo.as_fd()).expect("three"), 3);
        assert_eq!(batch.datagram(2), b"three");
        assert_eq!(batch.send(echo.as_fd(), 0, 3).expect("sent back"), 3);
        for (client, text) in clients {
            let mut back = [0; 10];
            let len = client.recv(&mut back).expect("the echo");
            assert_eq!(&back[..len], text);
        }
    }

    #[test]
    fn a_joined_part_of_a_batch_arrives_as_datagrams() {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (one, other) = (one.expect("a port"), other.expect("a port"));
        one.connect(other.local_addr().expect("its address")).expect("connected");
        let mut batch = Batch::new(4, 5);
        for at in 0..4 {
            batch.set(at, 5).fill(b'a' + at as u8);
        }
        assert_eq!(batch.send_joined(one.as_fd(), 1, 4).expect("sent"), 3);
        let mut back = Batch::new(4, 9);
        assert_eq!(back.receive(other.as_fd()).expect("three"), 3);
        assert_eq!((back.datagram(0), back.datagram(2)), (b"bbbbb".as_slice(), b"ddddd".as_slice()));
    }

    #[test]
    fn a_connected_socket_sends_a_part_of_a_batch() {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (one, other) = (one.expect("a port"), other.expect("a port"));
        one.connect(other.local_addr().expect("its address")).expect("connected");
        let mut batch = Batch::new(3, 8);
        for at in 0..3 {
            batch.set(at, at + 1).fill(b'a' + at as u8);
        }
        assert_eq!(batch.send(one.as_fd(), 1, 3).expect("sent"), 2);
        let mut back = Batch::new(3, 2);
        assert_eq!(back.receive(other.as_fd()).expect("two"), 2);
        assert_eq!((back.datagram(0), back.datagram(1)), (b"bb".as_slice(), b"cc".as_slice()), "cut");
    }
}
