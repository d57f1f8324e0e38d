//! Passwords: what is right, what is wrong, and what it costs to guess.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{connect_ip, userpass};
use crate::support::users;
use crate::support::wait::{PATIENCE, timed, until_true};
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
fn a_request_behind_a_wrong_password_is_not_served() {
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
fn a_password_that_resembles_the_right_one_is_wrong() {
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
fn bytes_beyond_what_bcrypt_reads_count() {
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
fn an_unknown_user_costs_as_much_as_a_wrong_password() {
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

/// Logs in without waiting for the answer.
fn begin_login(relay: SocketAddr, from: SocketAddr, user: &[u8], password: &[u8]) -> Client {
    let mut client = Client::connect_from(from, relay);
    client.send(&[&[0x05, 0x01, 0x02][..], &userpass(user, password)].concat());
    client.expect(&[0x05, 0x02]);
    client
}

/// HAZARD 8: whoever keeps failing waits; nobody else does. The right password of the one who is guessed at, from the
/// very address that guesses, comes in time.
#[test]
fn a_flood_of_failed_logins_slows_nobody_else() {
    const GUESSES: usize = 300;
    let users: &[(&str, &[u8])] = &[("alice", b"wonderland"), ("bob", b"builder")];
    let relay = Relay::builder().users(users).start();
    let attacker = source(44, 0);
    let started = Instant::now();
    let mut guesses: Vec<Client> = (0..GUESSES)
        .map(|n| begin_login(relay.addr(), attacker, b"alice", &[1, n as u8, (n >> 8) as u8]))
        .collect();
    let (accepted, bystander) = timed(|| login(relay.addr(), source(45, 0), b"bob", b"builder"));
    assert!(accepted && bystander < Duration::from_secs(1), "a bystander waited {bystander:?}");
    let (accepted, neighbour) = timed(|| login(relay.addr(), attacker, b"bob", b"builder"));
    assert!(accepted && neighbour < Duration::from_secs(1), "another user waited {neighbour:?}");
    let (accepted, owner) = timed(|| login(relay.addr(), attacker, b"alice", b"wonderland"));
    assert!(accepted, "the right password was refused after {owner:?}");
    let (accepted, novice) = timed(|| login(relay.addr(), source(45, 1), b"bob", b"guilder"));
    assert!(!accepted && novice < Duration::from_millis(1500), "a first failure waited {novice:?}");
    for client in &mut guesses {
        client.expect(&[0x01, 0x01]);
        client.expect_eof();
    }
    let lasted = started.elapsed();
    assert!(lasted > Duration::from_secs(6), "{GUESSES} guesses in {lasted:?}");
}

/// Right answers once came at once and wrong ones late, so that a moment's silence meant wrong: 197 guesses a second.
#[test]
fn a_guesser_is_told_no_sooner_that_he_is_right() {
    let users: &[(&str, &[u8])] = &[("alice", b"wonderland"), ("bob", b"builder")];
    let relay = Relay::builder().users(users).start();
    let attacker = source(46, 0);
    // Remembered, and of this very source: even so.
    assert!(login(relay.addr(), attacker, b"alice", b"wonderland"));
    assert!(login(relay.addr(), attacker, b"bob", b"builder"));
    (0..5).for_each(|n| assert!(!login(relay.addr(), attacker, b"alice", &[2, n])));
    // Whoever leaves gains nothing.
    (5..40).for_each(|n| drop(begin_login(relay.addr(), attacker, b"alice", &[2, n])));
    let mut guess = begin_login(relay.addr(), attacker, b"alice", b"wonderland");
    guess.expect_silence(Duration::from_millis(700));
    // Whoever shares the address and is known does not wait for it.
    assert!(login(relay.addr(), attacker, b"bob", b"builder"));
    guess.expect(&[0x01, 0x00]);
}

/// Two threads once kept nine times what a hash needs, for good.
#[test]
fn a_verification_gives_its_memory_back() {
    let parameters = argon2::Params::new(19 * 1024, 2, 1, None).expect("parameters");
    let hash = users::argon2id_with(b"wonderland", parameters);
    let relay = Relay::builder().hashed_users(&[("alice".to_owned(), hash)]).start();
    let resident_mib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") / 1024
    };
    let before = resident_mib();
    let mut most = 0;
    for round in 0..3 {
        thread::scope(|scope| {
            for n in 0..30_usize {
                let (relay, user) = (relay.addr(), format!("user {round} {n}"));
                scope.spawn(move || assert!(!login(relay, source(52, n), user.as_bytes(), b"wrong")));
            }
        });
        most = most.max(resident_mib());
    }
    // 19 for each of four threads at most, and as much again.
    assert!(most - before < 2 * 4 * 19, "{before} MiB before, {most} after");
}

/// What nobody waits for any more is not verified: an answer to a request that can never come.
#[test]
fn logins_whose_clients_left_hold_up_nobody() {
    let parameters = argon2::Params::new(19 * 1024, 2, 1, None).expect("parameters");
    let hash = users::argon2id_with(b"wonderland", parameters);
    let relay = Relay::builder().hashed_users(&[("alice".to_owned(), hash)]).start();
    let (accepted, quiet) = timed(|| login(relay.addr(), source(47, 0), b"alice", b"wonderland"));
    assert!(accepted);
    for n in 0..1_000_usize {
        let name = format!("user {n}");
        drop(begin_login(relay.addr(), source(48, n % 200), name.as_bytes(), b"guess"));
    }
    let before = relay.cpu_seconds();
    let (refused, busy) = timed(|| login(relay.addr(), source(49, 0), b"alice", b"wonderlanD"));
    assert!(!refused);
    // Of a thousand verifications this would be behind half.
    assert!(busy < 40 * quiet.max(Duration::from_millis(25)), "{busy:?} behind a flood, {quiet:?} without");
    assert!(relay.cpu_seconds() - before < 5.0);
}

/// A removed user once went on logging in until a restart, and an added one was refused until then.
#[test]
fn a_users_file_that_changes_is_read_again() {
    let hash = users::argon2id(b"wonderland");
    let line = |name: &str| (name.to_owned(), hash.clone());
    let builder = Relay::builder().hashed_users(&[line("alice"), line("bob")]);
    let path = builder.directory().join("users.passwd");
    let (relay, origin) = (builder.start(), Origin::echo());
    let enters = |user: &str| login(relay.addr(), source(50, 0), user.as_bytes(), b"wonderland");
    let mut live = Client::connect(relay.addr());
    assert_eq!(live.login(b"bob", b"wonderland"), 0);
    assert!(enters("alice") && enters("bob") && !enters("carol"));

    // As an editor does it that writes in place, and as `user add` and `user remove` do it.
    let directory = path.parent().expect("a directory");
    std::fs::write(&path, format!("alice:{hash}\ncarol:{hash}\n")).expect("write");
    until_true("carol is known", PATIENCE, || enters("carol"));
    until_true("bob is forgotten", PATIENCE, || !enters("bob"));
    assert!(enters("alice"));
    assert_eq!(live.request_ip(origin.addr).rep, 0);
    live.send(b"still here");
    live.expect(b"still here");

    std::fs::write(directory.join("new"), format!("bob:{hash}\n")).expect("write");
    std::fs::rename(directory.join("new"), &path).expect("rename");
    until_true("bob is back", PATIENCE, || enters("bob"));
    until_true("alice is forgotten", PATIENCE, || !enters("alice"));
}

/// Disabled, or on no day any more: what a client sees is a wrong password, and a live session goes on as that of a user who
/// is removed.
#[test]
fn who_is_disabled_or_expired_is_told_that_the_password_is_wrong() {
    let hash = users::argon2id(b"wonderland");
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let (before, after) = (today.yesterday().expect("a day"), today.tomorrow().expect("a day"));
    let line = |name: &str, attributes: &str| (name.to_owned(), format!("{hash}{attributes}"));
    let builder = Relay::builder().hashed_users(&[
        line("alice", ":groups=staff"),
        line("bob", ":disabled"),
        line("carol", &format!(":expires={before}")),
        line("dave", &format!(":groups=staff,night expires={after}")),
    ]);
    let path = builder.directory().join("users.passwd");
    let (relay, origin) = (builder.start(), Origin::echo());
    let answer = |user: &[u8]| {
        let mut client = Client::connect_from(source(53, 0), relay.addr());
        client.send(b"\x05\x01\x02");
        client.expect(b"\x05\x02");
        client.send(&userpass(user, b"wonderland"));
        client.recv(2)
    };
    assert_eq!([answer(b"alice"), answer(b"dave")], [[1, 0], [1, 0]]);
    assert_eq!([answer(b"bob"), answer(b"carol"), answer(b"nobody")], [[1, 1], [1, 1], [1, 1]]);

    let mut live = Client::connect(relay.addr());
    assert_eq!(live.login(b"alice", b"wonderland"), 0);
    assert_eq!(live.request_ip(origin.addr).rep, 0);
    std::fs::write(&path, format!("alice:{hash}:disabled\nbob:{hash}\n")).expect("write");
    let enters = |user: &str| login(relay.addr(), source(53, 1), user.as_bytes(), b"wonderland");
    until_true("bob may log in", PATIENCE, || enters("bob"));
    assert!(!enters("alice"), "what was remembered of her is forgotten");
    live.send(b"still here");
    live.expect(b"still here");
}

#[test]
fn a_users_file_that_breaks_keeps_its_users() {
    let hash = users::argon2id(b"wonderland");
    let builder = Relay::builder().hashed_users(&[("alice".to_owned(), hash.clone())]);
    let path = builder.directory().join("users.passwd");
    let relay = builder.start();
    let enters = |from: usize| login(relay.addr(), source(51, from), b"alice", b"wonderland");
    assert!(enters(0));
    let said = || relay.log().matches("the users stay what they were").count();
    std::fs::write(&path, "mallory\n").expect("write");
    until_true("the broken file is said", PATIENCE, || said() == 1);
    assert!(relay.log().contains("users.passwd:1: expected NAME:HASH"), "{}", relay.log());
    assert!(enters(0) && enters(1));
    std::fs::remove_file(&path).expect("remove");
    until_true("the file that is gone is said", PATIENCE, || said() == 2);
    assert!(enters(2));
    std::fs::write(&path, format!("alice:{hash}\nbob:{hash}\n")).expect("write");
    until_true("bob is known", PATIENCE, || login(relay.addr(), source(51, 3), b"bob", b"wonderland"));
    assert_eq!(said(), 2, "said more than once");
}

/// Methods are tried in the order of the configuration, not of the client.
#[test]
fn our_order_of_methods_decides() {
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
