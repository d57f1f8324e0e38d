//! The shell: the only mio, clock and slab. One thread, one poll, one slab of connections.
//!
//! A turn: events (mail among them), sessions with more to do, timers, names, accepts, records. Whatever ends a connection
//! ends in [`Worker::close`], and leaves one access record.

mod accept;
mod acceptance;
mod answerable;
mod associated;
mod associating;
mod bind;
mod checking;
mod close;
mod connection;
mod context;
mod core;
mod dial;
mod dialling;
mod dispatching;
mod ending;
mod errno;
mod exchanging;
mod explaining;
mod explanations;
mod front;
mod goal;
mod handshake;
mod header_due;
mod kept;
mod learning;
mod leaving;
mod left;
mod limited;
mod linger;
mod listening;
mod login;
mod logins;
mod lookups;
mod mailbox;
mod memory_room;
mod naming;
mod next;
mod no_descriptor;
mod phases;
mod pools;
mod ports;
mod preface;
mod proxied;
mod queue_watch;
mod queues;
mod reaching;
mod records;
mod redialling;
mod refusals;
mod relaying;
mod resolving;
mod revoking;
mod server_talk;
mod setup;
mod short_queues;
mod slot;
mod snapshot;
mod talking;
mod through;
mod timers;
mod tls_client;
mod tls_reading;
mod tokens;
mod translators;
mod turns;
mod view;
mod waiting;
mod walking;
mod walks;
mod warm;
mod warming;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use logins::today;
pub use mailbox::{
    Drill, Killed, Listed, Mail, Mailbox, Reply, SupposedOutcome, SupposedTold, TalkersTold, Ticket, Walked,
};
pub use memory_room::MemoryRoom;
pub(crate) use relaying::liveness;
pub(crate) use resolving::resolve;
pub use setup::Setup;
pub use snapshot::{Ceilings, Changeover, Latch, ListenerName, NumberedListener, Snapshot};

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use self::acceptance::{Acceptance, Departure};
use self::checking::Checks;
use self::core::Core;
use self::explanations::Explanations;
use self::phases::Answered;
use self::setup::Inherited;
use self::slot::{Fate, Phase, Slot};
use self::tokens::{CHECK_SOCKET, EventSource, Key, TRANSLATORS_TICKET, check_of, supposed_of};
use self::turns::{TurnTimes, poll_once};
use self::walks::{Task, Walks};
use self::watch::Edge;
use crate::limits;
use crate::observe::{Activity, Counted, Latencies, Pulse};
use crate::outcome::Reason;
use crate::policy::Policy;
use crate::threads::survive;

/// A worker before it runs: its poll exists, so that others can send to it.
#[derive(Debug)]
pub struct Prepared {
    poll: Poll,
    mail: Receiver<Mail>,
    mailbox: Mailbox,
}

/// Makes the poll and the mailbox of a worker.
///
/// # Errors
/// What epoll_create or eventfd refused.
pub fn prepare() -> io::Result<Prepared> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), EventSource::Waker.token())?);
    let (sender, mail) = bounded(limits::MAILBOX_MAX);
    Ok(Prepared { poll, mail, mailbox: Mailbox::new(sender, waker) })
}

impl Prepared {
    /// The sending end of the mailbox.
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Runs on this thread until drained, and goes by this snapshot until there is another. A panic costs the sessions
    /// that are there, each with its record; the worker starts anew with the same listeners, whose queues are still
    /// there.
    ///
    /// # Errors
    /// What epoll refused.
    pub fn run(
        mut self,
        mut setup: Setup,
        snapshot: Arc<Snapshot>,
        policy: Arc<Policy>,
    ) -> io::Result<Latencies> {
        let acceptance = Acceptance::register(self.poll.registry(), std::mem::take(&mut setup.listeners))?;
        let mut inherited = Inherited::first(snapshot, policy, acceptance);
        loop {
            let mut worker = Worker::new(&self.poll, self.mailbox.clone(), &setup, inherited)?;
            if let Some(starting) = setup.starting.take() {
                let _ = starting.send(());
            }
            let outcome = survive(|| worker.run(&mut self.poll, &self.mail));
            setup.pulse.enter(Activity::Closing);
            worker.leave(outcome.is_none());
            inherited = worker.bequeath();
            match outcome {
                Some(result) => {
                    setup.pulse.enter(Activity::Ended);
                    return result.map(|()| inherited.latencies);
                }
                None if worker.drain_by.is_some() => {
                    setup.pulse.enter(Activity::Ended);
                    return Ok(inherited.latencies);
                }
                None => {}
            }
            assert!(!worker.ends_thread, "asked to");
            // The event of letters behind the one that was being read is spent.
            self.mailbox.wake();
        }
    }
}

/// The state of one worker between two turns.
#[derive(Debug)]
struct Worker {
    slots: Slab<Slot>,
    core: Core,
    /// The place in the slab behind the kept connection that made room last.
    made_room_at: usize,
    acceptance: Acceptance,
    /// What came to go by during this turn, for the next one.
    next_snapshot: Option<Changeover>,
    /// What others want told of all sessions, or done to them.
    walks: Walks,
    explanations: Explanations,
    checks: Checks,
    drain_by: Option<Instant>,
    /// The memory of the queue that was worked off last.
    spare_queue: Vec<Key>,
    /// Events that come behind the others under overload, those that wait for the next turn among them.
    later: VecDeque<(Token, Edge)>,
    pulse: Arc<Pulse>,
    turns: TurnTimes,
    /// How a test has the thread end, and each turn take longer.
    ends_thread: bool,
    slowed_by: Duration,
}

impl Worker {
    fn new(poll: &Poll, mailbox: Mailbox, setup: &Setup, mut inherited: Inherited) -> io::Result<Worker> {
        let mut worker = Worker {
            slots: Slab::new(),
            next_snapshot: inherited.next.take(),
            acceptance: std::mem::take(&mut inherited.acceptance),
            core: Core::new(poll.registry().try_clone()?, mailbox, setup, inherited),
            made_room_at: 0,
            walks: Walks::default(),
            explanations: Explanations::default(),
            checks: Checks::default(),
            drain_by: None,
            spare_queue: Vec::new(),
            later: VecDeque::new(),
            pulse: setup.pulse.clone(),
            turns: TurnTimes::default(),
            ends_thread: false,
            slowed_by: Duration::ZERO,
        };
        worker.watch();
        Ok(worker)
    }

    fn run(&mut self, poll: &mut Poll, mail: &Receiver<Mail>) -> io::Result<()> {
        let mut events = Events::with_capacity(limits::EVENTS_PER_TURN);
        loop {
            self.take_snapshot();
            self.pulse.enter(Activity::Waiting);
            self.wait(poll, &mut events)?;
            self.pulse.turn();
            self.core.now = Instant::now();
            self.core.tls_steps = 0;
            self.turns.begin(self.core.now);
            for event in &events {
                match (event.token(), Edge::of(event)) {
                    (token, edge) if self.comes_later(token) => self.later.push_back((token, edge)),
                    (token, edge) => self.dispatch(token, edge, mail),
                }
            }
            self.meet_later(mail);
            if !self.slowed_by.is_zero() {
                std::thread::sleep(self.slowed_by);
            }
            self.pulse.enter(Activity::Queue);
            self.pump_queued();
            self.search_ports();
            self.pulse.enter(Activity::Walks);
            self.walk();
            self.pulse.enter(Activity::Timers);
            self.expire_timers();
            self.pulse.enter(Activity::Names);
            self.deliver_answers();
            self.pulse.enter(Activity::Accepts);
            self.accept();
            self.pulse.enter(Activity::Records);
            let now = self.core.now;
            self.core.records.flush(now, false);
            self.core.refusals.flush(now);
            if let Some(by) = self.drain_by
                && (self.slots.is_empty() && self.acceptance.is_over() || by <= now)
            {
                self.close_all(Reason::Drained);
                return Ok(());
            }
        }
    }

    fn dispatch(&mut self, token: Token, edge: Edge, mail: &Receiver<Mail>) {
        match EventSource::of(token) {
            EventSource::Session { key, socket_index } => {
                self.with(key, |core, slot| phases::event(core, slot, socket_index, edge));
            }
            EventSource::Listener(number) => self.acceptance.ready(number),
            EventSource::Dns(exchange) => {
                self.core.lookups.event(exchange, edge.writable, &self.core.registry, self.core.now);
            }
            EventSource::Check(number) => self.checks.event(&mut self.core, number, CHECK_SOCKET, edge),
            EventSource::Warm(number) => self.core.warm_event(number, edge),
            EventSource::Waker => {
                for letter in mail.try_iter() {
                    self.read_mail(letter);
                }
            }
        }
    }

    /// Meets the events that come later, in their order, one in any case; the next turn goes on with the others. An edge that is
    /// met late may promise what was read meanwhile, which a read disproves.
    fn meet_later(&mut self, mail: &Receiver<Mail>) {
        let crowded = self.later.len() > limits::EVENTS_PER_TURN;
        while let Some((token, edge)) = self.later.pop_front() {
            self.dispatch(token, edge, mail);
            if !self.meets_more(crowded) {
                return;
            }
        }
    }

    fn read_mail(&mut self, letter: Mail) {
        match letter {
            Mail::Login(Ticket(key), verified) => {
                self.core.logins.learn(&verified, self.core.now);
                let answered = match self.core.logins.is_stale(&verified) {
                    true => Answered::StaleLogin(verified.credentials),
                    false => Answered::Login(verified.admitted.map(|admitted| admitted.identity)),
                };
                self.with(key, |core, slot| phases::answer(core, slot, answered));
            }
            Mail::Context(Ticket(key), exchanged) => {
                self.with(key, |core, slot| phases::answer(core, slot, Answered::Context(exchanged)));
            }
            Mail::Users(generation, changed) => self.core.logins.forget(generation, &changed),
            Mail::Snapshot(next) => {
                self.next_snapshot = Some(match self.next_snapshot.take() {
                    Some(earlier) => next.behind(earlier),
                    None => *next,
                });
            }
            Mail::Drain { by } => {
                self.drain_by = Some(by);
                let leaving = Departure::new(&self.core.snapshot, self.core.now, by, Vec::new());
                self.acceptance.let_go(&[], &leaving, &self.core.registry);
                self.core.drains = true;
                self.walks.end_kept(self.core.number);
            }
            Mail::Latencies(mut copy, reply) => {
                copy.merge(&self.core.latencies);
                reply.send(copy);
            }
            Mail::List { filter, reply } => self.begin_walk(Task::List { filter, reply }),
            Mail::Kill { which, reply } => self.begin_walk(Task::Kill { which, ended: 0, reply }),
            Mail::Talkers { reply } => self.begin_walk(Task::Talkers { reply: Some(reply) }),
            Mail::Explain(asked, reply) => self.explain(*asked, reply),
            Mail::EndSpent => self.walks.end_spent(self.core.number),
            Mail::Drill(Drill::Stall(span)) => std::thread::sleep(span),
            Mail::Drill(Drill::Slow(span)) => self.slowed_by = span,
            Mail::Drill(Drill::Run(act)) => act(),
            Mail::Drill(drill) => {
                self.core.fails_to_record = matches!(drill, Drill::PanicTwice);
                self.ends_thread = matches!(drill, Drill::EndThread);
                panic!("asked to")
            }
        }
    }

    /// Between two turns: the events of one turn are all met with the same snapshot.
    fn take_snapshot(&mut self) {
        let Some(next) = self.next_snapshot.take() else { return };
        let Changeover { snapshot, policy, listeners, taken, emptied } = next;
        // Behind the drain there are none, and none comes any more.
        let listeners = listeners.filter(|_| self.drain_by.is_none());
        if let Some(wanted) = &listeners {
            let (before, now) = (&self.core.snapshot, self.core.now);
            let patience = before.config.timeouts.drain.max(limits::HANDSHAKES_OVER);
            let leaving = Departure::new(before, now, now + patience, emptied);
            self.acceptance.let_go(wanted, &leaving, &self.core.registry);
        }
        if self.core.put_snapshot(snapshot, policy) && self.core.snapshot.revokes {
            self.walks.revoke(self.core.number);
        }
        self.watch();
        if let Some(wanted) = listeners {
            self.acceptance.open(wanted, &self.core.registry);
        }
        drop(taken);
    }

    /// What the worker in place of this one begins with.
    fn bequeath(&mut self) -> Inherited {
        let (snapshot, next) = (Arc::clone(&self.core.snapshot), self.next_snapshot.take());
        let policy = Arc::clone(&self.core.given_policy);
        let translators = self.core.translators.as_mut();
        let shown = translators.map(|translators| std::mem::take(&mut translators.shown)).unwrap_or_default();
        let latencies = std::mem::take(&mut self.core.latencies);
        let acceptance = std::mem::take(&mut self.acceptance).begin_anew();
        Inherited {
            snapshot,
            policy,
            next,
            first_serial: self.core.next_serial,
            latencies,
            shown,
            acceptance,
        }
    }

    /// Runs `act` on a session that is still there, and closes it where that is the outcome.
    fn with(&mut self, key: Key, act: impl FnOnce(&mut Core, &mut Slot) -> Fate) {
        let Some(slot) = self.slots.get_mut(key.index()).filter(|slot| slot.connection.key == key) else {
            return;
        };
        if let Fate::Close(reason) = act(&mut self.core, slot) {
            self.close(key.index(), reason);
        }
    }

    fn pump_queued(&mut self) {
        let next = std::mem::take(&mut self.spare_queue);
        let mut queue = std::mem::replace(&mut self.core.queue, next);
        for key in queue.drain(..) {
            self.with(key, |core, slot| {
                slot.connection.queued = false;
                phases::resume(core, slot)
            });
        }
        self.spare_queue = queue;
    }

    /// Lets those that look for a port go on, within what all of them have together in one turn.
    fn search_ports(&mut self) {
        let mut left = limits::PORT_TRIES_PER_TURN;
        // One that is put back has made all of its tries, so that this ends.
        while left > 0
            && let Some(key) = self.core.searches.pop()
        {
            let share = left.min(limits::PORT_TRIES_AT_ONCE);
            let mut tries = share;
            self.with(key, |core, slot| phases::search(core, slot, &mut tries));
            left -= share - tries;
        }
    }

    fn expire_timers(&mut self) {
        let since_start = self.core.now - self.core.start;
        while let Some(index) = self.core.held_back.pop_due(since_start) {
            let Some(slot) = self.slots.get(index) else { continue };
            let key = slot.connection.key;
            self.with(key, phases::resume);
        }
        while let Some(index) = self.core.wheel.pop_due(since_start) {
            let Some(slot) = self.slots.get(index) else { continue };
            let key = slot.connection.key;
            self.with(key, phases::timer);
        }
        self.core.expire_warm();
        self.checks.run(&mut self.core);
    }

    fn deliver_answers(&mut self) {
        self.core.ask_for_translators();
        self.core.lookups.expire(&self.core.registry, self.core.now);
        while let Some((ticket, answer)) = self.core.lookups.answers.pop() {
            if ticket == TRANSLATORS_TICKET {
                self.core.learn_translators(&answer);
                continue;
            }
            if let Some(number) = check_of(ticket) {
                self.checks.resolved(&mut self.core, number, &answer);
                continue;
            }
            if let Some(number) = supposed_of(ticket) {
                self.explain_resolved(number, answer);
                continue;
            }
            let (key, lookup) = Key::from_ticket(ticket);
            self.with(key, |core, slot| match lookup {
                0 => phases::answer(core, slot, Answered::Addresses(answer)),
                lookup => phases::datagram_answer(core, slot, lookup, answer),
            });
        }
        while let Some((ticket, answer)) = self.core.lookups.pointers.pop() {
            let (key, _) = Key::from_ticket(ticket);
            self.with(key, |core, slot| phases::answer(core, slot, Answered::Name(answer)));
        }
        self.core.note_names();
    }

    /// Lets go of everything but the listeners. Each piece by itself: what panics over one of them, and there may be
    /// more where the first panic came from, takes no other along.
    fn leave(&mut self, panicked: bool) {
        if panicked {
            self.core.counters.count(Counted::WorkerPanic);
            let (worker, sessions) = (self.core.number, self.slots.len());
            survive(|| tracing::error!(worker, sessions, "a worker panicked and is replaced"));
        }
        self.close_all(Reason::Internal);
        survive(|| self.core.records.flush(self.core.now, true));
    }

    fn close_all(&mut self, reason: Reason) {
        let live: Vec<usize> = self.slots.iter().map(|(index, _)| index).collect();
        for index in live {
            // What lingers has ended for a reason of its own.
            let reason = match &self.slots[index].phase {
                Phase::Linger(linger) => linger.reason,
                _ => reason,
            };
            survive(|| self.close(index, reason));
        }
    }
}
