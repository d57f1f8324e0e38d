//! Start and end of the process: the ready line, what must not start, the drain (HAZARD 41).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::client::connect_ip;
use crate::support::origin::{V4, V6};
use crate::support::users;
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, Engine, Origin, Relay, netns};

const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn the_ready_line_says_where_the_server_listens() {
    let relay =
        Relay::builder().listen(&["127.0.0.1:0", "[::1]:0"]).workers(2).engine(Engine::Splice).start();
    let (four, six) = (relay.addrs()[0], relay.addrs()[1]);
    assert!(four.is_ipv4() && six.is_ipv6());
    let version = env!("CARGO_PKG_VERSION");
    let wanted =
        format!("outflow {version} ready: listening on {four}, {six}; 2 workers; relay splice; up to ");
    let rest = relay.ready.strip_prefix(&wanted).unwrap_or_else(|| panic!("{:?}", relay.ready));
    let (number, file) = rest.split_once(" sessions per worker; configuration ").expect("what it read");
    assert!(file.ends_with("/outflow.toml"), "{file}");
    assert!(number.parse::<u32>().expect("a number") > 0);
    let origin = Origin::echo();
    for addr in [four, six] {
        Client::through(addr, origin.addr);
    }
    assert!(relay.further_output().is_empty(), "one line on standard output");
    let one = Relay::builder().workers(1).set("server", "max_connections", "1").start();
    assert!(one.ready.contains("; 1 worker; relay"), "{}", one.ready);
    assert!(one.ready.contains("; up to 1 session per worker; configuration "), "{}", one.ready);
}

/// A wrong configuration is reported before any socket is opened: not the taken port is the complaint.
#[test]
fn a_wrong_configuration_does_not_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = taken.local_addr().expect("address").to_string();
    for (table, key, value, clue) in [
        ("server", "wrokers", "2", "workers"),
        ("server", "workers", "\"many\"", "workers"),
        ("server", "relay", "\"teleport\"", "splice"),
        ("timeouts", "idle", "\"soon\"", "idle"),
        ("timeout", "idle", "\"5s\"", "timeouts"),
        ("auth", "methods", "[\"pasword\"]", "password"),
        ("guard", "allow", "[\"10.0.0.0/99\"]", "allow"),
        ("dns", "servers", "[\"localhost\"]", "servers"),
    ] {
        let output = Relay::builder().listen(&[&port]).set(table, key, value).run_to_exit();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{table}.{key} = {value}: {complaint}");
        assert!(output.stdout.is_empty(), "{table}.{key} = {value}");
        assert!(complaint.contains("outflow.toml"), "{complaint}");
        assert!(complaint.contains(clue), "{complaint}");
        assert!(!complaint.to_lowercase().contains("in use"), "{complaint}");
    }
}

#[test]
fn a_taken_port_keeps_the_server_from_starting() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = taken.local_addr().expect("address").to_string();
    let output = Relay::builder().listen(&[&port]).run_to_exit();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&port));
}

/// A congestion control that the kernel does not have is named, with where to look for one that it has.
#[test]
fn an_unknown_congestion_control_is_named() {
    let output = Relay::builder().set("server", "congestion", "\"no-such-one\"").run_to_exit();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("no-such-one") && complaint.contains("tcp_available_congestion_control"));
    assert!(output.stdout.is_empty());
}

/// A listener that others can reach, method none and nothing that says so: no.
#[test]
fn an_open_proxy_does_not_start() {
    for wildcard in ["0.0.0.0:0", "[::]:0", "192.0.2.9:0"] {
        let output = Relay::builder().listen(&[wildcard]).run_to_exit();
        let complaint = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert_eq!(output.status.code(), Some(1), "{wildcard}: {complaint}");
        assert!(complaint.contains("open proxy") || complaint.contains("open_proxy"), "{complaint}");
        assert!(output.stdout.is_empty());
    }
}

/// What the wildcard of IPv6 listens on is what its users expect: both families, whatever other IPv4 address stands
/// beside it; its own family alone where the wildcard of IPv4 does.
#[test]
fn the_wildcard_keeps_ipv4_beside_one_address() {
    netns::run(&test_name!(), "ip addr add 10.9.9.9/32 dev lo", || {
        let relay = |addresses: &[&str]| {
            Relay::builder().listen(addresses).set("server", "open_proxy", "true").start()
        };
        let (v4, v6): (IpAddr, IpAddr) = ("10.9.9.9".parse().expect("an address"), V6);
        for addresses in [
            &["[::]:1080"][..],
            &["[::]:1080", "127.0.0.1:1081"],
            &["127.0.0.1:1081", "[::]:1080"],
            &["[::]:1080", "0.0.0.0:1080"],
            &["0.0.0.0:1080", "[::]:1080"],
            &["[::]:1080", "[::ffff:0.0.0.0]:1080"],
            &["[::ffff:0.0.0.0]:1080", "[::1]:1080"],
        ] {
            let mut relay = relay(addresses);
            for ip in [v4, V4, v6] {
                Client::greeted(SocketAddr::new(ip, 1080));
            }
            relay.signal("TERM");
            relay.wait_exit(PATIENCE);
        }
        let two = relay(&["[::]:0", "127.0.0.1:0"]);
        Client::greeted(SocketAddr::new(v4, two.addr().port()));
        Client::greeted(two.addrs()[1]);
    });
}

/// A listener that others can reach, with a password or with the word of the operator: it starts.
#[test]
fn a_protected_proxy_starts() {
    netns::run(&test_name!(), "true", || {
        let users: &[(&str, &[u8])] = &[("alice", b"wonderland")];
        Relay::builder().listen(&["0.0.0.0:0"]).users(users).start();
        Relay::builder().listen(&["0.0.0.0:0"]).set("server", "open_proxy", "true").start();
    });
}

/// `--users FILE` alone demands a password.
#[test]
fn a_users_file_on_the_command_line_demands_a_password() {
    let builder = Relay::builder();
    let line = [("alice".to_owned(), users::argon2id(b"wonderland"))];
    let path = users::write_file(builder.directory(), &line);
    let relay = builder.argument("--users").argument(path.to_str().expect("UTF-8")).start();
    let mut client = Client::connect(relay.addr());
    client.send(&[0x05, 0x01, 0x00]);
    client.expect(&[0x05, 0xff]);
    assert_eq!(Client::connect(relay.addr()).login(b"alice", b"wonderland"), 0x00);
}

/// HAZARD 41: live sessions are given the drain's time and no more; nobody new gets in.
fn the_drain_keeps_to_its_time(engine: Engine) {
    let origin = Origin::echo();
    let mut relay = Relay::builder().engine(engine).workers(2).timeout("drain", 1000).start();
    let mut live: Vec<Client> = (0..20).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    let (code, lasted) = timed(|| {
        relay.signal("TERM");
        wait::until_true("the listeners are closed", AT_ONCE, || TcpStream::connect(relay.addr()).is_err());
        for client in &mut live {
            client.send(b"ping");
            client.expect(b"ping");
        }
        relay.wait_exit(PATIENCE)
    });
    assert_eq!(code, Some(0));
    assert!((900..2000).contains(&lasted.as_millis()), "ended after {lasted:?}");
    live.iter_mut().for_each(Client::expect_closed);
    let records = relay.records_now();
    let drained = records.iter().filter(|r| r["reason"] == "drained").count();
    assert_eq!(drained, 20, "{records:#?}");
}
engines!(the_drain_keeps_to_its_time);

#[test]
fn an_idle_server_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let mut relay = Relay::builder().workers(2).start();
        relay.signal(signal);
        assert_eq!(relay.wait_exit(AT_ONCE), Some(0), "{signal}");
    }
}

/// HAZARD 41: the drain ends with the last session.
#[test]
fn the_drain_ends_with_the_last_session() {
    let (mut relay, origin) = (Relay::start(), Origin::echo());
    let mut client = Client::through(relay.addr(), origin.addr);
    relay.signal("TERM");
    wait::until_true("the listener is closed", AT_ONCE, || TcpStream::connect(relay.addr()).is_err());
    client.send(b"last words");
    client.finish();
    assert_eq!(client.recv_to_eof(), b"last words");
    assert_eq!(relay.wait_exit(AT_ONCE), Some(0));
    assert_eq!(relay.relayed_record()["reason"], "completed");
}

/// HAZARD 41: who was in the accept queue when the signal came is served.
#[test]
fn a_queued_client_is_served_during_the_drain() {
    let (mut relay, origin) = (Relay::builder().workers(2).start(), Origin::echo());
    relay.signal("STOP");
    let mut queued: Vec<Client> = (0..50)
        .map(|_| {
            let mut client = Client::connect(relay.addr());
            client.send(&[&[0x05, 0x01, 0x00][..], &connect_ip(origin.addr), b"queued"].concat());
            client.finish();
            client
        })
        .collect();
    relay.signal("TERM");
    relay.signal("CONT");
    for client in &mut queued {
        client.expect(&[0x05, 0x00]);
        assert_eq!(client.reply().rep, 0x00);
        assert_eq!(client.recv_to_eof(), b"queued");
    }
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    relay.records(50);
}

/// HAZARD 41: a second signal ends at once, and still every session leaves its record.
#[test]
fn a_second_signal_ends_at_once_with_every_record() {
    let (mut relay, origin) = (Relay::start(), Origin::echo());
    let _live = Client::through(relay.addr(), origin.addr);
    relay.signal("TERM");
    wait::until_true("the listener is closed", AT_ONCE, || TcpStream::connect(relay.addr()).is_err());
    assert!(relay.is_running());
    relay.signal("TERM");
    relay.wait_exit(AT_ONCE);
    assert_eq!(relay.relayed_record()["reason"], "drained");
}

/// A choice of congestion control saves CPU on loopback and no more: where the kernel refuses it there is a relay, and a
/// line.
#[test]
fn a_congestion_control_that_is_refused_costs_a_line_alone() {
    for rules in [&["set-congestion"][..], &["set-congestion", "get-congestion"]] {
        let relay = Relay::builder().refusing(rules).start();
        let origin = Origin::echo();
        let mut client = Client::through(relay.addr(), origin.addr);
        client.send(b"served");
        client.expect(b"served");
        let default =
            std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
        // A default that does not pace is left alone, which nobody refuses.
        if rules.len() == 2 || default.starts_with("bbr") {
            assert_eq!(relay.log().matches("congestion").count(), 1, "{}", relay.log());
        }
    }
}
