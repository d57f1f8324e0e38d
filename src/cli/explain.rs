//! `outflow explain`: what would come of a request, by which rule, and why not by an earlier one. Asked of a configuration, or of
//! a running server.

mod way;

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueHint};
use serde_json::Value;

use super::client::{AdminArgs, AdminClient, target};
use super::field::{at, list, text, whole};
use super::table::{Align, Table};
use super::text::visible;
use super::units::{bytes, grouped};
use crate::admin::explanation_json;
use crate::config::ConfigSource;
use crate::console::{complain, say};
use crate::control::{ExplainError, explain};
use crate::session::Supposed;

/// Exit code of a request that would be denied.
const DENIED: u8 = 1;
/// Exit code where there is no answer.
const NO_ANSWER: u8 = 2;

/// The request, and whom to ask.
#[derive(Clone, Debug, Args)]
pub(super) struct ExplainArgs {
    /// The target: a name or an address, and the port, which resolve goes without
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// Who asks; without it nobody in particular
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Where the client comes from [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    from: Option<String>,
    /// connect, bind, udp_associate or resolve [default: connect]
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// The listener, by its name or its address in the file [default: the first one]
    #[arg(long, value_name = "LISTENER")]
    listener: Option<String>,
    /// Ask this configuration (TOML), and no server
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["address", "token_file"])]
    config: Option<PathBuf>,
    /// At this time, such as 2027-01-31T08:00:00Z, and not now
    #[arg(long = "at", value_name = "TIME")]
    time: Option<String>,
    /// The addresses that the name has, with commas between them: no name server is asked
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',', requires = "config")]
    resolve: Option<Vec<IpAddr>>,
    /// Print what the endpoint answers
    #[arg(long)]
    json: bool,
}

impl ExplainArgs {
    fn field(&self, name: &str) -> Option<&str> {
        match name {
            "to" => Some(&self.to),
            "user" => self.user.as_deref(),
            "from" => self.from.as_deref(),
            "command" => self.command.as_deref(),
            "listener" => self.listener.as_deref(),
            "at" => self.time.as_deref(),
            _ => None,
        }
    }
}

/// Explains a request. Exit code 0 where it would be allowed, 1 where it would be denied, 2 where there is no answer.
pub(super) fn run(args: &ExplainArgs, admin: &AdminArgs) -> ExitCode {
    let told = Supposed::read(|name| args.field(name)).and_then(|supposed| match &args.config {
        Some(_) => of_file(args, supposed),
        None => of_server(args, admin),
    });
    match told {
        Ok(told) => {
            let text = if args.json { format!("{told}\n") } else { words(&told) };
            let _ = say(&text);
            match at(&told, &["verdict"]).as_str() {
                Some("allow") if whole(at(&told, &["reply"])) == 0 && !at(&told, &["limit"]).is_string() => {
                    ExitCode::SUCCESS
                }
                _ => ExitCode::from(DENIED),
            }
        }
        Err(what) => {
            what.lines().for_each(|line| complain(&format_args!("outflow: {line}")));
            ExitCode::from(NO_ANSWER)
        }
    }
}

fn of_file(args: &ExplainArgs, supposed: Supposed) -> Result<Value, String> {
    let source = ConfigSource { file: args.config.clone(), ..ConfigSource::default() };
    let config = source.load().map_err(|problems| problems.to_string())?;
    let addresses = args.resolve.as_ref().map(|addresses| addresses.clone().into());
    let (told, names) = explain(&config, supposed, addresses).map_err(|error| match error {
        ExplainError::Config(problems) => problems.to_string(),
        ExplainError::Wrong(what) => what,
    })?;
    Ok(explanation_json(&told, &names, false))
}

fn of_server(args: &ExplainArgs, admin: &AdminArgs) -> Result<Value, String> {
    let query: Vec<(&str, &str)> =
        Supposed::FIELDS.iter().filter_map(|name| Some((*name, args.field(name)?))).collect();
    let client = AdminClient::new(admin)?;
    client.get(&target("/api/v1/explain", &query)).map_err(|error| error.to_string())
}

/// The answer in words: what would come of it, and under it what each rule comes to.
fn words(told: &Value) -> String {
    let field = |name: &str| text(at(told, &[name]));
    let who = match at(told, &["user"]).as_str() {
        Some(user) => format!("user {}", visible(user)),
        None => "nobody in particular".to_owned(),
    };
    // Nothing was judged in the end where there is nothing to judge.
    let outcome = match at(told, &["dns"]).is_string() && list(told, "addresses").is_empty() {
        true => "no address".to_owned(),
        false if is_dropped(told) => format!("dropped, though allowed by {}", by(told)),
        false => format!("{} by {}", verdict(at(told, &["verdict"])), by(told)),
    };
    let outcome = match at(told, &["limit"]).as_str() {
        Some(limit) => format!("{outcome}, and refused by limit {}", visible(limit)),
        None => outcome,
    };
    let mut words = format!(
        "{} to {} for {who} from {}: {outcome}, reply {}\n",
        field("command"),
        field("target"),
        field("client"),
        whole(at(told, &["reply"])),
    );
    // Writing to a string cannot fail.
    let parameters = at(told, &["parameters"]);
    if let Some(said) = said_of_session(parameters) {
        let _ = writeln!(words, "the name says of the session: {said}");
    }
    if let Some(rule) = at(told, &["would_deny"]).as_str() {
        let _ = writeln!(words, "rule {} would deny it, were it not in report mode", visible(rule));
    }
    if let Some(why) = at(told, &["dns"]).as_str() {
        let _ = writeln!(words, "the name has no address: {}", visible(why));
    }
    words.push_str(&way::egress(told));
    words.push_str(&way::parent(told));
    if !list(told, "limits").is_empty() {
        words.push_str(&limits(told));
    }
    let before = at(told, &["before"]);
    if before.is_object() {
        words.push_str(&one("before there is an address", before));
    }
    for address in list(told, "addresses") {
        words.push_str(&one(&text(at(address, &["address"])), address));
    }
    words
}

/// Whether its datagrams are allowed, and go nowhere all the same.
fn is_dropped(told: &Value) -> bool {
    let strays = |address: &Value| at(address, &["strays"]).as_bool() == Some(true);
    at(told, &["verdict"]).as_str() == Some("deny") && list(told, "addresses").iter().any(strays)
}

/// What stands in the name beside the user; `None` where nothing does.
fn said_of_session(parameters: &Value) -> Option<String> {
    let named = |name: &str| {
        let value = at(parameters, &[name]).as_str()?;
        Some(format!("{name} {}", visible(value)))
    };
    let ttl = at(parameters, &["ttl_s"]).as_u64().map(|seconds| format!("ttl {} s", grouped(seconds)));
    let parts: Vec<String> =
        named("session").into_iter().chain(ttl).chain(way::said_of_pool(parameters)).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The limits that it comes under, a line each: what they allow, and what part of that is used where a server says so.
fn limits(told: &Value) -> String {
    let mut table = Table::bare(&[Align::Left, Align::Left, Align::Left]);
    for limit in list(told, "limits") {
        let terms = at(limit, &["terms"]).as_object();
        let bound = |(kind, term): (&String, &Value)| {
            let used = at(limit, &["parts", kind]).as_f64();
            let used = used.map(|part| format!(" ({:.0}% used)", part * 100.0)).unwrap_or_default();
            let refuses = at(limit, &["refuses"]).as_str() == Some(kind);
            format!(
                "{} {}{used}{}",
                visible(kind),
                amount(kind, term),
                if refuses { ", reached" } else { "" }
            )
        };
        let bounds: Vec<String> = terms.into_iter().flatten().map(bound).collect();
        let holder = at(limit, &["holder"]).as_str().map_or_else(|| "each session".to_owned(), visible);
        table.row([format!("  {}", text(at(limit, &["limit"]))), holder, bounds.join("; ")]);
    }
    format!("limits\n{}", table.render(None))
}

/// A number, so much a second, or so much in a period.
fn amount(kind: &str, term: &Value) -> String {
    if let Some(quota) = at(term, &["bytes"]).as_f64() {
        return bytes(quota);
    }
    match at(term, &["rate"]).as_f64() {
        Some(rate) if ["upload", "download"].contains(&kind) => format!("{}/s", bytes(rate)),
        Some(rate) => format!("{}/s", grouped(rate as u64)),
        None => grouped(whole(term)),
    }
}

fn verdict(value: &Value) -> &'static str {
    if value.as_str() == Some("allow") { "allowed" } else { "denied" }
}

fn by(told: &Value) -> String {
    let by = match at(told, &["rule"]).as_str() {
        Some("default") => "the default".to_owned(),
        Some("guard") => "the guard".to_owned(),
        Some(rule) => format!("rule {}", visible(rule)),
        None => "nothing".to_owned(),
    };
    match at(told, &["egress_refused"]).is_string() {
        true => format!("its egress pool, where {by} allows it"),
        false => by,
    }
}

/// What is said of one address, with a line for each rule.
fn one(head: &str, told: &Value) -> String {
    let guard = at(told, &["guard"]).as_str().map(|why| format!(" ({})", visible(why))).unwrap_or_default();
    let mut table = Table::bare(&[Align::Left, Align::Left]);
    for rule in list(told, "rules") {
        let what = match (at(rule, &["result"]).as_str(), at(rule, &["key"]).as_str()) {
            (Some("decides"), _) => "decides".to_owned(),
            (Some("reports"), _) => "matches, and only reports".to_owned(),
            (Some("open"), _) => "denies what is not known yet".to_owned(),
            (_, Some(key)) if key.starts_with("not_") => format!("{} rules it out", visible(key)),
            (_, Some(key)) => format!("{} does not match", visible(key)),
            _ => "does not match".to_owned(),
        };
        table.row([format!("  {}", text(at(rule, &["rule"]))), what]);
    }
    let strays = match at(told, &["strays"]).as_bool() {
        Some(true) => ", and dropped: it is to go by another way than its association",
        _ => "",
    };
    let outcome = verdict(at(told, &["verdict"]));
    format!("{head}: {outcome} by {}{guard}{strays}\n{}", by(told), table.render(None))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_has_a_line_for_each_rule_of_each_address() {
        let told = json!({
            "user": "ann\u{1b}", "client": "192.0.2.7", "listener": null, "command": "connect",
            "target": "example.com:443", "verdict": "allow", "rule": "web", "would_deny": "strict", "reply": 0,
            "dns": null,
            "before": {"verdict": "allow", "rule": "web", "guard": null, "would_deny": null, "rules": [
                {"rule": "no-lan", "result": "open", "key": null}, {"rule": "web", "result": "decides", "key": null},
            ]},
            "addresses": [
                {"address": "10.0.0.1:443", "verdict": "deny", "rule": "guard",
                 "guard": "special-purpose destination (private)", "would_deny": null, "rules": []},
                {"address": "192.0.2.1:443", "verdict": "allow", "rule": "web", "guard": null, "would_deny": "strict",
                 "rules": [
                    {"rule": "no-lan", "result": "no_match", "key": "to"},
                    {"rule": "night", "result": "no_match", "key": "not_users"},
                    {"rule": "strict", "result": "reports", "key": null},
                    {"rule": "web", "result": "decides", "key": null},
                ]},
            ],
        });
        assert_eq!(
            words(&told),
            "connect to example.com:443 for user ann\\u{1b} from 192.0.2.7: allowed by rule web, reply 0\n\
             rule strict would deny it, were it not in report mode\n\
             before there is an address: allowed by rule web\n\
             \x20 no-lan  denies what is not known yet\n\
             \x20 web     decides\n\
             10.0.0.1:443: denied by the guard (special-purpose destination (private))\n\
             192.0.2.1:443: allowed by rule web\n\
             \x20 no-lan  to does not match\n\
             \x20 night   not_users rules it out\n\
             \x20 strict  matches, and only reports\n\
             \x20 web     decides\n"
        );
    }

    #[test]
    fn a_pool_that_cannot_be_left_from_is_what_refuses_and_no_rule() {
        let told = json!({
            "user": "ann", "client": "192.0.2.7", "command": "connect", "target": "192.0.2.1:443", "verdict": "deny",
            "rule": "web", "reply": 2, "egress_refused": "lacks_tags",
            "parameters": {"session": "x", "ttl_s": null, "tags": {"area": "fr"}, "pool": "lab"},
            "egress": {"pool": null, "select": null, "address": null, "entries": null, "leads": false},
            "addresses": [{"address": "192.0.2.1:443", "verdict": "deny", "rule": "web", "egress_refused": "lacks_tags", "rules": []}],
        });
        assert_eq!(
            words(&told),
            "connect to 192.0.2.1:443 for user ann from 192.0.2.7: denied by its egress pool, where rule web allows it, reply 2\n\
             the name says of the session: session x, area fr, pool lab\n\
             refused: the egress pool that is asked for has not the tags that are asked for (area fr, pool lab)\n\
             192.0.2.1:443: denied by its egress pool, where rule web allows it\n"
        );
    }

    #[test]
    fn an_answer_of_nothing_is_said_without_trust() {
        let told = words(&json!({"verdict": 1, "rule": {}, "addresses": [{}], "before": {"rules": [{}]}}));
        assert!(
            told.starts_with("- to - for nobody in particular from -: denied by nothing, reply 0\n"),
            "{told}"
        );
    }

    #[test]
    fn limits_have_a_line_each_with_what_is_used_where_that_is_known() {
        let limit = |parts: Value, refuses: Value| {
            json!({
                "limit": "basic", "holder": "user:ann", "parts": parts, "refuses": refuses,
                "terms": {"connections": 1000, "upload": {"rate": 2_000_000, "burst": 1}},
            })
        };
        let told = |limit: Value, name: Value| {
            let each = json!({
                "limit": "each", "holder": null,
                "terms": {"datagrams": {"rate": 5000, "burst": 1}, "quota": {"bytes": 5e9, "direction": "both"}},
            });
            words(
                &json!({"verdict": "allow", "rule": "web", "reply": 2, "limit": name, "limits": [limit, each]}),
            )
        };
        let running =
            told(limit(json!({"connections": 1.0, "upload": 0.126}), "connections".into()), "basic".into());
        assert!(
            running.contains(": allowed by rule web, and refused by limit basic, reply 2\n"),
            "{running}"
        );
        assert!(
            running.ends_with(
                "limits\n\
                 \x20 basic  user:ann      connections 1,000 (100% used), reached; upload 2 MB/s (13% used)\n\
                 \x20 each   each session  datagrams 5,000/s; quota 5 GB\n"
            ),
            "{running}"
        );
        let of_file = told(limit(Value::Null, Value::Null), Value::Null);
        assert!(of_file.contains("  basic  user:ann      connections 1,000; upload 2 MB/s\n"), "{of_file}");
    }

    #[test]
    fn a_parent_of_which_no_server_serves_is_said_with_why() {
        let server = |place: u8, state: &str, cause: Value| {
            let until = if state == "down" { json!("2026-11-27T21:00:00.000Z") } else { Value::Null };
            json!({"server": format!("http://a:{place}"), "state": state, "cause": cause, "until": until})
        };
        let told = |fallback: &str, servers: Value| {
            let parent = json!({"parent": "up", "resolves": false, "takes": true, "fallback": fallback, "servers": servers});
            words(&json!({"verdict": "allow", "rule": "web", "reply": 0, "parent": parent}))
        };
        let two = json!([server(1, "down", json!("refused")), server(2, "drained", Value::Null)]);
        let line = "goes through parent up\nno server of parent up serves now: http://a:1 is down (refused) until 2026-11-27 21:00:00Z, \
                    http://a:2 is drained; ";
        let all = told("fail", two.clone());
        assert!(
            all.contains(&format!("{line}the one that is back soonest is tried all the same\n")),
            "{all}"
        );
        assert!(told("direct", two).contains(&format!("{line}it goes without the parent\n")));
        for servers in
            [json!([server(1, "down", Value::Null), server(2, "backup", Value::Null)]), Value::Null]
        {
            assert!(told("fail", servers).ends_with("goes through parent up\n"));
        }
    }

    #[test]
    fn a_name_without_an_address_is_denied_by_nobody() {
        let told = json!({"verdict": "deny", "reply": 4, "dns": "no such name", "addresses": []});
        assert!(words(&told).contains(": no address, reply 4\n"), "{}", words(&told));
    }
}
