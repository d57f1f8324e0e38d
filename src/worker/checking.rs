//! Looks at servers of parents: through each that has a `check` a target is connected to, every so often, whoever uses it. One worker
//! does it for all; what it finds all of them see.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use super::core::Core;
use super::goal::{Caller, Goal, ReachStep};
use super::reaching::Reaching;
use super::tokens::{CHECK_BEHIND, idle_key};
use super::watch::Edge;
use crate::dns::Answer;
use crate::limits;
use crate::policy::parents::{ParentAsked, ParentCheck, Parents};
use crate::policy::{Allowed, ParentId};

/// The looks of a worker.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Of whom they are.
    parents: Option<Arc<Parents>>,
    /// Each server, and when its next look is due.
    due: Vec<(ParentId, usize, Instant)>,
    open: Vec<OpenCheck>,
    /// How many there have been.
    begun: u32,
}

/// One that has begun.
#[derive(Debug)]
struct OpenCheck {
    number: u32,
    reaching: Reaching,
}

impl Checks {
    /// Begins the looks that are due, and ends those whose time is up.
    pub(super) fn run(&mut self, core: &mut Core) {
        if core.number != 0 || self.parents.is_none() && core.snapshot.parents.is_none() {
            return;
        }
        self.follow(core);
        let now = core.now;
        let late: Vec<u32> =
            self.open.iter().filter(|one| one.reaching.next_at() <= now).map(|one| one.number).collect();
        for number in late {
            self.step(core, number, |reaching, core, caller| reaching.timer(core, caller));
        }
        for at in 0..self.due.len() {
            let (id, place, due) = self.due[at];
            if due <= now && self.open.len() < limits::PARENT_CHECKS_AT_A_TIME && !core.drains && !core.full()
            {
                self.begin(core, id, place);
                let every = self.check_of(id).map(|check| check.every);
                self.due[at].2 = now + every.unwrap_or(limits::PARENT_WARM_TIME);
            }
        }
    }

    /// When it has to run without an event.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let busy = self.open.len() >= limits::PARENT_CHECKS_AT_A_TIME;
        let due = self.due.iter().map(|(.., due)| *due).filter(|_| !busy);
        due.chain(self.open.iter().map(|one| one.reaching.next_at())).min()
    }

    /// An event of the socket of one of them.
    pub(super) fn event(&mut self, core: &mut Core, number: u32, socket_index: u8, edge: Edge) {
        self.step(core, number, |reaching, core, caller| reaching.event(core, caller, socket_index, edge));
    }

    /// The addresses of the server of one of them.
    pub(super) fn resolved(&mut self, core: &mut Core, number: u32, answer: &Answer) {
        self.step(core, number, |reaching, core, caller| reaching.resolved(core, caller, answer));
    }

    /// Takes note of which parents there are; those that are new are looked at at once.
    fn follow(&mut self, core: &Core) {
        let one = |parents: &Option<Arc<Parents>>| parents.as_ref().map(Arc::as_ptr);
        if one(&self.parents) == one(&core.snapshot.parents) {
            return;
        }
        self.parents = core.snapshot.parents.clone();
        let checked = self.parents.iter().flat_map(|parents| parents.iter());
        let checked = checked.filter(|(_, parent)| parent.spec().check.is_some());
        let before = std::mem::take(&mut self.due);
        self.due = checked
            .flat_map(|(id, parent)| (0..parent.spec().servers.len()).map(move |place| (id, place)))
            .map(|(id, place)| {
                let was = before.iter().find(|(of, at, _)| (*of, *at) == (id, place));
                (id, place, was.map_or(core.now, |(.., due)| *due))
            })
            .collect();
    }

    fn check_of(&self, id: ParentId) -> Option<&ParentCheck> {
        self.parents.as_ref()?.parent(id)?.spec().check.as_ref()
    }

    fn begin(&mut self, core: &mut Core, id: ParentId, place: usize) {
        let Some(parent) = self.parents.as_ref().and_then(|parents| parents.parent(id)) else { return };
        let Some(check) = &parent.spec().check else { return };
        let goal = Goal::Named(check.target.clone(), Allowed::default());
        let asked = ParentAsked { session: None, user: None, source: NOBODY, target: None };
        let limit = core.snapshot.config.timeouts.connect.min(check.every);
        let reaching = Reaching::new((id, Arc::clone(parent)), goal, &asked, core.now + limit, CHECK_BEHIND);
        self.begun = self.begun.wrapping_add(1);
        let number = self.begun;
        self.open.push(OpenCheck { number, reaching: reaching.at(place) });
        self.step(core, number, |reaching, core, caller| reaching.try_next(core, caller));
    }

    /// Goes on with one of them. Whatever comes of it has been noted where it was found.
    fn step(
        &mut self,
        core: &mut Core,
        number: u32,
        step: impl FnOnce(&mut Reaching, &mut Core, Caller) -> ReachStep,
    ) {
        let Some(at) = self.open.iter().position(|one| one.number == number) else { return };
        let caller = Caller { key: idle_key(number), client: None, ip: NOBODY, checks: true };
        let came = step(&mut self.open[at].reaching, core, caller);
        self.open[at].reaching.count_check(core, &came);
        match came {
            ReachStep::Pending => {}
            ReachStep::Stands(won) => {
                won.upstream.stream.reset_on_close();
                self.open.swap_remove(at);
            }
            ReachStep::Failed(_) | ReachStep::Direct => drop(self.open.swap_remove(at)),
        }
        core.looks = self.open.len();
    }
}

/// Nobody's address.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
