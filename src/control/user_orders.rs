//! Changes of the users file that an operator asks for: what is written, and whose sessions end.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::bounded;

use crate::admin::{Done, Order, OrderError};
use crate::auth::{EditError, change_user, hash_password, remove_user};
use crate::limits;
use crate::observe::filter::{Selection, SessionFilter};
use crate::worker::{Killed, Mail, Mailbox, Reply, Walked};

/// An order about users, and where its outcome goes.
pub(super) struct UserOrder {
    /// Apart, as it is long.
    pub(super) order: Box<Order>,
    pub(super) tell: Box<dyn FnOnce(Result<Done, OrderError>) + Send>,
}

/// An order may hold a password.
impl fmt::Debug for UserOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserOrder").finish_non_exhaustive()
    }
}

/// What was done to the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileChange {
    /// The user has this password or these attributes now, and was there before.
    Replaced,
    /// The user has this password now, and was not there before.
    Added,
    /// The user is gone.
    Removed,
}

/// Changes the file as an order wants it: hashes, writes and waits for others that do.
///
/// # Errors
/// What keeps it from being changed; it is as it was then.
pub(super) fn change_file(path: &Path, order: &Order) -> Result<FileChange, OrderError> {
    match order {
        Order::SetUser { name, password, attributes, .. } => {
            let hash = password.as_deref().map(|password| hash_password(password)).transpose();
            let hash = hash.map_err(|error| refused(path, &error))?;
            let replaced = change_user(path, name, hash.as_deref().map(String::as_str), attributes)
                .map_err(|error| refused(path, &error))?;
            Ok(if replaced { FileChange::Replaced } else { FileChange::Added })
        }
        Order::RemoveUser { name, .. } => {
            remove_user(path, name).map_err(|error| refused(path, &error))?;
            Ok(FileChange::Removed)
        }
        Order::ListUsers
        | Order::Reload { .. }
        | Order::Drain { .. }
        | Order::Undrain
        | Order::SetLevel(_)
        | Order::ResetQuota { .. } => Err(OrderError::Invalid("this changes no user".to_owned())),
    }
}

/// Why the file was not changed.
fn refused(path: &Path, error: &EditError) -> OrderError {
    match error {
        EditError::Name(_) | EditError::PasswordEmpty | EditError::PasswordTooLong => {
            OrderError::Invalid(error.to_string())
        }
        EditError::Absent(_) => OrderError::NotFound(error.to_string()),
        EditError::Hash | EditError::Attributes(_) | EditError::NotUtf8 | EditError::File(_) => {
            OrderError::Failed(format!("{}: {error}", path.display()))
        }
    }
}

/// Waits until each worker has read its letters up to now, and with `revoke` has ended the sessions of this user. It reads
/// them in order: who was told of other users before goes by them. Gives how many sessions ended.
pub(super) fn await_workers(workers: &[Mailbox], user: &str, revoke: bool) -> u64 {
    let filter = SessionFilter { user: Some(user.to_owned()), ..SessionFilter::default() };
    let which = if revoke { Selection::Filter(filter) } else { Selection::Ids([].into()) };
    let which = Arc::new(which);
    let (sender, answers) = bounded(workers.len());
    let ask = |worker: &Mailbox| {
        worker.offer(Mail::Kill { which: Arc::clone(&which), reply: Reply::new(sender.clone(), None) })
    };
    let mut missing = workers.iter().filter(|worker| ask(worker)).count();
    let (until, mut ended) = (Instant::now() + limits::WORKERS_ANSWER_TIME, 0);
    while missing > 0 {
        match answers.recv_deadline(until) {
            Ok(Killed { worker, walked: Walked::Refused, .. }) => {
                // It has too many questions to answer at this moment.
                std::thread::sleep(limits::KILL_RETRY);
                missing -= usize::from(!workers.get(worker).is_some_and(ask));
            }
            Ok(killed) => {
                ended += killed.ended;
                missing -= 1;
            }
            Err(_) => {
                tracing::warn!(missing, "not every worker has said that it goes by the new users");
                break;
            }
        }
    }
    ended
}
