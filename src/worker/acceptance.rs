//! The listeners of a worker: what their edges promised, whose turn it is, and pauses.
//!
//! A listener's edge that meets EMFILE gives no further event, so what an edge promised is remembered until
//! EAGAIN disproves it.
//!
//! A listener that closes takes its queue with it, and who is in it is reset. So one that goes is kept until its queue
//! is empty and the handshakes that had begun are over; nobody new comes to it meanwhile ([`Listener::refuse_new`]).

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::queue_watch::QueueWatch;
use super::queues::{InHand, Overload};
use super::snapshot::{Latch, NumberedListener, Snapshot};
use super::tokens::EventSource;
use crate::limits;
use crate::sys::listener::Listener;
use crate::sys::spare::SpareDescriptor;

/// The listeners of one worker and what their edges promised.
#[derive(Debug, Default)]
pub(super) struct Acceptance {
    pub(super) listeners: Vec<Accepting>,
    /// Whose turn it is: a flooded listener must not shut the others out.
    turn: usize,
    pub(super) paused_until: Option<Instant>,
    logged_at: Option<Instant>,
    /// When the connections that wait at the ceiling were last counted, and (`ceiling_said_at`) last logged.
    counted_at: Option<Instant>,
    ceiling_said_at: Option<Instant>,
    /// What is done where more come than are served.
    pub(super) overload: Overload,
    /// With what a client is taken where there is no descriptor for it.
    pub(super) reserve: Option<SpareDescriptor>,
}

/// A listener that is watched.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) number: u16,
    pub(super) socket: Arc<Listener>,
    /// Whether there may be a connection.
    pub(super) ready: bool,
    /// How it goes, where it goes.
    pub(super) leaving: Option<Departure>,
    /// Whether those that it gives tell how long they have stood.
    pub(super) timed: bool,
    /// From when on somebody in its queue may have stood for too long, and is to be asked.
    pub(super) asks_at: Instant,
    /// What is known of its queue, and how many places that has where it is kept short.
    pub(super) queue: QueueWatch,
    pub(super) narrowed: Option<u32>,
    /// Who was first in it when there was no place for another session.
    pub(super) in_hand: Option<InHand>,
}

/// How a listener goes.
#[derive(Clone, Debug)]
pub(super) struct Departure {
    /// What those go by who still come by it.
    pub(super) snapshot: Arc<Snapshot>,
    /// It closes once its queue is empty, and not before this.
    closes_at: Instant,
    /// It closes by then, whoever waits in its queue.
    gives_up_at: Instant,
    /// Let go of with it.
    _emptied: Vec<Arc<Latch>>,
}

impl Departure {
    /// Who comes by it until then goes by this; the latches are let go of once it is closed.
    pub(super) fn new(
        snapshot: &Arc<Snapshot>,
        now: Instant,
        gives_up_at: Instant,
        emptied: Vec<Arc<Latch>>,
    ) -> Departure {
        let closes_at = now + limits::HANDSHAKES_OVER;
        Departure { snapshot: Arc::clone(snapshot), closes_at, gives_up_at, _emptied: emptied }
    }
}

impl Acceptance {
    /// Has these watched. Nobody else may hold them: the last one who does keeps them open.
    pub(super) fn register(registry: &Registry, listeners: Vec<NumberedListener>) -> io::Result<Acceptance> {
        let mut acceptance = Acceptance::default();
        listeners.into_iter().try_for_each(|one| acceptance.watch(one, registry))?;
        Ok(acceptance)
    }

    fn watch(&mut self, one: NumberedListener, registry: &Registry) -> io::Result<()> {
        let NumberedListener { number, socket } = one;
        let token = EventSource::Listener(number).token();
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        // One without an address is of the unix family.
        let (timed, queue) = (socket.address().is_ok(), QueueWatch::default());
        let (leaving, narrowed, in_hand) = (None, None, None);
        self.listeners.push(Accepting {
            number,
            socket,
            ready: true,
            leaving,
            timed,
            asks_at: Instant::now() + limits::QUEUE_TARGET,
            queue,
            narrowed,
            in_hand,
        });
        Ok(())
    }

    /// What the worker in place of this one begins with: edges may have come that nobody has seen.
    pub(super) fn begin_anew(self) -> Acceptance {
        let anew = |here| Accepting { ready: true, ..here };
        Acceptance {
            listeners: self.listeners.into_iter().map(anew).collect(),
            turn: 0,
            paused_until: None,
            ..self
        }
    }

    /// Has these watched that are not yet. One that cannot be is closed, so that the kernel gives its share to the others.
    pub(super) fn open(&mut self, wanted: Vec<NumberedListener>, registry: &Registry) {
        for one in wanted {
            let number = one.number;
            if self.listeners.iter().all(|here| !here.is(&one))
                && let Err(error) = self.watch(one, registry)
            {
                tracing::error!(listener = number, %error, "a listener cannot be watched by one of the workers");
            }
        }
    }

    /// Lets those go that are not among these; one that goes already does so as it was said then. What another process has,
    /// too, is left to that at once, with its queue.
    pub(super) fn let_go(&mut self, wanted: &[NumberedListener], leaving: &Departure, registry: &Registry) {
        let most = self.overload.most;
        self.listeners.retain_mut(|here| {
            let goes = here.leaving.is_none() && !wanted.iter().any(|one| here.is(one));
            if goes && here.socket.is_lent() {
                here.widen(most);
                // The other's duplicate would keep it in the poll.
                let _ = registry.deregister(&mut SourceFd(&here.socket.as_raw_fd()));
                return false;
            }
            if goes {
                here.leaving = Some(leaving.clone());
            }
            true
        });
    }

    /// Closes those that go and have nothing more to wait for.
    pub(super) fn close_emptied(&mut self, now: Instant, registry: &Registry) {
        let stays = |here: &mut Accepting| {
            let stays = here.closes_at().is_none_or(|at| at > now);
            if !stays {
                let _ = registry.deregister(&mut SourceFd(&here.socket.as_raw_fd()));
            }
            stays
        };
        self.listeners.retain_mut(stays);
    }

    /// When the next one closes.
    pub(super) fn closes_at(&self) -> Option<Instant> {
        self.listeners.iter().filter_map(Accepting::closes_at).min()
    }

    /// Whether there are none any more.
    pub(super) fn is_over(&self) -> bool {
        self.listeners.is_empty()
    }

    pub(super) fn ready(&mut self, number: u16) {
        self.listeners.iter_mut().filter(|here| here.number == number).for_each(|here| here.ready = true);
    }

    /// Whether there may be a connection to take now.
    pub(super) fn eager(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && self.listeners.iter().any(Accepting::has_one)
    }

    /// When a pause ends.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.listeners.iter().any(Accepting::has_one))
    }

    /// How many connections wait while there is no place for them, where it is time to say so: once a minute.
    pub(super) fn waiting_at_ceiling(&mut self, now: Instant) -> Option<u32> {
        let since = |at: Option<Instant>, interval| at.is_none_or(|at| now - at >= interval);
        // That an edge came does not say that somebody waits still, where nobody is in hand.
        let is_known = self.listeners.iter().any(|here| here.in_hand.is_some());
        if !since(self.ceiling_said_at, limits::CEILING_LOG_INTERVAL)
            || !is_known && !since(self.counted_at, limits::PAUSE_LOG_INTERVAL)
        {
            return None;
        }
        self.counted_at = Some(now);
        let waiting = |here: &Accepting| here.socket.waiting() + u32::from(here.in_hand.is_some());
        let waiting = self.listeners.iter().map(waiting).sum();
        if waiting == 0 {
            return None;
        }
        self.ceiling_said_at = Some(now);
        Some(waiting)
    }

    /// When connections that wait at the ceiling may be logged again.
    pub(super) fn says_ceiling_at(&self) -> Option<Instant> {
        self.ceiling_said_at.map(|at| at + limits::CEILING_LOG_INTERVAL)
    }

    /// The next listener with a promise, each in its turn.
    pub(super) fn next_ready(&mut self) -> Option<usize> {
        let count = self.listeners.len();
        let at =
            (0..count).map(|step| (self.turn + step) % count).find(|&at| self.listeners[at].has_one())?;
        self.turn = at + 1;
        Some(at)
    }

    /// A turn has taken all that it may: the next one ends with another listener.
    pub(super) fn turn_on(&mut self) {
        self.turn += 1;
    }

    /// Pauses after a refusal of the kernel; true once a second, when it is time to say so.
    pub(super) fn pause(&mut self, now: Instant) -> bool {
        self.paused_until = Some(now + limits::ACCEPT_PAUSE);
        let say = self.logged_at.is_none_or(|at| now - at >= limits::PAUSE_LOG_INTERVAL);
        if say {
            self.logged_at = Some(now);
        }
        say
    }
}

impl Accepting {
    /// Whether it is this very socket: one that goes may have the number of one that comes.
    fn is(&self, one: &NumberedListener) -> bool {
        Arc::ptr_eq(&self.socket, &one.socket)
    }

    /// Whether there may be one to take.
    fn has_one(&self) -> bool {
        self.ready || self.in_hand.is_some()
    }

    /// Whether the first of a turn is asked how long it stood, and none is for a while: in a queue that was empty of late nobody
    /// has stood for too long.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let asks = now >= self.asks_at;
        if asks {
            self.asks_at = now + limits::QUEUE_ASK_INTERVAL;
        }
        asks
    }

    /// Its queue was found to be empty in a turn that began then.
    pub(super) fn note_empty(&mut self, now: Instant) {
        (self.ready, self.asks_at) = (false, now + limits::QUEUE_TARGET);
        self.queue.note_empty();
    }

    /// Gives its queue all its places again, of which there are so many.
    fn widen(&mut self, most: u32) {
        if self.narrowed.take().is_some() {
            let _ = self.socket.set_backlog(most);
        }
    }

    /// When it closes as things are.
    fn closes_at(&self) -> Option<Instant> {
        let Departure { closes_at, gives_up_at, .. } = self.leaving.as_ref()?;
        Some(if self.has_one() { *gives_up_at } else { *closes_at.min(gives_up_at) })
    }
}
