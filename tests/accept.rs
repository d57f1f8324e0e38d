//! At the limit: no descriptor left, no local port left (HAZARDS 36 and 39).

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::api::Api;
use crate::support::client::connect_ip;
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, Origin, Relay, netns};

const GREETING: [u8; 3] = [0x05, 0x01, 0x00];

/// CPU of the server over one second of doing nothing but being at its limit.
fn cpu_of_one_second(relay: &Relay) -> f64 {
    let before = relay.cpu_seconds();
    wait::throughout("the server runs", Duration::from_secs(1), || true);
    relay.cpu_seconds() - before
}

/// HAZARD 36: more clients than descriptors: who is accepted is served, the others wait their turn.
#[test]
fn only_clients_that_can_be_served_are_accepted() {
    let origin = Origin::echo();
    let relay = Relay::builder().nofile("128").start();
    let mut clients: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = Client::connect(relay.addr());
            client.send(&[&GREETING[..], &connect_ip(origin.addr)].concat());
            client
        })
        .collect();
    // Those that are answered were given a target's descriptor too.
    let served = |clients: &[Client]| clients.iter().filter(|c| c.stream.peek(&mut [0; 12]).is_ok()).count();
    for client in &clients {
        client.stream.set_nonblocking(true).expect("non-blocking");
    }
    wait::until_true("some are served", PATIENCE, || served(&clients) >= 16);
    let cpu = cpu_of_one_second(&relay);
    assert!(cpu <= 0.06, "{cpu} s of CPU in one second at the limit");
    let first = served(&clients);
    assert!(first < 64, "{first} sessions with two descriptors each of 128");
    while !clients.is_empty() {
        let waiting = clients.iter().position(|c| c.stream.peek(&mut [0; 12]).is_ok());
        let Some(at) = waiting else {
            wait::until_true("the next is served", PATIENCE, || served(&clients) > 0);
            continue;
        };
        let mut client = clients.swap_remove(at);
        client.stream.set_nonblocking(false).expect("blocking");
        client.expect(&[0x05, 0x00]);
        assert_eq!(client.reply().rep, 0x00);
        client.send(b"ping");
        client.expect(b"ping");
    }
    relay.records(200);
}

/// HAZARD 36: EMFILE from the kernel: a pause by timer, one line a second, and service within 200 ms.
#[test]
fn a_listener_that_met_emfile_accepts_again_soon() {
    let origin = Origin::echo();
    let (relay, api) = Api::serve(Relay::builder().nofile("1024"));
    let mut running: Vec<Client> = (0..10).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    relay.set_nofile(&format!("{}:1024", relay.fds()));
    let log_before = relay.log().lines().count();
    // Descriptors in reserve, or free between others, may still serve a few.
    let mut waiting = Client::connect(relay.addr());
    waiting.send(&GREETING);
    let mut answered = Vec::new();
    while !waiting.silent_for(Duration::from_millis(200)) {
        assert!(answered.len() < 40, "the limit holds nobody off");
        answered.push(std::mem::replace(&mut waiting, Client::connect(relay.addr())));
        waiting.send(&GREETING);
    }
    let cpu = cpu_of_one_second(&relay);
    assert!(cpu <= 0.06, "{cpu} s of CPU in one second at the limit");
    let lines = relay.log().lines().count() - log_before;
    assert!((1..=3).contains(&lines), "{lines} lines in 1.2 s:\n{}", relay.log());
    for client in &mut running {
        client.send(b"ping");
        client.expect(b"ping");
    }
    running.truncate(8); // closes two sessions: four descriptors
    let ((), lasted) = timed(|| waiting.expect(&[0x05, 0x00]));
    assert!(lasted < Duration::from_millis(300), "served {lasted:?} after a descriptor came free");
    assert_eq!(waiting.request_ip(origin.addr).rep, 0x00);
    relay.set_nofile("1024:1024");
    Client::through(relay.addr(), origin.addr);
    let counters = &api.get("/api/v1/stats")["counters"];
    let pauses = counters["accept_paused"].as_u64().expect("a count");
    assert!(pauses > 0 && counters["accept_paused_descriptors"] == pauses, "{counters}");
    assert_eq!(counters["accept_paused_memory"], 0, "{counters}");
}

/// HAZARD 39: a hundred local ports and 500 connects to one target: the surplus is told 01, others are fine.
#[test]
fn a_full_port_range_towards_one_target_fails_the_surplus_alone() {
    let setup = "echo '40000 40099' > /proc/sys/net/ipv4/ip_local_port_range";
    netns::run(&test_name!(), setup, || {
        crate::support::relay::raise_own_nofile();
        let relay = Relay::builder().listen(&["127.0.0.1:1080"]).start();
        let crowded = Origin::at("127.0.0.1:9000");
        let other = Origin::at("127.0.0.1:9001");
        let client = |n: u16| {
            let source = SocketAddr::from(([127, 1, 0, 1], 10_000 + n));
            let mut client = Client::connect_from(source, relay.addr());
            client.greet_none();
            client
        };
        let mut kept = Vec::new();
        let mut reps = [0_usize; 256];
        for n in 0..500 {
            let mut client = client(n);
            let reply = client.request_ip(crowded.addr);
            reps[usize::from(reply.rep)] += 1;
            kept.push(client);
        }
        assert_eq!(reps[0] + reps[1], 500, "replies other than 00 and 01");
        assert!((80..=100).contains(&reps[0]), "{} of 500 connected through 100 ports", reps[0]);
        let mut elsewhere = client(500);
        assert_eq!(elsewhere.request_ip(other.addr).rep, 0x00);
        elsewhere.send(b"ping");
        elsewhere.expect(b"ping");
        // A port that comes free is used again.
        kept.into_iter().for_each(Client::reset);
        let mut attempt = 500;
        wait::until_true("the target can be reached again", PATIENCE, || {
            attempt += 1;
            client(attempt).ask(crowded.addr)
        });
    });
}
