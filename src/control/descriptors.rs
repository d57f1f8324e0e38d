//! The descriptor budget: how many sessions a worker may hold, each with its upstream socket reserved.

use crate::config::Config;
use crate::limits;

/// What each worker may have open; `sessions` alone counts those of all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptorBudget {
    /// Sessions of all workers, two descriptors each.
    pub(super) sessions: usize,
    workers: usize,
    /// Pipes with bytes in them, two descriptors each.
    pub(super) pipes: usize,
    /// Second connect attempts, one descriptor each.
    pub(super) second_attempts: usize,
    /// Sockets of the resolver for names that linger, and second ones of names.
    pub(super) spare_names: usize,
    /// Sockets of the resolver for names that no session waits for before it has an upstream.
    pub(super) names_beside: usize,
}

impl DescriptorBudget {
    /// Names that one worker may ask servers about at a time: a session that waits for one has no upstream yet.
    pub(super) fn names(self) -> usize {
        (self.sessions / self.workers + self.names_beside).min(limits::DNS_NAMES_IN_FLIGHT)
    }

    /// Sessions of one worker: an equal share, and one more for the first ones where it does not come out even. No
    /// worker has none, for its listener would keep its clients waiting for ever.
    pub(super) fn sessions_of(self, worker: usize) -> usize {
        let one_more = worker < self.sessions % self.workers;
        (self.sessions / self.workers + usize::from(one_more)).max(1)
    }

    /// Sessions of each worker, by its number.
    pub(super) fn sessions_of_each(self) -> Vec<usize> {
        (0..self.workers).map(|worker| self.sessions_of(worker)).collect()
    }
}

/// Divides `limit` descriptors among the workers.
pub(super) fn divide(limit: usize, config: &Config) -> DescriptorBudget {
    let workers = config.server.workers.max(1);
    let share = limit.saturating_sub(fixed(config)) / workers;
    // A sixteenth of the descriptors: a pipe is kept for as long as a sink is slow.
    let pipes = if config.server.relay.splices() { (share / 32).min(limits::PIPES_LENT_MAX) } else { 0 };
    // Apart from the sessions' own, so that names whose addresses do not answer never keep anyone from being accepted.
    let second_attempts = (share / 64).min(limits::SECOND_ATTEMPTS_MAX);
    let dns = (share / 16).clamp(limits::DNS_SOCKETS_MIN, limits::DNS_SOCKETS);
    let affordable =
        (share.saturating_sub(2 * pipes + second_attempts + dns) / 2).clamp(1, limits::SLOTS_MAX);
    let sessions = match config.server.max_connections {
        0 => affordable * workers,
        wanted => wanted.min(affordable * workers),
    };
    let spare_names = dns * 3 / 10;
    DescriptorBudget {
        sessions,
        workers,
        pipes,
        second_attempts,
        spare_names,
        names_beside: dns - spare_names,
    }
}

/// The limit under which no worker can hold a session.
pub(super) fn least(config: &Config) -> usize {
    fixed(config) + config.server.workers.max(1) * (2 + limits::DNS_SOCKETS_MIN)
}

/// What is open before the first session.
fn fixed(config: &Config) -> usize {
    let workers = config.server.workers.max(1);
    // One more for each: who is first in its queue is taken where there is no place, to know how long it has stood.
    let listeners = 2 * config.listener_count() * workers;
    let admin = match config.admin.listen.len() {
        0 => 0,
        doors => {
            doors
                + limits::ADMIN_DESCRIPTORS
                + limits::ADMIN_TCP_CONNECTIONS_MAX
                + limits::ADMIN_UNIX_CONNECTIONS_MAX
        }
    };
    // The socket that is asked at, the channels to whoever asks and to the process that starts programs, and a duplicate of each
    // listener of the endpoint.
    let takeover = config
        .server
        .takeover
        .as_ref()
        .map_or(0, |_| limits::HANDOVER_DESCRIPTORS + config.admin.listen.len());
    limits::RESERVED_DESCRIPTORS + listeners + workers * limits::WORKER_DESCRIPTORS + admin + takeover
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
                let dns = budget.spare_names + budget.names_beside;
                let each = 2 * budget.pipes + budget.second_attempts + dns;
                let used = 2 * budget.sessions + workers * each;
                assert!(budget.sessions == workers || used <= limit, "{limit} {workers} {budget:?}");
            }
        }
    }

    #[test]
    fn one_session_of_each_worker_fits_the_least_limit_and_no_smaller_one() {
        for workers in [1, 2, 64] {
            let config = config(workers);
            let used = |limit| {
                let budget = divide(limit, &config);
                2 * budget.sessions
                    + workers
                        * (2 * budget.pipes
                            + budget.second_attempts
                            + budget.spare_names
                            + budget.names_beside)
            };
            let least = least(&config);
            assert_eq!(used(least), least - fixed(&config));
            assert!(used(least - 1) > least - 1 - fixed(&config));
        }
    }

    #[test]
    fn twenty_thousand_descriptors_hold_more_than_eight_thousand_sessions() {
        assert!(divide(20_000, &config(1)).sessions > 8_500);
        assert!(divide(20_000, &config(2)).sessions > 8_500);
    }

    /// A session that waits for a name leaves its upstream's descriptor free.
    #[test]
    fn few_descriptors_are_names_for_as_many_sessions() {
        for limit in [200, 512, 1024] {
            let budget = divide(limit, &config(1));
            assert!(budget.names() > budget.sessions, "{budget:?}");
        }
    }

    #[test]
    fn a_configured_maximum_is_shared_by_the_workers_to_the_last_one() {
        for (workers, wanted, shares) in [
            (2, 9, &[5, 4][..]),
            (4, 9, &[3, 2, 2, 2]),
            (4, 8, &[2, 2, 2, 2]),
            (4, 4, &[1, 1, 1, 1]),
            (3, 5, &[2, 2, 1]),
        ] {
            let mut config = config(workers);
            config.server.max_connections = wanted;
            let budget = divide(20_000, &config);
            let each: Vec<usize> = (0..workers).map(|worker| budget.sessions_of(worker)).collect();
            assert_eq!((each.as_slice(), budget.sessions), (shares, wanted));
        }
    }

    #[test]
    fn a_maximum_that_cannot_be_had_is_what_can() {
        let mut config = config(3);
        let all = divide(1_024, &config).sessions;
        config.server.max_connections = 1_000_000;
        assert_eq!(divide(1_024, &config).sessions, all);
    }
}
