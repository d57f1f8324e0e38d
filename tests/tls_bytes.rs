//! Bytes behind TLS, over real sockets: every split, both ends, bulk, and foreign clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::support::client::connect_ip;
use crate::support::origin::{once, pattern};
use crate::support::skip::skip;
use crate::support::tls::{Authority, TlsStream, VERSIONS, table};
use crate::support::wait::PATIENCE;
use crate::support::{Engine, Origin, Relay, socket_table, wait};

engines!(bulk_goes_both_ways_at_once, a_slow_reader_gets_all_of_it);

/// A relay that moves bytes by this engine where it may, which behind TLS it may not.
fn serve(engine: Engine) -> (Relay, Authority, TempDir) {
    let (authority, directory) = (Authority::new(), TempDir::new().expect("a directory"));
    authority.write(directory.path(), 2040);
    let relay = Relay::builder().engine(engine).listeners(&[&table(directory.path(), "", "")]).start();
    (relay, authority, directory)
}

fn bulk_goes_both_ways_at_once(engine: Engine) {
    const LENGTH: usize = 12 << 20;
    let (relay, authority, _directory) = serve(engine);
    for version in VERSIONS {
        let origin = Origin::echo();
        let config = authority.config(&[version], None);
        let mut client = TlsStream::through(relay.addr(), &config, origin.addr);
        let (mut sent, mut received) = (0, 0);
        while received < LENGTH {
            // As much as the sockets on the way surely take.
            let part = (LENGTH - sent).min(48 * 1024);
            client.send(&pattern(sent as u64, part));
            sent += part;
            let back = client.recv(sent - received);
            assert!(back == pattern(received as u64, back.len()), "from {received} on");
            received = sent;
        }
        client.finish();
        assert_eq!(client.recv_to_end(), b"");
    }
    for record in relay.records(2) {
        let counts = [&record["bytes_up"], &record["bytes_down"]];
        assert_eq!(counts, [LENGTH, LENGTH], "{record}");
        assert_eq!((&record["engine"], &record["reason"]), (&"tls".into(), &"completed".into()));
    }
}

fn a_slow_reader_gets_all_of_it(engine: Engine) {
    const LENGTH: u64 = 24 << 20;
    let (relay, authority, _directory) = serve(engine);
    let origin = Origin::source(LENGTH);
    let config = authority.config(&VERSIONS, None);
    let mut client = TlsStream::through(relay.addr(), &config, origin.addr);
    // Nothing is read before there is much of it.
    let ours = client.socket.local_addr().expect("an address");
    let full = || socket_table::between(ours, relay.addr()).is_some_and(|entry| entry.unread > 100_000);
    wait::until_true("the client's socket is full", PATIENCE, full);
    let (mut at, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match client.read(&mut buffer).expect("an end in order") {
            0 => break,
            count => {
                assert!(buffer[..count] == pattern(at, count), "from {at} on");
                at += count as u64;
            }
        }
    }
    assert_eq!(at, LENGTH);
    client.finish();
    assert_eq!(relay.record()["bytes_down"], LENGTH);
}

/// Sends these bytes in two pieces, of which the relay reads the first by itself.
fn send_split(client: &mut TlsStream, bytes: &[u8], at: usize, relay: SocketAddr) {
    let (front, back) = bytes.split_at(at.min(bytes.len()));
    client.socket.write_all(front).expect("send");
    let ours = client.socket.local_addr().expect("an address");
    wait::until_true("the relay reads what was sent", PATIENCE, || {
        socket_table::between(relay, ours).is_none_or(|entry| entry.unread == 0)
    });
    client.socket.write_all(back).expect("send");
}

/// HAZARDS 1, a floor below: hello, finish, greeting and request with payload, each cut at one place.
#[test]
fn flights_cut_anywhere_lead_to_the_same_session() {
    let (relay, authority, _directory) = serve(Engine::Copy);
    let origin = Origin::echo();
    for version in VERSIONS {
        let config = authority.config(&[version], None);
        for at in [1, 3, 5, 6, 9, 40, 100, 150, 200, 240] {
            let mut client = TlsStream::connect(relay.addr(), &config);
            while client.tls.is_handshaking() {
                let flight = client.flight();
                send_split(&mut client, &flight, at, relay.addr());
                if client.tls.is_handshaking() {
                    client.tls.read_tls(&mut client.socket).expect("read");
                    client.tls.process_new_packets().expect("records");
                }
            }
            let whole = [&b"\x05\x01\x00"[..], &connect_ip(origin.addr), b"payload"].concat();
            client.tls.writer().write_all(&whole).expect("memory");
            let flight = client.flight();
            send_split(&mut client, &flight, at, relay.addr());
            client.expect(b"\x05\x00");
            assert_eq!(client.recv(10)[..2], [5, 0], "cut at {at}");
            client.expect(b"payload");
        }
    }
}

/// RFC 8446 section 6.1: without close_notify it is not known that nothing is missing.
#[test]
fn a_fin_alone_resets_the_target_behind_what_came() {
    let (relay, authority, _directory) = serve(Engine::Copy);
    for version in VERSIONS {
        let origin = once(|mut stream: TcpStream| {
            let mut bytes = Vec::new();
            (stream.read_to_end(&mut bytes).map_err(|error| error.kind()), bytes)
        });
        let config = authority.config(&[version], None);
        let mut client = TlsStream::through(relay.addr(), &config, origin.addr);
        client.send(b"the beginning of");
        client.socket.shutdown(Shutdown::Write).expect("FIN");
        let (end, bytes) = origin.join();
        assert_eq!((end, &bytes[..]), (Err(std::io::ErrorKind::ConnectionReset), &b"the beginning of"[..]));
    }
    for record in relay.records(2) {
        assert_eq!(
            (&record["reason"], &record["bytes_up"]),
            (&"client_reset".into(), &16.into()),
            "{record}"
        );
    }
}

#[test]
fn a_changed_record_resets_the_target_and_the_client_is_told() {
    let (relay, authority, _directory) = serve(Engine::Copy);
    for version in VERSIONS {
        let origin = once(|mut stream: TcpStream| stream.read_to_end(&mut Vec::new()).map_err(|e| e.kind()));
        let config = authority.config(&[version], None);
        let mut client = TlsStream::through(relay.addr(), &config, origin.addr);
        client.tls.writer().write_all(b"changed on the way").expect("memory");
        let mut record = client.flight();
        *record.last_mut().expect("a record") ^= 1;
        client.socket.write_all(&record).expect("send");
        let error = client.read(&mut [0; 8]).expect_err("an alert");
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
        assert_eq!(origin.join(), Err(std::io::ErrorKind::ConnectionReset));
    }
    for record in relay.records(2) {
        assert_eq!(record["reason"], "protection", "{record}");
    }
}

#[test]
fn either_half_may_end_first() {
    let (relay, authority, _directory) = serve(Engine::Copy);
    for version in VERSIONS {
        let config = authority.config(&[version], None);
        // The client first, then an answer.
        let origin = once(|mut stream: TcpStream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("FIN");
            stream.write_all(&bytes).expect("send");
        });
        let mut client = TlsStream::through(relay.addr(), &config, origin.addr);
        client.send(b"a question");
        client.finish();
        assert_eq!(client.recv_to_end(), b"a question");
        origin.join();
        // The target first.
        let origin = once(|mut stream: TcpStream| {
            stream.write_all(b"all there is").expect("send");
            stream.shutdown(Shutdown::Write).expect("FIN");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("FIN");
            bytes
        });
        let mut client = TlsStream::through(relay.addr(), &config, origin.addr);
        assert_eq!(client.recv_to_end(), b"all there is");
        client.send(b"thanks");
        client.finish();
        assert_eq!(origin.join(), b"thanks");
    }
    for record in relay.records(4) {
        assert_eq!(record["reason"], "completed", "{record}");
    }
}

#[test]
fn a_target_that_resets_cuts_the_client_off() {
    let (relay, authority, _directory) = serve(Engine::Copy);
    let origin = once(|mut stream: TcpStream| {
        // One that resets as it accepts is refused.
        stream.read_exact(&mut [0]).expect("the client's byte");
        crate::support::client::reset(stream);
    });
    let config = authority.config(&VERSIONS, None);
    let mut client = TlsStream::through(relay.addr(), &config, origin.addr);
    client.send(b"x");
    origin.join();
    assert!(client.read(&mut [0; 8]).is_err(), "no end in order");
    assert_eq!(relay.record()["reason"], "target_reset");
}

/// What comes of many at once is nobody else's.
#[test]
fn sessions_at_once_keep_to_themselves() {
    let (relay, authority, _directory) = serve(Engine::Copy);
    let origin = Origin::echo();
    let config = authority.config(&VERSIONS, None);
    let at = relay.addr();
    let session = |config: &Arc<ClientConfig>, number: u8| {
        let mut client = TlsStream::through(at, config, origin.addr);
        for round in 0..40_usize {
            let bytes = vec![number; 1 + round * 997];
            client.send(&bytes);
            assert!(client.recv(bytes.len()) == bytes, "session {number}");
        }
        client.finish();
        assert_eq!(client.recv_to_end(), b"");
    };
    thread::scope(|scope| {
        for number in 0..16 {
            let (config, session) = (&config, &session);
            scope.spawn(move || session(config, number));
        }
    });
    assert!(relay.records(16).iter().all(|record| record["reason"] == "completed"));
}

/// OpenSSL's own client: other keys in the middle of TLS 1.3 (K), and a new handshake in TLS 1.2 (R), which is refused.
#[test]
fn openssl_gets_through_in_either_version() {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        return skip("openssl_gets_through_in_either_version", "openssl is not installed (package openssl)");
    }
    let (relay, _authority, directory) = serve(Engine::Copy);
    let origin = Origin::echo();
    for (version, order, told) in [("-tls1_3", "K\n", "KEYUPDATE"), ("-tls1_2", "R\n", "RENEGOTIATING")] {
        let mut child = Command::new("openssl")
            .args(["s_client", version, "-quiet", "-no_ign_eof", "-verify_return_error", "-CAfile"])
            .arg(directory.path().join("ca.pem"))
            .args(["-servername", "localhost", "-connect", &relay.addr().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start openssl");
        let mut input = child.stdin.take().expect("stdin");
        let (mut output, said) = (child.stdout.take().expect("stdout"), child.stderr.take().expect("stderr"));
        let mut receive = |length: usize| {
            let mut bytes = vec![0; length];
            output.read_exact(&mut bytes).expect("what was sent");
            bytes
        };
        input.write_all(&[&b"\x05\x01\x00"[..], &connect_ip(origin.addr)].concat()).expect("send");
        assert_eq!(receive(12)[..4], [5, 0, 5, 0], "{version}");
        input.write_all(b"before\n").expect("send");
        assert_eq!(receive(7), b"before\n", "{version}");
        // An order is a line that comes by itself.
        input.write_all(order.as_bytes()).expect("an order");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(told)), "{told}");
        if order == "K\n" {
            input.write_all(b"behind\n").expect("send");
            assert_eq!(receive(7), b"behind\n", "{version}");
        } else {
            assert!(lines.any(|line| line.contains("no renegotiation")), "it is told that there is none");
        }
        drop(input);
        let _ = child.kill();
        let _ = child.wait();
    }
}
