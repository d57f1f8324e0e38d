//! Relays over loopback, and what the tests of relays share.

use super::{Edge, Engine, Kit, Relay, Side};
use crate::config::RelayMode;
use crate::sys::stream::Stream;
use std::io::Write;
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

#[test]
fn each_relay_goes_by_the_mode_that_it_began_with() {
    let mut kit = Kit::new(4);
    let modes = [
        (RelayMode::Splice, Engine::Splice),
        (RelayMode::Auto, Engine::Copy),
        (RelayMode::Copy, Engine::Copy),
    ];
    for (mode, engine) in modes {
        let ((client, mut client_peer), (target, _target_peer)) = (connection(), connection());
        let mut relay = Relay::new(mode, &[], &mut kit);
        client_peer.write_all(b"bytes").expect("the client sends");
        relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
        relay.drive(&client, &target, &mut kit);
        assert_eq!((relay.bytes(Side::Client), relay.engine()), (5, engine), "{mode:?}");
        relay.release(&mut kit);
    }
}
