//! What leaves by the route of its verdict, and what does not leave.

use super::*;

/// A worker whose sessions leave from 127.0.0.2, but for the datagrams of a client of listener 1, which may not; and what it
/// needs for one more connection.
fn ruled() -> (Worker, Key, TcpStream) {
    let mut snapshot = open_to_all(limits::LINGER);
    let no_datagrams = deny(|rule| {
        rule.listeners = any(["one".into()]);
        rule.commands = any([RequestCommand::UdpAssociate]);
        rule.to = by_hand::to(["127.0.0.0/8"]);
    });
    let policy = Policy::clone(&open_policy())
        .with_rules(Some(by_hand::at(&by_hand::rules(Action::Allow, [no_datagrams]), &[("one", 1)])))
        .with_routes(|_| Route { source: Some([127, 0, 0, 2].into()), mark: None });
    snapshot.ceilings.sessions = 8;
    worker_under(setup(), snapshot, Arc::new(policy))
}

#[test]
fn a_connection_leaves_by_the_route_of_its_verdict() {
    let (mut worker, key, mut client) = ruled();
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    ask_for(&mut worker, key, &mut client, &target);
    let (_, from) = target.accept().expect("a connection");
    assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 2]));
}

#[test]
fn an_association_goes_by_its_route_and_is_judged_as_its_connection_came_in() {
    let (mut worker, first, client) = ruled();
    let (accepted, incoming, other) = connection();
    worker.admit(accepted, Incoming { listener: 1, ..incoming });
    let target = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    let datagram = [&b"\0\0\0\x01\x7f\0\0\x01"[..], &port, b"ping"].concat();
    let readable = Edge { readable: true, ..Edge::default() };
    for (key, mut client, passes) in [(first, client, true), (Key::new(1, 1), other, false)] {
        client.write_all(b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0").expect("a request");
        worker.with(key, |core, slot| phases::event(core, slot, 0, readable));
        let mut reply = [0; 12];
        client.read_exact(&mut reply).expect("a reply");
        let front = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes([reply[10], reply[11]])));
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
        sender.send_to(&datagram, front).expect("sent");
        worker.with(key, |core, slot| phases::event(core, slot, 1, readable));
        target.set_nonblocking(!passes).expect("a socket");
        let came = target.recv_from(&mut [0; 64]);
        assert_eq!(came.ok().map(|(_, from)| from.ip()), passes.then_some([127, 0, 0, 2].into()));
    }
    let totals = crate::observe::Totals::of([&*worker.core.counters]);
    assert_eq!(totals.count_of(crate::observe::Counted::Dropped(Drop::Denied)), 1);
}
