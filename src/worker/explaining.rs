//! Requests that an operator supposes: what would come of them here, by this worker's policy and its resolver.

use std::sync::Arc;

use super::Worker;
use super::explanations::OpenExplanation;
use super::mailbox::{Reply, SupposedOutcome, SupposedTold};
use super::tokens::supposed_ticket;
use crate::dns::Answer;
use crate::limits;
use crate::policy::rules::RuleSet;
use crate::policy::{Incoming, Policy};
use crate::session::{Explanation, Judges, Supposed};
use crate::shares;

impl Worker {
    /// Says what would come of a request, at once or once its name is resolved; by other rules than those in effect, if there are
    /// some.
    pub(super) fn explain(
        &mut self,
        (supposed, rules): (Supposed, Option<RuleSet>),
        reply: Reply<SupposedTold>,
    ) {
        let snapshot = &self.core.snapshot;
        let supposed = match supposed.with_typed_name(snapshot.username.as_deref()) {
            Ok(supposed) => supposed,
            Err(what) => {
                reply.send(SupposedTold::Wrong(what));
                return;
            }
        };
        let called = snapshot.config.listener_calls();
        let number = |(called, nth): (String, usize)| Some((called, snapshot.listening.get(nth)?.number));
        let listeners: Vec<_> = called.filter_map(number).collect();
        let taken = |incoming: Incoming| {
            let table = snapshot.listener_table(incoming.listener);
            snapshot.config.takes(table, supposed.command).map(|()| incoming)
        };
        let incoming = match supposed.incoming(&listeners).and_then(taken) {
            Ok(incoming) => incoming,
            Err(what) => {
                reply.send(SupposedTold::Wrong(what));
                return;
            }
        };
        let client = shares::Source::from(incoming.client.ip());
        let policy = self.policy_by(rules.as_ref());
        let (told, name) = Explanation::begin(supposed, incoming, self.judges(&policy));
        let Some(name) = name else { return self.tell(told, policy, &reply) };
        if self.explanations.open.len() >= limits::EXPLANATIONS_MAX {
            reply.send(SupposedTold::Busy);
            return;
        }
        self.explanations.begun += 1;
        let (number, told) = (self.explanations.begun, Box::new(told));
        self.explanations.open.push(OpenExplanation { number, told, rules, reply });
        let (registry, now) = (&self.core.registry, self.core.now);
        let ticket = supposed_ticket(number);
        if let Some(answer) = self.core.lookups.lookup_beside(name.as_str(), client, ticket, registry, now) {
            self.explain_resolved(number, answer);
        }
    }

    /// The answer to the name of one of them.
    pub(super) fn explain_resolved(&mut self, number: u64, answer: Answer) {
        let Some(place) = self.explanations.open.iter().position(|open| open.number == number) else {
            return;
        };
        let OpenExplanation { mut told, rules, reply, .. } = self.explanations.open.swap_remove(place);
        let policy = self.policy_by(rules.as_ref());
        told.resolved(answer, self.judges(&policy));
        self.tell(*told, policy, &reply);
    }

    /// The policy in effect, or the same with these rules.
    fn policy_by(&self, rules: Option<&RuleSet>) -> Arc<Policy> {
        match rules {
            Some(rules) => Arc::new(Policy::clone(&self.core.policy).with_rules(Some(rules.clone()))),
            None => Arc::clone(&self.core.policy),
        }
    }

    fn judges<'a>(&'a self, policy: &'a Policy) -> Judges<'a> {
        Judges { policy, own_ports: &self.core.own_ports, parents: self.core.snapshot.parents.as_deref() }
    }

    fn tell(&self, told: Explanation, policy: Arc<Policy>, reply: &Reply<SupposedTold>) {
        let snapshot = &self.core.snapshot;
        let (limits, sources) = (snapshot.limits.clone(), snapshot.sources.clone());
        let egress = snapshot.egress.clone();
        let names = Arc::clone(&snapshot.rule_names);
        // Nobody need be there to hear it.
        reply.send(SupposedTold::Told(Box::new(SupposedOutcome {
            told,
            names,
            policy,
            egress,
            limits,
            sources,
        })));
    }
}
