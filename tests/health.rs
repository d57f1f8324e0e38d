//! `/healthz` and `/readyz` of a server that can serve, that cannot, and that can again, as `outflow health` tells it.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::relay::{Builder, binary, quoted, run_to_exit};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Origin, Relay};

/// A server with an endpoint, and how it is asked.
struct Watched {
    relay: Relay,
    socket: PathBuf,
}

impl Watched {
    fn start(builder: Builder) -> Watched {
        let socket = builder.directory().join("admin.sock");
        let address = format!("unix:{}", socket.display());
        let relay = builder.set("admin", "listen", &format!("[{}]", quoted(&address))).start();
        Watched { relay, socket }
    }

    /// What `outflow health` exits with and prints.
    fn health(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        command.arg("health").args(arguments).arg("--admin").arg(&self.socket);
        let output = run_to_exit(command);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).trim_end().to_owned())
    }

    fn readiness(&self) -> (Option<i32>, String) {
        self.health(&["--ready"])
    }

    fn is_ready(&self) -> bool {
        self.readiness() == (Some(0), "ready".to_owned())
    }

    fn await_ready(&self) {
        wait::until_true("the server is ready", PATIENCE, || self.is_ready());
    }

    fn await_unready(&self, why: &str) {
        let expected = (Some(1), why.to_owned());
        wait::until_true(&format!("not ready: {why}"), PATIENCE, || self.readiness() == expected);
        assert_eq!(self.health(&[]), (Some(0), "alive".to_owned()), "{why}");
    }
}

#[test]
fn a_server_is_alive_and_ready_until_it_drains() {
    let origin = Origin::echo();
    let mut watched = Watched::start(Relay::builder());
    assert_eq!(watched.health(&[]), (Some(0), "alive".to_owned()));
    watched.await_ready();
    let mut client = Client::through(watched.relay.addr(), origin.addr);
    watched.relay.signal("TERM");
    watched.await_unready("draining");
    client.send(b"ping");
    client.expect(b"ping");
    drop(client);
    assert_eq!(watched.relay.wait_exit(PATIENCE), Some(0));
    let (code, said) = watched.health(&[]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("outflow: nothing listens on unix:"), "{said}");
}

#[test]
fn a_server_at_its_ceiling_is_not_ready_until_a_session_ends() {
    let watched = Watched::start(Relay::builder().set("server", "max_connections", "1"));
    watched.await_ready();
    let client = Client::connect(watched.relay.addr());
    watched.await_unready("at the ceiling");
    drop(client);
    watched.await_ready();
}

#[test]
fn a_server_whose_name_servers_are_silent_is_not_ready_until_one_answers() {
    let answers = Arc::new(AtomicBool::new(false));
    let server = DnsServer::scripted({
        let answers = Arc::clone(&answers);
        move |query| match answers.load(Ordering::Relaxed) {
            true => vec![query.nxdomain()],
            false => Vec::new(),
        }
    });
    let origin = Origin::echo();
    let watched = Watched::start(Relay::builder().dns(&server).timeout("dns", 300));
    // Who is asked for addresses alone needs none.
    Client::through(watched.relay.addr(), origin.addr);
    watched.await_ready();
    let ask = |name: &str| {
        let mut client = Client::greeted(watched.relay.addr());
        assert_ne!(client.request_name(name.as_bytes(), 80).rep, 0);
    };
    ask("one.example");
    watched.await_unready("no working name server");
    answers.store(true, Ordering::Relaxed);
    ask("two.example");
    watched.await_ready();
}

/// The server itself goes on: sessions that could not leave a record are refused by it.
#[test]
fn a_server_that_must_record_and_cannot_is_not_ready_until_it_can() {
    let builder = Relay::builder().set("log", "on_full", "\"refuse\"");
    let file = builder.directory().join("records");
    symlink("/dev/full", &file).expect("a link");
    let watched = Watched::start(builder.set("log", "access", &quoted(file.to_str().expect("UTF-8"))));
    watched.await_ready();
    drop(Client::connect(watched.relay.addr()));
    watched.await_unready("records cannot be kept");
    std::fs::remove_file(&file).expect("remove the link");
    std::fs::write(&file, "").expect("a file");
    watched.await_ready();
}

/// Where records may be dropped a full disk is no reason to send clients elsewhere.
#[test]
fn a_server_that_may_drop_records_stays_ready() {
    let builder = Relay::builder();
    let file = builder.directory().join("records");
    symlink("/dev/full", &file).expect("a link");
    let watched = Watched::start(builder.set("log", "access", &quoted(file.to_str().expect("UTF-8"))));
    drop(Client::connect(watched.relay.addr()));
    watched.relay.logged(&["access records cannot be written"]);
    wait::throughout("ready", Duration::from_millis(2500), || watched.is_ready());
}
