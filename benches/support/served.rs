//! The real server under load, and the CPU time that its process takes: one sealed stream in bulk, or sessions that end
//! with their request.
//!
//! The server inherits the CPU that the calling thread keeps to; whoever is on its other sides has another.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use socket2::{Domain, SockRef, Socket, Type};

use crate::cpu;
use crate::support::gss::{ENCAPSULATED, GssClient, Initiator, USUAL, frame};
use crate::support::realm::python;
use crate::support::relay::{Relay, quoted};

/// Room to read into.
const READ_BYTES: usize = 1 << 20;
/// How long an end may take before something must be wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with one worker.
pub(crate) struct Server {
    relay: Relay,
    clock: ClockId,
}

impl Server {
    /// With method GSSAPI over this keytab, or with none.
    pub(crate) fn start(keytab: Option<&Path>) -> Server {
        let mut builder = Relay::builder().set("log", "access", "\"off\"");
        if let Some(keytab) = keytab {
            let keytab = quoted(keytab.to_str().expect("UTF-8"));
            builder = builder.set("auth", "methods", "[\"gssapi\"]").set("auth.gssapi", "keytab", &keytab);
        }
        let relay = builder.start();
        let pid = Pid::from_raw(i32::try_from(relay.pid()).expect("a process number"));
        let clock = clock_getcpuclockid(pid).expect("a process that runs has a CPU clock");
        Server { relay, clock }
    }

    /// CPU time of the process, of all its threads, user and system, that `work` makes it spend.
    fn used_by(&self, work: impl FnOnce()) -> Duration {
        let used = || Duration::from(clock_gettime(self.clock).expect("the server runs"));
        let before = used();
        work();
        used() - before
    }
}

/// A session at level 1 or 2, with its target.
pub(crate) struct Stream {
    client: TcpStream,
    target: TcpStream,
    gss: Initiator,
    confidential: bool,
    /// By how much a token is longer than what it holds; known from the first that comes.
    overhead: Option<usize>,
    buffer: Vec<u8>,
}

impl Stream {
    pub(crate) fn open(server: &Server, confidential: bool) -> Stream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let mut client = GssClient::established_with(server.relay.addr(), Initiator::inherited(), USUAL);
        let level = if confidential { 2 } else { 1 };
        assert_eq!(client.ask_level(level), Some(level), "the level that was granted");
        let reply = client.request(0x01, listener.local_addr().expect("a bound socket has an address"));
        assert_eq!(reply.rep, 0, "CONNECT: {reply:?}");
        let (target, _) = listener.accept().expect("the server has connected");
        let GssClient { client, gss, .. } = client;
        for stream in [&client.stream, &target] {
            // reno does not pace: what can be sent is there when the server comes to read it.
            SockRef::from(stream).set_tcp_congestion(b"reno").expect("every Linux has reno");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        }
        Stream {
            client: client.stream,
            target,
            gss,
            confidential,
            overhead: None,
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Messages of the client, `count` of them, each of which holds `plain`.
    pub(crate) fn messages(&mut self, plain: &[u8], count: usize) -> Vec<u8> {
        let mut messages = Vec::new();
        for _ in 0..count {
            messages.extend(frame(ENCAPSULATED, &self.gss.wrap(plain, self.confidential)));
        }
        messages
    }

    /// The server's CPU time from the first of these bytes until the target has the `content` that they hold.
    pub(crate) fn up(&mut self, server: &Server, messages: &[u8], content: usize) -> Duration {
        let Stream { client, target, buffer, .. } = self;
        server.used_by(|| {
            on_both_sides(
                || client.write_all(messages).expect("the server reads"),
                || {
                    let mut left = content;
                    while left > 0 {
                        let most = left.min(buffer.len());
                        // Dropped in place of copied (MSG_TRUNC, tcp(7)).
                        match recv(target.as_raw_fd(), &mut buffer[..most], MsgFlags::MSG_TRUNC) {
                            Ok(count @ 1..) => left -= count,
                            other => panic!("the target's side ended early: {other:?}"),
                        }
                    }
                },
            );
        })
    }

    /// The server's CPU time from the first byte of `content` until the client has the messages that hold it. They are
    /// counted, not opened, but for the first of the session.
    pub(crate) fn down(&mut self, server: &Server, content: &[u8]) -> Duration {
        let Stream { client, target, gss, confidential, overhead, buffer } = self;
        server.used_by(|| {
            on_both_sides(
                || target.write_all(content).expect("the server reads"),
                || {
                    let mut client = BufReader::with_capacity(READ_BYTES, client);
                    let mut left = content.len();
                    while left > 0 {
                        let token = recv_token(&mut client, buffer);
                        let overhead = overhead.get_or_insert_with(|| {
                            let (encrypted, plain) = gss.unwrap(token).expect("a message of the server");
                            assert_eq!(encrypted, *confidential, "not as the level has it");
                            token.len() - plain.len()
                        });
                        left -= token.len() - *overhead;
                    }
                    assert!(client.buffer().is_empty(), "more than the target sent");
                },
            );
        })
    }
}

fn recv_token<'a>(client: &mut impl Read, buffer: &'a mut [u8]) -> &'a [u8] {
    let mut head = [0; 4];
    client.read_exact(&mut head).expect("a message");
    assert_eq!(head[..2], [0x01, ENCAPSULATED], "VER and MTYP");
    let token = &mut buffer[..usize::from(u16::from_be_bytes([head[2], head[3]]))];
    client.read_exact(token).expect("the rest of a message");
    token
}

/// Both at once, away from the server's CPU.
fn on_both_sides(send: impl FnOnce() + Send, receive: impl FnOnce() + Send) {
    thread::scope(|scope| {
        for work in [Box::new(send) as Box<dyn FnOnce() + Send>, Box::new(receive)] {
            scope.spawn(|| {
                cpu::pin_last();
                work();
            });
        }
    });
}

/// Processes whose sessions end with their request.
pub(crate) struct Clients {
    clients: Vec<(Child, ChildStdin, BufReader<ChildStdout>)>,
    /// Bound and not listening: whoever connects is refused, and nobody else gets the port.
    _closed: Socket,
}

impl Clients {
    /// Starts `count` clients, over this process's tickets or without authentication.
    pub(crate) fn start(server: &Server, gssapi: bool, count: usize) -> Clients {
        let closed = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be had");
        closed.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("loopback has a free port");
        let port = closed.local_addr().ok().and_then(|addr| addr.as_socket()).expect("its address").port();
        let ports = [server.relay.addr().port(), port];
        let spawn = || {
            cpu::pin_last();
            let mut child = Command::new(python().expect("a python3 with gssapi"))
                .args(["-c", include_str!("sessions.py"), if gssapi { "gssapi" } else { "none" }])
                .args(ports.map(|port| port.to_string()))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("start a client");
            let (input, output) = (child.stdin.take(), child.stdout.take());
            (child, input.expect("stdin"), BufReader::new(output.expect("stdout")))
        };
        let clients = thread::scope(|scope| {
            let started: Vec<_> = (0..count).map(|_| scope.spawn(spawn)).collect();
            started.into_iter().map(|client| client.join().expect("a client")).collect()
        });
        Clients { clients, _closed: closed }
    }

    /// The server's CPU time for so many sessions of each.
    pub(crate) fn sessions(&mut self, server: &Server, of_each: usize) -> Duration {
        self.tell(&format!("{of_each}\n"), "prepared\n");
        server.used_by(|| self.tell("\n", "done\n"))
    }

    fn tell(&mut self, line: &str, wanted: &str) {
        for (_, input, _) in &mut self.clients {
            input.write_all(line.as_bytes()).expect("the client lives");
        }
        for (_, _, output) in &mut self.clients {
            let mut answer = String::new();
            output.read_line(&mut answer).expect("the client's answer");
            assert_eq!(answer, wanted, "a client failed: its own words stand above");
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for (child, ..) in &mut self.clients {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
