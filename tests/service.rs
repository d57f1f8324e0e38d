//! The packaged service under a real systemd: start, reload, crash, restart, watchdog, sockets that systemd opens.
//!
//! Whoever connects is to be served, whatever becomes of the process meanwhile: that is what systemd keeps the sockets for.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::support::manager::Systemd;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::{Client, Origin, skip};

const RELAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1080);
const OTHER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1081);

/// Two workers, targets on this machine, a place for everything that the unit gives one.
const CONFIGURATION: &str = "[server]\nworkers = 2\nstate = \"/var/lib/outflow\"\n[guard]\nallow_private = true\n\
                             [dns]\ndns64 = \"off\"\n[admin]\nlisten = \"unix:/run/outflow/admin.sock\"\n\
                             [log]\naccess = \"/var/log/outflow/access.jsonl\"\n[timeouts]\ndrain = \"2s\"\n";

fn with_listeners(listen: &str) -> String {
    CONFIGURATION.replacen("[server]\n", &format!("[server]\nlisten = {listen}\n"), 1)
}

/// A systemd with the service, or none: the test is noted then.
fn systemd(test: &str, service: &str) -> Option<Systemd> {
    if let Some(why) = Systemd::lacking() {
        skip::leave_out(test, &why);
        return None;
    }
    Some(Systemd::start(CONFIGURATION, service))
}

/// A session through the relay, in the network of this systemd.
fn serves(systemd: &Systemd, relay: SocketAddr) {
    systemd.inside(|| {
        let origin = Origin::echo();
        let mut client = Client::through(relay, origin.addr);
        client.send(b"through");
        client.expect(b"through");
    });
}

#[test]
fn the_service_starts_reloads_and_ends_as_its_own_user() {
    let Some(systemd) = systemd("the_service_starts_reloads_and_ends_as_its_own_user", "") else { return };
    systemd.does(&["start", "outflow.service"]);
    assert_eq!(systemd.property("ActiveState"), "active");
    let status = systemd.property("StatusText");
    assert!(status.ends_with("; configuration /etc/outflow/outflow.toml"), "{status}");
    serves(&systemd, RELAY);

    let process = format!("/proc/{}/status", systemd.property("MainPID"));
    let process = fs::read_to_string(systemd.path(&process)).expect("the process");
    let field = |name: &str| process.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim();
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    for none in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(none), "0000000000000000", "{none}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1", "2"));
    let health =
        systemd.command(&["/run/program", "health", "--ready", "--admin", "unix:/run/outflow/admin.sock"]);
    assert!(crate::support::relay::run_to_exit(health).status.success());

    systemd.configure(&with_listeners("[\"127.0.0.1:1080\", \"127.0.0.1:1081\"]"));
    systemd.does(&["reload", "outflow.service"]);
    until_true("the new listener", PATIENCE, || systemd.listens(OTHER));
    serves(&systemd, OTHER);
    assert_eq!(systemd.property("ActiveState"), "active");

    let records = || fs::read_to_string(systemd.path("/var/log/outflow/access.jsonl")).expect("records");
    until_true("records", PATIENCE, || records().lines().count() >= 2);
    systemd.does(&["stop", "outflow.service"]);
    assert_eq!(
        (systemd.property("ActiveState"), systemd.property("Result")),
        ("inactive".into(), "success".into())
    );
    assert!(!systemd.listens(RELAY) && !systemd.listens(OTHER));
}

#[test]
fn a_process_that_stands_still_is_ended_and_another_started() {
    let test = "a_process_that_stands_still_is_ended_and_another_started";
    let Some(systemd) = systemd(test, "WatchdogSec=2\n") else { return };
    systemd.does(&["start", "outflow.service"]);
    serves(&systemd, RELAY);
    let first = systemd.property("MainPID");
    // It is fed: nothing happens in twice the time.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((systemd.property("MainPID"), systemd.property("NRestarts")), (first.clone(), "0".to_owned()));
    systemd.signal("STOP");
    systemd.awaits("NRestarts", "1");
    systemd.awaits("ActiveState", "active");
    assert_ne!(systemd.property("MainPID"), first);
    serves(&systemd, RELAY);
}
