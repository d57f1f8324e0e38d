//! `outflow parent`: the parents of a running server and how their servers stand; a server is drained, or has sessions again.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{AdminArgs, AdminClient, ClientError, target};
use super::field::{at, list, moment, text, whole};
use super::offered::Offered;
use super::page::{PageArgs, counted};
use super::table::{Align, Column, Table, terminal_width};
use super::units::{count_of, grouped};
use crate::console::say;

/// What servers are sorted by.
const SORTED_BY: [&str; 8] =
    ["configured", "sessions", "failures", "state", "-configured", "-sessions", "-failures", "-state"];

/// How a server may stand.
const STATES: [&str; 4] = ["up", "backup", "down", "drained"];

/// Where the endpoint has them.
const PARENTS: &str = "/api/v1/parents";

/// What is done with parents.
#[derive(Debug, Subcommand)]
pub(super) enum ParentCommand {
    /// List the parents, and how many of their servers are up
    List {
        /// Print what the endpoint answers
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// List the servers of a parent, or of all, and how each stands
    Show {
        #[command(flatten)]
        show: ParentShowArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Have no new session go through a server; those that do go on
    Drain {
        #[command(flatten)]
        which: ParentServerArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Have sessions go through a server again that was drained, or is kept away from for what failed
    Restore {
        #[command(flatten)]
        which: ParentServerArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Which servers, in which order.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ParentShowArgs {
    /// The parent; without it all are meant
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Only those that stand so
    #[arg(long, value_name = "STATE", value_parser = Offered::some(STATES))]
    state: Option<String>,
    /// By this, from the least, or with `-` before it from the greatest [default: configured]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, value_parser = Offered::some(SORTED_BY))]
    sort: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Which server.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ParentServerArgs {
    /// The parent
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// The server as `show` has it, or its place in the parent's `servers`, from 1 on
    #[arg(value_name = "SERVER", value_parser = NonEmptyStringValueParser::new())]
    server: String,
    /// Print what the endpoint answers
    #[arg(long)]
    json: bool,
}

/// Lists parents.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn parents(client: &AdminClient, json: bool) -> Result<ExitCode, ClientError> {
    // The servers are another command's.
    let target = target(PARENTS, &[("limit", "0".to_owned())]);
    if json {
        return Ok(say(&(client.get_text(&target)? + "\n")));
    }
    Ok(say(&parent_table(&client.get(&target)?, terminal_width())))
}

/// Lists servers.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn servers(client: &AdminClient, args: &ParentShowArgs) -> Result<ExitCode, ClientError> {
    let chosen = [("name", &args.name), ("state", &args.state), ("sort", &args.sort)];
    let chosen = chosen.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let query: Vec<(&str, String)> = chosen.chain(args.page.query()).collect();
    let target = target(PARENTS, &query);
    if args.page.json {
        return Ok(say(&(client.get_text(&target)? + "\n")));
    }
    Ok(say(&server_table(&client.get(&target)?, terminal_width())))
}

/// Drains a server, or restores it.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn set(
    client: &AdminClient,
    which: &ParentServerArgs,
    drained: bool,
) -> Result<ExitCode, ClientError> {
    let ParentServerArgs { name, server, json } = which;
    let what = if drained { "drain" } else { "restore" };
    let answer = client.post(&format!("{PARENTS}/{what}"), &json!({"parent": name, "server": server}))?;
    // The deed counts; nobody need read the words.
    let _ = say(&if *json { format!("{answer}\n") } else { was_set(&answer) });
    Ok(ExitCode::SUCCESS)
}

fn was_set(answer: &Value) -> String {
    let (parent, server) = (text(at(answer, &["parent"])), text(at(answer, &["server"])));
    let changed = at(answer, &["changed"]).as_bool() != Some(false);
    match (at(answer, &["drained"]).as_bool() == Some(true), changed) {
        (true, true) => format!("drained: no new session goes through {server} of {parent}\n"),
        (true, false) => format!("nothing to do: {server} of {parent} is drained\n"),
        (false, true) => format!("restored: sessions go through {server} of {parent}\n"),
        (false, false) => format!("nothing to do: sessions go through {server} of {parent}\n"),
    }
}

fn parent_table(answer: &Value, width: Option<usize>) -> String {
    let parents = list(answer, "parents");
    format!("{}{}\n", overview(parents, width), count_of(parents.len() as u64, "parent"))
}

/// A line for each parent; nothing where there is none.
pub(super) fn overview(parents: &[Value], width: Option<usize>) -> String {
    let mut table = Table::titled(&[
        Column::new("PARENT", Align::Left).cut(),
        Column::new("SELECT", Align::Left).spare(2),
        Column::new("UP", Align::Right),
        Column::new("BACKUP", Align::Right),
        Column::new("DOWN", Align::Right),
        Column::new("DRAINED", Align::Right),
        Column::new("SESSIONS", Align::Right),
        Column::new("TOTAL", Align::Right).spare(3),
        Column::new("FAILURES", Align::Right),
        Column::new("WARM", Align::Right).spare(1),
    ]);
    for one in parents {
        let number = |path: &[&str]| grouped(whole(at(one, path)));
        table.row([
            text(at(one, &["parent"])),
            text(at(one, &["select"])),
            number(&["servers", "up"]),
            number(&["servers", "backup"]),
            number(&["servers", "down"]),
            number(&["servers", "drained"]),
            number(&["sessions_active"]),
            number(&["sessions"]),
            failures(one),
            number(&["warm_ready"]),
        ]);
    }
    if parents.is_empty() { String::new() } else { table.render(width) }
}

fn server_table(answer: &Value, width: Option<usize>) -> String {
    let mut table = Table::titled(&[
        Column::new("PARENT", Align::Left).cut(),
        Column::new("#", Align::Right),
        Column::new("SERVER", Align::Left).cut(),
        Column::new("WEIGHT", Align::Right).spare(3),
        Column::new("STATE", Align::Left),
        Column::new("CAUSE", Align::Left),
        Column::new("UNTIL", Align::Left).spare(2),
        Column::new("CHECK", Align::Left).spare(1),
        Column::new("SESSIONS", Align::Right),
        Column::new("TOTAL", Align::Right).spare(5),
        Column::new("FAILURES", Align::Right).spare(4),
        Column::new("WARM", Align::Right).spare(6),
    ]);
    let servers = list(answer, "servers");
    for one in servers {
        let field = |name: &str| at(one, &[name]);
        let number = |name: &str| grouped(whole(field(name)));
        table.row([
            text(field("parent")),
            number("place"),
            text(field("server")),
            number("weight"),
            text(field("state")),
            text(field("cause")),
            moment(field("until")),
            text(at(one, &["check", "found"])),
            number("sessions_active"),
            number("sessions"),
            failures(one),
            number("warm_ready"),
        ]);
    }
    let counted = counted(answer, servers.len());
    let table = if servers.is_empty() { String::new() } else { table.render(width) };
    format!("{table}{counted}\n")
}

/// All failures together.
fn failures(one: &Value) -> String {
    let all = at(one, &["failures"]).as_object().into_iter().flatten();
    grouped(all.map(|(_, count)| whole(count)).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        json!({
            "parents": [{
                "parent": "uplink", "select": "sticky", "servers": {"up": 1, "backup": 1, "down": 1, "drained": 0},
                "sessions_active": 1_234, "sessions": 56_789, "failures": {"refused": 3, "closed": 1_000}, "warm_ready": 4,
            }],
            "total": 3, "matched": 2, "servers": [
                {"parent": "uplink", "place": 1, "server": "socks5h://192.0.2.1:1080", "weight": 1, "state": "up", "cause": null,
                 "until": null, "check": {"time": "2026-11-27T20:59:58.000Z", "found": "ok"}, "sessions_active": 7, "sessions": 9,
                 "failures": {"refused": 0}, "warm_ready": 4},
                {"parent": "uplink", "place": 2, "server": "http://proxy.example:3128", "weight": 3, "state": "down", "cause": "refused",
                 "until": "2026-11-27T21:00:00.000Z", "check": null, "sessions_active": 0, "sessions": 2,
                 "failures": {"refused": 2, "closed": 1}, "warm_ready": 0},
            ],
        })
    }

    #[test]
    fn parents_and_servers_have_a_line_each() {
        assert_eq!(
            parent_table(&answer(), None),
            "PARENT  SELECT  UP  BACKUP  DOWN  DRAINED  SESSIONS   TOTAL  FAILURES  WARM\n\
             uplink  sticky   1       1     1        0     1,234  56,789     1,003     4\n\
             1 parent\n"
        );
        assert_eq!(
            server_table(&answer(), None),
            "PARENT  #  SERVER                     WEIGHT  STATE  CAUSE    UNTIL                 CHECK  SESSIONS  TOTAL  FAILURES  WARM\n\
             uplink  1  socks5h://192.0.2.1:1080        1  up     -        -                     ok            7      9         0     4\n\
             uplink  2  http://proxy.example:3128       3  down   refused  2026-11-27 21:00:00Z  -             0      2         3     0\n\
             2 shown of 2 that match, of 3\n"
        );
        assert_eq!(parent_table(&json!({"parents": []}), None), "0 parents\n");
        assert_eq!(server_table(&json!({"total": 0, "matched": 0, "servers": []}), None), "0 listed\n");
    }

    #[test]
    fn what_was_set_by_hand_is_said() {
        let said = |drained: bool, changed: bool| {
            was_set(&json!({"parent": "up", "server": "http://a:1", "drained": drained, "changed": changed}))
        };
        assert_eq!(said(true, true), "drained: no new session goes through http://a:1 of up\n");
        assert_eq!(said(true, false), "nothing to do: http://a:1 of up is drained\n");
        assert_eq!(said(false, true), "restored: sessions go through http://a:1 of up\n");
        assert_eq!(said(false, false), "nothing to do: sessions go through http://a:1 of up\n");
    }
}
