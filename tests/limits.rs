//! Limits: what a subject may have and move, over all workers, and what it gets past that.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bind::bind;
use crate::support::client::request;
use crate::support::origin::{ClosedPort, V4};
use crate::support::udp::{Association, Target, associate, counters, drops, zeros};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay};

const BIND: u8 = 0x02;
const USERS: &[(&str, &[u8])] = &[("ann", b"a"), ("bob", b"b")];

/// A client of this user, from an address that no other test logs in from.
fn user(relay: &Relay, name: &str) -> Client {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(name.as_bytes(), &name.as_bytes()[..1]), 0);
    client
}

fn rep_of(relay: &Relay, name: &str, origin: &Origin) -> u8 {
    user(relay, name).request_ip(origin.addr).rep
}

/// Sessions of any kind and on any worker, and of nobody else.
#[test]
fn a_user_has_as_many_sessions_as_he_may() {
    let origin = Origin::echo();
    let relay =
        Relay::builder().workers(2).users(USERS).set("limits", "per_user", "{ connections = 3 }").start();
    let mut tunnel = user(&relay, "ann");
    assert_eq!(tunnel.request_ip(origin.addr).rep, 0x00);
    let mut bind = user(&relay, "ann");
    bind.send(&request(BIND, origin.addr));
    assert_eq!(bind.reply().rep, 0x00);
    let mut control = user(&relay, "ann");
    assert_eq!(associate(&mut control, zeros(V4)).rep, 0x00);
    for _ in 0..8 {
        let mut refused = user(&relay, "ann");
        assert_eq!(refused.request_ip(origin.addr).rep, 0x02);
        refused.expect_eof();
    }
    let refused = |record: &Value| record["reason"] == "denied" && record["limit"] == "limits.per_user";
    let records = relay.records(8);
    assert!(records.iter().all(refused), "{records:?}");
    assert_eq!(counters(&relay)["denied_limit_connections"], 8);
    relay.logged(&["sessions refused", "limit=\"limits.per_user\""]);
    assert_eq!(origin.accepted(), 1, "nothing was dialled for those refused");
    assert_eq!(rep_of(&relay, "bob", &origin), 0x00);
    drop(control);
    wait::until_true("room again", PATIENCE, || rep_of(&relay, "ann", &origin) == 0x00);
    tunnel.send(b"ping");
    tunnel.expect(b"ping");
}

/// Nobody fills the log by coming again and again, and none of it is missing from the counts.
#[test]
fn a_source_that_hammers_at_its_limit_is_told_of_once_a_second() {
    let origin = Origin::echo();
    let limit = "{ new_per_second = { rate = 1, burst = 1 } }";
    let relay = Relay::builder().set("limits", "per_source", limit).start();
    let begun = Instant::now();
    let hammer = |_: &u32| Client::greeted(relay.addr()).request_ip(origin.addr).rep == 0x02;
    let refused = (0..400).filter(hammer).count() as u64;
    let told = |log: &str| -> u64 {
        let counts = log.lines().filter_map(|line| line.split_once(" refused=")?.1.split(' ').next());
        counts.map(|count| count.parse::<u64>().expect("a number")).sum()
    };
    wait::until_true("all are told of", PATIENCE, || told(&relay.log()) == refused);
    let lines = relay.log().lines().filter(|line| line.contains("sessions refused")).count() as u64;
    let most = begun.elapsed().as_secs() + 2;
    assert!((2..=most).contains(&lines), "{lines} lines for {refused} refusals, of {most}");
}

#[test]
fn associations_have_a_number_of_their_own() {
    let (relay, origin) =
        (Relay::builder().set("limits", "per_source", "{ udp_associations = 1 }").start(), Origin::echo());
    let mut control = Client::greeted(relay.addr());
    assert_eq!(associate(&mut control, zeros(V4)).rep, 0x00);
    assert_eq!(associate(&mut Client::greeted(relay.addr()), zeros(V4)).rep, 0x02);
    assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 0x00, "tunnels are not meant");
    assert_eq!(counters(&relay)["denied_limit_associations"], 1);
}

/// The rate outlives the sessions, and names are not looked up for those that are refused.
#[test]
fn new_sessions_have_a_rate() {
    let (relay, origin) = (
        Relay::builder()
            .workers(2)
            .set("limits", "per_source", "{ new_per_second = { rate = 1, burst = 4 } }")
            .start(),
        Origin::echo(),
    );
    let begun = Instant::now();
    let mut served = 0;
    for _ in 0..20 {
        let mut client = Client::greeted(relay.addr());
        served += u64::from(client.request_ip(origin.addr).rep == 0x00);
    }
    let most = 4 + begun.elapsed().as_secs() + 1;
    assert!((4..=most).contains(&served), "{served} of {most}");
    let mut other = Client::connect_from(SocketAddr::new(IpAddr::from([127, 0, 0, 3]), 0), relay.addr());
    other.greet_none();
    assert_eq!(other.request_ip(origin.addr).rep, 0x00, "another source has another rate");
    wait::until_true("the next one", PATIENCE, || {
        Client::greeted(relay.addr()).request_ip(origin.addr).rep == 0x00
    });
}

/// A limit that a rule names holds for what that rule allows, and for nothing else.
#[test]
fn a_rule_names_its_limits() {
    let (one, other) = (Origin::echo(), Origin::echo());
    let rule = |name: &str, port: u16, limits: &str| {
        format!("name = \"{name}\"\nports = [{port}]\naction = \"allow\"\n{limits}")
    };
    let relay = Relay::builder()
        .set("[limit]", "name", "\"few\"")
        .set("[limit]", "per", "\"global\"")
        .set("[limit]", "connections", "1")
        .rules(&[
            &rule("limited", one.addr.port(), "limits = [\"few\"]"),
            &rule("free", other.addr.port(), ""),
        ])
        .start();
    let mut held = Client::through(relay.addr(), one.addr);
    assert_eq!(Client::greeted(relay.addr()).request_ip(one.addr).rep, 0x02);
    let record = relay.record();
    assert_eq!((&record["rule"], &record["limit"]), (&"limited".into(), &"few".into()), "{record}");
    for _ in 0..3 {
        assert_eq!(Client::greeted(relay.addr()).request_ip(other.addr).rep, 0x00);
    }
    held.send(b"ping");
    held.expect(b"ping");
}

/// A relay that limits what one rule allows, whose ports and commands are these, to one session at a time for each source,
/// and lets everything else pass.
fn limiting(ports: &str, commands: &str) -> Relay {
    let limited =
        format!("name = \"limited\"\nports = [{ports}]\n{commands}\naction = \"allow\"\nlimits = [\"few\"]");
    let builder = Relay::builder()
        .set("[limit]", "name", "\"few\"")
        .set("[limit]", "per", "\"source\"")
        .set("[limit]", "connections", "1")
        .set("[limit]", "datagrams", "{ rate = 1, burst = 5 }");
    builder.rules(&["name = \"free\"\nports = [1]\naction = \"allow\"", &limited]).start()
}

/// Which rule allows the peer is known when it comes.
#[test]
fn whoever_comes_to_a_listener_counts_in_the_limits_of_the_rule_that_allows_him() {
    let relay = limiting("\"2-65535\"", "commands = [\"bind\"]");
    let zeros = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
    let meet = || {
        let (mut client, bound) = bind(relay.addr(), zeros);
        // Who is reset may be told so by `connect` already.
        let peer = TcpStream::connect(bound);
        (client.reply().rep, client, peer)
    };
    let (mut first, second) = (meet(), meet());
    assert_eq!((first.0, second.0), (0x00, 0x02));
    first.2.expect("a connection").write_all(b"ping").expect("written");
    first.1.expect(b"ping");
    let record = relay.record();
    assert_eq!((&record["reason"], &record["limit"]), (&"denied".into(), &"few".into()), "{record}");
}

/// An association that begins by one rule comes under the limits of others with what it sends.
#[test]
fn datagrams_count_in_the_limits_of_the_rule_that_allows_them() {
    let target = Target::on(V4);
    let relay = limiting(&target.addr.port().to_string(), "commands = [\"udp_associate\"]");
    let (association, other) = (Association::open(relay.addr()), Association::open(relay.addr()));
    for _ in 0..20 {
        association.send(target.addr, b"x");
    }
    target.expect(b"x");
    wait::until_true("the rest is dropped", PATIENCE, || {
        drops(&relay).get("limit").is_some_and(|n| *n >= 14)
    });
    let before = drops(&relay)["limit"];
    other.send(target.addr, b"y");
    wait::until_true("it is one too many", PATIENCE, || drops(&relay)["limit"] == before + 1);
    drop(association);
    let record = relay.record();
    assert!((5..=6).contains(&record["datagrams_up"].as_u64().expect("a number")), "{record}");
    wait::until_true("room again", PATIENCE, || {
        other.send(target.addr, b"y");
        other_came(&target)
    });
}

/// Whether a datagram of the second association has come.
fn other_came(target: &Target) -> bool {
    target.socket.set_nonblocking(true).expect("a socket");
    let mut byte = [0; 16];
    let came = target.socket.recv(&mut byte).is_ok_and(|_| byte[0] == b'y');
    target.socket.set_nonblocking(false).expect("a socket");
    came
}

/// What is refused, or fails, is over when its reply is sent: the client may take its time to close.
#[test]
fn a_session_that_is_refused_holds_no_place() {
    let (origin, closed) = (Origin::echo(), ClosedPort::new());
    let relay = Relay::builder().users(USERS).set("limits", "per_user", "{ connections = 1 }").start();
    let mut failed = user(&relay, "ann");
    assert_eq!(failed.request_ip(closed.addr).rep, 0x05);
    let mut served = user(&relay, "ann");
    assert_eq!(served.request_ip(origin.addr).rep, 0x00);
    assert_eq!(rep_of(&relay, "ann", &origin), 0x02);
}

/// A limit that many share must not be used up by one who is at his own.
#[test]
fn a_session_that_one_limit_refuses_counts_in_no_other() {
    let origin = Origin::echo();
    let relay = Relay::builder()
        .users(USERS)
        .set("limits", "per_user", "{ connections = 3, new_per_second = { rate = 1, burst = 3 } }")
        .set("limits", "per_source", "{ udp_associations = 1 }")
        .start();
    let mut held = user(&relay, "ann");
    assert_eq!(associate(&mut held, zeros(V4)).rep, 0x00);
    let refused: Vec<Client> = (0..5)
        .map(|_| {
            let mut client = user(&relay, "ann");
            assert_eq!(associate(&mut client, zeros(V4)).rep, 0x02);
            client
        })
        .collect();
    let records = relay.records(5);
    assert!(records.iter().all(|record| record["limit"] == "limits.per_source"), "{records:?}");
    assert_eq!(rep_of(&relay, "ann", &origin), 0x00);
    drop(refused);
}

/// How long a transfer of so many bytes takes each way with a limit that a second of it fills.
fn bytes_have_a_rate_each_way(engine: Engine) {
    let length: u64 = 3_000_000;
    let limit = "{ bandwidth = { rate = \"2MB\", burst = \"1MB\" } }";
    let start = || Relay::builder().engine(engine).set("limits", "per_source", limit).start();
    let expected = Duration::from_millis(1000);
    let check = |took: Duration, way: &str| {
        assert!(took >= expected.mul_f64(0.9), "{way} took {took:?}: too fast");
        assert!(took < PATIENCE, "{way} took {took:?}: too slow");
    };
    let (relay, source) = (start(), Origin::source(length));
    let begun = Instant::now();
    let mut down = Client::through(relay.addr(), source.addr);
    assert_eq!(down.recv_to_eof().len() as u64, length);
    check(begun.elapsed(), "down");
    let (relay, sink) = (start(), Origin::sink());
    let begun = Instant::now();
    let mut up = Client::through(relay.addr(), sink.addr);
    up.send(&vec![7; length as usize]);
    up.finish();
    up.expect_eof();
    check(begun.elapsed(), "up");
    assert_eq!(sink.swallowed(), length);
}
engines!(bytes_have_a_rate_each_way);

/// Two sessions of one user, on two workers as it may be, share the rate in equal parts.
fn sessions_of_a_user_share_the_rate(engine: Engine) {
    let source = Origin::source(u64::MAX);
    let relay = Relay::builder()
        .engine(engine)
        .workers(2)
        .users(USERS)
        .set("limits", "per_user", "{ bandwidth = { rate = \"1600kB\", burst = \"400kB\" } }")
        .start();
    let until = Instant::now() + Duration::from_secs(3);
    let fetch = |name: &'static str| {
        let (mut client, target) = (user(&relay, name), source.addr);
        thread::spawn(move || {
            assert_eq!(client.request_ip(target).rep, 0x00);
            let mut bytes = 0.0;
            while Instant::now() < until {
                bytes += client.recv(16 * 1024).len() as f64;
            }
            bytes
        })
    };
    let readers = [fetch("ann"), fetch("ann"), fetch("bob")];
    let [one, other, bob] = readers.map(|reader| reader.join().expect("a reader"));
    let (ann, least) = (one + other, one.min(other));
    assert!(least > 0.75 * one.max(other), "{one} and {other}");
    assert!((0.7..1.3).contains(&(bob / ann)), "{ann} and {bob}: another user has another rate");
}
engines!(sessions_of_a_user_share_the_rate);

/// What waits for its limit is not idle, and what is small is not held up.
fn a_limit_that_is_not_reached_is_not_felt(engine: Engine) {
    let origin = Origin::echo();
    let relay = Relay::builder()
        .engine(engine)
        .set("limits", "per_source", "{ bandwidth = { rate = \"1MB\", burst = \"1MB\" } }")
        .start();
    let mut client = Client::through(relay.addr(), origin.addr);
    let begun = Instant::now();
    for _ in 0..200 {
        client.send(b"ping");
        client.expect(b"ping");
    }
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}
engines!(a_limit_that_is_not_reached_is_not_felt);

#[test]
fn datagrams_have_a_rate() {
    let relay = Relay::builder()
        .set("[limit]", "name", "\"slow\"")
        .set("[limit]", "per", "\"source\"")
        .set("[limit]", "datagrams", "{ rate = 1, burst = 5 }")
        .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"slow\"]"])
        .start();
    let (association, target) = (Association::open(relay.addr()), Target::on(V4));
    for _ in 0..20 {
        association.send(target.addr, b"x");
    }
    target.expect(b"x");
    wait::until_true("the rest is dropped", PATIENCE, || {
        drops(&relay).get("limit").is_some_and(|n| *n >= 14)
    });
    drop(association);
    let record = relay.record();
    let up = record["datagrams_up"].as_u64().expect("a number");
    assert!((5..=6).contains(&up), "{record}");
}

/// A reload lowers a limit below what there is: nobody is ended, nobody comes. And it raises it again.
#[test]
fn a_reload_changes_what_a_limit_allows() {
    let origin = Origin::echo();
    let builder = Relay::builder().users(USERS).set("limits", "per_user", "{ connections = 2 }");
    let mut relay = builder.start();
    let mut held: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = user(&relay, "ann");
            assert_eq!(client.request_ip(origin.addr).rep, 0x00);
            client
        })
        .collect();
    relay.reload(&[("limits", "per_user", "{ connections = 1 }")]);
    for client in &mut held {
        client.send(b"ping");
        client.expect(b"ping");
    }
    assert_eq!(rep_of(&relay, "ann", &origin), 0x02);
    relay.reload(&[("limits", "per_user", "{ connections = 3 }")]);
    let mut third = user(&relay, "ann");
    assert_eq!(third.request_ip(origin.addr).rep, 0x00);
    assert_eq!(rep_of(&relay, "ann", &origin), 0x02);
    relay.reload(&[("limits", "per_user", "{ connections = 0 }")]);
    assert_eq!(rep_of(&relay, "ann", &origin), 0x00);
}

/// What waits for a rate that is raised goes on, and does not wait out the line of the old one.
fn a_reload_raises_a_rate_under_those_who_wait(engine: Engine) {
    let source = Origin::source(300_000);
    let slow = "{ new_per_second = { rate = 1, burst = 1000 }, bandwidth = { rate = 10, burst = 1000 } }";
    let mut relay = Relay::builder().engine(engine).set("limits", "per_source", slow).start();
    let mut client = Client::through(relay.addr(), source.addr);
    client.recv(1000);
    let fast = "{ new_per_second = { rate = 1000, burst = 10 }, bandwidth = \"10MB\" }";
    for _ in 0..50 {
        assert_eq!(Client::greeted(relay.addr()).request_ip(source.addr).rep, 0x00);
    }
    relay.reload(&[("limits", "per_source", fast)]);
    assert_eq!(Client::greeted(relay.addr()).request_ip(source.addr).rep, 0x00);
    let begun = Instant::now();
    let rest = client.recv_to_eof().len();
    assert!((298_000..=299_000).contains(&rest), "{rest}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
engines!(a_reload_raises_a_rate_under_those_who_wait);

/// A limit that is taken away holds up nobody any more, those who began under it neither.
fn a_reload_takes_a_limit_away_from_those_who_have_it(engine: Engine) {
    let source = Origin::source(300_000);
    let slow = "{ bandwidth = { rate = 10, burst = 1000 } }";
    let mut relay = Relay::builder().engine(engine).set("limits", "per_source", slow).start();
    let mut client = Client::through(relay.addr(), source.addr);
    client.recv(1000);
    relay.forget("limits", "per_source");
    relay.reload(&[]);
    let begun = Instant::now();
    for _ in 0..2_980 {
        client.recv(100);
        assert!(begun.elapsed() < PATIENCE, "it goes on at the rate that was");
    }
}
engines!(a_reload_takes_a_limit_away_from_those_who_have_it);
