//! A session is told of, and can be ended, wherever it stands.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{id, is_open, is_reset, join, kill, list, relay, roomy_snapshot};
use crate::auth::{Clocks, Users, Verifier};
use crate::config::{Access, AuthMethod, Config};
use crate::dns::Settings;
use crate::observe::filter::{Selection, SessionFilter};
use crate::observe::live::LiveState;
use crate::observe::{LineReceiver, lines};
use crate::worker::handshake::Waits;
use crate::worker::slot::Phase;
use crate::worker::snapshot::Snapshot;
use crate::worker::tests::{setup, worker_of};
use crate::worker::tokens::Key;
use crate::worker::watch::Edge;
use crate::worker::{Worker, phases, today};

/// A worker with a session, one relay beside it that is nobody's business, and where records go.
struct Scene {
    worker: Worker,
    key: Key,
    client: TcpStream,
    beside: [TcpStream; 2],
    records: LineReceiver,
}

impl Scene {
    fn new(snapshot: Snapshot) -> Scene {
        let (queue, records) = lines(1 << 20);
        let mut config = Config::clone(&snapshot.config);
        config.log.access = Access::Stdout;
        let snapshot = Snapshot { config: Arc::new(config), records: Some(queue), ..snapshot };
        let mut open = Config::clone(&snapshot.config);
        open.auth.methods = vec![AuthMethod::None];
        let (mut worker, beside, mut beside_client) =
            worker_of(setup(), Snapshot { config: Arc::new(open), ..snapshot.clone() });
        let beside_target = relay(&mut worker, beside, &mut beside_client);
        let policy = Arc::clone(&worker.core.given_policy);
        worker.core.put_snapshot(Arc::new(snapshot), policy);
        let (key, client) = join(&mut worker);
        Scene { worker, key, client, beside: [beside_client, beside_target], records }
    }

    /// The client sends, and its worker hears of it.
    fn say(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).expect("the client sends");
        let readable = Edge { readable: true, ..Edge::default() };
        self.worker.with(self.key, |core, slot| phases::event(core, slot, 0, readable));
    }

    fn waits(&self) -> &Waits {
        match &self.worker.slots[self.key.index()].phase {
            Phase::Handshake(handshake) => &handshake.waits_for,
            phase => panic!("{phase:?}"),
        }
    }

    /// Told of in this state, the session is ended with this reason, its client is told at once, and nobody else is.
    fn ends(mut self, state: LiveState, reason: &str) {
        let filter = SessionFilter { state: Some(state), ..SessionFilter::default() };
        let [session] = &list(&mut self.worker, filter)[..] else { panic!("one session is {state:?}") };
        assert_eq!(session.id, id(&self.worker, self.key));
        let ids = HashSet::from([session.id]);
        assert_eq!(kill(&mut self.worker, Selection::Ids(ids)), 1);
        assert!(is_reset(&mut self.client), "the client of a session that was {state:?}");
        assert!(self.beside.iter_mut().all(is_open), "a session that was not meant");
        let now = self.worker.core.now;
        self.worker.core.records.flush(now, true);
        let batch = self.records.receive(Duration::ZERO).expect("a queue").expect("a record");
        let text = String::from_utf8_lossy(&batch.bytes);
        assert_eq!(text.lines().count(), 1, "{text}");
        let says = |key: &str, value: &str| text.contains(&format!("\"{key}\":\"{value}\""));
        assert!(says("reason", reason) && says("id", &session.id.to_string()), "{text}");
    }
}

#[test]
fn one_that_has_said_nothing() {
    let scene = Scene::new(roomy_snapshot());
    assert!(matches!(scene.waits(), Waits::Bytes));
    scene.ends(LiveState::Handshake, "killed");
}

#[test]
fn one_whose_login_is_being_verified() {
    // Cost 13: the verification lasts for some hundred milliseconds.
    let line = "ann:$2b$13$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232\n";
    let users = Users::parse(line, Path::new("users")).expect("users");
    let verifier =
        Verifier::start(Arc::new(users), 1, Clocks { now: Instant::now, today }).expect("a thread");
    let mut snapshot = roomy_snapshot();
    let mut config = Config::clone(&snapshot.config);
    config.auth.methods = vec![AuthMethod::Password];
    snapshot.config = Arc::new(config);
    snapshot.verifier = Some(Arc::new(verifier));
    let mut scene = Scene::new(snapshot);
    scene.say(b"\x05\x01\x02");
    scene.client.read_exact(&mut [0; 2]).expect("a method");
    scene.say(b"\x01\x03ann\x06secret");
    assert!(matches!(scene.waits(), Waits::Login { .. }));
    scene.ends(LiveState::Handshake, "killed");
}

#[test]
fn one_whose_name_is_being_asked_for() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let servers = vec![silent.local_addr().expect("its address")];
    let dns = Arc::new(Settings { servers, names: 8, spare: 8, ..Settings::default() });
    let mut scene = Scene::new(Snapshot { dns, ..roomy_snapshot() });
    scene.say(b"\x05\x01\0\x05\x01\0\x03\x0cname.example\0\x50");
    assert!(matches!(scene.waits(), Waits::Addresses));
    assert!(scene.worker.core.lookups.next_deadline().is_some());
    scene.client.read_exact(&mut [0; 2]).expect("a method");
    scene.ends(LiveState::Connecting, "killed");
}

/// A listener whose queue is full: who connects to it waits. It lasts as long as those in its queue.
fn full() -> (socket2::Socket, Vec<TcpStream>) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("a listener");
    let address = listener.local_addr().expect("its address").as_socket().expect("an IP address");
    let patience = Duration::from_millis(200);
    let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok()).collect();
    (listener, queued)
}

fn request(command: u8, to: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(to) = to else { panic!("{to} is not IPv4") };
    [&[5, 1, 0, 5, command, 0, 1], &to.ip().octets()[..], &to.port().to_be_bytes()].concat()
}

#[test]
fn one_that_dials() {
    let (listener, _queued) = full();
    let to = listener.local_addr().expect("its address").as_socket().expect("an IP address");
    let mut scene = Scene::new(roomy_snapshot());
    scene.say(&request(1, to));
    assert!(matches!(scene.waits(), Waits::Connection(_)));
    scene.client.read_exact(&mut [0; 2]).expect("a method");
    scene.ends(LiveState::Connecting, "killed");
}

#[test]
fn one_that_waits_for_its_peer() {
    let mut scene = Scene::new(roomy_snapshot());
    scene.say(&request(2, SocketAddr::from(([127, 0, 0, 1], 0))));
    assert!(matches!(scene.waits(), Waits::Peer(_)));
    let mut reply = [0; 12];
    scene.client.read_exact(&mut reply).expect("a method and a reply");
    let port = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes([reply[10], reply[11]])));
    scene.ends(LiveState::Connecting, "killed");
    TcpListener::bind(port).expect("its port is free");
}

#[test]
fn one_that_relays_datagrams() {
    let mut scene = Scene::new(roomy_snapshot());
    scene.say(&request(3, SocketAddr::from(([0, 0, 0, 0], 0))));
    let mut reply = [0; 12];
    scene.client.read_exact(&mut reply).expect("a method and a reply");
    let port = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes([reply[10], reply[11]])));
    scene.ends(LiveState::Associated, "killed");
    UdpSocket::bind(port).expect("its port is free");
}

#[test]
fn one_that_relays() {
    let mut scene = Scene::new(roomy_snapshot());
    let key = scene.key;
    let mut target = relay(&mut scene.worker, key, &mut scene.client);
    let beside = list(&mut scene.worker, SessionFilter::default());
    let [_, session] = &beside[..] else { panic!("two relays") };
    assert_eq!((session.state, session.id), (LiveState::Relaying, id(&scene.worker, key)));
    let target_address = target.local_addr().expect("its address");
    let filter =
        SessionFilter { target: target_address.to_string().parse().ok(), ..SessionFilter::default() };
    assert_eq!(kill(&mut scene.worker, Selection::Filter(filter)), 1);
    assert!(is_reset(&mut scene.client) && is_reset(&mut target));
    assert!(scene.beside.iter_mut().all(is_open));
}

/// Its record says why it ended, which it had before.
#[test]
fn one_that_was_refused_and_lingers() {
    let mut scene = Scene::new(roomy_snapshot());
    scene.say(&request(9, SocketAddr::from(([127, 0, 0, 1], 80))));
    assert!(matches!(scene.worker.slots[scene.key.index()].phase, Phase::Linger(_)));
    scene.client.read_exact(&mut [0; 12]).expect("a method and a refusal");
    let [lingering] = &list(
        &mut scene.worker,
        SessionFilter { state: Some(LiveState::Lingering), ..SessionFilter::default() },
    )[..] else {
        panic!("one session lingers")
    };
    assert_eq!(lingering.reply, Some(7));
    let ids = HashSet::from([lingering.id]);
    assert_eq!(kill(&mut scene.worker, Selection::Ids(ids)), 1);
    assert_eq!(scene.worker.slots.len(), 1);
    let now = scene.worker.core.now;
    scene.worker.core.records.flush(now, true);
    let batch = scene.records.receive(Duration::ZERO).expect("a queue").expect("a record");
    let text = String::from_utf8_lossy(&batch.bytes);
    assert!(text.contains("\"reply\":7,\"reason\":\"protocol\""), "{text}");
}
