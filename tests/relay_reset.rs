//! Resets: passed on as resets, never as a clean end, and never ahead of what was due.

use std::net::TcpStream;
use std::thread;

use crate::support::client::reset;
use crate::support::keyed::{End, Keyed};
use crate::support::pairs::{KIB, MIB, Stand, WAYS, Way, finish, local};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Relay, socket_table};

ways!(auto: a_reset_arrives_as_a_reset, a_reset_in_a_full_stream_arrives_as_a_reset);
ways!(auto: bytes_that_a_fin_had_promised_outlive_a_reset, a_reset_behind_a_full_sink_is_noticed);
ways!(the_server_outlives_a_write_to_a_reset_peer);

/// The reason of a session that the sender of `way` has reset.
fn reason(way: Way) -> &'static str {
    match way {
        Way::Up => "client_reset",
        Way::Down => "target_reset",
    }
}

/// HAZARDS 31: RST in, RST out, whether the session is new, used, half-closed or spliced.
fn a_reset_arrives_as_a_reset(engine: Engine, way: Way) {
    let stand = Stand::new(engine);
    for len in [0, 100, 4 * MIB] {
        let pair = stand.open();
        pair.exchange(1, len);
        let name = pair.name();
        let (from, to) = pair.into_ends(way);
        reset(from);
        assert_eq!(Keyed::new(0).receive_to_end(&to), End::Reset, "after {len} bytes each way");
        let record = stand.record(name);
        assert_eq!((record.up, record.down, record.reason.as_str()), (len, len, reason(way)));
    }
    // The side that is reset has finished before: only the reset tells it that its answer never comes.
    let pair = stand.open();
    let name = pair.name();
    let (from, to) = pair.into_ends(way);
    finish(&to);
    Keyed::new(0).receive_all(&from, 0);
    reset(from);
    assert_eq!(Keyed::new(0).receive_to_end(&to), End::Reset, "after a half-close");
    assert_eq!(stand.record(name).reason, reason(way));
}

/// HAZARDS 31: the other side takes nothing, so nobody reads from the side that is reset.
fn a_reset_behind_a_full_sink_is_noticed(engine: Engine, way: Way) {
    let stand = Stand::narrow(Relay::builder().engine(engine));
    let pair = stand.open();
    let name = pair.name();
    let (from, to) = pair.into_ends(way);
    Keyed::new(5).send_what_fits(&from, 16 * MIB);
    reset(from);
    assert_eq!(stand.record(name).reason, reason(way));
    assert_eq!(Keyed::new(5).receive_to_end(&to), End::Reset);
}

/// A stream that is cut in the middle must not look whole to a reader that was slow.
fn a_reset_in_a_full_stream_arrives_as_a_reset(engine: Engine, way: Way) {
    let stand = Stand::narrow(Relay::builder().engine(engine));
    for _ in 0..10 {
        let pair = stand.open();
        let name = pair.name();
        let (from, to) = pair.into_ends(way);
        let mut sent = Keyed::new(2);
        sent.send_what_fits(&from, 8 * MIB);
        reset(from);
        let mut received = Keyed::new(2);
        assert_eq!(received.receive_to_end(&to), End::Reset, "after {} bytes", received.count);
        let record = stand.record(name);
        assert_eq!(record.reason, reason(way));
        let moved = record.up + record.down;
        assert!((received.count..=sent.count).contains(&moved), "{record:?}: {}", received.count);
    }
}

/// HAZARDS 31: a peer that sent everything and its FIN owes nothing; when it then answers our bytes with a
/// reset, what it sent still arrives, and its FIN.
fn bytes_that_a_fin_had_promised_outlive_a_reset(engine: Engine, way: Way) {
    const TOTAL: u64 = 4 * MIB;
    let stand = Stand::narrow(Relay::builder().engine(engine));
    for by_our_write in [false, true] {
        let pair = stand.open();
        let name = pair.name();
        let (from, to) = pair.into_ends(way);
        let sender = thread::spawn(move || {
            Keyed::new(3).send(&from, TOTAL);
            finish(&from);
            from
        });
        // The reader takes only as much as it must for the rest to be in the server's hands.
        let mut received = Keyed::new(3);
        wait::until_true("the sender is done", PATIENCE, || {
            received.receive(&to, (512 * KIB).min(TOTAL - received.count));
            sender.is_finished()
        });
        let from = sender.join().expect("the sender");
        wait::until_true("its FIN is acknowledged", PATIENCE, || {
            let done = fin_is_acknowledged(&from);
            if !done && received.count < TOTAL {
                received.receive(&to, (512 * KIB).min(TOTAL - received.count));
            }
            done
        });
        if by_our_write {
            // Bytes to a socket that nobody holds any more are answered with a reset.
            let gone = local(&from);
            drop(from);
            Keyed::new(4).send(&to, 10);
            wait::until_true("the server's socket is reset", PATIENCE, || {
                socket_table::towards(gone).is_empty()
            });
        } else {
            reset(from);
        }
        received.receive_all(&to, TOTAL);
        drop(to);
        let record = stand.record(name);
        let moved = if way == Way::Up { record.up } else { record.down };
        assert_eq!(moved, TOTAL, "{record:?}");
    }
}

/// The peer's kernel has nothing left to acknowledge: all bytes and the FIN of `stream` are in its hands.
fn fin_is_acknowledged(stream: &TcpStream) -> bool {
    const FIN_WAIT2: socket_table::TcpState = socket_table::TcpState::Other(5);
    let local = stream.local_addr().expect("local address");
    let remote = stream.peer_addr().expect("peer address");
    socket_table::tcp4().iter().any(|e| (e.local, e.remote, e.state) == (local, remote, FIN_WAIT2))
}

/// HAZARDS 32: a write to a socket that was reset is EPIPE, not a signal; the server lives and serves.
fn the_server_outlives_a_write_to_a_reset_peer(engine: Engine, way: Way) {
    const SESSIONS: usize = 60;
    let mut stand = Stand::new(engine);
    let mut ends = Vec::new();
    for number in 0..SESSIONS {
        let (from, to) = stand.open().into_ends(way);
        // Bytes are under way to a peer that resets at once, so that some are read before and written after.
        let mut sent = Keyed::new(number as u64);
        sent.send_what_fits(&from, 256 * KIB);
        reset(to);
        ends.push((from, sent));
    }
    for (from, sent) in &mut ends {
        let cut = sent.try_send(from, 64 * MIB).expect_err("the sender learns of the reset");
        let kind = cut.kind();
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        assert!(matches!(kind, BrokenPipe | ConnectionReset), "{cut}");
    }
    let other = if way == Way::Up { Way::Down } else { Way::Up };
    for record in stand.records(SESSIONS) {
        assert_eq!(record.reason, reason(other), "{record:?}");
    }
    assert!(stand.relay.is_running(), "the server lives");
    for _ in WAYS {
        stand.open().exchange(5, 100 * KIB);
    }
}
