//! The endpoint's thread: one poll for its listeners, its connections and the answers that others wake it for.
//!
//! What panics over a request ends that connection and no other. What panics elsewhere ends all connections, and the thread
//! begins anew on the same listeners.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::access::{AdminAccess, AdminPeer};
use super::answer::HttpAnswer;
use super::connection::{Happened, HttpConnection, HttpExchange, Overdue, timed_out};
use super::doors::{self, Door};
use super::effort::Effort;
use super::holders::Holders;
use super::http::{HttpHead, HttpRequest, Malformed};
use super::orders::Actor;
use super::refused::RefusedLines;
use super::service::{Called, Service};
use super::status::HttpStatus;
use super::stream::AdminStream;
use crate::config::ListenAddress;
use crate::limits;
use crate::sys::sock_diag::SocketOwners;
use crate::threads::survive;
use crate::worker::Latch;

/// The token of the waker, of the first listener, and of the first connection.
const WAKER: Token = Token(0);
const DOORS: usize = 1;
const CONNECTIONS: usize = 1 << 16;

/// A listener as it is known outside: its address as it is configured, and its address and port where it has one.
pub(super) type OpenAddress = (ListenAddress, Option<SocketAddr>);

/// What the endpoint's thread is told.
#[derive(Debug)]
pub(super) enum AdminLetter {
    /// Listen on these from now on, beside those of the old ones that stay; go by this access.
    /// The latch is let go of once that is done.
    Configure { stay: Vec<OpenAddress>, new: Vec<Door>, access: AdminAccess, done: Arc<Latch> },
    /// Close the listeners, and let go of the latch then; answer what was asked and send what is being sent, and end: after
    /// this long in any case.
    Stop { within: Duration, done: Option<Arc<Latch>> },
}

/// What outlasts a panic: the poll and the listeners.
#[derive(Debug)]
pub(super) struct AdminCore {
    poll: Poll,
    doors: Slab<Door>,
    access: AdminAccess,
    letters: Receiver<AdminLetter>,
}

impl AdminCore {
    /// A poll with these listeners, and what wakes it.
    ///
    /// # Errors
    /// What epoll said.
    pub(super) fn new(
        open: Vec<Door>,
        access: AdminAccess,
        letters: Receiver<AdminLetter>,
    ) -> io::Result<(AdminCore, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut core = AdminCore { poll, doors: Slab::new(), access, letters };
        for door in open {
            core.open(door)?;
        }
        Ok((core, waker))
    }

    fn open(&mut self, mut door: Door) -> io::Result<()> {
        let entry = self.doors.vacant_entry();
        doors::register(self.poll.registry(), &mut door, Token(DOORS + entry.key()))?;
        entry.insert(door);
        Ok(())
    }

    /// Answers until told to stop.
    pub(super) fn run<S: Service>(&mut self, make: impl Fn() -> S) {
        AdminServer::new(self, &make).run();
    }
}

/// The connections, and what answers them.
struct AdminServer<'a, S: Service, M: Fn() -> S> {
    core: &'a mut AdminCore,
    make: &'a M,
    service: S,
    connections: Slab<HttpConnection<S::Pending>>,
    holders: Holders,
    owners: Option<SocketOwners>,
    refused: RefusedLines,
    /// Connections with more to do at once.
    queue: VecDeque<usize>,
    /// Listeners have connections that wait, and when they are looked at.
    accepts_at: Option<Instant>,
    ticks_at: Instant,
    effort: Effort,
    /// When whatever is still being sent is cut off, once it is to end.
    stops_at: Option<Instant>,
}

impl<'a, S: Service, M: Fn() -> S> AdminServer<'a, S, M> {
    fn new(core: &'a mut AdminCore, make: &'a M) -> AdminServer<'a, S, M> {
        let now = Instant::now();
        AdminServer {
            core,
            service: make(),
            make,
            connections: Slab::new(),
            holders: Holders::default(),
            owners: SocketOwners::open().ok(),
            refused: RefusedLines::default(),
            queue: VecDeque::new(),
            accepts_at: Some(now),
            ticks_at: now + limits::ADMIN_SAMPLE_INTERVAL,
            effort: Effort::new(now),
            stops_at: None,
        }
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(128);
        loop {
            let now = Instant::now();
            let timeout = self.wakes_at(now).saturating_duration_since(now);
            if let Err(error) = self.core.poll.poll(&mut events, Some(timeout))
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "the admin endpoint cannot wait");
                std::thread::sleep(limits::ADMIN_ACCEPT_PAUSE);
            }
            let now = Instant::now();
            let mut woken = false;
            for event in &events {
                match event.token() {
                    WAKER => woken = true,
                    Token(token) if token < CONNECTIONS => self.accepts_at = Some(now),
                    Token(token) => {
                        let number = token - CONNECTIONS;
                        if let Some(connection) = self.connections.get_mut(number) {
                            connection.note(event.is_readable() || event.is_error(), event.is_writable());
                            self.queue.push_back(number);
                        }
                    }
                }
            }
            if woken {
                self.take_letters(now);
            }
            self.look_for_answers(woken, now);
            for _ in 0..self.queue.len() {
                let Some(number) = self.queue.pop_front() else { break };
                self.guarded(number, |server| server.drive(number, now));
            }
            self.look_at_times(now);
            if self.accepts_at.is_some_and(|at| at <= now) && self.stops_at.is_none() {
                self.accept(now);
            }
            if self.ticks_at <= now {
                self.ticks_at = now + limits::ADMIN_SAMPLE_INTERVAL;
                self.refused.tell(now);
                if survive(|| self.service.tick(now)).is_none() {
                    self.service = (self.make)();
                }
            }
            if self
                .stops_at
                .is_some_and(|at| at <= now || self.connections.iter().all(|(_, one)| one.is_idle()))
            {
                return;
            }
            let rest = self.effort.rest(now, now.elapsed());
            if !rest.is_zero() {
                std::thread::sleep(rest);
            }
        }
    }

    /// When there is something to do without an event.
    fn wakes_at(&self, now: Instant) -> Instant {
        if !self.queue.is_empty() {
            return now;
        }
        let of_connection = |(_, connection): (usize, &HttpConnection<S::Pending>)| {
            let due = connection.waits_with().and_then(|pending| self.service.due(pending));
            due.map_or(connection.ends_at(), |due| due.min(connection.ends_at()))
        };
        let all = self.connections.iter().map(of_connection).chain(self.accepts_at).chain(self.stops_at);
        all.fold(self.ticks_at, Instant::min)
    }

    fn take_letters(&mut self, now: Instant) {
        while let Ok(letter) = self.core.letters.try_recv() {
            match letter {
                AdminLetter::Configure { stay, new, access, done } => {
                    self.configure(&stay, new, access);
                    drop(done);
                }
                AdminLetter::Stop { within, done } => {
                    // Whoever has the addresses next finds them free.
                    self.core.doors.clear();
                    drop(done);
                    self.stops_at = Some(now + within);
                }
            }
        }
    }

    /// Goes by other listeners. Connections that came by those that go live on.
    fn configure(&mut self, stay: &[OpenAddress], new: Vec<Door>, access: AdminAccess) {
        self.core.doors.retain(|_, door| stay.contains(&(door.address().clone(), door.tcp())));
        self.core.access = access;
        for door in new {
            if let Err(error) = self.core.open(door) {
                tracing::error!(%error, "the admin endpoint cannot listen on an address more");
            }
        }
        self.accepts_at = Some(Instant::now());
    }

    /// Takes connections that wait, of each listener some.
    fn accept(&mut self, now: Instant) {
        self.accepts_at = None;
        let numbers: Vec<usize> = self.core.doors.iter().map(|(number, _)| number).collect();
        for number in numbers {
            for nth in 0.. {
                if nth == limits::ADMIN_ACCEPTS_PER_TURN {
                    self.accepts_at = Some(now);
                    break;
                }
                match self.core.doors[number].accept(&mut self.owners) {
                    Ok((stream, peer)) => self.enter(stream, peer, now),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Whoever it was has left.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::ConnectionAborted | ErrorKind::Interrupted | ErrorKind::NotConnected
                        ) => {}
                    Err(error) => {
                        // No descriptors, most likely. The kernel says nothing once there are some.
                        self.refused.note(now, "nobody", &format!("cannot accept: {error}"));
                        self.accepts_at = Some(now + limits::ADMIN_ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
    }

    fn enter(&mut self, stream: AdminStream, peer: AdminPeer, now: Instant) {
        self.effort.note();
        if !self.holders.enter(&peer) {
            self.refused.note(now, &peer, "too many connections");
            return doors::turn_away(stream);
        }
        let entry = self.connections.vacant_entry();
        let number = entry.key();
        let mut connection = HttpConnection::new(stream, peer, now);
        let token = Token(CONNECTIONS + number);
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.core.poll.registry().register(connection.stream().source(), token, interest) {
            Ok(()) => {
                entry.insert(connection);
                self.queue.push_back(number);
            }
            Err(_) => self.holders.leave(&connection.peer),
        }
    }

    fn close(&mut self, number: usize) {
        if let Some(connection) = self.connections.try_remove(number) {
            self.holders.leave(&connection.peer);
        }
    }

    /// Does something with a connection. Where that panics the connection ends, and what answers is made anew, for what it
    /// was changing may be half changed.
    fn guarded(&mut self, number: usize, act: impl FnOnce(&mut Self)) {
        if survive(|| act(self)).is_none() {
            tracing::error!("the admin endpoint panicked over a request: its connection ends");
            self.close(number);
            self.service = (self.make)();
        }
    }

    /// Does with a connection what can be done now.
    fn drive(&mut self, number: usize, now: Instant) {
        for _ in 0..limits::ADMIN_REQUESTS_PER_TURN {
            self.effort.note();
            let Some(connection) = self.connections.get_mut(number) else { return };
            match connection.next(now) {
                Happened::Nothing => return,
                Happened::More => break,
                Happened::Closed => return self.close(number),
                Happened::Malformed(malformed) => self.malformed(number, malformed, now),
                Happened::Head(head) => {
                    if !self.let_in(number, head, now) {
                        // Whoever is refused may ask on without end: the others come first.
                        break;
                    }
                }
                Happened::Request(request, by) => self.call(number, *request, by, now),
            }
        }
        self.queue.push_back(number);
    }

    /// Answers what is no request. What stands behind it cannot be told from it: the connection ends.
    fn malformed(&mut self, number: usize, malformed: Malformed, now: Instant) {
        let Some(connection) = self.connections.get(number) else { return };
        let answer = match self.holders.ask(&connection.peer, now) {
            Ok(()) => HttpAnswer::error(malformed.status, malformed.why),
            Err(wait) => too_many(wait),
        };
        self.refuse(number, answer, &HttpExchange::of_none(), now);
    }

    /// Lets a request in, or answers it by its head alone; whether it was let in.
    fn let_in(&mut self, number: usize, head: Box<HttpHead>, now: Instant) -> bool {
        let mut exchange = HttpExchange::of(&head);
        // A body that is not read would be taken for the next request.
        exchange.keep_alive &= head.content_length == 0;
        match self.judge(number, &head, now) {
            Ok(by) => {
                let Some(connection) = self.connections.get_mut(number) else { return true };
                if connection.admit(head, by, now).is_err() {
                    self.close(number);
                }
                true
            }
            Err(answer) => {
                self.refuse(number, answer, &exchange, now);
                false
            }
        }
    }

    fn judge(&mut self, number: usize, head: &HttpHead, now: Instant) -> Result<Actor, HttpAnswer> {
        let peer = &self.connections[number].peer;
        if let Err(wait) = self.holders.ask(peer, now) {
            return Err(too_many(wait));
        }
        let by = self.core.access.judge(peer, self.service.need(&head.path), head)?;
        self.service.check(head).map(|()| by)
    }

    fn call(&mut self, number: usize, request: HttpRequest, by: Actor, now: Instant) {
        let exchange = HttpExchange { by: Some(by.clone()), ..HttpExchange::of(&request.head) };
        match self.service.call(request, by, now) {
            Called::Now(answer) => self.answer(number, answer, &exchange, now),
            Called::Later(pending) => {
                let Some(connection) = self.connections.get_mut(number) else { return };
                connection.wait(pending, exchange, now);
            }
        }
    }

    /// Answers a request that was let in; what it changed is said in the log.
    fn answer(&mut self, number: usize, answer: HttpAnswer, exchange: &HttpExchange, now: Instant) {
        if let Some(by) = exchange.by.as_ref().filter(|_| !exchange.method.is_safe()) {
            let (method, status) = (exchange.method.name(), answer.status().code());
            tracing::info!(%by, method, path = shown(&exchange.path), status, "asked over the admin endpoint");
        }
        let held: usize = self.connections.iter().map(|(_, connection)| connection.held()).sum();
        let answer = match held + answer.body().len() > limits::ADMIN_ANSWERS_BYTES_MAX {
            true => HttpAnswer::error(HttpStatus::UNAVAILABLE, "too many answers wait to be read")
                .with("retry-after", limits::ADMIN_SEND_TIME.as_secs()),
            false => answer.bounded(),
        };
        if let Some(connection) = self.connections.get_mut(number) {
            connection.answer(answer, exchange, now);
        }
    }

    /// Answers a request that is not let in.
    fn refuse(&mut self, number: usize, answer: HttpAnswer, exchange: &HttpExchange, now: Instant) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        // A slip of whoever may ask is no news.
        if ![HttpStatus::NOT_FOUND, HttpStatus::METHOD_NOT_ALLOWED].contains(&answer.status()) {
            let (method, path) = (exchange.method.name(), shown(&exchange.path));
            let what = format!("{method} {path}: {}", answer.status().code());
            self.refused.note(now, &connection.peer, &what);
        }
        connection.answer(answer, exchange, now);
    }

    /// Looks for answers that are waited for: all where somebody woke us, else those that are due.
    fn look_for_answers(&mut self, woken: bool, now: Instant) {
        let is_waited_for = |connection: &HttpConnection<S::Pending>| {
            let due = |pending| self.service.due(pending).is_some_and(|at| at <= now);
            connection.waits_with().is_some_and(|pending| woken || due(pending))
        };
        let waiting = self.connections.iter().filter(|(_, connection)| is_waited_for(connection));
        let numbers: Vec<usize> = waiting.map(|(number, _)| number).collect();
        for number in numbers {
            self.guarded(number, |server| {
                let pending = server.connections[number].pending();
                let Some(answer) = pending.and_then(|pending| server.service.poll(pending, now)) else {
                    return;
                };
                let Some((_, exchange)) = server.connections[number].end_wait() else { return };
                server.answer(number, answer, &exchange, now);
                server.queue.push_back(number);
            });
        }
    }

    /// Ends what has lasted too long.
    fn look_at_times(&mut self, now: Instant) {
        let overdue = self.connections.iter().filter(|(_, connection)| connection.ends_at() <= now);
        let numbers: Vec<usize> = overdue.map(|(number, _)| number).collect();
        for number in numbers {
            self.guarded(number, |server| {
                match server.connections[number].overdue() {
                    Overdue::Close => return server.close(number),
                    Overdue::TimedOut => server.refuse(number, timed_out(), &HttpExchange::of_none(), now),
                    Overdue::Answer(pending, exchange) => {
                        let answer = server.service.late(pending);
                        server.answer(number, answer, &exchange, now);
                    }
                }
                server.queue.push_back(number);
            });
        }
    }
}

/// A path as it stands in the log, on one line.
fn shown(path: &str) -> String {
    path.chars().take(limits::MAX_QUOTED_CHARS).flat_map(char::escape_default).collect()
}

fn too_many(wait: Duration) -> HttpAnswer {
    HttpAnswer::error(HttpStatus::TOO_MANY_REQUESTS, "too many requests")
        .with("retry-after", wait.as_secs() + 1)
}

#[cfg(test)]
mod tests;
