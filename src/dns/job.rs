//! One name that is being resolved: who waits, what was asked, what has come.
//!
//! Plain state with the rules that need nothing else; [`super::resolver`] moves it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::rr::Name;

use super::message::{RecordKind, Response};
use super::places::NamePlace;
use super::servers::Tried;
use super::{DnsData, DnsError, ExchangeId, Learnt, Prefer, Transport, sort};
use crate::limits::{DNS_FAILURE_TTL, DNS_PARTIAL_TTL, DNS_TCP_MESSAGE};
use crate::proto::address::Name as HostName;
use crate::shares::Source;

/// One lookup that waits for a name. The serial tells it from an earlier one with the same ticket.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingLookup {
    pub(super) ticket: u64,
    pub(super) serial: u64,
    pub(super) deadline: Instant,
}

/// How far a name has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobPhase {
    /// Waits for a place: it has not been asked for yet, or has given its place away.
    Queued,
    /// Servers are being asked until this time; then the questions start anew if somebody still waits.
    Asking { place: NamePlace, give_up: Instant },
    /// Nobody waits; what is under way may still come, for the cache. `answered` once the waiters had
    /// the answer: such a job takes no further waiter, as its records are for those alone.
    Lingering { until: Instant, answered: bool },
}

/// What one question came to. The times are those until which it may be cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum QuestionOutcome {
    Found { addresses: Vec<IpAddr>, until: Instant },
    Named { name: HostName, until: Instant },
    NoData { until: Instant },
    NxDomain { until: Instant },
    Failed(DnsError),
}

impl QuestionOutcome {
    /// The outcome that a reply gives, if it is one that ends the question.
    pub(super) fn of(reply: Response, now: Instant) -> Option<QuestionOutcome> {
        match reply {
            Response::Found { addresses, ttl } => {
                Some(QuestionOutcome::Found { addresses, until: now + ttl })
            }
            Response::Named { name, ttl } => Some(QuestionOutcome::Named { name, until: now + ttl }),
            Response::NoData { ttl } => Some(QuestionOutcome::NoData { until: now + ttl }),
            Response::NxDomain { ttl } => Some(QuestionOutcome::NxDomain { until: now + ttl }),
            Response::Truncated | Response::Unable | Response::Failed => None,
        }
    }
}

/// What a name is asked for, and what has been tried.
#[derive(Debug)]
pub(super) struct RecordQuestion {
    pub(super) kind: RecordKind,
    pub(super) outcome: Option<QuestionOutcome>,
    /// The ID of the query that is under way, and the slot of its try.
    pub(super) id: u16,
    pub(super) slot: usize,
    /// Servers asked in this round, rounds before it, and servers that said no or could not be reached.
    pub(super) tried: Tried,
    pub(super) round: u32,
    pub(super) refusals: usize,
    /// Whether the query under way has EDNS.
    pub(super) edns: bool,
    /// Servers that gave no answer to this question with EDNS: they are asked without.
    pub(super) plain: Tried,
}

impl RecordKind {
    /// What is asked for to reach a name.
    pub(super) fn addresses(prefer: Prefer) -> &'static [RecordKind] {
        match prefer {
            Prefer::Ipv4Only => &[RecordKind::V4],
            Prefer::Ipv6Only => &[RecordKind::V6],
            Prefer::HappyEyeballs | Prefer::Ipv4 | Prefer::Ipv6 => &[RecordKind::V4, RecordKind::V6],
        }
    }
}

impl RecordQuestion {
    fn new(kind: RecordKind) -> RecordQuestion {
        RecordQuestion {
            kind,
            outcome: None,
            id: 0,
            slot: 0,
            tried: 0,
            round: 0,
            refusals: 0,
            edns: false,
            plain: 0,
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.outcome.is_none()
    }

    /// Ends the question without an answer.
    pub(super) fn give_up(&mut self) {
        let silent = self.refusals == 0;
        self.outcome =
            Some(QuestionOutcome::Failed(if silent { DnsError::Timeout } else { DnsError::ServerFailure }));
    }

    /// Forgets what was tried, for waiters who came later or for other servers.
    pub(super) fn restart(&mut self) {
        (self.tried, self.round, self.refusals, self.plain) = (0, 0, 0, 0);
    }
}

/// One exchange with one server, for one question or both.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) exchange: ExchangeId,
    pub(super) transport: Transport,
    pub(super) server: usize,
    pub(super) deadline: Instant,
    /// Nothing has come from the server that answers a question.
    pub(super) silent: bool,
    /// Messages that answered none.
    pub(super) strays: u32,
    /// The part of a TCP message that has come, its length prefix included.
    inbox: Vec<u8>,
}

impl Try {
    pub(super) fn new(exchange: ExchangeId, transport: Transport, server: usize, deadline: Instant) -> Try {
        Try { exchange, transport, server, deadline, silent: true, strays: 0, inbox: Vec::new() }
    }

    /// Takes what it needs from a piece of the stream, up to the end of one message, and gives that
    /// message without its prefix when it is whole. Never holds more than one message.
    pub(super) fn take(&mut self, piece: &mut &[u8]) -> Option<Vec<u8>> {
        self.fill(2, piece)?;
        let length = usize::from(u16::from_be_bytes([self.inbox[0], self.inbox[1]]));
        self.fill(2 + length, piece)?;
        debug_assert!(length <= DNS_TCP_MESSAGE);
        let mut message = std::mem::take(&mut self.inbox);
        message.drain(..2);
        Some(message)
    }

    fn fill(&mut self, goal: usize, piece: &mut &[u8]) -> Option<()> {
        let wanted = goal.saturating_sub(self.inbox.len()).min(piece.len());
        let (taken, rest) = piece.split_at(wanted);
        self.inbox.extend_from_slice(taken);
        *piece = rest;
        (self.inbox.len() >= goal).then_some(())
    }
}

/// A name and everything about its resolution.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: Arc<str>,
    pub(super) wire: Name,
    pub(super) phase: JobPhase,
    /// Who asked first: it counts against that source's share of names.
    pub(super) owner: Source,
    /// While it waits for a place: in which queues, and under which number there.
    pub(super) queued: HashMap<Source, u64>,
    /// In the order of their deadlines; those who left may still stand in it.
    pub(super) waiters: VecDeque<WaitingLookup>,
    /// How many waiters are still there.
    pub(super) waiting: usize,
    pub(super) questions: Vec<RecordQuestion>,
    /// What is under way: each pending question is on one of these.
    pub(super) tries: [Option<Try>; 2],
    /// A has come and AAAA has until then (RFC 8305 section 3).
    pub(super) hold: Option<Instant>,
    /// The time under which the job stands among the timers.
    pub(super) wake: Option<Instant>,
}

impl Job {
    pub(super) fn new(name: &str, wire: Name, kinds: &[RecordKind], owner: Source) -> Job {
        Job {
            name: name.into(),
            wire,
            phase: JobPhase::Queued,
            owner,
            queued: HashMap::new(),
            waiters: VecDeque::new(),
            waiting: 0,
            questions: kinds.iter().map(|&kind| RecordQuestion::new(kind)).collect(),
            tries: [None, None],
            hold: None,
            wake: None,
        }
    }

    /// Whether it is the name of an address that is asked for.
    pub(super) fn asks_for_a_name(&self) -> bool {
        self.questions.iter().any(|question| question.kind == RecordKind::Pointer)
    }

    /// When the job has to be looked at next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let phase = match self.phase {
            JobPhase::Queued => None,
            JobPhase::Asking { give_up, .. } => Some(give_up),
            JobPhase::Lingering { until, .. } => Some(until),
        };
        let waiter = self.waiters.front().map(|waiter| waiter.deadline);
        let hold = self.hold.filter(|_| matches!(self.phase, JobPhase::Asking { .. }));
        let tries = self.tries.iter().flatten().map(|attempt| attempt.deadline);
        tries.chain(phase).chain(waiter).chain(hold).min()
    }

    /// Which questions (by index) have no outcome yet.
    pub(super) fn pending(&self) -> Vec<usize> {
        (0..self.questions.len()).filter(|&index| self.questions[index].is_pending()).collect()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.questions.iter().all(|question| !question.is_pending())
    }

    /// Which questions (by index) are pending on a slot.
    pub(super) fn pending_on(&self, slot: usize) -> Vec<usize> {
        let on = |question: &RecordQuestion| question.is_pending() && question.slot == slot;
        (0..self.questions.len()).filter(|&index| on(&self.questions[index])).collect()
    }

    /// Whether A is settled while AAAA is not. The other way round is not enough: where there is no
    /// IPv6, an answer without the A records would fail a dial that they save, so A has its full time.
    /// An NXDOMAIN for A counts as settled; one for AAAA alone may be a server's mistake (RFC 4074
    /// section 4.2).
    pub(super) fn may_answer_without_v6(&self) -> bool {
        self.questions.iter().any(|question| {
            question.kind == RecordKind::V4
                && matches!(
                    question.outcome,
                    Some(QuestionOutcome::Found { .. } | QuestionOutcome::NxDomain { .. })
                )
        })
    }

    pub(super) fn has_addresses(&self) -> bool {
        self.questions.iter().any(|question| matches!(question.outcome, Some(QuestionOutcome::Found { .. })))
    }

    /// The answer that the outcomes amount to, and until when it may be cached. Without addresses one
    /// question that failed makes it a failure: the other one's NXDOMAIN may be a server's mistake (RFC 4074
    /// section 4.2). A pending question counts as one that failed, but for AAAA where the name itself does not
    /// exist; what that may still change is not remembered for long.
    pub(super) fn answer(&self, prefer: Prefer, now: Instant) -> (Learnt, Instant) {
        if self.has_addresses() {
            return self.merge(prefer, now);
        }
        let settled = self.may_answer_without_v6();
        let soon = now + DNS_FAILURE_TTL;
        let (mut error, mut failure, mut until) = (DnsError::NoAddress, None, None::<Instant>);
        for question in &self.questions {
            let end = match &question.outcome {
                Some(QuestionOutcome::Named { name, until }) => {
                    return (Ok(DnsData::Name(name.clone())), *until);
                }
                Some(QuestionOutcome::Found { until, .. } | QuestionOutcome::NoData { until }) => *until,
                Some(QuestionOutcome::NxDomain { until }) => {
                    error = DnsError::NotFound;
                    *until
                }
                None if settled => soon,
                Some(QuestionOutcome::Failed(DnsError::ServerFailure)) => {
                    failure = Some(DnsError::ServerFailure);
                    soon
                }
                Some(QuestionOutcome::Failed(_)) | None => {
                    failure.get_or_insert(DnsError::Timeout);
                    soon
                }
            };
            until = Some(until.map_or(end, |earlier| earlier.min(end)));
        }
        (Err(failure.unwrap_or(error)), until.unwrap_or(now))
    }

    /// The addresses of all families. Their own times to live bound the entry; that of a missing
    /// family does too, but not below [`DNS_PARTIAL_TTL`], as a name with a short negative time would
    /// otherwise be asked for again and again although its addresses are good. Servers that never answer AAAA are
    /// common, a question for A that failed is an accident: it is asked again soon.
    fn merge(&self, prefer: Prefer, now: Instant) -> (Learnt, Instant) {
        let floor: Duration = DNS_PARTIAL_TTL;
        let mut addresses = Vec::new();
        let mut until: Option<Instant> = None;
        for question in &self.questions {
            let end = match &question.outcome {
                Some(QuestionOutcome::Found { addresses: found, until }) => {
                    addresses.extend_from_slice(found);
                    *until
                }
                Some(QuestionOutcome::NoData { until } | QuestionOutcome::NxDomain { until }) => {
                    (*until).max(now + floor)
                }
                Some(QuestionOutcome::Failed(_)) | None if question.kind == RecordKind::V4 => {
                    now + DNS_FAILURE_TTL
                }
                Some(QuestionOutcome::Failed(_) | QuestionOutcome::Named { .. }) | None => now + floor,
            };
            until = Some(until.map_or(end, |earlier| earlier.min(end)));
        }
        (Ok(DnsData::Addresses(sort(&addresses, prefer).into())), until.unwrap_or(now))
    }
}
