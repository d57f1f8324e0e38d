//! A new server takes the place of one that serves: nobody is refused, nothing is cut off, and whatever goes wrong before it
//! serves leaves the old one serving (37, 61).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::support::origin::V4;
use crate::support::relay::{Builder, quoted};
use crate::support::udp::{Association, Target};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay, netns};

/// What servers that follow each other share: where they ask, and their records.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(TempDir::with_prefix("outflow-place-").expect("a temporary directory"))
    }

    pub(crate) fn takeover(&self) -> PathBuf {
        self.0.path().join("takeover")
    }

    fn file(&self, name: &str) -> String {
        quoted(self.0.path().join(name).to_str().expect("UTF-8"))
    }

    pub(crate) fn first(&self) -> Builder {
        let path = quoted(self.takeover().to_str().expect("UTF-8"));
        Relay::builder().set("server", "takeover", &path).set("log", "access", &self.file("access"))
    }

    /// One that is to take the place of another.
    pub(crate) fn next(&self, before: &Relay) -> Builder {
        let listen: Vec<String> = before.addrs().iter().map(ToString::to_string).collect();
        let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
        self.first().listen(&listen).argument("--takeover")
    }

    /// Sessions that were recorded, by whichever server.
    pub(crate) fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.0.path().join("access")).unwrap_or_default();
        let complete = &text[..text.rfind('\n').unwrap_or_default()];
        complete.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }
}

fn echoes(client: &mut Client, bytes: &[u8]) {
    client.send(bytes);
    client.expect(bytes);
}

/// What was begun with the old server goes on with it, and whoever comes has the new one.
fn sessions_go_on_while_others_come(engine: Engine) {
    let (place, origin) = (Place::new(), Origin::echo());
    let mut old = place.first().engine(engine).workers(2).start();
    let mut before = Client::through(old.addr(), origin.addr);
    echoes(&mut before, b"before");
    let new = place.next(&old).engine(engine).workers(2).start();
    assert_eq!(new.addr(), old.addr());
    old.logged(&["another server has taken this one's place", "sessions=1"]);
    let mut after = Client::through(new.addr(), origin.addr);
    echoes(&mut after, b"after");
    echoes(&mut before, &[7; 100_000]);
    assert!(old.is_running());
    drop(before);
    assert_eq!(old.wait_exit(PATIENCE), Some(0));
    drop(after);
    wait::until_true("both records", PATIENCE, || place.records().len() == 2);
    let numbers: Vec<_> = place.records().iter().map(|record| record["id"].clone()).collect();
    assert_ne!(numbers[0], numbers[1]);
    assert!(place.takeover().exists(), "the next one asks there");
}

engines!(sessions_go_on_while_others_come);

/// Associations stay with the server that they were made by.
#[test]
fn an_association_goes_on() {
    let (place, target) = (Place::new(), Target::on(V4));
    let mut old = place.first().start();
    let association = Association::open(old.addr());
    association.send(target.addr, b"before");
    let (bytes, from) = target.receive();
    assert_eq!(bytes, b"before");
    let _new = place.next(&old).start();
    association.send(target.addr, b"after");
    assert_eq!(target.receive(), (b"after".to_vec(), from));
    target.socket.send_to(b"back", from).expect("send");
    association.expect(target.addr, b"back");
    drop(association);
    assert_eq!(old.wait_exit(PATIENCE), Some(0));
}

/// Sessions without an end, from several clients, while servers follow each other; how many there were.
fn besieged(addr: std::net::SocketAddr, origin: &Origin, change: impl FnOnce()) -> usize {
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut client = Client::through(addr, origin.addr);
                    echoes(&mut client, b"payload");
                    client.stream.shutdown(std::net::Shutdown::Write).expect("a FIN");
                    client.expect_eof();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let ends = EndsAtLast(&over);
        change();
        drop(ends);
    });
    count.into_inner()
}

struct EndsAtLast<'a>(&'a AtomicBool);

impl Drop for EndsAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Four workers, two and four again, so many times: every session is whole, and each has its record.
fn places_change(times: usize) {
    for migrate in ["0", "1"] {
        netns::shell(&format!("sysctl -q -w net.ipv4.tcp_migrate_req={migrate}"));
        for steer in ["hash", "cpu"] {
            let (place, origin) = (Place::new(), Origin::echo());
            let steered = |builder: Builder| builder.set("server", "steer", &quoted(steer));
            let mut serving = steered(place.first().workers(4)).start();
            let addr = serving.addr();
            let sessions = besieged(addr, &origin, || {
                for nth in 0..times {
                    let workers = [2, 4][nth % 2];
                    let next = steered(place.next(&serving).workers(workers)).start();
                    let mut old = std::mem::replace(&mut serving, next);
                    assert_eq!(old.wait_exit(PATIENCE), Some(0));
                }
            });
            serving.signal("TERM");
            assert_eq!(serving.wait_exit(PATIENCE), Some(0));
            assert!(sessions > 10 * times, "{sessions} sessions");
            let records = place.records();
            let completed = records.iter().filter(|record| record["reason"] == "completed").count();
            assert_eq!((completed, records.len()), (sessions, sessions), "migrate {migrate}, {steer}");
        }
    }
}

#[test]
fn nobody_is_refused_while_servers_follow_each_other() {
    netns::run(&test_name!(), "", || places_change(4));
}

/// The new server by hand: what it says, and what it is told.
pub(crate) struct ByHand(Socket);

impl ByHand {
    pub(crate) fn connect(path: &Path) -> ByHand {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        socket.connect(&SockAddr::unix(path).expect("a path")).expect("the server lets us ask");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        ByHand(socket)
    }

    /// One that has been offered everything.
    pub(crate) fn offered(path: &Path) -> ByHand {
        let new = ByHand::connect(path);
        new.say(HELLO);
        new.hears_of("complete");
        new
    }

    /// One that could serve, and whom the old server has left its listeners.
    fn released(path: &Path) -> ByHand {
        let new = ByHand::offered(path);
        new.say(READY);
        new.hears_of("released");
        new
    }

    fn say(&self, text: &str) {
        self.0.send(text.as_bytes()).expect("say something");
    }

    /// The next message; its descriptors are closed. `None` at the end.
    fn hears(&self) -> Option<Value> {
        let mut buffer = vec![0; 1 << 16];
        let length = (&self.0).read(&mut buffer).expect("a message or the end");
        (length > 0).then(|| serde_json::from_slice(&buffer[..length]).expect("JSON"))
    }

    pub(crate) fn hears_of(&self, kind: &str) -> Value {
        wait::until(kind, PATIENCE, || self.hears().filter(|message| message["message"] == kind))
    }
}

const HELLO: &str = r#"{"message":"hello","version":1,"build":"by hand","pid":1}"#;
const READY: &str = r#"{"message":"ready","clients":[0],"admin":[],"takeover":true}"#;

/// Serves as ever: whoever comes, whoever is there, and the next one who asks.
fn serves_on(old: &Relay, origin: &Origin, before: &mut Client) {
    echoes(before, b"there");
    for _ in 0..4 {
        echoes(&mut Client::through(old.addr(), origin.addr), b"come");
    }
}

/// What the log says of a server that does this.
type FailingStep<'a> = (&'a str, &'a dyn Fn(&ByHand));

/// At each step: it ends, says what makes no sense, or speaks another version.
#[test]
fn a_new_server_that_fails_leaves_the_old_one_serving() {
    let (place, origin) = (Place::new(), Origin::echo());
    let mut old = place.first().workers(2).keeping().start();
    let mut before = Client::through(old.addr(), origin.addr);
    let failures = |old: &Relay| old.log().matches("this server serves on").count();
    let steps: [FailingStep<'_>; 6] = [
        ("makes no sense", &|new| new.say("{")),
        ("version 2 of the hand-over, and this one 1", &|new| {
            new.say(&HELLO.replace("\"version\":1", "\"version\":2"));
            assert!(new.hears_of("refused")["why"].as_str().expect("words").contains("version"));
        }),
        ("the other server ended", &|new| {
            new.say(HELLO);
            assert_eq!(new.hears_of("listener")["role"], "clients");
        }),
        ("makes no sense", &|new| {
            new.say(HELLO);
            new.hears_of("complete");
            new.say(r#"{"message":"serving"}"#);
        }),
        ("the other server ended", &|new| {
            new.say(HELLO);
            new.hears_of("complete");
            new.say(READY);
            new.hears_of("released");
        }),
        ("makes no sense", &|new| {
            new.say(HELLO);
            new.hears_of("complete");
            new.say(READY);
            new.hears_of("released");
            new.say(READY);
            assert!(new.hears_of("refused")["why"].is_string());
        }),
    ];
    for (nth, (words, step)) in steps.into_iter().enumerate() {
        let new = ByHand::connect(&place.takeover());
        step(&new);
        drop(new);
        wait::until_true(words, PATIENCE, || failures(&old) == nth + 1);
        let log = old.log();
        let line = log.lines().rfind(|line| line.contains("this server serves on")).expect("a line");
        assert!(line.contains(words), "{line}");
        serves_on(&old, &origin, &mut before);
    }
    // None of them has kept the real one from it.
    let _new = place.next(&old).start();
    drop(before);
    assert_eq!(old.wait_exit(PATIENCE), Some(0));
}

/// What is queued while the old one has let go and the new one hangs is served once that is over.
#[test]
fn clients_that_come_between_are_served_by_whoever_goes_on() {
    let (place, origin) = (Place::new(), Origin::echo());
    let old = place.first().workers(2).start();
    let new = ByHand::released(&place.takeover());
    let mut between: Vec<Client> = (0..20).map(|_| Client::connect(old.addr())).collect();
    drop(new);
    for client in &mut between {
        client.greet_none();
        assert_eq!(client.request_ip(origin.addr).rep, 0);
    }
}

/// An end that is asked for meanwhile gives the hand-over up, unless the other has said that it serves.
#[test]
fn an_end_that_is_asked_for_meanwhile_comes_behind_the_hand_over() {
    let place = Place::new();
    for (released, serves) in [(false, false), (true, false), (true, true)] {
        let mut old = place.first().workers(2).start();
        let new = match released {
            true => ByHand::released(&place.takeover()),
            false => ByHand::offered(&place.takeover()),
        };
        if serves {
            new.say(r#"{"message":"serving"}"#);
        }
        old.signal("TERM");
        assert_eq!(old.wait_exit(PATIENCE), Some(0));
        let log = old.log();
        let (words, others) = ("another server has taken this one's place", "this server serves on");
        assert_eq!((log.contains(words), log.contains(others)), (serves, !serves), "{log}");
        // By hand nobody looks after the file of the socket that was handed over.
        let _ = std::fs::remove_file(place.takeover());
    }
}

/// One that has the listeners and does not serve: the old one goes on by itself, with whoever waited meanwhile.
#[test]
#[ignore = "a quarter of a minute"]
fn a_new_server_that_hangs_before_it_serves_is_given_up() {
    let (place, origin) = (Place::new(), Origin::echo());
    let old = place.first().workers(2).start();
    let new = ByHand::released(&place.takeover());
    let mut between = Client::connect(old.addr());
    wait::until_true("the end of the old one's patience", Duration::from_secs(30), || {
        old.log().contains("the other server said nothing for 15s; this server serves on")
    });
    between.greet_none();
    assert_eq!(between.request_ip(origin.addr).rep, 0);
    // It has been told, and cannot serve any more.
    new.hears_of("refused");
    new.0.send(br#"{"message":"serving"}"#).expect_err("it was heard");
    echoes(&mut Client::through(old.addr(), origin.addr), b"come");
}

/// One at a time, and none of a server that drains.
#[test]
fn a_second_hand_over_and_one_of_a_drained_server_are_refused() {
    let place = Place::new();
    let mut old = place.first().admin().start();
    let refused = |words: &str| {
        let output = place.next(&old).run_to_exit();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot take the other server's place") && said.contains(words), "{said}");
    };
    let first = ByHand::offered(&place.takeover());
    refused("another hand-over is under way");
    drop(first);
    old.logged(&["this server serves on"]);
    let answer =
        crate::support::http::Http::connect(old.admin_addr()).ask_with("POST", "/api/v1/drain", "", None);
    assert_eq!(answer.status, 200, "{answer:?}");
    wait::until_true("the drain", PATIENCE, || {
        let said = place.next(&old).run_to_exit();
        String::from_utf8_lossy(&said.stderr).contains("the server drains")
    });
    old.signal("TERM");
    assert_eq!(old.wait_exit(PATIENCE), Some(0));
}

#[test]
fn where_nobody_serves_there_is_no_place_to_take() {
    let place = Place::new();
    let first = place.first().argument("--takeover").start();
    first.logged(&["there is no place to take"]);
    drop(first);
    // What it left behind is nobody's.
    let second = place.first().argument("--takeover").start();
    second.logged(&["there is no place to take"]);
    let output = place.first().run_to_exit();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("`takeover`") && said.contains("--takeover takes its place"), "{said}");
    let output = Relay::builder().argument("--takeover").run_to_exit();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("--takeover needs [server] takeover"), "{said}");
}

/// A session that never ends keeps the old server no longer than it is given.
#[test]
fn sessions_behind_a_hand_over_have_their_time() {
    let (place, origin) = (Place::new(), Origin::echo());
    let mut old = place.first().timeout("handover", 300).start();
    let mut before = Client::through(old.addr(), origin.addr);
    let _new = place.next(&old).start();
    assert_eq!(old.wait_exit(Duration::from_secs(5)), Some(0));
    before.expect_closed();
    // Without a limit they go on until a signal.
    let place = Place::new();
    let mut old = place.first().timeout("drain", 200).start();
    let _before = Client::through(old.addr(), origin.addr);
    let _new = place.next(&old).start();
    old.logged(&["another server has taken this one's place"]);
    old.signal("TERM");
    assert_eq!(old.wait_exit(Duration::from_secs(5)), Some(0));
}

/// Unix sockets and the admin endpoint go along, and their files stay.
#[test]
fn unix_sockets_and_the_endpoint_go_along() {
    let (place, origin) = (Place::new(), Origin::echo_on(V4));
    let table = format!("address = \"unix:{}\"", place.0.path().join("socks").display());
    let admin = format!("[{}]", quoted(&format!("unix:{}", place.0.path().join("admin").display())));
    let with_sockets =
        |builder: Builder| builder.listeners(&[&table]).set("admin", "listen", &admin).workers(2);
    let mut old = with_sockets(place.first()).start();
    let new = with_sockets(place.first()).argument("--takeover").start();
    assert_eq!(old.wait_exit(PATIENCE), Some(0));
    let mut client =
        std::os::unix::net::UnixStream::connect(place.0.path().join("socks")).expect("its file is there");
    std::io::Write::write_all(&mut client, &[5, 1, 0]).expect("send");
    let mut answer = [0; 2];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, [5, 0]);
    let said = std::process::Command::new(crate::support::relay::binary())
        .args(["health", "--ready", "--admin"])
        .arg(format!("unix:{}", place.0.path().join("admin").display()))
        .output()
        .expect("run it");
    assert!(said.status.success(), "{said:?}");
    drop((client, origin));
    let mut new = new;
    new.signal("TERM");
    assert_eq!(new.wait_exit(PATIENCE), Some(0));
    for name in ["socks", "admin", "takeover"] {
        assert!(!place.0.path().join(name).exists(), "{name} goes with the last server");
    }
}
