//! Which listener a socket is that was passed.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::*;
use crate::config::Flags;
use crate::control::acceptor::Acceptor;
use crate::sys::congestion::CongestionControl;

fn config(text: &str) -> Config {
    let text = format!("[server]\nworkers = 2\n{text}");
    Config::parse(&text, Path::new("f"), &Flags::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn passed(name: &str, socket: impl Into<OwnedFd>) -> PassedDescriptor {
    PassedDescriptor { name: name.to_owned(), number: 3, descriptor: socket.into() }
}

fn tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn open(activation: Activation, config: &Config) -> Acceptor {
    let congestion = CongestionControl::default();
    let mut acceptor = Acceptor::open(activation.clients, config, congestion)
        .unwrap_or_else(|(nth, error)| panic!("{nth}: {error}"));
    acceptor.settle(config, congestion);
    acceptor
}

#[test]
fn a_socket_is_the_listener_of_its_address_whatever_its_name_is() {
    let (one, at) = tcp();
    let kept = one.try_clone().unwrap();
    let config = config(&format!(
        "[[listener]]\nname = \"office\"\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"web\"\naddress = \"{at}\"\n"
    ));
    let activation = Activation::of(vec![passed("office", one)], &config);
    assert_eq!((activation.clients.len(), &*activation.clients[0].called), (1, "web"));
    assert!(activation.clients[0].kept && activation.unwanted.is_empty());
    let mut acceptor = open(activation, &config);
    assert_eq!(acceptor.addresses()[1], at);
    assert_eq!(
        acceptor.for_worker(0).len() + acceptor.for_worker(1).len(),
        4,
        "both workers accept on the one socket"
    );
    assert!(
        acceptor
            .storable()
            .iter()
            .all(|listener| listener.address.tcp().is_none_or(|other| other.address != at))
    );
    // It is the manager's: after the drain it takes connections yet.
    acceptor.close();
    TcpStream::connect(at).expect("nobody refuses");
    assert!(acceptor.is_closed());
    acceptor.reopen(&config, CongestionControl::default()).expect("its own socket again");
    assert_eq!((acceptor.addresses()[1], acceptor.is_closed()), (at, false));
    drop(kept);
}

#[test]
fn a_socket_is_the_listener_of_its_name_wherever_it_is_bound() {
    let (one, at) = tcp();
    let config = config("[[listener]]\nname = \"office\"\naddress = \"127.0.0.1:0\"\n");
    let acceptor = open(Activation::of(vec![passed("office", one)], &config), &config);
    assert_eq!(acceptor.addresses(), [at]);
}

#[test]
fn one_that_leaves_with_a_reload_can_be_had_again() {
    let (one, at) = tcp();
    let both = config(&format!("listen = [\"127.0.0.1:0\", \"{at}\"]\n"));
    let first = config("listen = [\"127.0.0.1:0\"]\n");
    let mut acceptor = open(Activation::of(vec![passed("a.socket", one)], &both), &both);
    let congestion = CongestionControl::default();
    for (config, addresses) in [(&first, 1), (&both, 2), (&first, 1), (&both, 2)] {
        let next = acceptor.held().open_others(config, congestion).expect("what is held");
        acceptor.adopt(next, config, congestion);
        assert_eq!(acceptor.addresses().len(), addresses);
        TcpStream::connect(at).expect("the manager has it open all the while");
    }
    assert_eq!(acceptor.addresses()[1], at);
    // Drained, changed and opened again.
    acceptor.close();
    let next = acceptor.held().open_others(&both, congestion).expect("what is held");
    acceptor.adopt(next, &both, congestion);
    acceptor.close();
    acceptor.reopen(&both, congestion).expect("all of them");
    assert_eq!(acceptor.addresses()[1], at);
}

#[test]
fn what_is_no_listener_of_the_configuration_is_let_go_of() {
    let folder = tempfile::tempdir().unwrap();
    let config = config("listen = [\"127.0.0.1:0\"]\n");
    let (one, _) = tcp();
    let connected = TcpStream::connect(one.local_addr().unwrap()).unwrap();
    let all = vec![
        passed("a.socket", one),
        passed("stored.b", UnixListener::bind(folder.path().join("s")).unwrap()),
        passed("stored.c", UdpSocket::bind("127.0.0.1:0").unwrap()),
        passed("stored.c", connected),
        passed("d", std::fs::File::open("/dev/null").unwrap()),
    ];
    let activation = Activation::of(all, &config);
    assert!(activation.clients.is_empty());
    assert_eq!(activation.unwanted, ["stored.c", "stored.b"], "the manager is to forget its own");
}

#[test]
fn what_was_stored_is_this_servers_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socks.sock");
    let ((one, at), unix) = (tcp(), UnixListener::bind(&path).unwrap());
    let config =
        config(&format!("listen = [\"{at}\"]\n[[listener]]\naddress = \"unix:{}\"\n", path.display()));
    let stored = vec![passed("stored.a", one), passed("stored.b", unix)];
    let mut acceptor = open(Activation::of(stored, &config), &config);
    let storable = acceptor.storable();
    assert_eq!(storable.len(), 2);
    // Kept by the manager it is left to that at the end; forgotten it goes.
    let kept = [storable[0].sockets.clone(), storable[1].sockets.clone()];
    storable.iter().for_each(|listener| acceptor.store(listener.number, true));
    assert!(kept.iter().flatten().all(|socket| socket.is_lent()));
    storable.iter().for_each(|listener| acceptor.store(listener.number, false));
    assert!(kept.iter().flatten().all(|socket| !socket.is_lent()));
    drop((storable, kept));
    acceptor.close();
    drop(acceptor);
    assert!(TcpStream::connect(at).is_err() && !path.exists());
}

#[test]
fn a_stored_socket_that_nobody_can_reach_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socks.sock");
    let unix = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let config = config(&format!("[[listener]]\naddress = \"unix:{}\"\n", path.display()));
    let activation = Activation::of(vec![passed("stored.a", unix)], &config);
    assert_eq!(activation.unwanted, ["stored.a"]);
    let _acceptor = open(activation, &config);
    assert!(path.exists());
}

#[test]
fn a_socket_of_the_admin_endpoint_is_known_by_its_address_or_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let ((one, at), unix) = (tcp(), UnixListener::bind(&path).unwrap());
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[admin]\nlisten = [\"unix:{}\", \"127.0.0.1:0\"]\n",
        path.display()
    );
    let config = config(&text);
    let activation = Activation::of(vec![passed("admin", one), passed("x.socket", unix)], &config);
    assert!(activation.clients.is_empty());
    // The one at the path is known by that, and the other is what is left.
    let doors: Vec<_> = activation.doors.iter().map(|door| door.address.clone()).collect();
    assert_eq!(doors, config.admin.listen, "bound to {at}");
    assert!(activation.doors.iter().all(|door| door.kept && door.file.is_none()));
}
