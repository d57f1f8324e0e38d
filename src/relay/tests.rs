//! What the tests of relays share: sockets over loopback.

use crate::sys::stream::Stream;
use std::net::{TcpListener, TcpStream};

/// A socket as the worker has it, and its peer.
pub(super) fn connection() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let peer = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let (ours, _) = listener.accept().expect("the connection");
    ours.set_nonblocking(true).expect("non-blocking");
    (Stream::from_fd(ours.into()), peer)
}

/// Resets the connection of `peer`; what it sent before, and the reset, have arrived when this returns.
pub(super) fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).expect("SO_LINGER");
}
