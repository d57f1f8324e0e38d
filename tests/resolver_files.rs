//! The system's files that names are resolved with, and servers that need an interface.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::dns::{A, Query, Send};
use crate::support::origin::V4;
use crate::support::relay::Builder;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Origin, Relay, netns};

/// A resolv.conf and a hosts file that a relay takes for the system's.
struct Files(TempDir);

impl Files {
    fn with(conf: &str, hosts: &str) -> Files {
        let files = Files(TempDir::with_prefix("outflow-test-").expect("a temporary directory"));
        fs::write(files.conf(), conf).expect("write resolv.conf");
        fs::write(files.hosts(), hosts).expect("write the hosts file");
        files
    }

    fn conf(&self) -> PathBuf {
        self.0.path().join("resolv.conf")
    }

    fn hosts(&self) -> PathBuf {
        self.0.path().join("hosts")
    }

    fn relay(&self) -> Builder {
        let (conf, hosts) = (self.conf(), self.hosts());
        over(&format!(
            "mount --bind {} /etc/resolv.conf; mount --bind {} /etc/hosts",
            conf.display(),
            hosts.display()
        ))
    }
}

/// A relay that sees other files than we do.
fn over(mounts: &str) -> Builder {
    Relay::builder().under(&["unshare", "-m", "sh", "-ec", &format!("{mounts}; exec \"$@\""), "sh"])
}

fn known(query: &Query) -> Vec<Send> {
    vec![query.addresses(&[V4], 60)]
}

fn at(address: &str) -> DnsServer {
    DnsServer::at(address.parse::<SocketAddr>().expect("an address"), known)
}

fn ask(relay: &Relay, origin: &Origin, name: &str) -> u8 {
    Client::greeted(relay.addr()).request_name(name.as_bytes(), origin.addr.port()).rep
}

#[test]
fn a_resolv_conf_that_changes_is_read_again() {
    netns::run(&test_name!(), "", || {
        let (old, new) = (at("127.0.0.1:53"), at("127.0.0.2:53"));
        let files = Files::with("nameserver 127.0.0.1\n", "");
        let (relay, origin) = (files.relay().start(), Origin::echo());
        assert_eq!(ask(&relay, &origin, "kept.example"), 0x00);
        assert_eq!((old.asked("kept.example", A), new.queries().len()), (1, 0));
        fs::write(files.conf(), "nameserver 127.0.0.2\n").expect("write resolv.conf");
        let mut names = (0..).map(|n| format!("n{n}.example"));
        wait::until_true("the new server is asked", PATIENCE, || {
            assert_eq!(ask(&relay, &origin, &names.next().expect("a name")), 0x00);
            !new.queries().is_empty()
        });
        assert_eq!(ask(&relay, &origin, "kept.example"), 0x00);
        assert_eq!(new.asked("kept.example", A), 1, "what the old server said is forgotten");
        // A broken one, or none at all, is said and changes nothing.
        fs::write(files.conf(), "nameserver of.ours\n").expect("write resolv.conf");
        relay.logged(&["WARN", "/etc/resolv.conf", "\"of.ours\" is not an address"]);
        let before = old.queries().len();
        assert_eq!(ask(&relay, &origin, "later.example"), 0x00);
        assert_eq!((new.asked("later.example", A), old.queries().len()), (1, before));
    });
}

#[test]
fn a_hosts_file_that_changes_is_read_again() {
    netns::run(&test_name!(), "", || {
        let server =
            DnsServer::at("127.0.0.1:53".parse().expect("an address"), |query| vec![query.nxdomain()]);
        let files = Files::with("nameserver 127.0.0.1\n", "");
        let (relay, origin) = (files.relay().start(), Origin::echo());
        assert_eq!(ask(&relay, &origin, "other.test"), 0x04);
        fs::write(files.hosts(), "127.0.0.1 here.test\n").expect("write the hosts file");
        wait::until_true("the name is known", PATIENCE, || ask(&relay, &origin, "here.test") == 0x00);
        drop(server);
    });
}

#[test]
fn files_that_are_missing_or_broken_are_warned_of() {
    netns::run(&test_name!(), "", || {
        let (_server, origin) = (at("127.0.0.1:53"), Origin::echo());
        let relay = over("mount -t tmpfs none /etc").start();
        relay.logged(&["WARN", "/etc/resolv.conf", "there is no such file"]);
        assert_eq!(ask(&relay, &origin, "a.example"), 0x00, "the server of this machine is asked");
        let relay = over("mount -t tmpfs none /etc; mkdir /etc/resolv.conf /etc/hosts").start();
        relay.logged(&["WARN", "/etc/resolv.conf", "cannot be read"]);
        relay.logged(&["WARN", "/etc/hosts", "cannot be read"]);
        assert_eq!(ask(&relay, &origin, "a.example"), 0x00);
        let relay = over("mount -t tmpfs none /etc; mkfifo /etc/resolv.conf").start();
        relay.logged(&["WARN", "/etc/resolv.conf", "not a file"]);
        assert_eq!(ask(&relay, &origin, "a.example"), 0x00);
    });
}

const WIRE: &str = "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
    ip -6 addr add fe80::53/64 dev v0 nodad; ip -6 addr add fe80::54/64 dev v1 nodad";

/// `fe80::53` at interface v0.
fn scoped(port: u16) -> SocketAddr {
    let index = nix::net::if_::if_nametoindex("v0").expect("the index of v0");
    format!("[fe80::53%{index}]:{port}").parse().expect("an address")
}

#[test]
fn a_server_behind_an_interface_by_name_is_asked() {
    netns::run(&test_name!(), WIRE, || {
        let (server, origin) = (DnsServer::at(scoped(53), known), Origin::echo());
        let files = Files::with("nameserver fe80::1%none\nnameserver fe80::53%v0\n", "");
        let relay = files.relay().start();
        relay.logged(&["WARN", "fe80::1%none", "there is no such interface"]);
        assert_eq!(ask(&relay, &origin, "a.example"), 0x00);
        let relay = Relay::builder().set("dns", "servers", "[\"fe80::53%v0\"]").start();
        assert_eq!(ask(&relay, &origin, "b.example"), 0x00);
        assert_eq!((server.asked("a.example", A), server.asked("b.example", A)), (1, 1));
    });
}

#[test]
fn a_listener_at_an_interface_by_name_is_opened() {
    netns::run(&test_name!(), WIRE, || {
        let origin = Origin::echo();
        let listen = |address: &str| Relay::builder().listen(&[address]).set("server", "open_proxy", "true");
        let relay = listen("[fe80::53%v0]:0").start();
        assert_eq!(relay.addr().to_string(), scoped(relay.addr().port()).to_string());
        assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 0x00);
        let refused = listen("[fe80::53%v9]:0").run_to_exit();
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("cannot listen on [fe80::53%v9]:0: there is no such interface"), "{said}");
    });
}

#[test]
fn use_vc_is_heeded() {
    netns::run(&test_name!(), "", || {
        let (server, origin) = (at("127.0.0.1:53"), Origin::echo());
        let relay = Files::with("nameserver 127.0.0.1\noptions use-vc\n", "").relay().start();
        assert_eq!(ask(&relay, &origin, "a.example"), 0x00);
        assert!(server.queries().iter().all(|query| query.tcp));
    });
}
