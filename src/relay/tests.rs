//! Relays over loopback, and what the tests of relays share.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::{Budget, Budgets, Edge, Engine, Kit, Relay, Resume, Side};
use crate::config::RelayMode;
use crate::sys::stream::Stream;

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

/// What has come to `stream` by now.
pub(super) fn there(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_nonblocking(true).expect("non-blocking");
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
    bytes
}

/// A turn in which one side may send so many bytes until a moment, and the other as many as it has.
pub(super) fn limited(from: Side, more_at_ms: u64, bytes: usize) -> Budgets {
    let budget = Budget::until(more_at_ms, bytes);
    match from {
        Side::Client => Budgets { up: budget, ..Budgets::TURN },
        Side::Target => Budgets { down: budget, ..Budgets::TURN },
    }
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
        relay.drive(&client, &target, &mut kit, &mut { Budgets::TURN });
        assert_eq!((relay.bytes(Side::Client), relay.engine()), (5, engine), "{mode:?}");
        relay.release(&mut kit);
    }
}

#[test]
fn a_budget_is_moved_to_the_byte_and_the_rest_once_there_is_more() {
    for (mode, from) in [RelayMode::Copy, RelayMode::Splice]
        .map(|mode| [(mode, Side::Client), (mode, Side::Target)])
        .into_iter()
        .flatten()
    {
        let mut kit = Kit::new(4);
        let ((client, mut client_peer), (target, mut target_peer)) = (connection(), connection());
        let mut relay = Relay::new(mode, &[], &mut kit);
        let (sender, receiver) = match from {
            Side::Client => (&mut client_peer, &mut target_peer),
            Side::Target => (&mut target_peer, &mut client_peer),
        };
        let sent: Vec<u8> = (0..60_000u32).map(|at| (at % 251) as u8).collect();
        sender.write_all(&sent).expect("the sender sends");
        relay.event(from, Edge { readable: true, ..Edge::default() });
        let mut received = Vec::new();
        for (at_ms, bytes, in_all) in [(700, 10_000, 10_000), (800, 0, 10_000), (900, 20_001, 30_001)] {
            let mut budgets = limited(from, at_ms, bytes);
            let driven = relay.drive(&client, &target, &mut kit, &mut budgets);
            received.extend(there(receiver));
            assert_eq!(driven.resume(), Resume::AtMs(at_ms), "{mode:?} from {from:?}");
            assert_eq!(
                (received.len(), relay.bytes(from)),
                (in_all, in_all as u64),
                "{mode:?} from {from:?}"
            );
            assert!(relay.ready());
        }
        let driven = relay.drive(&client, &target, &mut kit, &mut { Budgets::TURN });
        received.extend(there(receiver));
        assert_eq!((driven.resume(), relay.ready()), (Resume::OnEvent, false));
        assert!(received == sent, "{mode:?} from {from:?}");
        relay.release(&mut kit);
    }
}

/// A header in front of what the client sent arrives with it and in one piece, and only what the client sent is counted.
#[test]
fn a_preface_goes_first_and_is_counted_nowhere() {
    for mode in [RelayMode::Copy, RelayMode::Splice] {
        for pending in [&b"header"[..], b"headerbytes"] {
            let mut kit = Kit::new(4);
            let ((client, mut client_peer), (target, mut target_peer)) = (connection(), connection());
            let mut relay = Relay::new(mode, pending, &mut kit).prefaced(6);
            let driven = relay.drive(&client, &target, &mut kit, &mut { Budgets::TURN });
            assert_eq!(there(&mut target_peer), pending, "{mode:?}");
            assert_eq!(
                (driven.up.bytes(), relay.bytes(Side::Client) as usize),
                (pending.len() - 6, pending.len() - 6)
            );
            client_peer.write_all(b"more").expect("the client sends");
            relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
            relay.drive(&client, &target, &mut kit, &mut { Budgets::TURN });
            assert_eq!(there(&mut target_peer), b"more", "{mode:?}");
            assert_eq!(relay.bytes(Side::Client) as usize, pending.len() - 6 + 4, "{mode:?}");
            relay.release(&mut kit);
        }
    }
}
