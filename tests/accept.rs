//! At the limit: no descriptor left, no local port left (HAZARDS 36 and 39).

use std::io::ErrorKind;
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

/// HAZARD 36: more clients than descriptors: who is accepted is served, the others wait their turn, and are told where that
/// does not come in time.
#[test]
fn only_clients_that_can_be_served_are_accepted() {
    let origin = Origin::echo();
    let (relay, api) = Api::serve(Relay::builder().nofile("256"));
    let connect = || {
        let mut client = Client::connect(relay.addr());
        client.send(&[&GREETING[..], &connect_ip(origin.addr)].concat());
        client.stream.set_nonblocking(true).expect("non-blocking");
        client
    };
    let mut clients: Vec<Client> = (0..200).map(|_| connect()).collect();
    // Those that are answered were given a target's descriptor too.
    let is_served = |client: &Client| client.stream.peek(&mut [0; 12]).is_ok_and(|count| count > 0);
    wait::until_true("some are served", PATIENCE, || clients.iter().filter(|c| is_served(c)).count() >= 16);
    let cpu = cpu_of_one_second(&relay);
    assert!(cpu <= 0.06, "{cpu} s of CPU in one second at the limit");
    let waits = |client: &Client| {
        client.stream.peek(&mut [0; 12]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    wait::until_true("nobody waits", PATIENCE, || !clients.iter().any(waits));
    let (served, reset): (Vec<Client>, Vec<Client>) = clients.drain(..).partition(is_served);
    assert!(served.len() < 128, "{} sessions with two descriptors each of 256", served.len());
    let shed = || api.get("/api/v1/stats")["counters"]["shed_descriptors"].as_u64();
    assert_eq!(shed(), Some(reset.len() as u64));
    relay.logged(&["WARN", "reset connections", "cause=\"descriptors\""]);
    // Who comes while places come free has one.
    let mut late: Vec<Client> = (0..served.len()).map(|_| connect()).collect();
    for mut client in served.into_iter().chain(late.drain(..)) {
        client.stream.set_nonblocking(false).expect("blocking");
        client.expect(&[0x05, 0x00]);
        assert_eq!(client.reply().rep, 0x00);
        client.send(b"ping");
        client.expect(b"ping");
    }
    assert_eq!(shed(), Some(reset.len() as u64));
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
    assert!((1..=4).contains(&lines), "{lines} lines in 1.2 s:\n{}", relay.log());
    // That one has waited for too long, or is about to have; another one has just come.
    waiting = Client::connect(relay.addr());
    waiting.send(&GREETING);
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
