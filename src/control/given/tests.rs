//! Sockets that go from one acceptor to another, with clients in their queues.

use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::*;
use crate::config::{Config, Flags, Steer};
use crate::control::acceptor::{Acceptor, OfferedListener};
use crate::sys::Errno;
use crate::sys::congestion::CongestionControl;

fn config(workers: usize, addresses: &[SocketAddr]) -> Config {
    let mut config = Config::default();
    config.server.workers = workers;
    config.server.listen = addresses.iter().map(|one| (*one).into()).collect();
    config
}

fn open(given: Vec<GivenListener>, config: &Config) -> Acceptor {
    Acceptor::open(given, config, CongestionControl::default()).expect("free addresses")
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// What an acceptor gives to another process: duplicates, with what is said of them.
fn duplicates(acceptor: &Acceptor) -> Vec<GivenListener> {
    let duplicate = |socket: &Arc<Listener>| socket.as_fd().try_clone_to_owned().expect("a descriptor");
    let given = |offered: OfferedListener| {
        let OfferedListener { called, address, kept, sockets, .. } = offered;
        let given = GivenListener::of(sockets.iter().map(duplicate).collect()).expect("sockets that listen");
        GivenListener { called, address, kept, ..given }
    };
    acceptor.offered().into_iter().map(given).collect()
}

fn sockets_of(acceptor: &Acceptor) -> usize {
    acceptor.offered().iter().map(|offered| offered.sockets.len()).sum()
}

/// Takes whoever waits for one of so many workers; how many there were of each.
fn accepted(acceptor: &Acceptor, workers: usize) -> Vec<usize> {
    let mut kept = Vec::new();
    let of_worker = |worker: usize| {
        let before = kept.len();
        for one in acceptor.for_worker(worker) {
            loop {
                match one.socket.accept() {
                    Ok(accepted) => kept.push(accepted),
                    Err(errno) => break assert_eq!(errno, Errno::EAGAIN),
                }
            }
        }
        kept.len() - before
    };
    (0..workers).map(of_worker).collect()
}

/// Of those who wait in four queues none is lost where two workers go on with them, nor where four do again.
#[test]
fn fewer_workers_take_all_queues_and_more_workers_get_some_of_their_own() {
    for steer in [Steer::Hash, Steer::Cpu] {
        let mut first = config(4, &[any_port()]);
        first.server.steer = steer;
        let mut acceptor = open(Vec::new(), &first);
        let at = acceptor.addresses()[0];
        let mut clients = Vec::new();
        for workers in [2, 4, 1, 6] {
            let mut next = config(workers, &[at]);
            next.server.steer = steer;
            clients.extend((0..50).map(|_| TcpStream::connect(at).expect("it listens")));
            let mut successor = open(duplicates(&acceptor), &next);
            drop(acceptor);
            assert_eq!(accepted(&successor, workers).iter().sum::<usize>(), 50, "{workers} {steer:?}");
            successor.settle(&next, CongestionControl::default());
            let own: Vec<usize> = (0..workers).map(|worker| successor.for_worker(worker).len()).collect();
            assert!(own.iter().all(|count| *count > 0), "{own:?}");
            assert_eq!(own.iter().sum::<usize>(), sockets_of(&successor), "each has one worker: {own:?}");
            clients.extend((0..50).map(|_| TcpStream::connect(at).expect("it listens")));
            let each = accepted(&successor, workers);
            assert_eq!(each.iter().sum::<usize>(), 50, "{each:?}");
            acceptor = successor;
        }
    }
}

/// The queue is as long as the configuration says that is in effect by then.
#[test]
fn a_backlog_is_the_new_ones() {
    let mut own = config(1, &[any_port()]);
    own.server.backlog = 1;
    let acceptor = open(Vec::new(), &own);
    let at = acceptor.addresses()[0];
    own.server.backlog = 64;
    let mut successor = open(duplicates(&acceptor), &own);
    successor.settle(&own, CongestionControl::default());
    let _clients: Vec<_> = (0..20).map(|_| TcpStream::connect(at).expect("it listens")).collect();
    assert_eq!(accepted(&successor, 1), [20]);
}

/// Whoever gave a socket goes on as if nothing had been, whatever became of the one that got it.
#[test]
fn what_was_given_is_as_it_was_until_it_is_settled() {
    let own = config(2, &[any_port(), any_port()]);
    let acceptor = open(Vec::new(), &own);
    let addresses = acceptor.addresses().to_vec();
    // It wants one of them, and does not come to an end.
    let mut failed = open(duplicates(&acceptor), &config(4, &addresses[..1]));
    assert_eq!(failed.addresses(), &addresses[..1]);
    failed.close();
    drop(failed);
    let _clients: Vec<_> =
        addresses.iter().map(|at| TcpStream::connect(at).expect("nobody is refused")).collect();
    assert_eq!(accepted(&acceptor, 2).iter().sum::<usize>(), 2);
}

/// With port 0 the configured address says which it is, and so does the bound one where another asks for that.
#[test]
fn a_listener_is_known_by_what_it_was_configured_as() {
    let own = config(1, &[any_port(), any_port()]);
    let acceptor = open(Vec::new(), &own);
    assert_eq!(open(duplicates(&acceptor), &own).addresses(), acceptor.addresses());
    let second = acceptor.addresses()[1];
    assert_eq!(open(duplicates(&acceptor), &config(1, &[second])).addresses(), [second]);
}

/// Its file stays while the other may go on, and goes with the one that has it for good.
#[test]
fn a_unix_socket_is_given_with_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socks");
    let text = format!("[server]\nworkers = 2\n[[listener]]\naddress = \"unix:{}\"\n", path.display());
    let own = Config::parse(&text, Path::new("o.toml"), &Flags::default()).expect("a configuration");
    let mut acceptor = open(Vec::new(), &own);
    let give = |acceptor: &Acceptor| {
        let mut given = duplicates(acceptor);
        given[0].file = acceptor.offered()[0].file.map(|file| SocketFile::given(&path, file));
        given
    };
    drop(open(give(&acceptor), &own));
    let _client = UnixStream::connect(&path).expect("its file is there yet");
    let mut successor = open(give(&acceptor), &own);
    let number = acceptor.offered()[0].number;
    acceptor.hand_over(&[number]);
    assert!(acceptor.for_worker(0).is_empty());
    acceptor.take_back();
    assert_eq!(acceptor.for_worker(0).len(), 1);
    acceptor.hand_over(&[number]);
    acceptor.close();
    assert!(path.exists());
    successor.settle(&own, CongestionControl::default());
    assert!((0..2).all(|worker| successor.for_worker(worker).len() == 1), "all workers accept on it");
    assert_eq!(accepted(&successor, 2), [1, 0]);
    successor.close();
    assert!(!path.exists());
}

/// What a service manager keeps is open behind the end of a drain: nobody is refused until the next server has it.
#[test]
fn a_drain_refuses_nobody_where_a_manager_keeps_the_socket() {
    let manager = std::net::TcpListener::bind(any_port()).expect("a port");
    let at = manager.local_addr().expect("it is bound");
    let given = || {
        let socket = manager.try_clone().expect("a descriptor").into();
        GivenListener { kept: true, ..GivenListener::of(vec![socket]).expect("it listens") }
    };
    let own = config(2, &[at]);
    for _ in 0..2 {
        let mut acceptor = open(vec![given()], &own);
        acceptor.settle(&own, CongestionControl::default());
        assert!((0..2).all(|worker| acceptor.for_worker(worker).len() == 1), "both accept on the one");
        let _client = TcpStream::connect(at).expect("it listens");
        assert_eq!(accepted(&acceptor, 2), [1, 0]);
        acceptor.close();
    }
    TcpStream::connect(at).expect("nobody is refused");
}

#[test]
fn what_does_not_listen_is_refused() {
    let bound = std::net::UdpSocket::bind(any_port()).expect("a port");
    let connected = std::net::TcpListener::bind(any_port()).expect("a port");
    let stream = TcpStream::connect(connected.local_addr().expect("it is bound")).expect("it listens");
    let other = std::net::TcpListener::bind(any_port()).expect("a port");
    for sockets in [vec![bound.into()], vec![stream.into()], vec![connected.into(), other.into()], vec![]] {
        GivenListener::of(sockets).expect_err("it was taken");
    }
}
