//! Orders that wait for their turn.

use super::{ClerkOutcome, Controller, Waiting};
use crate::admin::OrderError;
use crate::control::deferred::Deferred;
use crate::limits;

impl Controller<'_> {
    /// Begins something, or has it wait for its turn.
    pub(super) fn in_turn(&mut self, order: Deferred) {
        match self.may_begin(&order) {
            true => self.begin(order),
            false if self.deferred.len() >= limits::ORDERS_DEFERRED_MAX => {
                let error = OrderError::Conflict("too many changes are under way".to_owned());
                order.into_asker().tell(Err(error));
            }
            // A reload before it would prepare listeners that stay closed.
            false if matches!(order, Deferred::Open(_)) => self.deferred.push_front(order),
            false => self.deferred.push_back(order),
        }
    }

    pub(super) fn may_begin(&self, order: &Deferred) -> bool {
        match order {
            Deferred::Reload(_) => {
                self.waiting.is_none() && self.settling.is_empty() && !self.handing.is_under_way()
            }
            Deferred::DryRun(_) => self.waiting.is_none(),
            Deferred::Open(_) => !self.waiting.as_ref().is_some_and(|waiting| waiting.changes),
        }
    }

    pub(super) fn begin(&mut self, order: Deferred) {
        match order {
            Deferred::Reload(asker) => self.reload(asker),
            Deferred::DryRun(asker) => {
                let preparation = self.server.preparation(self.source.clone());
                self.give(Waiting { asker, changes: false }, move || {
                    ClerkOutcome::Tried(preparation.try_out())
                });
            }
            Deferred::Open(asker) => self.open(asker),
        }
    }

    /// Begins what has its turn by now.
    pub(super) fn begin_deferred(&mut self) {
        while let Some(order) = self.deferred.pop_front() {
            if !self.may_begin(&order) {
                return self.deferred.push_front(order);
            }
            self.begin(order);
        }
    }

    /// Refuses what waits for its turn and is meant so.
    pub(super) fn refuse_deferred(&mut self, why: &str, meant: impl Fn(&Deferred) -> bool) {
        for order in std::mem::take(&mut self.deferred) {
            match meant(&order) {
                true => order.into_asker().tell(Err(OrderError::Conflict(why.to_owned()))),
                false => self.deferred.push_back(order),
            }
        }
    }
}
