//! What does it cost the sessions of a worker that all of them are listed, and how long does that take?
//!
//!     cargo bench --bench listing [-- SESSIONS]
//!
//! One worker has 8,000 relays that are silent and one that answers as fast as it can. For some seconds nobody asks, then
//! the sessions are listed each second, then the busiest are asked for each second, in turn; the round trips of the one
//! are told for each. `limits::LIST_PAGE_SESSIONS` and `limits::WALK_PLACES_PER_TURN` rest on what a page takes. In the
//! end all are ended at once, and that is timed.
//!
//! Clients and targets live in a process of their own: each has two descriptors a session, as the worker has. Both need a
//! limit of descriptors above twice the sessions.

use std::env::args;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use outflow::config::Config;
use outflow::observe::filter::{Selection, SessionFilter};
use outflow::observe::talkers::{TalkedBy, TalkerKind, TalkersFound};
use outflow::policy::{Guard, Policy};
use outflow::sys::congestion::CongestionControl;
use outflow::sys::listener::{Listener, Options};
use outflow::sys::stream::Liveness;
use outflow::worker::{
    Ceilings, Listed, Mail, Mailbox, NumberedListener, Reply, Setup, Snapshot, Walked, prepare,
};

const SESSIONS: usize = 8_000;
/// How long the round trips of one kind are timed, and how often the kinds take turns.
const SPELL: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
/// The first argument of the process that has the clients and targets.
const ENDS: &str = "--ends";

fn main() {
    let arguments: Vec<String> = args().skip(1).collect();
    if let [ends, address, sessions] = &arguments[..]
        && ends == ENDS
    {
        return be_the_ends(address.parse().expect("an address"), sessions.parse().expect("a number"));
    }
    let sessions = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(SESSIONS);
    let (mailbox, address) = start_worker(sessions);
    let mut ends = Ends::start(address, sessions);
    println!("{sessions} sessions on one worker");
    for _ in 0..ROUNDS {
        ends.time("nobody asks", || {});
        ends.time("listed each second", || {
            let (told, pages, took) = list(&mailbox);
            println!("    {told} sessions in {pages} pages: {took:.1?}, {:.1?} a page", took / pages);
        });
        ends.time("talkers asked for each second", || {
            let (took, merged) = talkers(&mailbox);
            println!("    talkers in {took:.1?}, the ten first of each kind in {merged:.1?}");
        });
    }
    let (began, (sender, answers)) = (Instant::now(), unbounded());
    let which = Arc::new(Selection::Filter(SessionFilter::default()));
    mailbox.send(Mail::Kill { which, reply: Reply::new(sender, None) });
    let killed = answers.recv().expect("an answer");
    println!("{} ended in {:.1?}", killed.ended, began.elapsed());
}

/// A worker on a thread of its own, and where it listens.
fn start_worker(sessions: usize) -> (Mailbox, SocketAddr) {
    let policy = Policy::new(Guard::new(true, Vec::new(), Vec::new()));
    let ceilings = Ceilings { sessions: sessions + 100, second_attempts: 0, names_beside: 8, pipes: 8 };
    let snapshot = Snapshot {
        config: Arc::new(Config::default()),
        revokes: false,
        rule_names: Arc::default(),
        limits: None,
        limit_names: Arc::default(),
        verifier: None,
        gssapi: None,
        egress: None,
        parents: None,
        username: None,
        dns: Arc::default(),
        congestion: CongestionControl::default(),
        sources: None,
        watched: true,
        records: None,
        learn: None,
        listening: Arc::default(),
        listener_names: Box::default(),
        tls: Arc::from([]),
        ceilings,
    };
    let second = Duration::from_secs(1);
    let options = Options {
        backlog: 4096,
        only_v6: true,
        liveness: Liveness {
            keepalive_idle: 60 * second,
            keepalive_interval: 60 * second,
            unacked: 60 * second,
        },
        congestion: CongestionControl::default(),
    };
    let listener = Listener::open(SocketAddr::from(([127, 0, 0, 1], 0)), &options).expect("a port");
    let address = listener.address().expect("its address");
    let setup = Setup {
        number: 0,
        listeners: vec![NumberedListener { number: 0, socket: Arc::new(listener) }],
        counters: Arc::default(),
        pulse: Arc::default(),
        memory: Arc::default(),
        own_ports: Arc::default(),
        boot: 0,
        starting: None,
    };
    let prepared = prepare().expect("a poll");
    let mailbox = prepared.mailbox();
    thread::spawn(move || prepared.run(setup, Arc::new(snapshot), Arc::new(policy)));
    (mailbox, address)
}

fn list(mailbox: &Mailbox) -> (usize, u32, Duration) {
    let (began, (sender, answers)) = (Instant::now(), unbounded());
    mailbox.send(Mail::List { filter: Arc::default(), reply: Reply::new(sender, None) });
    let (mut told, mut pages) = (0, 0);
    for answer in &answers {
        match answer {
            Listed::Page(page) => (told, pages) = (told + page.len(), pages + 1),
            Listed::End { walked, .. } => {
                assert_eq!(walked, Walked::Whole);
                break;
            }
        }
    }
    (told, pages, began.elapsed())
}

fn talkers(mailbox: &Mailbox) -> (Duration, Duration) {
    let (began, (sender, answers)) = (Instant::now(), unbounded());
    mailbox.send(Mail::Talkers { reply: Reply::new(sender, None) });
    let told = answers.recv().expect("an answer");
    let (took, began) = (began.elapsed(), Instant::now());
    let mut found = TalkersFound::default();
    found.add(told.found);
    let kinds = [TalkerKind::Users, TalkerKind::Sources, TalkerKind::Targets];
    let top: usize = kinds.into_iter().map(|kind| found.top(kind, TalkedBy::Bytes, 10).len()).sum();
    assert!(top > 0, "nobody talks");
    (took, began.elapsed())
}

/// The process with the clients and targets.
struct Ends {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Ends {
    fn start(address: SocketAddr, sessions: usize) -> Ends {
        let own = std::env::current_exe().expect("this program");
        let arguments = [ENDS.to_owned(), address.to_string(), sessions.to_string()];
        let mut child = Command::new(own)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let orders = child.stdin.take().expect("its input");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        let mut ends = Ends { child, orders, answers };
        ends.answer();
        ends
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the process with the clients is gone");
        line
    }

    /// Has round trips timed while `act` is done each second.
    fn time(&mut self, what: &str, act: impl Fn()) {
        println!("  {what}");
        self.orders.write_all(b"\n").expect("an order");
        for _ in 0..SPELL.as_secs() {
            act();
            thread::sleep(Duration::from_secs(1));
        }
        print!("    {}", self.answer());
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the relay at this address, and the target's end.
fn session(relay: SocketAddr, target: &TcpListener) -> (TcpStream, TcpStream) {
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    let mut client = TcpStream::connect(relay).expect("a connection");
    client.write_all(&[b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01", &port[..]].concat()).expect("a request");
    client.read_exact(&mut [0; 12]).expect("a method and a reply");
    client.set_nodelay(true).expect("a socket");
    (client, target.accept().expect("a connection").0)
}

fn be_the_ends(relay: SocketAddr, sessions: usize) {
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let _idle: Vec<_> = (0..sessions).map(|_| session(relay, &target)).collect();
    let (mut client, mut echo) = session(relay, &target);
    thread::spawn(move || {
        echo.set_nodelay(true).expect("a socket");
        let mut byte = [0];
        while echo.read_exact(&mut byte).is_ok() && echo.write_all(&byte).is_ok() {}
    });
    println!("ready");
    for order in std::io::stdin().lines() {
        order.expect("a line");
        let (began, mut trips) = (Instant::now(), Vec::new());
        while began.elapsed() < SPELL {
            let sent = Instant::now();
            client.write_all(&[7]).expect("sent");
            client.read_exact(&mut [0]).expect("answered");
            trips.push(sent.elapsed());
        }
        trips.sort_unstable();
        let at = |share: f64| trips[((trips.len() - 1) as f64 * share) as usize];
        let [half, most, nearly, last] = [0.5, 0.99, 0.999, 1.0].map(at);
        println!(
            "{} round trips: p50 {half:.1?}, p99 {most:.1?}, p99.9 {nearly:.1?}, longest {last:.1?}",
            trips.len()
        );
    }
}
