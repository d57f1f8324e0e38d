//! What would come of a request, and why: one worker says it, by its own policy and its own resolver.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use mio::Waker;
use serde_json::{Value, json};

use super::limited::{account_json, terms_json};
use super::parents::servers_of;
use super::query::Query;
use crate::admin::answer::HttpAnswer;
use crate::admin::status::HttpStatus;
use crate::auth::SessionParameters;
use crate::config::Choice;
use crate::observe::ParentTold;
use crate::policy::accounts::{HolderNames, LimitKind};
use crate::policy::explain::Explained;
use crate::policy::rule_names::{DEFAULT_NAME, GUARD_NAME, RuleNames};
use crate::policy::rules::{RuleId, RuleSet, RuleStep};
use crate::policy::{DecidedBy, Decision, NoPool, Verdict};
use crate::session::{ExplainedEgress, ExplainedLimit, ExplainedParent, Explanation, LimitJudges, Supposed};
use crate::worker::{Mail, Mailbox, Reply, SupposedOutcome, SupposedTold};

/// The request that the parameters suppose.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn read(text: &str) -> Result<Supposed, String> {
    let query = Query::read(text, &Supposed::FIELDS)?;
    Supposed::read(|field| query.text(field))
}

/// A question that is under way.
#[derive(Debug)]
pub(super) struct Explaining {
    answer: Receiver<SupposedTold>,
    until: Instant,
}

impl Explaining {
    /// Asks the first worker that takes letters; by these rules, where a time is supposed at which they say something else than
    /// now.
    ///
    /// # Errors
    /// None does.
    pub(super) fn begin(
        supposed: Supposed,
        rules: Option<RuleSet>,
        workers: &[Mailbox],
        waker: &Arc<Waker>,
        until: Instant,
    ) -> Result<Explaining, HttpAnswer> {
        let (sender, answer) = bounded(1);
        let reply = Reply::new(sender, Some(Arc::clone(waker)));
        let letter = || Mail::Explain(Box::new((supposed.clone(), rules.clone())), reply.clone());
        match workers.iter().any(|worker| worker.offer(letter())) {
            true => Ok(Explaining { answer, until }),
            false => Err(HttpAnswer::error(HttpStatus::UNAVAILABLE, "no worker takes questions")),
        }
    }

    /// The answer once it is there.
    pub(super) fn go_on(
        &mut self,
        names: &HolderNames,
        parents: impl FnOnce() -> Vec<ParentTold>,
        now: Instant,
    ) -> Option<HttpAnswer> {
        match self.answer.try_recv() {
            Ok(SupposedTold::Told(outcome)) => {
                let SupposedOutcome { mut told, names: rules, policy, egress, limits: plan, sources } =
                    *outcome;
                told.tell_egress(egress.as_deref(), now);
                told.tell_steps(&policy);
                told.tell_limits(LimitJudges { plan: plan.as_deref(), sources: sources.as_deref(), now });
                let names = HolderNames { rules, ..names.clone() };
                let mut shown = explanation_json(&told, &names, true);
                if let Some(parent) = &told.parent {
                    shown["parent"]["servers"] = servers_of(&parents(), &parent.name);
                }
                Some(HttpAnswer::json(HttpStatus::OK, &shown))
            }
            Ok(SupposedTold::Wrong(what)) => Some(HttpAnswer::error(HttpStatus::BAD_REQUEST, what)),
            Ok(SupposedTold::Busy) => {
                let busy = HttpAnswer::error(HttpStatus::UNAVAILABLE, "too many others ask for names now");
                Some(busy.with("retry-after", 1))
            }
            Err(TryRecvError::Empty) if now < self.until => None,
            Err(_) => Some(HttpAnswer::error(HttpStatus::UNAVAILABLE, "the worker does not answer")),
        }
    }

    /// When it answers at the latest.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

/// An explanation as the endpoint tells it, and as `outflow explain --json` does. What is used of limits a running server alone
/// knows.
pub(crate) fn explanation_json(told: &Explanation, names: &HolderNames, is_running: bool) -> Value {
    let limits: Vec<Value> = told.limits.iter().map(|limit| limit_json(limit, names, is_running)).collect();
    let limit = told.refused_by.filter(|_| is_running).and_then(|limit| names.limit_name(limit));
    let names = &*names.rules;
    let Explanation { supposed, first, unresolved, addresses, reply, .. } = told;
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|(address, explained)| {
            let mut one = of_explained(explained, names);
            one["address"] = address.to_string().into();
            one["strays"] = told.strays(explained).into();
            one
        })
        .collect();
    let deciding = told.deciding().map(|explained| decision_of(&explained.verdict));
    json!({
        "user": supposed.identity.user().map(|name| &**name),
        "parameters": supposed.parameters.as_deref().map(parameters_json),
        "client": supposed.client,
        "listener": supposed.listener,
        "command": supposed.command.name(),
        "target": supposed.target.to_string(),
        "at": supposed.at.map(|time| time.to_string()),
        "verdict": if told.is_allowed() { "allow" } else { "deny" },
        "rule": deciding.map(|decision| decided_by(decision, names)),
        "would_deny": deciding.and_then(|decision| decision.would_deny()).map(|rule| name_of(rule, names)),
        "reply": reply.code(),
        "egress": told.egress.as_ref().map(egress_json),
        "egress_refused": deciding.and_then(|decision| decision.no_pool()).map(NoPool::name),
        "parent": told.parent.as_ref().map(parent_json),
        "limit": limit.map(|name| &**name),
        "limits": limits,
        "dns": unresolved.as_ref().map(ToString::to_string),
        "before": first.as_ref().map(|explained| of_explained(explained, names)),
        "addresses": addresses,
    })
}

/// What the name says of the session, beside whose it is.
fn parameters_json(parameters: &SessionParameters) -> Value {
    let SessionParameters { typed, session, ttl, tags, pool } = parameters;
    let tags: serde_json::Map<String, Value> =
        tags.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    json!({
        "user_typed": typed,
        "session": session,
        "ttl_s": ttl.map(|ttl| ttl.as_secs()),
        "tags": tags,
        "pool": pool,
    })
}

/// The pool that the session would leave from; `address` is null where another may have any, `pool` where it is not there.
fn egress_json(egress: &ExplainedEgress) -> Value {
    match egress {
        ExplainedEgress::Missing => {
            json!({"pool": null, "select": null, "address": null, "entries": null, "serving": null, "missing_interface": null,
                   "leads": false})
        }
        ExplainedEgress::Pool { name, select, address, entries, serving, missing_interface, leads } => {
            json!({"pool": **name, "select": select.name(), "address": address, "entries": entries, "serving": serving,
                   "missing_interface": missing_interface.as_deref(), "leads": leads})
        }
    }
}

/// The parent that the session would go through. How its servers stand a running server alone knows.
fn parent_json(parent: &ExplainedParent) -> Value {
    let ExplainedParent { name, told_name, takes, fallback } = parent;
    json!({"parent": **name, "resolves": told_name, "takes": takes, "fallback": fallback.name(), "servers": null})
}

/// A limit that the request would come under; `holder` is null where the session has an account of its own.
fn limit_json(limit: &ExplainedLimit, names: &HolderNames, is_running: bool) -> Value {
    let ExplainedLimit { limit, holder, terms, fill, refuses } = limit;
    let mut shown = json!({
        "limit": names.limit_name(*limit).map(|name| &**name),
        "holder": holder.as_ref().and_then(|holder| names.text(holder)),
        "terms": terms_json(terms),
    });
    if is_running {
        let used = fill.as_ref().map(|fill| account_json(fill, names));
        for field in ["fill", "sessions", "udp_associations", "parts"] {
            shown[field] = used.as_ref().map(|used| used[field].clone()).into();
        }
        shown["refuses"] = refuses.map(|reached| LimitKind::from(reached).name()).into();
    }
    shown
}

fn of_explained(explained: &Explained, names: &RuleNames) -> Value {
    let decision = decision_of(&explained.verdict);
    let rules = explained.steps.as_ref().map(|steps| -> Vec<Value> {
        steps.iter().map(|(rule, step)| of_step(*rule, *step, names)).collect()
    });
    json!({
        "verdict": if decision.allowed { "allow" } else { "deny" },
        "rule": decided_by(decision, names),
        "egress_refused": decision.no_pool().map(NoPool::name),
        "guard": explained.guard.map(|refusal| refusal.to_string()),
        "would_deny": decision.would_deny().map(|rule| name_of(rule, names)),
        "rules": rules,
    })
}

/// One rule: `result` says whether it decides, and `key` which condition does not hold.
fn of_step(rule: RuleId, step: RuleStep, names: &RuleNames) -> Value {
    let (result, key) = match step {
        RuleStep::Decides => ("decides", None),
        RuleStep::Reports => ("reports", None),
        RuleStep::Open => ("open", None),
        RuleStep::Fails { key, negated } => {
            let twin = if negated { "not_" } else { "" };
            ("no_match", Some(format!("{twin}{}", key.as_str())))
        }
    };
    json!({"rule": name_of(rule, names), "result": result, "key": key})
}

fn decision_of(verdict: &Verdict) -> Decision {
    match verdict {
        Verdict::Allow(allowed) => allowed.decision,
        Verdict::Deny(_, decision) => *decision,
    }
}

fn decided_by(decision: Decision, names: &RuleNames) -> &str {
    match decision.by {
        DecidedBy::Guard => GUARD_NAME,
        DecidedBy::Rule(rule) | DecidedBy::NoPool(_, rule) => name_of(rule, names),
    }
}

fn name_of(rule: RuleId, names: &RuleNames) -> &str {
    names.of(rule).map_or(DEFAULT_NAME, |name| name)
}
