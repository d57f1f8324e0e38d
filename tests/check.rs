//! What `check` tries, against what `run` refuses: the same, in the same words, with file, line and key; and what it
//! leaves behind: nothing.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::relay::{binary, run_to_exit};
use crate::support::{Relay, netns};

/// Even root is refused what no mode bit permits.
const WITHOUT_PRIVILEGE: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

/// A folder with a configuration file in it.
struct Folder(TempDir);

/// What a command came to.
struct Said {
    code: Option<i32>,
    errors: String,
}

impl Folder {
    fn with(configuration: &str) -> Folder {
        let folder = Folder(TempDir::new().expect("a folder"));
        fs::write(folder.path("outflow.toml"), configuration).expect("write the configuration");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("list the folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn outflow(&self, command: &str, through: &[&str]) -> Said {
        let words: Vec<&str> = through.iter().copied().chain([binary(), command]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--config").arg(self.path("outflow.toml"));
        let output = run_to_exit(command);
        let errors =
            String::from_utf8_lossy(&output.stderr).replace(self.0.path().to_str().expect("UTF-8"), "");
        Said { code: output.status.code(), errors }
    }

    /// Both commands end with 1 and say exactly this.
    fn refused(&self, through: &[&str], complaint: &str) {
        for command in ["check", "run"] {
            let said = self.outflow(command, through);
            assert_eq!(said.code, Some(1), "{command}: {}", said.errors);
            assert_eq!(said.errors.trim_end(), complaint, "{command}");
        }
    }
}

#[test]
fn check_fails_where_run_refuses() {
    let refused = |configuration: &str, complaint: &str| {
        Folder::with(configuration).refused(&[], complaint);
    };
    refused(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[log]\naccess = \"none/a.jsonl\"\n",
        "/outflow.toml:4: [log] key `access`: cannot append to \"/none/a.jsonl\": No such file or directory (os error 2)",
    );
    refused(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[log]\n\naccess = \".\"\n",
        "/outflow.toml:5: [log] key `access`: cannot append to \"\": Is a directory (os error 21)",
    );
    refused(
        "[server]\nlisten = [\"127.0.0.1:0\"]\ncongestion = \"no-such-one\"\n",
        "/outflow.toml:3: [server] key `congestion`: this kernel does not give us \"no-such-one\": No such file or \
         directory (os error 2) (net.ipv4.tcp_available_congestion_control and tcp_allowed_congestion_control list what it has)",
    );
    refused(
        "[server]\nopen_proxy = true\nlisten = [\n  \"127.0.0.1:0\",\n  \"192.0.2.9:0\",\n]\n",
        "/outflow.toml:5: [server] key `listen`: cannot listen on 192.0.2.9:0: Cannot assign requested address (os error 99)",
    );
    refused(
        "[auth]\nmethods = [\"password\"]\nusers = \"none\"\n[server]\nlisten = [\"127.0.0.1:0\"]\n",
        "/outflow.toml:3: [auth] key `users`: /none: cannot read the users file: No such file or directory (os error 2)",
    );
}

/// All that can be known before anything is opened comes at once.
#[test]
fn every_problem_is_named_at_once() {
    let folder = Folder::with(
        "[server]\nlisten = [\"127.0.0.1:0\"]\ncongestion = \"no-such-one\"\n[auth]\nmethods = [\"password\"]\nusers = \"none\"\n",
    );
    for command in ["check", "run"] {
        let said = folder.outflow(command, &[]).errors;
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{command}: {said}");
        assert!(lines[0].contains("toml:3: [server] key `congestion`"), "{command}: {said}");
        assert!(lines[1].contains("toml:6: [auth] key `users`"), "{command}: {said}");
    }
}

/// A folder that may not be written to and a file that may not: what open(2) would say, without opening.
#[test]
fn check_fails_where_records_may_not_be_written() {
    let folder = Folder::with("[server]\nlisten = [\"127.0.0.1:0\"]\n[log]\naccess = \"logs/a.jsonl\"\n");
    let denied = "/outflow.toml:4: [log] key `access`: cannot append to \"/logs/a.jsonl\": Permission denied (os error 13)";
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
    };
    fs::create_dir(folder.path("logs")).expect("make a folder");
    mode("logs", 0o500);
    let refused = || {
        for command in ["check", "run"] {
            let said = folder.outflow(command, &WITHOUT_PRIVILEGE);
            assert_eq!(said.code, Some(1), "{command}: {}", said.errors);
            let whose = format!("{denied}, as user ");
            assert!(said.errors.starts_with(&whose) && said.errors.contains("`namei -l`"), "{}", said.errors);
        }
    };
    refused();
    mode("logs", 0o700);
    fs::write(folder.path("logs/a.jsonl"), "").expect("write a file");
    mode("logs/a.jsonl", 0o400);
    refused();
}

#[test]
fn check_leaves_nothing_behind() {
    let folder = Folder::with("[server]\nlisten = [\"127.0.0.1:0\"]\n[log]\naccess = \"a.jsonl\"\n");
    let said = folder.outflow("check", &[]);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""));
    assert_eq!(folder.names(), ["outflow.toml"]);
    fs::write(folder.path("a.jsonl"), "{}\n").expect("write a file");
    let before = fs::metadata(folder.path("a.jsonl")).expect("metadata").modified().expect("a time");
    assert_eq!(folder.outflow("check", &[]).code, Some(0));
    assert_eq!(fs::read(folder.path("a.jsonl")).expect("read"), b"{}\n");
    assert_eq!(fs::metadata(folder.path("a.jsonl")).expect("metadata").modified().expect("a time"), before);
}

/// Whoever checks before a restart has the server running: its own address is in use. For a start it is an error.
#[test]
fn a_running_server_passes_its_own_check() {
    let relay = Relay::start();
    let addr = relay.addr();
    let folder = Folder::with(&format!("[server]\n\nlisten = [\"{addr}\"]\n"));
    let said = folder.outflow("check", &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let warning = format!(
        "warning: /outflow.toml:3: [server] key `listen`: {addr} is in use: a server that runs already keeps another from it\n"
    );
    assert_eq!(said.errors, warning);
    let said = folder.outflow("run", &[]);
    assert_eq!(said.code, Some(1));
    let error = format!(
        "/outflow.toml:3: [server] key `listen`: cannot listen on {addr}: Address already in use (os error 98)\n"
    );
    assert_eq!(said.errors, error);
}

/// A list's file is tried, too, and what is probably a slip in the rules is a warning.
#[test]
fn check_reads_lists_and_names_slips_of_rules() {
    let folder = Folder::with(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[[list]]\nname = \"blocked\"\nfile = \"blocked.txt\"\n\
         [[rule]]\nname = \"office\"\nusers = [\"ann\"]\nnot_to = \"@blocked\"\naction = \"allow\"\n",
    );
    let key = "/outflow.toml:5: [[list]] 1 key `file`: /blocked.txt";
    folder.refused(&[], &format!("{key}: cannot be read: No such file or directory (os error 2)"));
    fs::write(folder.path("blocked.txt"), "a.example\n# b\nc d\n").expect("write the list");
    let what = "\"c d\" is no name, address or block of addresses: character ' '; did you mean \"d\"?";
    folder.refused(&[], &format!("{key}:3: {what}"));
    fs::write(folder.path("blocked.txt"), "# a.example\n").expect("write the list");
    folder.refused(
        &[],
        "/outflow.toml:9: [[rule]] 1 key `not_to`: the list \"@blocked\" has no entry, and a rule that allows everything by that \
         is not meant: give it one, if but \"none.invalid\"",
    );
    fs::write(folder.path("blocked.txt"), "a.example\n").expect("write the list");
    let said = folder.outflow("check", &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let slip = "warning: /outflow.toml:8: [[rule]] 1 key `users`: nobody logs in, and so nobody is \"ann\"\n";
    assert_eq!(said.errors, slip);
}

/// A flag has its own place, and a default says that it is one.
#[test]
fn a_problem_names_its_own_place() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let addr = taken.local_addr().expect("address").to_string();
    let mut command = Command::new(binary());
    command.args(["--listen", &addr]);
    let said = String::from_utf8(run_to_exit(command).stderr).expect("UTF-8");
    assert_eq!(said, format!("--listen: cannot listen on {addr}: Address already in use (os error 98)\n"));
    netns::run(&test_name!(), "true", || {
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 1080)).expect("bind");
        let said = String::from_utf8(run_to_exit(Command::new(binary())).stderr).expect("UTF-8");
        assert!(
            said.starts_with("[server] key `listen` (its default): cannot listen on 127.0.0.1:1080"),
            "{said}"
        );
    });
}

#[test]
fn check_warns_of_what_will_not_work_as_written() {
    let folder = Folder::with(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1000\nmax_connections = 1000000\n[dns]\nservers = [\n\"127.0.0.1\",\n\"fe80::1\"]\n",
    );
    let said = folder.outflow("check", &["prlimit", "--nofile=1000:1000"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    for warning in [
        "warning: /outflow.toml:3: [server] key `workers`: 1000 is more than the CPUs that may be used: ",
        "warning: /outflow.toml:3: [server] key `workers`: 1000 workers and the listeners need ",
        "warning: /outflow.toml:4: [server] key `max_connections`: 1000000 is more than can be had: ",
        "warning: /outflow.toml:8: [dns] key `servers`: nothing can be sent to [fe80::1]:53: Invalid argument",
    ] {
        assert!(said.errors.contains(warning), "{warning:?} is not in {}", said.errors);
    }
    assert_eq!(said.errors.lines().count(), 4, "{}", said.errors);
}

/// All of it had been taken in silence, and served otherwise than it reads.
#[test]
fn check_warns_of_keys_of_pools_parents_and_names_that_change_nothing() {
    netns::run(&test_name!(), "echo 40000 40999 > /proc/sys/net/ipv4/ip_local_port_range", || {
        let head = "[server]\nlisten = [\"127.0.0.1:0\"]\n[username]\nmax_ttl = \"1h\"\n";
        let egress = "[[egress]]\nname = \"nat\"\naddresses = [\"127.0.0.9\"]\ninterface = \"nosuch0\"\nreserve = 1000\n\
                      per_target = 2000\nfailover = 2\ntags = { area = \"de\" }\n";
        let parent = "[[parent]]\nname = \"up\"\nservers = { url = [\"socks5h://192.0.2.1\"] }\nwarm = 1\n";
        let rule = "[[rule]]\nname = \"r\"\naction = \"allow\"\nparent = \"up\"\negress = \"nat\"\n";
        let folder = Folder::with(&format!("{head}{egress}{parent}{rule}"));
        let said = folder.outflow("check", &[]);
        assert_eq!(said.code, Some(0), "{}", said.errors);
        for warning in [
            "warning: /outflow.toml:3: [username]: nothing is read from names: it has neither a `format` nor a `preset`",
            "warning: /outflow.toml:8: [[egress]] 1 key `interface`: there is no interface \"nosuch0\" here",
            "warning: /outflow.toml:9: [[egress]] 1 key `reserve`: 1000 ports are to be left free, and an address has 1000",
            "warning: /outflow.toml:10: [[egress]] 1 key `per_target`: 2000 connections are never reached",
            "warning: /outflow.toml:11: [[egress]] 1 key `failover`: 2 other addresses are to be tried, and there is no other",
            "warning: /outflow.toml:12: [[egress]] 1 key `tags`: no name asks for area: there is no [username]",
            "warning: /outflow.toml:15: [[parent]] 1 key `servers.url`: \"socks5h://192.0.2.1:1080\" is no chain, but one proxy",
            "warning: /outflow.toml:16: [[parent]] 1 key `warm`: no connection is kept ready",
        ] {
            assert!(said.errors.contains(warning), "{warning:?} is not in {}", said.errors);
        }
        assert_eq!(said.errors.lines().count(), 8, "{}", said.errors);
    });
}

/// Whoever named a namespace that is not there was told of a capability.
#[test]
fn a_network_namespace_that_is_not_there_is_said_to_be_so() {
    let refused = |netns: &str, what: &str| {
        let egress = format!("[[egress]]\nname = \"nat\"\naddresses = \"127.0.0.9\"\nnetns = \"{netns}\"\n");
        let complaint = format!("/outflow.toml:6: [[egress]] 1 key `netns`: {what}");
        let folder = Folder::with(&format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{egress}"));
        folder.refused(&[], &complaint);
    };
    let makes = "`ip netns add NAME` makes /run/netns/NAME";
    refused("nosuch", &format!("there is no network namespace /run/netns/nosuch: {makes}"));
    refused("/nowhere/at/all", &format!("there is no network namespace /nowhere/at/all: {makes}"));
    refused("/dev/null", "sockets cannot be opened in /dev/null: it is the file of no network namespace");
}

/// Both files of the system: names are still resolved, by what is left.
#[test]
fn check_warns_of_files_that_it_cannot_read() {
    netns::run(&test_name!(), "true", || {
        let folder = Folder::with("[server]\nlisten = [\"127.0.0.1:0\"]\n[dns]\nhosts = true\n");
        let unreadable = folder.path("unreadable");
        fs::write(&unreadable, "").expect("write a file");
        let hide = format!(
            "chmod 0 {0} && mount --bind {0} /etc/resolv.conf && mount --bind {0} /etc/hosts && exec \"$@\"",
            unreadable.display()
        );
        let through = ["unshare", "-m", "sh", "-c", &hide, "sh", WITHOUT_PRIVILEGE[0], WITHOUT_PRIVILEGE[1]];
        let said = folder.outflow("check", &through);
        assert_eq!(said.code, Some(0), "{}", said.errors);
        for warning in [
            "warning: /outflow.toml:4: [dns] key `hosts`: /etc/hosts cannot be read: Permission denied (os error 13)",
            "warning: [dns] key `servers` (its default): /etc/resolv.conf cannot be read: Permission denied (os error 13)",
        ] {
            assert!(said.errors.contains(warning), "{warning:?} is not in {}", said.errors);
        }
    });
}
