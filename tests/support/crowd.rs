//! Many short sessions, and a target that writes down where each of them came from.
//!
//! Each session says its number to the target, which answers with a byte; then the side ends first that the session says. So who
//! keeps the socket in TIME_WAIT is the test's choice: ours towards the target, where the client ends first.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::client::connect_ip;
use super::wait::{PATIENCE, uninterrupted};

/// Threads that serve targets, above the sessions that any crowd has at once.
const TARGET_THREADS: usize = 96;
/// What the target says.
const ANSWER: u8 = b'!';

/// Who says FIN first once the target has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndsFirst {
    Client,
    Target,
    /// The sides take turns.
    Either,
}

/// A target on every address of its namespace, at one port, both families.
#[derive(Clone)]
pub(crate) struct SourceBook {
    pub(crate) port: u16,
    came: Arc<Mutex<BTreeMap<u32, SocketAddr>>>,
}

impl SourceBook {
    /// Listens where this is called.
    pub(crate) fn open() -> SourceBook {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
        socket.set_only_v6(false).expect("both families");
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).expect("bind the target");
        socket.listen(4096).expect("listen");
        let listener: Arc<TcpListener> = Arc::new(socket.into());
        let port = listener.local_addr().expect("address of the target").port();
        let book = SourceBook { port, came: Arc::default() };
        for _ in 0..TARGET_THREADS {
            let (listener, came) = (Arc::clone(&listener), Arc::clone(&book.came));
            thread::spawn(move || {
                while let Ok((stream, peer)) = listener.accept() {
                    // A session that was cut off has no number: its client says what became of it.
                    let _ = serve(stream, |number| {
                        came.lock().expect("who came").insert(number, canonical(peer));
                    });
                }
            });
        }
        book
    }

    /// Where each session came from, by its number; what is asked for again begins anew.
    pub(crate) fn take(&self) -> BTreeMap<u32, SocketAddr> {
        std::mem::take(&mut self.came.lock().expect("who came"))
    }

    /// How many sessions came from each address.
    pub(crate) fn shares(came: &BTreeMap<u32, SocketAddr>) -> BTreeMap<IpAddr, usize> {
        let mut shares = BTreeMap::new();
        came.values().for_each(|peer| *shares.entry(peer.ip()).or_default() += 1);
        shares
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn serve(mut stream: TcpStream, came: impl FnOnce(u32)) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut said = [0; 5];
    stream.read_exact(&mut said)?;
    let [a, b, c, d, target_first] = said;
    came(u32::from_be_bytes([a, b, c, d]));
    stream.write_all(&[ANSWER])?;
    if target_first == 1 {
        stream.shutdown(Shutdown::Write)?;
    }
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// Who a session's client says it is: name and password.
type Login = fn(u32) -> (String, String);
/// Where it comes from.
type From = fn(u32) -> IpAddr;

/// Sessions through a relay, numbered from 0; they go to the targets in turn.
pub(crate) struct Crowd {
    pub(crate) relay: SocketAddr,
    pub(crate) targets: Vec<SocketAddr>,
    pub(crate) sessions: u32,
    pub(crate) at_once: usize,
    pub(crate) ends: EndsFirst,
    pub(crate) login: Option<Login>,
    pub(crate) from: Option<From>,
}

impl Crowd {
    /// Clients who give no name, as many at a time as is quick.
    pub(crate) fn new(relay: SocketAddr, targets: Vec<SocketAddr>, sessions: u32, ends: EndsFirst) -> Crowd {
        Crowd { relay, targets, sessions, at_once: 48, ends, login: None, from: None }
    }

    /// Runs all of them, and gives how many there were of each reply.
    pub(crate) fn run(&self) -> BTreeMap<u8, u32> {
        assert!(self.at_once < TARGET_THREADS);
        let (next, replies) = (AtomicU32::new(0), Mutex::new(BTreeMap::new()));
        thread::scope(|scope| {
            for _ in 0..self.at_once {
                scope.spawn(|| {
                    let mut mine = BTreeMap::<u8, u32>::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.sessions {
                            break;
                        }
                        let reply = self.session(number).unwrap_or_else(|e| panic!("session {number}: {e}"));
                        *mine.entry(reply).or_default() += 1;
                    }
                    let mut replies = replies.lock().expect("replies");
                    mine.into_iter().for_each(|(reply, count)| *replies.entry(reply).or_default() += count);
                });
            }
        });
        replies.into_inner().expect("replies")
    }

    /// One session, and the reply to it.
    fn session(&self, number: u32) -> io::Result<u8> {
        let target = self.targets[number as usize % self.targets.len()];
        let target_first = match self.ends {
            EndsFirst::Client => false,
            EndsFirst::Target => true,
            EndsFirst::Either => number.is_multiple_of(2),
        };
        let socket = Socket::new(Domain::for_address(self.relay), Type::STREAM, None)?;
        if let Some(from) = self.from {
            socket.bind(&SocketAddr::new(from(number), 0).into())?;
        }
        socket.connect_timeout(&self.relay.into(), PATIENCE)?;
        let mut stream: TcpStream = socket.into();
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // RFC 1928 sections 3 and 4, RFC 1929 section 2: all at once, with the target's bytes behind.
        let mut bytes = Vec::with_capacity(96);
        let answers = match self.login.map(|login| login(number)) {
            Some((name, password)) => {
                bytes.extend([5, 1, 2, 1, name.len() as u8]);
                bytes.extend(name.bytes());
                bytes.push(password.len() as u8);
                bytes.extend(password.bytes());
                4
            }
            None => {
                bytes.extend([5, 1, 0]);
                2
            }
        };
        bytes.extend(connect_ip(target));
        bytes.extend(number.to_be_bytes());
        bytes.push(u8::from(target_first));
        stream.write_all(&bytes)?;
        let mut heard = [0; 4];
        stream.read_exact(&mut heard[..answers])?;
        stream.read_exact(&mut heard)?;
        let [5, reply, 0, kind @ (1 | 4)] = heard else {
            return Err(io::Error::other(format!("not a reply: {heard:02x?}")));
        };
        let mut bound = [0; 18];
        stream.read_exact(&mut bound[..if kind == 1 { 6 } else { 18 }])?;
        if reply != 0 {
            return Ok(reply);
        }
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        if answer != [ANSWER] {
            return Err(io::Error::other("not the target's answer"));
        }
        if !target_first {
            stream.shutdown(Shutdown::Write)?;
        }
        match uninterrupted(|| stream.read(&mut answer))? {
            0 => Ok(reply),
            _ => Err(io::Error::other("more than the target's answer")),
        }
    }
}
