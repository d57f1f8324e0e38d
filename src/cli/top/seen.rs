//! What the admin endpoint answers, as far as it is shown. What it does not tell, or tells as null, is not known here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Null is what nothing is.
fn or_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// NumbersSeen by name.
pub(super) type NumbersSeen = BTreeMap<String, Option<f64>>;

/// `/api/v1/stats`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StatsSeen {
    pub(super) version: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) time: Option<String>,
    #[serde(default)]
    pub(super) uptime_s: Option<f64>,
    #[serde(default)]
    pub(super) alive: Option<bool>,
    #[serde(default)]
    pub(super) not_ready: Option<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) relay: String,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) listeners: Vec<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) older: Vec<OlderSeen>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) workers: Vec<WorkerSeen>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) counters: NumbersSeen,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) rates: NumbersSeen,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) latencies: BTreeMap<String, Option<SpreadSeen>>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) process: NumbersSeen,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) rules: Vec<RuleSeen>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) limits: Vec<LimitSeen>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) egress: Vec<PoolSeen>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) parents: Vec<ParentSeen>,
}

/// A server that comes to its end behind a hand-over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OlderSeen {
    pub(super) sessions: Option<f64>,
}

/// A pool of addresses, how many of them are in which state, and how many sessions leave from it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PoolSeen {
    pub(super) egress: String,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) addresses: NumbersSeen,
    pub(super) sessions_active: Option<f64>,
}

/// A parent, how many of its servers are in which state, and how many sessions go through it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ParentSeen {
    pub(super) parent: String,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) servers: NumbersSeen,
    pub(super) sessions_active: Option<f64>,
}

/// A limit, how often it was reached, and what part of it is used by whoever has the least left.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LimitSeen {
    pub(super) limit: String,
    pub(super) reached: Option<f64>,
    pub(super) fill: Option<f64>,
}

/// A rule, and how often it decided.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RuleSeen {
    pub(super) rule: String,
    pub(super) hits: Option<f64>,
}

impl StatsSeen {
    /// A rate; none is 0.
    pub(super) fn rate(&self, name: &str) -> f64 {
        self.rates.get(name).copied().flatten().unwrap_or_default()
    }

    /// How often a rule decided; none is 0.
    pub(super) fn hits(&self, rule: &str) -> f64 {
        let known = self.rules.iter().find(|seen| seen.rule == rule);
        known.and_then(|seen| seen.hits).unwrap_or_default()
    }

    /// How often a limit was reached; none is 0.
    pub(super) fn reached(&self, limit: &str) -> f64 {
        let known = self.limits.iter().find(|seen| seen.limit == limit);
        known.and_then(|seen| seen.reached).unwrap_or_default()
    }

    /// A counter; none is 0.
    pub(super) fn counter(&self, name: &str) -> f64 {
        self.counters.get(name).copied().flatten().unwrap_or_default()
    }
}

/// One worker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkerSeen {
    pub(super) number: u32,
    pub(super) active: Option<u64>,
    pub(super) stalled: Option<bool>,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) delay_ms: NumbersSeen,
}

impl WorkerSeen {
    /// How many sessions it has, as far as is known.
    pub(super) fn sessions(&self) -> u64 {
        self.active.unwrap_or_default()
    }

    /// The 99th percentile of the delay from readiness to service.
    pub(super) fn delay_p99(&self) -> Option<f64> {
        self.delay_ms.get("p99").copied().flatten()
    }
}

/// How durations are spread, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SpreadSeen {
    pub(super) count: Option<u64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p90_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) p999_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
}

/// `/api/v1/history`: what was, oldest first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HistorySeen {
    #[serde(deserialize_with = "or_nothing")]
    pub(super) series: BTreeMap<String, Vec<Option<f64>>>,
}

/// `/api/v1/top`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TalkersSeen {
    #[serde(deserialize_with = "or_nothing")]
    pub(super) users: Vec<TalkerSeen>,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) sources: Vec<TalkerSeen>,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) targets: Vec<TalkerSeen>,
}

/// Who, and how much in the last minute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TalkerSeen {
    pub(super) name: String,
    pub(super) sessions: Option<u64>,
    pub(super) bytes: Option<f64>,
}

/// `/api/v1/sessions`: a page of what matched.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct SessionsSeen {
    pub(super) total: usize,
    pub(super) matched: usize,
    pub(super) sessions: Vec<SessionSeen>,
}

/// One session.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SessionSeen {
    pub(super) id: String,
    pub(super) worker: Option<u32>,
    pub(super) client: Option<String>,
    pub(super) user: Option<String>,
    pub(super) command: Option<String>,
    pub(super) target: Option<String>,
    pub(super) address: Option<String>,
    pub(super) engine: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) state: Option<String>,
    pub(super) bytes_up: Option<f64>,
    pub(super) bytes_down: Option<f64>,
    pub(super) rate_up: Option<f64>,
    pub(super) rate_down: Option<f64>,
    pub(super) age_ms: Option<f64>,
    pub(super) idle_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_null_or_missing_is_not_known() {
        let stats = json!({
            "version": "0.1.0", "state": "serving", "uptime_s": null, "workers": [{"number": 3, "delay_ms": {"p99": 2.5}}, {"active": null, "delay_ms": null}],
            "counters": {"active": 7, "accepted": null}, "rates": null, "latencies": {"turn": null}, "new": [1],
        });
        let stats: StatsSeen = serde_json::from_value(stats).unwrap();
        assert_eq!(
            (stats.counter("active"), stats.counter("accepted"), stats.rate("closed")),
            (7.0, 0.0, 0.0)
        );
        assert_eq!((stats.workers[0].number, stats.workers[0].delay_p99()), (3, Some(2.5)));
        assert_eq!((stats.workers[1].sessions(), stats.workers[1].delay_p99()), (0, None));
        assert!(stats.latencies["turn"].is_none() && stats.uptime_s.is_none());
        let session = json!({"id": "1", "user": null, "rate_up": null, "bytes_up": 10});
        let session: SessionSeen = serde_json::from_value(session).unwrap();
        assert_eq!((session.user, session.rate_up, session.bytes_up), (None, None, Some(10.0)));
    }

    #[test]
    fn an_answer_of_something_else_is_none() {
        assert!(serde_json::from_value::<StatsSeen>(json!({"status": "ok"})).is_err());
        assert!(serde_json::from_value::<SessionsSeen>(json!([])).is_err());
    }
}
