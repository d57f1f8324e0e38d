//! Bounds of what the admin endpoint tells: how much it keeps of the past, and how much it says at once.

use std::time::Duration;

use super::WALKS_MAX;

/// Between two looks at the counters that become a point of the history each.
pub const HISTORY_INTERVAL: Duration = Duration::from_secs(1);
/// Points of the history: 15 minutes, in some 130 KiB.
pub const HISTORY_POINTS_MAX: usize = 900;

/// How long a look at a session serves to tell its rate by: an older one would tell how fast it was once.
pub const RATE_KEPT: Duration = Duration::from_secs(10);
/// Between two looks that tell a rate: within less a few packets more or less are half of it.
pub const RATE_SPAN_MIN: Duration = Duration::from_millis(400);
/// Sessions whose bytes are remembered between two looks: 10 MiB. Others have no rate.
pub const RATES_KEPT_MAX: usize = 100_000;

/// Sessions in one answer, where the question says nothing else.
pub const SESSIONS_LISTED: u64 = 100;
/// Sessions in one answer at most: some 30 MiB.
pub const SESSIONS_LISTED_MAX: u64 = 50_000;
/// Sessions before the first one of an answer: whoever pages further narrows the question.
pub const SESSIONS_SKIPPED_MAX: u64 = 50_000;

/// Questions for sessions that are under way at once; the next one is answered 503. Each may keep twice
/// [`SESSIONS_LISTED_MAX`] and [`SESSIONS_SKIPPED_MAX`] together, and walks over all sessions of each worker, which has
/// [`WALKS_MAX`] walks at a time.
pub const SESSION_QUESTIONS_MAX: usize = 4;
/// How long workers are waited for: longer than their longest turn, and than the pages of all sessions that one may have.
pub const WORKERS_ANSWER_TIME: Duration = Duration::from_secs(2);

/// Names in each list of `/api/v1/top`, where the question says nothing else.
pub const TOP_LISTED: u64 = 10;
/// Names in each list of `/api/v1/top` at most.
pub const TOP_LISTED_MAX: u64 = 100;

/// Subjects of each limit in `/api/v1/limits`, where the question says nothing else.
pub const FULLEST_LISTED: u64 = 10;
/// Subjects of each limit in `/api/v1/limits` at most.
pub const FULLEST_OF_EACH_MAX: u64 = 20;
/// Subjects in `/api/v1/limits` at most where it is asked for one limit.
pub const FULLEST_OF_ONE_MAX: u64 = 1_000;
/// Limits that `/api/v1/stats` tells of: those that are fullest.
pub const LIMITS_SHOWN: usize = 20;
/// Pools of addresses that it tells of: those of which an address is left alone, then those with the most sessions.
pub const POOLS_SHOWN: usize = 20;
/// Parents that it tells of: those of which a server does not serve, then those with the most sessions.
pub const PARENTS_SHOWN: usize = 20;
/// Looks at accounts in one turn of the endpoint's thread, of [`FILL_ACCOUNTS_PER_LOOK`](super::FILL_ACCOUNTS_PER_LOOK) each:
/// some milliseconds.
pub const FILL_LOOKS_PER_TURN: usize = 128;
/// How long `/api/v1/stats` tells of what was found by one look at all accounts.
pub const FILL_KEPT: Duration = Duration::from_secs(2);
/// How many times as long as a look took it is told of, where that is longer: a million accounts are not looked at all the
/// time.
pub const FILL_KEPT_TIMES: u32 = 20;

/// Changes of users that are under way at once: each takes a hash of some 50 ms on one thread.
pub const USER_ORDERS_MAX: usize = 4;
/// Between two tries to have a worker end sessions that has too many other questions to answer.
pub const KILL_RETRY: Duration = Duration::from_millis(20);
/// How far apart the states are that the last minute's durations are measured from.
pub const RECENT_STEP: Duration = Duration::from_secs(10);
/// How many of those states are kept: the oldest is a minute old, and up to a step more.
pub const RECENT_STEPS: usize = 7;

const _: () =
    assert!(RATE_SPAN_MIN.as_millis() < HISTORY_INTERVAL.as_millis(), "a look a second tells rates");
const _: () = assert!(SESSION_QUESTIONS_MAX < WALKS_MAX, "a change must find room beside questions");
