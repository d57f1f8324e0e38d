//! What an endpoint answers: for tests, in the JSON that it writes.
#![cfg(feature = "top")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::look::{Fetch, Look, LookReport, Looker, Trouble};
use super::model::{Model, first_page};

/// An endpoint that is made up: its answers by the path before the query.
#[derive(Clone)]
pub(super) struct MadeUp {
    pub(super) stats: Value,
    pub(super) history: Value,
    pub(super) top: Value,
    /// All sessions, in the order in which they are told.
    pub(super) sessions: Vec<Value>,
}

impl MadeUp {
    /// Somewhat busy: two workers, UDP, refusals of several kinds, and this many sessions.
    pub(super) fn busy(sessions: usize) -> MadeUp {
        MadeUp {
            stats: stats(sessions),
            history: history(),
            top: top(),
            sessions: (0..sessions).map(session).collect(),
        }
    }

    /// Just started.
    pub(super) fn idle() -> MadeUp {
        let stats = json!({
            "version": "0.1.0", "time": "2026-11-27T21:00:00.000Z", "uptime_s": 0.4, "state": "serving", "ready": true, "alive": true, "not_ready": null,
            "relay": "auto", "listeners": ["127.0.0.1:1080"], "log_level": "info",
            "workers": [{"number": 0, "active": 0, "stalled": false, "turn_ms": {"p50": null, "p99": null, "max": null}, "delay_ms": {"p50": null, "p99": null, "max": null}}],
            "counters": {"accepted": 0, "active": 0}, "rates": {"accepted": 0.0},
            "latencies": {"handshake": {"count": 0, "p50_ms": null, "p99_ms": null}}, "process": {"cpu_s": 0.0, "rss_bytes": null},
        });
        let history = json!({"interval_s": 1, "end": "2026-11-27T21:00:00Z", "series": {"active": [0], "accepted": [null]}});
        let top = json!({"window_s": 60, "by": "bytes", "users": [], "sources": [], "targets": []});
        MadeUp { stats, history, top, sessions: Vec::new() }
    }

    /// One look at it.
    pub(super) fn look(&self) -> Look {
        Looker::new(self.clone(), Duration::from_secs(1), first_page(24)).first().expect("it answers")
    }

    /// What is shown after two looks, a second apart.
    pub(super) fn model(&self, now: Instant) -> Model {
        let mut model = Model::new(self.look(), now);
        model.take(LookReport::Looked(Box::new(self.look())), now + Duration::from_secs(1));
        model
    }

    /// Answers what the screen asks for next, as long as it does.
    pub(super) fn answer(&self, model: &mut Model) {
        while let Some(page) = model.next_page() {
            model.asked_for(page.clone());
            let sessions = self.page(page.offset, page.limit);
            model.take(
                LookReport::Listed(page, Ok(serde_json::from_value(sessions).expect("a page"))),
                Instant::now(),
            );
        }
    }

    fn page(&self, offset: usize, limit: usize) -> Value {
        let count = self.sessions.len();
        let sessions: Vec<&Value> = self.sessions.iter().skip(offset).take(limit).collect();
        json!({"time": "2026-11-27T21:00:00Z", "total": count, "matched": count, "sessions": sessions})
    }
}

impl Fetch for MadeUp {
    fn get(&mut self, path: &str) -> Result<Value, Trouble> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let value = |key: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            pair.and_then(|value| value.parse().ok())
        };
        Ok(match path {
            "/api/v1/stats" => self.stats.clone(),
            "/api/v1/history" => self.history.clone(),
            "/api/v1/top" => self.top.clone(),
            "/api/v1/sessions" => self.page(value("offset").unwrap_or(0), value("limit").unwrap_or(100)),
            other => panic!("nothing is at {other}"),
        })
    }

    fn delete(&mut self, path: &str) -> Result<Value, Trouble> {
        let id = path.strip_prefix("/api/v1/sessions/").expect("one session");
        let before = self.sessions.len();
        self.sessions.retain(|session| session["id"] != id);
        Ok(json!({"ended": before - self.sessions.len()}))
    }
}

fn stats(sessions: usize) -> Value {
    let worker = |number: usize, active: usize| {
        json!({
            "number": number, "active": active, "accepted": 12_345, "sessions_max": 4300, "activity": "waiting", "stalled": false, "bytes_up": 1, "bytes_down": 2,
            "turn_ms": {"p50": 0.05, "p99": 0.8, "max": 4.0}, "delay_ms": {"p50": 0.06, "p99": 1.25 + number as f64, "max": 5.0},
        })
    };
    let spread = |count: u64, ms: f64| json!({"count": count, "p50_ms": ms, "p90_ms": ms * 3.0, "p99_ms": ms * 10.0, "p999_ms": ms * 25.0, "max_ms": ms * 40.0});
    json!({
        "version": "0.1.0", "time": "2026-11-27T21:14:05.123Z", "uptime_s": 11_045.6, "state": "serving", "ready": true, "alive": true, "not_ready": null,
        "relay": "auto", "listeners": ["127.0.0.1:1080", "[::1]:1080"], "log_level": "info",
        "workers": [worker(0, sessions - sessions / 3), worker(1, sessions / 3)],
        "counters": {
            "accepted": 123_456, "active": sessions, "closed_completed": 120_000, "closed_denied": 1234, "denied_special_purpose": 1200, "denied_rule": 34, "closed_auth_failed": 17, "closed_protocol": 3, "closed_http": 0,
            "closed_connect_failed": 250, "closed_dns_failed": 40, "udp_dropped_stranger": 12, "udp_dropped_blocked": 900, "records_lost": 0, "stalls": 0,
        },
        "rates": {"accepted": 120.5, "closed": 118.0, "bytes_up": 1_234_567.0, "bytes_down": 98_765_432.0, "datagrams_up": 1500.0, "datagrams_down": 820.0, "datagrams_dropped": 2.5, "refused": 1.5},
        "latencies": {
            "handshake": spread(7000, 0.4), "auth": null, "dns": spread(0, 0.0), "connect": spread(7000, 1.2), "first_byte": spread(6900, 3.1), "session": spread(7000, 4000.0),
            "turn": spread(99_999, 0.05), "delay": spread(99_999, 0.06),
        },
        "process": {"cpu_s": 4000.0, "rss_bytes": 34_500_000, "open_fds": 20, "max_fds": 20_000, "threads": 9},
    })
}

/// Three minutes: a wave of sessions, steady bytes with a gap in the middle, a refusal now and then.
fn history() -> Value {
    let points = || 0..180;
    let wave: Vec<f64> = points().map(|at| 500.0 + 400.0 * (f64::from(at) / 9.0).sin()).collect();
    let bytes: Vec<Option<f64>> =
        points().map(|at| (at % 20 > 1).then_some(1e6 + f64::from(at % 7) * 3e5)).collect();
    let refused: Vec<f64> = points().map(|at| if at % 11 == 0 { 3.0 } else { 0.0 }).collect();
    json!({"interval_s": 1, "end": "2026-11-27T21:14:05Z", "series": {"active": wave, "accepted": wave, "bytes_up": bytes, "bytes_down": bytes, "refused": refused}})
}

fn top() -> Value {
    let talker = |name: &str, sessions: u64, bytes: u64| json!({"name": name, "sessions": sessions, "bytes": bytes, "over": 0});
    json!({
        "window_s": 60, "by": "bytes",
        "users": [talker("ann", 310, 5_120_000_000), talker("bob", 42, 87_000_000), talker("carol/admin", 3, 1200)],
        "sources": [talker("192.0.2.7", 280, 4_000_000_000_u64), talker("2001:db8:1:2::/64", 75, 1_200_000_000)],
        "targets": [talker("cdn.example.com", 290, 5_000_000_000_u64), talker("mail.example.org", 20, 4_100_000)],
    })
}

/// The session of this number: the first is the oldest.
fn session(number: usize) -> Value {
    let user = ["ann", "bob", "carol/admin"][number % 3];
    let (command, state) =
        if number % 10 == 4 { ("udp_associate", "associated") } else { ("connect", "relaying") };
    json!({
        "id": format!("00c0ffee00{number:010x}"), "time": "2026-11-27T20:00:00.000Z", "worker": number % 2, "client": format!("192.0.2.{}:{}", number % 250, 40_000 + number % 20_000),
        "listener": "127.0.0.1:1080", "user": user, "method": "password", "command": command, "target": format!("host-{number}.example.com:443"),
        "address": "198.51.100.7:443", "local": "192.0.2.9:5000", "reply": 0, "engine": "splice", "bytes_up": 1000 * number, "bytes_down": 1_234_567,
        "state": state, "age_ms": 7_380_000 - 137 * number as i64, "idle_ms": 10, "rate_up": if number == 1 { Value::Null } else { json!(512.0) }, "rate_down": if number == 1 { Value::Null } else { json!(34_500.0) },
    })
}
