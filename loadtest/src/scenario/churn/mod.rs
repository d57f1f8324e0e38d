//! A soak: sessions that exchange, half-close, pause, reset, are killed or leave during the handshake, in a
//! random mixture that a seed decides. Every byte is checked with a keyed stream in both directions.
//!
//! What the client cannot see, the origin does; it is asked for its tally when the last session has ended.
//! One byte that is wrong, doubled or missing fails the run.

mod audit;
mod life;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario};
use crate::keyed::script::Wrong;
use crate::meter::Meter;
use crate::progress::Done;
use crate::record::{Churned, Latency, Record};
use crate::scenario::starts::{Gate, Starts};
use crate::seeded::mix;
pub(crate) use life::Action;
use life::{Life, Step};

/// One read.
const READ_BYTES: usize = 64 << 10;
/// What one session may move in a turn before the others have theirs.
const BUDGET_BYTES: usize = 256 << 10;

/// The scenario and its tally.
pub(crate) struct Churn {
    actions: Vec<Action>,
    seed: u64,
    /// Tells this run from others at the same origin.
    run: u64,
    patience: Duration,
    gate: Gate,
    meter: Meter,
    inbox: Vec<u8>,
    /// By the place of the action in `Action::ALL`.
    done: [u64; Action::ALL.len()],
    bytes: u64,
    resets_as_fins: u64,
    foreign: u64,
    handshakes: Latency,
}

impl Churn {
    /// `actions` are at least one; a session that moves nothing for `patience` is lost.
    pub(crate) fn new(
        starts: Starts,
        actions: Vec<Action>,
        seed: u64,
        patience: Duration,
        meter: Meter,
    ) -> Self {
        let run = mix(chance_of_the_moment());
        Self {
            actions,
            seed,
            run,
            patience,
            gate: Gate::new(starts),
            meter,
            inbox: vec![0; READ_BYTES],
            done: [0; Action::ALL.len()],
            bytes: 0,
            resets_as_fins: 0,
            foreign: 0,
            handshakes: Latency::new(),
        }
    }

    /// Asks the origin at `target` what it has seen. What is wrong there is the run's fault, or is said
    /// instead of `ended` where that is only a consequence.
    pub(crate) fn audit(&mut self, target: SocketAddr, ended: Result<(), Fault>) -> Result<(), Fault> {
        let (seed, whole) = (self.seed, self.whole());
        let wait = if ended.is_ok() { self.patience } else { Duration::ZERO };
        let told = audit::ask(target, self.run, wait, |tally| tally.live == 0 && tally.whole >= whole);
        let tally = match (told, &ended) {
            (Ok(tally), _) => tally,
            (Err(fault), Ok(())) => return Err(fault),
            // The origin is gone, which the run has shown already.
            (Err(_), Err(_)) => return ended,
        };
        self.resets_as_fins += tally.fins;
        let foreign = tally.first.is_some_and(|first| first.wrong.is_foreign());
        self.foreign += u64::from(foreign);
        match (tally.first, ended) {
            (Some(finding), _) if foreign => Err(Fault::Keyed { seed, finding }),
            (_, Err(fault)) => Err(fault),
            (Some(finding), Ok(())) => Err(Fault::Keyed { seed, finding }),
            (None, Ok(())) => match tally.live + whole.saturating_sub(tally.whole) {
                0 => Ok(()),
                sessions => Err(Fault::Unfinished { seed, sessions }),
            },
        }
    }

    /// Sessions of which the origin must have seen every byte and both ends.
    fn whole(&self) -> u64 {
        let orderly = [Action::Exchange, Action::Pause, Action::ClientHalfClose, Action::OriginHalfClose];
        orderly.iter().map(|action| self.count(*action)).sum()
    }

    fn count(&self, action: Action) -> u64 {
        self.done[action as usize]
    }

    fn sessions(&self) -> u64 {
        self.done.iter().sum()
    }

    pub(crate) fn record(&self) -> Record {
        Record {
            cost: self.meter.cost(),
            seed: Some(self.seed),
            handshake: self.handshakes.taken(),
            churned: Some(Churned {
                exchanges: self.count(Action::Exchange),
                pauses: self.count(Action::Pause),
                client_half_closes: self.count(Action::ClientHalfClose),
                origin_half_closes: self.count(Action::OriginHalfClose),
                client_resets: self.count(Action::ClientReset),
                client_kills: self.count(Action::ClientKill),
                origin_resets: self.count(Action::OriginReset),
                leaves: self.count(Action::Leave),
                foreign_bytes: self.foreign,
                resets_as_fins: self.resets_as_fins,
            }),
            ..self.gate.record()
        }
        .with_sessions(self.sessions())
        .with_bytes(self.bytes)
    }

    /// Something is wrong with a session.
    fn fault(&mut self, life: &Life, wrong: Wrong) -> Fault {
        self.foreign += u64::from(wrong.is_foreign());
        Fault::Keyed { seed: self.seed, finding: life.finding(wrong) }
    }

    /// What the loop is to do; a session that neither moves nor sleeps is watched.
    fn next(&mut self, link: &mut Link<Life>, step: Step) -> Result<Next, Fault> {
        let life = &mut link.state;
        match step {
            Step::More => Ok(Next::Again),
            Step::Sleep(until) => {
                life.watched_until = None;
                Ok(Next::Until(until))
            }
            Step::End { reset } => {
                self.done[life.action as usize] += 1;
                self.bytes += life.moved();
                self.resets_as_fins += u64::from(life.reset_came_as_fin);
                Ok(if reset { Next::Reset } else { Next::Close })
            }
            Step::Wait => {
                let now = Instant::now();
                if life.watched_until.is_some_and(|until| now < until) {
                    return Ok(Next::Wait);
                }
                let due = life.moved_at + self.patience;
                if due <= now {
                    return Err(self.fault(&link.state, Wrong::Silence));
                }
                life.watched_until = Some(due);
                Ok(Next::Until(due))
            }
        }
    }
}

/// Differs from run to run.
fn chance_of_the_moment() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64) ^ (u64::from(std::process::id()) << 32)
}

/// A seed for a run that was given none.
pub(crate) fn any_seed() -> u64 {
    // Short enough to be typed again.
    mix(chance_of_the_moment()) % 1_000_000
}

impl Scenario for Churn {
    type State = Life;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        self.gate.admit(now)
    }

    fn next_start(&self) -> Option<Instant> {
        self.gate.next()
    }

    fn dialled(&mut self, link: &mut Link<Life>) {
        link.state = Life::draw(&self.actions, self.seed, self.run, self.gate.started(), Instant::now());
    }

    fn handshaking(&mut self, link: &mut Link<Life>) -> Result<Next, Fault> {
        let step = link.state.leaves().unwrap_or(Step::Wait);
        self.next(link, step)
    }

    fn opened(&mut self, link: &mut Link<Life>) -> Result<Next, Fault> {
        self.handshakes.record(link.since.elapsed());
        self.ready(link, Ready::ALL)
    }

    fn ready(&mut self, link: &mut Link<Life>, _ready: Ready) -> Result<Next, Fault> {
        if let Some(until) = link.state.asleep_until(Instant::now()) {
            return Ok(Next::Until(until));
        }
        let step = match link.state.step(&mut link.stream, &mut self.inbox, BUDGET_BYTES) {
            Ok(step) => step,
            Err(wrong) => return Err(self.fault(&link.state, wrong)),
        };
        self.next(link, step)
    }

    fn closed(&mut self, _failed: bool) {
        self.gate.leave();
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        self.gate.turn(now, &mut self.meter)
    }

    fn progress(&self) -> Option<Done> {
        Some(self.gate.progress(self.sessions()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_place() {
        for (at, action) in Action::ALL.iter().enumerate() {
            assert_eq!(*action as usize, at, "{action:?}");
        }
    }

    #[test]
    fn what_the_origin_found_comes_before_its_consequences() {
        assert!(Wrong::Byte.is_foreign() && Wrong::Extra.is_foreign() && Wrong::Script.is_foreign());
        assert!(!Wrong::Missing.is_foreign() && !Wrong::Reset.is_foreign() && !Wrong::Silence.is_foreign());
    }
}
