//! Flow: no wake-up is lost when a pipe is full, and one busy flow leaves room for the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::keyed::{End, Keyed};
use crate::support::pairs::{MIB, Stand, Way, finish, one_of_three};
use crate::support::{Engine, Relay};

ways!(auto: the_tail_behind_many_small_segments_arrives);
ways!(a_stream_faster_than_its_reader_flows, one_busy_flow_leaves_the_others_their_turns);

/// HAZARDS 23: a pipe has no slot left long before its bytes are used up, and splice says EAGAIN although the
/// socket holds more. No event will ever come for those bytes: the relay has to come back by itself.
fn the_tail_behind_many_small_segments_arrives(engine: Engine, way: Way) {
    const SEGMENTS: u64 = 60;
    const SEGMENT: u64 = 1448;
    let stand = Stand::narrow(Relay::builder().engine(engine));
    let pair = stand.open();
    let (from, to) = pair.ends(way);
    let (mut sent, mut received) = (Keyed::new(1), Keyed::new(1));
    let mut longest = Duration::ZERO;
    let flows = one_of_three(|| {
        // The server is held while the segments come, so that all of them wait in its socket at once.
        stand.relay.signal("STOP");
        for _ in 0..SEGMENTS {
            sent.send(from, SEGMENT);
        }
        stand.relay.signal("CONT");
        longest = Duration::ZERO;
        while received.count < sent.count {
            let asked = Instant::now();
            received.receive(to, SEGMENT);
            longest = longest.max(asked.elapsed());
            // A slow reader: it lets a whole pipe gather before it takes the next segment.
            thread::sleep(Duration::from_millis(2));
        }
        longest < Duration::from_millis(100)
    });
    assert!(flows, "the next bytes took {longest:?} to come");
    finish(from);
    received.receive_all(to, sent.count);
}

/// HAZARDS 28: every buffer on the way stays full; no wait for the next bytes may last.
fn a_stream_faster_than_its_reader_flows(engine: Engine, way: Way) {
    let total = if way == Way::Down { 2048 * MIB } else { 512 * MIB };
    let stand = Stand::new(engine);
    let pair = stand.open();
    let (from, to) = pair.ends(way);
    let longest = thread::scope(|scope| {
        scope.spawn(|| {
            Keyed::new(2).send(from, total);
            finish(from);
        });
        Keyed::new(2).receive_all_timed(to, total)
    });
    assert!(longest < Duration::from_secs(1), "no byte came for {longest:?}");
}

/// HAZARDS 35: a flow that is always ready shares its only worker with 200 round trips.
fn one_busy_flow_leaves_the_others_their_turns(engine: Engine, way: Way) {
    let stand = Stand::new(engine);
    let (busy, quiet) = (stand.open(), stand.open());
    let (from, to) = busy.ends(way);
    let over = AtomicBool::new(false);
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = Keyed::new(3);
            while !over.load(Ordering::Relaxed) {
                sent.send(from, MIB);
            }
            finish(from);
        });
        scope.spawn(|| assert_eq!(Keyed::new(3).receive_to_end(to), End::Fin));
        let (mut there, mut back) = (Keyed::new(4), Keyed::new(4));
        let (mut seen_there, mut seen_back) = (Keyed::new(4), Keyed::new(4));
        let shared = one_of_three(|| {
            let mut times: Vec<Duration> = (0..200)
                .map(|_| {
                    let start = Instant::now();
                    there.send(&quiet.client, 32);
                    seen_there.receive(&quiet.target, 32);
                    back.send(&quiet.target, 32);
                    seen_back.receive(&quiet.client, 32);
                    start.elapsed()
                })
                .collect();
            times.sort();
            slowest = times[times.len() * 99 / 100];
            slowest < Duration::from_millis(100)
        });
        over.store(true, Ordering::Relaxed);
        assert!(shared, "99 % of round trips took up to {slowest:?}");
    });
}
