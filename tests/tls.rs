//! TLS at a listener: who gets in, who does not and how that is said, and the files that it is made of.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::{Client, connect_ip, userpass};
use crate::support::relay::Builder;
use crate::support::tls::{Authority, TlsStream, VERSIONS, table};
use crate::support::udp::{Target, unwrap, wrap};
use crate::support::wait::{PATIENCE, timed};
use crate::support::{Origin, Relay, udp};

/// A relay with a listener that speaks TLS, with more keys of that and of the listener; what it changes to stays in `directory`.
struct Scene {
    relay: Relay,
    authority: Authority,
    directory: TempDir,
}

impl Scene {
    fn new(tls: &str, more: &str) -> Self {
        Self::with(Relay::builder(), tls, more)
    }

    fn with(builder: Builder, tls: &str, more: &str) -> Self {
        let (authority, directory) = (Authority::new(), TempDir::new().expect("a directory"));
        authority.write(directory.path(), 2040);
        let relay = builder.listeners(&[&table(directory.path(), tls, more)]).start();
        Self { relay, authority, directory }
    }

    fn at(&self) -> SocketAddr {
        self.relay.addrs()[0]
    }
}

#[test]
fn a_session_behind_tls_is_a_session_with_its_record() {
    let origin = Origin::echo();
    for version in VERSIONS {
        let scene = Scene::new("", "");
        let config = scene.authority.config(&[version], None);
        let mut client = TlsStream::through(scene.at(), &config, origin.addr);
        client.send(b"some bytes");
        client.expect(b"some bytes");
        client.finish();
        assert_eq!(client.recv_to_end(), b"");
        let record = scene.relay.record();
        assert_eq!(
            (&record["engine"], &record["reason"], &record["bytes_up"], &record["bytes_down"]),
            (&"tls".into(), &"completed".into(), &10.into(), &10.into()),
            "{record}"
        );
    }
}

/// An HTTPS proxy, as clients call it.
#[test]
fn http_is_spoken_behind_tls() {
    let origin = Origin::echo();
    let scene = Scene::new("", "protocols = [\"http\"]");
    for version in VERSIONS {
        let config = scene.authority.config(&[version], None);
        let mut client = TlsStream::connect(scene.at(), &config);
        client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr).as_bytes());
        client.expect(b"HTTP/1.1 200 Connection established\r\n\r\n");
        client.send(b"through");
        client.expect(b"through");
        client.finish();
        assert_eq!(client.recv_to_end(), b"");
    }
    for record in scene.relay.records(2) {
        assert_eq!((&record["engine"], &record["protocol"]), (&"tls".into(), &"http".into()), "{record}");
    }
}

/// The balancer's header stands before the first record.
#[test]
fn a_balancer_may_stand_in_front_of_tls() {
    let origin = Origin::echo();
    let scene = Scene::new("", "proxy_protocol = \"required\"\nproxy_from = [\"127.0.0.1/32\"]");
    let config = scene.authority.config(&VERSIONS, None);
    let mut client = TlsStream::connect(scene.at(), &config);
    let hello = client.flight();
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n";
    client.socket.write_all(&[&header[..], &hello].concat()).expect("send");
    client.send(&[&b"\x05\x01\x00"[..], &connect_ip(origin.addr), b"payload"].concat());
    client.expect(b"\x05\x00");
    assert_eq!(client.recv(10)[..2], [5, 0]);
    client.expect(b"payload");
    client.finish();
    assert_eq!(client.recv_to_end(), b"");
    let record = scene.relay.record();
    assert_eq!((&record["client"], &record["engine"]), (&"192.0.2.7:4000".into(), &"tls".into()), "{record}");
}

/// What they speak they are told in: SOCKS5 has "no acceptable method", HTTP an answer in words.
#[test]
fn a_client_without_tls_is_told_so_in_its_own_words() {
    let scene = Scene::new("", "");
    let mut client = Client::connect(scene.at());
    client.send(b"\x05\x01\x00");
    client.expect(b"\x05\xff");
    client.expect_eof();
    let mut client = Client::connect(scene.at());
    client.send(b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let answer = String::from_utf8(client.recv_to_eof()).expect("text");
    assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"), "{answer}");
    for other in [&b"\x04\x01\x00\x50\x01\x02\x03\x04\x00"[..], b"\x00", b"\xffgarbage"] {
        let mut client = Client::connect(scene.at());
        client.send(other);
        client.drain_to_end();
    }
    for record in scene.relay.records(5) {
        assert_eq!(record["reason"], "tls", "{record}");
    }
}

#[test]
fn a_hello_where_no_tls_is_spoken_gets_an_alert() {
    const HANDSHAKE_FAILURE: &[u8] = b"\x15\x03\x01\x00\x02\x02\x28";
    let relay = Relay::builder().start();
    let config = Authority::new().config(&VERSIONS, None);
    let hello = TlsStream::connect(relay.addr(), &config).flight();
    for end in [1, 2, 5, hello.len()] {
        let mut client = Client::connect(relay.addr());
        client.send(&hello[..end]);
        client.expect(HANDSHAKE_FAILURE);
        client.expect_eof();
    }
    let mut client = TlsStream::connect(relay.addr(), &config);
    let error = client.shake_hands().expect_err("no handshake");
    assert!(error.to_string().contains("HandshakeFailure"), "{error}");
    let records = relay.records(6);
    assert_eq!(records.iter().filter(|record| record["reason"] == "tls").count(), 5, "{records:#?}");
}

/// TLS 1.1, by hand: no client that is kept speaks it.
#[test]
fn an_old_version_and_garbage_are_refused_by_an_alert() {
    let scene = Scene::new("", "");
    let body = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]].concat();
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    let old = [&[0x16, 3, 1, 0, message.len() as u8][..], &message].concat();
    for (bytes, alert) in [
        (&old[..], Some(40)),
        (b"\x16\x03\x01\xff\xff", None),
        (b"\x16\x03\x01\x00\x05\x63\x00\x00\x01\x00", None),
    ] {
        let mut client = Client::connect(scene.at());
        client.send(bytes);
        let answer = client.recv(7);
        assert_eq!((&answer[..1], &answer[3..6]), (&[0x15][..], &[0, 2, 2][..]), "{answer:?}");
        assert!(alert.is_none_or(|alert| answer[6] == alert), "{answer:?}");
        client.expect_eof();
    }
    for record in scene.relay.records(3) {
        assert_eq!(record["reason"], "tls", "{record}");
    }
}

/// HAZARDS 10: one byte now and then holds no place longer than the handshake may take.
#[test]
fn a_slow_handshake_ends_with_its_time() {
    let scene = Scene::with(Relay::builder().timeout("handshake", 400), "", "");
    let config = scene.authority.config(&VERSIONS, None);
    let hello = TlsStream::connect(scene.at(), &config).flight();
    for bytes in [&b""[..], &hello[..1], &hello[..hello.len() - 1], &hello] {
        let mut client = Client::connect(scene.at());
        client.send(bytes);
        let ((), took) = timed(|| client.drain_to_end());
        assert!(took < PATIENCE / 2, "{took:?} for {} bytes", bytes.len());
    }
    let reasons: Vec<_> = scene.relay.records(5).iter().map(|record| record["reason"].clone()).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == "handshake_timeout").count(), 4, "{reasons:?}");
}

#[test]
fn a_refusal_arrives_with_an_end_in_order() {
    let scene = Scene::with(Relay::builder().guarded(), "", "");
    let config = scene.authority.config(&VERSIONS, None);
    let mut client = TlsStream::connect(scene.at(), &config);
    client.send(&[&b"\x05\x01\x00"[..], &connect_ip(([127, 0, 0, 1], 9).into())].concat());
    client.expect(b"\x05\x00");
    assert_eq!(client.recv_to_end(), b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00");
    assert_eq!(scene.relay.record()["reason"], "denied");
}

#[test]
fn passwords_work_behind_tls() {
    let origin = Origin::echo();
    let scene = Scene::with(Relay::builder().users(&[("ann", b"secret")]), "", "");
    let config = scene.authority.config(&VERSIONS, None);
    for (password, status) in [(&b"secret"[..], 0), (b"wrong", 1)] {
        let mut client = TlsStream::connect(scene.at(), &config);
        client.send(b"\x05\x01\x02");
        client.expect(b"\x05\x02");
        client.send(&userpass(b"ann", password));
        assert_eq!(client.recv(2), [1, status]);
        if status == 0 {
            client.send(&connect_ip(origin.addr));
            assert_eq!(client.recv(10)[..2], [5, 0]);
        }
    }
}

#[test]
fn an_association_is_controlled_behind_tls() {
    let target = Target::on([127, 0, 0, 1].into());
    let scene = Scene::new("", "");
    let config = scene.authority.config(&VERSIONS, None);
    let mut client = TlsStream::connect(scene.at(), &config);
    client.send(b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00");
    client.expect(b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01");
    let port = client.recv(2);
    let front = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes([port[0], port[1]])));
    let socket = udp::socket(([127, 0, 0, 1], 0).into());
    socket.send_to(&wrap(target.addr, b"a datagram"), front).expect("send");
    let from = target.expect(b"a datagram");
    target.send(from, b"an answer");
    assert_eq!(unwrap(&udp::receive(&socket).0).payload, b"an answer");
    // Its last word is an end, though the connection stays.
    client.tls.send_close_notify();
    let last = client.flight();
    client.socket.write_all(&last).expect("send");
    assert_eq!(client.recv_to_end(), b"");
    let record = scene.relay.record();
    assert_eq!((&record["reason"], &record["engine"]), (&"completed".into(), &"datagram".into()), "{record}");
}

/// Methods of the listener hold no longer for who has shown who he is; whoever shows nothing does not get that far.
#[test]
fn a_certificate_says_who_a_client_is() {
    let origin = Origin::echo();
    for (from, name) in [("cn", "ann"), ("san", "ann@example.org")] {
        let rule = format!("name = \"only\"\nusers = [\"{name}\"]\naction = \"allow\"");
        let builder = Relay::builder().users(&[("bob", b"secret")]).rules(&[&rule]);
        let scene = Scene::with(builder, &format!(", client_ca = CA, users_from = \"{from}\""), "");
        for version in VERSIONS {
            let ann = scene.authority.client("ann", "ann@example.org");
            let config = scene.authority.config(&[version], Some(&ann));
            let mut client = TlsStream::through(scene.at(), &config, origin.addr);
            client.send(b"x");
            client.expect(b"x");
            client.finish();
            client.recv_to_end();
            // Whom no rule knows is refused as that user.
            let eve = scene.authority.client("eve", "eve@example.org");
            let config = scene.authority.config(&[version], Some(&eve));
            let mut client = TlsStream::connect(scene.at(), &config);
            client.send(&[&b"\x05\x01\x00"[..], &connect_ip(origin.addr)].concat());
            client.expect(b"\x05\x00\x05\x02");
            // Nobody in particular, and somebody whom another vouches for.
            let foreign = Authority::new().client("ann", "ann@example.org");
            for own in [None, Some(&foreign)] {
                let config = scene.authority.config(&[version], own);
                let mut client = TlsStream::connect(scene.at(), &config);
                let error = client.shake_hands().and_then(|()| client.read(&mut [0; 1]).map(drop));
                assert!(error.is_err(), "{own:?}", own = own.is_some());
            }
        }
        let records = scene.relay.records(8);
        let of =
            |reason: &str| records.iter().filter(|record| record["reason"] == reason).collect::<Vec<_>>();
        let known = |record: &&Value| record["user"] == name && record["method"] == "certificate";
        assert!(of("completed").iter().all(known), "{records:#?}");
        assert_eq!((of("completed").len(), of("denied").len(), of("tls").len()), (2, 2, 4), "{records:#?}");
    }
}

/// The right issuer, and a name that is nobody's.
#[test]
fn a_certificate_without_a_name_lets_nobody_in() {
    let scene = Scene::new(", client_ca = CA, users_from = \"cn\"", "");
    let nameless = scene.authority.client("", "ann@example.org");
    let config = scene.authority.config(&VERSIONS, Some(&nameless));
    let mut client = TlsStream::connect(scene.at(), &config);
    client.send(b"\x05\x01\x00");
    client.expect(b"\x05\xff");
    assert_eq!(client.recv_to_end(), b"");
    let record = scene.relay.record();
    assert_eq!(record["reason"], "auth_failed", "{record}");
}

#[test]
fn a_reload_takes_new_files_and_one_that_fails_leaves_the_old() {
    let origin = Origin::echo();
    let mut scene = Scene::new("", "");
    let works = |scene: &Scene, authority: &Authority| {
        let config = authority.config(&VERSIONS, None);
        TlsStream::connect(scene.at(), &config).shake_hands().is_ok()
    };
    let config = scene.authority.config(&VERSIONS, None);
    let mut old = TlsStream::through(scene.at(), &config, origin.addr);
    let other = Authority::new();
    other.write(scene.directory.path(), 2040);
    assert!(works(&scene, &scene.authority) && !works(&scene, &other), "nothing is read before a reload");
    scene.relay.reload(&[]);
    scene.relay.logged(&["no key has changed; certificate ", "cert.pem is good until 2040-12-31T00:00:00Z"]);
    assert!(!works(&scene, &scene.authority) && works(&scene, &other));
    std::fs::write(scene.directory.path().join("key.pem"), "no key").expect("write a file");
    scene.relay.signal("HUP");
    let line = scene.relay.logged(&["key.pem", "no private key"]);
    assert!(line.contains("listener"), "{line}");
    assert!(works(&scene, &other));
    // Who came before goes on.
    old.send(b"still there");
    old.expect(b"still there");
}

#[test]
fn files_that_are_wrong_are_named_by_check_with_the_listener() {
    let (authority, directory) = (Authority::new(), TempDir::new().expect("a directory"));
    let check = |tls: &str| {
        let table = table(directory.path(), tls, "");
        let output = Relay::builder().listeners(&[&table]).check();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (right, said) = check("");
    assert!(!right && said.contains("cert.pem") && said.contains("tls"), "{said}");
    authority.write(directory.path(), 2040);
    assert!(check("").0 && check(", client_ca = CA").0 && check(", client_ca = CA, users_from = \"san\"").0);
    for (tls, says) in [
        (", users_from = \"cn\"", "client_ca"),
        (", client_ca = CA, users_from = \"email\"", "users_from"),
        (", chain = CA", "chain"),
    ] {
        let (right, said) = check(tls);
        assert!(!right && said.contains(says), "{tls}: {said}");
    }
    Authority::new().client("x", "x@example.org").write(directory.path(), "other.pem", "key.pem");
    let (right, said) = check("");
    assert!(!right && said.contains("key.pem") && said.contains("not the key"), "{said}");
    authority.write(directory.path(), 2020);
    let (right, said) = check("");
    assert!(right && said.contains("cert.pem") && said.contains("2020-12-31"), "{said}");
}

/// HAZARDS 56: halves of hellos are held within the pool of half messages, of which one source has a share.
#[test]
fn half_hellos_are_bounded() {
    let scene = Scene::new("", "");
    // A handshake message of 60,000 bytes of which the last record never comes.
    let record = [&[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0xea, 0x60][..], &[0; 0x3ffb]].concat();
    let mut clients: Vec<Client> = Vec::new();
    let mut refused = false;
    for _ in 0..600 {
        let mut client = Client::connect(scene.at());
        refused |= client.try_send(&[&record[..], &record, &record].concat()).is_err();
        clients.push(client);
    }
    refused |= clients.iter_mut().any(|client| {
        client.stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        matches!(client.stream.read(&mut [0; 8]), Ok(0))
    });
    assert!(refused, "30 MB of halves are held");
    // Others are served.
    let config = scene.authority.config(&VERSIONS, None);
    TlsStream::connect(scene.at(), &config).shake_hands().expect("a handshake");
}

#[test]
fn handshakes_are_counted_by_how_they_came_out() {
    let scene = Scene::with(Relay::builder().admin(), "", "");
    let config = scene.authority.config(&[VERSIONS[1]], None);
    for _ in 0..2 {
        let mut client = TlsStream::connect(scene.at(), &config);
        client.send(b"\x05\x01\x00");
        client.expect(b"\x05\x00");
    }
    let old = scene.authority.config(&[VERSIONS[0]], None);
    TlsStream::connect(scene.at(), &old).shake_hands().expect("a handshake");
    let mut client = Client::connect(scene.at());
    client.send(b"\x05\x01\x00");
    client.drain_to_end();
    let metrics = scene.relay.get("/metrics");
    let text = &metrics.body;
    for (result, version) in
        [("full", "tls13"), ("resumed", "tls13"), ("full", "tls12"), ("failed", "unknown")]
    {
        let line = format!("outflow_tls_handshakes_total{{result=\"{result}\",version=\"{version}\"}} 1");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[test]
fn rules_limits_and_quotas_hold_behind_tls() {
    let origin = Origin::echo();
    let quota = "quota = { bytes = 1000, period = \"month\", zone = \"UTC\" }";
    let plan = format!("name = \"plan\"\nper = \"source\"\nconnections = 1\n{quota}");
    let port = origin.addr.port();
    let echo = format!("name = \"echo\"\nports = [{port}]\naction = \"allow\"\nlimits = [\"plan\"]");
    let rules = [&echo, "name = \"rest\"\naction = \"deny\""];
    let scene = Scene::with(Relay::builder().keeping().limits(&[&plan]).rules(&rules), "", "");
    let config = scene.authority.config(&VERSIONS, None);
    let refused = |nth, port: u16, field: &str, by: &str| {
        let mut client = TlsStream::connect(scene.at(), &config);
        client.send(b"\x05\x01\x00");
        client.expect(b"\x05\x00");
        client.send(&connect_ip(SocketAddr::new(origin.addr.ip(), port)));
        assert_eq!(client.recv(10)[..2], [5, 2], "{by}");
        let record = scene.relay.records(nth).pop().expect("its record");
        assert_eq!(record[field], by, "{record}");
    };
    let mut client = TlsStream::through(scene.at(), &config, origin.addr);
    refused(1, 1, "rule", "rest");
    refused(2, port, "limit", "plan");
    client.send(&[7; 600]);
    client.expect(&[7; 600]);
    client.finish();
    assert_eq!(client.recv_to_end(), b"");
    assert_eq!(scene.relay.records(3)[2]["rule"], "echo");
    refused(4, port, "limit", "plan");
}
