//! The bench tests itself: a helper that lies would make the tests above it worthless.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::crowd::SourceBook;
use crate::support::dns::{self, A, DnsServer};
use crate::support::origin::{self, BlackHole, ClosedPort, Origin};
use crate::support::udp::{self, Target};
use crate::support::{netns, skip, socket_table, wait};

#[test]
fn a_black_hole_neither_accepts_nor_refuses() {
    let hole = BlackHole::new();
    let error = TcpStream::connect_timeout(&hole.addr, Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

/// Once it is open, the SYN that the client repeats is answered, and the connection is the client's.
#[test]
fn a_black_hole_that_was_opened_stays_one() {
    let hole = BlackHole::new();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| TcpStream::connect(hole.addr).expect("connect"));
        wait::until_true("the first SYN", wait::PATIENCE, || {
            let sockets = std::fs::read_to_string("/proc/self/net/tcp").expect("the sockets");
            let port = format!(":{:04X} 02 ", hole.addr.port());
            sockets.contains(&port)
        });
        hole.open();
        let accepted = hole.accept();
        let client = client.join().expect("the client");
        assert_eq!(accepted.peer_addr().expect("peer"), client.local_addr().expect("address"));
    });
}

/// Without the packages or the privileges that it needs a test is `ok` for the harness: how many there were is said below
/// its last line, and with CI=true each of them has failed.
#[test]
fn a_test_that_is_not_run_is_said() {
    let names = ["gssapi_realm::a_token_is_taken_once", "gssapi_realm::a_short_ticket_expires"];
    let run = |ci: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
        command.arg("--exact").args(names).env("PATH", "/nowhere").env("CI", ci);
        command.stdin(std::process::Stdio::null()).output().expect("run two tests")
    };
    let output = run("");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("not run: 2 of the tests: "), "{said}");
    assert!(said.contains("is not installed (packages krb5-kdc, ") && said.lines().count() == 1, "{said}");
    let output = run("true");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert!(said.contains("cannot be run, and CI=true") && said.contains("2 failed"), "{said}");
}

/// What lacks inside a namespace is said outside, too.
#[test]
fn a_test_that_a_namespace_cannot_run_is_said() {
    netns::run(&test_name!(), "true", || {
        if std::env::var_os("LACKING").is_some() {
            skip::skip("a test", "LACKING is set");
        }
    });
    if std::env::var_os("LACKING").is_some() || netns::lacking().is_some() {
        return;
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", &test_name!()]).env("LACKING", "1").env("CI", "");
    let output = command.stdin(std::process::Stdio::null()).output().expect("run a test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, format!("{}LACKING is set\n", netns::ONE_NOT_RUN));
}

/// Addresses, a block and a way back, which goes over to another gateway.
#[test]
fn what_is_sent_from_a_pool_comes_back_to_the_gateway_that_has_it() {
    netns::run(&test_name!(), "", || {
        const POOL: [&str; 3] = ["198.51.100.1", "2600:c::1", "198.51.101.0/24"];
        let far = netns::Far::open();
        let book = far.inside(SourceBook::open);
        let gateway = far.gateway();
        let say = |source: &str, target: &str, patience: Duration| {
            let target = SocketAddr::new(target.parse().expect("a target"), book.port);
            let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).expect("a socket");
            let source: IpAddr = source.parse().expect("a source");
            socket.bind(&SocketAddr::new(source, 0).into()).expect("bind");
            socket.connect_timeout(&target.into(), patience)?;
            let mut stream: TcpStream = socket.into();
            stream.write_all(&[0, 0, 0, 9, 1])?;
            stream.read_to_end(&mut Vec::new())?;
            assert_eq!(book.take()[&9].ip(), source);
            std::io::Result::Ok(())
        };
        let all = || {
            say("198.51.100.1", "45.1.2.3", wait::PATIENCE)?;
            say("198.51.101.77", "45.1.2.4", wait::PATIENCE)?;
            say("2600:c::1", "2600::5", wait::PATIENCE)
        };
        far.pool(&POOL);
        all().expect("from here");
        far.pool_at(&gateway, &POOL);
        gateway.machine.inside(all).expect("from the gateway");
        let lost = say("198.51.100.1", "45.1.2.3", Duration::from_millis(200));
        assert!(lost.is_err(), "the way back leads elsewhere");
        far.lead_here(&POOL);
        all().expect("from here again");
    });
}

#[test]
fn a_closed_port_refuses() {
    let closed = ClosedPort::new();
    let error = TcpStream::connect(closed.addr).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_source_pours_the_pattern_and_then_a_fin() {
    let origin = Origin::source(100_003);
    let mut bytes = Vec::new();
    TcpStream::connect(origin.addr).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == origin::pattern(0, 100_003));
    assert_eq!(origin::pattern(77_777, 1_000), &bytes[77_777..78_777]);
}

#[test]
fn the_socket_table_sees_who_is_connected() {
    let origin = Origin::echo();
    let mut stream = TcpStream::connect(origin.addr).unwrap();
    stream.write_all(b"x").unwrap();
    assert_eq!(socket_table::towards(origin.addr).len(), 1);
    assert_eq!(origin.peer(1), stream.local_addr().unwrap());
    drop(stream);
    wait::until_true("the socket is gone", wait::PATIENCE, || socket_table::towards(origin.addr).is_empty());
}

/// The query by hand: ID 1234, RD, one question, `a.example` A IN.
#[test]
fn the_name_server_answers_over_udp_and_tcp() {
    let server = DnsServer::zone(&[("a.example", &["192.0.2.7"])]);
    let mut query = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(b"\x01a\x07example\x00\x00\x01\x00\x01");
    let mut wanted = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    wanted.extend(b"\x01a\x07example\x00\x00\x01\x00\x01");
    wanted.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    socket.send_to(&query, server.addr).unwrap();
    let mut answer = [0; 512];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!((&answer[..length], from), (&wanted[..], server.addr));

    let mut stream = TcpStream::connect(server.addr).unwrap();
    stream.write_all(&[0, query.len() as u8]).unwrap();
    stream.write_all(&query).unwrap();
    let mut answer = vec![0; 2 + wanted.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[2..], wanted);
    assert_eq!(server.asked("a.example", A), 2);
    assert_eq!(dns::labels("a.example"), b"\x01a\x07example\x00");
}

#[test]
fn a_namespace_is_another_network() {
    netns::run(&test_name!(), "ip route add unreachable 203.0.113.0/24", || {
        let target: SocketAddr = "203.0.113.1:80".parse().unwrap();
        assert_eq!(TcpStream::connect(target).unwrap_err().kind(), std::io::ErrorKind::HostUnreachable);
    });
}

/// The process at hand is as good as a server's: it holds what it bound, of both families, and no longer.
#[test]
fn the_socket_table_sees_the_udp_sockets_of_a_process() {
    let pid = std::process::id();
    for ip in [origin::V4, origin::V6] {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let addr = socket.local_addr().unwrap();
        assert!(socket_table::udp_of(pid).contains(&addr), "{addr}");
        drop(socket);
        assert!(!socket_table::udp_of(pid).contains(&addr), "{addr}");
    }
}

/// Headers by hand, each way.
#[test]
fn a_datagram_is_written_and_taken_apart() {
    let four: SocketAddr = "192.0.2.7:258".parse().unwrap();
    let six: SocketAddr = "[2001:db8::7]:258".parse().unwrap();
    assert_eq!(udp::wrap(four, b"p"), b"\x00\x00\x00\x01\xc0\x00\x02\x07\x01\x02p");
    assert_eq!(udp::fragment(0x83, four, b""), b"\x00\x00\x83\x01\xc0\x00\x02\x07\x01\x02");
    assert_eq!(udp::wrap_name(b"ab", 80, b"p"), b"\x00\x00\x00\x03\x02ab\x00\x50p");
    for addr in [four, six] {
        let got = udp::unwrap(&udp::wrap(addr, b"payload"));
        assert_eq!((got.from, got.payload), (addr, b"payload".to_vec()));
    }
    let head = [&[0, 0, 0, 4, 0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7, 1, 2]].concat();
    assert_eq!(udp::wrap(six, b""), head);
}

/// A receiver without UDP_GRO sees datagrams, of which the sender made one send; the largest ones pass, too.
#[test]
fn a_segmented_send_is_many_datagrams() {
    for ip in [origin::V4, origin::V6] {
        let (from, to) = (Target::on(ip), Target::on(ip));
        let datagrams: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; if n == 39 { 7 } else { 1200 }]).collect();
        udp::send_segmented(&from.socket, to.addr, &datagrams);
        datagrams.iter().for_each(|datagram| assert_eq!(to.expect(datagram), from.addr));
        udp::expect_empty(&to.socket);
        let most = if ip.is_ipv4() { udp::V4_MAX } else { udp::V6_MAX };
        from.send(to.addr, &origin::pattern(0, most));
        to.expect(&origin::pattern(0, most));
        assert!(from.socket.send_to(&vec![0; most + 1], to.addr).is_err());
    }
}
