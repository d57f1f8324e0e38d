//! The packaged service under a real systemd: start, reload, crash, restart, watchdog, sockets that systemd opens.
//!
//! Whoever connects is to be served, whatever becomes of the process meanwhile: that is what systemd keeps the sockets for.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use crate::support::manager::Systemd;
use crate::support::relay::run_to_exit;
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
    assert!(run_to_exit(health).status.success());

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
fn whoever_connects_while_it_is_down_is_served_afterwards() {
    let test = "whoever_connects_while_it_is_down_is_served_afterwards";
    let Some(systemd) = systemd(test, "RestartSec=2\n") else { return };
    systemd.does(&["start", "outflow.service"]);
    systemd.awaits("NFileDescriptorStore", "2");
    let first = systemd.property("MainPID");
    systemd.signal("KILL");
    systemd.awaits("ActiveState", "activating");
    systemd.inside(|| {
        let origin = Origin::echo();
        let waiting: Vec<Client> = (0..8).map(|_| Client::connect(RELAY)).collect();
        for mut client in waiting {
            client.greet_none();
            assert_eq!(client.request_ip(origin.addr).rep, 0);
        }
    });
    assert_eq!(systemd.property("NRestarts"), "1");
    assert_ne!(systemd.property("MainPID"), first);
    systemd.awaits("NFileDescriptorStore", "2");

    // A restart, with a session that keeps the old process for the drain's time.
    systemd.inside(|| {
        let origin = Origin::echo();
        let session = Client::through(RELAY, origin.addr);
        std::thread::scope(|scope| {
            let restart = scope.spawn(|| systemd.does(&["restart", "outflow.service"]));
            systemd.awaits("ActiveState", "deactivating");
            let mut client = Client::connect(RELAY);
            client.greet_none();
            assert_eq!(client.request_ip(origin.addr).rep, 0, "by the next process");
            restart.join().expect("the restart");
        });
        drop(session);
    });

    // One that goes with a reload is kept no more, and one that comes is.
    systemd.configure(&with_listeners("[\"127.0.0.1:1081\"]"));
    systemd.does(&["reload", "outflow.service"]);
    until_true("the new listener", PATIENCE, || systemd.listens(OTHER) && !systemd.listens(RELAY));
    systemd.awaits("NFileDescriptorStore", "2");
    // Who drains by hand refuses at once, for good or until it is undone.
    let drain = |arguments: &[&str]| {
        let words =
            [&["/run/program", "drain", "--admin", "unix:/run/outflow/admin.sock"], arguments].concat();
        let output = run_to_exit(systemd.command(&words));
        assert!(output.status.success(), "{output:?}");
    };
    drain(&[]);
    until_true("nobody listens", PATIENCE, || !systemd.listens(OTHER));
    systemd.awaits("NFileDescriptorStore", "0");
    drain(&["--undo"]);
    serves(&systemd, OTHER);
    systemd.awaits("NFileDescriptorStore", "2");
}

/// Behind a stop nobody comes: whoever connects is refused at once, while sessions have the drain's time.
#[test]
fn a_stop_keeps_nobody_waiting() {
    let Some(systemd) = systemd("a_stop_keeps_nobody_waiting", "") else { return };
    systemd.does(&["start", "outflow.service"]);
    systemd.awaits("NFileDescriptorStore", "2");
    systemd.inside(|| {
        let origin = Origin::echo();
        let mut session = Client::through(RELAY, origin.addr);
        std::thread::scope(|scope| {
            let stop = scope.spawn(|| systemd.does(&["stop", "outflow.service"]));
            systemd.awaits("ActiveState", "deactivating");
            until_true("nobody listens", PATIENCE, || std::net::TcpStream::connect(RELAY).is_err());
            assert_eq!(systemd.property("ActiveState"), "deactivating", "the session has its time");
            session.send(b"there yet");
            session.expect(b"there yet");
            drop(session);
            stop.join().expect("the stop");
        });
    });
    assert_eq!(systemd.property("Result"), "success");
}

#[test]
fn a_process_that_stands_still_is_ended_and_another_started() {
    let test = "a_process_that_stands_still_is_ended_and_another_started";
    let Some(systemd) = systemd(test, "WatchdogSec=5\n") else { return };
    systemd.does(&["start", "outflow.service"]);
    serves(&systemd, RELAY);
    let first = systemd.property("MainPID");
    systemd.signal("STOP");
    systemd.awaits("NRestarts", "1");
    systemd.awaits("ActiveState", "active");
    assert_ne!(systemd.property("MainPID"), first);
    serves(&systemd, RELAY);
}

/// What an upgrade of the package does: another file at the program's path, and a reload.
#[test]
fn a_reload_behind_an_upgrade_has_the_new_program_take_over() {
    let test = "a_reload_behind_an_upgrade_has_the_new_program_take_over";
    let Some(systemd) = systemd(test, "ExecStart=\nExecStart=/run/bin/outflow run\n") else { return };
    let installs = "mkdir -p /run/bin && cp /run/program /run/bin/new && mv /run/bin/new /run/bin/outflow";
    let install = || assert!(run_to_exit(systemd.command(&["sh", "-c", installs])).status.success());
    install();
    let takeover = "[server]\ntakeover = \"/run/outflow/takeover.sock\"\n";
    systemd.configure(&CONFIGURATION.replacen("[server]\n", takeover, 1));
    systemd.does(&["start", "outflow.service"]);
    let first = systemd.property("MainPID");
    systemd.inside(|| {
        let origin = Origin::echo();
        let mut session = Client::through(RELAY, origin.addr);
        install();
        systemd.does(&["reload", "outflow.service"]);
        until_true("the new program", PATIENCE, || systemd.property("MainPID") != first);
        systemd.awaits("ActiveState", "active");
        session.send(b"goes on");
        session.expect(b"goes on");
        Client::through(RELAY, origin.addr);
        let second = systemd.property("MainPID");
        // The new one's listeners are kept as the old one's were, and its end is noticed, though the old one is there yet.
        systemd.awaits("NFileDescriptorStore", "2");
        systemd.signal("KILL");
        systemd.awaits("NRestarts", "1");
        Client::through(RELAY, origin.addr);
        assert_ne!(systemd.property("MainPID"), second);
    });
    systemd.does(&["stop", "outflow.service"]);
    assert_eq!(systemd.property("Result"), "success");
}

#[test]
fn a_socket_of_systemd_is_the_listener_that_is_configured_there() {
    let test = "a_socket_of_systemd_is_the_listener_that_is_configured_there";
    let Some(systemd) = systemd(test, "") else { return };
    systemd.does(&["start", "outflow.socket", "outflow-admin.socket"]);
    assert_eq!(systemd.property("ActiveState"), "inactive");
    // Who connects has it started.
    serves(&systemd, RELAY);
    systemd.awaits("ActiveState", "active");
    assert_eq!(systemd.property("NFileDescriptorStore"), "0", "systemd has them already");
    let health = || {
        let words = ["/run/program", "health", "--ready", "--admin", "unix:/run/outflow/admin.sock"];
        run_to_exit(systemd.command(&words)).status.success()
    };
    assert!(health());
    let first = systemd.property("MainPID");
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| systemd.does(&["restart", "outflow.service"]));
        while !restart.is_finished() {
            assert!(systemd.listens(RELAY), "nobody is refused meanwhile");
        }
    });
    assert_ne!(systemd.property("MainPID"), first);
    serves(&systemd, RELAY);
    assert!(health());
    // More came meanwhile than a machine that does other things may serve.
    let of_load = ["more clients come than are served", "reset connections that had waited too long"];
    let log = systemd.log();
    let warned = |line: &str| line.contains("WARN") && !of_load.iter().any(|known| line.contains(known));
    assert!(!log.lines().any(warned), "{log}");
}

#[test]
fn instances_serve_side_by_side_out_of_folders_of_their_own() {
    let test = "instances_serve_side_by_side_out_of_folders_of_their_own";
    let Some(systemd) = systemd(test, "") else { return };
    let unit = |name: &str| format!("outflow@{name}.service");
    let records = |name: &str| {
        let path = systemd.path(&format!("/var/log/outflow/{name}/access.jsonl"));
        fs::read_to_string(path).expect("records").lines().count()
    };
    for (name, relay) in [("one", RELAY), ("two", OTHER)] {
        let mut configuration = with_listeners(&format!("[\"{relay}\"]"));
        for folder in ["/var/lib/outflow", "/run/outflow", "/var/log/outflow"] {
            configuration = configuration.replacen(folder, &format!("{folder}/{name}"), 1);
        }
        fs::write(systemd.path(&format!("/etc/outflow/{name}.toml")), configuration).expect("write");
        systemd.does(&["start", &unit(name)]);
    }
    serves(&systemd, RELAY);
    serves(&systemd, OTHER);
    systemd.does(&["stop", &unit("one")]);
    assert!(!systemd.listens(RELAY));
    serves(&systemd, OTHER);
    systemd.does(&["stop", &unit("two")]);
    assert_eq!((records("one"), records("two")), (1, 2));
    for name in ["one", "two"] {
        assert!(systemd.path(&format!("/var/lib/outflow/{name}")).is_dir());
        assert!(!systemd.path(&format!("/run/outflow/{name}/admin.sock")).exists());
    }
}
