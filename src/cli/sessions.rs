//! `outflow sessions`: the live sessions of a running server as a table or as JSON, and the end of some.

use std::process::ExitCode;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;

use super::client::{AdminClient, ClientError, encoded, target};
use super::field::{UNKNOWN, at, list, number, text, warned, whole};
use super::offered::Offered;
use super::page::PageArgs;
use super::table::{Align, Column, Table, terminal_width};
use super::units::{byte_rate, bytes, count_of, duration, grouped};
use crate::console::{complain, say};
use crate::observe::live::LiveState;

/// What sessions are sorted by.
const COLUMNS: [&str; 18] = [
    "age",
    "bytes",
    "bytes_up",
    "bytes_down",
    "rate",
    "user",
    "client",
    "target",
    "state",
    "-age",
    "-bytes",
    "-bytes_up",
    "-bytes_down",
    "-rate",
    "-user",
    "-client",
    "-target",
    "-state",
];

/// What sessions ask for.
const COMMANDS: [&str; 5] = ["connect", "bind", "udp_associate", "resolve", "resolve_ptr"];

/// What sessions speak.
const PROTOCOLS: [&str; 3] = ["socks5", "socks4", "http"];

/// Where the endpoint has them.
const SESSIONS: &str = "/api/v1/sessions";

/// Which sessions, in which order, and what of them. What a value may be is the server's to judge: it may be a newer one.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SessionsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// By this, from the least, or with `-` before it from the greatest [default: -age]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, value_parser = Offered::some(COLUMNS))]
    sort: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    /// End the session of this ID, or without one all that the other flags choose
    #[arg(long, value_name = "ID", conflicts_with_all = ["sort", "limit", "offset", "json"])]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    kill: Option<Option<String>>,
}

/// Which sessions. No value is empty: a variable that is not set in a script would choose all of them.
#[derive(Clone, Debug, Default, Args)]
struct FilterArgs {
    /// Of this user
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// From this address or block (CIDR)
    #[arg(long, value_name = "ADDRESS", value_parser = NonEmptyStringValueParser::new())]
    source: Option<String>,
    /// To this name, `*.example.com`, NAME:PORT, or address or block dialled
    #[arg(long, value_name = "TARGET", value_parser = NonEmptyStringValueParser::new())]
    target: Option<String>,
    /// That asked for this
    #[arg(long, value_name = "COMMAND", value_parser = Offered::some(COMMANDS))]
    command: Option<String>,
    /// That speak this
    #[arg(long, value_name = "PROTOCOL", value_parser = Offered::some(PROTOCOLS))]
    protocol: Option<String>,
    /// By this listener: its name, or where it listens
    #[arg(long, value_name = "LISTENER", value_parser = NonEmptyStringValueParser::new())]
    listener: Option<String>,
    /// About which this rule decided; default and guard are no rules, but have their sessions, too
    #[arg(long, value_name = "RULE", value_parser = NonEmptyStringValueParser::new())]
    rule: Option<String>,
    /// That leave from this pool of addresses
    #[arg(long, value_name = "POOL", value_parser = NonEmptyStringValueParser::new())]
    egress: Option<String>,
    /// That stand here
    #[arg(long, value_name = "STATE", value_parser = Offered::some(LiveState::ALL.map(LiveState::name)))]
    state: Option<String>,
    /// At least so old, such as 90s or 5m
    #[arg(long, value_name = "AGE", value_parser = NonEmptyStringValueParser::new())]
    min_age: Option<String>,
    /// At most so old
    #[arg(long, value_name = "AGE", value_parser = NonEmptyStringValueParser::new())]
    max_age: Option<String>,
    /// With at least so many bytes moved
    #[arg(long, value_name = "BYTES")]
    min_bytes: Option<u64>,
    /// With at most so many bytes moved
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    /// That now move at least so many bytes a second
    #[arg(long, value_name = "BYTES")]
    min_rate: Option<u64>,
    /// Of this worker
    #[arg(long, value_name = "N")]
    worker: Option<u64>,
}

impl FilterArgs {
    /// As the endpoint's parameters.
    fn query(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let all = [
            ("user", self.user.clone()),
            ("source", self.source.clone()),
            ("target", self.target.clone()),
            ("command", self.command.clone()),
            ("protocol", self.protocol.clone()),
            ("listener", self.listener.clone()),
            ("rule", self.rule.clone()),
            ("egress", self.egress.clone()),
            ("state", self.state.clone()),
            ("min_age", self.min_age.clone()),
            ("max_age", self.max_age.clone()),
            ("min_bytes", number(self.min_bytes)),
            ("max_bytes", number(self.max_bytes)),
            ("min_rate", number(self.min_rate)),
            ("worker", number(self.worker)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Lists or ends sessions.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn run(client: &AdminClient, args: &SessionsArgs) -> Result<ExitCode, ClientError> {
    let mut query = args.filter.query();
    let ended = match &args.kill {
        None => {
            query.extend(args.sort.clone().map(|value| ("sort", value)));
            query.extend(args.page.query());
            let target = target(SESSIONS, &query);
            if args.page.json {
                return Ok(say(&(client.get_text(&target)? + "\n")));
            }
            let answer = client.get(&target)?;
            warned(&answer);
            return Ok(say(&listing(&answer, terminal_width())));
        }
        Some(None) if query.is_empty() => {
            return Ok(wrong("--kill without an ID needs a flag that chooses sessions, such as --user"));
        }
        Some(Some(_)) if !query.is_empty() => {
            return Ok(wrong("--kill with an ID goes without flags that choose sessions"));
        }
        Some(None) => client.delete(&target(SESSIONS, &query))?,
        Some(Some(id)) => client.delete(&format!("{SESSIONS}/{}", encoded(id)))?,
    };
    // The deed counts; nobody need read the words.
    let _ = say(&format!("ended {}\n", count_of(whole(at(&ended, &["ended"])), "session")));
    Ok(if warned(&ended) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what is wrong with the command line.
fn wrong(what: &str) -> ExitCode {
    complain(&format_args!("outflow: {what}"));
    ExitCode::from(2)
}

/// The table, and how many there are beside what it shows.
fn listing(answer: &Value, width: Option<usize>) -> String {
    let mut table = Table::titled(&[
        Column::new("ID", Align::Left),
        Column::new("AGE", Align::Right),
        Column::new("STATE", Align::Left).spare(2),
        Column::new("USER", Align::Left).cut(),
        Column::new("CLIENT", Align::Left).cut(),
        Column::new("LISTENER", Align::Left).spare(5),
        Column::new("PROTOCOL", Align::Left).spare(4),
        Column::new("TARGET", Align::Left).cut(),
        Column::new("RULE", Align::Left).spare(3),
        Column::new("EGRESS", Align::Left).spare(6),
        Column::new("UP", Align::Right).spare(1),
        Column::new("DOWN", Align::Right).spare(1),
        Column::new("RATE", Align::Right),
    ]);
    let sessions = list(answer, "sessions");
    for session in sessions {
        let field = |name| at(session, &[name]);
        let rate = match (field("rate_up").as_f64(), field("rate_down").as_f64()) {
            (None, None) => UNKNOWN.to_owned(),
            (up, down) => byte_rate(up.unwrap_or_default() + down.unwrap_or_default()),
        };
        table.row([
            text(field("id")),
            number(field("age_ms"), duration),
            text(field("state")),
            text(field("user")),
            text(field("client")),
            text(field("listener")),
            text(field("protocol")),
            text(field("target")),
            text(field("rule")),
            text(field("egress")),
            number(field("bytes_up"), bytes),
            number(field("bytes_down"), bytes),
            rate,
        ]);
    }
    let (matched, total) = (whole(at(answer, &["matched"])), whole(at(answer, &["total"])));
    let shown = sessions.len() as u64;
    let counted = match (shown == matched, matched == total) {
        (true, true) => count_of(total, "session"),
        (true, false) => format!("{} of {}", grouped(matched), count_of(total, "session")),
        (false, true) => format!("{} of {} shown", grouped(shown), count_of(total, "session")),
        (false, false) => {
            let (shown, matched) = (grouped(shown), grouped(matched));
            format!("{shown} shown of {matched} that match, of {}", count_of(total, "session"))
        }
    };
    let table = if sessions.is_empty() { String::new() } else { table.render(width) };
    format!("{table}{counted}\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({"time": "2026-11-27T21:00:00.000Z", "total": 8123, "matched": 20, "sessions": [
            {"id": "6928a1f000000000000c", "client": "127.0.0.1:40000", "listener": "web", "protocol": "http", "user": null, "target": "example.com:443", "rule": "office", "egress": "fleet",
             "state": "relaying", "age_ms": 12345, "bytes_up": 1234, "bytes_down": 56_789_000,
             "rate_up": 1000.0, "rate_down": 2_000_000.0},
            {"id": "6928a1f0010000000007", "client": "[2001:db8::1]:9", "listener": "web", "protocol": null, "user": "ann\u{1b}[2J", "target": null,
             "state": "handshake", "age_ms": 5, "bytes_up": 0, "bytes_down": 0, "rate_up": null, "rate_down": null},
        ]})
    }

    #[test]
    fn a_listing_has_a_line_for_each_session_and_says_how_many_there_are() {
        assert_eq!(
            listing(&answer(), None),
            "ID                       AGE  STATE      USER          CLIENT           LISTENER  PROTOCOL  TARGET           RULE    EGRESS       UP     DOWN       RATE\n\
             6928a1f000000000000c  12.3 s  relaying   -             127.0.0.1:40000  web       http      example.com:443  office  fleet   1.23 kB  56.8 MB  2.00 MB/s\n\
             6928a1f0010000000007    5 ms  handshake  ann\\u{1b}[2J  [2001:db8::1]:9  web       -         -                -       -           0 B      0 B          -\n\
             2 shown of 20 that match, of 8,123 sessions\n"
        );
    }

    #[test]
    fn a_listing_fits_80_columns() {
        assert_eq!(
            listing(&answer(), Some(80)),
            "ID                       AGE  USER          CLIENT        TARGET            RATE\n\
             6928a1f000000000000c  12.3 s  -             127.0.0.1:4…  example.co…  2.00 MB/s\n\
             6928a1f0010000000007    5 ms  ann\\u{1b}[2J  [2001:db8::…  -                    -\n\
             2 shown of 20 that match, of 8,123 sessions\n"
        );
    }

    #[test]
    fn how_many_there_are_is_said_in_few_words() {
        let counted = |shown: usize, matched: u64, total: u64| {
            let sessions = vec![json!({}); shown];
            let all = listing(&json!({"total": total, "matched": matched, "sessions": sessions}), None);
            all.lines().last().unwrap().to_owned()
        };
        assert_eq!(counted(0, 0, 0), "0 sessions");
        assert_eq!(counted(1, 1, 1), "1 session");
        assert_eq!(counted(2, 2, 1000), "2 of 1,000 sessions");
        assert_eq!(counted(2, 1000, 1000), "2 of 1,000 sessions shown");
    }
}
