//! What the control thread makes of threads that end.

mod reload;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::*;
use crate::admin::{Actor, Done, Order, OrderError, OrderLetter, Standing};
use crate::config::{Flags, Level, ListenAddress};
use crate::worker::{Drill, Reply};

fn server() -> Server {
    watched_server(Vec::new())
}

/// One with this admin endpoint.
fn watched_server(admin: Vec<ListenAddress>) -> Server {
    let mut config = Config::default();
    // No test asks a name server of this machine by itself.
    config.dns.dns64 = crate::config::Dns64::Off;
    config.server.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()];
    config.server.workers = 2;
    config.server.pin = false;
    config.timeouts.drain = Duration::ZERO;
    config.admin.listen = admin;
    Server::start(config).unwrap()
}

fn govern(server: Server, signals: Receiver<SignalRequest>) -> ExitCode {
    let mut logs = Logs::apart();
    Controller::start(server, ConfigSource::default(), signals, &mut logs, (ServiceManager::default(), None))
        .unwrap()
        .run()
}

/// A server whose control thread runs beside the test, by this file.
struct Governed {
    orders: Sender<OrderLetter>,
    standing: Arc<Standing>,
    signals: Sender<SignalRequest>,
    thread: JoinHandle<ExitCode>,
}

impl Governed {
    fn start(server: Server, file: &Path) -> Governed {
        Governed::told(server, file, ServiceManager::default())
    }

    /// One that this service manager is told of.
    fn told(server: Server, file: &Path, manager: ServiceManager) -> Governed {
        let source = ConfigSource { file: Some(file.to_owned()), ..ConfigSource::default() };
        let ((give, take), (signals, heard)) = (bounded(1), bounded(16));
        let thread = std::thread::spawn(move || {
            let mut logs = Logs::apart();
            give.send((server.orders().0.clone(), Arc::clone(server.standing()))).unwrap();
            let mut controller =
                Controller::start(server, source, heard, &mut logs, (manager, None)).unwrap();
            controller.run()
        });
        let (orders, standing) = take.recv().unwrap();
        Governed { orders, standing, signals, thread }
    }

    /// What comes of an order.
    fn order(&self, order: Order) -> Result<Done, OrderError> {
        self.send(order).recv_timeout(Duration::from_secs(20)).expect("an answer")
    }

    /// Where that will be told.
    fn send(&self, order: Order) -> Receiver<Result<Done, OrderError>> {
        let (sender, answer) = bounded(1);
        let reply = Reply::new(sender, None);
        self.orders.send(OrderLetter { order, by: Actor("a test".to_owned()), reply }).unwrap();
        answer
    }

    fn end(self) -> ExitCode {
        self.signals.send(SignalRequest::End).unwrap();
        self.thread.join().unwrap()
    }
}

#[test]
fn orders_are_carried_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outflow.toml");
    let governed = Governed::start(server(), &file);
    let level = |level, was| Done::Level { level, was };
    assert_eq!(governed.order(Order::SetLevel(Level::Debug)).unwrap(), level(Level::Debug, Level::Info));
    assert_eq!(governed.order(Order::SetLevel(Level::Warn)).unwrap(), level(Level::Warn, Level::Debug));
    assert_eq!(governed.standing.now().level, Level::Warn);

    // A file that is wrong is told with its place, and one that is right with what it says otherwise.
    let dry_run = || governed.order(Order::Reload { dry_run: true });
    std::fs::write(&file, "[server]\nrelay = \"fast\"\n").unwrap();
    let Err(OrderError::Config(problems)) = dry_run() else { panic!("it was taken") };
    assert!(
        problems.to_string().starts_with(&format!("{}:2: [server] key `relay`", file.display())),
        "{problems}"
    );
    std::fs::write(&file, "[server]\nrelay = \"copy\"\nworkers = 2\npin = true\n").unwrap();
    let Ok(Done::Reload(report)) = dry_run() else { panic!("it was not taken") };
    let told: Vec<(&str, bool)> = report.changes.iter().map(|change| (&*change.key, change.taken)).collect();
    let keys = ["server.listen", "server.pin", "server.relay", "timeouts.drain", "dns.dns64"];
    assert_eq!(told, keys.map(|key| (key, key != "server.pin")));
    assert!(!report.applied);
    assert_eq!(governed.end(), ExitCode::SUCCESS);
}

/// A server whose listener has gone with its worker would keep clients waiting: it drains, and says so by its code.
#[test]
fn a_worker_whose_thread_ends_ends_the_process() {
    let server = server();
    let address = server.addresses()[0];
    TcpStream::connect(address).unwrap();
    let (_signals, nobody) = bounded(1);
    server.drill(1, Drill::EndThread);
    let code = govern(server, nobody);
    assert_eq!(code, ExitCode::FAILURE);
    assert!(TcpStream::connect(address).is_err());
}

/// One that hears nothing of the drain must not keep the process beyond its time.
#[test]
fn a_worker_that_stands_still_does_not_outlast_the_drain() {
    let server = server();
    let (sender, signals) = bounded(1);
    server.drill(1, Drill::Stall(Duration::from_secs(600)));
    sender.send(SignalRequest::End).unwrap();
    let code = govern(server, signals);
    assert_eq!(code, ExitCode::FAILURE);
}

/// What the endpoint says of the server's health.
fn healthz(endpoint: &Path) -> String {
    let mut connection = UnixStream::connect(endpoint).unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// The service manager ends a process that it does not hear of: one with a worker that stands still is better ended.
#[test]
fn the_service_manager_is_fed_while_every_worker_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let manager = ServiceManager::named(Some(path.into()), Some("200000".into()), None).unwrap();
    let endpoint = folder.path().join("admin.sock");
    let server = watched_server(vec![ListenAddress::Unix(endpoint.clone())]);
    server.drill(1, Drill::Stall(Duration::from_secs(8)));
    let governed = Governed::told(server, Path::new("/nowhere/outflow.toml"), manager);
    let heard = |patience| {
        let mut buffer = [0; 1024];
        socket.set_read_timeout(Some(patience)).unwrap();
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    let stands_still = || governed.standing.now().vitals.not_alive(Instant::now());
    let is_fed = |patience| heard(patience).is_some_and(|message| message == "WATCHDOG=1\n");
    assert!(heard(Duration::from_secs(20)).unwrap().starts_with("READY=1\nSTATUS=outflow "));
    let (began, mut fed) = (Instant::now(), 0);
    while stands_still().is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody noticed");
        fed += u32::from(is_fed(Duration::from_millis(50)));
    }
    assert!(fed >= 10, "fed {fed} times before");
    let answer = healthz(&endpoint);
    let said =
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\n\r\nworker 1 has stood in one turn for ");
    assert!(said || stands_still().is_none(), "{answer}");
    // What was sent before that became known.
    while is_fed(Duration::from_millis(1)) {}
    while stands_still().is_some() {
        assert!(!is_fed(Duration::from_millis(300)) || stands_still().is_none(), "worker 1 stands still");
    }
    assert!((0..10).any(|_| is_fed(Duration::from_secs(5))), "it turns again");
    assert!(healthz(&endpoint).ends_with("\r\n\r\nalive\n"));
    assert_eq!(governed.end(), ExitCode::SUCCESS);
    let last: Vec<String> = std::iter::from_fn(|| heard(Duration::from_millis(1))).collect();
    assert!(last.iter().any(|message| message.starts_with("STOPPING=1\nSTATUS=draining: ")), "{last:?}");
}
