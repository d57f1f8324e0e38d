//! The examples of packaging/haproxy and packaging/keepalived, the files as they stand: two balancers with one address for clients,
//! two relays behind them, each in a machine of its own.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::netns::{self, Machine, shell};
use crate::support::relay::{binary, run_to_exit};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Origin, client, skip, users};

/// What clients are given, and whence they come.
const CLIENTS_GO_TO: &str = "192.0.2.10:1080";
const CLIENT: &str = "198.51.100.7";
const TARGET: &str = "203.0.113.9";
/// Names and addresses, as the examples have them.
const BALANCERS: [(&str, &str); 2] = [("lb1", "192.0.2.11"), ("lb2", "192.0.2.12")];
const RELAYS: [(&str, &str); 2] = [("relay1", "192.0.2.21"), ("relay2", "192.0.2.22")];
const TOKEN: &str = "a-token-of-sixteen-or-more";

/// A process that ends with the value: by SIGTERM, so that it ends its own children, too.
struct Running(Child);

impl Running {
    fn start(machine: &Machine, command: &mut Command) -> Running {
        command.stdin(Stdio::null()).stderr(Stdio::null());
        Running(machine.inside(|| command.spawn()).unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file)
}

/// A machine at the switch that all of them share with this one, which is their way to clients and targets.
fn at_the_switch(name: &str, address: &str) -> Machine {
    let machine = Machine::new();
    shell(&format!(
        "set -e; ip link add {name} type veth peer name {name}-far; ip link set {name} master switch up
        ip link set {name}-far netns {}",
        machine.path()
    ));
    machine.shell(&format!(
        "set -e; ip link set {name}-far name eth0; ip addr add {address}/24 dev eth0; ip link set eth0 up
        ip route add default via 192.0.2.1"
    ));
    machine
}

/// A relay with the example's configuration, and the user and the token that it asks for.
struct Served {
    directory: TempDir,
    address: &'static str,
    _process: Running,
    _machine: Machine,
}

impl Served {
    fn start(name: &str, address: &'static str, engine: Engine) -> Served {
        let directory = TempDir::with_prefix("outflow-front-").expect("a directory");
        let at = |file: &str| directory.path().join(file);
        fs::copy(example("haproxy/outflow.toml"), at("outflow.toml")).expect("the configuration");
        users::write_file(directory.path(), &[("ann".to_owned(), users::argon2id(b"secret"))]);
        fs::write(at("admin.token"), TOKEN).expect("the token");
        shell(&format!("chmod 600 {}", at("admin.token").display()));
        let machine = at_the_switch(name, address);
        let mut command = Command::new(binary());
        command.args(["run", "--allow-private", "--workers", "1", "--relay", engine.name(), "--access"]);
        command.arg(at("access.jsonl")).arg("--config").arg(at("outflow.toml")).stdout(Stdio::piped());
        let mut process = Running::start(&machine, &mut command);
        let mut ready = String::new();
        let stdout = process.0.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut ready).expect("a line");
        assert!(ready.contains("listening"), "{name}: {ready:?}");
        Served { directory, address, _process: process, _machine: machine }
    }

    /// The sessions that led somewhere: who the client was, and by which balancer he came.
    fn sessions(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.directory.path().join("access.jsonl")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let records = whole.map(|line| serde_json::from_str(line).expect("a record"));
        let relayed = records.filter(|record: &Value| record["reply"] == 0);
        let host =
            |value: &Value| value.as_str().and_then(|at| at.split(':').next()).unwrap_or("").to_owned();
        relayed.map(|record| (host(&record["client"]), host(&record["proxy_peer"]))).collect()
    }

    fn drain(&self) {
        let mut command = Command::new(binary());
        command.args(["drain", "--admin", &format!("{}:9180", self.address), "--token-file"]);
        let output = run_to_exit({
            command.arg(self.directory.path().join("admin.token"));
            command
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A balancer: HAProxy and keepalived of one machine.
struct Balancer {
    address: &'static str,
    haproxy: Option<Running>,
    _keepalived: Running,
    _directory: TempDir,
    _machine: Machine,
}

impl Balancer {
    fn start(name: &str, address: &'static str) -> Balancer {
        let directory = TempDir::with_prefix("outflow-front-").expect("a directory");
        let machine = at_the_switch(name, address);
        let mut haproxy = Command::new("/usr/sbin/haproxy");
        haproxy.args(["-db", "-q", "-f"]).arg(example("haproxy/haproxy.cfg")).stdout(Stdio::null());
        let haproxy = Running::start(&machine, &mut haproxy);
        let mut keepalived = Command::new("/usr/sbin/keepalived");
        keepalived.args(["--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--config-id", name]);
        keepalived.arg("--use-file").arg(example("keepalived/keepalived.conf")).stdout(Stdio::null());
        keepalived.arg("--pid").arg(directory.path().join("pid"));
        keepalived.arg("--vrrp_pid").arg(directory.path().join("vrrp.pid"));
        let keepalived = Running::start(&machine, &mut keepalived);
        let haproxy = Some(haproxy);
        Balancer { address, haproxy, _keepalived: keepalived, _directory: directory, _machine: machine }
    }
}

/// A session of ann's to the target.
fn session(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source: SocketAddr = format!("{CLIENT}:0").parse().expect("an address");
    socket.bind(&source.into())?;
    let balancer: SocketAddr = CLIENTS_GO_TO.parse().expect("an address");
    socket.connect_timeout(&balancer.into(), Duration::from_secs(1))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let asked = [&[0x05, 0x01, 0x02][..], &client::userpass(b"ann", b"secret"), &client::connect_ip(target)];
    stream.write_all(&asked.concat())?;
    let mut answers = [0; 14];
    stream.read_exact(&mut answers)?;
    match answers {
        [0x05, 0x02, 0x01, 0x00, 0x05, 0x00, 0x00, 0x01, ..] => Ok(stream),
        _ => Err(io::Error::other(format!("{answers:02x?}"))),
    }
}

fn echoes(mut stream: &TcpStream) {
    stream.write_all(b"to and fro").expect("send");
    let mut back = [0; 10];
    stream.read_exact(&mut back).expect("receive");
    assert_eq!(&back, b"to and fro");
}

fn two_balancers_in_front_of_two_relays(engine: Engine, test: &str) {
    for (path, package) in
        [("/usr/sbin/haproxy", "haproxy"), ("/usr/sbin/keepalived", "keepalived"), ("/usr/bin/curl", "curl")]
    {
        if !Path::new(path).exists() {
            return skip::skip(test, &format!("{path} is not installed (package {package})"));
        }
    }
    let setup = format!(
        "ip link add switch type bridge; ip addr add 192.0.2.1/24 dev switch; ip link set switch up
        ip addr add {CLIENT}/32 dev lo; ip addr add {TARGET}/32 dev lo"
    );
    netns::run_as_root(test, &setup, || {
        let origin = Origin::echo_on(TARGET.parse::<IpAddr>().expect("an address"));
        let relays = RELAYS.map(|(name, address)| Served::start(name, address, engine));
        let mut balancers = BALANCERS.map(|(name, address)| Balancer::start(name, address));
        let first = || wait::until("a session by the balancers", PATIENCE, || session(origin.addr).ok());

        // The client is known by its own address, and who told of it by his.
        echoes(&first());
        let sessions = || relays.iter().flat_map(Served::sessions).collect::<Vec<_>>();
        let by = wait::until("its record", PATIENCE, || sessions().pop());
        assert_eq!(by.0, CLIENT);
        let at = balancers.iter().position(|balancer| balancer.address == by.1).expect("a balancer");

        // The one that has the address can balance no more: the other takes it.
        balancers[at].haproxy = None;
        drop(first());
        let by_the_other = (CLIENT.to_owned(), balancers[1 - at].address.to_owned());
        wait::until_true("a record of the other's", PATIENCE, || sessions().contains(&by_the_other));

        // A relay that is drained ends no session and refuses no client: whoever comes is led to the other at once.
        let live: Vec<_> = (0..8).map(|_| session(origin.addr).expect("a session")).collect();
        relays[0].drain();
        let already = relays[1].sessions().len();
        let late: Vec<_> =
            (0..20).map(|_| session(origin.addr).expect("a session during the drain")).collect();
        live.iter().for_each(echoes);
        drop(late);
        let all_there = || relays[1].sessions().len() >= already + 20;
        wait::until_true("the records of all that came later", Duration::from_secs(20), all_there);
    });
}

mod two_balancers {
    use super::{Engine, two_balancers_in_front_of_two_relays};

    #[test]
    fn copy() {
        two_balancers_in_front_of_two_relays(Engine::Copy, &test_name!());
    }

    #[test]
    fn splice() {
        two_balancers_in_front_of_two_relays(Engine::Splice, &test_name!());
    }
}
