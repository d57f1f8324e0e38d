//! What becomes of sessions when other rules come.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{Anew, Rejudged};
use crate::limits;
use crate::observe::{Counted, Totals};
use crate::outcome::Reason;
use crate::policy::rules::RuleId;
use crate::policy::rules::by_hand::{allow, any, deny, rules, to};
use crate::policy::rules::spec::{Action, Mode, RuleSpec};
use crate::policy::{Allowed, Guard, Policy, RoutedAddress};
use crate::proto::address::{Host, Target};
use crate::proto::request::RequestCommand;
use crate::session::Facts;
use crate::worker::snapshot::{Ceilings, Snapshot};
use crate::worker::tests::{ask_for, connection, open_policy, open_to_all, setup, told_with, worker_under};
use crate::worker::tokens::Key;
use crate::worker::watch::Edge;
use crate::worker::{Worker, phases};

/// What a worker goes by with these rules, which end what they deny.
fn revoking(list: impl IntoIterator<Item = RuleSpec>) -> (Snapshot, Arc<Policy>) {
    let guard = Guard::new(true, Vec::new(), Vec::new());
    let policy = Policy::new(guard).with_rules(Some(rules(Action::Allow, list)));
    let ceilings = Ceilings { sessions: 10_000, second_attempts: 0, names_beside: 8, pipes: 8 };
    (Snapshot { revokes: true, ceilings, ..open_to_all(limits::LINGER) }, Arc::new(policy))
}

fn under((snapshot, policy): (Snapshot, Arc<Policy>)) -> (Worker, Key, TcpStream) {
    worker_under(setup(), snapshot, policy)
}

fn to_port(port: u16) -> RuleSpec {
    deny(|rule| rule.ports = any([port..=port]))
}

/// One more session, and its client's end.
fn join(worker: &mut Worker) -> (Key, TcpStream) {
    let (accepted, incoming, client) = connection();
    let key = Key::new(worker.slots.vacant_key(), worker.core.next_serial);
    worker.admit(accepted, incoming);
    (key, client)
}

/// A relay to a target of its own: the session, both ends, and the target's port.
fn relay(worker: &mut Worker) -> (Key, TcpStream, TcpStream, u16) {
    let (key, mut client) = join(worker);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    ask_for(worker, key, &mut client, &listener);
    let target = listener.accept().expect("a connection").0;
    let writable = Edge { writable: true, ..Edge::default() };
    worker.with(key, |core, slot| phases::event(core, slot, 1, writable));
    client.read_exact(&mut [0; 12]).expect("a method and a reply");
    (key, client, target, listener.local_addr().expect("its address").port())
}

/// Has a session ask for this behind its greeting, and reads the first reply.
fn ask(worker: &mut Worker, key: Key, client: &mut TcpStream, request: &[u8]) -> [u8; 12] {
    client.write_all(&[b"\x05\x01\x00", request].concat()).expect("a request");
    worker.with(key, |core, slot| phases::event(core, slot, 0, Edge { readable: true, ..Edge::default() }));
    let mut reply = [0; 12];
    client.read_exact(&mut reply).expect("a method and a reply");
    reply
}

/// Goes over to other rules, and to the end of what they make of the sessions.
fn go_over(worker: &mut Worker, (next, policy): (Snapshot, Arc<Policy>)) {
    told_with(worker, next, policy);
    worker.take_snapshot();
    while !worker.walks.is_empty() {
        worker.walk();
    }
}

fn is_there(worker: &Worker, key: Key) -> bool {
    worker.slots.get(key.index()).is_some_and(|slot| slot.connection.key == key)
}

fn is_reset(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}

fn revoked(worker: &Worker) -> u64 {
    Totals::of([&*worker.core.counters]).count_of(Counted::Closed(Reason::Revoked))
}

#[test]
fn exactly_the_relays_end_that_the_new_rules_deny() {
    let (mut worker, ..) = under(revoking([]));
    let (stays, _client, _target, _) = relay(&mut worker);
    let (goes, client, target, port) = relay(&mut worker);
    go_over(&mut worker, revoking([to_port(port)]));
    assert!(is_there(&worker, stays) && !is_there(&worker, goes));
    assert!(is_reset(&client) && is_reset(&target), "neither takes what it has for the whole");
    assert_eq!(revoked(&worker), 1);
    assert_eq!(worker.core.counters.rules.of(RuleId(1)), [0, 1, 0, 0]);
}

#[test]
fn nothing_ends_where_sessions_are_kept_or_where_the_rules_only_report_or_are_the_same() {
    let (mut worker, ..) = under(revoking([]));
    let (key, _client, _target, port) = relay(&mut worker);
    let reports = RuleSpec { mode: Mode::Report, ..to_port(port) };
    go_over(&mut worker, revoking([reports]));
    assert!(is_there(&worker, key));
    let denies = revoking([to_port(port)]);
    let (snapshot, policy) = denies.clone();
    go_over(&mut worker, (Snapshot { revokes: false, ..snapshot }, policy));
    assert!(is_there(&worker, key), "kept");
    go_over(&mut worker, denies);
    assert!(is_there(&worker, key), "the rules are those that it was kept under");
    go_over(&mut worker, revoking([to_port(port)]));
    assert!(!is_there(&worker, key));
}

/// A walk that begins with rules which are replaced meanwhile would judge by both.
#[test]
fn the_newest_rules_alone_are_asked() {
    let (mut worker, ..) = under(revoking([]));
    let (key, _client, _target, port) = relay(&mut worker);
    let (next, policy) = revoking([to_port(port)]);
    told_with(&mut worker, next, policy);
    worker.take_snapshot();
    go_over(&mut worker, revoking([]));
    assert!(is_there(&worker, key) && revoked(&worker) == 0);
}

#[test]
fn an_association_ends_that_may_have_nothing_any_more() {
    let (mut worker, key, mut client) = under(revoking([]));
    let reply = ask(&mut worker, key, &mut client, b"\x05\x03\x00\x01\0\0\0\0\0\0");
    assert_eq!(reply[3], 0);
    let somewhere = deny(|rule| rule.to = to(["127.0.0.0/8"]));
    go_over(&mut worker, revoking([somewhere]));
    assert!(is_there(&worker, key), "there are other targets");
    let datagrams = deny(|rule| rule.commands = any([RequestCommand::UdpAssociate]));
    go_over(&mut worker, revoking([datagrams]));
    assert!(!is_there(&worker, key) && is_reset(&client));
}

#[test]
fn a_bind_ends_that_waits_for_whom_the_rules_deny() {
    let (mut worker, first, mut client) = under(revoking([]));
    let (second, mut other) = join(&mut worker);
    let named = ask(&mut worker, first, &mut client, b"\x05\x02\x00\x01\x7f\0\0\x02\x00\x15");
    let anybody = ask(&mut worker, second, &mut other, b"\x05\x02\x00\x01\0\0\0\0\0\0");
    assert_eq!((named[3], anybody[3]), (0, 0));
    go_over(&mut worker, revoking([deny(|rule| rule.to = to(["127.0.0.2"]))]));
    assert!(!is_there(&worker, first) && is_there(&worker, second));
    let port = u16::from_be_bytes([named[10], named[11]]);
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "its port is free");
}

/// The port that a peer came from says nothing of what was asked for.
#[test]
fn the_peer_of_a_bind_is_known_by_the_port_that_was_asked_for() {
    let (mut worker, key, mut client) = under(revoking([]));
    let reply = ask(&mut worker, key, &mut client, b"\x05\x02\x00\x01\x7f\0\0\x01\x00\x15");
    let mut peer =
        TcpStream::connect(("127.0.0.1", u16::from_be_bytes([reply[10], reply[11]]))).expect("a way");
    let from = peer.local_addr().expect("its address").port();
    let readable = Edge { readable: true, ..Edge::default() };
    worker.with(key, |core, slot| phases::event(core, slot, 1, readable));
    client.read_exact(&mut [0; 10]).expect("who came");
    go_over(&mut worker, revoking([to_port(from)]));
    assert!(is_there(&worker, key));
    go_over(&mut worker, revoking([to_port(21)]));
    assert!(!is_there(&worker, key));
    peer.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    assert!(peer.read(&mut [0; 1]).is_err());
}

/// A listener whose queue is full answers nobody: who dials it waits.
#[test]
fn a_dial_ends_where_nothing_is_left_to_it() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("a queue");
    let address = listener.local_addr().ok().and_then(|at| at.as_socket()).expect("its address");
    let _fills_it = TcpStream::connect(address).expect("a place");
    let (mut worker, key, mut client) = under(revoking([]));
    let request = [&b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01"[..], &address.port().to_be_bytes()].concat();
    client.write_all(&request).expect("a request");
    worker.with(key, |core, slot| phases::event(core, slot, 0, Edge { readable: true, ..Edge::default() }));
    go_over(&mut worker, revoking([to_port(address.port() ^ 1)]));
    assert!(is_there(&worker, key));
    go_over(&mut worker, revoking([to_port(address.port())]));
    assert!(!is_there(&worker, key) && revoked(&worker) == 1);
}

/// Of several addresses those that are allowed are dialled on.
#[test]
fn a_dial_goes_on_with_what_is_left_to_it() {
    let (mut worker, key, _client) = under(revoking([]));
    let silent = |last: u8| SocketAddr::from(([127, 0, 0, last], 9));
    let (core, slot) = (&mut worker.core, &mut worker.slots[key.index()]);
    let routed = |address| RoutedAddress { address, allowed: Allowed::default() };
    let facts = Facts {
        command: Some(RequestCommand::Connect),
        target: Some(Target { host: Host::parse(b"name.example").expect("a name"), port: 9 }),
        ..Facts::default()
    };
    let list = [silent(2), silent(3)].map(routed);
    let subject = facts.subject(slot.connection.incoming(), RequestCommand::Connect);
    let left = |rule: RuleSpec| {
        let policy = Policy::clone(&core.policy).with_rules(Some(rules(Action::Allow, [rule])));
        match (Anew { policy: &policy, subject, facts: &facts }).of_addresses(&list) {
            Rejudged::Dials(left) => left.iter().map(|to| to.address).collect(),
            Rejudged::Stays => vec![silent(2), silent(3)],
            Rejudged::Denied(_) => Vec::new(),
        }
    };
    assert_eq!(left(deny(|rule| rule.to = to(["127.0.0.2"]))), [silent(3)]);
    assert_eq!(left(deny(|rule| rule.to = to(["127.0.0.4"]))), [silent(2), silent(3)]);
    assert!(left(deny(|rule| rule.to = to(["name.example"]))).is_empty());
}

/// A name that waits for its addresses is judged as one that does.
#[test]
fn a_session_whose_name_is_being_resolved_ends_where_the_name_is_denied() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let servers = vec![silent.local_addr().expect("its address")];
    let dns = Arc::new(crate::dns::Settings { servers, ..crate::dns::Settings::default() });
    let with = |list: Vec<RuleSpec>| {
        let (snapshot, policy) = revoking(list);
        (Snapshot { dns: Arc::clone(&dns), ..snapshot }, policy)
    };
    let (mut worker, key, mut client) = under(with(Vec::new()));
    client.write_all(b"\x05\x01\0\x05\x01\0\x03\x0cname.example\0\x50").expect("a request");
    worker.with(key, |core, slot| phases::event(core, slot, 0, Edge { readable: true, ..Edge::default() }));
    client.read_exact(&mut [0; 2]).expect("a method");
    go_over(&mut worker, with(vec![deny(|rule| rule.to = to(["*.name.example"]))]));
    assert!(is_there(&worker, key));
    let other = allow(|rule| rule.to = to(["other.example"]));
    go_over(&mut worker, with(vec![other, deny(|rule| rule.to = to([".example"]))]));
    assert!(!is_there(&worker, key) && is_reset(&client));
}

/// A session of a server without rules costs their counters nothing.
#[test]
fn where_there_are_no_rules_nothing_is_counted_for_them() {
    let ceilings = Ceilings { sessions: 10_000, second_attempts: 0, names_beside: 8, pipes: 8 };
    let open = Snapshot { ceilings, ..open_to_all(limits::LINGER) };
    let (mut worker, ..) = under((open, open_policy()));
    let (key, _client, _target, _) = relay(&mut worker);
    assert!(is_there(&worker, key));
    assert_eq!(worker.core.counters.rules.of(RuleId::DEFAULT), [0; 4]);
    let (mut worker, ..) = under(revoking([]));
    relay(&mut worker);
    assert_eq!(worker.core.counters.rules.of(RuleId::DEFAULT), [1, 0, 0, 0]);
}

/// Whoever is not known yet is judged when he asks.
#[test]
fn a_handshake_without_a_request_stays() {
    let (mut worker, key, _client) = under(revoking([]));
    go_over(&mut worker, revoking([deny(|_| {})]));
    assert!(is_there(&worker, key));
}
