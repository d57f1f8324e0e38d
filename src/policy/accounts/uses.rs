//! What quotas are used, for whoever keeps it, shows it or sets it back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::account::{AccountHolder, AccountKey, LimitId, OpenAccount, QuotaUse};
use super::changes::QuotaChanges;
use super::quota::{QuotaTerms, UsedBytes};
use super::{AccountPart, Accounts};
use crate::limits;

/// How far a walk over all accounts has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountsCursor {
    part: usize,
    skip: usize,
}

impl AccountsCursor {
    /// Whether it has seen all that were there all the while.
    pub fn is_over(&self) -> bool {
        self.part >= limits::ACCOUNT_PARTS
    }
}

impl Accounts {
    /// Notes from now on whose use changes.
    pub fn keep_changes(&self) {
        self.changes.keep();
    }

    /// Whether anybody's use has changed since the last time.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Whose use has changed since the last time, of at most so many.
    pub fn take_changes(&self, most: usize) -> QuotaChanges {
        self.changes.take(most)
    }

    /// Who has used something of a quota in its present period: of the next accounts, at most so many.
    pub fn quota_uses(&self, at: &mut AccountsCursor, most: usize) -> Vec<QuotaUse> {
        let Some(part) = self.parts.get(at.part) else { return Vec::new() };
        let part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = part.accounts.values().skip(at.skip).take(most);
        let uses = seen.filter_map(|account| account.quota_use().filter(|used| used.up + used.down > 0));
        let uses = uses.collect();
        at.skip += most;
        if at.skip >= part.accounts.len() {
            (at.part, at.skip) = (at.part + 1, 0);
        }
        uses
    }

    /// What somebody has used of a quota; `None` where there is none, or nobody knows of him.
    pub fn quota_use(&self, limit: LimitId, holder: &AccountHolder) -> Option<QuotaUse> {
        let key = AccountKey { limit, holder: holder.clone() };
        let part = self.part(&key);
        part.accounts.get(&key).and_then(|account| account.quota_use())
    }

    /// The quota of a limit.
    pub fn quota_of(&self, limit: LimitId) -> Option<QuotaTerms> {
        self.terms_of(limit).quota()
    }

    /// Counts what was used before, where that is still of this period and the subject has used nothing since.
    pub fn restore_use(&self, QuotaUse { limit, holder, since, up, down }: QuotaUse) -> bool {
        let terms = self.terms_of(limit);
        let key = AccountKey { limit, holder };
        let account = Arc::new(OpenAccount::new(key.clone(), terms));
        account.used.restore(UsedBytes { since, up, down });
        let Some(used) = account.used_of_quota() else { return false };
        let mut part = self.part(&key);
        if let Some(there) = part.accounts.get(&key).cloned() {
            if there.used_of_quota().is_some() {
                return false;
            }
            there.terms.quota().into_iter().for_each(|quota| there.used.follow(quota.span));
            there.used.restore(UsedBytes { since, up, down });
            if there.is_unused() {
                part.kept.put(&there, used);
            }
            return true;
        }
        part.kept.put(&account, used);
        part.accounts.insert(key, account);
        let AccountPart { accounts, kept, .. } = &mut *part;
        kept.spare(accounts, 0);
        true
    }

    /// Counts what was used before, where that is still of this period, on top of what is used by now.
    pub fn add_use(&self, before: QuotaUse) -> bool {
        let key = AccountKey { limit: before.limit, holder: before.holder.clone() };
        let mut part = self.part(&key);
        let Some(account) = part.accounts.get(&key).cloned() else {
            drop(part);
            return self.restore_use(before);
        };
        let Some(quota) = account.terms.quota().filter(|quota| quota.span.continues(before.since)) else {
            return false;
        };
        account.used.follow(quota.span);
        account.used.add(before.up, before.down);
        self.changes.note(&account);
        self.spent.store(true, Ordering::Release);
        part.put_anew(&account);
        true
    }

    /// Has nothing used any more; what it was.
    pub fn reset_use(&self, limit: LimitId, holder: &AccountHolder) -> Option<QuotaUse> {
        let key = AccountKey { limit, holder: holder.clone() };
        let mut part = self.part(&key);
        let account = part.accounts.get(&key)?.clone();
        let before = account.quota_use()?;
        account.used.reset(account.terms.quota()?.span);
        self.changes.note(&account);
        part.put_anew(&account);
        Some(before)
    }

    /// Forgets some of the accounts that were kept for a period that is over.
    pub fn sweep(&self, now: Instant) {
        let now_ns = self.moment(now);
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            let AccountPart { accounts, kept, .. } = &mut *part;
            kept.sweep(accounts, now_ns);
        }
    }
}
