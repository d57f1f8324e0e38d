//! What somebody can do who has taken over a worker: as little as the configuration needs.
//!
//! Each attempt is made by a worker of a server within a process of its own, the test run once more: a call that the filter does not
//! know ends that process.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::execv;
use outflow::config::{Config, Dns64, Flags, Seccomp};
use outflow::control::Server;
use outflow::worker::Drill;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sandbox::{STRANGER, without_root};
use crate::support::Relay;
use crate::support::relay::binary;
use crate::support::skip::skip;
use crate::support::terminal::Terminal;

/// What tells a process of its part: the attempt, what becomes of unknown calls, and as whom.
const PART: &str = "OUTFLOW_TEST_ESCAPE";
const PATIENCE: Duration = Duration::from_secs(20);

/// How an attempt ends where unknown calls end the process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// By the filter.
    Killed,
    /// By an error: the call as such is one that the server makes, too.
    Refused,
}

struct Attempt {
    name: &'static str,
    ends: Ends,
    make: fn() -> Result<(), String>,
}

fn words(error: impl Display) -> String {
    error.to_string()
}

/// All are refused without the filter, too, by rights that the process has no more.
const ATTEMPTS: [Attempt; 10] = [
    Attempt {
        name: "another program",
        ends: Ends::Killed,
        make: || execv(c"/bin/true", &[c"true"]).map(drop).map_err(words),
    },
    Attempt {
        name: "another process",
        ends: Ends::Killed,
        make: || Command::new("/bin/true").status().map(drop).map_err(words),
    },
    Attempt {
        name: "hashes of passwords",
        ends: Ends::Refused,
        make: || File::open("/etc/shadow").map(drop).map_err(words),
    },
    Attempt {
        name: "a file of the system",
        ends: Ends::Refused,
        make: || OpenOptions::new().append(true).open("/etc/passwd").map(drop).map_err(words),
    },
    Attempt {
        name: "a file of its own making",
        ends: Ends::Refused,
        make: || File::create("/var/tmp/outflow-test-escape").map(drop).map_err(words),
    },
    Attempt {
        name: "another's port",
        ends: Ends::Refused,
        make: || TcpListener::bind("127.0.0.1:81").map(drop).map_err(words),
    },
    Attempt {
        name: "packets of all",
        ends: Ends::Killed,
        make: || Socket::new(Domain::PACKET, Type::RAW, None).map(drop).map_err(words),
    },
    Attempt {
        name: "packets of its own making",
        ends: Ends::Killed,
        make: || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).map(drop).map_err(words),
    },
    Attempt {
        name: "another's memory",
        ends: Ends::Refused,
        make: || File::open(format!("/proc/{}/environ", nix::unistd::getppid())).map(drop).map_err(words),
    },
    Attempt {
        name: "another network",
        ends: Ends::Killed,
        make: || unshare(CloneFlags::CLONE_NEWNET).map_err(words),
    },
];

/// Where the worker says what came of the attempt.
static MADE: OnceLock<(usize, Sender<Result<(), String>>)> = OnceLock::new();

/// Makes an attempt in a worker, says what came of it, and ends the process.
fn within(part: &str) -> ! {
    let mut words = part.split(' ');
    let nth: usize = words.next().and_then(|nth| nth.parse().ok()).expect("an attempt");
    // Asked for, so that it is in force wherever this machine's files stand.
    let text = "[sandbox]\nlandlock = true\n";
    let mut config = Config::parse(text, Path::new("/srv/outflow/outflow.toml"), &Flags::default())
        .expect("a configuration");
    config.server.listen = vec![std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()];
    config.server.workers = 1;
    config.server.pin = false;
    config.dns.dns64 = Dns64::Off;
    config.sandbox.seccomp = if words.next() == Some("kill") { Seccomp::Kill } else { Seccomp::Off };
    config.server.user = words.next().map(Into::into);
    let server = Server::start_confined(config).expect("the server starts");
    let (sender, made) = channel();
    MADE.set((nth, sender)).expect("one attempt");
    server.drill(
        0,
        Drill::Run(|| {
            let (nth, sender) = MADE.get().expect("an attempt");
            let _ = sender.send((ATTEMPTS[*nth].make)());
        }),
    );
    match made.recv_timeout(PATIENCE).expect("the worker makes it") {
        Ok(()) => println!("made"),
        Err(what) => println!("refused: {what}"),
    }
    std::process::exit(0);
}

/// Has a process of its own make an attempt; how it ended, and what it said.
fn attempted(test: &str, nth: usize, seccomp: &str, user: Option<&str>) -> (Option<i32>, String) {
    let part = [Some(nth.to_string().as_str()), Some(seccomp), user]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    let me = std::env::current_exe().expect("path of the test binary");
    let output = Command::new(me)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .stdin(Stdio::null())
        .output()
        .expect("run the test once more");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.signal(), said)
}

fn try_all(test: &str, user: Option<&str>) {
    for (nth, Attempt { name, ends, .. }) in ATTEMPTS.iter().enumerate() {
        let (signal, said) = attempted(test, nth, "off", user);
        assert!(signal.is_none() && said.contains("refused: "), "{name}: {signal:?}\n{said}");
        let (signal, said) = attempted(test, nth, "kill", user);
        match ends {
            Ends::Killed => assert_eq!(signal, Some(Signal::SIGSYS as i32), "{name}: {said}"),
            Ends::Refused => {
                assert!(signal.is_none() && said.contains("refused: "), "{name}: {signal:?}\n{said}");
            }
        }
    }
}

/// The files are Landlock's, which the kernel has to have.
pub(crate) fn without_landlock(test: &str) -> bool {
    let lacks = outflow::control::outlook(&Config::default()).contains("no Landlock");
    if lacks {
        skip(test, "this kernel has no Landlock");
    }
    lacks
}

#[test]
fn nothing_gets_out_of_a_server_of_ones_own() {
    if let Ok(part) = std::env::var(PART) {
        within(&part);
    }
    if !without_landlock(&test_name!()) {
        try_all(&test_name!(), None);
    }
}

#[test]
fn nothing_gets_out_of_a_server_that_root_started() {
    if let Ok(part) = std::env::var(PART) {
        within(&part);
    }
    if !without_landlock(&test_name!()) && !without_root(&test_name!()) {
        try_all(&test_name!(), Some(&format!("{STRANGER}:{STRANGER}")));
    }
}

/// The attempts are such that they succeed where nothing is given up: else they would show nothing.
#[test]
fn each_attempt_succeeds_outside() {
    if without_root(&test_name!()) {
        return;
    }
    // A program in the place of this one would end the tests, a port may be taken, and another network would be this thread's.
    let spared = ["another program", "another's port", "another network"];
    for Attempt { name, make, .. } in ATTEMPTS.iter().filter(|one| !spared.contains(&one.name)) {
        assert_eq!(make(), Ok(()), "{name}");
    }
    let _ = std::fs::remove_file("/var/tmp/outflow-test-escape");
}

/// The filters of system calls that all threads of a process have.
fn filters(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status.lines().find_map(|line| line.strip_prefix("Seccomp:")).expect("a field").trim().to_owned()
}

/// Who has taken over a server that root started from his shell could have typed there. Who has no terminal pays for no filter.
#[test]
fn a_server_on_a_terminal_alone_is_kept_from_typing_there() {
    let relay = Relay::builder().set("sandbox", "seccomp", "\"off\"").under(&["setsid"]).start();
    assert_eq!(filters(relay.pid()), "0");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("outflow.toml");
    std::fs::write(&config, "[server]\nlisten = [\"127.0.0.1:0\"]\n").expect("a configuration");
    let script = format!("echo is=$$; exec {} --config {}", binary(), config.display());
    let terminal = Terminal::start(&["sh", "-c", &script], &[], (200, 24));
    let row = terminal.shows(&["is="]);
    terminal.shows(&["ready: listening"]);
    let (_, pid) = row.split_once("is=").expect("its number");
    assert_eq!(filters(pid.trim().parse().expect("a number")), "2");
}
