//! Requests in absolute form to an HTTPS proxy: exchanges, and what is kept between them, behind TLS.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::support::origin::{Once, once, pattern};
use crate::support::tls::{Authority, TlsStream, VERSIONS, table};
use crate::support::web::{Peer, get};
use crate::support::{Origin, Relay, skip};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Scene {
    relay: Relay,
    authority: Authority,
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(global: &str) -> Self {
        let (authority, directory) = (Authority::new(), TempDir::new().expect("a directory"));
        authority.write(directory.path(), 2040);
        let builder = match global {
            "" => Relay::builder(),
            keep_alive => Relay::builder().set("http", "keep_alive", keep_alive).set("http", "pac", "true"),
        };
        let table = table(directory.path(), "", "protocols = [\"http\", \"socks5\"]");
        Self { relay: builder.listeners(&[&table]).start(), authority, directory }
    }

    fn at(&self) -> SocketAddr {
        self.relay.addrs()[0]
    }

    /// A client of each version.
    fn clients(&self) -> [TlsStream; 2] {
        VERSIONS.map(|version| TlsStream::connect(self.at(), &self.authority.config(&[version], None)))
    }
}

/// The next head, read byte by byte.
fn head(client: &mut TlsStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.recv(1));
    }
    String::from_utf8(head).expect("text")
}

fn with_body(origin: SocketAddr, fields: &str) -> String {
    format!("POST http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n{fields}\r\n")
}

/// An origin that answers these in turn over one connection; the heads that it read.
fn answering(answers: &'static [&'static str]) -> Once<Vec<String>> {
    once(move |stream| {
        let mut peer = Peer::over(stream);
        let answer = |answer: &&str| {
            let head = peer.head();
            peer.send(answer.as_bytes());
            head
        };
        answers.iter().map(answer).collect()
    })
}

#[test]
fn requests_of_one_connection_are_sessions_of_their_own() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = answering(&[OK, OK, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", OK]);
        for path in ["/a", "/b"] {
            client.send(get(origin.addr, path).as_bytes());
            assert!(head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
            client.expect(b"ok");
        }
        client.send(get(origin.addr, "/").replacen("GET", "HEAD", 1).as_bytes());
        assert!(head(&mut client).contains("Content-Length: 9\r\n"));
        client.send(b"\r\n");
        client.send(get(origin.addr, "/c").as_bytes());
        head(&mut client);
        client.expect(b"ok");
        client.finish();
        assert_eq!(client.recv_to_end(), b"");
        assert_eq!(origin.join().len(), 4);
    }
    for record in scene.relay.records(8) {
        assert_eq!(
            (&record["engine"], &record["reason"], &record["reply"], &record["protocol"]),
            (&"tls".into(), &"completed".into(), &200.into(), &"http".into()),
            "{record}"
        );
    }
}

/// A record is opened in one piece, wherever the messages in it end.
#[test]
fn what_comes_behind_a_request_in_its_record_is_the_next_request() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = once(|stream| {
            let mut peer = Peer::over(stream);
            for body in [0, 3, 14, 0] {
                peer.head();
                peer.body(body);
                peer.send(OK.as_bytes());
            }
        });
        let requests = [
            get(origin.addr, "/1"),
            with_body(origin.addr, "Content-Length: 3\r\n") + "abc",
            with_body(origin.addr, "Transfer-Encoding: chunked\r\n") + "4\r\nabcd\r\n0\r\n\r\n",
            get(origin.addr, "/2"),
        ];
        client.send(requests.concat().as_bytes());
        for _ in 0..4 {
            head(&mut client);
            client.expect(b"ok");
        }
        origin.join();
    }
    // The body's end stands in the middle of a later record.
    for mut client in scene.clients() {
        let origin = once(|stream| {
            let mut peer = Peer::over(stream);
            peer.head();
            assert_eq!(peer.body(6), b"abcdef");
            peer.send(OK.as_bytes());
            assert!(peer.head().starts_with("GET /next "));
            peer.send(OK.as_bytes());
        });
        client.send(with_body(origin.addr, "Content-Length: 6\r\n").as_bytes());
        client.send(b"abc");
        client.send(format!("def{}", get(origin.addr, "/next")).as_bytes());
        for _ in 0..2 {
            head(&mut client);
            client.expect(b"ok");
        }
        origin.join();
    }
    scene.relay.records(12);
}

#[test]
fn long_bodies_pass_both_ways_whole() {
    const LENGTH: usize = 1_000_001;
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = once(|stream| {
            let mut peer = Peer::over(stream);
            for chunked in [false, true] {
                peer.head();
                let body = peer.body(LENGTH);
                if chunked {
                    peer.send(
                        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LENGTH:x}\r\n")
                            .as_bytes(),
                    );
                    peer.send(&body);
                    peer.send(b"\r\n0\r\n\r\n");
                } else {
                    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes());
                    peer.send(&body);
                }
            }
        });
        let body = pattern(0, LENGTH);
        for chunked in [false, true] {
            client.send(with_body(origin.addr, &format!("Content-Length: {LENGTH}\r\n")).as_bytes());
            client.send(&body);
            head(&mut client);
            if chunked {
                client.expect(format!("{LENGTH:x}\r\n").as_bytes());
            }
            assert!(client.recv(LENGTH) == body);
            if chunked {
                client.expect(b"\r\n0\r\n\r\n");
            }
        }
        client.finish();
        assert_eq!(client.recv_to_end(), b"");
        origin.join();
    }
    for record in scene.relay.records(4) {
        assert!(record["bytes_up"].as_u64() > Some(LENGTH as u64), "{record}");
        assert!(record["bytes_down"].as_u64() > Some(LENGTH as u64), "{record}");
        assert!(record["bytes_down"].as_u64() < Some(LENGTH as u64 + 500), "without what TLS adds: {record}");
    }
}

/// Where the connection's end is the body's, that end is said, or it would be one that anybody could forge.
#[test]
fn a_response_until_close_ends_in_order() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = answering(&["HTTP/1.1 200 OK\r\n\r\nup to here"]);
        client.send(get(origin.addr, "/").as_bytes());
        assert!(head(&mut client).contains("Connection: close\r\n"));
        assert_eq!(client.recv_to_end(), b"up to here");
        origin.join();
    }
}

#[test]
fn a_response_that_is_cut_off_is_no_end_in_order() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = answering(&["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab"]);
        client.send(get(origin.addr, "/").as_bytes());
        head(&mut client);
        let error = loop {
            match client.read(&mut [0; 100]) {
                Ok(0) => panic!("an end in order"),
                Ok(_) => {}
                Err(error) => break error.kind(),
            }
        };
        assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{error:?}");
        origin.join();
        assert_eq!(scene.relay.record()["reason"], "target_reset");
    }
}

/// A FIN without the word for an end could be anybody's.
#[test]
fn a_request_that_is_cut_off_resets_the_upstream() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = once(|stream| {
            let mut peer = Peer::over(stream);
            peer.head();
            peer.expect_reset();
        });
        client.send((with_body(origin.addr, "Content-Length: 100\r\n") + "abc").as_bytes());
        client.socket.shutdown(std::net::Shutdown::Write).expect("FIN");
        origin.join();
        assert_eq!(scene.relay.record()["reason"], "client_reset");
    }
}

#[test]
fn a_client_that_ends_its_side_behind_a_request_gets_the_response() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = answering(&[OK]);
        client.send(get(origin.addr, "/").as_bytes());
        client.finish();
        head(&mut client);
        assert_eq!(client.recv_to_end(), b"ok");
        origin.join();
    }
}

#[test]
fn an_upgraded_connection_carries_what_comes() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = once(|stream| {
            let mut peer = Peer::over(stream);
            peer.head();
            peer.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst",
            );
            assert_eq!(peer.body(7), b"earlyup");
            peer.send(b"down");
            assert_eq!(peer.until_end(), b"");
            peer.send(b"last");
        });
        let request = get(origin.addr, "/");
        let request =
            request.trim_end().to_owned() + "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly";
        client.send(request.as_bytes());
        assert!(head(&mut client).starts_with("HTTP/1.1 101 "));
        client.expect(b"first");
        client.send(b"up");
        client.expect(b"down");
        client.finish();
        assert_eq!(client.recv_to_end(), b"last");
        origin.join();
        let record = scene.relay.record();
        assert_eq!((&record["reply"], &record["reason"]), (&101.into(), &"completed".into()), "{record}");
    }
}

#[test]
fn what_is_no_response_is_answered_behind_tls() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let origin = answering(&["SSH-2.0-nothing\r\n\r\n"]);
        client.send(get(origin.addr, "/").as_bytes());
        assert!(head(&mut client).starts_with("HTTP/1.1 502 "));
        client.recv_to_end();
        origin.join();
    }
    // Nobody listens there any more.
    let gone = answering(&[]).addr;
    for mut client in scene.clients() {
        client.send(get(gone, "/").as_bytes());
        assert!(head(&mut client).starts_with("HTTP/1.1 50"));
        client.recv_to_end();
    }
}

/// The first connection answers once and is closed on the second request; others answer whatever comes.
#[test]
fn a_request_is_sent_again_where_its_kept_connection_fails() {
    let scene = Scene::new();
    for mut client in scene.clients() {
        let first = std::sync::atomic::AtomicBool::new(true);
        let origin = Origin::serve(move |stream| {
            let mut peer = Peer::over(stream);
            let fails = first.swap(false, std::sync::atomic::Ordering::Relaxed);
            while peer.try_head().is_some() {
                peer.send(OK.as_bytes());
                if fails {
                    peer.head();
                    return;
                }
            }
        });
        for _ in 0..3 {
            client.send(get(origin.addr, "/").as_bytes());
            assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
            client.expect(b"ok");
        }
        assert_eq!(origin.accepted(), 2);
    }
}

#[test]
fn an_idle_connection_ends_in_order_and_leaves_no_record() {
    let scene = Scene::with("\"300ms\"");
    for mut client in scene.clients() {
        let origin = answering(&[OK]);
        client.send(get(origin.addr, "/").as_bytes());
        head(&mut client);
        assert_eq!(client.recv_to_end(), b"ok");
        origin.join();
    }
    assert_eq!(scene.relay.records(2).len(), 2);
}

#[test]
fn browsers_are_told_of_an_https_proxy() {
    let scene = Scene::with("\"10s\"");
    for mut client in scene.clients() {
        client.send(b"GET /proxy.pac HTTP/1.1\r\nHost: proxy.example:3128\r\n\r\n");
        let answer = String::from_utf8(client.recv_to_end()).expect("text");
        assert!(answer.contains("return \"HTTPS proxy.example:3128\";"), "{answer}");
    }
}

#[test]
fn curl_fetches_through_an_https_proxy() {
    if skip::without("curl_fetches_through_an_https_proxy", "curl", "curl") {
        return;
    }
    let scene = Scene::new();
    let origin = Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            peer.send(OK.as_bytes());
        }
    });
    let urls = [format!("http://{}/a", origin.addr), format!("http://{}/b", origin.addr)];
    let output = Command::new("curl")
        .args(["-sS", "--noproxy", "", "--proxy-cacert"])
        .arg(scene.directory.path().join("ca.pem"))
        .args(["-x", &format!("https://localhost:{}", scene.at().port())])
        .args(&urls)
        .output()
        .expect("curl runs");
    assert_eq!(output.stdout, b"okok", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(origin.accepted(), 1);
}
