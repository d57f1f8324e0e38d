//! What the control thread makes of threads that end.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crossbeam_channel::bounded;

use super::*;
use crate::worker::Drill;

fn server() -> Server {
    let mut config = Config::default();
    // No test asks a name server of this machine by itself.
    config.dns.dns64 = crate::config::Dns64::Off;
    config.server.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()];
    config.server.workers = 2;
    config.server.pin = false;
    Server::start(config).unwrap()
}

/// A server whose listener has gone with its worker would keep clients waiting: it drains, and says so by its code.
#[test]
fn a_worker_whose_thread_ends_ends_the_process() {
    let mut server = server();
    let address = server.addresses()[0];
    TcpStream::connect(address).unwrap();
    let (_signals, nobody) = bounded(1);
    server.drill(1, Drill::EndThread);
    let code = serve(&mut server, &nobody, Duration::ZERO, &Logs::apart());
    assert_eq!(code, ExitCode::FAILURE);
    assert!(TcpStream::connect(address).is_err());
}

/// One that hears nothing of the drain must not keep the process beyond its time.
#[test]
fn a_worker_that_stands_still_does_not_outlast_the_drain() {
    let mut server = server();
    let (sender, signals) = bounded(1);
    server.drill(1, Drill::Stall(Duration::from_secs(600)));
    sender.send(SignalRequest::End).unwrap();
    let code = serve(&mut server, &signals, Duration::ZERO, &Logs::apart());
    assert_eq!(code, ExitCode::FAILURE);
}
