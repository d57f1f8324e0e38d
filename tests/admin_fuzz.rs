//! Requests that are bent at random, beside sessions that are relayed: the endpoint stays what it is, and so do they.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::http::Http;
use crate::support::random::Random;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

/// Requests, over all threads.
const REQUESTS: usize = 20_000;
const THREADS: usize = 4;

/// What is bent: each of these is right.
const RIGHT: [&str; 8] = [
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:9180\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n",
    "HEAD /readyz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET http://localhost/api/v1/sessions?user=ann&limit=10&sort=-bytes HTTP/1.1\r\nHost: x\r\n\r\n",
    "DELETE /api/v1/sessions/0000-nobody HTTP/1.1\r\nHost: [::1]\r\nOrigin: http://[::1]\r\n\r\n",
    "PUT /api/v1/log HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n\
     {\"level\":\"info\"}",
    "POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\
     Expect: 100-continue\r\n\r\n{\"dry_run\":true}",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\nSec-Fetch-Site: none\r\n\r\n",
];

/// What is put in: what parsers stumble over.
const ODD: [&[u8]; 14] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\r\n\r\n",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"99999999999999999999",
    b"\xff\xfe",
    b"%00%2f..",
    b"HTTP/9.9",
];

/// One to three requests in a row, bent in a few places.
fn bent(random: &mut Random) -> Vec<u8> {
    let count = 1 + random.index(3);
    let mut bytes: Vec<u8> = (0..count).flat_map(|_| random.pick(&RIGHT).bytes()).collect();
    for _ in 0..random.index(5) {
        let at = random.index(bytes.len().max(1)).min(bytes.len());
        let until = (at + random.index(40)).min(bytes.len());
        match random.index(6) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 => drop(bytes.drain(at..until)),
            2 => {
                let piece = bytes[at..until].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, random.pick(&ODD).iter().copied())),
            _ => drop(bytes.splice(at..until, random.pick(&ODD).iter().copied())),
        }
    }
    bytes
}

/// Either way in.
enum Way {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Way {
    fn in_by(random: &mut Random, address: SocketAddr, path: &Path) -> Way {
        if random.one_in(4) {
            let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect");
            stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
            return Way::Tcp(stream);
        }
        let stream =
            wait::until("a place in the socket's queue", PATIENCE, || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        Way::Unix(stream)
    }

    /// Sends in pieces, says that this is all, and takes whatever comes until the end.
    fn exchange(mut self, pieces: &[&[u8]]) -> Vec<u8> {
        for piece in pieces {
            // It may have closed already.
            let _ = match &mut self {
                Way::Tcp(stream) => stream.write_all(piece),
                Way::Unix(stream) => stream.write_all(piece),
            };
        }
        let mut answers = Vec::new();
        let read = match &mut self {
            Way::Tcp(stream) => {
                let _ = stream.shutdown(Shutdown::Write);
                stream.read_to_end(&mut answers)
            }
            Way::Unix(stream) => {
                let _ = stream.shutdown(Shutdown::Write);
                stream.read_to_end(&mut answers)
            }
        };
        match read {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("no end: {error}"),
            _ => answers,
        }
    }
}

/// Whether these bytes are answers, one behind the other, each as long as it says; those to HEAD end the look.
fn check(mut answers: &[u8], sent: &[u8]) {
    let shown = || String::from_utf8_lossy(sent).into_owned();
    while !answers.is_empty() {
        assert!(answers.starts_with(b"HTTP/1.1 "), "{:?} to {:?}", String::from_utf8_lossy(answers), shown());
        let Some(end) = answers.windows(4).position(|four| four == b"\r\n\r\n") else {
            // Cut off by a reset.
            return;
        };
        let head = String::from_utf8_lossy(&answers[..end]).into_owned();
        let status: u16 = head[9..12].parse().expect("a status");
        answers = &answers[end + 4..];
        if status == 100 {
            continue;
        }
        assert!((200..506).contains(&status) && status != 500, "{head} to {:?}", shown());
        assert!(head.contains("\r\nx-content-type-options: nosniff\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if sent.windows(5).any(|word| word == b"HEAD ") {
            return;
        }
        answers = answers.get(length.parse().expect("a number")..).unwrap_or_default();
    }
}

#[test]
fn twenty_thousand_bent_requests_touch_no_session() {
    let builder = Relay::builder();
    let path = builder.socket_path();
    let listen = format!("[\"unix:{}\", \"127.0.0.1:0\"]", path.display());
    let mut relay = builder.set("admin", "listen", &listen).start();
    let (origin, address, door) = (Origin::echo(), relay.admin_addr(), relay.addr());
    let (over, rounds, bent_ones) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 0..2 {
            let (origin, over, rounds) = (origin.addr, &over, &rounds);
            scope.spawn(move || {
                let (mut random, mut client) = (Random::new(900 + seed), Client::through(door, origin));
                while !over.load(Ordering::Relaxed) {
                    let length = 1 + random.index(4000);
                    let bytes = random.bytes(length);
                    client.send(&bytes);
                    client.expect(&bytes);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let fuzzers: Vec<_> = (0..THREADS as u64)
            .map(|seed| {
                let (path, bent_ones) = (&path, &bent_ones);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..REQUESTS / THREADS {
                        let bytes = bent(&mut random);
                        let cut = random.index(bytes.len() + 1);
                        let way = Way::in_by(&mut random, address, path);
                        check(&way.exchange(&[&bytes[..cut], &bytes[cut..]]), &bytes);
                        bent_ones.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let failed = fuzzers.into_iter().filter_map(|fuzzer| fuzzer.join().err()).count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
    assert_eq!(bent_ones.into_inner(), REQUESTS);
    assert!(rounds.into_inner() > 10, "the sessions went on meanwhile");
    assert!(relay.is_running() && !relay.log().contains("panicked"), "{}", relay.log());
    wait::until_true("an answer once the pace is over", PATIENCE, || {
        Http::unix(&path).get("/healthz").status == 200
    });
    Client::through(door, origin.addr).finish();
}
