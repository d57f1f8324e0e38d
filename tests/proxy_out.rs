//! The PROXY protocol towards targets: what they are told, when, and that it is nobody's payload.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::bind::{bind, peer};
use crate::support::client::connect_name;
use crate::support::origin::{Once, V4, V6, once_on};
use crate::support::parent::{FakeParent, through};
use crate::support::relay::Builder;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Engine, Origin, Relay, skip};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The table `[[proxy_out]]`, as the harness writes its name.
const TABLE: &str = "[proxy_out]";

/// A relay that tells targets of their clients, as this table says, key by key.
fn telling(keys: &[(&str, &str)]) -> Builder {
    keys.iter().fold(Relay::builder(), |relay, (key, value)| relay.set(TABLE, key, value))
}

/// A target that gives what its first read brings, and all that comes behind that.
fn listening(ip: IpAddr) -> Once<(Vec<u8>, Vec<u8>)> {
    once_on(ip, |mut stream| {
        let mut first = vec![0; 4096];
        let length = stream.read(&mut first).expect("the first bytes");
        first.truncate(length);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the rest");
        (first, rest)
    })
}

/// A header of version 2 without more than addresses.
fn header(client: SocketAddr, target: SocketAddr) -> Vec<u8> {
    let mut bytes = [SIGNATURE, &[0x21]].concat();
    match (client.ip(), target.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x11, 0, 12]);
            bytes.extend([from.octets(), to.octets()].concat());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x21, 0, 36]);
            bytes.extend([from.octets(), to.octets()].concat());
        }
        other => panic!("{other:?}"),
    }
    bytes.extend([client.port().to_be_bytes(), target.port().to_be_bytes()].concat());
    bytes
}

/// What the client pipelines behind its request comes in one segment with the header, and the record counts it alone.
fn the_header_comes_with_the_first_bytes(engine: Engine) {
    for ip in [V4, V6] {
        let relay = telling(&[("to", "[\"127.0.0.0/8\", \"::1\"]")]).engine(engine).start();
        let target = listening(ip);
        // From an address of the target's own family: the relay listens on IPv4.
        let client = Client::connect(relay.addr());
        let from = client.local();
        let mut client = client;
        let asked = crate::support::client::connect_ip(target.addr);
        client.send(&[&[5, 1, 0][..], &asked, b"payload"].concat());
        client.expect(&[5, 0]);
        assert_eq!(client.reply().rep, 0);
        client.finish();
        let at = target.addr;
        let (first, rest) = target.join();
        let told = match ip {
            IpAddr::V4(_) => header(from, at),
            // IPv4 beside IPv6 is written as IPv6.
            IpAddr::V6(_) => {
                let IpAddr::V4(v4) = from.ip() else { panic!("{from}") };
                header(SocketAddr::new(v4.to_ipv6_mapped().into(), from.port()), at)
            }
        };
        assert_eq!(first, [&told[..], b"payload"].concat());
        assert_eq!(rest, b"");
        client.expect_eof();
        let record = relay.record();
        assert_eq!((&record["bytes_up"], &record["reason"]), (&7.into(), &"completed".into()), "{record}");
    }
}
engines!(the_header_comes_with_the_first_bytes);

/// A target that speaks first gets the header at once, though its client says nothing; and every byte of a bulk follows it.
fn a_target_that_speaks_first_is_told_at_once(engine: Engine) {
    let relay = telling(&[("to", "\"127.0.0.1\""), ("version", "1")]).engine(engine).start();
    let bulk: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let length = bulk.len();
    let target = once_on(V4, move |mut stream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a line");
            line.push(byte[0]);
        }
        stream.write_all(b"220 welcome\r\n").expect("greet");
        let mut got = vec![0; length];
        stream.read_exact(&mut got).expect("all of it");
        (line, got)
    });
    let at = target.addr;
    let mut client = Client::through(relay.addr(), at);
    client.expect(b"220 welcome\r\n");
    client.send(&bulk);
    let (line, got) = target.join();
    let from = client.local();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", from.port(), at.port());
    assert_eq!(String::from_utf8_lossy(&line), expected);
    assert!(got == bulk);
    client.finish();
    client.expect_eof();
    assert_eq!(relay.record()["bytes_up"], length);
}
engines!(a_target_that_speaks_first_is_told_at_once);

/// CRC32C, a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn the_name_the_id_and_a_checksum_are_told() {
    let server = DnsServer::zone(&[("host.example", &["127.0.0.1"])]);
    let tlvs = "[\"crc32c\", \"authority\", \"unique_id\"]";
    let relay = telling(&[("to", "\".example\""), ("tlvs", tlvs)]).dns(&server).start();
    let target = listening(V4);
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"host.example", target.addr.port()).rep, 0);
    client.finish();
    let (from, at) = (client.local(), target.addr);
    let (told, _) = target.join();
    client.expect_eof();
    let record = relay.record();
    let id = record["id"].as_str().expect("an id");
    let mut expected = header(from, at);
    expected.extend(b"\x02\x00\x0chost.example");
    expected.extend([5, 0, id.len() as u8]);
    expected.extend(id.as_bytes());
    expected.extend([3, 0, 4, 0, 0, 0, 0]);
    expected[15] = (expected.len() - 16) as u8;
    let sum = crc32c(&expected).to_be_bytes();
    let checksum = expected.len() - 4;
    expected[checksum..].copy_from_slice(&sum);
    assert_eq!(told, expected);
}

/// Through a parent the header is the first that comes out of the tunnel. A target that expected one and whose name the parent
/// resolved was told nothing, and took the client's first bytes for a header.
fn a_target_behind_a_parent_is_told_as_far_as_it_is_known(engine: Engine) {
    let tlvs = "[\"authority\"]";
    for (scheme, version) in [("socks5", 2), ("socks5h", 2), ("socks5", 1), ("socks5h", 1)] {
        let server = DnsServer::zone(&[("host.example", &["127.0.0.9"])]);
        let target = listening(V4);
        let parent = FakeParent::socks5(target.addr);
        let told = telling(&[("to", "\".example\""), ("version", &version.to_string())]);
        let told = if version == 2 { told.set(TABLE, "tlvs", tlvs) } else { told };
        let servers = [format!("{scheme}://{}", parent.addr())];
        let relay = through(told.engine(engine).dns(&server), &servers, &[]).start();
        let mut client = Client::greeted(relay.addr());
        // The client's first bytes go behind the header, whenever they come.
        client.send(&[&connect_name(b"host.example", 25)[..], b"early"].concat());
        assert_eq!(client.reply().rep, 0);
        client.send(b" payload");
        client.finish();
        let (from, at) = (client.local(), SocketAddr::new("127.0.0.9".parse().expect("an address"), 25));
        let (first, rest) = target.join();
        let got = [first, rest].concat();
        let authority = b"\x02\x00\x0chost.example";
        let mut expected = match (scheme, version) {
            ("socks5", 1) => format!("PROXY TCP4 127.0.0.1 127.0.0.9 {} 25\r\n", from.port()).into_bytes(),
            (_, 1) => b"PROXY UNKNOWN\r\n".to_vec(),
            ("socks5", _) => [&header(from, at)[..], authority].concat(),
            _ => [SIGNATURE, &[0x21, 0x00, 0, 0], authority].concat(),
        };
        if version == 2 {
            expected[15] = (expected.len() - 16) as u8;
        }
        expected.extend(b"early payload");
        assert_eq!(got, expected, "{scheme}, version {version}");
        client.expect_eof();
        let record = relay.relayed_record();
        assert_eq!(record["bytes_up"], 13, "{record}");
    }
}
engines!(a_target_behind_a_parent_is_told_as_far_as_it_is_known);

/// Other targets and other ports see the client's bytes alone, and so does who connects to a BIND.
#[test]
fn nobody_else_is_told() {
    let relay = telling(&[("to", "\"127.0.0.0/8\""), ("ports", "[1, \"2-3\"]")]).start();
    let target = listening(V4);
    let mut client = Client::through(relay.addr(), target.addr);
    client.send(b"plain");
    client.finish();
    let (first, rest) = target.join();
    assert_eq!([first, rest].concat(), b"plain");
    let relay = telling(&[("to", "\"127.0.0.0/8\"")]).start();
    let (mut client, listens) = bind(relay.addr(), SocketAddr::new(V4, 0));
    let mut peer = peer(V4, listens);
    assert_eq!(client.reply().rep, 0);
    client.send(b"plain");
    client.finish();
    assert_eq!(peer.recv_to_eof(), b"plain");
}

/// The first table that matches says how, and a reload is obeyed by the sessions that begin then.
#[test]
fn tables_are_asked_in_their_order_and_reloaded() {
    // A second table stands behind the last key of the first.
    let version = "1\n\n[[proxy_out]]\nto = \"127.0.0.0/8\"";
    let mut relay = telling(&[("to", "\"127.0.0.1\""), ("version", version)]).start();
    let first = |relay: &Relay| {
        let target = listening(V4);
        let mut client = Client::through(relay.addr(), target.addr);
        client.send(b"payload");
        client.finish();
        let (first, rest) = target.join();
        [first, rest].concat()
    };
    assert!(first(&relay).starts_with(b"PROXY TCP4 127.0.0.1 "));
    relay.reload(&[(TABLE, "to", "\"192.0.2.1\""), (TABLE, "version", version)]);
    assert!(first(&relay).starts_with(SIGNATURE), "the second one's");
    relay.forget(TABLE, "version");
    relay.reload(&[]);
    assert_eq!(first(&relay), b"payload");
}

/// Requests of HTTP over a connection that is kept: the header stands in front of the first alone, for it says whose connection it
/// is, and the body's bytes are counted without it.
fn a_kept_connection_is_told_of_once(engine: Engine) {
    let listener = "address = \"127.0.0.1:0\"\nprotocols = [\"http\"]";
    let relay = telling(&[("to", "\"127.0.0.1\"")]).listeners(&[listener]).engine(engine).start();
    let target = once_on(V4, |mut stream| {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") || !head.windows(4).any(|word| word == b"GET ") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage").expect("answer");
            heads.push(head);
        }
        heads
    });
    let mut client = Client::connect(relay.addr());
    for _ in 0..2 {
        client.send(format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", target.addr).as_bytes());
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\npage") {
            answer.extend(client.recv(1));
        }
    }
    let told = header(client.local(), target.addr);
    let heads = target.join();
    assert!(
        heads[0].starts_with(&[&told[..], b"GET / HTTP/1.1\r\n"].concat()),
        "{}",
        heads[0].escape_ascii()
    );
    assert!(heads[1].starts_with(b"GET / HTTP/1.1\r\n"), "{}", heads[1].escape_ascii());
    let records = relay.records(2);
    assert_eq!(records[0]["bytes_up"], heads[1].len(), "{records:?}");
    assert_eq!(records[1]["bytes_up"], heads[1].len(), "{records:?}");
}
engines!(a_kept_connection_is_told_of_once);

/// A server of another's, which is ended with its files.
struct Foreign {
    child: Child,
    at: SocketAddr,
    _directory: TempDir,
}

impl Foreign {
    /// Starts a program with this configuration, in which `@PORT@` and `@DIRECTORY@` stand for what it is given.
    fn start(program: &str, arguments: &[&str], configuration: &str) -> Foreign {
        let directory = TempDir::with_prefix("outflow-test-").expect("a temporary directory");
        let reserved = TcpListener::bind((V4, 0)).expect("a port");
        let at = reserved.local_addr().expect("its address");
        drop(reserved);
        let path = directory.path().to_str().expect("UTF-8").to_owned();
        let put = |text: &str| text.replace("@PORT@", &at.port().to_string()).replace("@DIRECTORY@", &path);
        fs::write(directory.path().join("conf"), put(configuration)).expect("write its configuration");
        let arguments: Vec<String> = arguments.iter().map(|argument| put(argument)).collect();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start it");
        let foreign = Foreign { child, at, _directory: directory };
        wait::until_true("it listens", PATIENCE, || TcpStream::connect(at).is_ok());
        foreign
    }

    /// Asks it for a page by this relay, and gives what it says.
    fn ask(&self, relay: &Relay) -> (SocketAddr, String) {
        let mut client = Client::through(relay.addr(), self.at);
        client.send(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n");
        let from = client.local();
        (from, String::from_utf8_lossy(&client.recv_to_eof()).into_owned())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn nginx_learns_the_clients_address() {
    if !is_there("nginx", "-v") {
        return skip::skip("nginx_learns_the_clients_address", "nginx is not installed (package nginx)");
    }
    let configuration = "daemon off; master_process off; pid @DIRECTORY@/pid; error_log /dev/null;\n\
        events {}\n\
        http { access_log off; client_body_temp_path @DIRECTORY@/b; proxy_temp_path @DIRECTORY@/p;\n\
        fastcgi_temp_path @DIRECTORY@/f; uwsgi_temp_path @DIRECTORY@/u; scgi_temp_path @DIRECTORY@/s;\n\
        server { listen 127.0.0.1:@PORT@ proxy_protocol;\n\
        location / { return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; } } }\n";
    let arguments = ["-p", "@DIRECTORY@", "-c", "@DIRECTORY@/conf", "-e", "/dev/null"];
    let nginx = Foreign::start("nginx", &arguments, configuration);
    for version in ["1", "2"] {
        let relay = telling(&[("to", "\"127.0.0.1\""), ("version", version)]).start();
        let (from, page) = nginx.ask(&relay);
        assert!(page.ends_with(&format!("\r\n\r\n{from}")), "{from}: {page}");
    }
}

#[test]
fn haproxy_learns_the_clients_address() {
    if !is_there("haproxy", "-v") {
        return skip::skip(
            "haproxy_learns_the_clients_address",
            "haproxy is not installed (package haproxy)",
        );
    }
    let configuration = "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n\
        frontend one\n bind 127.0.0.1:@PORT@ accept-proxy\n\
        http-request return status 200 content-type text/plain lf-string \
        \"%ci:%cp %[fc_pp_authority] %[fc_pp_unique_id]\"\n";
    let haproxy = Foreign::start("haproxy", &["-db", "-f", "@DIRECTORY@/conf"], configuration);
    let tlvs = "[\"unique_id\", \"authority\", \"crc32c\"]";
    for (key, value) in [("version", "1"), ("version", "2"), ("tlvs", tlvs)] {
        let relay = telling(&[("to", "\"127.0.0.1\""), (key, value)]).start();
        let (from, page) = haproxy.ask(&relay);
        assert!(page.contains(&format!("\r\n\r\n{from} ")), "{from}: {page}");
        if key == "tlvs" {
            let record = relay.record();
            assert!(page.ends_with(record["id"].as_str().expect("an id")), "{page}");
        }
    }
}

/// Whether a program is there, which says its version when it is asked in this way.
fn is_there(program: &str, version: &str) -> bool {
    let asked = Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

#[test]
fn a_session_that_tells_nobody_is_as_it_was() {
    let relay = telling(&[("to", "\"192.0.2.1\"")]).start();
    let origin = Origin::echo();
    let mut client = Client::through(relay.addr(), origin.addr);
    client.send(b"bytes");
    client.expect(b"bytes");
}
