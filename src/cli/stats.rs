//! `outflow stats`: what a running server does and has done, on one page or as JSON.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{AdminClient, ClientError};
use super::field::{at, list, number, text, warned, whole};
use super::table::{Align, Column, Table};
use super::units::{byte_rate, bytes, count_of, duration, grouped};
use super::{egress, parent};
use crate::console::say;

/// The distributions, in the order in which a session meets them.
const LATENCIES: [&str; 8] =
    ["handshake", "auth", "dns", "connect", "first_byte", "session", "turn", "delay"];

/// Prints the state, rates, workers, latencies and counters; with `json` what the endpoint answers.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn run(client: &AdminClient, json: bool) -> Result<ExitCode, ClientError> {
    let target = "/api/v1/stats";
    if json {
        return Ok(say(&(client.get_text(target)? + "\n")));
    }
    let stats = client.get(target)?;
    warned(&stats);
    Ok(say(&page(&stats)))
}

fn page(stats: &Value) -> String {
    let pools = egress::overview(list(stats, "egress"), None);
    let parents = parent::overview(list(stats, "parents"), None);
    let parts = [
        head(stats),
        workers(stats),
        latencies(stats),
        rules(stats),
        limits(stats),
        pools,
        parents,
        counters(stats),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn head(stats: &Value) -> String {
    let field = |name| at(stats, &[name]);
    let rate = |name| at(stats, &["rates", name]);
    let process = |name| at(stats, &["process", name]);
    let plain = |value: &Value| number(value, |number| format!("{number:.0}"));
    let ready = match field("ready").as_bool() {
        Some(true) => match field("degraded") {
            Value::Null => "ready".to_owned(),
            what => format!("ready, degraded: {}", text(what)),
        },
        _ => format!("not ready: {}", text(field("not_ready"))),
    };
    let alive =
        if field("alive").as_bool() == Some(false) { "; not alive: a worker stands still" } else { "" };
    let listeners: Vec<String> = list(stats, "listeners").iter().map(text).collect();
    let counter = |name| grouped(whole(at(stats, &["counters", name])));
    let mut lines = Table::bare(&[Align::Left, Align::Left]);
    lines.row([
        format!("outflow {}", text(field("version"))),
        format!(
            "{}, {ready}{alive}; up {}; relay {}; log level {}",
            text(field("state")),
            number(field("uptime_s"), |seconds| duration(seconds * 1000.0)),
            text(field("relay")),
            text(field("log_level")),
        ),
    ]);
    lines.row(["listeners".into(), listeners.join(", ")]);
    for older in list(stats, "older") {
        lines.row(["older server".into(), older_server(older)]);
    }
    lines.row(["sessions".into(), format!("{} now, {} accepted", counter("active"), counter("accepted"))]);
    lines.row([
        "per second".into(),
        format!(
            "{} new, {} closed, {} refused; {} up, {} down; datagrams {} up, {} down, {} dropped",
            plain(rate("accepted")),
            plain(rate("closed")),
            plain(rate("refused")),
            number(rate("bytes_up"), byte_rate),
            number(rate("bytes_down"), byte_rate),
            plain(rate("datagrams_up")),
            plain(rate("datagrams_down")),
            plain(rate("datagrams_dropped")),
        ),
    ]);
    lines.row([
        "process".into(),
        format!(
            "{} of CPU time, {} of memory, {} of {} descriptors, {}",
            number(process("cpu_s"), |seconds| duration(seconds * 1000.0)),
            number(process("rss_bytes"), bytes),
            plain(process("open_fds")),
            plain(process("max_fds")),
            count_of(whole(process("threads")), "thread"),
        ),
    ]);
    lines.render(None)
}

/// A server that comes to its end behind a hand-over.
fn older_server(older: &Value) -> String {
    let field = |name| at(older, &[name]);
    let process = match whole(field("pid")) {
        0 => "an older version, which tells no more".to_owned(),
        pid => format!("process {pid}, outflow {}, since {}", text(field("version")), text(field("since"))),
    };
    let ends = match field("ends_by") {
        Value::Null => "with the last of them".to_owned(),
        by => format!("at {} at the latest", text(by)),
    };
    format!("{process}: {}; ends {ends}", count_of(whole(field("sessions")), "session"))
}

fn workers(stats: &Value) -> String {
    let left = Align::Left;
    let right = Align::Right;
    let mut table = Table::titled(&[
        Column::new("WORKER", right),
        Column::new("SESSIONS", right),
        Column::new("OF", right),
        Column::new("ACCEPTED", right),
        Column::new("UP", right),
        Column::new("DOWN", right),
        Column::new("TURN P99", right),
        Column::new("DELAY P99", right),
        Column::new("DOES", left),
    ]);
    for worker in list(stats, "workers") {
        let field = |name| at(worker, &[name]);
        let count = |name| grouped(whole(field(name)));
        let stalled = if field("stalled").as_bool() == Some(true) { " (stands still)" } else { "" };
        table.row([
            whole(field("number")).to_string(),
            count("active"),
            count("sessions_max"),
            count("accepted"),
            number(field("bytes_up"), bytes),
            number(field("bytes_down"), bytes),
            number(at(worker, &["turn_ms", "p99"]), duration),
            number(at(worker, &["delay_ms", "p99"]), duration),
            format!("{}{stalled}", text(field("activity"))),
        ]);
    }
    table.render(None)
}

fn latencies(stats: &Value) -> String {
    let right = Align::Right;
    let mut table = Table::titled(&[
        Column::new("LAST MINUTE", Align::Left),
        Column::new("COUNT", right),
        Column::new("P50", right),
        Column::new("P90", right),
        Column::new("P99", right),
        Column::new("P99.9", right),
        Column::new("MAX", right),
    ]);
    for name in LATENCIES {
        let field = |field| at(stats, &["latencies", name, field]);
        let time = |name| number(field(name), duration);
        table.row([
            name.replace('_', " "),
            grouped(whole(field("count"))),
            time("p50_ms"),
            time("p90_ms"),
            time("p99_ms"),
            time("p999_ms"),
            time("max_ms"),
        ]);
    }
    table.render(None)
}

/// The rules with the most hits, where there are rules.
fn rules(stats: &Value) -> String {
    let rules = list(stats, "rules");
    if rules.is_empty() {
        return String::new();
    }
    let right = Align::Right;
    let mut table = Table::titled(&[
        Column::new("RULE", Align::Left),
        Column::new("SAYS", Align::Left),
        Column::new("ALLOWED", right),
        Column::new("DENIED", right),
        Column::new("WOULD DENY", right),
        Column::new("WOULD ALLOW", right),
    ]);
    for rule in rules {
        let field = |name| at(rule, &[name]);
        let count = |name| grouped(whole(field(name)));
        let says = match field("mode").as_str() {
            Some("report") => format!("{} (report)", text(field("action"))),
            _ => text(field("action")),
        };
        let hits = ["allow", "deny", "would_deny", "would_allow"].map(count);
        table.row([text(field("rule")), says].into_iter().chain(hits));
    }
    table.render(None)
}

/// The limits that are fullest, where there are limits.
fn limits(stats: &Value) -> String {
    let limits = list(stats, "limits");
    if limits.is_empty() {
        return String::new();
    }
    let right = Align::Right;
    let mut table = Table::titled(&[
        Column::new("LIMIT", Align::Left),
        Column::new("PER", Align::Left),
        Column::new("SUBJECTS", right),
        Column::new("FULLEST", right),
        Column::new("REACHED", right),
    ]);
    for limit in limits {
        let field = |name| at(limit, &[name]);
        let fill =
            field("fill").as_f64().map_or_else(|| "-".to_owned(), |fill| format!("{:.0}%", fill * 100.0));
        let (subjects, reached) = (grouped(whole(field("subjects"))), grouped(whole(field("reached"))));
        table.row([text(field("limit")), text(field("per")), subjects, fill, reached]);
    }
    table.render(None)
}

/// Those that count anything.
fn counters(stats: &Value) -> String {
    let mut table = Table::titled(&[Column::new("COUNTERS", Align::Left), Column::new("", Align::Right)]);
    for (name, value) in at(stats, &["counters"]).as_object().into_iter().flatten() {
        let value = whole(value);
        if value > 0 {
            table.row([super::text::visible(name), grouped(value)]);
        }
    }
    table.render(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_says_state_rates_workers_latencies_and_counters() {
        let stats = json!({
            "version": "0.1.0", "uptime_s": 3725.5, "state": "serving", "ready": true, "alive": true,
            "not_ready": null, "relay": "auto", "log_level": "info",
            "listeners": ["127.0.0.1:1080", "[::1]:1080"],
            "workers": [
                {"number": 0, "active": 12, "accepted": 3456, "sessions_max": 4300, "activity": "waiting",
                 "stalled": false, "bytes_up": 1500, "bytes_down": 2_500_000,
                 "turn_ms": {"p99": 0.25}, "delay_ms": {"p99": 1.5}},
                {"number": 1, "active": 0, "accepted": 0, "sessions_max": 4300, "activity": "timers",
                 "stalled": true, "bytes_up": 0, "bytes_down": 0, "turn_ms": null, "delay_ms": null},
            ],
            "counters": {"accepted": 3456, "active": 12, "closed_completed": 3444, "refused_unrecorded": 0},
            "rules": [
                {"rule": "no-ads", "action": "deny", "mode": "report", "hits": 7, "allow": 0, "deny": 0,
                 "would_deny": 7, "would_allow": 0},
                {"rule": "default", "action": "allow", "mode": "enforce", "hits": 3456, "allow": 3456, "deny": 0,
                 "would_deny": 0, "would_allow": 0},
            ],
            "limits": [
                {"limit": "basic", "per": "user", "reached": 1234, "subjects": 12, "fill": 0.754},
                {"limit": "gone", "per": null, "reached": 1, "subjects": 0, "fill": null},
            ],
            "rates": {"accepted": 10.4, "closed": 9.0, "bytes_up": 1500.0, "bytes_down": 2e6, "refused": 0.0,
                      "datagrams_up": 0, "datagrams_down": 0, "datagrams_dropped": 0},
            "latencies": {"connect": {"count": 3, "p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 30.25,
                                      "p999_ms": 30.25, "max_ms": 1500.0}},
            "process": {"cpu_s": 1.2, "rss_bytes": 12_300_000, "open_fds": 20, "max_fds": 20_000, "threads": 9},
        });
        assert_eq!(
            page(&stats),
            "outflow 0.1.0  serving, ready; up 1h 02m; relay auto; log level info\n\
             listeners      127.0.0.1:1080, [::1]:1080\n\
             sessions       12 now, 3,456 accepted\n\
             per second     10 new, 9 closed, 0 refused; 1.50 kB/s up, 2 MB/s down; datagrams 0 up, 0 down, 0 dropped\n\
             process        1.20 s of CPU time, 12.3 MB of memory, 20 of 20000 descriptors, 9 threads\n\
             \n\
             WORKER  SESSIONS     OF  ACCEPTED       UP     DOWN  TURN P99  DELAY P99  DOES\n\
             \x20    0        12  4,300     3,456  1.50 kB  2.50 MB   0.25 ms    1.50 ms  waiting\n\
             \x20    1         0  4,300         0      0 B      0 B         -          -  timers (stands still)\n\
             \n\
             LAST MINUTE  COUNT   P50   P90      P99    P99.9     MAX\n\
             handshake        0     -     -        -        -       -\n\
             auth             0     -     -        -        -       -\n\
             dns              0     -     -        -        -       -\n\
             connect          3  1 ms  2 ms  30.2 ms  30.2 ms  1.50 s\n\
             first byte       0     -     -        -        -       -\n\
             session          0     -     -        -        -       -\n\
             turn             0     -     -        -        -       -\n\
             delay            0     -     -        -        -       -\n\
             \n\
             RULE     SAYS           ALLOWED  DENIED  WOULD DENY  WOULD ALLOW\n\
             no-ads   deny (report)        0       0           7            0\n\
             default  allow            3,456       0           0            0\n\
             \n\
             LIMIT  PER   SUBJECTS  FULLEST  REACHED\n\
             basic  user        12      75%    1,234\n\
             gone   -            0        -        1\n\
             \n\
             COUNTERS\n\
             accepted          3,456\n\
             active               12\n\
             closed_completed  3,444\n"
        );
    }

    #[test]
    fn servers_behind_a_hand_over_have_a_line_each() {
        let page = page(&json!({
            "state": "serving", "ready": true, "listeners": ["127.0.0.1:1080"],
            "older": [
                {"pid": 4711, "version": "0.1.0", "since": "2026-11-28T22:00:00Z", "ends_by": "2026-11-28T23:00:00Z", "sessions": 3},
                {"pid": 4700, "version": "0.1.0", "since": "2026-11-28T21:00:00Z", "ends_by": null, "sessions": 1},
                {"pid": null, "version": null, "since": null, "ends_by": null, "sessions": 2},
            ]
        }));
        let told: Vec<&str> = page.lines().filter(|line| line.starts_with("older")).collect();
        assert_eq!(
            told,
            [
                "older server  process 4711, outflow 0.1.0, since 2026-11-28T22:00:00Z: 3 sessions; ends at 2026-11-28T23:00:00Z at the latest",
                "older server  process 4700, outflow 0.1.0, since 2026-11-28T21:00:00Z: 1 session; ends with the last of them",
                "older server  an older version, which tells no more: 2 sessions; ends with the last of them",
            ]
        );
    }

    #[test]
    fn pools_and_parents_have_their_tables() {
        let page = page(&json!({
            "egress": [{"egress": "fleet", "select": "sticky", "addresses": {"serving": 3, "cooled": 1}, "sessions_active": 40,
                        "fullest_ports": 7, "ports_max": 1000}],
            "parents": [{"parent": "uplink", "select": "random", "servers": {"up": 2, "down": 1}, "sessions_active": 5,
                         "sessions": 60, "failures": {"refused": 3}, "warm_ready": 4}],
        }));
        assert!(
            page.contains(
                "\n\
                 POOL   SELECT  SERVING  COOLED  DRAINED  SESSIONS  TOTAL  PORTS  TIME_WAIT     FULLEST\n\
                 fleet  sticky        3       1        0        40      0      0          0  7 of 1,000\n\
                 \n\
                 PARENT  SELECT  UP  BACKUP  DOWN  DRAINED  SESSIONS  TOTAL  FAILURES  WARM\n\
                 uplink  random   2       0     1        0         5     60         3     4\n\
                 \n"
            ),
            "{page}"
        );
    }

    #[test]
    fn an_answer_of_another_version_still_makes_a_page() {
        let page =
            page(&json!({"state": "draining", "ready": false, "not_ready": "draining", "alive": false}));
        assert!(page.starts_with(
            "outflow -   draining, not ready: draining; not alive: a worker stands still; up -; relay -; log level -\n"
        ), "{page}");
    }
}
