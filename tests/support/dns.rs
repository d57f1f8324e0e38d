//! A name server of our own, over UDP and TCP at one port, that answers as its script says: the truth, a
//! lie, late, from elsewhere, or never. Messages are read and written by hand (RFC 1035 section 4).

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;

/// Response codes of RFC 1035 section 4.1.1.
pub(crate) const NOERROR: u8 = 0;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;

/// One question as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) id: u16,
    /// Lower case, labels joined by dots, no dot at the end.
    pub(crate) name: String,
    pub(crate) qtype: u16,
    pub(crate) tcp: bool,
    /// An additional record came along, which can only be that of EDNS.
    pub(crate) edns: bool,
    pub(crate) from: SocketAddr,
    /// The question section exactly as sent.
    pub(crate) question: Vec<u8>,
}

/// One message that the server sends in answer to a query.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) bytes: Vec<u8>,
    pub(crate) after: Duration,
    /// From a port that was not asked (UDP alone).
    pub(crate) from_elsewhere: bool,
}

impl Send {
    /// Sends this message after a delay.
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    /// Sends this message from another port than the one that was asked.
    pub(crate) fn misdirected(mut self) -> Self {
        self.from_elsewhere = true;
        self
    }

    /// Gives this message another ID.
    pub(crate) fn with_id(mut self, id: u16) -> Self {
        self.bytes[..2].copy_from_slice(&id.to_be_bytes());
        self
    }

    /// Sets the TC bit of this message, and leaves nothing behind the question.
    pub(crate) fn truncated(mut self, query: &Query) -> Self {
        self.bytes.truncate(12 + query.question.len());
        self.bytes[2] |= 0x02;
        self.bytes[6..12].fill(0);
        self
    }
}

impl Query {
    /// A response with this code and these records, each from `record`.
    pub(crate) fn respond(&self, rcode: u8, records: &[Vec<u8>]) -> Send {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend([0x81, 0x80 | rcode]); // a response, recursion desired and available
        bytes.extend([0, 1]);
        bytes.extend(u16::try_from(records.len()).expect("few records").to_be_bytes());
        bytes.extend([0, 0, 0, 0]);
        bytes.extend(&self.question);
        records.iter().for_each(|record| bytes.extend(record));
        Send { bytes, after: Duration::ZERO, from_elsewhere: false }
    }

    /// The addresses of the family that was asked for; none of them is "no such data".
    pub(crate) fn addresses(&self, addresses: &[IpAddr], ttl: u32) -> Send {
        let records: Vec<Vec<u8>> = addresses
            .iter()
            .filter(|ip| self.qtype == if ip.is_ipv4() { A } else { AAAA })
            .map(|ip| address_record(*ip, ttl))
            .collect();
        self.respond(NOERROR, &records)
    }

    /// NXDOMAIN.
    pub(crate) fn nxdomain(&self) -> Send {
        self.respond(NXDOMAIN, &[])
    }
}

/// An A or AAAA record whose owner is the name asked for (a pointer to offset 12).
pub(crate) fn address_record(ip: IpAddr, ttl: u32) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => record(&[0xc0, 0x0c], A, ttl, &ip.octets()),
        IpAddr::V6(ip) => record(&[0xc0, 0x0c], AAAA, ttl, &ip.octets()),
    }
}

/// Any record; `owner` and `data` are written as given.
pub(crate) fn record(owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = owner.to_vec();
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).expect("short data").to_be_bytes());
    bytes.extend(data);
    bytes
}

/// A name as labels, uncompressed.
pub(crate) fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

type Script = dyn Fn(&Query) -> Vec<Send> + std::marker::Send + Sync;

/// The running server; it stops when dropped.
pub(crate) struct DnsServer {
    pub(crate) addr: SocketAddr,
    queries: Arc<Mutex<Vec<Query>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DnsServer {
    /// Answers each query with what `script` returns for it.
    pub(crate) fn scripted<F>(script: F) -> Self
    where
        F: Fn(&Query) -> Vec<Send> + std::marker::Send + Sync + 'static,
    {
        Self::over(bind_pair(), script)
    }

    /// A scripted server at this address, as in a namespace of one's own.
    pub(crate) fn at<F>(address: SocketAddr, script: F) -> Self
    where
        F: Fn(&Query) -> Vec<Send> + std::marker::Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).expect("bind the name server");
        Self::over((listener, UdpSocket::bind(address).expect("bind the name server")), script)
    }

    fn over<F>((listener, udp): (TcpListener, UdpSocket), script: F) -> Self
    where
        F: Fn(&Query) -> Vec<Send> + std::marker::Send + Sync + 'static,
    {
        let addr = udp.local_addr().expect("address of the name server");
        let queries = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let desk = Desk { queries: Arc::clone(&queries), stop: Arc::clone(&stop), script };
        let twin = desk.clone();
        let threads = vec![
            thread::spawn(move || desk.serve_udp(&udp)),
            thread::spawn(move || twin.serve_tcp(&listener)),
        ];
        Self { addr, queries, stop, threads }
    }

    /// Knows these names, TTL 60, and answers NXDOMAIN to all others.
    pub(crate) fn zone(names: &[(&str, &[&str])]) -> Self {
        let names: Vec<(String, Vec<IpAddr>)> = names
            .iter()
            .map(|(name, ips)| {
                (name.to_string(), ips.iter().map(|ip| ip.parse().expect("an address")).collect())
            })
            .collect();
        Self::scripted(move |query| {
            let known = names.iter().find(|(name, _)| *name == query.name);
            vec![known.map_or_else(|| query.nxdomain(), |(_, ips)| query.addresses(ips, 60))]
        })
    }

    /// Hears everything and says nothing.
    pub(crate) fn dead() -> Self {
        Self::scripted(|_| Vec::new())
    }

    /// What was asked so far, in order.
    pub(crate) fn queries(&self) -> Vec<Query> {
        self.queries.lock().expect("queries").clone()
    }

    /// How often a name was asked for with this type.
    pub(crate) fn asked(&self, name: &str, qtype: u16) -> usize {
        self.queries().iter().filter(|q| q.name == name && q.qtype == qtype).count()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Both threads sit in a blocking call: one packet and one connection are the events that end them.
        let mut from = self.addr;
        from.set_port(0);
        if let Ok(socket) = UdpSocket::bind(from) {
            let _ = socket.send_to(&[], self.addr);
        }
        let _ = TcpStream::connect(self.addr);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Desk {
    queries: Arc<Mutex<Vec<Query>>>,
    stop: Arc<AtomicBool>,
    script: Arc<Script>,
}

impl Desk {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut elsewhere = socket.local_addr().expect("address");
        elsewhere.set_port(0);
        let elsewhere = UdpSocket::bind(elsewhere).expect("bind");
        let mut buffer = [0; 4096];
        loop {
            // An ICMP error for an earlier answer surfaces here: it says nothing about this server.
            let received = socket.recv_from(&mut buffer);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let Ok((length, from)) = received else { continue };
            let Some(query) = self.note(&buffer[..length], false, from) else { continue };
            for send in (self.script)(&query) {
                let origin = if send.from_elsewhere { &elsewhere } else { socket };
                let origin = origin.try_clone().expect("clone the socket");
                deliver(send.after, move || {
                    let _ = origin.send_to(&send.bytes, from);
                });
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while let Ok((stream, from)) = listener.accept() {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let desk = self.clone();
            thread::spawn(move || desk.converse(stream, from));
        }
    }

    /// RFC 1035 section 4.2.2: each message behind its length in two bytes.
    fn converse(&self, mut stream: TcpStream, from: SocketAddr) -> Option<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut message).ok()?;
            let query = self.note(&message, true, from)?;
            for send in (self.script)(&query) {
                let mut framed = u16::try_from(send.bytes.len()).ok()?.to_be_bytes().to_vec();
                framed.extend(&send.bytes);
                let mut twin = stream.try_clone().ok()?;
                deliver(send.after, move || {
                    let _ = twin.write_all(&framed);
                });
            }
        }
    }

    fn note(&self, message: &[u8], tcp: bool, from: SocketAddr) -> Option<Query> {
        let query = parse(message, tcp, from)?;
        self.queries.lock().expect("queries").push(query.clone());
        Some(query)
    }
}

fn deliver(after: Duration, work: impl FnOnce() + std::marker::Send + 'static) {
    if after.is_zero() {
        work();
    } else {
        thread::spawn(move || {
            thread::sleep(after); // a late answer is the script, not a wait for an event
            work();
        });
    }
}

fn parse(message: &[u8], tcp: bool, from: SocketAddr) -> Option<Query> {
    let id = u16::from_be_bytes([*message.first()?, *message.get(1)?]);
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = 12;
    let mut names = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        names.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let qtype = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    let question = message.get(12..at + 4)?.to_vec();
    let edns = message.get(10..12)? != [0, 0];
    Some(Query { id, name: names.join("."), qtype, tcp, edns, from, question })
}

/// A TCP listener and a UDP socket at one port of 127.0.0.1.
fn bind_pair() -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind the name server");
        let addr = listener.local_addr().expect("address of the name server");
        if let Ok(udp) = UdpSocket::bind(addr) {
            return (listener, udp);
        }
    }
    panic!("no port that is free for both TCP and UDP");
}

/// Shorthand for an IPv6 address with this last group, in the documentation block.
pub(crate) fn documentation_v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
}
