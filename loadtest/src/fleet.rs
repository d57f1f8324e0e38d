//! Many client connections on one event loop: opens them, leads each through the handshake and hands it
//! to the scenario, which alone decides what flows and when it ends.
//!
//! Registration is edge-triggered and made once per connection. A slot is taken again as soon as it is
//! free; an event of its former tenant in the same batch does no harm, for every handler reads and writes
//! until the socket says that it would block.

mod dial;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::ClientConnection;

pub(crate) use self::dial::Sources;
use self::dial::dial_from;
use crate::fault::{Fault, Phase};
use crate::handshake::{Handshake, Messages};
use crate::interrupt::Interrupt;
use crate::pacer::Alarm;
use crate::progress::{Done, Line};
use crate::tls::{TlsClient, Wire};

/// Events taken per turn of the loop.
const EVENTS_PER_TURN: usize = 1024;
/// The loop looks at its deadlines at least this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// The tokens of the waker and of the alarm; no slot reaches them.
const WAKE: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// Where the sessions of a run go and how they introduce themselves.
pub(crate) struct Route {
    /// The server; without one, the target is called directly (the floor of every comparison).
    pub(crate) server: Option<SocketAddr>,
    pub(crate) target: SocketAddr,
    /// What is said before the scenario begins; nothing where the scenario itself speaks to the server.
    pub(crate) messages: Option<Messages>,
    /// Connections to the server are under TLS.
    pub(crate) tls: Option<TlsClient>,
    pub(crate) sources: Sources,
    /// A run in which nothing moves for so long has failed.
    pub(crate) patience: Duration,
    /// Failed sessions that a run may have.
    pub(crate) max_errors: u64,
}

/// What an event said.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) readable: bool,
    /// The peer's FIN or RST is in: a short read is then no proof that the socket is empty.
    pub(crate) closed: bool,
}

impl Ready {
    pub(crate) const ALL: Self = Self { readable: true, closed: true };

    fn of(event: &Event) -> Self {
        Self { readable: event.is_readable(), closed: event.is_read_closed() || event.is_error() }
    }
}

/// What the scenario wants of the loop for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait for the next event.
    Wait,
    /// Call again in the next turn: there may be more to do, but others have their turn first.
    Again,
    /// Wait for the next event, but call again at this time at the latest.
    Until(Instant),
    /// Close it: the session ended as it should.
    Close,
    /// Close it with RST in place of FIN: the session ended as it should.
    Reset,
}

/// One connection with what the scenario keeps for it.
pub(crate) struct Link<S> {
    pub(crate) stream: TcpStream,
    /// From when its latency counts: its `connect` was called or, in an open loop, was due.
    pub(crate) since: Instant,
    pub(crate) state: S,
    /// What this one says in its handshake, where it is not what the route says.
    pub(crate) messages: Option<Box<Messages>>,
    tls: Option<Box<ClientConnection>>,
    stage: Stage,
    serial: u64,
    /// The timer that is set for it.
    wake: Option<Instant>,
}

impl<S> Link<S> {
    /// Whether the bytes of `stream` are TLS records; `Read` and `Write` of the link itself are always plain.
    pub(crate) fn is_under_tls(&self) -> bool {
        self.tls.is_some()
    }
}

impl<S> Read for Link<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Wire::of(&mut self.stream, self.tls.as_deref_mut()).read(buffer)
    }
}

impl<S> Write for Link<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Wire::of(&mut self.stream, self.tls.as_deref_mut()).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Wire::of(&mut self.stream, self.tls.as_deref_mut()).flush()
    }
}

/// When to call which connection again: ordered by time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: Instant,
    slot: usize,
    /// Tells a connection from one that had its slot before.
    serial: u64,
}

/// How far a connection is.
enum Stage {
    /// Nothing is to be said: only the connection itself has to stand.
    Connecting,
    Handshaking(Box<Handshake>),
    Open,
}

/// What a run does with its connections.
pub(crate) trait Scenario {
    /// Kept per connection.
    type State: Default;

    /// Whether to open another connection now, and from when its latency counts; called until it says no.
    /// A `Some` is always followed by an attempt, which ends in `opened`, `closed` or a fault.
    fn wants_another(&mut self, now: Instant) -> Option<Instant>;
    /// When to ask `wants_another` again at the latest; without a moment, after the next events.
    fn next_start(&self) -> Option<Instant> {
        None
    }
    /// A connection is under way: the place to say what it will do.
    fn dialled(&mut self, _link: &mut Link<Self::State>) {}
    /// Takes an event of the handshake that did not end it.
    fn handshaking(&mut self, _link: &mut Link<Self::State>) -> Result<Next, Fault> {
        Ok(Next::Wait)
    }
    /// Whether the target may speak first: what came with the reply is then dropped, else it is a fault.
    fn target_speaks_first(&self) -> bool {
        false
    }
    /// The success reply is in.
    fn opened(&mut self, link: &mut Link<Self::State>) -> Result<Next, Fault>;
    /// The socket is ready, or `Again` or `Until` was asked for.
    fn ready(&mut self, link: &mut Link<Self::State>, ready: Ready) -> Result<Next, Fault>;
    /// One connection less: after `Next::Close` or a fault (`failed`).
    fn closed(&mut self, failed: bool);
    /// Between turns: `Stop` ends the run, `WakeAll` calls every open connection once.
    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault>;
    /// How far the run is, for somebody who watches.
    fn progress(&self) -> Option<Done>;
}

/// What follows a turn of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterTurn {
    Continue,
    WakeAll,
    Stop,
}

/// How many sessions of a run failed, and the first reason.
#[derive(Default)]
pub(crate) struct Losses {
    pub(crate) count: u64,
    pub(crate) first: Option<Fault>,
}

/// The connections of one run.
pub(crate) struct Fleet<S> {
    route: Route,
    poll: Poll,
    links: Vec<Option<Link<S>>>,
    free: Vec<usize>,
    again: Vec<usize>,
    timers: BinaryHeap<Reverse<Timer>>,
    alarm: Alarm,
    serial: u64,
    dialled: u32,
    moved_at: Instant,
    interrupt: Option<Interrupt>,
    pub(crate) losses: Losses,
}

impl<S: Default> Fleet<S> {
    pub(crate) fn new(route: Route) -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            route,
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            links: Vec::new(),
            free: Vec::new(),
            again: Vec::new(),
            timers: BinaryHeap::new(),
            serial: 0,
            dialled: 0,
            moved_at: Instant::now(),
            interrupt: None,
            losses: Losses::default(),
        })
    }

    /// A handle that ends the sleep of the loop from another thread.
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKE)
    }

    /// Ends each run when a signal asks for it.
    pub(crate) fn heed(&mut self, interrupt: &Interrupt) {
        self.interrupt = Some(interrupt.clone());
    }

    /// Runs `scenario` until it says `Stop`. `Err` is the fault that ended the run early.
    pub(crate) fn run<W: Scenario<State = S>>(&mut self, scenario: &mut W) -> Result<(), Fault> {
        let mut line = Line::new();
        let ended = self.run_under(scenario, &mut line);
        line.clear();
        ended
    }

    fn run_under<W: Scenario<State = S>>(&mut self, scenario: &mut W, line: &mut Line) -> Result<(), Fault> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.moved_at = Instant::now();
        loop {
            self.interrupt.as_ref().map_or(Ok(()), Interrupt::check)?;
            let now = Instant::now();
            line.show(now, || scenario.progress());
            match scenario.turn(now)? {
                AfterTurn::Stop => return Ok(()),
                AfterTurn::WakeAll => {
                    self.again.extend((0..self.links.len()).filter(|&slot| self.links[slot].is_some()));
                }
                AfterTurn::Continue => {}
            }
            while let Some(since) = scenario.wants_another(now) {
                self.open(scenario, since)?;
            }
            let timer = self.timers.peek().map(|Reverse(timer)| timer.due);
            let start = scenario.next_start();
            let near = match start.into_iter().chain(timer).min() {
                Some(due) if start == Some(due) => self.alarm.approach(due),
                Some(due) => self.alarm.set(due).map(|()| false),
                None => Ok(false),
            };
            let at_once = near.map_err(Fault::Local)? || !self.again.is_empty();
            let sleep = if at_once { Duration::ZERO } else { LONGEST_SLEEP };
            match self.poll.poll(&mut events, Some(sleep)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(Fault::Local)?,
            }
            self.ring();
            let mut moved = !self.again.is_empty();
            for event in events.iter().filter(|event| event.token() < ALARM) {
                moved = true;
                self.serve(scenario, event.token().0, Ready::of(event))?;
            }
            if !moved {
                self.check_patience(now)?;
                continue;
            }
            self.moved_at = now;
            for slot in std::mem::take(&mut self.again) {
                self.serve(scenario, slot, Ready::ALL)?;
            }
        }
    }

    /// Calls again whose time has come.
    fn ring(&mut self) {
        let now = Instant::now();
        while let Some(Reverse(timer)) = self.timers.peek()
            && timer.due <= now
        {
            let slot = timer.slot;
            let tenant = self.links[slot].as_mut().filter(|link| link.serial == timer.serial);
            // A timer that was followed by another one is of no use any more.
            if let Some(link) = tenant.filter(|link| link.wake == Some(timer.due)) {
                link.wake = None;
                self.again.push(slot);
            }
            self.timers.pop();
        }
    }

    /// Sleeping is a fault only while somebody owes us bytes; a scenario that holds idle sessions sets
    /// the patience aside.
    fn check_patience(&self, now: Instant) -> Result<(), Fault> {
        let patience = self.route.patience;
        // Whoever has a timer has chosen to wait.
        let stalled =
            self.busy() > 0 && self.timers.is_empty() && now.duration_since(self.moved_at) > patience;
        if stalled { Err(Fault::Stalled(patience)) } else { Ok(()) }
    }

    /// Connections that are open or opening.
    pub(crate) fn busy(&self) -> usize {
        self.links.len() - self.free.len()
    }

    /// From here on silence is what is expected.
    pub(crate) fn expect_silence(&mut self) {
        self.route.patience = Duration::MAX;
    }

    fn open<W: Scenario<State = S>>(&mut self, scenario: &mut W, since: Instant) -> Result<(), Fault> {
        let mut stream = match self.dial() {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return self.lose(scenario, Fault::Refused);
            }
            Err(error) => return self.lose(scenario, Fault::Local(error)),
        };
        // A delay is then the server's, never Nagle's at our end.
        stream.set_nodelay(true).map_err(Fault::Local)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        self.poll
            .registry()
            .register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)
            .map_err(Fault::Local)?;
        let stage = match (self.route.server, &self.route.messages) {
            (Some(_), Some(_)) => Stage::Handshaking(Box::new(Handshake::new())),
            _ => Stage::Connecting,
        };
        let tls = self.route.tls.as_ref().map(TlsClient::connect);
        self.serial += 1;
        let (state, serial) = (S::default(), self.serial);
        let link = Link { stream, since, state, messages: None, tls, stage, serial, wake: None };
        let link = self.links[slot].insert(link);
        scenario.dialled(link);
        // On loopback the connection stands when `connect` returns, so the greeting leaves at once, as it
        // does from a client whose SYN was answered.
        self.serve(scenario, slot, Ready::ALL)
    }

    fn dial(&mut self) -> io::Result<TcpStream> {
        let to = self.route.server.unwrap_or(self.route.target);
        if self.route.sources.count == 0 || !to.is_ipv4() {
            return TcpStream::connect(to);
        }
        let from = self.route.sources.nth(self.dialled);
        self.dialled = self.dialled.wrapping_add(1);
        dial_from(from.into(), to)
    }

    fn serve<W: Scenario<State = S>>(
        &mut self,
        scenario: &mut W,
        slot: usize,
        ready: Ready,
    ) -> Result<(), Fault> {
        // An event of a former tenant whose slot is empty again.
        let Some(link) = self.links[slot].as_mut() else { return Ok(()) };
        match step(scenario, link, self.route.messages.as_ref(), ready) {
            Ok(Next::Wait) => {}
            Ok(Next::Again) => self.again.push(slot),
            Ok(Next::Until(due)) if link.wake == Some(due) => {}
            Ok(Next::Until(due)) => {
                link.wake = Some(due);
                self.timers.push(Reverse(Timer { due, slot, serial: link.serial }));
            }
            Ok(end @ (Next::Close | Next::Reset)) => {
                if end == Next::Reset {
                    let linger = Some(Duration::ZERO);
                    socket2::SockRef::from(&link.stream).set_linger(linger).map_err(Fault::Local)?;
                } else if let Some(tls) = &mut link.tls {
                    tls.send_close_notify();
                    // Whoever has gone already needs no farewell.
                    let _ = tls.write_tls(&mut link.stream);
                }
                self.release(slot);
                scenario.closed(false);
            }
            Err(fault) => {
                self.release(slot);
                return self.lose(scenario, fault);
            }
        }
        Ok(())
    }

    /// Closing the descriptor takes it out of the epoll set.
    fn release(&mut self, slot: usize) {
        self.links[slot] = None;
        self.free.push(slot);
    }

    fn lose<W: Scenario<State = S>>(&mut self, scenario: &mut W, fault: Fault) -> Result<(), Fault> {
        scenario.closed(true);
        self.losses.count += 1;
        if fault.is_final() || self.losses.count > self.route.max_errors {
            return Err(fault);
        }
        self.losses.first.get_or_insert(fault);
        Ok(())
    }
}

/// The handshake while it lasts, then the scenario.
fn step<W: Scenario>(
    scenario: &mut W,
    link: &mut Link<W::State>,
    messages: Option<&Messages>,
    ready: Ready,
) -> Result<Next, Fault> {
    match &mut link.stage {
        Stage::Open => return scenario.ready(link, ready),
        Stage::Connecting => match link.stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                return match link.stream.take_error() {
                    Ok(None) => Ok(Next::Wait),
                    Ok(Some(error)) | Err(error) => Err(Fault::socket(Phase::Greeting, error)),
                };
            }
            Err(error) => return Err(Fault::socket(Phase::Greeting, error)),
            Ok(_) => {}
        },
        Stage::Handshaking(handshake) => {
            let messages = link.messages.as_deref().or(messages).expect("a handshake has messages");
            if !handshake.advance(&mut Wire::of(&mut link.stream, link.tls.as_deref_mut()), messages)? {
                return scenario.handshaking(link);
            }
            if handshake.early() > 0 && !scenario.target_speaks_first() {
                return Err(Fault::Unexpected);
            }
        }
    }
    link.stage = Stage::Open;
    scenario.opened(link)
}

/// Maps a data-phase error.
pub(crate) fn data_fault(error: io::Error) -> Fault {
    Fault::socket(Phase::Data, error)
}
