//! What sessions of the old server have and use counts at the new one: nobody has a limit twice.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::http::Http;
use crate::support::origin::V4;
use crate::support::relay::{Builder, quoted};
use crate::support::udp::{associate, zeros};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

const USERS: &[(&str, &[u8])] = &[("ann", b"a"), ("bob", b"b")];

fn builder(folder: &TempDir) -> Builder {
    let file = |name: &str| quoted(folder.path().join(name).to_str().expect("UTF-8"));
    Relay::builder()
        .set("server", "takeover", &file("takeover"))
        .set("log", "access", &file("access"))
        .users(USERS)
}

fn next(folder: &TempDir, before: &Relay, limits: &[(&str, &str)]) -> Relay {
    let with = |builder: Builder, (key, value): &(&str, &str)| builder.set("limits", key, value);
    let builder = builder(folder).listen(&[&before.addr().to_string()]).argument("--takeover");
    limits.iter().fold(builder, with).start()
}

fn user(relay: &Relay, name: &str) -> Client {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(name.as_bytes(), &name.as_bytes()[..1]), 0);
    client
}

fn session(relay: &Relay, name: &str, origin: &Origin) -> Client {
    let mut client = user(relay, name);
    assert_eq!(client.request_ip(origin.addr).rep, 0);
    client
}

fn rep_of(relay: &Relay, name: &str, origin: &Origin) -> u8 {
    user(relay, name).request_ip(origin.addr).rep
}

/// Over two hand-overs, in which the first server outlives the second.
#[test]
fn sessions_of_servers_before_count_until_they_end() {
    let (folder, origin) = (TempDir::new().expect("a folder"), Origin::echo());
    let limits = [("per_user", "{ connections = 3, udp_associations = 1 }")];
    let mut first = builder(&folder).set("limits", limits[0].0, limits[0].1).start();
    let mut control = user(&first, "ann");
    assert_eq!(associate(&mut control, zeros(V4)).rep, 0);
    let second_session = session(&first, "ann", &origin);
    let mut second = next(&folder, &first, &limits);
    let third_session = session(&second, "ann", &origin);
    assert_eq!(rep_of(&second, "ann", &origin), 2);
    assert_eq!(rep_of(&second, "bob", &origin), 0);
    let mut third = next(&folder, &second, &limits);
    drop(third_session);
    // The second server has no session of its own any more, and stays for what the first one tells.
    let one = wait::until("room for one", PATIENCE, || {
        let mut client = user(&third, "ann");
        (client.request_ip(origin.addr).rep == 0).then_some(client)
    });
    assert_eq!(rep_of(&third, "ann", &origin), 2);
    assert!(first.is_running() && second.is_running());
    drop((control, second_session));
    assert_eq!(first.wait_exit(PATIENCE), Some(0));
    assert_eq!(second.wait_exit(PATIENCE), Some(0));
    wait::until_true("room for two more", PATIENCE, || {
        let mut two = user(&third, "ann");
        two.request_ip(origin.addr).rep == 0 && rep_of(&third, "ann", &origin) == 0
    });
    drop(one);
    third.signal("TERM");
    assert_eq!(third.wait_exit(PATIENCE), Some(0));
}

/// Sessions of an address, which has no account.
#[test]
fn sessions_of_a_source_count_on() {
    let (folder, origin) = (TempDir::new().expect("a folder"), Origin::echo());
    let limits = [("per_source", "{ connections = 2 }")];
    let first = builder(&folder).set("limits", limits[0].0, limits[0].1).start();
    let there = [session(&first, "ann", &origin), session(&first, "bob", &origin)];
    let second = next(&folder, &first, &limits);
    assert_eq!(rep_of(&second, "ann", &origin), 2);
    drop(there);
    wait::until_true("room", PATIENCE, || rep_of(&second, "ann", &origin) == 0);
}

fn used(relay: &Relay) -> u64 {
    let quotas =
        Http::connect(relay.admin_addr()).ask_with("GET", "/api/v1/quotas", "Connection: close\r\n", None);
    let told: Value = quotas.json();
    let all = told["quotas"].as_array().expect("a list");
    all.iter()
        .filter(|one| one["holder"] == "user:ann")
        .map(|one| one["used"].as_u64().expect("a number"))
        .sum()
}

/// To the byte, with a store and a session that moves bytes before, between and behind.
#[test]
fn a_quota_counts_on_to_the_byte() {
    let (folder, origin) = (TempDir::new().expect("a folder"), Origin::echo());
    let state = TempDir::new().expect("a folder");
    let limits = [("per_user", "{ bytes_per_day = \"1GB\" }")];
    let kept = |builder: Builder| {
        let state = quoted(state.path().to_str().expect("UTF-8"));
        builder.set("server", "state", &state).set("limits", limits[0].0, limits[0].1).admin()
    };
    let mut first = kept(builder(&folder)).start();
    let mut there = session(&first, "ann", &origin);
    let move_bytes = |client: &mut Client, count: usize| {
        client.send(&vec![7; count]);
        client.recv(count);
    };
    move_bytes(&mut there, 100_000);
    let second = builder(&folder).listen(&[&first.addr().to_string()]).argument("--takeover");
    let second = kept(second).start();
    assert!(used(&second) >= 200_000, "{}", used(&second));
    move_bytes(&mut there, 50_000);
    move_bytes(&mut session(&second, "ann", &origin), 10_000);
    wait::until_true("the old one's bytes", PATIENCE, || used(&second) == 2 * 160_000);
    move_bytes(&mut there, 1_000);
    drop(there);
    assert_eq!(first.wait_exit(PATIENCE), Some(0));
    wait::until_true("what it told last", PATIENCE, || used(&second) == 2 * 161_000);
}

/// What a client has above a rate while an old server and a new one both serve its sessions: what the old one told late, and what
/// each may give at once.
#[test]
fn a_rate_is_shared_by_the_sessions_of_both_servers() {
    const RATE: f64 = 2_000_000.0;
    const BURST: f64 = 200_000.0;
    const SECONDS: f64 = 4.0;
    let (folder, origin) = (TempDir::new().expect("a folder"), Origin::source(1 << 30));
    let limits = [("per_user", "{ bandwidth = { rate = \"2MB\", burst = \"200kB\" } }")];
    let mut first = builder(&folder).set("limits", limits[0].0, limits[0].1).start();
    let before = session(&first, "ann", &origin);
    let second = next(&folder, &first, &limits);
    first.logged(&["another server has taken this one's place"]);
    let after = session(&second, "ann", &origin);
    let until = Instant::now() + Duration::from_secs_f64(SECONDS);
    let bytes = |mut client: Client| {
        let (mut room, mut bytes) = (vec![0; 1 << 16], 0_u64);
        client.stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        while Instant::now() < until {
            bytes += client.stream.read(&mut room).unwrap_or_default() as u64;
        }
        bytes as f64
    };
    let (old, new) = std::thread::scope(|scope| {
        let old = scope.spawn(|| bytes(before));
        let new = scope.spawn(|| bytes(after));
        (old.join().expect("bytes"), new.join().expect("bytes"))
    });
    let above = (old + new - RATE * SECONDS) / RATE;
    eprintln!("---- {old} by the old server and {new} by the new one: {above:.2} s of the rate above it");
    assert!(first.is_running() || old > 0.0);
    // Two bursts, and what either gives while the new one has not heard of the other: a quarter of a second, and another of slack for a
    // busy machine.
    assert!(old + new <= RATE * SECONDS + 2.0 * BURST + RATE, "{old} {new}");
    assert!(old + new >= RATE * SECONDS * 0.8, "{old} {new}");
}
