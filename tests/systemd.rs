//! What a service manager is told, at a socket of the test's own: order and content.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::support::wait::PATIENCE;
use crate::support::{Client, Relay};

/// Above the interval at which counts are told.
const LONG: Duration = Duration::from_secs(25);

/// The service manager's end.
pub(crate) struct Manager {
    socket: UnixDatagram,
    name: OsString,
    _directory: Option<TempDir>,
}

impl Manager {
    pub(crate) fn at_a_path() -> Manager {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Manager { socket, name: path.into(), _directory: Some(directory) }
    }

    fn abstract_one() -> Manager {
        let name = format!("outflow-systemd-{}", std::process::id());
        let address = UnixAddress::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Manager { socket, name: format!("@{name}").into(), _directory: None }
    }

    fn start(&self, watchdog: &[(&'static str, &str)]) -> Relay {
        let watchdog = watchdog.iter().map(|(name, value)| (*name, OsString::from(value)));
        let variables = watchdog.chain([self.variable()]).collect();
        Relay::builder().environment(variables).timeout("drain", 1_000).start()
    }

    /// What a server finds it by.
    pub(crate) fn variable(&self) -> (&'static str, OsString) {
        ("NOTIFY_SOCKET", self.name.clone())
    }

    /// The next message, if one comes within this time.
    pub(crate) fn hears(&self, patience: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(patience)).expect("a time limit");
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).expect("UTF-8"))
    }

    /// The next message that begins so; those before it are of another kind.
    fn awaits(&self, beginning: &str, patience: Duration) -> String {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let message = self.hears(left).unwrap_or_else(|| panic!("no {beginning:?} in {patience:?}"));
            if message.starts_with(beginning) {
                return message;
            }
        }
    }
}

fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock");
    now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1_000
}

#[test]
fn a_start_a_reload_and_the_end_are_told_in_order() {
    for manager in [Manager::at_a_path(), Manager::abstract_one()] {
        let mut relay = manager.start(&[]);
        let ready = manager.hears(PATIENCE).expect("a message");
        assert_eq!(ready, format!("READY=1\nSTATUS={}\n", relay.ready));

        let before = monotonic_us();
        relay.signal("HUP");
        let reloading = manager.hears(PATIENCE).expect("a message");
        let (word, at) = reloading.trim_end().split_once('\n').expect("two lines");
        let at: u64 = at.strip_prefix("MONOTONIC_USEC=").expect("a time").parse().expect("a number");
        assert_eq!(word, "RELOADING=1");
        assert!((before..=monotonic_us()).contains(&at), "{before} {at}");
        let ready = manager.hears(PATIENCE).expect("a message");
        let expected =
            format!("READY=1\nSTATUS=ready: 0 sessions, 0 accepted; listening on {}\n", relay.addr());
        assert_eq!(ready, expected);

        relay.signal("TERM");
        let stopping = manager.hears(PATIENCE).expect("a message");
        assert_eq!(stopping, "STOPPING=1\nSTATUS=draining: 0 sessions, 0 accepted\n");
        assert_eq!(relay.wait_exit(PATIENCE), Some(0));
        assert_eq!(manager.hears(Duration::from_millis(1)), None);
    }
}

/// Whoever waits for the unit to be started may connect at once.
#[test]
fn ready_is_said_once_clients_are_accepted() {
    let manager = Manager::at_a_path();
    let relay = manager.start(&[]);
    let ready = manager.awaits("READY=1\n", PATIENCE);
    let (_, rest) = ready.split_once("listening on ").expect("where it listens");
    let address: SocketAddr = rest.split([';', ',']).next().expect("an address").parse().expect("an address");
    assert_eq!(address, relay.addr());
    TcpStream::connect(address).expect("nobody refuses a connection");
}

#[test]
fn counts_are_told_as_time_goes_by() {
    let manager = Manager::at_a_path();
    let relay = manager.start(&[]);
    let client = Client::connect(relay.addr());
    manager.awaits("READY=1\n", PATIENCE);
    let status = manager.awaits("STATUS=", LONG);
    let expected = format!("STATUS=ready: 1 session, 1 accepted; listening on {}\n", relay.addr());
    assert_eq!(status, expected);
    drop(client);
}

#[test]
fn the_watchdog_is_fed_at_half_of_its_interval() {
    let manager = Manager::at_a_path();
    // Before it feeds: what it has said by the time that this looks again took no less.
    let began = Instant::now();
    let relay = manager.start(&[("WATCHDOG_USEC", "400000")]);
    manager.awaits("READY=1\n", PATIENCE);
    for _ in 0..5 {
        assert_eq!(manager.awaits("WATCHDOG=1", PATIENCE), "WATCHDOG=1\n");
    }
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    drop(relay);

    // It is not for us where it names another process.
    let relay = manager.start(&[("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")]);
    manager.awaits("READY=1\n", PATIENCE);
    assert_eq!(manager.hears(Duration::from_millis(500)), None);
    drop(relay);
}

#[test]
fn a_manager_that_is_not_there_is_said_and_missed_by_nobody() {
    let environment = vec![("NOTIFY_SOCKET", OsString::from("/nowhere/notify"))];
    let relay = Relay::builder().environment(environment).start();
    relay.logged(&["WARN", "the service manager cannot be told anything", "/nowhere/notify"]);
    Client::connect(relay.addr());
}
