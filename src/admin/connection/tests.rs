//! The stages of a connection and their ends, on a clock that is made up.

use std::time::Duration;

use mio::net::UnixStream;

use super::*;
use crate::sys::unix::PeerProcess;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection, its other end, and when it began.
fn pair() -> (HttpConnection<()>, UnixStream, Instant) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (peer, begin) = (AdminPeer::Process(PeerProcess { uid: 0, pid: 1 }), Instant::now());
    (HttpConnection::new(AdminStream::Unix(ours), peer, begin), theirs, begin)
}

fn drive(connection: &mut HttpConnection<()>, now: Instant) -> Happened {
    connection.note(true, true);
    connection.next(now)
}

fn lasts(connection: &HttpConnection<()>, since: Instant) -> Duration {
    connection.ends_at() - since
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Each byte once bought a slow client more time.
#[test]
fn a_head_that_trickles_in_has_no_more_time_than_another() {
    let (mut connection, mut theirs, begin) = pair();
    for second in 0..4 {
        theirs.write_all(&REQUEST[second..=second]).unwrap();
        assert!(matches!(drive(&mut connection, begin + seconds(second as u64)), Happened::Nothing));
        assert_eq!(lasts(&connection, begin), limits::ADMIN_HEAD_TIME);
    }
    assert!(matches!(connection.overdue(), Overdue::TimedOut));
}

#[test]
fn a_connection_between_two_requests_ends_without_a_word() {
    let (mut connection, mut theirs, begin) = pair();
    assert!(matches!(connection.overdue(), Overdue::Close), "it has said nothing at all");
    theirs.write_all(REQUEST).unwrap();
    let Happened::Head(head) = drive(&mut connection, begin) else { panic!("no head") };
    let exchange = HttpExchange::of(&head);
    let later = begin + seconds(3);
    connection.answer(HttpAnswer::line(HttpStatus::OK, "alive"), &exchange, later);
    assert_eq!(lasts(&connection, later), limits::ADMIN_SEND_TIME);
    assert!(matches!(drive(&mut connection, later), Happened::Nothing));
    assert_eq!(lasts(&connection, later), limits::ADMIN_IDLE_TIME);
    assert!(matches!(connection.overdue(), Overdue::Close));
    // The first byte of the next request begins its time.
    theirs.write_all(&REQUEST[..1]).unwrap();
    let next = later + seconds(30);
    assert!(matches!(drive(&mut connection, next), Happened::Nothing));
    assert_eq!(lasts(&connection, next), limits::ADMIN_HEAD_TIME);
}

#[test]
fn a_body_has_a_time_of_its_own_and_so_has_an_answer() {
    let (mut connection, mut theirs, begin) = pair();
    theirs.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab").unwrap();
    let Happened::Head(head) = drive(&mut connection, begin) else { panic!("no head") };
    let (exchange, later) = (HttpExchange::of(&head), begin + seconds(2));
    connection.admit(head, Actor("somebody".to_owned()), later).unwrap();
    assert!(matches!(drive(&mut connection, later + seconds(1)), Happened::Nothing));
    assert_eq!(lasts(&connection, later), limits::ADMIN_BODY_TIME);
    assert!(matches!(connection.overdue(), Overdue::TimedOut));
    theirs.write_all(b"c").unwrap();
    let Happened::Request(request, by) = drive(&mut connection, later) else { panic!("no request") };
    assert_eq!((&**request.body, &*by.0), (&b"abc"[..], "somebody"));
    assert!(!format!("{request:?}").contains("97"), "no body in a message");
    connection.wait((), exchange, later);
    assert_eq!(lasts(&connection, later), limits::ADMIN_ANSWER_TIME);
    assert!(matches!(drive(&mut connection, later), Happened::Nothing));
    assert!(matches!(connection.overdue(), Overdue::Answer((), _)));
}

/// A client that takes nothing, and one that does not stop sending.
#[test]
fn an_answer_that_nobody_takes_ends_and_so_does_what_nobody_asked_for() {
    let (mut connection, mut theirs, begin) = pair();
    let whole = HttpAnswer::new(HttpStatus::OK, "text/plain", vec![b'a'; 4 << 20]);
    connection.answer(whole, &HttpExchange::of_none(), begin);
    let mut now = begin;
    while matches!(drive(&mut connection, now), Happened::More) {
        now += seconds(1);
    }
    assert_eq!((lasts(&connection, begin), connection.held()), (limits::ADMIN_SEND_TIME, 4 << 20));
    assert!(matches!(connection.overdue(), Overdue::Close));

    let (mut connection, mut theirs_too, begin) = pair();
    connection.answer(HttpAnswer::line(HttpStatus::BAD_REQUEST, "no"), &HttpExchange::of_none(), begin);
    let mut sent = 0;
    loop {
        sent += theirs_too.write(&[0; 4096]).unwrap_or_default();
        match drive(&mut connection, begin) {
            Happened::Nothing => assert_eq!(lasts(&connection, begin), limits::ADMIN_LINGER_TIME),
            Happened::Closed => break,
            other => panic!("{other:?}"),
        }
        assert!(sent < 2 * limits::ADMIN_LINGER_BYTES_MAX);
    }
    assert!(sent > limits::ADMIN_LINGER_BYTES_MAX);
    let mut answer = [0; 12];
    theirs_too.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    let _ = theirs.write(&[0]);
}
