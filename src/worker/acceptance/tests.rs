//! Listeners that take turns, and those that go.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Weak;
use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::outcome::Reason;
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Options;
use crate::worker::tests::{setup, snapshot, worker_of};
use crate::worker::{Ceilings, Changeover, Mail, Worker, liveness, prepare};

fn open(number: u16) -> NumberedListener {
    let options = Options {
        backlog: 8,
        only_v6: true,
        liveness: liveness(&Config::default()),
        congestion: CongestionControl::default(),
    };
    let socket = Listener::open("127.0.0.1:0".parse().expect("an address"), &options).expect("a port");
    NumberedListener { number, socket: Arc::new(socket) }
}

/// A flood of one address must not shut the others out.
#[test]
fn ready_listeners_take_turns() {
    let prepared = prepare().expect("a poll");
    let three = vec![open(0), open(1), open(2)];
    let mut acceptance = Acceptance::register(prepared.poll.registry(), three).expect("three listeners");
    let turns: Vec<_> = (0..6).map(|_| acceptance.next_ready()).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2].map(Some));
}

/// A worker with one session, room for so many, and a listener that goes in its next turn; what says that it is closed.
fn leaving(sessions: usize, before: impl FnOnce(&Listener)) -> (Worker, Weak<Latch>) {
    let listener = open(0);
    before(&listener.socket);
    let (mut setup, mut snapshot) = (setup(), snapshot());
    setup.listeners = vec![listener];
    snapshot.ceilings = Ceilings { sessions, ..snapshot.ceilings };
    let (mut worker, ..) = worker_of(setup, snapshot.clone());
    let latch = Arc::new(Latch::new(crossbeam_channel::bounded(1).0));
    let emptied = Arc::downgrade(&latch);
    worker.read_mail(Mail::Snapshot(Box::new(Changeover {
        listeners: Some(Vec::new()),
        emptied: vec![latch],
        ..Changeover::to(Arc::new(snapshot), Arc::default())
    })));
    (worker, emptied)
}

fn is_closed(emptied: &Weak<Latch>) -> bool {
    emptied.strong_count() == 0
}

/// The rest of a turn, so long after the one before.
fn turn(worker: &mut Worker, later: Duration) {
    worker.core.now += later;
    worker.take_snapshot();
    worker.accept();
}

const SHORT: Duration = Duration::from_millis(1);

/// Who had begun to come is served, and by what held as long as the listener did.
#[test]
fn a_listener_that_goes_waits_for_handshakes_that_had_begun() {
    let mut clients = Vec::new();
    let (mut worker, emptied) = leaving(8, |listener| {
        let address = listener.address().expect("an address");
        clients.push(TcpStream::connect(address).expect("a queued connection"));
        listener.defer_accept();
        clients.push(TcpStream::connect(address).expect("a connection"));
    });
    let before = Arc::clone(&worker.core.snapshot);
    turn(&mut worker, SHORT);
    assert_eq!((worker.slots.len(), is_closed(&emptied)), (2, false), "one of two, and one that was there");
    clients[1].write_all(b"\x05").expect("the end of the handshake");
    worker.acceptance.ready(0);
    turn(&mut worker, SHORT);
    assert_eq!((worker.slots.len(), is_closed(&emptied)), (3, false));
    assert!(worker.slots.iter().all(|(_, slot)| Arc::ptr_eq(&slot.connection.snapshot, &before)));
    assert!(!Arc::ptr_eq(&worker.core.snapshot, &before));
    turn(&mut worker, limits::HANDSHAKES_OVER);
    assert!(is_closed(&emptied) && worker.acceptance.is_over());
}

/// For who waits there is no place: the listener is kept until there is, or until the time of a drain has passed.
#[test]
fn a_listener_that_goes_keeps_who_waits_at_the_ceiling() {
    for served in [true, false] {
        let mut clients = Vec::new();
        let (mut worker, emptied) = leaving(1, |listener| {
            clients.push(TcpStream::connect(listener.address().expect("an address")).expect("a connection"));
        });
        let patience = worker.core.snapshot.config.timeouts.drain;
        turn(&mut worker, SHORT);
        turn(&mut worker, limits::HANDSHAKES_OVER);
        assert_eq!((worker.slots.len(), is_closed(&emptied)), (1, false));
        if served {
            worker.close(0, Reason::Completed);
            turn(&mut worker, SHORT);
            assert_eq!(worker.slots.len(), 1, "it has the place");
            worker.close(0, Reason::Completed);
            turn(&mut worker, SHORT);
        } else {
            let wakes_at = worker.acceptance.closes_at().expect("an end");
            turn(&mut worker, patience);
            assert!(wakes_at <= worker.core.now);
        }
        assert!(is_closed(&emptied), "served: {served}");
    }
}

/// The worker in place of one that panicked goes on with it where it stands.
#[test]
fn a_listener_that_goes_goes_on_doing_so_behind_a_panic() {
    let (mut worker, emptied) = leaving(8, |_| {});
    turn(&mut worker, SHORT);
    let mut acceptance = worker.bequeath().acceptance;
    assert!(acceptance.listeners[0].ready && !is_closed(&emptied));
    acceptance.listeners[0].ready = false;
    let later = worker.core.now + limits::HANDSHAKES_OVER;
    acceptance.close_emptied(later, &worker.core.registry);
    assert!(is_closed(&emptied));
}

/// A worker that takes everybody has no time for those whom it has taken, and nobody stands in its queue. Without overload a
/// turn that moves much is as long as one under overload that is too long.
#[test]
fn a_long_turn_accepts_few() {
    for (queues, long) in [(0, limits::STALLED_TURN), (1, limits::LONG_TURN)] {
        let listener = open(0);
        let address = listener.socket.address().expect("an address");
        let _clients = [(); 8].map(|()| TcpStream::connect(address).expect("a queued connection"));
        let (mut setup, mut snapshot) = (setup(), snapshot());
        setup.listeners = vec![listener];
        snapshot.ceilings.sessions = 64;
        let (mut worker, ..) = worker_of(setup, snapshot);
        worker.acceptance.overload.queues = queues;
        worker.core.now -= 2 * long;
        worker.accept();
        assert_eq!(worker.slots.len(), 1 + limits::ACCEPTS_PER_TURN_MIN, "one was there, {queues} queues");
        assert_eq!(worker.timeout(worker.core.now), Some(Duration::ZERO));
        worker.core.now += Duration::from_secs(60);
        worker.acceptance.overload.queues = 0;
        worker.accept();
        assert_eq!(worker.slots.len(), 1 + 8);
    }
}

/// How long somebody stood is a question to the kernel.
#[test]
fn nobody_is_asked_where_the_queue_was_empty_a_moment_ago() {
    let prepared = prepare().expect("a poll");
    let mut acceptance = Acceptance::register(prepared.poll.registry(), vec![open(0)]).expect("a listener");
    let here = &mut acceptance.listeners[0];
    let now = here.asks_at;
    assert!(!here.asks(now - SHORT) && here.asks(now) && !here.asks(now), "once in a while");
    assert!(here.asks(now + limits::QUEUE_ASK_INTERVAL));
    here.note_empty(now);
    assert!(!here.ready && !here.asks(now + limits::QUEUE_TARGET - SHORT));
    assert!(here.asks(now + limits::QUEUE_TARGET));
}
