//! Reloads, drains and what undoes them, by orders to the control thread of a server in this process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::*;
use crate::admin::{ReloadReport, ServerState};

/// What all files here begin with.
const BASE: &str = "[server]\nworkers = 2\npin = false\n";

/// A server by a file, and the folder of it.
struct Filed {
    folder: tempfile::TempDir,
    governed: Governed,
}

impl Filed {
    /// `rest` follows the lines of `[server]` that all have.
    fn start(rest: &str) -> Filed {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("outflow.toml");
        let text = text(rest);
        std::fs::write(&file, &text).unwrap();
        let config = Config::parse(&text, &file, &Flags::default()).unwrap();
        let governed = Governed::start(Server::start(config).unwrap(), &file);
        Filed { folder, governed }
    }

    fn write(&self, rest: &str) {
        std::fs::write(self.folder.path().join("outflow.toml"), text(rest)).unwrap();
    }

    /// Has another file taken.
    fn reload(&self, rest: &str) -> ReloadReport {
        self.write(rest);
        match self.governed.order(Order::Reload { dry_run: false }) {
            Ok(Done::Reload(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Has another file refused, and gives why.
    fn refused(&self, rest: &str) -> String {
        self.write(rest);
        let before = self.governed.standing.now();
        match self.governed.order(Order::Reload { dry_run: false }) {
            Err(error) => {
                let now = self.governed.standing.now();
                assert!(Arc::ptr_eq(&now.config, &before.config) && now.listening == before.listening);
                error.to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    fn listening(&self) -> Vec<SocketAddr> {
        let listening = self.governed.standing.now().listening;
        listening.iter().map(|address| address.parse().expect("an address")).collect()
    }
}

fn text(rest: &str) -> String {
    format!("{BASE}{rest}\n[guard]\nallow_private = true\n[dns]\ndns64 = \"off\"\n")
}

fn listen(addresses: &[SocketAddr], rest: &str) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("listen = [{}]\n{rest}", addresses.join(", "))
}

const ANY: &str = "listen = [\"127.0.0.1:0\"]\n";

fn keys(report: &ReloadReport) -> Vec<&str> {
    report.changes.iter().map(|change| &*change.key).collect()
}

/// A session through that listener, to an echo of one byte at a time.
fn session(listener: SocketAddr, target: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(listener).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = target.local_addr().unwrap().port().to_be_bytes();
    client.write_all(&[&b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01"[..], &port].concat()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], *b"\x05\x00\x05\x00");
    (client, target.accept().unwrap().0)
}

fn passes((client, target): &mut (TcpStream, TcpStream)) {
    client.write_all(b"ping").unwrap();
    let mut got = [0; 4];
    target.read_exact(&mut got).unwrap();
    target.write_all(b"pong").unwrap();
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, *b"pong");
}

/// A list that is being written, or was written wrong: the rules stay, and the line is named.
#[test]
fn a_list_with_a_broken_line_changes_nothing() {
    let filed = Filed::start(ANY);
    let list = filed.folder.path().join("blocked.txt");
    let rules = format!(
        "{ANY}[[list]]\nname = \"blocked\"\nfile = \"blocked.txt\"\n\
         [[rule]]\nname = \"blocked\"\nto = \"@blocked\"\naction = \"deny\"\n"
    );
    assert!(filed.refused(&rules).contains("toml:7: [[list]] 1 key `file`: "));
    std::fs::write(&list, "a.example\n").unwrap();
    let report = filed.reload(&rules);
    assert!(keys(&report).contains(&"policy.default") && keys(&report).contains(&"rule[blocked].to"));
    std::fs::write(&list, "a.example\nhttp//\n").unwrap();
    let said = filed.refused(&rules);
    assert!(said.contains(&format!("{}:2: \"http//\" is", list.display())), "{said}");
    std::fs::write(&list, "b.example\n").unwrap();
    assert_eq!(keys(&filed.reload(&rules)), [""; 0]);
}

fn target() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// HAZARD 61: one that goes is emptied, one that stays is the very same socket, and a number is nobody else's while a session
/// of its listener lives.
#[test]
fn listeners_come_and_go_and_those_that_stay_are_not_touched() {
    let (filed, target) = (Filed::start(ANY), target());
    let first = filed.listening()[0];
    let mut live = session(first, &target);
    assert_eq!(keys(&filed.reload(ANY)), [""; 0]);
    assert_eq!(filed.listening(), [first], "port 0 is the port that it was");

    let report = filed.reload("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"[::1]:0\", \"127.0.0.1:0\"]\n");
    assert_eq!(keys(&report), ["server.listen"]);
    let four = filed.listening();
    assert_eq!((four.len(), four[0]), (4, first));
    for address in &four {
        passes(&mut session(*address, &target));
    }
    // Its real port names the same listener.
    filed.reload(&listen(&four[2..3], ""));
    assert_eq!(filed.listening(), four[2..3]);
    for gone in [four[0], four[1], four[3]] {
        assert!(TcpStream::connect(gone).is_err(), "{gone}");
    }
    passes(&mut live);
    passes(&mut session(four[2], &target));
    drop(live);
    assert_eq!(filed.governed.end(), ExitCode::SUCCESS);
}

/// Clients that the kernel has queued for a listener that goes are served, whatever worker has them.
#[test]
fn a_listener_that_goes_is_emptied_first() {
    let (filed, target) = (Filed::start("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n"), target());
    let [goes, stays] = filed.listening()[..] else { panic!("two") };
    for _ in 0..5 {
        let port = target.local_addr().unwrap().port().to_be_bytes();
        let request = [&b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01"[..], &port].concat();
        let mut clients: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(goes).unwrap()).collect();
        filed.reload(&listen(&[stays], ""));
        assert!(TcpStream::connect(goes).is_err());
        for client in &mut clients {
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(&request).unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..4], *b"\x05\x00\x05\x00");
            target.accept().unwrap();
        }
        filed.reload(&listen(&[goes, stays], ""));
    }
    filed.governed.end();
}

/// Whoever gets in while a listener goes is served: nobody is let in and then cut off.
#[test]
fn a_listener_that_goes_cuts_nobody_off() {
    let (filed, target) = (Filed::start("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n"), target());
    let [goes, stays] = filed.listening()[..] else { panic!("two") };
    let over = AtomicBool::new(false);
    let request = {
        let port = target.local_addr().unwrap().port().to_be_bytes();
        [&b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01"[..], &port].concat()
    };
    let come = || {
        let (mut served, mut refused) = (0, 0);
        while !over.load(Ordering::Relaxed) {
            let Ok(mut client) = TcpStream::connect(goes) else {
                refused += 1;
                std::thread::sleep(Duration::from_micros(100));
                continue;
            };
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(&request).expect("it was let in");
            client.read_exact(&mut [0; 12]).expect("it was let in");
            served += 1;
        }
        (served, refused)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| target.incoming().take_while(|_| !over.load(Ordering::Relaxed)).for_each(drop));
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(come)).collect();
        for _ in 0..10 {
            filed.reload(&listen(&[stays], ""));
            filed.reload(&listen(&[goes, stays], ""));
        }
        over.store(true, Ordering::Relaxed);
        TcpStream::connect(target.local_addr().unwrap()).unwrap();
        let counts = clients.into_iter().map(|client| client.join().expect("nobody was cut off"));
        let (served, refused) = counts.fold((0, 0), |(s, r), (more, others)| (s + more, r + others));
        assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    });
    // What nobody accepted would be waited for.
    drop(target);
    filed.governed.end();
}

#[test]
fn what_cannot_be_had_changes_nothing() {
    let filed = Filed::start(ANY);
    let taken = target();
    let taken = taken.local_addr().unwrap();
    let path = |name: &str| filed.folder.path().join(name).display().to_string();
    std::fs::write(path("users"), "alice:nonsense\n").unwrap();
    nix::unistd::mkfifo(&*path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let users = |name: &str| format!("{ANY}[auth]\nmethods = [\"password\"]\nusers = \"{}\"\n", path(name));
    for (rest, why) in [
        ("listen = [".to_owned(), ":4: "),
        (format!("{ANY}relay = \"fast\"\n"), ":5: [server] key `relay`"),
        (format!("{ANY}speed = 3\n"), ":5: [server] key `speed`: unknown key"),
        (listen(&[taken], ""), ":4: [server] key `listen`: cannot listen on"),
        ("listen = [\"0.0.0.0:0\"]\n".to_owned(), "is an open proxy"),
        (format!("{ANY}max_connections = 1\n"), "2 workers cannot share max_connections = 1"),
        (format!("{ANY}congestion = \"none-such\"\n"), ":5: [server] key `congestion`"),
        (users("missing"), ":7: [auth] key `users`"),
        (users("users"), ":7: [auth] key `users`"),
        (users("fifo"), "not a regular file"),
        (format!("{ANY}[log]\naccess = \"{}\"\n", path("no/such")), ":6: [log] key `access`: cannot append"),
        (format!("{ANY}[log]\non_full = \"refuse\"\n"), ":6: [log] key `on_full`"),
        (
            format!("{ANY}[auth]\nmethods = [\"gssapi\"]\n[auth.gssapi]\nkeytab = \"{}\"\n", path("fifo")),
            "gssapi",
        ),
    ] {
        let said = filed.refused(&rest);
        assert!(said.contains(why), "{rest}: {said}");
        passes(&mut session(filed.listening()[0], &target()));
    }
    // Even a configuration that nobody writes must not be waited for.
    std::fs::remove_file(path("outflow.toml")).unwrap();
    nix::unistd::mkfifo(&*path("outflow.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let Err(error) = filed.governed.order(Order::Reload { dry_run: false }) else { panic!("it was taken") };
    assert!(error.to_string().contains("not a regular file"), "{error}");
    filed.governed.end();
}

#[test]
fn what_is_not_taken_is_told_and_keeps_its_value() {
    let filed = Filed::start(ANY);
    filed.write(&format!("{ANY}backlog = 9\nrelay = \"copy\"\n"));
    for dry_run in [true, false, false] {
        let Ok(Done::Reload(report)) = filed.governed.order(Order::Reload { dry_run }) else {
            panic!("not taken")
        };
        let waits: Vec<&str> =
            report.changes.iter().filter(|change| !change.taken).map(|change| &*change.key).collect();
        assert_eq!((report.applied, &waits[..]), (!dry_run, &["server.backlog"][..]));
    }
    let config = filed.governed.standing.now().config;
    assert_eq!((config.server.backlog, config.server.relay), (4096, crate::config::RelayMode::Copy));
    filed.governed.end();
}

/// Draining is undone on the same ports, also after a reload in between; a signal's is not.
#[test]
fn a_drain_closes_and_its_undo_opens() {
    let (filed, target) = (Filed::start(ANY), target());
    let address = filed.listening()[0];
    let mut live = session(address, &target);
    for round in 0..3 {
        assert_eq!(
            filed.governed.order(Order::Drain { exit: round == 2 }).unwrap(),
            Done::Draining { sessions: 1 }
        );
        assert_eq!(filed.governed.standing.state(), ServerState::Draining);
        assert!(TcpStream::connect(address).is_err());
        passes(&mut live);
        if round == 1 {
            filed.reload(&format!("{ANY}[timeouts]\nidle = \"1h\"\n"));
            assert!(TcpStream::connect(address).is_err(), "it drains on");
        }
        assert_eq!(filed.governed.order(Order::Undrain).unwrap(), Done::Serving { sessions: 1 });
        assert_eq!(
            (filed.governed.standing.state(), filed.listening()),
            (ServerState::Serving, vec![address])
        );
        TcpStream::connect(address).unwrap();
    }
    filed.governed.order(Order::Drain { exit: false }).unwrap();
    let taken = TcpListener::bind(address).unwrap();
    let Err(OrderError::Conflict(why)) = filed.governed.order(Order::Undrain) else {
        panic!("it was opened")
    };
    assert!(why.contains(&address.to_string()), "{why}");
    drop(taken);
    filed.governed.order(Order::Undrain).unwrap();
    filed.governed.signals.send(SignalRequest::End).unwrap();
    // An order that comes while the signal waits may be taken before it.
    let by = Instant::now() + Duration::from_secs(20);
    while filed.governed.standing.state() != ServerState::Ending {
        assert!(Instant::now() < by, "it does not end");
        std::thread::yield_now();
    }
    for order in [Order::Undrain, Order::Drain { exit: false }, Order::Reload { dry_run: false }] {
        assert!(matches!(filed.governed.order(order), Err(OrderError::Conflict(_))));
    }
    drop(live);
    assert_eq!(filed.governed.thread.join().unwrap(), ExitCode::SUCCESS);
}

#[test]
fn a_drain_that_is_to_end_the_process_ends_it_with_the_last_session() {
    let (filed, target) = (Filed::start(ANY), target());
    let mut live = session(filed.listening()[0], &target);
    filed.governed.order(Order::Drain { exit: true }).unwrap();
    passes(&mut live);
    drop(live);
    assert_eq!(filed.governed.thread.join().unwrap(), ExitCode::SUCCESS);

    let filed = Filed::start(&format!("{ANY}[timeouts]\ndrain = \"300ms\"\n"));
    let (mut client, _upstream) = session(filed.listening()[0], &target);
    filed.governed.order(Order::Drain { exit: true }).unwrap();
    assert_eq!(filed.governed.thread.join().unwrap(), ExitCode::SUCCESS);
    assert!(client.read(&mut [0; 1]).map_or(true, |count| count == 0), "it was cut off");
}

/// A worker that stands still goes over once it turns again. Whoever asked does not wait for that, and neither does a signal.
#[test]
fn a_worker_that_stands_still_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outflow.toml");
    std::fs::write(&file, text(ANY)).unwrap();
    let config = Config::parse(&text(ANY), &file, &Flags::default()).unwrap();
    let server = Server::start(config).unwrap();
    server.drill(1, Drill::Stall(Duration::from_secs(6)));
    let governed = Governed::start(server, &file);
    std::fs::write(&file, text(&format!("{ANY}relay = \"copy\"\n"))).unwrap();
    let began = Instant::now();
    let Ok(Done::Reload(report)) = governed.order(Order::Reload { dry_run: false }) else {
        panic!("not taken")
    };
    assert!(report.warnings.iter().any(|warning| warning.contains("stands still")), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(
        governed.order(Order::SetLevel(Level::Info)).unwrap(),
        Done::Level { level: Level::Info, was: Level::Info }
    );
    assert_eq!(governed.end(), ExitCode::SUCCESS);
}

/// Whatever comes together, the last file holds in the end.
#[test]
fn a_storm_of_signals_ends_in_the_last_file() {
    let filed = Filed::start(ANY);
    for round in 1..=100 {
        filed.write(&format!("{ANY}[timeouts]\nidle = \"{round}m\"\n"));
        filed.governed.signals.send(SignalRequest::Reload).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while filed.governed.standing.now().config.timeouts.idle != Duration::from_secs(6000) {
        assert!(Instant::now() < deadline, "{:?}", filed.governed.standing.now().config.timeouts.idle);
        std::thread::sleep(Duration::from_millis(5));
    }
    passes(&mut session(filed.listening()[0], &target()));
    filed.governed.end();
}

/// A listener that is taken back while a worker has yet to let go of it: its address is not free, and then it is.
#[test]
fn a_signal_waits_for_what_the_one_before_it_changed() {
    let (folder, kept) = (tempfile::tempdir().unwrap(), target().local_addr().unwrap());
    let file = folder.path().join("outflow.toml");
    let both = text(&format!("listen = [\"127.0.0.1:0\", \"{kept}\"]\n"));
    let config = Config::parse(&both, &file, &Flags::default()).unwrap();
    let server = Server::start(config).unwrap();
    server.drill(1, Drill::Stall(Duration::from_secs(1)));
    let governed = Governed::start(server, &file);
    let listeners = || governed.standing.now().listening.len();
    std::fs::write(&file, text(ANY)).unwrap();
    governed.signals.send(SignalRequest::Reload).unwrap();
    let await_count = |count| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while listeners() != count {
            assert!(Instant::now() < deadline, "{:?}", governed.standing.now().listening);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    await_count(1);
    std::fs::write(&file, both).unwrap();
    governed.signals.send(SignalRequest::Reload).unwrap();
    await_count(2);
    passes(&mut session(kept, &target()));
    governed.end();
}

/// Orders that come while another is under way wait for it, and are carried out as if they came then.
#[test]
fn orders_side_by_side_have_their_turns() {
    let filed = Filed::start(ANY);
    let reload = |dry_run| Order::Reload { dry_run };
    let answers =
        [reload(false), reload(true), reload(false), reload(true)].map(|one| filed.governed.send(one));
    for answer in answers {
        let outcome = answer.recv_timeout(Duration::from_secs(20)).expect("an answer");
        assert!(matches!(outcome, Ok(Done::Reload(_))), "{outcome:?}");
    }
    // A drain is undone behind a reload that found it closed, and beside one that is only tried.
    for dry_run in [false, true] {
        filed.governed.order(Order::Drain { exit: false }).unwrap();
        let (reloaded, opened) = (filed.governed.send(reload(dry_run)), filed.governed.order(Order::Undrain));
        assert_eq!(opened.unwrap(), Done::Serving { sessions: 0 });
        reloaded.recv_timeout(Duration::from_secs(20)).expect("an answer").unwrap();
        TcpStream::connect(filed.listening()[0]).unwrap();
    }
    // Of the two the drain came last.
    let answers =
        [reload(false), Order::Undrain, Order::Drain { exit: false }].map(|one| filed.governed.send(one));
    let outcomes = answers.map(|answer| answer.recv_timeout(Duration::from_secs(20)).expect("an answer"));
    assert!(matches!(outcomes[2], Ok(Done::Draining { sessions: 0 })), "{outcomes:?}");
    assert_eq!(filed.governed.standing.state(), ServerState::Draining);
    assert!(TcpStream::connect(filed.listening()[0]).is_err());
    let waits = [reload(false), reload(false)].map(|one| filed.governed.send(one));
    filed.governed.signals.send(SignalRequest::End).unwrap();
    for answer in waits {
        // What is not told by then is not done any more.
        let told = answer.recv_timeout(Duration::from_secs(20));
        assert_ne!(told.err(), Some(RecvTimeoutError::Timeout));
    }
    assert_eq!(filed.governed.thread.join().unwrap(), ExitCode::SUCCESS);
}

/// A worker that stands still has the socket of a listener that went: its address can be had all the same.
#[test]
fn a_worker_that_stands_still_keeps_no_address() {
    let (folder, target) = (tempfile::tempdir().unwrap(), target());
    let file = folder.path().join("outflow.toml");
    let kept = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = text(&format!("listen = [\"127.0.0.1:0\", \"{kept}\"]\n"));
    let server = Server::start(Config::parse(&both, &file, &Flags::default()).unwrap()).unwrap();
    server.drill(1, Drill::Stall(Duration::from_secs(6)));
    let governed = Governed::start(server, &file);
    for (text, listeners) in [(text(ANY), 1), (both, 2)] {
        std::fs::write(&file, text).unwrap();
        let outcome = governed.order(Order::Reload { dry_run: false });
        let Ok(Done::Reload(report)) = outcome else { panic!("{outcome:?}") };
        assert!(report.warnings.iter().any(|warning| warning.contains("stands still")), "{report:?}");
        assert_eq!(governed.standing.now().listening.len(), listeners);
    }
    for _ in 0..4 {
        passes(&mut session(kept, &target));
    }
    governed.end();
}
