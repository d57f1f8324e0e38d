//! The time that a client gives its session.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::fleet::Next;

/// What a scenario wants of the loop, for a session that began then: whoever is not done by its limit is late.
pub(crate) fn within(limit: Duration, since: Instant, next: Next) -> Result<Next, Fault> {
    match next {
        Next::Wait if since.elapsed() >= limit => Err(Fault::Overdue(limit)),
        Next::Wait => Ok(Next::Until(since + limit)),
        other => Ok(other),
    }
}
