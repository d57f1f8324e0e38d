//! More clients than a worker can serve. A worker is made slow by turns that take longer.

use socket2::{Domain, Socket, Type};

use super::*;

/// How long a slow turn is: with 64 accepted in each, or 4 under overload, a worker serves 1,280 or 80 a second.
const SLOW_TURN: Duration = Duration::from_millis(50);
/// A queue that is longer than a slow worker works off before it is overload.
const CROWD: usize = 1500;
/// How soon everything is as it was.
const SOON: Duration = Duration::from_secs(2);

fn shed(server: &Server, cause: ShedCause) -> u64 {
    server.totals().count_of(Counted::Shed(cause))
}

fn short_queues(server: &Server) -> u64 {
    server.totals().count_of(Counted::ShortQueues)
}

/// A client that has greeted, and whose answer does not hold up whoever looks.
fn greeted(server: &Server) -> TcpStream {
    let mut stream = dial(server);
    stream.write_all(b"\x05\x01\x00").expect("a greeting");
    stream.set_nonblocking(true).expect("non-blocking");
    stream
}

/// What became of clients so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fates {
    served: u64,
    reset: u64,
}

impl Fates {
    /// Takes those out of whom something became.
    fn look(&mut self, clients: &mut Vec<TcpStream>) {
        clients.retain_mut(|client| {
            match client.read(&mut [0; 2]).map_err(|error| error.kind()) {
                Ok(2) => self.served += 1,
                Err(ErrorKind::ConnectionReset) => self.reset += 1,
                Err(ErrorKind::WouldBlock) => return true,
                other => panic!("{other:?}"),
            }
            false
        });
    }
}

/// A client that comes under overload: who was there before has left for it, or been served.
fn comes_late(server: &Server) -> thread::JoinHandle<bool> {
    let address = server.addresses()[0];
    thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("nobody refuses a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(b"\x05\x01\x00").expect("a greeting");
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).is_ok() && answer == *b"\x05\x00"
    })
}

/// Once a queue of 4,096 was worked off in turn, and everybody was served when he had left.
fn who_stood_too_long_is_reset_and_who_comes_is_served(mode: RelayMode) {
    let server = start(config(1, mode));
    let target = echo();
    let mut established = connect(&server, target);
    server.drill(0, Drill::Slow(SLOW_TURN));
    let mut clients: Vec<TcpStream> = (0..CROWD).map(|_| greeted(&server)).collect();
    let (mut fates, mut late, mut was_short) = (Fates::default(), Vec::new(), false);
    await_that("something becomes of everybody", || {
        if late.len() < 3 && fates.reset > 0 {
            late.push(comes_late(&server));
        }
        was_short |= short_queues(&server) == 1;
        fates.look(&mut clients);
        clients.is_empty() && late.len() == 3 && late.iter().all(thread::JoinHandle::is_finished)
    });
    assert_eq!(fates.served + fates.reset, CROWD as u64);
    assert!(fates.served > 0 && fates.reset > 0, "{fates:?}");
    assert_eq!(shed(&server, ShedCause::Queue), fates.reset, "nobody who came late");
    assert!(late.into_iter().all(|late| late.join().expect("a client")), "who comes is served");
    assert!(echoes(&mut established));
    assert!(was_short, "the kernel is left to keep clients out");
    // It is over: the queue is as long as it was, and everybody is served.
    server.drill(0, Drill::Slow(Duration::ZERO));
    let over = Instant::now();
    await_that("no queue is kept short", || short_queues(&server) == 0);
    assert!(over.elapsed() < SOON, "{:?}", over.elapsed());
    let mut clients: Vec<TcpStream> = (0..300).map(|_| greeted(&server)).collect();
    let before = fates.reset;
    await_that("all are served", || {
        fates.look(&mut clients);
        clients.is_empty()
    });
    assert_eq!((fates.reset, shed(&server, ShedCause::Queue)), (before, before));
    assert!(connect(&server, target).peer_addr().is_ok());
    stop(server);
}

#[test]
fn who_stood_too_long_is_reset_and_who_comes_is_served_by_copying() {
    who_stood_too_long_is_reset_and_who_comes_is_served(RelayMode::Copy);
}

#[test]
fn who_stood_too_long_is_reset_and_who_comes_is_served_by_splicing() {
    who_stood_too_long_is_reset_and_who_comes_is_served(RelayMode::Splice);
}

/// A worker of which a turn is never short, and that stood still for longer than anybody may stand under overload.
#[test]
fn who_came_while_a_worker_stood_still_is_served_where_that_is_soon() {
    let server = start(config(1, RelayMode::Copy));
    server.drill(0, Drill::Slow(Duration::from_millis(15)));
    server.drill(0, Drill::Stall(Duration::from_millis(800)));
    let (mut clients, mut fates) = ((0..64).map(|_| greeted(&server)).collect(), Fates::default());
    await_that("all are served", || {
        fates.look(&mut clients);
        clients.is_empty()
    });
    assert_eq!((fates.reset, shed(&server, ShedCause::Queue)), (0, 0));
    stop(server);
}

/// A client of this source, which is not read from meanwhile.
fn from(source: [u8; 4], server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("loopback has it");
    socket.connect(&server.addresses()[0].into()).expect("nobody refuses a connection");
    socket.into()
}

/// One source that opens connections past its limit took the turns of all others, who stood behind them until they were reset.
#[test]
fn who_is_turned_away_takes_nobodys_turn() {
    let mut config = config(1, RelayMode::Auto);
    config.per_source.connections = 1;
    let server = start(config);
    let greedy = [127, 0, 0, 9];
    let _first = from(greedy, &server);
    await_that("its only session", || server.totals().active() == 1);
    server.drill(0, Drill::Slow(SLOW_TURN));
    let past_it: Vec<TcpStream> = (0..CROWD).map(|_| from(greedy, &server)).collect();
    assert!(comes_late(&server).join().expect("a client"), "who comes behind them is served");
    // How many of them depends on the kernel, which may answer for a queue that is full and have nobody in it.
    let turned_away = server.totals().count_of(Counted::SourceTurnedAway);
    assert!(turned_away > 0 && turned_away <= CROWD as u64, "{turned_away}");
    drop(past_it);
    stop(server);
}

/// A load that is served, a long turn of some milliseconds, and one that is longer than anybody should stand.
#[test]
fn nothing_is_shed_where_a_worker_stood_still_for_once() {
    for mode in [RelayMode::Copy, RelayMode::Splice] {
        let server = start(config(1, mode));
        let target = echo();
        for span in [0, 5, 400] {
            server.drill(0, Drill::Stall(Duration::from_millis(span)));
            let (mut clients, mut fates) = ((0..100).map(|_| greeted(&server)).collect(), Fates::default());
            await_that("all are served", || {
                fates.look(&mut clients);
                clients.is_empty()
            });
            assert_eq!(fates, Fates { served: 100, reset: 0 }, "{span} ms");
            assert!(echoes(&mut connect(&server, target)));
        }
        assert_eq!((shed(&server, ShedCause::Queue), short_queues(&server)), (0, 0));
        stop(server);
    }
}

/// Who would wait for a place past the time that clients have is told at once; who finds one in time has it.
#[test]
fn at_the_ceiling_nobody_waits_for_ever() {
    let mut config = config(1, RelayMode::Auto);
    config.server.max_connections = 1;
    let server = start(config);
    let target = echo();
    let mut first = connect(&server, target);
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| dial(&server)).collect();
    let began = Instant::now();
    for client in &mut waiting {
        let ended = client.read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(ended, Err(ErrorKind::ConnectionReset));
    }
    // The kernel's clock of it ticks some milliseconds at a time.
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "they waited side by side: {:?}", began.elapsed());
    assert_eq!((shed(&server, ShedCause::Connections), server.totals().count_of(Counted::Accepted)), (3, 1));
    assert!(echoes(&mut first), "who is there stays");
    let mut second = dial(&server);
    assert!(is_kept_waiting(&second));
    drop(first);
    handshake(&mut second, target).expect("the place that came free");
    assert_eq!(shed(&server, ShedCause::Connections), 3);
    stop(server);
}

#[test]
fn at_its_ceiling_a_server_lets_the_next_one_wait_and_then_serves_it() {
    let mut config = config(1, RelayMode::Auto);
    config.server.max_connections = 1;
    let server = start(config);
    let target = echo();
    let mut first = connect(&server, target);
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| dial(&server)).collect();
    for stream in &mut waiting {
        stream.write_all(b"\x05\x01\x00").expect("a greeting");
    }
    assert!(is_kept_waiting(&waiting[0]), "served beside the first");
    assert_eq!((server.totals().count_of(Counted::Accepted), server.totals().active()), (1, 1));
    assert!(echoes(&mut first));
    drop(first);
    for (at, mut stream) in waiting.into_iter().enumerate() {
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).expect("an answer to the greeting");
        assert_eq!(answer, *b"\x05\x00");
        assert_eq!(
            (server.totals().count_of(Counted::Accepted), server.totals().active()),
            (at as u64 + 2, 1)
        );
    }
    await_that("all have left", || server.totals().active() == 0);
    assert_eq!(server.totals().closed_for(Reason::ClientLeft), 3);
    stop(server);
}
