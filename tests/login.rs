//! Passwords: what is right, what is wrong, and what it costs to guess.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{connect_ip, userpass};
use crate::support::users;
use crate::support::wait::timed;
use crate::support::{Client, Origin, Relay};

const LONG: [u8; 255] = [0xff; 255];

/// A loopback address that no other login of a test has failed from.
fn source(test: u8, n: usize) -> SocketAddr {
    SocketAddr::from(([127, test, (n / 250) as u8, (n % 250) as u8 + 1], 0))
}

/// One login on a connection of its own; true when it is accepted.
fn login(relay: SocketAddr, from: SocketAddr, user: &[u8], password: &[u8]) -> bool {
    let mut client = Client::connect_from(from, relay);
    let status = client.login(user, password);
    if status != 0 {
        client.expect_eof();
    }
    status == 0
}

/// HAZARD 3: a wrong password with a CONNECT behind it: failure, close, and not one packet to the target.
#[test]
fn a_request_behind_a_wrong_password_is_served() {
    let (relay, origin) = (Relay::builder().users(&[("alice", b"wonderland")]).start(), Origin::echo());
    let mut client = Client::connect(relay.addr());
    let wrong = userpass(b"alice", b"wonderlanD");
    client.send(&[&[0x05, 0x01, 0x02][..], &wrong, &connect_ip(origin.addr), b"payload"].concat());
    client.expect(&[0x05, 0x02, 0x01, 0x01]);
    client.expect_eof();
    let record = relay.record();
    assert_eq!(record["reason"], "auth_failed", "{record}");
    assert_eq!(
        (&record["command"], &record["address"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(origin.accepted(), 0);
}

/// HAZARD 4: nothing but the exact bytes is the password.
#[test]
fn a_password_that_resembles_the_right_one_is_taken() {
    let users: &[(&str, &[u8])] = &[
        ("alice", b"correct horse"),
        ("bob", &LONG),
        ("carol", b"a\0b"),
        ("dave", b"\xc3\x28\xfe"),
        ("e", b" "),
    ];
    let relay = Relay::builder().users(users).start();
    let mut almost_long = LONG;
    almost_long[254] = 0xfe;
    let wrong: &[(&[u8], &[u8])] = &[
        (b"alice", b"correct hors"),
        (b"alice", b"correct horse "),
        (b"alice", b"correct horse\0"),
        (b"alice", b"orrect horse"),
        (b"alice", b"Correct horse"),
        (b"alice", b"correct horsf"),
        (b"alice", b"c"),
        (b"alice", &LONG),
        (b"bob", &LONG[1..]),
        (b"bob", &almost_long),
        (b"carol", b"a"),
        (b"carol", b"a\0c"),
        (b"carol", b"a\0b\0"),
        (b"dave", b"\xc3\x28"),
        (b"dave", "\u{fffd}(\u{fffd}".as_bytes()),
        (b"e", b"  "),
        (b"Alice", b"correct horse"),
        (b"alic", b"correct horse"),
        (b"alice\0", b"correct horse"),
        (b"alice ", b"correct horse"),
        (b"\xff\xfe", b"correct horse"),
        (&LONG, &LONG),
        (b"bob", b"correct horse"),
    ];
    thread::scope(|scope| {
        for (n, (user, password)) in wrong.iter().enumerate() {
            let relay = relay.addr();
            scope.spawn(move || {
                assert!(
                    !login(relay, source(40, n), user, password),
                    "{user:02x?} {password:02x?} was taken"
                );
            });
        }
    });
    for (n, (user, password)) in users.iter().enumerate() {
        assert!(login(relay.addr(), source(41, n), user.as_bytes(), password), "{user} was refused");
    }
}

/// HAZARD 4: bcrypt reads 72 bytes; what comes behind them still counts.
#[test]
fn bytes_beyond_what_bcrypt_reads_are_ignored() {
    let secret = "p".repeat(72);
    let hashed = [("alice".to_owned(), users::bcrypt(&secret)), ("bob".to_owned(), users::bcrypt("short"))];
    let relay = Relay::builder().hashed_users(&hashed).start();
    assert!(login(relay.addr(), source(42, 0), b"bob", b"short"));
    assert!(!login(relay.addr(), source(42, 1), b"bob", b"shorter"));
    assert!(!login(relay.addr(), source(42, 2), b"bob", b"short\0"));
    assert!(!login(relay.addr(), source(42, 3), b"alice", format!("{secret}q").as_bytes()));
}

/// HAZARD 4: to learn which users exist is not a matter of watching how hard the server works.
#[test]
fn an_unknown_user_costs_less_than_a_wrong_password() {
    let parameters = argon2::Params::new(19 * 1024, 2, 1, None).expect("parameters");
    let hash = users::argon2id_with(b"wonderland", parameters);
    let relay = Relay::builder().hashed_users(&[("alice".to_owned(), hash)]).start();
    let cost = |user: &[u8], from: usize| {
        let before = relay.cpu_seconds();
        thread::scope(|scope| {
            for n in 0..6 {
                let relay = relay.addr();
                // Each guess differs, so that no cache of refusals can answer.
                scope.spawn(move || {
                    assert!(!login(relay, source(43, from + n), user, &[b'x', (from + n) as u8]))
                });
            }
        });
        relay.cpu_seconds() - before
    };
    cost(b"alice", 0);
    // CPU time comes in ticks and from a shared machine: a real difference shows every time.
    let ratios: Vec<f64> = (1..=6).map(|n| cost(b"mallory", 20 * n) / cost(b"alice", 20 * n + 10)).collect();
    assert!(ratios.iter().any(|ratio| (0.75..1.33).contains(ratio)), "unknown to known: {ratios:.2?}");
}

/// HAZARD 8: whoever keeps failing waits longer and longer; nobody else does, and a right password never.
#[test]
fn a_flood_of_failed_logins_slows_everyone() {
    const GUESSES: usize = 300;
    let users: &[(&str, &[u8])] = &[("alice", b"wonderland"), ("bob", b"builder")];
    let relay = Relay::builder().users(users).start();
    let attacker = source(44, 0);
    let started = Instant::now();
    let mut guesses: Vec<Client> = (0..GUESSES)
        .map(|n| {
            let mut client = Client::connect_from(attacker, relay.addr());
            client.send(
                &[&[0x05, 0x01, 0x02][..], &userpass(b"alice", &[1, n as u8, (n >> 8) as u8])].concat(),
            );
            client
        })
        .collect();
    let (accepted, bystander) = timed(|| login(relay.addr(), source(45, 0), b"bob", b"builder"));
    assert!(accepted && bystander < Duration::from_secs(1), "a bystander waited {bystander:?}");
    let (accepted, owner) = timed(|| login(relay.addr(), attacker, b"alice", b"wonderland"));
    assert!(accepted && owner < Duration::from_secs(1), "the right password waited {owner:?}");
    let (accepted, novice) = timed(|| login(relay.addr(), source(45, 1), b"bob", b"guilder"));
    assert!(!accepted && novice < Duration::from_millis(1500), "a first failure waited {novice:?}");
    for client in &mut guesses {
        client.expect(&[0x05, 0x02, 0x01, 0x01]);
        client.expect_eof();
    }
    let lasted = started.elapsed();
    assert!(lasted > 2 * novice, "{GUESSES} guesses in {lasted:?}, one failure in {novice:?}");
}

/// Methods are tried in the order of the configuration, not of the client.
#[test]
fn the_clients_order_of_methods_decides() {
    let relay = Relay::builder()
        .users(&[("alice", b"wonderland")])
        .set("auth", "methods", "[\"password\", \"none\"]")
        .start();
    for (greeting, method) in [(&[0x05, 0x02, 0x00, 0x02][..], 0x02), (&[0x05, 0x01, 0x00], 0x00)] {
        let mut client = Client::connect(relay.addr());
        client.send(greeting);
        client.expect(&[0x05, method]);
    }
}
