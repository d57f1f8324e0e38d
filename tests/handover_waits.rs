//! What waits with the old server while another takes its place: BINDs, associations with datagrams on their way, and the old
//! server itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bind::{bind, converse, peer};
use crate::handover::{ByHand, Place};
use crate::support::origin::V4;
use crate::support::udp::{Association, Echo};
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, Engine, Origin, netns};

/// A BIND waits on where it was made: one gets its peer, the other its time limit, and a new one is the new server's.
fn binds_wait_on(engine: Engine) {
    let place = Place::new();
    let mut old = place.first().engine(engine).timeout("bind", 3_000).start();
    let asked = SocketAddr::new(V4, 21);
    let (mut client, bound) = bind(old.addr(), asked);
    let (mut forsaken, _) = bind(old.addr(), asked);
    let new = place.next(&old).engine(engine).start();
    let (mut later, bound_later) = bind(new.addr(), asked);
    assert_ne!(bound, bound_later);
    for (client, bound) in [(&mut client, bound), (&mut later, bound_later)] {
        let mut peer = peer(V4, bound);
        let second = client.reply();
        assert_eq!((second.rep, second.bound), (0, peer.local()));
        converse(client, &mut peer);
    }
    assert!(old.is_running(), "one waits yet");
    let (reply, took) = timed(|| forsaken.reply());
    assert!(reply.rep != 0 && took < Duration::from_secs(4), "{reply:?} after {took:?}");
    assert_eq!(old.wait_exit(PATIENCE), Some(0));
    wait::until_true("three records", PATIENCE, || place.records().len() == 3);
}
engines!(binds_wait_on);

/// Sends a number every so often and gives how many came back, until `over` and the last have come.
fn chatter(relay: SocketAddr, echo: &Echo, over: &AtomicBool) -> (u32, u32) {
    const PAUSE: Duration = Duration::from_millis(2);
    let association = Association::open(relay);
    let (mut sent, mut back) = (0_u32, 0_u32);
    let mut hear = |wanted: u32| {
        while back < wanted {
            association.expect(echo.addr, &back.to_be_bytes());
            back += 1;
        }
    };
    while !over.load(Ordering::Relaxed) {
        let due = Instant::now() + PAUSE;
        association.send(echo.addr, &sent.to_be_bytes());
        sent += 1;
        // A few are on their way at any time.
        hear(sent.saturating_sub(5));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    hear(sent);
    (sent, back)
}

/// Of 500 datagrams a second none is lost or comes out of order while servers follow each other: each association goes on with the
/// server that it was made with, and one that is made meanwhile with whichever that is.
#[test]
fn no_datagram_is_lost_while_servers_follow_each_other() {
    netns::run(&test_name!(), "", || {
        let (place, echo) = (Place::new(), Echo::on(V4));
        let mut serving = place.first().workers(2).start();
        let addr = serving.addr();
        let over = AtomicBool::new(false);
        let mut counts = Vec::new();
        let mut old_ones = Vec::new();
        std::thread::scope(|scope| {
            let mut all = vec![scope.spawn(|| chatter(addr, &echo, &over))];
            for nth in 0..6 {
                let next = place.next(&serving).workers([4, 1, 2][nth % 3]).start();
                old_ones.push(std::mem::replace(&mut serving, next));
                all.push(scope.spawn(|| chatter(addr, &echo, &over)));
                // For each server some hundred datagrams by all.
                std::thread::sleep(Duration::from_millis(200));
            }
            over.store(true, Ordering::Relaxed);
            counts.extend(all.into_iter().map(|one| one.join().expect("every datagram comes back")));
        });
        eprintln!("---- (sent, back): {counts:?}");
        assert!(counts[0].0 > 300 && counts.iter().all(|(sent, back)| sent == back), "{counts:?}");
        for mut old in old_ones {
            assert_eq!(old.wait_exit(PATIENCE), Some(0));
        }
    });
}

/// One that connects and says nothing, and one that was offered everything and is never ready: each is given up when its time is over,
/// and meanwhile, and behind it, clients are served.
#[test]
#[ignore = "two minutes"]
fn a_new_server_that_hangs_before_it_is_ready_is_given_up() {
    let (place, origin) = (Place::new(), Origin::echo());
    let old = place.first().workers(2).start();
    for (seconds, connect) in
        [(10, ByHand::connect as fn(&std::path::Path) -> ByHand), (120, ByHand::offered)]
    {
        let began = Instant::now();
        let new = connect(&place.takeover());
        let words = format!("the other server said nothing for {seconds}s");
        wait::until_true(&words, Duration::from_secs(seconds + 10), || {
            Client::through(old.addr(), origin.addr);
            std::thread::sleep(Duration::from_millis(100));
            old.log().contains(&words)
        });
        assert!(began.elapsed() >= Duration::from_secs(seconds), "{:?}", began.elapsed());
        assert!(new.hears_of("refused")["why"].as_str().is_some_and(|why| why.contains("said nothing")));
        old.logged(&[&words, "this server serves on"]);
        Client::through(old.addr(), origin.addr);
    }
    let _new = place.next(&old).start();
}
