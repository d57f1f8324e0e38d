//! A network of its own for one test: the test runs again, alone, inside `unshare -rn`.
//!
//! Inside, the test is root of an empty network namespace with only `lo`, up: routes, sysctls and addresses
//! can be set without touching the machine. `Far` is the rest of the world behind a wire; a gateway with a pool of addresses, and
//! what it is seen as out there:
//!
//!     netns::run(&test_name!(), "", || {
//!         let far = Far::open();
//!         far.pool(&["198.51.100.1", "198.51.100.2", "2600:c::/64"]);    // ours now, and it knows the way back
//!         let book = far.inside(SourceBook::open);                        // every address there, TCP and UDP: `crowd`
//!         let relay = Relay::builder().start();                           // here; `far.gateway()` is another machine
//!         ...
//!     });
//!
//! All of it ends with its processes, which `LIFE_MAX` bounds: namespaces and wires have no name outside.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;

use super::skip;

const INSIDE: &str = "OUTFLOW_TEST_IN_NAMESPACE";
/// For so long a test and whatever it started may run there; then all of it is killed.
const LIFE_MAX: Duration = Duration::from_secs(300);
/// What `skip` says in the end of a single test, before the reason.
pub(crate) const ONE_NOT_RUN: &str = "not run: 1 of the tests: ";

/// From the type name of a function nested in a test to the path of that test.
pub(crate) fn test_path(nested: &'static str) -> String {
    let outer = nested.rsplit_once("::").map_or(nested, |(outer, _)| outer);
    let outer = outer.trim_end_matches("::{{closure}}");
    outer.split_once("::").map_or(outer, |(_crate, path)| path).to_owned()
}

/// Runs `body` in a fresh network namespace after the shell commands in `setup`.
///
/// `test` is `test_name!()`. Where namespaces are not permitted the test is skipped.
pub(crate) fn run(test: &str, setup: &str, body: impl FnOnce()) {
    run_within(LIFE_MAX, test, setup, body);
}

/// `run` for a test that may take longer.
pub(crate) fn run_within(life: Duration, test: &str, setup: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside(setup, body);
    }
    match lacking() {
        Some(why) => skip::skip(test, &why),
        None => again(life, test, "-rn"),
    }
}

/// `run` for programs that change their groups or users, which a user namespace forbids: only root can make the network alone.
pub(crate) fn run_as_root(test: &str, setup: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside(setup, body);
    }
    match lacking() {
        Some(why) => skip::skip(test, &why),
        None if !geteuid().is_root() => skip::skip(test, "it needs root"),
        None => again(LIFE_MAX, test, "-n"),
    }
}

fn inside(setup: &str, body: impl FnOnce()) {
    shell(&format!("set -e; ip link set lo up; {setup}"));
    body();
}

/// Runs the test once more, alone, in namespaces by these flags of unshare.
fn again(life: Duration, test: &str, namespaces: &str) {
    let me = std::env::current_exe().expect("path of the test binary");
    // It is a group of its own and kills the whole of it, the servers among them.
    let output = Command::new("timeout")
        .args(["--kill-after=5", &life.as_secs().to_string(), "unshare", namespaces])
        .arg(me)
        .args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("run timeout");
    assert!(output.status.code() != Some(124), "{test} was not over after {life:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} failed inside the namespace\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{test} is not the path of a test:\n{stdout}");
    // It may have found there that something else lacks.
    for why in stderr.lines().filter_map(|line| line.strip_prefix(ONE_NOT_RUN)) {
        skip::skip(test, why);
    }
}

/// Runs a command line inside the namespace and insists on its success.
pub(crate) fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().expect("run sh");
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// What lacks to have a network namespace here, if anything does.
pub(crate) fn lacking() -> Option<String> {
    let said = |line: &[&str]| {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).output().map(|output| output.status.success())
    };
    match (said(&["unshare", "--version"]), said(&["ip", "-V"])) {
        (Err(_), _) => Some("unshare is not installed (package util-linux)".to_owned()),
        (_, Err(_)) => Some("ip is not installed (package iproute2)".to_owned()),
        _ => match said(&["unshare", "-rn", "ip", "link", "set", "lo", "up"]) {
            Ok(true) => None,
            _ => Some("user and network namespaces are not permitted here".to_owned()),
        },
    }
}

/// Another machine: a network namespace that lasts as long as this does, or a process or socket in it.
pub(crate) struct Machine(File);

impl Machine {
    /// One with nothing but `lo`, up.
    pub(crate) fn new() -> Machine {
        let namespace = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("another namespace");
            File::open("/proc/thread-self/ns/net").expect("the namespace")
        });
        let machine = Machine(namespace.join().expect("the thread that made the namespace"));
        machine.shell(&format!("set -e; {NO_DAD}; ip link set lo up"));
        machine
    }

    /// A path by which commands and configurations can name its namespace while this lasts.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// What runs there, and the sockets and processes that it makes. To be bound to, an IPv6 address must be an interface's.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter the other namespace");
            act()
        };
        thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a command line there and insists on its success.
    pub(crate) fn shell(&self, line: &str) {
        self.inside(|| shell(line));
    }
}

/// Another machine, at the other end of a wire: it takes every address for its own, and all of them lead there but those
/// of this namespace.
pub(crate) struct Far {
    machine: Machine,
    /// Wires that were laid beside the first.
    gateways: AtomicU8,
}

/// This side of the wire, in either family.
pub(crate) const NEAR_V4: &str = "25.0.0.1";
pub(crate) const NEAR_V6: &str = "2a0f::1";

/// A machine that reaches everything through a wire of its own, as this namespace does.
pub(crate) struct Gateway {
    pub(crate) machine: Machine,
    nth: u8,
}

/// Addresses are good at once: a second would go by before a link-local one may ask for a neighbour.
const NO_DAD: &str = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";

impl Far {
    /// Lays the wire.
    pub(crate) fn open() -> Far {
        let far = Far { machine: Machine::new(), gateways: AtomicU8::new(0) };
        far.lay(0, None);
        far.machine.shell("set -e; ip route add local 0.0.0.0/0 dev lo; ip -6 route add local ::/0 dev lo");
        far
    }

    /// The wire of this number between there and a machine, or this namespace. Its addresses are 25.0.nth.0/30 and
    /// 2a0f:0:0:nth::/64, its ends are `near` and `far<nth>`.
    fn lay(&self, nth: u8, near: Option<&Machine>) {
        let (far_end, place) = (format!("far{nth}"), self.machine.path());
        let lay = format!(
            "set -e; {NO_DAD}; ip link add near type veth peer name {far_end}; ip link set {far_end} netns {place}
            ip addr add 25.0.{nth}.1/30 dev near; ip -6 addr add 2a0f:0:0:{nth:x}::1/64 dev near nodad
            ip link set near up"
        );
        let lead =
            format!("ip route add default via 25.0.{nth}.2; ip -6 route add default via 2a0f:0:0:{nth:x}::2");
        let near_shell = |line: &str| near.map_or_else(|| shell(line), |near| near.shell(line));
        near_shell(&lay);
        self.machine.shell(&format!(
            "set -e; ip addr add 25.0.{nth}.2/30 dev {far_end}
            ip -6 addr add 2a0f:0:0:{nth:x}::2/64 dev {far_end} nodad; ip link set {far_end} up
            ip route add 25.0.{nth}.0/30 dev {far_end} table local
            ip -6 route add 2a0f:0:0:{nth:x}::/64 dev {far_end} table local"
        ));
        near_shell(&format!("set -e; {lead}"));
    }

    /// Lays another wire beside the first, which nothing goes by until it is led there: its ends are `beside` and `farbeside`, and
    /// the addresses of its far end are given.
    pub(crate) fn lay_beside(&self) -> [&'static str; 2] {
        shell(&format!(
            "set -e; ip link add beside type veth peer name farbeside; ip link set farbeside netns {}
            ip addr add 25.0.255.1/30 dev beside; ip -6 addr add 2a0f:0:0:ff::1/64 dev beside nodad
            ip link set beside up",
            self.machine.path()
        ));
        self.shell(
            "set -e; ip addr add 25.0.255.2/30 dev farbeside
            ip -6 addr add 2a0f:0:0:ff::2/64 dev farbeside nodad; ip link set farbeside up
            ip route add 25.0.255.0/30 dev farbeside table local
            ip -6 route add 2a0f:0:0:ff::/64 dev farbeside table local",
        );
        ["25.0.255.2", "2a0f:0:0:ff::2"]
    }

    /// The number of an interface there.
    pub(crate) fn interface(&self, name: &str) -> usize {
        self.inside(|| if_nametoindex(name).expect("an interface of that name") as usize)
    }

    /// What runs there, and the sockets that it makes. To be bound to, an IPv6 address must be an interface's.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.machine.inside(act)
    }

    /// Runs a command line there and insists on its success.
    pub(crate) fn shell(&self, line: &str) {
        self.machine.shell(line);
    }

    /// Gives this namespace addresses and blocks (by AnyIP), and has what is sent to them come here.
    pub(crate) fn pool(&self, blocks: &[&str]) {
        blocks.iter().for_each(|block| shell(&own(block)));
        self.lead(0, blocks);
    }

    /// Has what is sent to these addresses and blocks come here, whether they are ours or not.
    pub(crate) fn lead_here(&self, blocks: &[&str]) {
        self.lead(0, blocks);
    }

    /// Another gateway beside this namespace, with a wire of its own.
    pub(crate) fn gateway(&self) -> Gateway {
        let nth = self.gateways.fetch_add(1, Ordering::Relaxed) + 1;
        let gateway = Gateway { machine: Machine::new(), nth };
        self.lay(nth, Some(&gateway.machine));
        gateway
    }

    /// Gives a gateway addresses and blocks, and has what is sent to them come there: no longer here, where they were here.
    pub(crate) fn pool_at(&self, gateway: &Gateway, blocks: &[&str]) {
        blocks.iter().for_each(|block| gateway.machine.shell(&own(block)));
        self.lead(gateway.nth, blocks);
    }

    fn lead(&self, nth: u8, blocks: &[&str]) {
        for block in blocks {
            // In that table, for there everything else is its own.
            self.shell(&match block.contains(':') {
                true => {
                    format!("ip -6 route replace {block} via 2a0f:0:0:{nth:x}::1 dev far{nth} table local")
                }
                false => format!("ip route replace {block} via 25.0.{nth}.1 dev far{nth} table local"),
            });
        }
    }
}

/// The command by which an address or a block becomes a machine's own.
fn own(block: &str) -> String {
    match (block.contains('/'), block.contains(':')) {
        (true, true) => format!("ip -6 route replace local {block} dev lo"),
        (true, false) => format!("ip route replace local {block} dev lo"),
        (false, true) => format!("ip -6 addr replace {block}/128 dev near nodad"),
        (false, false) => format!("ip addr replace {block}/32 dev near"),
    }
}
