//! What would come of a request if a configuration were in effect: asked of the file, without a server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::descriptors::divide;
use super::limiting::{Limiting, no_limits};
use super::resolver_files::ResolverFiles;
use super::rules::OperatorRules;
use super::snapshot::policy_to_be;
use super::trial::Trial;
use super::usernames::username_rules;
use crate::config::{Config, Problems};
use crate::limits;
use crate::policy::accounts::HolderNames;
use crate::policy::own_ports::OwnPorts;
use crate::policy::sources::Sources;
use crate::session::{Explanation, Judges, LimitJudges, Supposed};
use crate::worker::resolve;

/// Why there is no explanation.
#[derive(Clone, Debug)]
pub enum ExplainError {
    /// The configuration cannot be used.
    Config(Problems),
    /// What of the request cannot be, or what the machine refused.
    Wrong(String),
}

/// Says what would come of a request, and how rules and limits are called. A name is resolved as the server would
/// do it, unless its addresses are given.
///
/// # Errors
/// There is no such request, or no such server.
pub fn explain(
    config: &Config,
    supposed: Supposed,
    addresses: Option<Arc<[IpAddr]>>,
) -> Result<(Explanation, HolderNames), ExplainError> {
    let username = username_rules(config).map_err(|(_, what)| ExplainError::Wrong(what))?;
    let supposed = supposed.with_typed_name(username.as_ref()).map_err(ExplainError::Wrong)?;
    let mut trial = Trial::of(config);
    let plan = trial.ruled();
    let errors = trial.into_report().errors;
    let plan = plan.filter(|_| errors.is_empty()).ok_or(ExplainError::Config(errors))?;
    let rules = Arc::<OperatorRules>::default().follow(plan);
    rules.set.iter().for_each(|set| set.tell_time(supposed.at.unwrap_or_else(Timestamp::now)));
    let (policy, listeners) = policy_to_be(config, &rules);
    let incoming = supposed.incoming(&listeners).map_err(ExplainError::Wrong)?;
    let table = config.listener_table(usize::from(incoming.listener));
    config.takes(table, supposed.command).map_err(ExplainError::Wrong)?;
    let own_ports = OwnPorts::default();
    let judges = Judges {
        policy: &policy,
        own_ports: &own_ports,
        parents: rules.ways.parents.all().map(|all| &**all),
    };
    let (mut told, name) = Explanation::begin(supposed, incoming, judges);
    if let Some(name) = name {
        let answer = match addresses {
            Some(addresses) => Ok(addresses),
            None => {
                let budget = divide(limits::EXPLAIN_DESCRIPTORS, config);
                let (files, _) = ResolverFiles::read(config, &budget);
                resolve(files.settings(config), &name)
                    .map_err(|error| ExplainError::Wrong(format!("names cannot be resolved: {error}")))?
            }
        };
        told.resolved(answer, judges);
    }
    told.tell_steps(&policy);
    let now = Instant::now();
    told.tell_egress(rules.ways.egress.as_deref(), now);
    let numbers = no_limits().with(config.limits.iter().map(|limit| &limit.name));
    let numbers = numbers.map_err(|none| ExplainError::Wrong(none.of("limits")))?;
    let mut limiting = Limiting::new();
    limiting.adopt(config, &rules, numbers);
    let most = config.per_source.connections;
    let sources = (most > 0).then(|| Sources::new(most));
    let plan = limiting.plan().map(|plan| &**plan);
    told.tell_limits(LimitJudges { plan, sources: sources.as_ref(), now });
    let listeners = listeners.into_iter().map(|(typed, number)| (number, Arc::from(typed))).collect();
    let names =
        HolderNames { limits: limiting.numbers().names().into(), rules: rules.names.clone(), listeners };
    Ok((told, names))
}
