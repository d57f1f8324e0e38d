//! Reloads by SIGHUP: each key that is taken is obeyed by what comes after it, and what is there goes on as it began.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::client::{connect_ip, request};
use crate::support::origin::{BlackHole, V4};
use crate::support::relay::quoted;
use crate::support::udp::{Association, Echo, associate, zeros};
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, DnsServer, Origin, Relay, users};

/// What was short before, and is long enough for all that must not happen.
const LONG: &str = "\"1h\"";
const SHORT: &str = "\"200ms\"";

fn echoes(client: &mut Client) {
    client.send(b"ping");
    client.expect(b"ping");
}

/// A server that is given other values of these keys while a session is there, which goes on.
fn changed(builder: crate::support::relay::Builder, keys: &[(&str, &str, &str)]) -> (Relay, Origin) {
    let (mut relay, origin) = (builder.start(), Origin::echo());
    let mut live = Client::through(relay.addr(), origin.addr);
    relay.reload(keys);
    echoes(&mut live);
    (relay, origin)
}

/// HAZARD 37: whatever a reload changes, nobody who is there or comes meanwhile notices.
#[test]
fn twenty_reloads_cost_no_session_anything() {
    let mut relay = Relay::builder().workers(2).start();
    let (origin, echo) = (Origin::echo(), Echo::on(V4));
    let (address, over) = (relay.addr(), AtomicBool::new(false));
    let mut live: Vec<Client> = (0..20).map(|_| Client::through(address, origin.addr)).collect();
    let sessions: usize = thread::scope(|scope| {
        let short = || {
            let mut sessions = 0;
            while !over.load(Ordering::Relaxed) {
                let mut client = Client::through(address, origin.addr);
                client.send(b"all of it");
                client.finish();
                assert_eq!(client.recv_to_eof(), b"all of it");
                sessions += 1;
            }
            sessions
        };
        let datagrams = || {
            let association = Association::open(address);
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                association.send(echo.addr, b"a datagram");
                association.expect(echo.addr, b"a datagram");
                count += 1;
            }
            count
        };
        let threads = [scope.spawn(short), scope.spawn(short), scope.spawn(datagrams)];
        for round in 0..20 {
            let (relay_mode, idle) = (["\"copy\"", "\"splice\""][round % 2], format!("\"{}m\"", round + 1));
            let most = (1_000 + round).to_string();
            relay.reload(&[
                ("server", "relay", relay_mode),
                ("server", "max_connections", &most),
                ("timeouts", "idle", &idle),
                ("udp", "fragments", ["true", "false"][round % 2]),
            ]);
            live.iter_mut().for_each(echoes);
        }
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("nobody was refused or cut off")).sum()
    });
    assert!(sessions > 20, "{sessions}");
}

#[test]
fn the_engine_is_that_of_the_file_when_the_relay_begins() {
    let builder = Relay::builder().set("server", "relay", "\"copy\"");
    let (relay, origin) = changed(builder, &[("server", "relay", "\"splice\"")]);
    let mut client = Client::through(relay.addr(), origin.addr);
    echoes(&mut client);
    drop(client);
    wait::until_true("both records", PATIENCE, || relay.records_now().len() == 2);
    let engines: Vec<Value> = relay.records_now().iter().map(|record| record["engine"].clone()).collect();
    assert!(engines.contains(&"copy".into()) && engines.contains(&"splice".into()), "{engines:?}");
}

#[test]
fn time_limits_hold_for_those_who_come_after() {
    let builder = Relay::builder();
    let keys = [
        ("timeouts", "handshake", SHORT),
        ("timeouts", "idle", SHORT),
        ("timeouts", "bind", SHORT),
        ("timeouts", "udp_idle", SHORT),
        ("timeouts", "connect", SHORT),
    ];
    let (relay, origin) = changed(builder, &keys);
    Client::connect(relay.addr()).expect_closed();
    Client::through(relay.addr(), origin.addr).expect_closed();
    let mut bind = Client::greeted(relay.addr());
    bind.send(&request(2, SocketAddr::new(V4, 9)));
    assert_eq!(bind.reply().rep, 0);
    assert_ne!(bind.reply().rep, 0);
    let mut control = Client::greeted(relay.addr());
    assert_eq!(associate(&mut control, zeros(V4)).rep, 0);
    control.expect_closed();
    let hole = BlackHole::new();
    let (reply, lasted) = timed(|| Client::greeted(relay.addr()).request_ip(hole.addr));
    assert!(reply.rep != 0 && lasted < Duration::from_secs(5), "{reply:?} after {lasted:?}");
}

/// A session that began with a long limit has it.
#[test]
fn a_session_keeps_the_limit_that_it_began_with() {
    let (mut relay, origin) = (Relay::builder().set("timeouts", "idle", LONG).start(), Origin::echo());
    let mut old = Client::through(relay.addr(), origin.addr);
    let mut begun = Client::connect(relay.addr());
    relay.reload(&[("timeouts", "idle", SHORT), ("timeouts", "handshake", SHORT)]);
    Client::through(relay.addr(), origin.addr).expect_closed();
    Client::connect(relay.addr()).expect_closed();
    echoes(&mut old);
    begun.greet_none();
}

#[test]
fn the_drain_lasts_as_the_file_says() {
    let (mut relay, origin) = changed(Relay::builder(), &[("timeouts", "drain", "\"300ms\"")]);
    let _live = Client::through(relay.addr(), origin.addr);
    relay.signal("TERM");
    let (code, lasted) = timed(|| relay.wait_exit(PATIENCE));
    assert!(code == Some(0) && lasted < Duration::from_secs(5), "{code:?} after {lasted:?}");
}

/// Passwords on, another file, off, and on again: each holds at once, and nobody is judged by a file of before.
#[test]
fn methods_and_users_are_those_of_the_file() {
    let builder = Relay::builder();
    let file = |name: &str, user: &str, password: &[u8]| {
        let path = builder.directory().join(name);
        std::fs::write(&path, format!("{user}:{}\n", users::argon2id(password))).expect("a users file");
        quoted(path.to_str().expect("UTF-8"))
    };
    let (one, two) = (file("one", "alice", b"wonderland"), file("two", "bob", b"builder"));
    let (mut relay, origin) = (builder.start(), Origin::echo());
    let mut live = Client::through(relay.addr(), origin.addr);
    let mut begun = Client::greeted(relay.addr());
    let lets_in = |relay: &Relay, user: &[u8], password: &[u8]| {
        Client::connect(relay.addr()).login(user, password) == 0
    };
    for round in 0..2 {
        relay.reload(&[("auth", "methods", "[\"password\"]"), ("auth", "users", &one)]);
        let mut refused = Client::connect(relay.addr());
        refused.send(&[0x05, 0x01, 0x00]);
        refused.expect(&[0x05, 0xff]);
        assert!(lets_in(&relay, b"alice", b"wonderland"), "round {round}");
        assert!(!lets_in(&relay, b"bob", b"builder"), "round {round}");
        relay.reload(&[("auth", "users", &two)]);
        assert!(lets_in(&relay, b"bob", b"builder"), "round {round}");
        assert!(!lets_in(&relay, b"alice", b"wonderland"), "round {round}");
        relay.forget("auth", "users");
        relay.reload(&[("auth", "methods", "[\"none\"]")]);
        Client::through(relay.addr(), origin.addr);
    }
    // What was agreed on before the first change still holds.
    assert_eq!(begun.request_ip(origin.addr).rep, 0);
    echoes(&mut live);
}

#[test]
fn names_are_asked_for_where_the_file_says() {
    let (first, second) =
        (DnsServer::zone(&[("a.test", &["127.0.0.1"])]), DnsServer::zone(&[("b.test", &["127.0.0.1"])]));
    let (mut relay, origin) = (Relay::builder().dns(&first).start(), Origin::echo());
    let rep =
        |relay: &Relay, name: &[u8]| Client::greeted(relay.addr()).request_name(name, origin.addr.port()).rep;
    assert_eq!((rep(&relay, b"a.test"), rep(&relay, b"b.test") != 0), (0, true));
    let servers = format!("[{}]", quoted(&second.addr.to_string()));
    relay.reload(&[("dns", "servers", &servers)]);
    assert_eq!((rep(&relay, b"b.test"), rep(&relay, b"a.test") != 0), (0, true));
    relay.reload(&[("dns", "prefer", "\"ipv6-only\"")]);
    assert_ne!(rep(&relay, b"b.test"), 0);
    relay.reload(&[("dns", "prefer", "\"ipv4\""), ("dns", "hosts", "true")]);
    assert_eq!(rep(&relay, b"localhost"), 0);
    relay.reload(&[
        ("timeouts", "dns", SHORT),
        ("dns", "servers", &format!("[{}]", quoted(&DnsServer::dead().addr.to_string()))),
    ]);
    let (reply, lasted) = timed(|| rep(&relay, b"c.test"));
    assert!(reply != 0 && lasted < Duration::from_secs(5), "{reply} after {lasted:?}");
}

/// The newest policy judges also the requests of those who came before it.
#[test]
fn the_guard_is_that_of_the_moment() {
    let (mut relay, origin) = (Relay::builder().guarded().start(), Origin::echo());
    let rep = |relay: &Relay| Client::greeted(relay.addr()).request_ip(origin.addr).rep;
    assert_eq!(rep(&relay), 0x02);
    let mut begun = Client::greeted(relay.addr());
    relay.reload(&[("guard", "allow", "[\"127.0.0.0/8\"]")]);
    assert_eq!((rep(&relay), begun.request_ip(origin.addr).rep), (0, 0));
    let own = Client::greeted(relay.addr()).request_ip(relay.addr());
    assert_eq!(own.rep, 0x02, "never its own listener");
    relay.reload(&[("guard", "allow", "[]")]);
    assert_eq!(rep(&relay), 0x02);
    relay.reload(&[("guard", "allow_private", "true")]);
    assert_eq!(rep(&relay), 0);
}

#[test]
fn what_clients_are_told_is_what_the_file_says() {
    let keys = [("bind", "advertise", "\"198.51.100.7\""), ("udp", "advertise", "\"198.51.100.8\"")];
    let (relay, _) = changed(Relay::builder(), &keys);
    let mut bind = Client::greeted(relay.addr());
    bind.send(&request(2, SocketAddr::new(V4, 9)));
    assert_eq!(bind.reply().bound.ip().to_string(), "198.51.100.7");
    let mut control = Client::greeted(relay.addr());
    assert_eq!(associate(&mut control, zeros(V4)).bound.ip().to_string(), "198.51.100.8");
}

/// What was counted under one limit counts under the next.
#[test]
fn a_source_is_counted_on() {
    let limit = |most: usize| format!("{{ connections = {most} }}");
    let builder = Relay::builder().set("limits", "per_source", &limit(3));
    let (mut relay, origin) = (builder.start(), Origin::echo());
    let _live: Vec<Client> = (0..2).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    relay.reload(&[("limits", "per_source", &limit(2))]);
    assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 0x02);
    relay.reload(&[("limits", "per_source", &limit(0))]);
    Client::through(relay.addr(), origin.addr);
    relay.reload(&[("limits", "per_source", &limit(3))]);
    let _third = Client::through(relay.addr(), origin.addr);
    assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 0x02);
}

#[test]
fn as_many_sessions_as_the_file_says() {
    let (mut relay, origin) =
        (Relay::builder().set("server", "max_connections", "1").start(), Origin::echo());
    let _live = Client::through(relay.addr(), origin.addr);
    let mut waits = Client::connect(relay.addr());
    waits.send(&[0x05, 0x01, 0x00]);
    assert!(waits.silent_for(Duration::from_millis(200)));
    relay.reload(&[("server", "max_connections", "2")]);
    waits.expect(&[0x05, 0x00]);
}

#[test]
fn a_worker_spins_while_the_file_says_so() {
    let (mut relay, origin) = changed(Relay::builder(), &[]);
    let mut client = Client::through(relay.addr(), origin.addr);
    // A worker spins before it sleeps, each time that it was woken.
    let mut spent = |relay: &Relay| {
        let before = relay.cpu_seconds();
        for _ in 0..50 {
            echoes(&mut client);
            thread::sleep(Duration::from_millis(10));
        }
        relay.cpu_seconds() - before
    };
    let idle = spent(&relay);
    relay.reload(&[("server", "busy_poll", "\"10ms\"")]);
    let spinning =
        wait::until("it spins", PATIENCE, || Some(spent(&relay)).filter(|spent| *spent > idle + 0.1));
    relay.reload(&[("server", "busy_poll", "\"0us\"")]);
    assert!(spent(&relay) < spinning);
}

#[test]
fn the_log_is_as_the_file_says() {
    let (mut relay, origin) = (Relay::start(), Origin::echo());
    relay.reload(&[("log", "level", "\"debug\"")]);
    Client::connect(relay.addr()).send(b"\x04nonsense");
    relay.logged(&["DEBUG", "session refused"]);
    relay.reload(&[("log", "level", "\"info\""), ("log", "format", "\"json\"")]);
    relay.signal("USR1");
    let line = relay.logged(&["\"message\":\"counters\""]);
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], "INFO");
    relay.reload(&[("log", "format", "\"text\"")]);
    relay.signal("USR1");
    relay.logged(&["INFO counters "]);
    Client::through(relay.addr(), origin.addr);
}

fn ids(text: &str) -> Vec<String> {
    text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].to_string()).collect()
}

/// While sessions come and go the record goes to a file, to another, nowhere and back: each session that ends while it is
/// kept has one line in one of them.
#[test]
fn no_record_is_lost_or_doubled_when_the_file_changes() {
    let builder = Relay::builder().workers(2);
    let paths: Vec<String> =
        (0..4).map(|n| builder.directory().join(format!("{n}.jsonl")).display().to_string()).collect();
    let (mut relay, origin) = (builder.set("log", "access", &quoted(&paths[0])).start(), Origin::echo());
    let mut sessions = 0;
    for round in 0..12 {
        for _ in 0..10 {
            let mut client = Client::through(relay.addr(), origin.addr);
            client.finish();
            client.recv_to_eof();
            sessions += 1;
        }
        let on_full = ["\"drop\"", "\"refuse\""][round / 2 % 2];
        relay.reload(&[("log", "access", &quoted(&paths[(round + 1) % 4])), ("log", "on_full", on_full)]);
    }
    let all =
        || paths.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect::<String>();
    wait::until_true("every record", PATIENCE, || all().lines().count() >= sessions);
    let mut found = ids(&all());
    found.sort();
    found.dedup();
    assert_eq!((found.len(), all().lines().count()), (sessions, sessions));

    relay.reload(&[("log", "on_full", "\"drop\""), ("log", "access", "\"off\"")]);
    // It has ended before records are wanted again: its worker ends it in the turn in which it passes the end on.
    let mut unrecorded = Client::through(relay.addr(), origin.addr);
    unrecorded.finish();
    unrecorded.recv_to_eof();
    wait::until_true("the file is closed", PATIENCE, || !holds(&relay, &paths[0]));
    relay.reload(&[("log", "access", &quoted(&paths[1]))]);
    let before = all().lines().count();
    let mut client = Client::through(relay.addr(), origin.addr);
    client.finish();
    client.recv_to_eof();
    wait::until_true("one more", PATIENCE, || all().lines().count() > before);
    assert_eq!(all().lines().count(), sessions + 1, "and none of those in between");
}

/// Whether a process has a file open.
fn holds(relay: &Relay, path: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{}/fd", relay.pid())).expect("list the descriptors");
    files
        .flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.display().to_string() == path))
}

/// A sink that is full for good is left for another, and what waited for it is there.
#[test]
fn records_that_wait_for_a_sink_go_to_the_next_one() {
    // Within Landlock a reload goes on to no other folder.
    let builder = Relay::builder().set("log", "access", "\"/dev/full\"").set("sandbox", "landlock", "false");
    let path = builder.directory().join("next.jsonl").display().to_string();
    let (mut relay, origin) = (builder.start(), Origin::echo());
    for _ in 0..5 {
        let mut client = Client::through(relay.addr(), origin.addr);
        client.finish();
        client.recv_to_eof();
    }
    relay.logged(&["access records cannot be written"]);
    relay.reload(&[("log", "access", &quoted(&path))]);
    wait::until_true("all of them", PATIENCE, || {
        ids(&std::fs::read_to_string(&path).unwrap_or_default()).len() == 5
    });
}

/// One whose file is wrong goes on by what it had, and says where.
#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    let (mut relay, origin) = (Relay::start(), Origin::echo());
    let mut live = Client::through(relay.addr(), origin.addr);
    relay.write(&[("timeouts", "idle", "\"soon\"")]);
    relay.signal("HUP");
    relay.logged(&["ERROR", "outflow.toml:", "[timeouts] key `idle`"]);
    relay.logged(&["nothing has changed"]);
    echoes(&mut live);
    Client::through(relay.addr(), origin.addr);
    relay.reload(&[("timeouts", "idle", LONG)]);
    assert!(TcpStream::connect(relay.addr()).is_ok());
    // Nothing was asked of what was sent with the request.
    let mut client = Client::connect(relay.addr());
    client.send(&[&[0x05, 0x01, 0x00][..], &connect_ip(origin.addr)].concat());
    client.expect(&[0x05, 0x00]);
    assert_eq!(client.reply().rep, 0);
}
