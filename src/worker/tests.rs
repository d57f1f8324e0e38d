//! Moments of a worker that no client can bring about at will.

use super::slot::Waits;
use super::*;
use crate::auth::{Identity, Verified};
use crate::config::{AuthMethod, Config, Gssapi, OnFull};
use crate::observe::lines;
use crate::policy::guard::Guard;
use crate::session::{Command, Rules};
use crate::sys::congestion::Congestion;
use crate::sys::listener::Listener;
use crate::sys::stream::Stream;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// What a worker without listeners is given.
fn setup() -> Setup {
    let rules =
        Rules { methods: vec![AuthMethod::Password], guard: Guard::default(), gssapi: Gssapi::default() };
    Setup {
        own_ports: Arc::default(),
        sources: None,
        number: 0,
        listeners: Vec::new(),
        config: Arc::new(Config::default()),
        rules: Arc::new(rules),
        verifier: None,
        gssapi: None,
        dns: Arc::default(),
        counters: Arc::default(),
        pulse: Arc::default(),
        ceiling: 1,
        second_attempts_max: 0,
        names_beside_max: 8,
        pipes_max: 0,
        records: None,
        congestion: Congestion::default(),
        boot: 0,
        starting: None,
    }
}

/// A worker without listeners, with one connection that was just accepted, and the client's end of it.
fn worker() -> (Worker, Key, TcpStream) {
    worker_of(setup())
}

fn worker_of(mut setup: Setup) -> (Worker, Key, TcpStream) {
    let prepared = prepare().expect("a poll");
    let mut worker = Worker::new(&prepared.poll, prepared.mailbox(), &mut setup, 0).expect("a worker");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let (accepted, peer) = listener.accept().expect("a connection");
    accepted.set_nonblocking(true).expect("a non-blocking socket");
    worker.admit(Stream::from_fd(accepted.into()), peer);
    (worker, Key::new(0, 0), client)
}

#[test]
fn a_login_known_by_the_time_it_is_tried_again_keeps_the_deadline_for_its_request() {
    let (mut worker, key, _client) = worker();
    let (core, slot) = (&mut worker.core, &mut worker.slots[key.index]);
    let now = core.now;
    let Phase::Handshake(handshake) = &mut slot.phase else { panic!("{slot:?}") };
    let deadline = handshake.deadline;
    let bytes = Input::Bytes(b"\x05\x01\x02\x01\x05alice\x06secret");
    let Command::Verify(credentials) = handshake.session.handle(bytes, &core.rules).command else {
        panic!("{handshake:?}")
    };
    let credentials = Arc::new(credentials);
    let verified = Verified {
        source: slot.peer.ip().into(),
        credentials: Arc::clone(&credentials),
        identity: Some(Identity::User("alice".into())),
        generation: 0,
    };
    core.logins.learn(&verified, now);
    handshake.waits_for = Waits::Retry { credentials, at: now };

    core.wheel.cancel(key.index);
    assert_eq!(core.timer(key, slot), Fate::Keep);
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
        let mut setup = setup();
        let mut config = Config::default();
        config.log.on_full = OnFull::Refuse;
        config.guard.allow_private = true;
        let rules = Rules {
            methods: vec![AuthMethod::None],
            guard: Guard::new(true, Vec::new(), Vec::new()),
            gssapi: Gssapi::default(),
        };
        (setup.config, setup.rules, setup.records) = (Arc::new(config), Arc::new(rules), Some(queue.clone()));
        let (mut worker, key, mut client) = worker_of(setup);
        let target = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = target.local_addr().expect("its address").port().to_be_bytes();
        client
            .write_all(&[b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01", &port[..]].concat())
            .expect("a request");
        target.set_nonblocking(true).expect("non-blocking");
        worker.with(key, |core, slot| core.event(key, slot, 0, Edge { readable: true, ..Edge::default() }));
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

/// A flood of one address must not shut the others out.
#[test]
fn ready_listeners_take_turns() {
    let options = crate::sys::listener::Options {
        backlog: 1,
        only_v6: true,
        liveness: liveness(&Config::default()),
        congestion: Congestion::default(),
    };
    let open =
        || Arc::new(Listener::open("127.0.0.1:0".parse().expect("an address"), &options).expect("a port"));
    let prepared = prepare().expect("a poll");
    let mut setup = setup();
    setup.listeners = vec![open(), open(), open()];
    let mut acceptance = Acceptance::register(prepared.poll.registry(), &mut setup).expect("three listeners");
    let turns: Vec<_> = (0..6).map(|_| acceptance.next_ready()).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2].map(Some));
}
