//! What the talkers hear of sessions, turn by turn.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::unbounded;

use crate::auth::{Identity, Verified};
use crate::config::{AuthMethod, Config};
use crate::limits;
use crate::observe::talkers::{TalkedBy, TalkerKind, TalkersFound};
use crate::outcome::Reason;
use crate::policy::Policy;
use crate::proto::userpass::Credentials;
use crate::worker::snapshot::{Ceilings, Changeover, Snapshot};
use crate::worker::tests::{ask_for, open_policy, open_to_all, setup, worker_under};
use crate::worker::tokens::Key;
use crate::worker::watch::Edge;
use crate::worker::{Mail, Reply, Walked, Worker, phases};

fn watched() -> Snapshot {
    let ceilings = Ceilings { sessions: 100, second_attempts: 0, names_beside: 8, pipes: 8 };
    Snapshot { watched: true, ceilings, ..open_to_all(limits::LINGER) }
}

/// A worker that has begun to count, with one session, and the client's end.
fn watching(snapshot: Snapshot) -> (Worker, Key, TcpStream) {
    watching_under(snapshot, open_policy())
}

fn watching_under(snapshot: Snapshot, policy: Arc<Policy>) -> (Worker, Key, TcpStream) {
    let (mut worker, key, client) = worker_under(setup(), snapshot, policy);
    walk(&mut worker);
    (worker, key, client)
}

fn walk(worker: &mut Worker) {
    while !worker.walks.is_empty() {
        worker.walk();
    }
}

/// Asks the worker, and has it walk.
fn found(worker: &mut Worker) -> TalkersFound {
    let (sender, answers) = unbounded();
    worker.read_mail(Mail::Talkers { reply: Reply::new(sender, None) });
    walk(worker);
    let told = answers.try_recv().expect("an answer");
    assert_eq!(told.walked, Walked::Whole);
    told.found
}

/// Names, sessions and bytes of a kind.
fn top(found: &TalkersFound, kind: TalkerKind) -> Vec<(String, u64, u64)> {
    let top = found.top(kind, TalkedBy::Sessions, 10).into_iter();
    top.map(|talker| (talker.name, talker.sessions, talker.bytes)).collect()
}

fn one(name: &str, sessions: u64, bytes: u64) -> Vec<(String, u64, u64)> {
    vec![(name.to_owned(), sessions, bytes)]
}

fn readable(worker: &mut Worker, key: Key, socket_index: u8) {
    let edge = Edge { readable: true, ..Edge::default() };
    worker.with(key, |core, slot| phases::event(core, slot, socket_index, edge));
}

/// A session that relays to the end that is given back.
fn relay(worker: &mut Worker, key: Key, client: &mut TcpStream) -> TcpStream {
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    ask_for(worker, key, client, &target);
    worker.with(key, |core, slot| phases::event(core, slot, 1, Edge { writable: true, ..Edge::default() }));
    let end = target.accept().expect("a connection").0;
    end.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    end
}

fn send(worker: &mut Worker, key: Key, client: &mut TcpStream, target: &mut TcpStream, bytes: &[u8]) {
    // Nobody polls: what is to be there at the event must not wait for an acknowledgement.
    client.set_nodelay(true).expect("a socket");
    client.write_all(bytes).expect("the client sends");
    readable(worker, key, 0);
    target.read_exact(&mut vec![0; bytes.len()]).expect("the bytes");
}

#[test]
fn a_session_is_counted_once_and_its_bytes_as_they_move() {
    let (mut worker, key, mut client) = watching(watched());
    let mut target = relay(&mut worker, key, &mut client);
    for (sent, whole) in [(&b"hello"[..], 5), (b"", 5), (b"abc", 8)] {
        send(&mut worker, key, &mut client, &mut target, sent);
        for kind in [TalkerKind::Sources, TalkerKind::Targets] {
            assert_eq!(top(&found(&mut worker), kind), one("127.0.0.1", 1, whole));
        }
    }
    send(&mut worker, key, &mut client, &mut target, b"last");
    worker.close(key.index(), Reason::Completed);
    let found = found(&mut worker);
    assert_eq!(top(&found, TalkerKind::Sources), one("127.0.0.1", 1, 12));
    assert_eq!(top(&found, TalkerKind::Users), []);
}

#[test]
fn a_request_that_is_denied_at_once_is_counted_and_one_that_is_none_is_not() {
    for (request, sessions) in [
        (&b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\0\x50"[..], 1),
        (b"\x05\x01\0\x05\x09\0\x01\x7f\0\0\x01\0\x50", 0),
        (b"\x05\x01\x02", 0),
    ] {
        let (mut worker, key, mut client) = watching_under(watched(), Arc::default());
        client.write_all(request).expect("a request");
        readable(&mut worker, key, 0);
        worker.close(key.index(), Reason::Denied);
        let counted = top(&found(&mut worker), TalkerKind::Targets);
        assert_eq!(counted.iter().map(|(_, sessions, _)| sessions).sum::<u64>(), sessions, "{request:?}");
    }
}

#[test]
fn only_verified_users_are_counted() {
    let mut snapshot = watched();
    let mut config = Config::clone(&snapshot.config);
    config.auth.methods = vec![AuthMethod::Password];
    snapshot.config = Arc::new(config);
    for (verified, users) in [(true, one("ann", 1, 0)), (false, Vec::new())] {
        let (mut worker, key, mut client) = watching(snapshot.clone());
        let admitted = verified.then(|| Identity::User("ann".into()).into());
        let credentials =
            Arc::new(Credentials { user: b"ann".to_vec(), password: Some(b"secret".to_vec().into()) });
        let source = worker.slots[key.index()].connection.peer.ip().into();
        worker.core.logins.learn(&Verified { source, credentials, admitted, generation: 0 }, worker.core.now);
        let target = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = target.local_addr().expect("its address").port().to_be_bytes();
        let login = b"\x05\x01\x02\x01\x03ann\x06secret\x05\x01\0\x01\x7f\0\0\x01";
        client.write_all(&[&login[..], &port[..]].concat()).expect("a request");
        readable(&mut worker, key, 0);
        assert_eq!(top(&found(&mut worker), TalkerKind::Users), users);
    }
}

#[test]
fn nobody_is_counted_where_nobody_can_ask() {
    let (mut worker, key, mut client) = watching(Snapshot { watched: false, ..watched() });
    let mut target = relay(&mut worker, key, &mut client);
    send(&mut worker, key, &mut client, &mut target, b"hello");
    assert!(!worker.slots[key.index()].connection.counted && worker.walks.next_at().is_none());
    assert_eq!(top(&found(&mut worker), TalkerKind::Sources), []);
}

#[test]
fn what_moved_before_anybody_could_ask_is_no_matter() {
    let (mut worker, key, mut client) = watching(Snapshot { watched: false, ..watched() });
    let mut target = relay(&mut worker, key, &mut client);
    for (was_watched, counted) in [(true, 0), (false, 0), (true, 3)] {
        send(&mut worker, key, &mut client, &mut target, b"before");
        let next = Arc::new(Snapshot { watched: was_watched, ..watched() });
        worker.read_mail(Mail::Snapshot(Box::new(Changeover::to(next, open_policy()))));
        worker.take_snapshot();
        if counted > 0 {
            walk(&mut worker);
            send(&mut worker, key, &mut client, &mut target, b"now");
        }
        let bytes = found(&mut worker).top(TalkerKind::Sources, TalkedBy::Bytes, 1);
        assert_eq!(bytes.first().map_or(0, |talker| talker.bytes), counted);
    }
}

#[test]
fn what_live_sessions_move_is_counted_in_each_window_without_being_asked() {
    let (mut worker, key, mut client) = watching(watched());
    let mut target = relay(&mut worker, key, &mut client);
    send(&mut worker, key, &mut client, &mut target, b"hello");
    worker.walk();
    let counted = |worker: &mut Worker| {
        let now_ms = worker.core.ms(worker.core.now);
        let talkers = worker.core.talkers.as_mut().expect("talkers");
        let top = talkers.found(now_ms).top(TalkerKind::Sources, TalkedBy::Bytes, 1);
        top.first().map_or(0, |talker| talker.bytes)
    };
    assert_eq!(counted(&mut worker), 0, "the window lasts");
    let due = worker.walks.next_at().expect("a moment");
    worker.core.now += limits::TALKERS_WINDOW + Duration::from_millis(1);
    assert!(due <= worker.core.now);
    worker.walk();
    assert_eq!(counted(&mut worker), 5);
}
