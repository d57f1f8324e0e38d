//! `outflow egress`: the pools of a running server and their addresses; an address is drained, or serves again.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{AdminArgs, AdminClient, ClientError, target};
use super::field::{at, list, moment, text, whole};
use super::offered::Offered;
use super::page::{PageArgs, counted};
use super::table::{Align, Column, Table, terminal_width};
use super::text::visible;
use super::units::{count_of, grouped};
use crate::console::say;

/// What addresses are sorted by.
const SORTED_BY: [&str; 8] =
    ["configured", "sessions", "ports", "state", "-configured", "-sessions", "-ports", "-state"];

/// How an address may stand.
const STATES: [&str; 4] = ["serving", "cooled", "probed", "drained"];

/// Where the endpoint has them.
const EGRESS: &str = "/api/v1/egress";

/// What is done with pools.
#[derive(Debug, Subcommand)]
pub(super) enum EgressCommand {
    /// List the pools, and how many of their addresses serve
    List {
        /// Print what the endpoint answers
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// List the addresses of a pool, and how each stands
    Show {
        #[command(flatten)]
        show: EgressShowArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Have no new session leave from an address; those that do go on
    Drain {
        #[command(flatten)]
        which: EgressAddressArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Have an address serve again that was drained, or is left alone for what failed
    Restore {
        #[command(flatten)]
        which: EgressAddressArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Which addresses, in which order.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct EgressShowArgs {
    /// The pool
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// Only those that stand so
    #[arg(long, value_name = "STATE", value_parser = Offered::some(STATES))]
    state: Option<String>,
    /// By this, from the least, or with `-` before it from the greatest [default: configured]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, value_parser = Offered::some(SORTED_BY))]
    sort: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Which address.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct EgressAddressArgs {
    /// The pool
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// The address, a prefix of the pool, or an address of one
    #[arg(value_name = "ADDRESS", value_parser = NonEmptyStringValueParser::new())]
    source: String,
    /// Print what the endpoint answers
    #[arg(long)]
    json: bool,
}

/// Lists pools.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn pools(client: &AdminClient, json: bool) -> Result<ExitCode, ClientError> {
    // The addresses are another command's.
    let target = target(EGRESS, &[("limit", "0".to_owned())]);
    if json {
        return Ok(say(&(client.get_text(&target)? + "\n")));
    }
    Ok(say(&pool_table(&client.get(&target)?, terminal_width())))
}

/// Lists addresses.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn addresses(client: &AdminClient, args: &EgressShowArgs) -> Result<ExitCode, ClientError> {
    let chosen =
        [("name", Some(args.name.clone())), ("state", args.state.clone()), ("sort", args.sort.clone())];
    let chosen = chosen.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query: Vec<(&str, String)> = chosen.chain(args.page.query()).collect();
    let target = target(EGRESS, &query);
    if args.page.json {
        return Ok(say(&(client.get_text(&target)? + "\n")));
    }
    Ok(say(&address_table(&client.get(&target)?, terminal_width())))
}

/// Drains an address, or restores it.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn set(
    client: &AdminClient,
    which: &EgressAddressArgs,
    drained: bool,
) -> Result<ExitCode, ClientError> {
    let EgressAddressArgs { name, source, json } = which;
    let what = if drained { "drain" } else { "restore" };
    let answer = client.post(&format!("{EGRESS}/{what}"), &json!({"egress": name, "address": source}))?;
    // The deed counts; nobody need read the words.
    let _ = say(&if *json { format!("{answer}\n") } else { was_set(&answer) });
    Ok(ExitCode::SUCCESS)
}

fn was_set(answer: &Value) -> String {
    let (pool, address) = (text(at(answer, &["egress"])), text(at(answer, &["address"])));
    let changed = at(answer, &["changed"]).as_bool() != Some(false);
    match (at(answer, &["drained"]).as_bool() == Some(true), changed) {
        (true, true) => format!("drained: no new session leaves from {address} of {pool}\n"),
        (true, false) => format!("nothing to do: {address} of {pool} is drained\n"),
        (false, true) => format!("restored: {address} of {pool} serves\n"),
        (false, false) => format!("nothing to do: {address} of {pool} serves\n"),
    }
}

fn pool_table(answer: &Value, width: Option<usize>) -> String {
    let pools = list(answer, "pools");
    format!("{}{}\n", overview(pools, width), count_of(pools.len() as u64, "pool"))
}

/// A line for each pool; nothing where there is none.
pub(super) fn overview(pools: &[Value], width: Option<usize>) -> String {
    let mut table = Table::titled(&[
        Column::new("POOL", Align::Left).cut(),
        Column::new("SELECT", Align::Left).spare(2),
        Column::new("SERVING", Align::Right),
        Column::new("COOLED", Align::Right),
        Column::new("DRAINED", Align::Right),
        Column::new("SESSIONS", Align::Right),
        Column::new("TOTAL", Align::Right).spare(3),
        Column::new("PORTS", Align::Right),
        Column::new("TIME_WAIT", Align::Right).spare(1),
        Column::new("FULLEST", Align::Right),
    ]);
    for one in pools {
        let count = |path: &[&str]| whole(at(one, path));
        let number = |path: &[&str]| grouped(count(path));
        let cooled = count(&["addresses", "cooled"]) + count(&["addresses", "probed"]);
        table.row([
            text(at(one, &["egress"])),
            text(at(one, &["select"])),
            number(&["addresses", "serving"]),
            grouped(cooled),
            number(&["addresses", "drained"]),
            number(&["sessions_active"]),
            number(&["sessions"]),
            grouped(count(&["ports_open"]) + count(&["ports_time_wait"])),
            number(&["ports_time_wait"]),
            format!("{} of {}", number(&["fullest_ports"]), number(&["ports_max"])),
        ]);
    }
    let table = if pools.is_empty() { String::new() } else { table.render(width) };
    format!("{}{table}", without_interfaces(pools))
}

/// A line for each pool whose interface is not there.
fn without_interfaces(pools: &[Value]) -> String {
    let line = |one: &Value| {
        let interface = at(one, &["missing_interface"]).as_str().map(visible)?;
        let pool = text(at(one, &["egress"]));
        Some(format!("nothing leaves from pool {pool}: there is no interface {interface}\n"))
    };
    pools.iter().filter_map(line).collect()
}

fn address_table(answer: &Value, width: Option<usize>) -> String {
    let mut table = Table::titled(&[
        Column::new("ADDRESS", Align::Left).cut(),
        Column::new("STATE", Align::Left),
        Column::new("CAUSE", Align::Left),
        Column::new("UNTIL", Align::Left).spare(2),
        Column::new("SESSIONS", Align::Right),
        Column::new("TOTAL", Align::Right).spare(3),
        Column::new("PORTS", Align::Right),
        Column::new("TIME_WAIT", Align::Right).spare(1),
    ]);
    let addresses = list(answer, "addresses");
    for one in addresses {
        let field = |name: &str| at(one, &[name]);
        let number = |name: &str| field(name).as_u64().map_or_else(|| "-".to_owned(), grouped);
        let ports = field("ports_open").as_u64().map(|open| open + whole(field("ports_time_wait")));
        table.row([
            text(field("address")),
            text(field("state")),
            text(field("cause")),
            moment(field("until")),
            number("sessions_active"),
            number("sessions"),
            ports.map_or_else(|| "-".to_owned(), grouped),
            number("ports_time_wait"),
        ]);
    }
    let counted = counted(answer, addresses.len());
    let table = if addresses.is_empty() { String::new() } else { table.render(width) };
    format!("{}{table}{counted}\n", without_interfaces(list(answer, "pools")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        json!({
            "pools": [{
                "egress": "fleet", "select": "sticky", "addresses": {"serving": 2, "cooled": 1, "probed": 1, "drained": 0},
                "sessions_active": 1_234, "sessions": 56_789, "ports_open": 1_200, "ports_time_wait": 800, "ports_max": 28_232,
                "fullest_ports": 900,
            }],
            "total": 4, "matched": 2, "addresses": [
                {"egress": "fleet", "address": "192.0.2.1", "state": "serving", "cause": null, "until": null,
                 "sessions_active": 7, "sessions": 9, "ports_open": 7, "ports_time_wait": 2},
                {"egress": "fleet", "address": "2001:db8::7", "within": "2001:db8::/64", "state": "cooled", "cause": "refused",
                 "until": "2026-11-27T21:00:00.000Z", "sessions_active": null, "sessions": null, "ports_open": null, "ports_time_wait": null},
            ],
        })
    }

    #[test]
    fn pools_and_addresses_have_a_line_each() {
        assert_eq!(
            pool_table(&answer(), None),
            "POOL   SELECT  SERVING  COOLED  DRAINED  SESSIONS   TOTAL  PORTS  TIME_WAIT        FULLEST\n\
             fleet  sticky        2       2        0     1,234  56,789  2,000        800  900 of 28,232\n\
             1 pool\n"
        );
        assert_eq!(
            address_table(&answer(), None),
            "ADDRESS      STATE    CAUSE    UNTIL                 SESSIONS  TOTAL  PORTS  TIME_WAIT\n\
             192.0.2.1    serving  -        -                            7      9      9          2\n\
             2001:db8::7  cooled   refused  2026-11-27 21:00:00Z         -      -      -          -\n\
             2 shown of 2 that match, of 4\n"
        );
        assert_eq!(pool_table(&json!({"pools": []}), None), "0 pools\n");
        assert_eq!(address_table(&json!({"total": 0, "matched": 0, "addresses": []}), None), "0 listed\n");
    }

    #[test]
    fn a_pool_whose_interface_is_not_there_is_said_to_be_so() {
        let mut answer = answer();
        answer["pools"][0]["missing_interface"] = json!("eth\u{1b}9");
        let line = "nothing leaves from pool fleet: there is no interface eth\\u{1b}9\n";
        for table in [pool_table(&answer, None), address_table(&answer, None)] {
            assert!(table.starts_with(line), "{table}");
        }
    }

    #[test]
    fn what_was_set_by_hand_is_said() {
        let said = |drained: bool, changed: bool| {
            was_set(
                &json!({"egress": "fleet", "address": "192.0.2.1", "drained": drained, "changed": changed}),
            )
        };
        assert_eq!(said(true, true), "drained: no new session leaves from 192.0.2.1 of fleet\n");
        assert_eq!(said(true, false), "nothing to do: 192.0.2.1 of fleet is drained\n");
        assert_eq!(said(false, true), "restored: 192.0.2.1 of fleet serves\n");
        assert_eq!(said(false, false), "nothing to do: 192.0.2.1 of fleet serves\n");
    }
}
