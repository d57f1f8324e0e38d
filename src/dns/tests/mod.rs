//! A world for the resolver to live in: virtual time, sockets that are entries of a map, and servers
//! whose messages are put together octet by octet, not by the codec under test.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

mod answers;
mod bounds;
mod pointers;
mod random;
mod sources;
mod tries;

pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
pub(super) const AAAA: u16 = 28;
pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// One query that the resolver sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) exchange: ExchangeId,
    pub(super) transport: Transport,
    pub(super) server: SocketAddr,
    /// Without the length prefix.
    pub(super) query: Vec<u8>,
}

impl Sent {
    /// Where the question ends: behind name, type and class.
    fn question_end(&self) -> usize {
        let mut at = 12;
        while self.query[at] != 0 {
            at += 1 + usize::from(self.query[at]);
        }
        at + 5
    }

    pub(super) fn kind(&self) -> u16 {
        let end = self.question_end();
        u16::from_be_bytes([self.query[end - 4], self.query[end - 3]])
    }

    pub(super) fn name(&self) -> String {
        let mut labels = Vec::new();
        let mut at = 12;
        while self.query[at] != 0 {
            let length = usize::from(self.query[at]);
            labels.push(String::from_utf8_lossy(&self.query[at + 1..=at + length]).into_owned());
            at += 1 + length;
        }
        labels.join(".")
    }

    pub(super) fn has_edns(&self) -> bool {
        self.query[11] == 1
    }

    /// A response to it: QR, RD and RA set, `flags` on top, records as given.
    pub(super) fn reply(&self, flags: u16, answers: &[Vec<u8>], authorities: &[Vec<u8>]) -> Vec<u8> {
        let mut message = self.query[..2].to_vec();
        message.extend((0x8180 | flags).to_be_bytes());
        for count in [1, answers.len(), authorities.len(), 0] {
            message.extend((count as u16).to_be_bytes());
        }
        message.extend(&self.query[12..self.question_end()]);
        message.extend(answers.concat());
        message.extend(authorities.concat());
        message
    }
}

/// A name in wire form.
pub(super) fn wire(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A pointer to the question's name, as servers send it.
pub(super) const QNAME: [u8; 2] = [0xc0, 12];

pub(super) fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = owner.to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// An A or AAAA record for the question's name.
pub(super) fn address(text: &str, ttl: u32) -> Vec<u8> {
    match ip(text) {
        IpAddr::V4(v4) => record(&QNAME, A, ttl, &v4.octets()),
        IpAddr::V6(v6) => record(&QNAME, AAAA, ttl, &v6.octets()),
    }
}

pub(super) fn cname(owner: &str, target: &str, ttl: u32) -> Vec<u8> {
    record(&wire(owner), 5, ttl, &wire(target))
}

pub(super) fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
    let mut data = [wire("ns.example"), wire("root.example")].concat();
    for number in [1, 2, 3, 4, minimum] {
        data.extend(number.to_be_bytes());
    }
    record(&wire("example"), 6, ttl, &data)
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn found(addresses: &[&str]) -> Answer {
    Ok(addresses.iter().map(|text| ip(text)).collect())
}

/// The resolver, its sockets and its time.
pub(super) struct World {
    pub(super) resolver: Resolver,
    pub(super) settings: Settings,
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) open: BTreeMap<u32, (Transport, SocketAddr)>,
    pub(super) peak: usize,
    /// What was sent and not yet taken.
    pub(super) sent: Vec<Sent>,
    pub(super) answers: Vec<(u64, Answer)>,
    pub(super) names: Vec<(u64, PointerAnswer)>,
    next_ticket: u64,
}

impl World {
    pub(super) fn new(servers: usize) -> World {
        World::with(servers, |_| {})
    }

    pub(super) fn with(servers: usize, change: impl FnOnce(&mut Settings)) -> World {
        let servers = (1..=servers).map(|n| SocketAddr::from(([192, 0, 2, n as u8], 53))).collect();
        let mut settings = Settings { servers, ..Settings::default() };
        change(&mut settings);
        let start = Instant::now();
        World {
            resolver: Resolver::new(Arc::new(settings.clone()), [7; 32]),
            settings,
            now: start,
            start,
            open: BTreeMap::new(),
            peak: 0,
            sent: Vec::new(),
            answers: Vec::new(),
            names: Vec::new(),
            next_ticket: 0,
        }
    }

    /// Starts a lookup; its ticket, or the answer at once.
    pub(super) fn lookup(&mut self, name: &str) -> Result<u64, Answer> {
        self.lookup_of(name, "192.0.2.100")
    }

    /// Looks a name up for a client at this address.
    pub(super) fn lookup_of(&mut self, name: &str, client: &str) -> Result<u64, Answer> {
        self.next_ticket += 1;
        let now = self.resolver.lookup(name, ip(client).into(), self.next_ticket, self.now);
        self.pump();
        now.map_or(Ok(self.next_ticket), Err)
    }

    /// Asks for the name of an address; its ticket, or the answer at once.
    pub(super) fn reverse(&mut self, address: &str) -> Result<u64, PointerAnswer> {
        self.next_ticket += 1;
        let client = ip("192.0.2.100").into();
        let now = self.resolver.reverse(ip(address), client, self.next_ticket, self.now);
        self.pump();
        now.map_or(Ok(self.next_ticket), Err)
    }

    /// Starts a lookup and takes the queries that it causes, A first.
    pub(super) fn ask(&mut self, name: &str) -> (Sent, Sent) {
        self.lookup(name).unwrap();
        self.pair()
    }

    pub(super) fn pair(&mut self) -> (Sent, Sent) {
        let sent = self.take();
        let [a, aaaa] = &sent[..] else { panic!("not two queries: {sent:?}") };
        assert_eq!((a.kind(), aaaa.kind()), (A, AAAA));
        (a.clone(), aaaa.clone())
    }

    pub(super) fn take(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    pub(super) fn one(&mut self) -> Sent {
        let mut sent = self.take();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    pub(super) fn cancel(&mut self, ticket: u64) {
        self.resolver.cancel(ticket);
        self.pump();
    }

    /// Gives the resolver a message on the exchange of a query, in the framing of its transport.
    pub(super) fn give(&mut self, to: &Sent, message: &[u8]) {
        match to.transport {
            Transport::Udp => self.bytes(to, message),
            Transport::Tcp => {
                let length = (message.len() as u16).to_be_bytes();
                self.bytes(to, &[&length, message].concat());
            }
        }
    }

    pub(super) fn bytes(&mut self, to: &Sent, bytes: &[u8]) {
        self.resolver.received(to.exchange, bytes, self.now);
        self.pump();
    }

    pub(super) fn answer(&mut self, to: &Sent, answers: &[Vec<u8>]) {
        self.give(to, &to.reply(0, answers, &[]));
    }

    /// Goes on with other settings.
    pub(super) fn configure(&mut self, settings: Settings) {
        self.resolver.configure(Arc::new(settings), self.now);
        self.pump();
    }

    /// Gives a query this response code, and the same where it comes back without EDNS.
    pub(super) fn fail_for_good(&mut self, to: &Sent, code: u16) {
        self.give(to, &to.reply(code, &[], &[]));
        let again = self.one();
        assert!(!again.has_edns() && again.kind() == to.kind());
        self.give(&again, &again.reply(code, &[], &[]));
    }

    pub(super) fn failed(&mut self, to: &Sent) {
        self.resolver.failed(to.exchange, self.now);
        self.pump();
    }

    /// Lets time pass, stopping at each deadline.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(due) = self.resolver.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.resolver.expire(self.now);
            self.pump();
            turns += 1;
            assert!(turns < 100_000, "the timers do not come to rest");
        }
        self.now = end;
    }

    /// The only answer that has come since the last call.
    pub(super) fn result(&mut self) -> Answer {
        assert_eq!(self.answers.len(), 1, "{:?}", self.answers);
        self.answers.remove(0).1
    }

    fn pump(&mut self) {
        while let Some(action) = self.resolver.poll_action() {
            match action {
                ResolverAction::Open { exchange, transport, server } => {
                    assert!(self.open.insert(exchange.0, (transport, server)).is_none(), "a live number");
                    self.peak = self.peak.max(self.open.len());
                }
                ResolverAction::Send { exchange, payload } => {
                    let (transport, server) = self.open[&exchange.0];
                    let query = match transport {
                        Transport::Udp => payload,
                        Transport::Tcp => {
                            let (length, query) = payload.split_at(2);
                            assert_eq!(length, (query.len() as u16).to_be_bytes());
                            query.to_vec()
                        }
                    };
                    self.sent.push(Sent { exchange, transport, server, query });
                }
                ResolverAction::Close { exchange } => {
                    assert!(self.open.remove(&exchange.0).is_some(), "closed twice");
                }
                ResolverAction::Answer { ticket, answer } => self.answers.push((ticket, answer)),
                ResolverAction::Named { ticket, answer } => self.names.push((ticket, answer)),
            }
        }
    }
}
