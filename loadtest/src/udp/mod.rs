//! Datagrams: associations that send numbered datagrams to the UDP echo, in a closed loop with so many
//! under way each, or in an open loop at a rate over all. It has an event loop of its own: what happens to
//! a datagram has little to do with what happens to a connection.
//!
//! Lost, late, doubled and reordered datagrams are counted, for UDP allows all of them. A datagram that
//! differs from what was sent, or was never sent, ends the run.

mod association;
mod datagram;
mod flight;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::fault::{Fault, Phase};
use crate::handshake::Messages;
use crate::meter::Meter;
use crate::pacer::Alarm;
use crate::progress::{Done, Line, ProgressUnit};
use crate::record::{Delivery, Latency, Record};
use crate::scenario::starts::Extent;
use crate::scope::Scope;
use crate::sys::{self, Batch};
use association::{Association, AssociationOpener};
pub(crate) use datagram::STAMP_BYTES;
use datagram::{Codec, Stamp};
use flight::Landing;

/// Datagrams of one system call.
const BATCH: usize = 64;
/// Batches that one association receives in a turn before the others have theirs.
const BATCHES_PER_TURN: usize = 4;
const EVENTS_PER_TURN: usize = 1024;
/// The loop looks at its deadlines at least this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);
/// The token of the alarm; no association reaches it.
const ALARM: Token = Token(usize::MAX);

/// How many datagrams are sent when.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Drive {
    /// Closed loop: so many under way per association.
    Window(usize),
    /// Open loop: so many a second over all associations.
    Rate(f64),
}

/// What the run is to do.
pub(crate) struct UdpPlan {
    /// The SOCKS5 server; without one, the target is called directly.
    pub(crate) server: Option<SocketAddr>,
    pub(crate) target: SocketAddr,
    /// Stands for the target's address in the header.
    pub(crate) target_name: Option<String>,
    /// Where datagrams may go, whatever the server says.
    pub(crate) scope: Scope,
    /// Of UDP ASSOCIATE.
    pub(crate) messages: Option<Messages>,
    pub(crate) sources: u32,
    pub(crate) patience: Duration,
    pub(crate) associations: u32,
    /// Bytes of a payload.
    pub(crate) size: usize,
    pub(crate) drive: Drive,
    /// Datagrams leave joined, for the kernel to cut.
    pub(crate) joined: bool,
    pub(crate) loss_after: Duration,
    pub(crate) warmup: Duration,
    pub(crate) extent: Extent,
}

/// Where the run stands.
#[derive(Clone, Copy)]
enum UdpStage {
    Warmup,
    Measure {
        since: Instant,
    },
    /// Nothing is sent any more; what is under way still has its time.
    Drain,
}

/// The run and its tally.
pub(crate) struct Udp {
    plan: UdpPlan,
    meter: Meter,
    run: u64,
    began: Instant,
    stage: UdpStage,
    /// How long nothing has come back while something was under way.
    silent_for: Duration,
    /// Until when that is counted.
    looked_at: Instant,
    associations: Vec<Association>,
    codec: Codec,
    outbox: Batch,
    inbox: Batch,
    /// Back within the interval.
    echoed: u64,
    delivery: Delivery,
    dropped_before: u32,
    round_trips: Latency,
}

impl Udp {
    pub(crate) fn new(plan: UdpPlan, meter: Meter) -> Self {
        let began = Instant::now();
        let name = plan.target_name.as_deref();
        let codec = match plan.server {
            Some(_) => Codec::relayed(plan.target, name, plan.size),
            None => Codec::direct(plan.target, plan.size),
        };
        // Longer echoes are to be seen, not cut: a header may come back longer, and so may a lie.
        let inbox = Batch::new(BATCH, codec.len() + 64);
        Self {
            meter,
            run: u64::from(std::process::id()) << 32 | u64::from(plan.target.port()),
            began,
            stage: UdpStage::Warmup,
            silent_for: Duration::ZERO,
            looked_at: began,
            associations: Vec::new(),
            outbox: Batch::new(BATCH, codec.len()),
            inbox,
            codec,
            echoed: 0,
            delivery: Delivery::default(),
            dropped_before: 0,
            round_trips: Latency::new(),
            plan,
        }
    }

    pub(crate) fn record(&self) -> Record {
        let share = self.delivery.lost as f64 / (self.delivery.sent.max(1)) as f64;
        Record {
            connections: self.plan.associations.into(),
            cost: self.meter.cost(),
            delivery: Some(Delivery { loss_share: share, ..self.delivery }),
            round_trip: self.round_trips.taken(),
            ..Record::default()
        }
        .with_datagrams(self.echoed)
    }

    /// Opens the associations, runs to the end of the plan and waits for what is under way.
    pub(crate) fn run(&mut self) -> Result<(), Fault> {
        let mut line = Line::new();
        let ended = self.drive(&mut line);
        line.clear();
        ended
    }

    fn drive(&mut self, line: &mut Line) -> Result<(), Fault> {
        let mut poll = Poll::new().map_err(Fault::Local)?;
        let mut alarm = Alarm::new(poll.registry(), ALARM).map_err(Fault::Local)?;
        self.open(&poll)?;
        self.began = Instant::now();
        self.looked_at = self.began;
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut again = Vec::new();
        loop {
            let now = Instant::now();
            if self.turn(now)? {
                return Ok(());
            }
            line.show(now, || Some(self.progress()));
            for index in 0..self.associations.len() {
                self.send(index, now)?;
            }
            let sleep = if again.is_empty() { self.sleep(&mut alarm)? } else { Duration::ZERO };
            match poll.poll(&mut events, Some(sleep)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(Fault::Local)?,
            }
            let mut due = std::mem::take(&mut again);
            for event in events.iter().filter(|event| event.token() != ALARM) {
                let index = event.token().0 / 2;
                match event.token().0 % 2 {
                    0 => {
                        self.associations[index].blocked &= !event.is_writable();
                        due.push(index);
                    }
                    _ => self.associations[index].check_control()?,
                }
            }
            for index in due {
                if self.receive(index)? {
                    again.push(index);
                }
            }
        }
    }

    fn progress(&self) -> Done {
        Done { count: self.echoed, of: self.plan.extent.count(), unit: ProgressUnit::Datagrams }
    }

    fn open(&mut self, poll: &Poll) -> Result<(), Fault> {
        for index in 0..self.plan.associations {
            let mut association = match (self.plan.server, &self.plan.messages) {
                (Some(server), Some(messages)) => {
                    let (sources, patience) = (self.plan.sources, self.plan.patience);
                    let scope = &self.plan.scope;
                    AssociationOpener { server, messages, scope, sources, patience }.open(index)?
                }
                _ => Association::direct(self.plan.target)?,
            };
            let (registry, token) = (poll.registry(), index as usize * 2);
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut association.socket, Token(token), both).map_err(Fault::Local)?;
            if let Some(control) = &mut association.control {
                registry.register(control, Token(token + 1), Interest::READABLE).map_err(Fault::Local)?;
            }
            self.associations.push(association);
        }
        Ok(())
    }

    /// Deadlines and losses; `true` at the end of the run.
    fn turn(&mut self, now: Instant) -> Result<bool, Fault> {
        let waits = |association: &Association| association.blocked || association.flight.out() > 0;
        if self.associations.iter().any(waits) {
            self.silent_for += now.saturating_duration_since(self.looked_at);
        }
        self.looked_at = now;
        for association in &mut self.associations {
            let from = association.counts_from;
            let lost = &mut self.delivery.lost;
            association.flight.expire(now, self.plan.loss_after, |number| *lost += u64::from(number >= from));
        }
        match self.stage {
            UdpStage::Warmup if now.duration_since(self.began) >= self.plan.warmup => {
                self.begin()?;
            }
            UdpStage::Measure { since } if self.is_over(since, now) => {
                self.meter.stop()?;
                self.stage = UdpStage::Drain;
            }
            UdpStage::Drain if self.associations.iter().all(|association| association.flight.out() == 0) => {
                self.delivery.dropped_by_client = (self.dropped()? - self.dropped_before).into();
                return if self.echoed == 0 { Err(Fault::Silent) } else { Ok(true) };
            }
            _ => {}
        }
        let patience = self.plan.patience;
        if self.silent_for > patience { Err(Fault::Stalled(patience)) } else { Ok(false) }
    }

    fn begin(&mut self) -> Result<(), Fault> {
        // First: it takes its time, and what arrives meanwhile is not yet counted.
        self.meter.start()?;
        let now = Instant::now();
        for association in &mut self.associations {
            association.counts_from = association.flight.next();
        }
        self.delivery = Delivery::default();
        self.round_trips = Latency::new();
        self.echoed = 0;
        self.dropped_before = self.dropped()?;
        self.stage = UdpStage::Measure { since: now };
        Ok(())
    }

    fn is_over(&self, since: Instant, now: Instant) -> bool {
        match self.plan.extent {
            Extent::Count(count) => self.echoed >= count,
            Extent::Time(limit) => now.duration_since(since) >= limit,
        }
    }

    fn dropped(&self) -> Result<u32, Fault> {
        let each = self.associations.iter().map(|association| sys::dropped(association.socket.as_fd()));
        each.sum::<io::Result<u32>>().map_err(Fault::Local)
    }

    /// When datagram `number` of association `index` is to be sent; now in a closed loop.
    fn intended(&self, index: usize, number: u64, now: Instant) -> Instant {
        match self.plan.drive {
            Drive::Window(_) => now,
            Drive::Rate(rate) => {
                let all = number * self.associations.len() as u64 + index as u64;
                self.began + Duration::from_secs_f64(all as f64 / rate)
            }
        }
    }

    /// How long the loop may sleep; sets the alarm for the next datagram of an open loop.
    fn sleep(&self, alarm: &mut Alarm) -> Result<Duration, Fault> {
        if matches!(self.plan.drive, Drive::Window(_)) || matches!(self.stage, UdpStage::Drain) {
            return Ok(LONGEST_SLEEP);
        }
        let now = Instant::now();
        let waiting = self.associations.iter().enumerate().filter(|(_, each)| !each.blocked);
        let next = waiting.map(|(index, each)| self.intended(index, each.flight.next(), now)).min();
        match next {
            Some(due) if due <= now => Ok(Duration::ZERO),
            Some(due) => alarm.set(due).map(|()| LONGEST_SLEEP).map_err(Fault::Local),
            None => Ok(LONGEST_SLEEP),
        }
    }

    /// Sends what is due of one association, a batch at a time.
    fn send(&mut self, index: usize, now: Instant) -> Result<(), Fault> {
        while !matches!(self.stage, UdpStage::Drain) && !self.associations[index].blocked {
            let count = self.compose(index, now);
            let association = &mut self.associations[index];
            let mut sent = 0;
            while sent < count && !association.blocked {
                let socket = association.socket.as_fd();
                let outcome = match self.plan.joined {
                    true => self.outbox.send_joined(socket, sent, count),
                    false => self.outbox.send(socket, sent, count),
                };
                match outcome {
                    Ok(more) => sent += more,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => association.blocked = true,
                    Err(error) => return Err(Fault::socket(Phase::Data, error)),
                }
            }
            for _ in 0..sent {
                let intended = self.intended(index, self.associations[index].flight.next(), now);
                self.associations[index].flight.launch(intended, now);
            }
            if matches!(self.stage, UdpStage::Measure { .. }) {
                self.delivery.sent += sent as u64;
            }
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Writes the next datagrams of one association into the outbox and says how many.
    fn compose(&mut self, index: usize, now: Instant) -> usize {
        let flight = &self.associations[index].flight;
        let first = flight.next();
        let most = match self.plan.drive {
            Drive::Window(window) => flight.room().min(window.saturating_sub(flight.out())),
            Drive::Rate(_) => flight.room(),
        };
        let mut count = 0;
        while count < most.min(BATCH) {
            let number = first + count as u64;
            let intended = self.intended(index, number, now);
            if intended > now {
                break;
            }
            let at_ns = intended.duration_since(self.began).as_nanos() as u64;
            let stamp = Stamp { run: self.run, association: index as u32, number, at_ns };
            self.codec.write(stamp, self.outbox.set(count, self.codec.len()));
            count += 1;
        }
        count
    }

    /// Takes what is there for one association and, in a closed loop, sends as much anew; `true` when the
    /// budget ended first.
    fn receive(&mut self, index: usize) -> Result<bool, Fault> {
        for _ in 0..BATCHES_PER_TURN {
            let count = match self.inbox.receive(self.associations[index].socket.as_fd()) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(Fault::socket(Phase::Data, error)),
            };
            let now = Instant::now();
            (self.silent_for, self.looked_at) = (Duration::ZERO, now);
            for at in 0..count {
                self.land(index, at, now)?;
            }
            if matches!(self.plan.drive, Drive::Window(_)) {
                self.send(index, now)?;
            }
            if count < BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn land(&mut self, index: usize, at: usize, now: Instant) -> Result<(), Fault> {
        let stamp = self.codec.read(self.inbox.datagram(at))?;
        if (stamp.run, stamp.association as usize) != (self.run, index) {
            return Err(Fault::Unexpected);
        }
        let association = &mut self.associations[index];
        let counts = u64::from(stamp.number >= association.counts_from);
        match association.flight.land(stamp.number) {
            Landing::InTime { intended, reordered } => {
                if stamp.at_ns != intended.duration_since(self.began).as_nanos() as u64 {
                    return Err(Fault::Unexpected);
                }
                self.echoed += u64::from(!matches!(self.stage, UdpStage::Drain));
                if counts > 0 {
                    self.round_trips.record(now.duration_since(intended));
                    self.delivery.reordered += u64::from(reordered);
                }
            }
            Landing::Late => self.delivery.late += counts,
            Landing::Duplicate => self.delivery.duplicates += counts,
            Landing::Unknown => return Err(Fault::Unexpected),
        }
        Ok(())
    }
}
