//! Sessions of a worker that runs, as its mail tells of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;

use super::{is_reset, roomy_snapshot};
use crate::config::{Config, RelayMode};
use crate::observe::filter::{Selection, SessionFilter};
use crate::observe::live::LiveSession;
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::{Listener, Options};
use crate::worker::snapshot::Snapshot;
use crate::worker::tests::{open_policy, setup};
use crate::worker::{
    Killed, Listed, ListenerName, Mail, Mailbox, NumberedListener, Reply, Walked, liveness, prepare,
};

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker on a thread of its own.
struct Running {
    address: SocketAddr,
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(relay: RelayMode) -> Running {
        let mut config = Config::default();
        config.server.relay = relay;
        let options = Options {
            backlog: 128,
            only_v6: true,
            liveness: liveness(&Config::default()),
            congestion: CongestionControl::default(),
        };
        let listener = Listener::open(SocketAddr::from(([127, 0, 0, 1], 0)), &options).expect("a port");
        let address = listener.address().expect("its address");
        let prepared = prepare().expect("a poll");
        let mailbox = prepared.mailbox();
        let mut given = setup();
        given.listeners = vec![NumberedListener { number: 7, socket: Arc::new(listener) }];
        let listening = [Arc::new(ListenerName { number: 7, address: Some(address) })].into();
        let listener_names = ["here".into()].into();
        let snapshot = Snapshot { config: Arc::new(config), listening, listener_names, ..roomy_snapshot() };
        let run = move || drop(prepared.run(given, Arc::new(snapshot), open_policy()).expect("epoll"));
        Running { address, mailbox, thread: Some(thread::spawn(run)) }
    }

    /// A relay's client and target.
    fn relay(&self) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port().to_be_bytes();
        let mut client = TcpStream::connect(self.address).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        client.write_all(&[b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01", &port[..]].concat()).expect("a request");
        client.read_exact(&mut [0; 12]).expect("a method and a reply");
        let target = listener.accept().expect("a connection").0;
        target.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        (client, target)
    }

    fn list(&self) -> Vec<LiveSession> {
        let (sender, answers) = unbounded();
        self.mailbox.send(Mail::List { filter: Arc::default(), reply: Reply::new(sender, None) });
        let mut sessions = Vec::new();
        loop {
            match answers.recv_timeout(PATIENCE).expect("an answer") {
                Listed::Page(page) => sessions.extend(page),
                Listed::End { walked, .. } => {
                    assert_eq!(walked, Walked::Whole);
                    return sessions;
                }
            }
        }
    }

    fn kill_all(&self) -> Killed {
        let (sender, answers) = unbounded();
        let which = Arc::new(Selection::Filter(SessionFilter::default()));
        self.mailbox.send(Mail::Kill { which, reply: Reply::new(sender, None) });
        answers.recv_timeout(PATIENCE).expect("an answer")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.mailbox.send(Mail::Drain { by: Instant::now() });
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

/// Sends so many bytes from one end to the other, and waits until they are there.
fn pass(mut from: &TcpStream, mut to: &TcpStream, bytes: usize) {
    thread::scope(|scope| {
        scope.spawn(move || from.write_all(&vec![7; bytes]).expect("sent"));
        to.read_exact(&mut vec![0; bytes]).expect("received");
    });
}

/// HAZARD 29: an engine that counts when a session ends tells nothing of one that lasts for days.
#[test]
fn what_a_session_has_moved_so_far_is_told_to_the_byte_by_either_engine() {
    for (mode, engine) in [(RelayMode::Copy, "copy"), (RelayMode::Splice, "splice")] {
        let running = Running::start(mode);
        let (client, target) = running.relay();
        let (mut up, mut down) = (0, 0);
        for (bytes_up, bytes_down) in [(1, 0), (0, 3), (3 << 20, 5), (1 << 16, 2 << 20)] {
            pass(&client, &target, bytes_up);
            pass(&target, &client, bytes_down);
            (up, down) = (up + bytes_up as u64, down + bytes_down as u64);
            let [session] = &running.list()[..] else { panic!("one session") };
            assert_eq!((session.bytes_up, session.bytes_down, session.engine), (up, down, Some(engine)));
            assert_eq!(session.listener.as_deref(), Some("here"));
        }
    }
}

/// A client that reads nothing has megabytes waiting for it, in our pipes and in its own socket.
#[test]
fn a_relay_that_is_ended_ends_at_once_for_both_sides_by_either_engine() {
    for mode in [RelayMode::Copy, RelayMode::Splice] {
        let running = Running::start(mode);
        let (mut client, mut target) = running.relay();
        let (beside_client, beside_target) = running.relay();
        target.set_nonblocking(true).expect("non-blocking");
        let full = Instant::now() + Duration::from_millis(100);
        while target.write(&[7; 1 << 16]).is_ok() || Instant::now() < full {}
        target.set_nonblocking(false).expect("blocking");
        drop((beside_client, beside_target));
        let began = Instant::now();
        assert!(running.kill_all().ended >= 1);
        assert!(is_reset(&mut target), "{mode:?}");
        let mut sink = vec![0; 1 << 20];
        let end = loop {
            match client.read(&mut sink) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) => break Some(error.kind()),
            }
        };
        assert_eq!(end, Some(std::io::ErrorKind::ConnectionReset), "{mode:?}");
        assert!(began.elapsed() < PATIENCE);
        assert_eq!(running.list().len(), 0);
    }
}
