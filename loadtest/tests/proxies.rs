//! The protocols of sessions, and requests over kept connections, against proxies written here by hand: each answers
//! its clients' pages itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::{load, record};

/// Never called: the proxy answers for it.
const TARGET: &str = "127.0.0.1:258";

/// What a proxy does with those who speak to it.
#[derive(Clone, Copy, Default)]
struct ProxyManner {
    refuses: bool,
    /// Says `Connection: close` after each answer, and does so.
    closes: bool,
    /// Closes a connection behind so many answers, without a word.
    leaves_after: usize,
    /// Changes a byte of an answer.
    lies: bool,
    /// Sends a byte with the answer to CONNECT.
    hastens: bool,
}

/// A proxy on a port of its own, for as long as the test's process lives.
struct ByHand {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    first_messages: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ByHand {
    fn start(manner: ProxyManner) -> Self {
        Self::serve(move |client, first| speak(client, manner, first))
    }

    /// The same under TLS.
    fn start_under_tls(manner: ProxyManner) -> Self {
        let names = vec!["localhost".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a key that fits");
        let config = Arc::new(config);
        Self::serve(move |client, first| {
            let tls = ServerConnection::new(Arc::clone(&config)).expect("a good config");
            speak(StreamOwned::new(tls, client), manner, first)
        })
    }

    fn serve<F>(each: F) -> Self
    where
        F: Fn(TcpStream, &Mutex<Vec<Vec<u8>>>) -> io::Result<()> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let first_messages = Arc::new(Mutex::new(Vec::new()));
        let (count, first) = (Arc::clone(&connections), Arc::clone(&first_messages));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let (each, first) = (each.clone(), Arc::clone(&first));
                // A client that leaves is no matter of the proxy's.
                thread::spawn(move || drop(each(client, &first)));
            }
        });
        Self { address, connections, first_messages }
    }

    fn words(&self, words: &str) -> Vec<String> {
        let server = self.address.to_string();
        let line = format!("{words} --server {server} --target {TARGET} --patience 5");
        line.split(' ').map(str::to_owned).collect()
    }

    #[track_caller]
    fn record(&self, words: &str) -> serde_json::Value {
        let words = self.words(words);
        record(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn fails(&self, words: &str) -> Output {
        let words = self.words(words);
        load(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Serves one client in the protocol of its first byte.
fn speak<S: Read + Write>(mut client: S, manner: ProxyManner, seen: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    let mut first = [0];
    client.read_exact(&mut first)?;
    match first[0] {
        4 => {
            let rest = until(&mut client, b"\0", 8)?;
            seen.lock().expect("no panic").push([&first[..], &rest].concat());
            let code = if manner.refuses { 91 } else { 90 };
            client.write_all(&[0, code, 0, 0, 0, 0, 0, 0])?;
        }
        5 => {
            client.read_exact(&mut [0; 2])?;
            client.write_all(&[5, 0])?;
            client.read_exact(&mut [0; 10])?;
            client.write_all(&[5, u8::from(manner.refuses) * 2, 0, 1, 127, 0, 0, 1, 0, 80])?;
        }
        b'C' => {
            let rest = until(&mut client, b"\r\n\r\n", 0)?;
            seen.lock().expect("no panic").push([&first[..], &rest].concat());
            if manner.refuses {
                return client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            }
            let answer: &[u8] =
                if manner.hastens { b"HTTP/1.1 200 Go\r\n\r\n!" } else { b"HTTP/1.1 200 Go\r\n\r\n" };
            client.write_all(answer)?;
        }
        // A TLS handshake, where none is spoken.
        0x16 => return client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        _ => return answer_requests(client, manner, seen, first[0]),
    }
    let head = until(&mut client, b"\r\n\r\n", 0)?;
    client.write_all(&page(length(&head), manner))?;
    client.flush()?;
    client.read_to_end(&mut Vec::new()).map(drop)
}

fn answer_requests<S: Read + Write>(
    mut client: S,
    manner: ProxyManner,
    seen: &Mutex<Vec<Vec<u8>>>,
    first: u8,
) -> io::Result<()> {
    let mut head = vec![first];
    for answered in 1.. {
        head.extend(until(&mut client, b"\r\n\r\n", 0)?);
        seen.lock().expect("no panic").push(head.clone());
        let (status, size) = if manner.refuses { ("403 Forbidden", 0) } else { ("200 OK", length(&head)) };
        let close = if manner.closes { "Connection: close\r\n" } else { "" };
        let head_out = format!("HTTP/1.1 {status}\r\n{close}Content-Length: {size}\r\n\r\n");
        client.write_all(&[head_out.as_bytes(), &page(size, manner)].concat())?;
        if manner.closes || answered == manner.leaves_after {
            break;
        }
        head.clear();
    }
    Ok(())
}

/// Reads up to `end`, which stands behind at least `least` bytes.
fn until<S: Read>(client: &mut S, end: &[u8], least: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < least || !bytes.ends_with(end) {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(bytes)
}

/// Of `GET /LENGTH` and `GET http://HOST/LENGTH`.
fn length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head);
    let path = text.split(' ').nth(1).unwrap_or_default();
    path.rsplit('/').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// 0, 1, ... 250, 0, 1 and so on.
fn page(size: usize, manner: ProxyManner) -> Vec<u8> {
    let mut page: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    if let Some(last) = page.last_mut().filter(|_| manner.lies) {
        *last ^= 1;
    }
    page
}

const GOOD: ProxyManner =
    ProxyManner { refuses: false, closes: false, leaves_after: 0, lies: false, hastens: false };

#[test]
fn sessions_speak_what_they_are_told() {
    for protocol in ["socks5", "socks4", "http"] {
        let proxy = ByHand::start(GOOD);
        let record = proxy.record(&format!("connect --protocol {protocol} --count 50 --in-flight 4"));
        assert_eq!(record["sessions"], 50, "{protocol}");
        assert_eq!(record["protocol"], protocol);
        assert_eq!(record["handshake"]["count"], 50, "{protocol}");
        let first = proxy.first_messages.lock().expect("no panic").pop();
        match protocol {
            "socks4" => assert_eq!(first, Some(vec![4, 1, 1, 2, 127, 0, 0, 1, 0])),
            "http" => {
                let expected = b"CONNECT 127.0.0.1:258 HTTP/1.1\r\nHost: 127.0.0.1:258\r\n\r\n";
                assert_eq!(first, Some(expected.to_vec()));
            }
            _ => {}
        }
    }
}

#[test]
fn sessions_under_tls() {
    for protocol in ["socks5-tls", "https-connect"] {
        let proxy = ByHand::start_under_tls(GOOD);
        let record =
            proxy.record(&format!("connect --protocol {protocol} --count 20 --in-flight 4 --size 100000"));
        assert_eq!(record["sessions"], 20, "{protocol}");
        assert_eq!(record["bytes"], 2_000_000, "{protocol}");
    }
    // A server that knows no TLS.
    let ended = ByHand::start(GOOD).fails("connect --protocol https-connect --count 1");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("TLS failed during the greeting"), "{said}");
}

#[test]
fn what_a_refusal_says_is_named() {
    let refuses = ProxyManner { refuses: true, ..GOOD };
    for (words, why) in [
        ("connect --protocol socks4 --count 1", "refused the SOCKS4 request with code 91"),
        ("connect --protocol http --count 1", "answered the HTTP request with status 403"),
        ("http --count 1", "answered the HTTP request with status 403"),
        ("idle --fetch 10 --connections 1", "answered the HTTP request with status 403"),
    ] {
        let ended = ByHand::start(refuses).fails(words);
        assert_eq!(ended.status.code(), Some(1), "{words}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains(why), "{words}: {said}");
    }
    let hastens = ByHand::start(ProxyManner { hastens: true, ..GOOD });
    let ended = hastens.fails("connect --protocol http --count 1");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("bytes arrived that nobody sent"));
}

#[test]
fn requests_share_connections_as_far_as_they_may() {
    let proxy = ByHand::start(GOOD);
    let record = proxy.record("http --count 200 --connections 4 --size 3000 --user u --password p");
    assert_eq!(record["requests"], 200);
    assert_eq!(record["request"]["count"], 200);
    assert_eq!(record["bytes"], 600_000);
    assert_eq!(record["connections_opened"], 4);
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 4);
    let head = proxy.first_messages.lock().expect("no panic").pop().expect("a request");
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("GET http://127.0.0.1:258/3000 HTTP/1.1\r\nHost: 127.0.0.1:258\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic dTpw\r\n"), "{head}");

    let record = ByHand::start(GOOD).record("http --count 200 --connections 4 --per-connection 10");
    // Towards the end there may be fewer requests left than connections that could make ten.
    assert!((20..24).contains(&record["connections_opened"].as_u64().expect("a count")), "{record}");
    let record =
        ByHand::start(ProxyManner { closes: true, ..GOOD }).record("http --count 40 --connections 4");
    assert_eq!((&record["connections_opened"], &record["crossed_closes"]), (&40.into(), &0.into()));
}

/// A server may end a kept connection as a request is under way: that request is made again, and is no failure.
#[test]
fn a_close_that_crosses_a_request_is_no_failure() {
    let proxy = ByHand::start(ProxyManner { leaves_after: 5, ..GOOD });
    let record = proxy.record("http --count 100 --connections 2");
    assert_eq!((&record["requests"], &record["errors"]), (&100.into(), &0.into()));
    let crossed = record["crossed_closes"].as_u64().expect("a count");
    assert!(crossed >= 18, "{record}");
}

#[test]
fn a_proxy_that_lies_ends_the_run() {
    let proxy = ByHand::start(ProxyManner { lies: true, ..GOOD });
    for words in ["http --count 5 --size 10", "idle --fetch 10 --connections 2"] {
        let ended = proxy.fails(words);
        assert_eq!(ended.status.code(), Some(1), "{words}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("the data differ from what was sent"), "{words}: {said}");
    }
}

#[test]
fn clients_that_keep_their_connection_are_held() {
    let record = ByHand::start(GOOD).record("idle --fetch 100000 --connections 30 --seconds 0");
    assert_eq!(record["sessions"], 30);
    let ended = ByHand::start(ProxyManner { closes: true, ..GOOD }).fails("idle --fetch 10 --connections 2");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("the server does not keep the connection"), "{said}");
}
