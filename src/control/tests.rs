//! What the control thread makes of threads that end.

mod reload;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::*;
use crate::admin::{Actor, Done, Order, OrderError, OrderLetter, Standing};
use crate::config::{Flags, Level};
use crate::worker::{Drill, Reply};

fn server() -> Server {
    let mut config = Config::default();
    // No test asks a name server of this machine by itself.
    config.dns.dns64 = crate::config::Dns64::Off;
    config.server.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()];
    config.server.workers = 2;
    config.server.pin = false;
    config.timeouts.drain = Duration::ZERO;
    Server::start(config).unwrap()
}

fn govern(server: Server, signals: Receiver<SignalRequest>) -> ExitCode {
    let mut logs = Logs::apart();
    Controller::start(server, ConfigSource::default(), signals, &mut logs).unwrap().run()
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
        let source = ConfigSource { file: Some(file.to_owned()), ..ConfigSource::default() };
        let ((give, take), (signals, heard)) = (bounded(1), bounded(16));
        let thread = std::thread::spawn(move || {
            let mut logs = Logs::apart();
            give.send((server.orders().0.clone(), Arc::clone(server.standing()))).unwrap();
            let mut controller = Controller::start(server, source, heard, &mut logs).unwrap();
            controller.run()
        });
        let (orders, standing) = take.recv().unwrap();
        Governed { orders, standing, signals, thread }
    }

    /// What comes of an order.
    fn order(&self, order: Order) -> Result<Done, OrderError> {
        let (sender, answer) = bounded(1);
        let reply = Reply::new(sender, None);
        self.orders.send(OrderLetter { order, by: Actor("a test".to_owned()), reply }).unwrap();
        answer.recv_timeout(Duration::from_secs(20)).expect("an answer")
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
