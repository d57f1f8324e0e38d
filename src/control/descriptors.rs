//! The descriptor budget: how many sessions a worker may hold, each with its upstream socket reserved.

use crate::config::{Config, RelayMode};
use crate::limits;

/// What each worker may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Sessions, two descriptors each.
    pub(super) sessions: usize,
    /// Pipes with bytes in them, two descriptors each.
    pub(super) pipes: usize,
    /// Second connect attempts, one descriptor each.
    pub(super) second_attempts: usize,
    /// Sockets of the resolver.
    pub(super) dns: usize,
}

/// Divides `limit` descriptors among the workers.
pub(super) fn divide(limit: usize, config: &Config) -> Budget {
    let workers = config.server.workers.max(1);
    let listeners = config.server.listen.len() * workers;
    let fixed = limits::RESERVED_DESCRIPTORS + listeners + workers * limits::WORKER_DESCRIPTORS;
    let share = limit.saturating_sub(fixed) / workers;
    let pipes = match config.server.relay {
        RelayMode::Copy => 0,
        // A sixteenth of the descriptors: a pipe is kept for as long as a sink is slow.
        RelayMode::Auto | RelayMode::Splice => (share / 32).min(limits::PIPES_LENT_MAX),
    };
    // Apart from the sessions' own, so that names whose addresses do not answer never keep anyone from being accepted.
    let second_attempts = (share / 64).min(limits::SECOND_ATTEMPTS_MAX);
    let dns = (share / 16).clamp(limits::DNS_EXCHANGES_MIN, limits::DNS_EXCHANGES);
    let affordable =
        (share.saturating_sub(2 * pipes + second_attempts + dns) / 2).clamp(1, limits::SLOTS_MAX);
    let sessions = match config.server.max_connections {
        0 => affordable,
        wanted => affordable.min((wanted / workers).max(1)),
    };
    Budget { sessions, pipes, second_attempts, dns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(workers: usize) -> Config {
        let mut config = Config::default();
        config.server.workers = workers;
        config
    }

    #[test]
    fn no_budget_exceeds_the_limit() {
        for limit in [0, 10, 64, 1024, 20_000, 1_048_576] {
            for workers in [1, 2, 64] {
                let budget = divide(limit, &config(workers));
                let each = 2 * (budget.sessions + budget.pipes) + budget.second_attempts + budget.dns;
                let used = workers * each;
                assert!(budget.sessions == 1 || used <= limit, "{limit} {workers} {budget:?}");
            }
        }
    }

    #[test]
    fn twenty_thousand_descriptors_hold_more_than_eight_thousand_sessions() {
        assert!(divide(20_000, &config(1)).sessions > 8_500);
        assert!(divide(20_000, &config(2)).sessions > 4_250);
    }

    #[test]
    fn a_configured_maximum_is_shared_by_the_workers() {
        let mut config = config(2);
        config.server.max_connections = 9;
        assert_eq!(divide(20_000, &config).sessions, 4);
    }
}
