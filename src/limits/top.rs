//! Bounds of `outflow top`.

use std::time::Duration;

/// Sessions that it asks for above and below the rows that it shows: a page of keys finds them there already, and the
/// answer stays under 100 KB.
pub const TOP_ROWS_AROUND: usize = 60;
/// Sessions that it asks for at most, for a terminal may say that it has 65,535 rows.
pub const TOP_ROWS_MAX: usize = 1000;
/// Users, sources and targets that it asks for, of each: more than a terminal has room for beside the sessions.
pub const TOP_TALKERS: usize = 20;
/// Characters of a filter that can be typed: a user's name, a target and some numbers.
pub const TOP_FILTER_CHARS_MAX: usize = 700;
/// How often it looks at the least: an hour, as what is older is no look at what is.
pub const TOP_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// How often it looks at the most: the endpoint measures in seconds, and each look is four requests of those that it
/// answers in one.
pub const TOP_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// How long it waits for an answer: the endpoint has a second for most, and what is older is no figure of now.
pub const TOP_PATIENCE: Duration = Duration::from_secs(5);
/// How soon it tries again where the endpoint does not answer.
pub const TOP_RETRY: Duration = Duration::from_secs(1);
/// Keys, answers and signals that wait for the next drawing: a person's keys of a second. Whoever has more waits.
pub const TOP_EVENTS_MAX: usize = 64;
/// How wide and how high a terminal has to be.
pub const TOP_SIZE_MIN: (u16, u16) = (40, 10);
