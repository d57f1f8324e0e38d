//! Datagrams in batches: recvmmsg into rooms that are used again and again, sendmmsg out of pieces that lie anywhere,
//! and the kernel's segmentation on both ways (UDP_GRO joins equal neighbours, UDP_SEGMENT takes them joined).

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use super::Errno;

/// Bytes of a control buffer: one header and one int, for either option.
const CONTROL_BYTES: usize = 32;

/// A socket address as the kernel writes it. That of IPv4 lies over the same bytes: family and port are the same
/// fields, and its address is where IPv6 has the flow label.
type RawAddress = libc::sockaddr_in6;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// What a call to [`Inbox::receive`] gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// How many rooms are filled, at least one; fewer than there are rooms means that the socket is empty.
    Rooms(usize),
    /// Nothing now.
    Blocked,
    /// The kernel refused, or told an error of an earlier datagram (ICMP).
    Failed(Errno),
}

/// What a room holds after a call to [`Inbox::receive`].
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// Where its bytes begin in [`Inbox::memory`].
    pub start: usize,
    /// How many bytes it holds.
    pub len: usize,
    /// Who sent it.
    pub from: Option<SocketAddr>,
    /// Bytes of each datagram but the last, which may be shorter; `len` where they were not joined.
    pub segment: usize,
    /// Whether more bytes came than the room holds.
    pub truncated: bool,
}

/// Rooms for one batch of datagrams.
#[derive(Debug)]
pub struct Inbox {
    memory: Box<[u8]>,
    room_bytes: usize,
    // What the headers point to. None of these is ever moved out of or made anew.
    names: Box<[RawAddress]>,
    controls: Box<[Control]>,
    _iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// Whether the headers point to names.
    named: bool,
    /// Headers that the kernel has written to since they were made ready.
    used: usize,
}

impl Filled {
    /// Where each datagram lies in [`Inbox::memory`]: one, or as many as were joined. One without a byte is one.
    pub fn datagrams(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (end, segment) = (self.start + self.len, self.segment.max(1));
        let starts = (self.start..end.max(self.start + 1)).step_by(segment);
        starts.map(move |start| start..end.min(start + segment))
    }
}

impl Inbox {
    /// An inbox of `rooms` rooms of `room_bytes` each. A room that is never filled costs no memory.
    pub fn new(rooms: usize, room_bytes: usize) -> Inbox {
        let mut memory = vec![0; rooms * room_bytes].into_boxed_slice();
        let mut names = vec![no_name(); rooms].into_boxed_slice();
        let mut controls = vec![Control([0; CONTROL_BYTES]); rooms].into_boxed_slice();
        let mut iovecs: Box<[libc::iovec]> = memory
            .chunks_exact_mut(room_bytes)
            .map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() })
            .collect();
        let headers = (0..rooms)
            .map(|at| {
                let mut header = no_header();
                header.msg_hdr.msg_name = (&raw mut names[at]).cast();
                header.msg_hdr.msg_iov = &raw mut iovecs[at];
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = (&raw mut controls[at]).cast();
                header
            })
            .collect();
        Inbox { memory, room_bytes, names, controls, _iovecs: iovecs, headers, named: true, used: rooms }
    }

    /// The number of rooms.
    pub fn rooms(&self) -> usize {
        self.headers.len()
    }

    /// The bytes of all rooms.
    pub fn memory(&self) -> &[u8] {
        &self.memory
    }

    /// Takes as many datagrams as are there and have room; who sent them, only where `named`.
    pub fn receive(&mut self, socket: impl AsFd, named: bool) -> Received {
        if named != self.named {
            self.named = named;
            for (header, name) in self.headers.iter_mut().zip(&mut self.names) {
                header.msg_hdr.msg_name = if named { (&raw mut *name).cast() } else { std::ptr::null_mut() };
            }
        }
        for header in &mut self.headers[..self.used] {
            header.msg_hdr.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        self.used = 0;
        // SAFETY: every header points to a name, an iovec and a control buffer of the lengths that it gives, and each
        // iovec to a room of its own. All of them are boxed slices of this very value: they stay where they are for as
        // long as it lives, and it is borrowed for the whole call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                // Their type is another one with musl.
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        match usize::try_from(count) {
            Ok(0) => Received::Blocked,
            Ok(count) => {
                self.used = count;
                Received::Rooms(count)
            }
            Err(_) => match Errno::last() {
                Errno::EAGAIN => Received::Blocked,
                errno => Received::Failed(errno),
            },
        }
    }

    /// What the `at`-th room holds since the last call to [`Inbox::receive`].
    pub fn filled(&self, at: usize) -> Filled {
        let header = &self.headers[at];
        let len = (header.msg_len as usize).min(self.room_bytes);
        Filled {
            start: at * self.room_bytes,
            len,
            from: self.named.then(|| address_of(&self.names[at], header.msg_hdr.msg_namelen)).flatten(),
            segment: self.joined(at).unwrap_or(len),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }

    /// The size that UDP_GRO tells: one control message of one int.
    fn joined(&self, at: usize) -> Option<usize> {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        if self.headers[at].msg_hdr.msg_controllen < (HEADER + size_of::<libc::c_int>()) as _ {
            return None;
        }
        let bytes = &self.controls[at].0;
        let int = |from: usize| bytes[from..].first_chunk().map(|int| libc::c_int::from_ne_bytes(*int));
        // cmsghdr: the length in a size_t, then level and type, then the data.
        let (level, kind) = (int(HEADER - 8)?, int(HEADER - 4)?);
        let told = (level == libc::SOL_UDP && kind == libc::UDP_GRO).then(|| int(HEADER))??;
        usize::try_from(told).ok().filter(|size| *size > 0)
    }
}

/// What sendmmsg reads, kept from batch to batch.
#[derive(Debug, Default)]
pub struct Sender {
    iovecs: Vec<libc::iovec>,
    messages: Vec<OutgoingMessage>,
    names: Vec<RawAddress>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

/// One message of a batch.
#[derive(Clone, Copy, Debug)]
struct OutgoingMessage {
    to: Option<SocketAddr>,
    first_piece: usize,
    /// The size of the datagrams that it is cut into; 0 where it is a single one.
    segment: u16,
}

/// A batch being put together out of pieces that live at least as long as it.
#[derive(Debug)]
pub struct Composer<'sender, 'pieces> {
    sender: &'sender mut Sender,
    pieces: PhantomData<&'pieces [u8]>,
}

impl Sender {
    /// Begins an empty batch.
    pub fn compose<'pieces>(&mut self) -> Composer<'_, 'pieces> {
        self.iovecs.clear();
        self.messages.clear();
        Composer { sender: self, pieces: PhantomData }
    }
}

impl<'pieces> Composer<'_, 'pieces> {
    /// Begins a message to an address, or to the socket's peer. With a segment size in bytes it is cut into
    /// datagrams of that size, the last of which may be shorter.
    pub fn message(&mut self, to: Option<SocketAddr>, segment: Option<u16>) {
        let first_piece = self.sender.iovecs.len();
        self.sender.messages.push(OutgoingMessage { to, first_piece, segment: segment.unwrap_or(0) });
    }

    /// Adds bytes to the message begun last.
    pub fn piece(&mut self, bytes: &'pieces [u8]) {
        let iovec = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        self.sender.iovecs.push(iovec);
    }

    /// Sends the batch and gives how many messages went, at least one.
    ///
    /// # Errors
    /// What the first message met. A later one's error is hidden by those before it: ask again from there.
    pub fn send(self, socket: impl AsFd) -> Result<usize, Errno> {
        let sender = self.sender;
        let count = sender.messages.len();
        sender.names.clear();
        sender.names.extend(sender.messages.iter().map(|message| message.to.map_or(no_name(), name_of)));
        sender.controls.clear();
        sender.controls.extend(sender.messages.iter().map(|message| segment_control(message.segment)));
        sender.headers.clear();
        for (at, message) in sender.messages.iter().enumerate() {
            let end = sender.messages.get(at + 1).map_or(sender.iovecs.len(), |next| next.first_piece);
            let mut header = no_header();
            if let Some(to) = message.to {
                header.msg_hdr.msg_name = (&raw mut sender.names[at]).cast();
                header.msg_hdr.msg_namelen = name_length(to);
            }
            header.msg_hdr.msg_iov = sender.iovecs[message.first_piece..end].as_mut_ptr();
            header.msg_hdr.msg_iovlen = (end - message.first_piece) as _;
            if message.segment > 0 {
                header.msg_hdr.msg_control = (&raw mut sender.controls[at]).cast();
                header.msg_hdr.msg_controllen = SEGMENT_SPACE as _;
            }
            sender.headers.push(header);
        }
        // SAFETY: the headers point into names, iovecs and controls of this sender, none of which is touched before the
        // call returns; the iovecs point to pieces that `'pieces` keeps alive, and the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                sender.headers.as_mut_ptr(),
                count as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(sent).map_err(|_| Errno::last())
    }
}

/// CMSG_LEN and CMSG_SPACE of UDP_SEGMENT's u16.
const SEGMENT_LENGTH: usize = size_of::<libc::cmsghdr>() + size_of::<u16>();
const SEGMENT_SPACE: usize = size_of::<libc::cmsghdr>() + size_of::<usize>();
const _: () = assert!(SEGMENT_SPACE <= CONTROL_BYTES);

/// The control message that asks for segmentation.
fn segment_control(segment: u16) -> Control {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let mut control = Control([0; CONTROL_BYTES]);
    let bytes = &mut control.0;
    bytes[..size_of::<usize>()].copy_from_slice(&SEGMENT_LENGTH.to_ne_bytes());
    bytes[HEADER - 8..HEADER - 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    bytes[HEADER - 4..HEADER].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    bytes[HEADER..HEADER + 2].copy_from_slice(&segment.to_ne_bytes());
    control
}

fn no_header() -> libc::mmsghdr {
    // SAFETY: all zeros are a valid mmsghdr: null pointers with lengths of 0.
    unsafe { std::mem::zeroed() }
}

fn no_name() -> RawAddress {
    RawAddress {
        sin6_family: libc::AF_UNSPEC as libc::sa_family_t,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    }
}

fn name_of(address: SocketAddr) -> RawAddress {
    let mut name = no_name();
    name.sin6_port = address.port().to_be();
    match address {
        SocketAddr::V4(v4) => {
            name.sin6_family = libc::AF_INET as libc::sa_family_t;
            name.sin6_flowinfo = u32::from_ne_bytes(v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
        }
    }
    name
}

fn name_length(address: SocketAddr) -> libc::socklen_t {
    let bytes = match address {
        SocketAddr::V4(_) => size_of::<libc::sockaddr_in>(),
        SocketAddr::V6(_) => size_of::<RawAddress>(),
    };
    bytes as libc::socklen_t
}

fn address_of(name: &RawAddress, length: libc::socklen_t) -> Option<SocketAddr> {
    let port = u16::from_be(name.sin6_port);
    match i32::from(name.sin6_family) {
        libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
            let ip: IpAddr = Ipv4Addr::from(name.sin6_flowinfo.to_ne_bytes()).into();
            Some(SocketAddr::new(ip, port))
        }
        libc::AF_INET6 if length as usize >= size_of::<RawAddress>() => {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

const _: () =
    assert!(std::mem::offset_of!(libc::sockaddr_in, sin_port) == std::mem::offset_of!(RawAddress, sin6_port));
const _: () = assert!(
    std::mem::offset_of!(libc::sockaddr_in, sin_addr) == std::mem::offset_of!(RawAddress, sin6_flowinfo)
);

#[cfg(test)]
mod tests {
    use super::super::udp::DatagramSocket;
    use super::*;

    fn pair(ip: &str) -> (DatagramSocket, DatagramSocket, SocketAddr) {
        let open = || DatagramSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0), 1 << 20).unwrap();
        let (sender, receiver) = (open(), open());
        let to = receiver.local_address().unwrap();
        (sender, receiver, to)
    }

    /// The datagrams that one call gives, joined ones taken apart.
    fn received(inbox: &mut Inbox, socket: &DatagramSocket) -> Vec<(SocketAddr, Vec<u8>)> {
        let Received::Rooms(count) = inbox.receive(socket, true) else { return Vec::new() };
        let mut all = Vec::new();
        for filled in (0..count).map(|at| inbox.filled(at)) {
            let from = filled.from.unwrap();
            all.extend(filled.datagrams().map(|datagram| (from, inbox.memory()[datagram].to_vec())));
        }
        all
    }

    #[test]
    fn pieces_arrive_as_one_datagram_each_with_its_sender() {
        for ip in ["127.0.0.1", "::1"] {
            let (sender, receiver, to) = pair(ip);
            let mut memory = Sender::default();
            let mut composer = memory.compose();
            composer.message(Some(to), None);
            composer.piece(b"head");
            composer.piece(b"body");
            composer.message(Some(to), None);
            composer.piece(b"");
            assert_eq!(composer.send(&sender), Ok(2));
            let from = sender.local_address().unwrap();
            let mut inbox = Inbox::new(4, 2048);
            let seen = received(&mut inbox, &receiver);
            assert_eq!(seen, [(from, b"headbody".to_vec()), (from, Vec::new())]);
            assert_eq!(inbox.receive(&receiver, false), Received::Blocked);
        }
    }

    #[test]
    fn segments_leave_as_datagrams_of_their_own_and_rooms_are_used_again() {
        let (sender, receiver, to) = pair("127.0.0.1");
        sender.connect(to).unwrap();
        let mut memory = Sender::default();
        let mut inbox = Inbox::new(2, 1 << 16);
        for round in 0..3u8 {
            let payload = [round; 250];
            let mut composer = memory.compose();
            composer.message(None, Some(100));
            composer.piece(&payload[..60]);
            composer.piece(&payload[60..]);
            assert_eq!(composer.send(&sender), Ok(1));
            let lengths: Vec<usize> =
                received(&mut inbox, &receiver).iter().map(|(_, bytes)| bytes.len()).collect();
            assert_eq!(lengths, [100, 100, 50]);
        }
    }

    #[test]
    fn a_bad_message_hides_behind_the_good_ones_before_it() {
        let (sender, _receiver, to) = pair("127.0.0.1");
        let port_zero = SocketAddr::new(to.ip(), 0);
        let mut memory = Sender::default();
        let mut composer = memory.compose();
        for to in [to, port_zero, to] {
            composer.message(Some(to), None);
            composer.piece(b"x");
        }
        assert_eq!(composer.send(&sender), Ok(1));
        let mut composer = memory.compose();
        composer.message(Some(port_zero), None);
        assert_eq!(composer.send(&sender), Err(Errno::EINVAL));
    }
}
