//! Who waits for what comes of an order.

use crate::admin::{Actor, Done, OrderError};
use crate::worker::Reply;

/// Who gave an order, and where the outcome goes.
pub(super) struct Asker {
    by: Actor,
    /// `None` where the log is all that there is.
    reply: Option<Reply<Result<Done, OrderError>>>,
}

impl Asker {
    /// Who waits for an answer.
    pub(super) fn new(by: Actor, reply: Reply<Result<Done, OrderError>>) -> Asker {
        Asker { by, reply: Some(reply) }
    }

    /// Who sent a signal.
    pub(super) fn signal(name: &str) -> Asker {
        Asker { by: Actor(name.to_owned()), reply: None }
    }

    /// Tells the outcome, in the log too.
    pub(super) fn tell(self, outcome: Result<Done, OrderError>) {
        let by = &self.by;
        match &outcome {
            // Nothing has changed by that.
            Ok(Done::Users(_)) => {}
            Ok(done) => {
                tracing::info!(%by, "{done}");
                if let Done::Reload(report) = done {
                    report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                }
            }
            Err(OrderError::Config(problems)) => {
                problems.lines().for_each(|line| tracing::error!("{line}"));
                tracing::error!(%by, "the configuration cannot be used: nothing has changed");
            }
            Err(error @ OrderError::Failed(_)) => tracing::error!(%by, "{error}"),
            Err(error) => tracing::warn!(%by, "refused: {error}"),
        }
        self.reply.map(|reply| reply.send(outcome));
    }
}
