//! Accounts whose use has changed, for whoever keeps it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::account::{OpenAccount, QuotaUse};
use crate::limits;

/// Whose use has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaChanges {
    /// As it is by now.
    pub uses: Vec<QuotaUse>,
    /// There are others.
    pub more: bool,
    /// Some were not noted, as there were too many: only a look at all tells.
    pub missed: bool,
}

type AccountQueue = (Sender<Arc<OpenAccount>>, Receiver<Arc<OpenAccount>>);

/// The accounts whose use has changed, each once; empty for good where nobody asks.
#[derive(Debug, Default)]
pub(super) struct ChangeQueue {
    waiting: OnceLock<AccountQueue>,
    missed: AtomicBool,
}

impl ChangeQueue {
    /// Notes from now on whose use changes.
    pub(super) fn keep(&self) {
        self.waiting.get_or_init(|| bounded(limits::QUOTA_CHANGES_MAX));
    }

    /// The use of an account has changed, which others find in the table.
    pub(super) fn note(&self, account: &Arc<OpenAccount>) {
        let Some((sender, _)) = self.waiting.get().filter(|_| account.shared) else { return };
        if account.used.change() && sender.try_send(account.clone()).is_err() {
            account.used.note();
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Whether nobody's use has changed since the last time.
    pub(super) fn is_empty(&self) -> bool {
        let none = self.waiting.get().is_none_or(|(_, receiver)| receiver.is_empty());
        none && !self.missed.load(Ordering::Acquire)
    }

    /// Whose use has changed since the last time, of at most so many.
    pub(super) fn take(&self, most: usize) -> QuotaChanges {
        let Some((_, receiver)) = self.waiting.get() else { return QuotaChanges::default() };
        // As it was counted: the clock may show another period for a moment.
        let use_of = |account: Arc<OpenAccount>| {
            account.used.note();
            account.use_of(account.used.counted())
        };
        let uses = receiver.try_iter().take(most).map(use_of).collect();
        let missed = self.missed.swap(false, Ordering::AcqRel);
        QuotaChanges { uses, more: !receiver.is_empty(), missed }
    }
}
