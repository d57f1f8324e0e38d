//! Accounts that nobody holds and that are kept for what they have used of a quota.
//!
//! Where there are too many, the one that has used least goes first. So whoever comes with a million addresses drives out his
//! own: to have somebody forgotten he has to use more than that one did with each of them. Who has a session is not among them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::account::{AccountKey, OpenAccount};
use crate::limits;

/// The accounts of a part by their keys.
pub(super) type AccountMap = HashMap<AccountKey, Arc<OpenAccount>>;

/// Those of one part of the table, by how much they have used.
#[derive(Debug)]
pub(super) struct KeptAccounts {
    /// How many there may be.
    pub(super) most: usize,
    all: BTreeSet<(u64, AccountKey)>,
    /// Up to which of them they were looked at.
    swept_to: Option<(u64, AccountKey)>,
}

impl Default for KeptAccounts {
    fn default() -> KeptAccounts {
        let most = limits::QUOTA_ACCOUNTS_MAX / limits::ACCOUNT_PARTS;
        KeptAccounts { most, all: BTreeSet::new(), swept_to: None }
    }
}

impl KeptAccounts {
    /// Keeps an account that has used so much, which is more than nothing.
    pub(super) fn put(&mut self, account: &OpenAccount, used: u64) {
        account.kept_by.store(used, Ordering::Relaxed);
        // What was noted of an earlier time without a session is of another.
        account.left_ns.store(u64::MAX, Ordering::Relaxed);
        self.all.insert((used, account.key.clone()));
    }

    /// Somebody has come back to an account, or it is forgotten.
    pub(super) fn take_back(&mut self, account: &OpenAccount) {
        let used = account.kept_by.swap(0, Ordering::Relaxed);
        if used > 0 {
            self.all.remove(&(used, account.key.clone()));
        }
    }

    /// The next few to look at, in turn.
    fn next_few(&mut self) -> Vec<AccountKey> {
        let from = self.swept_to.take().map_or(Bound::Unbounded, Bound::Excluded);
        let few = self.all.range((from, Bound::Unbounded)).take(limits::QUOTA_SWEEP_STEP);
        let few: Vec<_> = few.cloned().collect();
        // Behind the last of them it begins again.
        self.swept_to = few.last().filter(|_| few.len() == limits::QUOTA_SWEEP_STEP).cloned();
        few.into_iter().map(|(_, key)| key).collect()
    }

    /// Forgets some of those whose period is over.
    pub(super) fn sweep(&mut self, accounts: &mut AccountMap, now_ns: u64) {
        for key in self.next_few() {
            if let Some(account) = accounts.get(&key).filter(|account| account.is_as_new(now_ns)) {
                self.take_back(account);
                accounts.remove(&key);
            }
        }
    }

    /// Forgets some of those whose period is over where there are too many, or else the one that has used least.
    pub(super) fn spare(&mut self, accounts: &mut AccountMap, now_ns: u64) {
        if self.all.len() > self.most {
            self.sweep(accounts, now_ns);
        }
        if self.all.len() > self.most
            && let Some((_, key)) = self.all.pop_first()
        {
            accounts.remove(&key);
        }
    }
}
