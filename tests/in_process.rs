//! A server within the test's own process, over real sockets: what only its counters and its threads show.
//!
//! Nothing here reads a log or a child's output; conditions are awaited with a deadline.

mod counts;
mod kept;
mod latencies;
mod overload;
mod places;
mod quotas;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use outflow::config::{Access, Config, Dns64, RelayMode};
use outflow::control::Server;
use outflow::observe::{Counted, Direction, ShedCause};
use outflow::outcome::Reason;
use outflow::relay::Engine;
use outflow::worker::Drill;

/// Far above what anything here takes, so that only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long something must not happen.
const A_WHILE: Duration = Duration::from_millis(300);

fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A server on a port of its own that may reach loopback.
fn config(workers: usize, relay: RelayMode) -> Config {
    let mut config = Config::default();
    config.server.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()];
    config.server.workers = workers;
    config.server.pin = false;
    config.server.relay = relay;
    config.guard.allow_private = true;
    // No test asks a name server of this machine by itself.
    config.dns.dns64 = Dns64::Off;
    config
}

fn start(config: Config) -> Server {
    Server::start(config).expect("the server starts")
}

/// Cuts off what is left and waits for every thread.
fn stop(mut server: Server) {
    server.drain(Instant::now());
    finish(server);
}

/// Waits for every thread of a server that drains, but not for ever.
fn finish(mut server: Server) {
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        server.finish();
        let _ = sender.send(());
    });
    ended.recv_timeout(PATIENCE).expect("a drained server ends");
}

/// An echo server that lives as long as the process.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut writer = stream.try_clone().expect("a descriptor");
                let _ = std::io::copy(&mut stream, &mut writer);
            });
        }
    });
    address
}

/// A client that has said nothing yet.
fn dial(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addresses()[0]).expect("nobody refuses a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Greeting and CONNECT at once, and what is answered to them.
fn handshake(stream: &mut TcpStream, target: SocketAddr) -> std::io::Result<()> {
    let SocketAddr::V4(target) = target else { panic!("{target} is not IPv4") };
    let request = [b"\x05\x01\x00\x05\x01\x00\x01", &target.ip().octets()[..], &target.port().to_be_bytes()];
    stream.write_all(&request.concat())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer[..6], *b"\x05\x00\x05\x00\x00\x01");
    Ok(())
}

fn connect(server: &Server, target: SocketAddr) -> TcpStream {
    let mut stream = dial(server);
    handshake(&mut stream, target).expect("a relay");
    stream
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").and_then(|()| stream.read_exact(&mut answer)).is_ok_and(|()| answer == *b"ping")
}

fn internal_records(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| line.contains(r#""reason":"internal""#)).map(str::to_owned).collect()
}

/// Two workers whose records go to this file.
fn start_recording(access: &Path) -> Server {
    let mut config = config(2, RelayMode::Auto);
    config.log.access = Access::Path(access.to_owned());
    start(config)
}

/// Sessions for the panics below: with so many, each of two workers has some.
const SESSIONS: usize = 48;

// HAZARD 38.
#[test]
fn a_worker_that_panics_costs_its_own_sessions_and_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = folder.path().join("access.log");
    let server = start_recording(&access);
    let target = echo();
    let mut clients: Vec<TcpStream> = (0..SESSIONS).map(|_| connect(&server, target)).collect();
    assert!(clients.iter_mut().all(echoes));
    assert_eq!(server.totals().active(), SESSIONS as u64);

    server.drill(0, Drill::Panic);
    // The records of a worker's last turn are handed over together, after all were counted.
    let recorded = |least: usize| {
        let records = internal_records(&access).len();
        records > least && records as u64 == server.totals().closed_for(Reason::Internal)
    };
    await_that("its sessions are recorded", || recorded(0));
    let (mut live, dead): (Vec<_>, Vec<_>) =
        clients.into_iter().map(|mut client| (echoes(&mut client), client)).partition(|(lives, _)| *lives);
    assert!(!dead.is_empty() && !live.is_empty(), "both workers had sessions");
    let records = internal_records(&access);
    assert_eq!(records.len(), dead.len());
    assert!(records.iter().all(|record| record.contains(r#""worker":0"#)), "{records:#?}");
    let totals = server.totals();
    assert_eq!(totals.closed_for(Reason::Internal), dead.len() as u64);
    assert_eq!(totals.active(), live.len() as u64);

    // The same port, the same two queues.
    let mut newcomers: Vec<TcpStream> = (0..SESSIONS).map(|_| connect(&server, target)).collect();
    assert!(newcomers.iter_mut().all(echoes));
    assert!(live.iter_mut().all(|(_, client)| echoes(client)), "the other worker's sessions went on");

    // What replaced it can be replaced, and leaves records of its own.
    server.drill(0, Drill::Panic);
    await_that("the second time as well", || recorded(dead.len()));
    let lost = newcomers.iter_mut().map(echoes).filter(|lives| !lives).count();
    assert_eq!(internal_records(&access).len(), dead.len() + lost);
    let ids: std::collections::HashSet<String> = internal_records(&access)
        .iter()
        .filter_map(|line| line.split(r#""id":"#).nth(1)?.get(..22).map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), dead.len() + lost, "no number twice");
    stop(server);
}

// HAZARD 53: what runs after a panic may panic, too. Once the thread ended there unseen, its listener stayed open, and its
// share of the clients hung.
#[test]
fn a_second_panic_over_the_first_costs_one_record_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = folder.path().join("access.log");
    let server = start_recording(&access);
    let target = echo();
    let mut clients: Vec<TcpStream> = (0..SESSIONS).map(|_| connect(&server, target)).collect();
    for worker in [0, 1] {
        let lost_before = server.totals().closed_for(Reason::Internal);
        server.drill(worker, Drill::PanicTwice);
        await_that("its sessions are counted", || {
            let totals = server.totals();
            totals.closed_for(Reason::Internal) > lost_before && totals.active() == living(&mut clients)
        });
        let lost = server.totals().closed_for(Reason::Internal) as usize;
        await_that("all but one are recorded", || internal_records(&access).len() == lost - 1 - worker);
        // The same port, the same two queues: nobody hangs.
        clients.extend((0..SESSIONS).map(|_| connect(&server, target)));
        assert_eq!(server.totals().active(), living(&mut clients));
    }
    stop(server);
}

/// How many of the sessions live; the others are forgotten.
fn living(clients: &mut Vec<TcpStream>) -> u64 {
    clients.retain_mut(echoes);
    clients.len() as u64
}

// A worker that gets on with nothing is said and counted, once, and so is nobody who waits for events.
#[test]
fn a_worker_that_stands_still_is_counted_once() {
    let mut server = start(config(2, RelayMode::Auto));
    let stalls = |server: &Server| server.totals().count_of(Counted::Stall);
    // Both have been at work, and wait for more.
    drop((0..SESSIONS).map(|_| connect(&server, echo())).collect::<Vec<_>>());
    await_that("all have left", || server.totals().active() == 0);
    thread::sleep(A_WHILE);
    for _ in 0..20 {
        server.look_at_workers();
    }
    assert_eq!(stalls(&server), 0, "idle workers");
    let span = Duration::from_millis(1500);
    server.drill(1, Drill::Stall(span));
    let began = Instant::now();
    while began.elapsed() < span {
        server.look_at_workers();
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(stalls(&server), 1);
    let mut clients: Vec<TcpStream> = (0..SESSIONS).map(|_| connect(&server, echo())).collect();
    assert!(clients.iter_mut().all(echoes), "it goes on where it stood");
    stop(server);
}

// HAZARD 38.
#[test]
fn a_panic_closes_handshakes_and_refuses_nobody() {
    let server = start(config(1, RelayMode::Auto));
    let target = echo();
    let mut shaking = dial(&server);
    shaking.write_all(b"\x05\x01").expect("half a greeting");
    await_that("it is accepted", || server.totals().active() == 1);
    server.drill(0, Drill::Panic);
    assert!(!matches!(shaking.read(&mut [0; 1]), Ok(1..)), "a word in a handshake that is gone");
    await_that("it is counted", || server.totals().closed_for(Reason::Internal) == 1);

    for _ in 0..200 {
        let mut stream = dial(&server);
        server.drill(0, Drill::Panic);
        // Either its worker had taken it and panicked, or the one that came after serves it.
        let _ = handshake(&mut stream, target);
    }
    await_that("every connection that was taken is closed and counted", || {
        let totals = server.totals();
        totals.active() == 0 && totals.count_of(Counted::Accepted) == totals.closed()
    });
    assert!(echoes(&mut connect(&server, target)));
    stop(server);
}

#[test]
fn letters_behind_a_panic_are_read_by_the_replacement() {
    for _ in 0..50 {
        let mut server = start(config(2, RelayMode::Auto));
        // They arrive as one event: whoever panics at the first must not take the others along.
        server.drill(0, Drill::Panic);
        server.drill(0, Drill::Panic);
        server.drill(1, Drill::Panic);
        server.drain(Instant::now() + 10 * PATIENCE);
        finish(server);
    }
}

/// The two ends of a session through the relay.
fn ends(server: &Server) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let client = connect(server, listener.local_addr().expect("its address"));
    let (target, _) = listener.accept().expect("the relay's connection");
    target.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    target.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    (client, target)
}

/// Sends so many bytes from one end and takes them at the other.
fn carry(from: &TcpStream, to: &TcpStream, count: usize) {
    let (mut from, mut to) = (from, to);
    thread::scope(|scope| {
        scope.spawn(move || from.write_all(&vec![0x5a; count]).expect("all is taken"));
        let mut taken = vec![0; count];
        to.read_exact(&mut taken).expect("all arrives");
        assert!(taken.iter().all(|byte| *byte == 0x5a));
    });
}

/// What was counted in a direction, over both engines.
fn counted(server: &Server, direction: Direction) -> u64 {
    let totals = server.totals();
    totals.bytes(direction, Engine::Copy) + totals.bytes(direction, Engine::Splice)
}

fn await_count(server: &Server, direction: Direction, truth: u64) {
    await_that("the count is the truth", || counted(server, direction) == truth);
}

/// Carries bytes both ways and compares the counts after each step, while the session runs.
fn counts_are_live(mode: RelayMode) {
    let server = start(config(1, mode));
    let (client, target) = ends(&server);
    let (mut up, mut down) = (0, 0);
    for count in [1, 2, 1000, 65_536, 100_000, 3_000_000] {
        carry(&client, &target, count);
        up += count as u64;
        await_count(&server, Direction::Up, up);
        carry(&target, &client, 2 * count);
        down += 2 * count as u64;
        await_count(&server, Direction::Down, down);
        assert_eq!(counted(&server, Direction::Up), up, "the other direction's bytes are not this one's");
    }
    let totals = server.totals();
    assert_eq!((totals.active(), totals.closed()), (1, 0), "the session still runs");
    let by = |engine| [totals.bytes(Direction::Up, engine), totals.bytes(Direction::Down, engine)];
    match mode {
        RelayMode::Copy => assert_eq!((by(Engine::Copy), by(Engine::Splice)), ([up, down], [0, 0])),
        RelayMode::Splice => assert_eq!((by(Engine::Copy), by(Engine::Splice)), ([0, 0], [up, down])),
        RelayMode::Auto => {}
    }
    drop((client, target));
    await_that("it ends", || server.totals().closed_for(Reason::Completed) == 1);
    assert_eq!((counted(&server, Direction::Up), counted(&server, Direction::Down)), (up, down));
    stop(server);
}

// HAZARD 29.
#[test]
fn copied_bytes_are_counted_while_the_session_runs() {
    counts_are_live(RelayMode::Copy);
}

// HAZARD 29.
#[test]
fn spliced_bytes_are_counted_while_the_session_runs() {
    counts_are_live(RelayMode::Splice);
}

// HAZARD 29.
#[test]
fn bytes_of_either_engine_are_counted_while_the_session_runs() {
    counts_are_live(RelayMode::Auto);
}

/// Writes until nothing more is taken for a while and nothing more is counted; how much was taken.
fn fill(server: &Server, direction: Direction, mut stream: &TcpStream) -> u64 {
    stream.set_write_timeout(Some(A_WHILE)).expect("a timeout");
    let (bytes, mut total, mut before) = (vec![0x5a; 65_536], 0, None);
    loop {
        match stream.write(&bytes) {
            Ok(count) => total += count as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let now = Some((total, counted(server, direction)));
                if now == before {
                    return total;
                }
                before = now;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// While nobody reads, what the relay holds is not counted; once it is taken, all of it is.
fn a_stalled_reader_is_not_counted_for(mode: RelayMode) {
    let server = start(config(1, mode));
    let (client, target) = ends(&server);
    for (from, mut to, direction) in [(&client, &target, Direction::Up), (&target, &client, Direction::Down)]
    {
        let sent = fill(&server, direction, from);
        let taken = counted(&server, direction);
        assert!(0 < taken && taken < sent, "{taken} of {sent} while the reader stalls");
        let mut first = vec![0; usize::try_from(taken).expect("a size")];
        to.read_exact(&mut first).expect("what was counted was handed over");
        let mut rest = vec![0; usize::try_from(sent - taken).expect("a size")];
        to.read_exact(&mut rest).expect("what was held back arrives");
        await_count(&server, direction, sent);
    }
    stop(server);
}

// HAZARD 29.
#[test]
fn copied_bytes_that_a_stalled_reader_has_not_taken_are_not_counted() {
    a_stalled_reader_is_not_counted_for(RelayMode::Copy);
}

// HAZARD 29.
#[test]
fn spliced_bytes_that_a_stalled_reader_has_not_taken_are_not_counted() {
    a_stalled_reader_is_not_counted_for(RelayMode::Splice);
}

/// Whether the server keeps silent for a while.
fn is_kept_waiting(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(A_WHILE)).expect("a timeout");
    let silent = matches!(
        stream.peek(&mut [0; 1]).map_err(|error| error.kind()),
        Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)
    );
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    silent
}

/// The maximum is met to the last session, however many workers share it.
#[test]
fn a_maximum_that_does_not_divide_evenly_is_met_to_the_last_session() {
    for (workers, most) in [(4, 9), (2, 3), (3, 3)] {
        let mut config = config(workers, RelayMode::Auto);
        config.server.max_connections = most;
        let server = start(config);
        let target = echo();
        // So many that every worker's queue has more than its share.
        let mut clients: Vec<TcpStream> = (0..workers * 40).map(|_| dial(&server)).collect();
        await_that("as many are served as may be", || server.totals().active() == most as u64);
        thread::sleep(A_WHILE);
        assert_eq!(server.totals().active(), most as u64, "{most} over {workers} workers");
        // Every place is used again, and something becomes of every client: who waits for too long is reset.
        for client in &mut clients {
            client.set_nonblocking(true).expect("non-blocking");
            let _ = client.write_all(b"\x05\x01\x00");
        }
        let mut answer = [0; 2];
        await_that("all are served in turn", || {
            clients.retain_mut(|client| {
                client.read(&mut answer).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
            });
            assert!(server.totals().active() <= most as u64);
            clients.is_empty()
        });
        assert!(echoes(&mut connect(&server, target)));
        let shed = server.totals().count_of(Counted::Shed(ShedCause::Connections));
        assert_eq!(server.totals().count_of(Counted::Accepted) + shed, workers as u64 * 40 + 1);
        stop(server);
    }
}

// HAZARD 40: at the ceiling a panic frees the places that its sessions had.
#[test]
fn a_panic_at_the_ceiling_makes_room() {
    let mut config = config(1, RelayMode::Auto);
    config.server.max_connections = 1;
    let server = start(config);
    let target = echo();
    let first = connect(&server, target);
    let mut second = dial(&server);
    assert!(is_kept_waiting(&second));
    server.drill(0, Drill::Panic);
    handshake(&mut second, target).expect("the place that came free");
    assert!(echoes(&mut second));
    assert!(matches!((&first).read(&mut [0; 1]), Ok(0) | Err(_)), "the first is closed");
    stop(server);
}

// HAZARD 41.
#[test]
fn a_drain_closes_the_listeners_while_sessions_go_on() {
    let mut server = start(config(2, RelayMode::Auto));
    let target = echo();
    let mut client = connect(&server, target);
    let address = server.addresses()[0];
    server.drain(Instant::now() + PATIENCE);
    await_that("new connections are refused", || {
        TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    assert!(echoes(&mut client));
    drop(client);
    finish(server);
}
