//! Sockets that a service manager passes: which listener each is, what is said of the others, and what is left in the environment.

use std::fs;
use std::net::SocketAddr;

use crate::support::relay::Builder;
use crate::support::{Client, Engine, Origin, Relay, netns};

/// The server with these passed to it, as `pass.py` reads them.
fn passed(what: &[&str]) -> Builder {
    let mut command = vec!["python3", "-c", include_str!("support/pass.py")];
    command.extend(what);
    command.push("--");
    Relay::builder().under(&command)
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

#[test]
fn sockets_that_were_passed_are_the_listeners_that_are_configured_there() {
    netns::run(&test_name!(), "", || {
        for engine in [Engine::Copy, Engine::Splice] {
            let origin = Origin::echo();
            let relay = passed(&["a.socket=tcp:127.0.0.1:1080", "office=tcp:127.0.0.2:2000"])
                .engine(engine)
                .workers(2)
                .listeners(&[
                    "address = \"127.0.0.1:1080\"",
                    "name = \"office\"\naddress = \"127.0.0.1:0\"",
                    "address = \"127.0.0.1:1081\"",
                ])
                .start();
            let addresses = [at("127.0.0.1:1080"), at("127.0.0.2:2000"), at("127.0.0.1:1081")];
            assert_eq!(relay.addrs(), addresses);
            for address in addresses {
                for _ in 0..8 {
                    let mut client = Client::through(address, origin.addr);
                    client.send(b"through");
                    client.expect(b"through");
                }
            }
            assert!(!relay.log().contains("WARN"), "{}", relay.log());
        }
    });
}

/// One socket wakes every worker; where others may listen beside it each has one of its own.
#[test]
fn workers_have_sockets_of_their_own_where_the_port_may_be_shared() {
    netns::run(&test_name!(), "", || {
        let sockets = |name: &str| {
            let relay = passed(&[&format!("{name}=tcp:127.0.0.1:1080")])
                .workers(3)
                .listen(&["127.0.0.1:1080"])
                .start();
            let table = fs::read_to_string("/proc/net/tcp").expect("the table");
            let (ours, listening) = (": 0100007F:0438 ", " 0A ");
            let sockets =
                table.lines().filter(|line| line.contains(ours) && line.contains(listening)).count();
            drop(relay);
            sockets
        };
        assert_eq!((sockets("one"), sockets("shared+")), (1, 3));
    });
}

#[test]
fn what_is_no_listener_is_closed_and_said_by_its_name() {
    netns::run(&test_name!(), "", || {
        let relay = passed(&[
            "web=tcp:127.0.0.1:1080",
            "stray=tcp:127.0.0.1:1099",
            "datagrams=udp:127.0.0.1:53",
            "nothing=file",
        ])
        .listen(&["127.0.0.1:1080"])
        .start();
        for words in [
            ["descriptor 4 (stray)", "listens on 127.0.0.1:1099", "no listener of the configuration: closed"],
            ["descriptor 5 (datagrams)", "a socket of datagrams", "closed"],
            ["descriptor 6 (nothing)", "no socket", "closed"],
        ] {
            relay.logged(&[&["WARN"], &words[..]].concat());
        }
        Client::connect(relay.addr());
        assert!(std::net::TcpStream::connect("127.0.0.1:1099").is_err(), "nobody has it any more");
    });
}

#[test]
fn variables_that_make_no_sense_keep_the_server_from_starting() {
    netns::run(&test_name!(), "", || {
        for (wrong, said) in [
            (
                "LISTEN_FDS=7",
                "sockets that were passed cannot be taken: LISTEN_FDNAMES=web has 1 names, and LISTEN_FDS=7 is the number",
            ),
            ("LISTEN_FDS=-1", "sockets that were passed cannot be taken: LISTEN_FDS=-1: no such number"),
        ] {
            let output = passed(&["web=tcp:127.0.0.1:1080", wrong]).listen(&["127.0.0.1:1080"]).run_to_exit();
            assert_eq!(output.status.code(), Some(1));
            assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
        }
        let wrong = ["LISTEN_FDS=7", "LISTEN_FDNAMES=a:b:c:d:e:f:g"];
        let output = passed(&[&["web=tcp:127.0.0.1:1080"], &wrong[..]].concat()).run_to_exit();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("LISTEN_FDS=7 says that descriptors 3 to 9 were passed, and 4 was not"),
            "{said}"
        );
        // What is meant for another process is none of ours.
        let relay = passed(&["web=tcp:127.0.0.1:1080", "LISTEN_PID=1"]).listen(&["127.0.0.1:1081"]).start();
        assert_eq!(relay.addrs(), [at("127.0.0.1:1081")]);
    });
}

/// How often the workers of a server went to sleep so far.
fn sleeps(relay: &Relay) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", relay.pid())).expect("the threads");
    let of_worker = |task: std::path::PathBuf| {
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let status = fs::read_to_string(task.join("status")).ok().filter(|_| name.starts_with("worker"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    tasks.filter_map(|task| of_worker(task.expect("a thread").path())).sum()
}

/// What one socket of all workers costs: each connection wakes all of them, and with sockets of their own one.
#[test]
fn a_socket_of_all_workers_wakes_all_of_them() {
    netns::run(&test_name!(), "", || {
        const WORKERS: usize = 4;
        const CONNECTIONS: u64 = 200;
        let wakes = |builder: Builder| {
            let relay = builder.workers(WORKERS).listen(&["127.0.0.1:1080"]).start();
            let before = sleeps(&relay);
            for _ in 0..CONNECTIONS {
                // One that says nothing: a wake-up for it, and one for its end.
                drop(Client::connect(relay.addr()));
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            (sleeps(&relay) - before) as f64 / CONNECTIONS as f64
        };
        let (shared, own) = (wakes(passed(&["web=tcp:127.0.0.1:1080"])), wakes(Relay::builder()));
        println!(
            "---- wakes a connection of {WORKERS} workers: {shared:.1} with one socket, {own:.1} with their own"
        );
        assert!(shared > own + 1.0 && shared < own + WORKERS as f64 + 1.0, "{shared} {own}");
    });
}
