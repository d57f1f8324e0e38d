//! Servers that come to their end behind a hand-over, as the one knows them that serves by now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One that has sessions yet, as it tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OlderServer {
    /// The process; `None` of one that does not tell.
    pub pid: Option<u32>,
    /// The version of its program.
    pub version: String,
    /// When another took its place, in seconds since 1970.
    pub since: u64,
    /// When it ends in any case, in seconds since 1970; `None`: with its last session.
    pub ends_by: Option<u64>,
    /// The sessions that it has.
    pub sessions: u64,
}

/// All of them, the latest first, as the last of them tells. Shared.
#[derive(Clone, Debug, Default)]
pub struct OlderServers(Arc<Mutex<Option<Vec<OlderServer>>>>);

impl OlderServers {
    /// Whether there is one, which tells of its sessions and of those before it.
    pub fn are_there(&self) -> bool {
        self.lock().is_some()
    }

    /// What the last of them tells.
    pub fn tell(&self, all: Vec<OlderServer>) {
        *self.lock() = Some(all);
    }

    /// The last of them has ended, which is the last to do so.
    pub fn end(&self) {
        *self.lock() = None;
    }

    /// All of them.
    pub fn list(&self) -> Vec<OlderServer> {
        self.lock().clone().unwrap_or_default()
    }

    /// In words; `None` where there is none.
    pub fn in_words(&self) -> Option<String> {
        let all = self.list();
        let sessions: u64 = all.iter().map(|one| one.sessions).sum();
        match all.len() {
            0 => None,
            1 => Some(format!("the server before this one has {sessions} yet")),
            many => Some(format!("{many} servers before this one have {sessions} yet")),
        }
    }

    /// As the endpoint shows them.
    pub(super) fn shown(&self) -> Vec<Value> {
        let time = |seconds: u64| {
            i64::try_from(seconds)
                .ok()
                .and_then(|seconds| Timestamp::from_second(seconds).ok())
                .map(|time| time.to_string())
        };
        let one = |OlderServer { pid, version, since, ends_by, sessions }: OlderServer| {
            let version = (!version.is_empty()).then_some(version);
            let since = (since != 0).then(|| time(since)).flatten();
            json!({
                "pid": pid, "version": version, "since": since, "ends_by": ends_by.and_then(time), "sessions": sessions,
            })
        };
        self.list().into_iter().map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<OlderServer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A moment so far from now, in seconds since 1970.
pub fn unix_seconds(from_now: Duration) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(from_now).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_shown_until_the_last_has_ended() {
        let older = OlderServers::default();
        assert!(!older.are_there() && older.in_words().is_none());
        let of = |pid, ends_by, sessions| OlderServer {
            pid: Some(pid),
            version: "0.1.0".to_owned(),
            since: 1_700_000_000,
            ends_by,
            sessions,
        };
        older.tell(vec![of(7, Some(1_700_000_600), 3), of(5, None, 2)]);
        assert_eq!(older.in_words().as_deref(), Some("2 servers before this one have 5 yet"));
        assert_eq!(
            older.shown(),
            [
                json!({"pid": 7, "version": "0.1.0", "since": "2023-11-14T22:13:20Z", "ends_by": "2023-11-14T22:23:20Z", "sessions": 3}),
                json!({"pid": 5, "version": "0.1.0", "since": "2023-11-14T22:13:20Z", "ends_by": null, "sessions": 2}),
            ]
        );
        older.tell(vec![OlderServer { sessions: 1, ..OlderServer::default() }]);
        assert_eq!(
            older.shown(),
            [json!({"pid": null, "version": null, "since": null, "ends_by": null, "sessions": 1})]
        );
        older.end();
        assert!(!older.are_there() && older.shown().is_empty());
    }
}
