//! The limits that a supposed session would come under, and how they stand for it.

use std::time::Instant;

use super::explanation::{ExplainedLimit, Explanation};
use super::failure::Failure;
use super::socks5::rep_of;
use crate::policy::accounts::{
    AccountFill, AccountHolder, Exceeded, LimitId, LimitKind, LimitPlan, LimitTerms, Per, Reached,
    SessionKind,
};
use crate::policy::explain::Explained;
use crate::policy::rules::RuleId;
use crate::policy::sources::Sources;
use crate::policy::{Subject, Verdict};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;
use crate::shares::Source;

/// By what sessions are limited.
#[derive(Clone, Copy, Debug)]
pub struct LimitJudges<'a> {
    /// The limits in effect; `None`: there are none.
    pub plan: Option<&'a LimitPlan>,
    /// The sessions that sources have from their first moment on, where these are limited.
    pub sources: Option<&'a Sources>,
    /// The moment.
    pub now: Instant,
}

impl Explanation {
    /// Says which limits the request would come under, were it allowed, and whether one of them would refuse it.
    pub fn tell_limits(&mut self, judges: LimitJudges<'_>) {
        if !self.is_allowed() {
            return;
        }
        let supposed = self.supposed.clone();
        let subject = supposed.subject(self.incoming);
        let (beginning, later) = self.deciding_rules();
        let told = judges.tell(&subject, &beginning);
        let refused = told.iter().find_map(|one| Some(Exceeded { limit: one.limit, reached: one.refuses? }));
        if let Some(exceeded) = refused.filter(|_| self.reply == Rep::Succeeded) {
            self.reply = rep_of(&Failure::Limit(exceeded));
            self.refused_by = Some(exceeded.limit);
        }
        // What an association sends comes under further ones: it is dropped where they refuse it.
        let further = judges.tell(&subject, &later).into_iter();
        let further = further.filter(|one| told.iter().all(|before| before.limit != one.limit));
        let further: Vec<ExplainedLimit> = further.collect();
        self.limits = told.into_iter().chain(further).collect();
    }

    /// The rules under whose limits it begins, and those under whose limits it comes with its datagrams.
    fn deciding_rules(&self) -> (Vec<RuleId>, Vec<RuleId>) {
        let rule_of = |explained: &Explained| match &explained.verdict {
            Verdict::Allow(allowed) => allowed.decision.by.rule(),
            Verdict::Deny(..) => None,
        };
        let first: Vec<RuleId> = self.first.iter().filter_map(rule_of).collect();
        let of_addresses: Vec<RuleId> =
            self.addresses.iter().filter_map(|(_, explained)| rule_of(explained)).collect();
        match self.supposed.command {
            RequestCommand::UdpAssociate => (first, of_addresses),
            // What is said of a name alone decides nothing.
            _ if !self.addresses.is_empty() => (of_addresses, Vec::new()),
            _ => (first, Vec::new()),
        }
    }
}

impl LimitJudges<'_> {
    fn tell(&self, subject: &Subject<'_>, rules: &[RuleId]) -> Vec<ExplainedLimit> {
        let kind = match subject.command {
            RequestCommand::UdpAssociate => SessionKind::Association,
            _ => SessionKind::Tunnel,
        };
        let mut told: Vec<ExplainedLimit> = Vec::new();
        for (per, key) in self.plan.iter().flat_map(|plan| plan.keys_of(subject, rules.iter().copied())) {
            let Some(plan) = self.plan else { continue };
            let refuses = match per {
                Per::Session => None,
                _ => plan.accounts.would_refuse(&key, kind, self.now),
            };
            told.push(ExplainedLimit {
                limit: key.limit,
                terms: plan.accounts.terms_now(key.limit),
                fill: plan.accounts.fill_of(&key, self.now).filter(|_| per != Per::Session),
                holder: Some(key.holder).filter(|_| per != Per::Session),
                refuses,
            });
        }
        self.with_sources(subject, told)
    }

    /// These with the sessions that a source may have, which are counted from their first moment on.
    fn with_sources(&self, subject: &Subject<'_>, mut told: Vec<ExplainedLimit>) -> Vec<ExplainedLimit> {
        let Some(sources) = self.sources else { return told };
        let source = Source::from(subject.incoming.client.ip());
        let (ip, bits) = source.block();
        let (sessions, most) = (sources.sessions_of(source), sources.limit());
        let place = told.iter().position(|one| one.limit == LimitId::PER_SOURCE).unwrap_or_else(|| {
            let (limit, holder) = (LimitId::PER_SOURCE, Some(AccountHolder::Block(ip, bits)));
            let terms = LimitTerms::default();
            told.insert(0, ExplainedLimit { limit, holder, terms, fill: None, refuses: None });
            0
        });
        let one = &mut told[place];
        one.terms.connections = Some(most as u64);
        let fill = one.fill.get_or_insert_with(|| AccountFill::of_nothing(AccountHolder::Block(ip, bits)));
        fill.sessions = sessions as u64;
        fill.parts[LimitKind::Connections as usize] = Some((sessions as f64 / most.max(1) as f64).min(1.0));
        if sessions >= most {
            one.refuses = Some(Reached::Connections);
        }
        told
    }
}
