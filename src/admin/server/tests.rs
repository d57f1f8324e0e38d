//! The thread with a service that is made up: late answers, panics, bodies, other listeners.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};

use super::*;
use crate::admin::access::Need;
use crate::admin::doors::BoundDoor;
use crate::sys::machine;

/// Answers by path; what it is asked to wait for is answered once a text comes.
struct MadeUp {
    later: Receiver<String>,
    calls: usize,
}

impl Service for MadeUp {
    type Pending = ();

    fn need(&self, _path: &str) -> Need {
        Need::Operator
    }

    fn check(&self, head: &HttpHead) -> Result<(), HttpAnswer> {
        match &*head.path {
            "/none" => Err(HttpAnswer::error(HttpStatus::NOT_FOUND, "none")),
            "/check" => panic!("asked to"),
            _ => Ok(()),
        }
    }

    fn call(&mut self, request: HttpRequest, _by: Actor, _now: Instant) -> Called<()> {
        self.calls += 1;
        Called::Now(match &*request.head.path {
            "/panic" => panic!("asked to"),
            "/later" => return Called::Later(()),
            "/calls" => HttpAnswer::line(HttpStatus::OK, &self.calls.to_string()),
            "/large" => HttpAnswer::new(HttpStatus::OK, "text/plain", vec![b'a'; 20 << 20]),
            "/too-large" => HttpAnswer::new(HttpStatus::OK, "text/plain", vec![b'a'; 57 << 20]),
            _ => HttpAnswer::new(HttpStatus::OK, "text/plain", request.body.to_vec()),
        })
    }

    fn poll(&mut self, _pending: &mut (), _now: Instant) -> Option<HttpAnswer> {
        let text = self.later.try_recv().ok()?;
        assert_ne!(text, "panic", "asked to");
        Some(HttpAnswer::line(HttpStatus::OK, &text))
    }

    fn due(&self, _pending: &()) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _now: Instant) {}
}

/// The thread, and what it is told by.
struct Running {
    address: SocketAddr,
    open: OpenAddress,
    letters: Sender<AdminLetter>,
    later: Sender<String>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

fn bound() -> BoundDoor {
    BoundDoor::bind(&ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)).into()), &[]).unwrap()
}

fn access() -> AdminAccess {
    AdminAccess { own_uid: machine::effective_user(), token: None }
}

fn done() -> Arc<Latch> {
    Arc::new(Latch::new(bounded(1).0))
}

impl Running {
    fn start() -> Running {
        let (door, (letters, receiver), (later, answers)) = (bound(), bounded(4), unbounded());
        let (address, open) = (door.tcp().unwrap(), (door.address().clone(), door.tcp()));
        let (mut core, waker) = AdminCore::new(vec![door.listen().unwrap()], access(), receiver).unwrap();
        let made = Mutex::new(answers);
        let make = move || MadeUp { later: made.lock().unwrap().clone(), calls: 0 };
        let thread = Some(std::thread::spawn(move || core.run(make)));
        Running { address, open, letters, later, waker, thread }
    }

    fn tell(&self, letter: AdminLetter) {
        self.letters.send(letter).unwrap();
        self.waker.wake().unwrap();
    }

    fn say(&self, text: &str) {
        self.later.send(text.to_owned()).unwrap();
        self.waker.wake().unwrap();
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell(AdminLetter::Stop { within: limits::ADMIN_STOP_PATIENCE, done: None });
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn send(stream: &mut TcpStream, method: &str, path: &str, rest: &str) {
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{rest}").unwrap();
}

/// The status and the body of the next answer; `None` at an end.
fn answer(stream: &mut TcpStream) -> Option<(u16, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    Some((head[9..12].parse().unwrap(), body))
}

fn get(stream: &mut TcpStream, path: &str) -> Option<(u16, Vec<u8>)> {
    send(stream, "GET", path, "\r\n");
    answer(stream)
}

fn calls(stream: &mut TcpStream) -> String {
    String::from_utf8(get(stream, "/calls").unwrap().1).unwrap()
}

/// One answer that waits holds up nobody, and comes when it is there.
#[test]
fn an_answer_may_come_later() {
    let running = Running::start();
    let (mut waits, mut other) = (running.connect(), running.connect());
    send(&mut waits, "GET", "/later", "\r\nGET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // It was called once the next one is answered.
    std::iter::repeat_with(|| calls(&mut other)).find(|calls| calls != "1\n").unwrap();
    running.say("now");
    assert_eq!(answer(&mut waits), Some((200, b"now\n".to_vec())));
    assert_eq!(answer(&mut waits), Some((200, Vec::new())), "what came behind it is answered next");
}

/// Whatever of a service panics, one connection ends, and the next request meets a service made anew.
#[test]
fn a_panic_ends_one_connection() {
    let running = Running::start();
    let mut other = running.connect();
    assert_eq!((calls(&mut other), calls(&mut other)), ("1\n".to_owned(), "2\n".to_owned()));
    for path in ["/panic", "/check"] {
        assert_eq!(get(&mut running.connect(), path), None, "{path}");
        assert_eq!(calls(&mut other), "1\n", "{path}");
    }
    let mut waits = running.connect();
    send(&mut waits, "GET", "/later", "\r\n");
    std::iter::repeat_with(|| calls(&mut other)).find(|calls| calls != "2\n").unwrap();
    running.say("panic");
    assert_eq!(answer(&mut waits), None);
    assert_eq!(calls(&mut other), "1\n");
}

#[test]
fn bodies_are_read_to_the_byte() {
    let running = Running::start();
    let mut stream = running.connect();
    let json = "Content-Type: application/json\r\n";
    send(&mut stream, "PUT", "/echo", &format!("{json}Content-Length: 4\r\n\r\n{{}}"));
    stream.write_all(b"  GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream), Some((200, b"{}  ".to_vec())));
    assert_eq!(answer(&mut stream), Some((200, Vec::new())));
    send(
        &mut stream,
        "POST",
        "/echo",
        &format!("{json}Content-Length: 16384\r\nExpect: 100-continue\r\n\r\n"),
    );
    assert_eq!(answer(&mut stream), Some((100, Vec::new())));
    stream.write_all(&[b' '; 16384]).unwrap();
    assert_eq!(answer(&mut stream).map(|(status, body)| (status, body.len())), Some((200, 16384)));
    // What is not let in has its body not asked for, and not taken for a request.
    send(
        &mut stream,
        "POST",
        "/none",
        &format!("{json}Content-Length: 39\r\n\r\nGET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    );
    assert_eq!(answer(&mut stream).map(|(status, _)| status), Some(404));
    assert_eq!(answer(&mut stream), None);
}

/// What readers that take nothing hold has an end for all of them together.
#[test]
fn large_answers_have_a_bound_each_and_together() {
    let running = Running::start();
    let mut deaf: Vec<TcpStream> = (0..3).map(|_| running.connect()).collect();
    deaf.iter_mut().for_each(|stream| send(stream, "GET", "/large", "\r\n"));
    let mut first_byte = [0];
    deaf.iter_mut().for_each(|stream| stream.read_exact(&mut first_byte).unwrap());
    let mut other = running.connect();
    assert_eq!(get(&mut other, "/large").map(|(status, _)| status), Some(503));
    assert_eq!(get(&mut other, "/too-large").map(|(status, _)| status), Some(503));
    let mut rest = deaf.remove(0);
    drop(deaf);
    let mut whole = vec![0; 20 << 20];
    rest.read_exact(&mut whole).unwrap();
    assert_eq!(get(&mut other, "/large").map(|(status, body)| (status, body.len())), Some((200, 20 << 20)));
}

/// Other listeners: those that stay are not closed, and connections of those that go live on.
#[test]
fn listeners_come_and_go_and_connections_stay() {
    let running = Running::start();
    let mut before = running.connect();
    assert_eq!(calls(&mut before), "1\n");
    let new = bound();
    let second = new.tcp().unwrap();
    let stay = vec![running.open.clone()];
    running.tell(AdminLetter::Configure {
        stay,
        new: vec![new.listen().unwrap()],
        access: access(),
        done: done(),
    });
    assert_eq!(calls(&mut connect(second)), "2\n");
    assert_eq!(calls(&mut running.connect()), "3\n");
    let third = bound();
    let address = third.tcp().unwrap();
    running.tell(AdminLetter::Configure {
        stay: Vec::new(),
        new: vec![third.listen().unwrap()],
        access: access(),
        done: done(),
    });
    assert_eq!(calls(&mut connect(address)), "4\n");
    assert_eq!(calls(&mut before), "5\n");
    assert!(TcpStream::connect(running.address).is_err() && TcpStream::connect(second).is_err());
}

/// Others come between two requests of who is refused, however many of them have come.
#[test]
fn what_is_refused_has_one_place_in_a_turn() {
    let door = bound();
    let address = door.tcp().unwrap();
    let (mut core, _waker) = AdminCore::new(vec![door.listen().unwrap()], access(), bounded(1).1).unwrap();
    let make = || MadeUp { later: unbounded().1, calls: 0 };
    let mut server = AdminServer::new(&mut core, &make);
    let mut client = connect(address);
    (0..20).for_each(|_| send(&mut client, "GET", "/none", "\r\n"));
    server.accept(Instant::now());
    assert_eq!(server.connections.len(), 1);
    for _ in 0..3 {
        server.drive(0, Instant::now());
    }
    client.set_nonblocking(true).unwrap();
    let mut said = Vec::new();
    assert_eq!(client.read_to_end(&mut said).unwrap_err().kind(), ErrorKind::WouldBlock);
    let answers = String::from_utf8_lossy(&said).matches("404 Not Found").count();
    assert!((1..=3).contains(&answers), "{answers}");
}
