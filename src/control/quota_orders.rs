//! Orders about quotas: to have nothing used of one any more.

use std::fmt;

use crate::admin::{Done, OrderError};
use crate::config::{nearest, quoted};
use crate::limits;
use crate::policy::accounts::{AccountHolder, Accounts, AccountsCursor, HolderNames, LimitId};

/// An order to set back what was used, and where its outcome goes.
pub(super) struct QuotaOrder {
    /// Of which limit.
    pub(super) limit: String,
    /// Of whom; `None`: of everybody.
    pub(super) holder: Option<String>,
    pub(super) tell: Box<dyn FnOnce(Result<Done, OrderError>) + Send>,
}

impl fmt::Debug for QuotaOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaOrder").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What was set back in accounts.
#[derive(Debug)]
pub(super) struct SetBack {
    pub(super) limit: LimitId,
    /// Whose; `None`: everybody's.
    pub(super) holder: Option<AccountHolder>,
    /// How many had used something.
    pub(super) accounts: u64,
    /// What it was of one holder.
    pub(super) bytes: Option<u64>,
}

/// Has nothing used of a quota any more, as far as accounts know of it.
///
/// # Errors
/// There is no such quota, or no such holder.
pub(super) fn set_back(
    accounts: &Accounts,
    names: &HolderNames,
    limit: &str,
    holder: Option<&str>,
) -> Result<SetBack, OrderError> {
    let limit = quota(accounts, names, limit)?;
    let Some(text) = holder else {
        let (mut cursor, mut count) = (AccountsCursor::default(), 0);
        while !cursor.is_over() {
            // A part at a time: accounts that nobody holds are gone once they are reset, and a smaller step would pass over others.
            let uses = accounts.quota_uses(&mut cursor, limits::QUOTA_ACCOUNTS_MAX);
            for used in uses.iter().filter(|used| used.limit == limit) {
                count += u64::from(accounts.reset_use(limit, &used.holder).is_some());
            }
        }
        return Ok(SetBack { limit, holder: None, accounts: count, bytes: None });
    };
    let holder = names.holder(text).ok_or_else(|| {
        let forms = "\"user:ann\", \"group:staff\", \"source:192.0.2.1\", \"rule:NAME\", \"listener:NAME\" or \"global\"";
        OrderError::Invalid(format!("{} is nobody who could have used something: it is such as {forms}", quoted(text)))
    })?;
    let used = accounts.reset_use(limit, &holder).map(|used| used.up.saturating_add(used.down));
    let bytes = used.filter(|bytes| *bytes > 0);
    Ok(SetBack { limit, holder: Some(holder), accounts: u64::from(bytes.is_some()), bytes })
}

/// The limit of this name, which has a quota.
fn quota(accounts: &Accounts, names: &HolderNames, limit: &str) -> Result<LimitId, OrderError> {
    let has_quota = |id: LimitId| accounts.quota_of(id).is_some();
    let found = names.limit(limit).filter(|id| has_quota(*id));
    found.ok_or_else(|| {
        let others = names.limits.iter().filter(|name| names.limit(name).is_some_and(has_quota));
        let meant = nearest(limit, others.map(|name| &**name));
        let meant = meant.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
        OrderError::NotFound(format!("there is no limit {} with a quota{meant}", quoted(limit)))
    })
}
