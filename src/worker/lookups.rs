//! The sockets of the resolver: performs its actions on the worker's loop and hands answers back.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::tokens::EventSource;
use crate::dns::{
    Answer, CacheUse, DnsError, ExchangeId, PointerAnswer, Resolver, ResolverAction, Settings, Transport,
};
use crate::limits;
use crate::shares::{self, Lent, Pool};
use crate::sys::Read;
use crate::sys::Write;
use crate::sys::machine::{ConnectedUdp, DnsSocket};
use crate::sys::stream::Stream;

/// The resolver of one worker and its sockets.
#[derive(Debug)]
pub(super) struct Lookups {
    resolver: Resolver,
    sockets: HashMap<ExchangeId, Conversation>,
    buffer: Box<[u8]>,
    /// Sockets for names that no session's descriptors pay for, and who has them.
    beside: Pool,
    lent: HashMap<u64, Lent>,
    /// Whether the resolver did anything since [`Lookups::take_done`].
    acted: bool,
    /// Lookups that ended, for the worker to take.
    pub(super) answers: Vec<(u64, Answer)>,
    /// Lookups of the names of addresses that ended, for the worker to take.
    pub(super) pointers: Vec<(u64, PointerAnswer)>,
}

#[derive(Debug)]
struct Conversation {
    socket: DnsSocket,
    /// What a TCP server has not taken yet; empty for UDP.
    unsent: Vec<u8>,
}

impl Lookups {
    pub(super) fn new(settings: Arc<Settings>, beside: usize) -> Lookups {
        Lookups {
            resolver: Resolver::new(settings, rand::random()),
            sockets: HashMap::new(),
            buffer: vec![0; limits::DNS_READ_BYTES].into_boxed_slice(),
            beside: Pool::of(beside),
            lent: HashMap::new(),
            acted: false,
            answers: Vec::new(),
            pointers: Vec::new(),
        }
    }

    /// Sets how many sockets at a time there may be for names that no session's descriptors pay for.
    pub(super) fn set_beside_max(&self, beside: usize) {
        self.beside.resize(beside);
    }

    /// How names are resolved from here on.
    pub(super) fn configure(&mut self, settings: Arc<Settings>, registry: &Registry, now: Instant) {
        self.resolver.configure(settings, now);
        self.perform(registry, now);
    }

    /// How often the cache was asked since this was last called; `None` where the resolver did nothing since.
    pub(super) fn take_done(&mut self) -> Option<CacheUse> {
        std::mem::take(&mut self.acted).then(|| self.resolver.take_cache_use())
    }

    /// How many messages of name servers answered a question since this was last called.
    pub(super) fn take_server_answers(&mut self) -> u64 {
        self.resolver.take_server_answers()
    }

    /// Names that are being resolved.
    pub(super) fn names(&self) -> usize {
        self.resolver.names()
    }

    /// Asks for a name on behalf of a client whose session has no upstream yet, so that there is a descriptor for it;
    /// `None` when the answer comes later.
    pub(super) fn lookup(
        &mut self,
        name: &str,
        client: shares::Source,
        ticket: u64,
        registry: &Registry,
        now: Instant,
    ) -> Option<Answer> {
        let answer = self.resolver.lookup(name, client, ticket, now);
        self.perform(registry, now);
        answer
    }

    /// Asks for the name of an address on behalf of a client whose session has no upstream, so that there is a descriptor
    /// for it; `None` when the answer comes later.
    pub(super) fn reverse(
        &mut self,
        ip: IpAddr,
        client: shares::Source,
        ticket: u64,
        registry: &Registry,
        now: Instant,
    ) -> Option<PointerAnswer> {
        let answer = self.resolver.reverse(ip, client, ticket, now);
        self.perform(registry, now);
        answer
    }

    /// Starts a lookup for who has no session's descriptor to lend.
    pub(super) fn lookup_beside(
        &mut self,
        name: &str,
        client: shares::Source,
        ticket: u64,
        registry: &Registry,
        now: Instant,
    ) -> Option<Answer> {
        let mut socket = self.beside.nothing(client);
        if !socket.is_now(1) {
            return Some(Err(DnsError::Busy));
        }
        let answer = self.lookup(name, client, ticket, registry, now);
        if answer.is_none() {
            self.lent.insert(ticket, socket);
        }
        answer
    }

    /// Nobody waits for this lookup any more.
    pub(super) fn cancel(&mut self, ticket: u64, registry: &Registry, now: Instant) {
        self.lent.remove(&ticket);
        self.resolver.cancel(ticket);
        self.perform(registry, now);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.resolver.next_deadline()
    }

    pub(super) fn expire(&mut self, registry: &Registry, now: Instant) {
        if self.resolver.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.resolver.expire(now);
            self.perform(registry, now);
        }
    }

    /// An event of one exchange's socket. Every message is read; what is no answer is the resolver's to drop.
    pub(super) fn event(&mut self, exchange: u32, writable: bool, registry: &Registry, now: Instant) {
        let exchange = ExchangeId(exchange);
        if writable {
            self.flush(exchange, now);
        }
        while let Some(conversation) = self.sockets.get(&exchange) {
            match conversation.socket.recv(&mut self.buffer) {
                Read::Bytes(count) => self.resolver.received(exchange, &self.buffer[..count], now),
                Read::Blocked => break,
                // An empty datagram is no answer, the end of a stream is a failure.
                Read::End if matches!(conversation.socket, DnsSocket::Udp(_)) => {}
                Read::End | Read::Failed(_) => {
                    self.sockets.remove(&exchange);
                    self.resolver.failed(exchange, now);
                }
            }
            self.perform(registry, now);
        }
        self.perform(registry, now);
    }

    fn perform(&mut self, registry: &Registry, now: Instant) {
        self.acted = true;
        while let Some(action) = self.resolver.poll_action() {
            match action {
                ResolverAction::Open { exchange, transport, server } => {
                    match open(exchange, transport, server, registry) {
                        Some(socket) => {
                            self.sockets.insert(exchange, Conversation { socket, unsent: Vec::new() });
                        }
                        None => self.resolver.failed(exchange, now),
                    }
                }
                ResolverAction::Send { exchange, payload } => self.send(exchange, payload, now),
                ResolverAction::Close { exchange } => {
                    self.sockets.remove(&exchange);
                }
                ResolverAction::Answer { ticket, answer } => {
                    self.lent.remove(&ticket);
                    self.answers.push((ticket, answer));
                }
                ResolverAction::Named { ticket, answer } => self.pointers.push((ticket, answer)),
            }
        }
    }

    fn send(&mut self, exchange: ExchangeId, payload: Vec<u8>, now: Instant) {
        let Some(conversation) = self.sockets.get_mut(&exchange) else { return };
        match &conversation.socket {
            DnsSocket::Udp(socket) => {
                // A datagram that found no room is lost, as on the wire: the resolver asks again.
                if let Write::Failed(_) = socket.send(&payload) {
                    self.sockets.remove(&exchange);
                    self.resolver.failed(exchange, now);
                }
            }
            DnsSocket::Tcp(_) => {
                conversation.unsent.extend_from_slice(&payload);
            }
        }
    }

    fn flush(&mut self, exchange: ExchangeId, now: Instant) {
        let Some(conversation) = self.sockets.get_mut(&exchange) else { return };
        while !conversation.unsent.is_empty() {
            match conversation.socket.send(&conversation.unsent) {
                Write::Bytes(count) => {
                    conversation.unsent.drain(..count);
                }
                Write::Blocked => return,
                Write::Failed(_) => {
                    self.sockets.remove(&exchange);
                    return self.resolver.failed(exchange, now);
                }
            }
        }
    }
}

fn open(
    exchange: ExchangeId,
    transport: Transport,
    server: SocketAddr,
    registry: &Registry,
) -> Option<DnsSocket> {
    let (socket, interests) = match transport {
        Transport::Udp => (DnsSocket::Udp(ConnectedUdp::connect(server).ok()?), Interest::READABLE),
        Transport::Tcp => {
            let stream = Stream::open(server, None).ok()?;
            stream.connect(server).ok()?;
            (DnsSocket::Tcp(stream), Interest::READABLE | Interest::WRITABLE)
        }
    };
    let token = EventSource::Dns(exchange.0).token();
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, interests).ok()?;
    Some(socket)
}
