//! Moments of a worker that no client can bring about at will.

mod routes;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::handshake::Waits;
use super::next::Next;
use super::*;
use crate::auth::{Identity, Verified};
use crate::config::{Access, AuthMethod, Config, Dns64, OnFull, RelayMode};
use crate::dns::{DnsError, Settings};
use crate::observe::lines;
use crate::policy::rules::by_hand::{self, any, deny};
use crate::policy::rules::spec::Action;
use crate::policy::{Guard, Incoming, Object, Policy, Route, Subject, Verdict};
use crate::proto::request::RequestCommand;
use crate::relay::datagram::Drop;
use crate::relay::{Budget, Budgets, Engine, Side};
use crate::session::{Command, Input};
use crate::shares;
use crate::sys::congestion::CongestionControl;
use crate::sys::stream::Stream;

/// What a worker without listeners is given.
pub(super) fn setup() -> Setup {
    Setup {
        memory: Arc::default(),
        own_ports: Arc::default(),
        number: 0,
        listeners: Vec::new(),
        counters: Arc::default(),
        pulse: Arc::default(),
        boot: 0,
        starting: None,
    }
}

/// What it goes by.
pub(super) fn snapshot() -> Snapshot {
    let mut config = Config::default();
    config.auth.methods = vec![AuthMethod::Password];
    Snapshot {
        config: Arc::new(config),
        revokes: false,
        rule_names: Arc::default(),
        records: None,
        learn: None,
        listening: Arc::default(),
        listener_names: Box::default(),
        tls: Arc::default(),
        verifier: None,
        username: None,
        gssapi: None,
        dns: Arc::default(),
        congestion: CongestionControl::default(),
        limits: None,
        limit_names: Arc::default(),
        egress: None,
        parents: None,
        sources: None,
        watched: false,
        ceilings: Ceilings { sessions: 1, second_attempts: 0, names_beside: 8, pipes: 0 },
    }
}

/// What ends a relay that is silent for so long.
pub(super) fn open_to_all(idle: Duration) -> Snapshot {
    let mut config = Config::default();
    config.timeouts.idle = idle;
    Snapshot { config: Arc::new(config), ..snapshot() }
}

/// What lets anybody reach this machine.
pub(super) fn open_policy() -> Arc<Policy> {
    Arc::new(Policy::new(Guard::new(true, Vec::new(), Vec::new())))
}

/// A worker without listeners, with one connection that was just accepted, and the client's end of it.
fn worker() -> (Worker, Key, TcpStream) {
    worker_under(setup(), snapshot(), Arc::default())
}

/// The same, which lets anybody reach this machine.
pub(super) fn worker_of(setup: Setup, snapshot: Snapshot) -> (Worker, Key, TcpStream) {
    worker_under(setup, snapshot, open_policy())
}

pub(super) fn worker_under(
    setup: Setup,
    snapshot: Snapshot,
    policy: Arc<Policy>,
) -> (Worker, Key, TcpStream) {
    worker_from(setup, Inherited::first(Arc::new(snapshot), policy, Acceptance::default()))
}

fn worker_from(mut setup: Setup, inherited: Inherited) -> (Worker, Key, TcpStream) {
    let prepared = prepare().expect("a poll");
    let acceptance = Acceptance::register(prepared.poll.registry(), std::mem::take(&mut setup.listeners));
    let inherited = Inherited { acceptance: acceptance.expect("its listeners"), ..inherited };
    let mut worker = Worker::new(&prepared.poll, prepared.mailbox(), &setup, inherited).expect("a worker");
    let (accepted, incoming, client) = connection();
    worker.admit(accepted, incoming);
    (worker, Key::new(0, 0), client)
}

/// A connection as a listener gives it, with how it came in, and the client's end.
pub(super) fn connection() -> (Stream, Incoming, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let (accepted, peer) = listener.accept().expect("a connection");
    accepted.set_nonblocking(true).expect("a non-blocking socket");
    (Stream::from_fd(accepted.into()), Incoming { client: peer, listener: 0 }, client)
}

/// Has a client ask for a target, and its worker hear of it.
pub(super) fn ask_for(worker: &mut Worker, key: Key, client: &mut TcpStream, target: &TcpListener) {
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    let request = [b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01", &port[..]].concat();
    client.write_all(&request).expect("a request");
    worker.with(key, |core, slot| phases::event(core, slot, 0, Edge { readable: true, ..Edge::default() }));
}

#[test]
fn a_login_known_by_the_time_it_is_tried_again_keeps_the_deadline_for_its_request() {
    let (mut worker, key, _client) = worker();
    let (core, slot) = (&mut worker.core, &mut worker.slots[key.index()]);
    let Phase::Handshake(handshake) = &mut slot.phase else { panic!("{slot:?}") };
    let (now, deadline) = (core.now, handshake.deadline);
    let bytes = Input::Bytes(b"\x05\x01\x02\x01\x05alice\x06secret");
    let Command::Verify(credentials) = handshake
        .session
        .handle(bytes, core.rules(&slot.connection.snapshot, slot.connection.listener))
        .command
    else {
        panic!("{handshake:?}")
    };
    let credentials = Arc::new(credentials);
    let verified = Verified {
        source: slot.connection.peer.ip().into(),
        credentials: Arc::clone(&credentials),
        admitted: Some(Identity::User("alice".into()).into()),
        generation: 0,
    };
    core.logins.learn(&verified, now);
    handshake.waits_for = Waits::Retry { credentials, at: now };

    core.wheel.cancel(key.index());
    assert_eq!(phases::timer(core, slot), Fate::Keep);
    let Phase::Handshake(handshake) = &slot.phase else { panic!("{slot:?}") };
    assert!(handshake.session.wants_bytes() && handshake.session.facts().identity.is_some());
    let next = core.wheel.next().map(|since_start| core.start + since_start);
    assert!(next.is_some_and(|next| deadline <= next), "{next:?}, {deadline:?}");
}

/// A session whose record would have no room is told so at its request, and before it nothing is done for it: not one
/// packet goes to the target. With room the same session goes on, and its record has it.
#[test]
fn a_session_goes_on_past_its_request_only_with_room_for_its_record() {
    for (room, refused) in [(0, true), (limits::RECORD_BYTES_MAX, false)] {
        let (queue, _receiver) = lines(room);
        let mut snapshot = open_to_all(limits::LINGER);
        let mut config = Config::clone(&snapshot.config);
        (config.log.access, config.log.on_full) = (Access::Stdout, OnFull::Refuse);
        (snapshot.config, snapshot.records) = (Arc::new(config), Some(queue.clone()));
        let (mut worker, key, mut client) = worker_of(setup(), snapshot);
        let target = TcpListener::bind("127.0.0.1:0").expect("a port");
        target.set_nonblocking(true).expect("non-blocking");
        ask_for(&mut worker, key, &mut client, &target);
        let totals = crate::observe::Totals::of([&*worker.core.counters]);
        assert_eq!(totals.count_of(crate::observe::Counted::RefusedUnrecorded), u64::from(refused));
        assert_eq!(target.accept().is_err(), refused, "the target heard of it");
        if refused {
            let mut answer = [0; 12];
            client.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, *b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0");
        } else {
            assert!(!queue.reserve(room), "its room is taken");
        }
        worker.close_all(Reason::Drained);
        let now = worker.core.now;
        worker.core.records.flush(now, true);
        assert_eq!((queue.waiting(), queue.lost()), (u64::from(!refused), u64::from(refused)));
    }
}

/// A worker with a snapshot of its own is told of another one, under which anybody may reach this machine.
fn told(worker: &mut Worker, snapshot: Snapshot) -> Arc<Snapshot> {
    told_with(worker, snapshot, open_policy())
}

/// The same, with another policy.
pub(super) fn told_with(worker: &mut Worker, snapshot: Snapshot, policy: Arc<Policy>) -> Arc<Snapshot> {
    let snapshot = Arc::new(snapshot);
    worker.read_mail(Mail::Snapshot(Box::new(Changeover::to(Arc::clone(&snapshot), policy))));
    snapshot
}

#[test]
fn a_snapshot_is_taken_between_two_turns() {
    let (mut worker, ..) = worker();
    let first = Arc::clone(&worker.core.snapshot);
    let second = told(&mut worker, snapshot());
    assert!(Arc::ptr_eq(&worker.core.snapshot, &first), "in the middle of a turn");
    worker.take_snapshot();
    assert!(Arc::ptr_eq(&worker.core.snapshot, &second));
}

/// What was judged is remembered by the version of the rules, and prefixes that were shown are this worker's own.
#[test]
fn rules_are_others_only_where_they_changed_and_keep_the_translators() {
    let (mut worker, ..) = worker();
    let carries = SocketAddr::from(([0x64, 0xff9b, 0, 0, 0, 0, 0x0808, 0x0808], 80));
    let incoming = Incoming { client: SocketAddr::from(([127, 0, 0, 1], 1)), listener: 0 };
    let (identity, command) = (&Identity::Anonymous, RequestCommand::UdpAssociate);
    let subject = Subject { incoming, identity, parameters: None, command };
    let reaches = |worker: &Worker| {
        matches!(worker.core.policy.judge(&subject, Object::To(carries, None)), Verdict::Allow(_))
    };
    assert!(!reaches(&worker));
    worker.core.learn_translators(&Ok([IpAddr::from([0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0xaa])].into()));
    assert!(reaches(&worker));

    let (version, policy) = (worker.core.policy_version, Arc::clone(&worker.core.given_policy));
    told_with(&mut worker, snapshot(), policy);
    worker.take_snapshot();
    assert_eq!(worker.core.policy_version, version, "of the same policy");

    told_with(&mut worker, snapshot(), Arc::default());
    worker.take_snapshot();
    assert_eq!(worker.core.policy_version, version + 1);
    assert!(reaches(&worker));
    let (worker, ..) = worker_from(setup(), worker.bequeath());
    assert!(reaches(&worker));
}

#[test]
fn prefixes_of_translators_are_asked_for_and_believed_while_the_snapshot_says_so() {
    let (mut worker, ..) = worker();
    let policy = Arc::clone(&worker.core.given_policy);
    worker.core.learn_translators(&Ok([IpAddr::from([0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0xaa])].into()));
    for (dns64, asked) in [(Dns64::Off, false), (Dns64::Auto, true)] {
        let mut config = Config::default();
        config.dns.dns64 = dns64;
        let version = worker.core.policy_version;
        told_with(&mut worker, Snapshot { config: Arc::new(config), ..snapshot() }, Arc::clone(&policy));
        worker.take_snapshot();
        let next_at = worker.core.translators.as_ref().and_then(|translators| translators.next_at());
        assert_eq!(next_at.is_some_and(|at| at <= worker.core.now), asked);
        assert!(Arc::ptr_eq(&worker.core.policy, &policy), "with prefixes that nobody shows any more");
        assert_eq!(worker.core.policy_version, version + 1);
    }
}

/// What came in the turn that panicked is not lost, and what was in force before is not forgotten.
#[test]
fn the_worker_in_place_of_another_goes_by_the_latest_snapshot() {
    let (mut worker, ..) = worker();
    let second = told(&mut worker, snapshot());
    worker.take_snapshot();
    assert!(Arc::ptr_eq(&worker.bequeath().snapshot, &second));
    let third = told(&mut worker, snapshot());
    let mut inherited = worker.bequeath();
    assert!(Arc::ptr_eq(&inherited.snapshot, &second), "until its first turn");
    let next = inherited.next.take().expect("what came");
    let (mut worker, ..) = worker_from(setup(), Inherited { next: Some(next), ..inherited });
    worker.take_snapshot();
    assert!(Arc::ptr_eq(&worker.core.snapshot, &third));
}

/// A worker with two relays, the first of them accepted before `new` came, and their clients' and targets' ends.
fn relays_under(old: Snapshot, new: Snapshot) -> (Worker, [Key; 2], [TcpStream; 4]) {
    let (mut worker, first, mut first_client) = worker_of(setup(), old);
    told(&mut worker, new);
    worker.take_snapshot();
    let (accepted, peer, mut second_client) = connection();
    worker.admit(accepted, peer);
    let second = Key::new(1, 1);
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut relay = |key, client: &mut TcpStream| {
        ask_for(&mut worker, key, client, &target);
        worker
            .with(key, |core, slot| phases::event(core, slot, 1, Edge { writable: true, ..Edge::default() }));
        assert!(matches!(worker.slots[key.index()].phase, Phase::Relaying(_)));
        target.accept().expect("a connection").0
    };
    let targets = [relay(first, &mut first_client), relay(second, &mut second_client)];
    let [first_target, second_target] = targets;
    (worker, [first, second], [first_client, first_target, second_client, second_target])
}

#[test]
fn a_session_keeps_the_time_limits_that_it_was_accepted_under() {
    let (old, new) = (open_to_all(Duration::from_secs(10)), open_to_all(Duration::from_secs(30)));
    let (mut worker, keys, _ends) = relays_under(old, new);
    worker.core.now += Duration::from_secs(20);
    let fates = keys.map(|key| phases::timer(&mut worker.core, &mut worker.slots[key.index()]));
    assert_eq!(fates, [Fate::Close(Reason::Idle), Fate::Keep]);
}

#[test]
fn a_session_keeps_the_engines_that_it_was_accepted_under() {
    let with = |relay, pipes| {
        let mut config = Config::default();
        config.server.relay = relay;
        let ceilings = Ceilings { pipes, ..snapshot().ceilings };
        Snapshot { config: Arc::new(config), ceilings, ..open_to_all(limits::LINGER) }
    };
    let (mut worker, keys, mut ends) = relays_under(with(RelayMode::Copy, 0), with(RelayMode::Splice, 1));
    for (key, client) in [(keys[0], 0), (keys[1], 2)] {
        ends[client].write_all(b"hello").expect("a writable client");
        worker
            .with(key, |core, slot| phases::event(core, slot, 0, Edge { readable: true, ..Edge::default() }));
    }
    let engine = |key: Key| match &worker.slots[key.index()].phase {
        Phase::Relaying(relaying) => relaying.relay.engine(),
        phase => panic!("{phase:?}"),
    };
    assert_eq!(keys.map(engine), [Engine::Copy, Engine::Splice]);
}

/// A worker with one relay whose idle time is 10 seconds, and the target's end of it. Of 3000 bytes that the client sent
/// 1000 may go on before this moment.
fn held_back_until(at: Duration) -> (Worker, Key, TcpStream) {
    let (mut worker, key, mut client) = worker_of(setup(), open_to_all(Duration::from_secs(10)));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    ask_for(&mut worker, key, &mut client, &listener);
    worker.with(key, |core, slot| phases::event(core, slot, 1, Edge { writable: true, ..Edge::default() }));
    client.write_all(&[7; 3000]).expect("the client sends");
    let (target, _) = listener.accept().expect("the relay's connection");
    target.set_nonblocking(true).expect("non-blocking");
    let more_at_ms = worker.core.ms(worker.core.now + at);
    worker.with(key, |core, slot| {
        let Phase::Relaying(relaying) = &mut slot.phase else { panic!("{slot:?}") };
        relaying.relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
        let up = Budget::until(more_at_ms, 1000);
        let mut budgets = Budgets { up, ..Budgets::TURN };
        let next = relaying.drive_within(core, &mut slot.connection, &mut budgets);
        assert!(matches!(next, Next::Wait), "{next:?}");
        Fate::Keep
    });
    assert!(!worker.core.has_more(), "the next turn would find nothing to do");
    (worker, key, target)
}

/// How many bytes have come to a target since it was asked last.
fn arrived(target: &mut TcpStream) -> usize {
    target.read(&mut [0; 4000]).unwrap_or(0)
}

#[test]
fn a_relay_that_spent_its_budget_goes_on_at_its_moment_without_an_event() {
    let (mut worker, _, mut target) = held_back_until(Duration::from_millis(200));
    assert_eq!(arrived(&mut target), 1000);
    for (pass, bytes) in [(Duration::from_millis(199), 0), (Duration::from_millis(2), 2000)] {
        worker.core.now += pass;
        worker.expire_timers();
        assert_eq!(arrived(&mut target), bytes);
    }
    assert!(worker.core.wheel.next().is_some(), "its idle time runs");
}

#[test]
fn a_relay_that_its_budget_holds_back_is_not_idle() {
    let (mut worker, key, mut target) = held_back_until(Duration::from_secs(60));
    worker.core.now += Duration::from_secs(20);
    assert_eq!(phases::timer(&mut worker.core, &mut worker.slots[key.index()]), Fate::Keep);
    assert_eq!(arrived(&mut target), 3000);
    worker.core.now += Duration::from_secs(20);
    assert_eq!(phases::timer(&mut worker.core, &mut worker.slots[key.index()]), Fate::Close(Reason::Idle));
}

/// This machine's addresses may change while a session is there, and none of them may be reached.
#[test]
fn a_session_is_judged_by_the_rules_of_the_moment() {
    let (mut worker, key, mut client) = worker_of(setup(), open_to_all(limits::LINGER));
    told_with(&mut worker, open_to_all(limits::LINGER), Arc::default());
    worker.take_snapshot();
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    ask_for(&mut worker, key, &mut client, &target);
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, *b"\x05\x00\x05\x02");
}

/// Methods are those that a session began with: one that was told of method none is not refused for it in its request.
#[test]
fn a_session_keeps_the_methods_that_it_began_with() {
    let (mut worker, key, mut client) = worker_of(setup(), open_to_all(limits::LINGER));
    client.write_all(b"\x05\x01\x00").expect("a greeting");
    let readable = Edge { readable: true, ..Edge::default() };
    worker.with(key, |core, slot| phases::event(core, slot, 0, readable));
    let mut locked = open_to_all(limits::LINGER);
    let mut config = Config::clone(&locked.config);
    config.auth.methods = vec![AuthMethod::Password];
    locked.config = Arc::new(config);
    locked.ceilings.sessions = 8;
    told(&mut worker, locked);
    worker.take_snapshot();
    let (accepted, incoming, mut other) = connection();
    worker.admit(accepted, incoming);
    other.write_all(b"\x05\x01\x00").expect("a greeting");
    worker.with(Key::new(1, 1), |core, slot| phases::event(core, slot, 0, readable));
    let mut answers = [[0; 2]; 2];
    client.read_exact(&mut answers[0]).expect("an answer");
    other.read_exact(&mut answers[1]).expect("an answer");
    assert_eq!(answers, [*b"\x05\x00", *b"\x05\xff"]);
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    client.write_all(&[&b"\x05\x01\x00\x01\x7f\0\0\x01"[..], &port].concat()).expect("a request");
    worker.with(key, |core, slot| phases::event(core, slot, 0, readable));
    target.accept().expect("a connection");
}

#[test]
fn a_snapshot_changes_how_much_a_worker_may_have() {
    let (mut worker, ..) = worker();
    let second_attempts = worker.core.pools.second_attempts.clone();
    let source = shares::Source::from(IpAddr::from([192, 0, 2, 1]));
    let mut attempt = second_attempts.nothing(source);
    let name =
        |core: &mut Core| core.lookups.lookup_beside("name.example", source, 1, &core.registry, core.now);
    assert!(worker.core.full() && !attempt.is_now(1));
    assert_eq!(name(&mut worker.core), Some(Err(DnsError::NoServers)));
    let ceilings = Ceilings { sessions: 2, second_attempts: 2, names_beside: 0, pipes: 0 };
    told(&mut worker, Snapshot { ceilings, ..snapshot() });
    worker.take_snapshot();
    assert!(!worker.core.full() && attempt.is_now(1));
    assert_eq!(name(&mut worker.core), Some(Err(DnsError::Busy)));
}

/// Where the servers that were asked are gone, and there are no others, a lookup has its answer before the next turn.
#[test]
fn an_answer_that_other_name_servers_bring_about_waits_for_no_event() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let servers = vec![silent.local_addr().expect("its address")];
    let dns = Arc::new(Settings { servers, ..Settings::default() });
    let open = open_to_all(limits::LINGER);
    let (mut worker, key, mut client) = worker_of(setup(), Snapshot { dns, ..open.clone() });
    client.write_all(b"\x05\x01\0\x05\x01\0\x03\x0cname.example\0\x50").expect("a request");
    worker.with(key, |core, slot| phases::event(core, slot, 0, Edge { readable: true, ..Edge::default() }));
    worker.deliver_answers();
    assert_ne!(worker.timeout(Instant::now()), Some(Duration::ZERO), "the server is asked");
    told(&mut worker, open);
    worker.take_snapshot();
    assert_eq!(worker.timeout(Instant::now()), Some(Duration::ZERO));
    worker.deliver_answers();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, *b"\x05\x00\x05\x06");
}
