//! The side of the resolver that faces the servers: what goes out on which exchange, and what a
//! message that comes in does to the question it answers.

use std::time::{Duration, Instant};

use rand::RngExt;

use super::Resolver;
use crate::dns::job::{Job, JobPhase, QuestionOutcome, Try};
use crate::dns::message::{self, Response};
use crate::dns::places::JobKey;
use crate::dns::{ExchangeId, ResolverAction, Settings, Transport};
use crate::limits::{
    DNS_ATTEMPTS_MAX, DNS_NAMES_IN_FLIGHT, DNS_NAMES_LINGERING, DNS_SECONDS, DNS_STRAYS, DNS_TRY_MAX,
};

impl Resolver {
    pub(super) fn find(&self, exchange: ExchangeId) -> Option<(JobKey, usize)> {
        let key = *self.exchanges.get(&exchange)?;
        let at = |attempt: &Option<Try>| attempt.as_ref().is_some_and(|attempt| attempt.exchange == exchange);
        Some((key, self.jobs[key].tries.iter().position(at)?))
    }

    pub(super) fn attempt(&mut self, key: JobKey, slot: usize) -> Option<&mut Try> {
        self.jobs.get_mut(key)?.tries[slot].as_mut()
    }

    /// Takes one message from the server of a try.
    pub(super) fn message(&mut self, key: JobKey, slot: usize, bytes: &[u8], now: Instant) {
        let job = &mut self.jobs[key];
        let pending = job.pending_on(slot);
        let Some(attempt) = job.tries[slot].as_mut() else { return };
        let (server, transport) = (attempt.server, attempt.transport);
        let judged = message::id_of(bytes).and_then(|id| {
            let index = pending.iter().copied().find(|&index| job.questions[index].id == id)?;
            let kind = job.questions[index].kind;
            Some((index, message::decode(bytes, id, &job.wire, kind, transport)?))
        });
        let Some((index, reply)) = judged else {
            attempt.strays += 1;
            if attempt.strays > DNS_STRAYS {
                self.distrust(key, slot, now);
                self.advance(key, now);
            }
            return;
        };
        attempt.silent = false;
        self.servers.answered(server);
        self.server_answers += 1;
        if pending.len() == 1 {
            self.close(key, slot);
        }
        let question = &mut self.jobs[key].questions[index];
        match reply {
            Response::Truncated => self.ask(key, vec![index], server, Transport::Tcp, now),
            Response::Unable if question.edns => {
                question.plain |= 1 << server;
                self.ask(key, vec![index], server, transport, now);
            }
            Response::Unable | Response::Failed => {
                question.refusals += 1;
                self.retry(key, vec![index], now);
            }
            Response::Found { .. }
            | Response::Named { .. }
            | Response::NoData { .. }
            | Response::NxDomain { .. } => {
                question.outcome = QuestionOutcome::of(reply, now);
                match question.edns {
                    true => self.servers.took_edns(server),
                    false if question.plain & (1 << server) != 0 => self.servers.took_plain(server, now),
                    false => {}
                }
            }
        }
        self.advance(key, now);
    }

    /// Gives up a try to which too much came that answers nothing. Over UDP somebody guesses: TCP is out of a guesser's
    /// reach.
    fn distrust(&mut self, key: JobKey, slot: usize, now: Instant) {
        let Some(&mut Try { transport, server, .. }) = self.attempt(key, slot) else { return };
        match transport {
            Transport::Tcp => self.abandon(key, slot, true, now),
            Transport::Udp => {
                let pending = self.jobs[key].pending_on(slot);
                self.close(key, slot);
                self.ask(key, pending, server, Transport::Tcp, now);
            }
        }
    }

    /// Ends a try that has no answers: out of time, or (`refused`) unreachable.
    pub(super) fn abandon(&mut self, key: JobKey, slot: usize, refused: bool, now: Instant) {
        let pending = self.jobs[key].pending_on(slot);
        let Some(&mut Try { transport, server, silent, .. }) = self.attempt(key, slot) else { return };
        self.close(key, slot);
        // A server that answers one family, or UDP but not TCP, is not dead.
        if silent && transport == Transport::Udp {
            self.servers.failed(server, now);
        }
        for &index in &pending {
            let question = &mut self.jobs[key].questions[index];
            question.refusals += usize::from(refused);
            if silent && !refused && question.edns {
                // What it did not answer may have been EDNS.
                question.plain |= 1 << server;
            }
        }
        self.retry(key, pending, now);
    }

    /// Asks the next server about these questions, together if they have been to the same ones; or
    /// gives them up.
    pub(super) fn retry(&mut self, key: JobKey, mut indices: Vec<usize>, now: Instant) {
        let state = |job: &Job, index: usize| (job.questions[index].tried, job.questions[index].round);
        if let [first, second] = indices[..]
            && state(&self.jobs[key], first) != state(&self.jobs[key], second)
        {
            self.retry(key, vec![first], now);
            indices = vec![second];
        }
        let servers = self.servers.len();
        let lingering = matches!(self.jobs[key].phase, JobPhase::Lingering { .. });
        indices.retain(|&index| {
            let question = &mut self.jobs[key].questions[index];
            if question.tried.count_ones() as usize == servers {
                (question.tried, question.round) = (0, question.round + 1);
            }
            if lingering || question.refusals >= servers || question.round >= self.settings.rounds() {
                question.give_up();
            }
            question.is_pending()
        });
        let Some(&first) = indices.first() else { return };
        let Some(server) = self.servers.pick(self.jobs[key].questions[first].tried, now) else { return };
        for &index in &indices {
            self.jobs[key].questions[index].tried |= 1 << server;
        }
        let transport = if self.settings.tcp { Transport::Tcp } else { Transport::Udp };
        self.ask(key, indices, server, transport, now);
    }

    /// Opens an exchange and sends these questions on it; all of the job's where there is no socket for a second one.
    fn ask(
        &mut self,
        key: JobKey,
        mut indices: Vec<usize>,
        server: usize,
        transport: Transport,
        now: Instant,
    ) {
        let is_second = self.jobs[key].tries.iter().any(Option::is_some);
        if is_second && self.seconds >= self.settings.second_sockets() {
            (0..2).for_each(|slot| self.close(key, slot));
            indices = self.jobs[key].pending();
            for &index in &indices {
                self.jobs[key].questions[index].tried |= 1 << server;
            }
        }
        let exchange = self.exchange();
        let address = self.servers.address(server);
        let job = &mut self.jobs[key];
        let Some(slot) = job.tries.iter().position(Option::is_none) else { return };
        let Some(question) = indices.first().map(|&index| &job.questions[index]) else { return };
        let last = question.round + 1 >= self.settings.rounds()
            && question.tried.count_ones() as usize == self.servers.len();
        let patient = now + self.settings.patience(question.round);
        let deadline = match job.phase {
            JobPhase::Asking { give_up, .. } if last => patient.max(give_up),
            _ => patient,
        };
        self.seconds += usize::from(job.tries.iter().any(Option::is_some));
        job.tries[slot] = Some(Try::new(exchange, transport, server, deadline));
        self.exchanges.insert(exchange, key);
        self.actions.push_back(ResolverAction::Open { exchange, transport, server: address });
        let mut taken = None;
        for index in indices {
            let mut id = self.rng.random::<u16>();
            while taken == Some(id) {
                id = self.rng.random();
            }
            taken = Some(id);
            let question = &mut job.questions[index];
            (question.id, question.slot) = (id, slot);
            question.edns = question.plain & (1 << server) == 0 && self.servers.takes_edns(server, now);
            let payload = message::encode(id, &job.wire, question.kind, question.edns, transport);
            self.actions.push_back(ResolverAction::Send { exchange, payload });
        }
    }

    fn exchange(&mut self) -> ExchangeId {
        loop {
            self.next_exchange = self.next_exchange.wrapping_add(1);
            if !self.exchanges.contains_key(&ExchangeId(self.next_exchange)) {
                return ExchangeId(self.next_exchange);
            }
        }
    }

    pub(super) fn close(&mut self, key: JobKey, slot: usize) {
        if let Some(attempt) = self.jobs[key].tries[slot].take() {
            self.seconds -= usize::from(self.jobs[key].tries.iter().any(Option::is_some));
            self.exchanges.remove(&attempt.exchange);
            self.actions.push_back(ResolverAction::Close { exchange: attempt.exchange });
        }
    }
}

impl Settings {
    pub(super) fn names_in_flight(&self) -> usize {
        self.names.clamp(1, DNS_NAMES_IN_FLIGHT)
    }

    pub(super) fn names_lingering(&self) -> usize {
        (self.spare / 3).min(DNS_NAMES_LINGERING)
    }

    fn second_sockets(&self) -> usize {
        (self.spare - self.names_lingering()).min(DNS_SECONDS)
    }

    fn rounds(&self) -> u32 {
        self.attempts.clamp(1, DNS_ATTEMPTS_MAX)
    }

    /// The time of a try in this round.
    fn patience(&self, round: u32) -> Duration {
        let first = self.try_timeout.max(Duration::from_millis(1));
        first.saturating_mul(1 << round.min(DNS_ATTEMPTS_MAX)).min(DNS_TRY_MAX)
    }
}
