//! Time: what moves is kept, what does not is closed, and a peer that is gone is found out.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};

use crate::support::keyed::Keyed;
use crate::support::pairs::{KIB, MIB, Pair, Stand, WAYS, Way, everywhere, transfer};
use crate::support::{Relay, netns};

// These cases wait more than they work: each runs over every engine and direction at once.

/// HAZARDS 29: a byte now and then, each within the limit, far beyond it in all.
#[test]
fn a_trickle_is_not_idle() {
    everywhere(|engine, way| {
        let stand = Stand::over(Relay::builder().engine(engine).timeout("idle", 1000));
        let pair = stand.open();
        trickle(&pair, way);
        expect_idle_close(&stand, &pair, Duration::from_secs(1));
    });
}

/// A byte now and then where the half was one that splices, and may be one still.
#[test]
fn a_trickle_after_bulk_is_not_idle() {
    everywhere(|engine, way| {
        let stand = Stand::over(Relay::builder().engine(engine).timeout("idle", 1000));
        let pair = stand.open();
        pair.exchange(1, 8 * MIB);
        trickle(&pair, way);
        expect_idle_close(&stand, &pair, Duration::from_secs(1));
    });
}

/// The span between two bytes is what is tested, so these sleeps are the case itself.
fn trickle(pair: &Pair, way: Way) {
    let (from, to) = pair.ends(way);
    let (mut sent, mut received) = (Keyed::new(2), Keyed::new(2));
    for _ in 0..7 {
        thread::sleep(Duration::from_millis(400));
        sent.send(from, 1);
        received.receive(to, 1);
    }
}

/// HAZARDS 29: true silence is closed on time, from the first moment and after use.
#[test]
fn silence_ends_on_time() {
    everywhere(|engine, way| {
        let stand = Stand::over(Relay::builder().engine(engine).timeout("idle", 1000));
        for used in [0, 100, MIB] {
            let pair = stand.open();
            let (from, to) = pair.ends(way);
            transfer(from, to, 3, used);
            expect_idle_close(&stand, &pair, Duration::from_secs(1));
        }
    });
}

/// Both ends see the session end, neither before `limit` has passed nor long after; its record says why.
fn expect_idle_close(stand: &Stand, pair: &Pair, limit: Duration) {
    let start = Instant::now();
    for way in WAYS {
        let (_, to) = pair.ends(way);
        Keyed::new(0).receive_to_end(to);
    }
    let took = start.elapsed();
    let early = limit.mul_f64(0.8);
    assert!(took >= early && took < limit * 3, "closed after {took:?}");
    assert_eq!(stand.record(pair.name()).reason, "idle");
}

/// HAZARDS 34: a zero window is answered by the peer's kernel for ever; only the idle timer ends it.
#[test]
fn a_reader_that_stopped_is_closed_on_time() {
    everywhere(|engine, way| {
        let stand = Stand::narrow(Relay::builder().engine(engine).timeout("idle", 1000));
        let pair = stand.open();
        let (from, _) = pair.ends(way);
        let start = Instant::now();
        // Fills every buffer on the way, and then waits for the session's end.
        Keyed::new(4).try_send(from, 512 * MIB).expect_err("nobody reads this");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(6), "closed after {took:?}");
        assert_eq!(stand.record(pair.name()).reason, "idle");
    });
}

/// HAZARDS 34: a peer whose packets are all lost. Bytes for it keep coming, so the session is not idle; the
/// kernel's own repeats would go on for a quarter of an hour.
#[test]
fn a_black_holed_peer_is_closed_though_bytes_wait_for_it() {
    // A filter on a socket needs a privilege, which a namespace of its own gives.
    netns::run(&test_name!(), "true", || {
        everywhere(|engine, way| {
            let stand =
                Stand::over(Relay::builder().engine(engine).timeout("idle", 8000).timeout("unacked", 2000));
            let pair = stand.open();
            pair.exchange(5, KIB);
            let (from, to) = pair.ends(way);
            lose_every_packet_to(to);
            let start = Instant::now();
            let mut sent = Keyed::new(6);
            let cut = loop {
                if let Err(error) = sent.try_send(from, 1) {
                    break error;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "still open after {:?}", start.elapsed());
                thread::sleep(Duration::from_millis(100));
            };
            assert!(matches!(cut.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{cut}");
            let reason = stand.record(pair.name()).reason;
            assert_ne!(reason, "idle");
            assert_ne!(reason, "completed");
        });
    });
}

/// A filter that keeps 0 bytes of each packet: the socket's kernel never sees one again.
fn lose_every_packet_to(stream: &TcpStream) {
    const RETURN_CONSTANT: u16 = 0x06; // BPF_RET | BPF_K
    SockRef::from(stream)
        .attach_filter(&[SockFilter::new(RETURN_CONSTANT, 0, 0, 0)])
        .expect("attach the filter");
}
