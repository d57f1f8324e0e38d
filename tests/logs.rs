//! Where logs and access records go: whatever becomes of the sink, the sessions go on (51, 52).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::{mkfifo, pipe2};
use serde_json::Value;

use crate::support::client::{connect_ip, connect_name, userpass};
use crate::support::relay::quoted;
use crate::support::udp::hold;
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, Engine, Origin, Relay, netns};

/// One after another malformed greetings: a line of the log each, at level debug.
fn babble(relay: &Relay, times: usize) {
    for _ in 0..times {
        let mut client = Client::connect(relay.addr());
        client.send(b"\x06nonsense");
        client.expect_closed();
    }
}

/// A session of which no echo fails.
fn echoes(client: &mut Client) {
    client.send(b"ping");
    client.expect(b"ping");
}

/// A pipe whose far end is never read: both ends, the near one full.
fn full_pipe(flags: OFlag) -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("a pipe");
    while nix::unistd::write(&writer, &[b'-'; 4096]).is_ok() {}
    while nix::unistd::write(&writer, b"-").is_ok() {}
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).expect("its mode");
    (reader, writer)
}

/// With this as standard error a server logs what it may, serves, drains and ends as always.
#[track_caller]
fn serves_with(what: &str, stderr: OwnedFd, before: impl FnOnce()) {
    let origin = Origin::echo();
    let mut relay = Relay::builder().workers(2).set("log", "level", "\"trace\"").stderr(stderr).start();
    before();
    let mut live = Client::through(relay.addr(), origin.addr);
    for signal in ["USR1", "HUP", "USR1"] {
        relay.signal(signal);
    }
    // Each worker has more to say than one line.
    babble(&relay, 24);
    for _ in 0..12 {
        echoes(&mut Client::through(relay.addr(), origin.addr));
    }
    relay.signal("TERM");
    let refused = || std::net::TcpStream::connect(relay.addr()).is_err();
    wait::until_true(&format!("{what}: the drain begins"), PATIENCE, refused);
    assert!(relay.is_running(), "{what}: ended with a live session");
    echoes(&mut live);
    drop(live);
    assert_eq!(relay.wait_exit(PATIENCE), Some(0), "{what}");
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    serves_with("a full disk", full.into(), || {});
}

#[test]
fn a_log_whose_reader_is_gone_ends_nothing() {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    serves_with("a broken pipe", writer, || drop(reader));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    for flags in [OFlag::empty(), OFlag::O_NONBLOCK] {
        let (_reader, writer) = full_pipe(flags);
        serves_with("a full pipe", writer, || {});
    }
}

/// A reader that comes back finds whole lines, and no more of them are missing than the server says.
#[test]
fn a_log_that_was_stopped_goes_on_with_a_whole_line() {
    for flags in [OFlag::empty(), OFlag::O_NONBLOCK] {
        let (reader, writer) = full_pipe(flags);
        let mut relay = Relay::builder().set("log", "level", "\"debug\"").stderr(writer).start();
        babble(&relay, 300);
        relay.signal("TERM");
        let lines = BufReader::new(File::from(reader));
        nix::fcntl::fcntl(lines.get_ref(), nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).expect("its mode");
        let lines: Vec<String> = lines.lines().map_while(Result::ok).collect();
        assert_eq!(relay.wait_exit(PATIENCE), Some(0));
        let first = lines[0].trim_start_matches('-');
        let rest = [first].into_iter().chain(lines[1..].iter().map(String::as_str));
        let refused = rest.clone().filter(|line| line.contains("session refused")).count();
        assert_eq!(refused, 300);
        for line in rest.filter(|line| !line.is_empty()) {
            assert!(line.starts_with("20") && line.matches("Z ").count() == 1, "two in one: {line}");
        }
    }
}

/// Becomes the command behind it, in the background of the terminal at standard error, which stops who writes from there.
const IN_THE_BACKGROUND: &str = r"
import fcntl, os, signal, sys, termios
modes = termios.tcgetattr(2)
modes[3] |= termios.TOSTOP
termios.tcsetattr(2, termios.TCSANOW, modes)
os.setsid()
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
front = os.fork()
if front == 0:
    signal.pause()
os.setpgid(front, front)
os.tcsetpgrp(2, front)
os.kill(front, signal.SIGKILL)
os.waitpid(front, 0)
os.execvp(sys.argv[1], sys.argv[1:])
";

/// A server in the background writes to its terminal, as everybody does to other terminals.
#[test]
fn a_terminal_does_not_stop_what_logs_from_the_background() {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let relay = Relay::builder().under(&["python3", "-c", IN_THE_BACKGROUND]).stderr(terminal.slave).start();
    let (said, hears) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let log = BufReader::new(File::from(terminal.master));
        log.lines()
            .map_while(Result::ok)
            .filter(|line| line.contains("counters"))
            .try_for_each(|_| said.send(()))
    });
    relay.signal("USR1");
    hears.recv_timeout(PATIENCE).expect("the counters");
    one_session(&relay);
}

/// As `outflow drain --exit`, for who has no endpoint: nobody new, and the end with the last session; a second end changes nothing.
#[test]
fn a_signal_has_the_server_leave() {
    let (mut relay, origin) = (Relay::start(), Origin::echo());
    let mut client = Client::through(relay.addr(), origin.addr);
    relay.signal("35");
    relay.logged(&["signal 35"]);
    wait::until_true("nobody listens", PATIENCE, || std::net::TcpStream::connect(relay.addr()).is_err());
    relay.signal("TERM");
    relay.logged(&["draining"]);
    echoes(&mut client);
    drop(client);
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
}

/// What asks for something that there is not ends no session.
#[test]
fn a_signal_that_nobody_knows_ends_nothing() {
    let (relay, origin) = (Relay::start(), Origin::echo());
    let mut client = Client::through(relay.addr(), origin.addr);
    relay.signal("USR2");
    relay.logged(&["WARN", "SIGUSR2", "no hand-over: there is no [server] takeover"]);
    echoes(&mut client);
    for signal in ["ALRM", "VTALRM", "PROF", "IO", "PWR"] {
        relay.signal(signal);
        relay.logged(&["WARN", &format!("SIG{signal}"), "ignored"]);
        echoes(&mut client);
    }
    relay.signal("40");
    relay.logged(&["WARN", "a real-time signal", "ignored"]);
    echoes(&mut client);
}

fn one_session(relay: &Relay) {
    Client::greeted(relay.addr());
}

fn lines_of(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Rotation with a signal: the old file stays as it was, and no session notices.
#[test]
fn sighup_opens_the_logs_anew() {
    let (mut relay, origin) = (Relay::start(), Origin::echo());
    let mut live = Client::through(relay.addr(), origin.addr);
    one_session(&relay);
    relay.records(1);
    let moved = relay.access_path().with_extension("1");
    std::fs::rename(relay.access_path(), &moved).expect("rename");
    relay.signal("HUP");
    wait::until_true("a new file", PATIENCE, || relay.access_path().exists());
    one_session(&relay);
    relay.records(1);
    assert_eq!(lines_of(&moved), 1);
    assert!(relay.is_running());
    echoes(&mut live);
}

/// Rotation without a signal, whether the next file is there already or not.
#[test]
fn a_renamed_access_log_is_made_anew() {
    let relay = Relay::start();
    for round in 1..=2 {
        one_session(&relay);
        relay.records(1);
        let moved = relay.access_path().with_extension(round.to_string());
        std::fs::rename(relay.access_path(), &moved).expect("rename");
        if round == 2 {
            File::create(relay.access_path()).expect("the next file");
        }
        wait::until_true("it is noticed", PATIENCE, || {
            relay.log().matches("a new file is written").count() == round
        });
        assert_eq!((lines_of(&moved), lines_of(relay.access_path())), (1, 0), "round {round}");
    }
    one_session(&relay);
    relay.records(1);
}

/// Where no file can be made in place of one that was deleted nothing can be written, and the log says so: records wait.
#[test]
fn records_of_a_deleted_folder_wait() {
    // A folder that is made anew is another to Landlock.
    let builder = Relay::builder().set("sandbox", "landlock", "false");
    let folder = builder.directory().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    let path = folder.join("access");
    let relay = builder.set("log", "access", &format!("{path:?}")).start();
    one_session(&relay);
    wait::until_true("a record", PATIENCE, || lines_of(&path) == 1);
    std::fs::remove_dir_all(&folder).expect("removed");
    let mut sent = 0;
    wait::until_true("it is said", PATIENCE, || {
        one_session(&relay);
        sent += 1;
        relay.log().contains("access records cannot be written")
    });
    std::fs::create_dir(&folder).expect("a folder");
    wait::until_true("it is over", PATIENCE, || relay.log().contains("access records are written again"));
    one_session(&relay);
    wait::until_true("records", PATIENCE, || lines_of(&path) >= 2);
    assert!(lines_of(&path) <= sent + 1, "{sent}");
}

/// Where no file can be made in place of one that was moved away, that one is written on to.
#[test]
fn the_log_says_that_no_new_access_log_can_be_made() {
    let relay = Relay::start();
    one_session(&relay);
    relay.records(1);
    let moved = relay.access_path().with_extension("1");
    std::fs::rename(relay.access_path(), &moved).expect("rename");
    std::fs::create_dir(relay.access_path()).expect("a folder in its place");
    wait::until_true("it is said", PATIENCE, || relay.log().contains("no new file can be opened"));
    one_session(&relay);
    wait::until_true("two records", PATIENCE, || lines_of(&moved) == 2);
    std::fs::remove_dir(relay.access_path()).expect("removed");
    wait::until_true("a new file", PATIENCE, || relay.access_path().exists());
    assert_eq!(relay.log().matches("no new file can be opened").count(), 1);
}

/// The access log holds the names of users.
#[test]
fn others_may_not_read_a_new_access_log() {
    let relay = Relay::start();
    let mode = std::fs::metadata(relay.access_path()).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
}

/// Half a record that another process left behind is not completed by one of ours.
#[test]
fn a_record_behind_half_of_another_has_its_own_line() {
    let builder = Relay::builder();
    std::fs::write(builder.directory().join("access.jsonl"), b"{\"half\":").expect("write");
    let relay = builder.start();
    one_session(&relay);
    wait::until_true("a record", PATIENCE, || lines_of(relay.access_path()) == 2);
    let text = relay.access_text();
    let record: Value = serde_json::from_str(text.lines().nth(1).expect("a line")).expect("JSON");
    assert_eq!(record["reason"], "client_left");
}

/// A disk that was full and is freed has every record, and the log says both.
#[test]
fn a_disk_that_was_full_gets_every_record() {
    netns::run(&test_name!(), "true", || {
        let builder = Relay::builder();
        let disk = builder.directory().join("disk");
        std::fs::create_dir(&disk).expect("a folder");
        let mount = format!("mount -t tmpfs -o size=128k none {} && exec \"$@\"", disk.display());
        let relay = builder
            .set("log", "access", &quoted(disk.join("access").to_str().expect("UTF-8")))
            .under(&["unshare", "-m", "sh", "-c", &mount, "sh"])
            .start();
        let inside = Path::new(&format!("/proc/{}/root", relay.pid())).join(disk.strip_prefix("/").unwrap());
        let access = inside.join("access");
        one_session(&relay);
        wait::until_true("the first record", PATIENCE, || lines_of(&access) == 1);
        let mut filler = File::create(inside.join("filler")).expect("a file");
        while filler.write_all(&[0; 512]).is_ok() {}
        // The page of the first record has room for some more.
        for _ in 0..40 {
            one_session(&relay);
        }
        relay.logged(&["ERROR", "access records cannot be written", "ENOSPC"]);
        filler.set_len(0).expect("room again");
        wait::until_true("all records", PATIENCE, || lines_of(&access) == 41);
        relay.logged(&["WARN", "access records are written again"]);
        for line in std::fs::read_to_string(&access).expect("read").lines() {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(record["reason"], "client_left", "{line}");
        }
    });
}

/// A file at the limit of RLIMIT_FSIZE raises a signal that ends a process by default.
#[test]
fn a_file_at_its_size_limit_ends_nothing() {
    let relay = Relay::builder().under(&["prlimit", "--fsize=2000:unlimited"]).start();
    for _ in 0..20 {
        one_session(&relay);
    }
    relay.logged(&["ERROR", "access records cannot be written", "EFBIG"]);
    let unlimited = format!("prlimit --pid={} --fsize=unlimited", relay.pid());
    netns::shell(&unlimited);
    relay.records(20);
    one_session(&relay);
    relay.records(21);
}

/// A FIFO that nobody reads yet: the server serves, and the reader finds what came before it.
#[test]
fn a_fifo_without_a_reader_does_not_keep_the_server_from_starting() {
    let builder = Relay::builder();
    let fifo = builder.directory().join("fifo");
    mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let relay = builder.set("log", "access", &quoted(fifo.to_str().expect("UTF-8"))).start();
    one_session(&relay);
    relay.logged(&["nobody reads the FIFO"]);
    let read = |relay: &Relay, count: usize| {
        let reader = OpenOptions::new().read(true).custom_flags(0).open(&fifo).expect("the FIFO");
        let lines: Vec<String> = BufReader::new(reader).lines().map_while(Result::ok).take(count).collect();
        assert_eq!(lines.len(), count);
        for line in lines {
            let record: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(record["reason"], "client_left");
        }
        // It is gone again: what comes now waits for the next one.
        one_session(relay);
    };
    read(&relay, 1);
    read(&relay, 1);
}

/// Where no record may be lost each session has room for its own, whether it comes to be relayed or not, and gives it back.
fn every_session_leaves_its_record_where_none_may_be_lost(engine: Engine) {
    let relay = Relay::builder().engine(engine).workers(2).set("log", "on_full", "\"refuse\"").start();
    let origin = Origin::echo();
    for _ in 0..50 {
        echoes(&mut Client::through(relay.addr(), origin.addr));
        one_session(&relay);
        let mut client = Client::greeted(relay.addr());
        client.send(&connect_name(&[b'x'; 250], 80));
        client.expect_refusal(0x01);
    }
    relay.records(150);
}
engines!(every_session_leaves_its_record_where_none_may_be_lost);

/// Records on standard output stand alone there.
#[test]
fn the_ready_line_does_not_stand_among_the_records() {
    let mut relay = Relay::builder().records_on_stdout().start();
    for _ in 0..3 {
        one_session(&relay);
    }
    relay.signal("USR1");
    relay.signal("TERM");
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    let lines = wait::until("three records", PATIENCE, || {
        Some(relay.further_output()).filter(|lines| lines.len() == 3)
    });
    for line in lines {
        let record: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(record["reason"], "client_left");
    }
    assert!(relay.ready.starts_with("outflow "), "{}", relay.ready);
}

/// Who reads the log as JSON reads all of it so.
#[test]
fn the_ready_line_is_json_where_the_log_is() {
    let mut relay = Relay::builder().records_on_stdout().set("log", "format", "\"json\"").start();
    relay.signal("TERM");
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    let ready: Value = serde_json::from_str(&relay.ready).unwrap_or_else(|e| panic!("{e}: {}", relay.ready));
    let said = ready["fields"]["message"].as_str().unwrap_or_else(|| panic!("{ready}"));
    assert!(said.starts_with("outflow "), "{said}");
}

/// Who cannot get in is in the log at the level that everybody has.
#[test]
fn the_log_says_that_clients_wait_at_the_ceiling() {
    let relay = Relay::builder().set("server", "max_connections", "1").start();
    let origin = Origin::echo();
    let mut first = Client::through(relay.addr(), origin.addr);
    // They come while nobody looks, so that all are there when somebody does.
    hold(&relay);
    let waiting: Vec<Client> = (0..3).map(|_| Client::connect(relay.addr())).collect();
    relay.signal("CONT");
    relay.logged(&["WARN", "connections wait", "sessions=1", "waiting=3"]);
    // Once a minute: more of them are no more lines.
    let more: Vec<Client> = (0..20).map(|_| Client::connect(relay.addr())).collect();
    for _ in 0..20 {
        echoes(&mut first);
    }
    assert_eq!(relay.log().matches("connections wait").count(), 1);
    drop((waiting, more));
}

/// The counts of a word in the log's lines about refusals, and how many such lines there are.
fn told(relay: &Relay, word: &str) -> (u64, usize) {
    let log = relay.log();
    let lines = log.lines().filter(|line| line.contains(" INFO ") && line.contains("source=127.0.0.1"));
    let count = |line: &str| -> u64 {
        let (_, rest) = line.split_once(&format!("{word}=")).unwrap_or_else(|| panic!("{line}"));
        rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    (lines.clone().map(count).sum(), lines.count())
}

/// Each is counted in the log, but it takes seconds, not clients, to fill it; and no password is in it.
#[test]
fn refusals_are_counted_in_the_log_and_do_not_fill_it() {
    let relay = Relay::builder().guarded().users(&[("alice", b"wonderland")]).start();
    let ((), lasted) = timed(|| {
        let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(relay.addr())).collect();
        for client in &mut clients {
            client.send(&[&[0x05, 0x01, 0x02][..], &userpass(b"alice", b"s3cr3t-w0rd")].concat());
        }
        for client in &mut clients {
            client.expect(&[0x05, 0x02, 0x01, 0x01]);
        }
        for _ in 0..30 {
            let mut client = Client::connect(relay.addr());
            assert_eq!(client.login(b"alice", b"wonderland"), 0);
            client.send(&connect_ip("10.0.0.1:80".parse().expect("an address")));
            client.expect_refusal(0x02);
        }
        let all = || told(&relay, "failed_logins").0 == 20 && told(&relay, "refused").0 == 30;
        wait::until_true("every refusal is counted in the log", PATIENCE, all);
    });
    let lines = told(&relay, "refused").1;
    assert!(lines <= 2 + lasted.as_secs() as usize, "{lines} lines in {lasted:?}");
    assert!(!relay.log().contains("s3cr3t-w0rd"));
}

/// SIGUSR1 asks for the counters: no level hides them, and as JSON each is a field.
#[test]
fn neither_level_nor_format_hides_the_counters() {
    let relay = Relay::builder().set("log", "level", "\"error\"").start();
    one_session(&relay);
    relay.records(1);
    relay.signal("USR1");
    relay.logged(&["INFO", "counters", "accepted=1", "active=0", "closed_client_left=1"]);

    let relay = Relay::builder().set("log", "level", "\"error\"").set("log", "format", "\"json\"").start();
    one_session(&relay);
    relay.records(1);
    relay.signal("USR1");
    let line: Value = serde_json::from_str(&relay.logged(&["counters"])).expect("JSON");
    assert_eq!(line["level"], "INFO");
    let fields = &line["fields"];
    assert_eq!(
        (&fields["message"], &fields["accepted"], &fields["closed_client_left"]),
        (&"counters".into(), &1.into(), &1.into()),
        "{line}"
    );
}
