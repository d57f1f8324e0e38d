//! `outflow quota show` and `outflow quota reset`: what is used of quotas, and to have nothing used any more.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{AdminArgs, AdminClient, ClientError, target};
use super::field::{at, list, number, text, whole};
use super::offered::Offered;
use super::page::PageArgs;
use super::table::{Align, Column, Table, terminal_width};
use super::units::{bytes, count_of, grouped};
use crate::console::say;

/// What uses are sorted by.
const COLUMNS: [&str; 8] = ["share", "used", "holder", "name", "-share", "-used", "-holder", "-name"];

/// Where the endpoint has them.
const QUOTAS: &str = "/api/v1/quotas";

/// What is done with quotas.
#[derive(Debug, Subcommand)]
pub(super) enum QuotaCommand {
    /// List what is used of quotas
    Show {
        #[command(flatten)]
        show: QuotaShowArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Have nothing used of a quota any more, by one holder or by all
    Reset {
        #[command(flatten)]
        reset: QuotaResetArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Which uses, in which order.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct QuotaShowArgs {
    /// Of this holder, such as user:ann, source:192.0.2.1 or global
    #[arg(value_name = "HOLDER", value_parser = NonEmptyStringValueParser::new(), conflicts_with = "user")]
    holder: Option<String>,
    /// Of this user
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Of the quota of this limit
    #[arg(long, value_name = "LIMIT", value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Only those that are used up
    #[arg(long)]
    reached: bool,
    /// By this, from the least, or with `-` before it from the greatest [default: -share]
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, value_parser = Offered::some(COLUMNS))]
    sort: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Whose use is set back.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct QuotaResetArgs {
    /// The limit that has the quota
    #[arg(value_name = "LIMIT", value_parser = NonEmptyStringValueParser::new())]
    limit: String,
    /// Who used it, as `quota show` has it
    #[arg(value_name = "HOLDER", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "all")]
    holder: Option<String>,
    /// Whoever used it
    #[arg(long, conflicts_with = "holder")]
    all: bool,
}

/// Lists uses.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn show(client: &AdminClient, args: &QuotaShowArgs) -> Result<ExitCode, ClientError> {
    let all = [
        ("holder", args.holder.clone()),
        ("user", args.user.clone()),
        ("name", args.name.clone()),
        ("reached", args.reached.then(|| "true".to_owned())),
        ("sort", args.sort.clone()),
    ];
    let chosen = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query: Vec<(&str, String)> = chosen.chain(args.page.query()).collect();
    let target = target(QUOTAS, &query);
    if args.page.json {
        return Ok(say(&(client.get_text(&target)? + "\n")));
    }
    Ok(say(&listing(&client.get(&target)?, terminal_width())))
}

/// Sets back.
///
/// # Errors
/// The server refuses, or nobody can be asked.
pub(super) fn reset(client: &AdminClient, args: &QuotaResetArgs) -> Result<ExitCode, ClientError> {
    let QuotaResetArgs { limit, holder, all } = args;
    let body = match holder {
        Some(holder) => json!({"limit": limit, "holder": holder}),
        None => json!({"limit": limit, "all": all}),
    };
    let answer = client.post(&format!("{QUOTAS}/reset"), &body)?;
    // The deed counts; nobody need read the words.
    let _ = say(&set_back(&answer));
    Ok(ExitCode::SUCCESS)
}

fn set_back(answer: &Value) -> String {
    let limit = text(at(answer, &["limit"]));
    let whose = match at(answer, &["holder"]) {
        Value::Null => format!("by {}", count_of(whole(at(answer, &["accounts"])), "holder")),
        holder => format!("by {}, who had used {}", text(holder), number(at(answer, &["bytes"]), bytes)),
    };
    let kept = match at(answer, &["kept"]) {
        Value::Bool(false) => "; it is not on disk yet, and a crash would undo it",
        _ => "",
    };
    format!("reset: the quota of {limit} is unused {whose}{kept}\n")
}

fn listing(answer: &Value, width: Option<usize>) -> String {
    let mut table = Table::titled(&[
        Column::new("LIMIT", Align::Left).cut(),
        Column::new("HOLDER", Align::Left).cut(),
        Column::new("UP", Align::Right).spare(3),
        Column::new("DOWN", Align::Right).spare(3),
        Column::new("USED", Align::Right),
        Column::new("OF", Align::Right),
        Column::new("%", Align::Right).spare(2),
        Column::new("RESETS", Align::Left).spare(1),
    ]);
    let uses = list(answer, "quotas");
    for one in uses {
        let field = |name: &str| at(one, &[name]);
        let percent = match (field("used").as_f64(), field("bytes").as_f64()) {
            (Some(used), Some(bytes)) if bytes > 0.0 => format!("{:.0}", (used / bytes * 100.0).floor()),
            _ => "-".to_owned(),
        };
        table.row([
            text(field("name")),
            text(field("holder")),
            number(field("up"), bytes),
            number(field("down"), bytes),
            number(field("used"), bytes),
            number(field("bytes"), bytes),
            percent,
            // To the second, as nobody reads further.
            text(field("resets")).split('.').next().unwrap_or_default().replace('T', " ") + "Z",
        ]);
    }
    let (shown, matched, total) =
        (uses.len() as u64, whole(at(answer, &["matched"])), whole(at(answer, &["total"])));
    let counted = match shown == total && matched == total {
        true => count_of(total, "use"),
        false => {
            let (shown, matched) = (grouped(shown), grouped(matched));
            format!("{shown} shown of {matched} that match, of {}", count_of(total, "use"))
        }
    };
    let table = if uses.is_empty() { String::new() } else { table.render(width) };
    format!("{table}{counted}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        json!({"time": "2026-11-27T21:00:00.000Z", "total": 3, "matched": 2, "quotas": [
            {"name": "plan", "holder": "user:ann", "up": 1_000, "down": 499_999_999_000_u64, "used": 500_000_000_000_u64,
             "bytes": 500_000_000_000_u64, "left": 0, "reached": true, "resets": "2026-12-01T00:00:00.000Z"},
            {"name": "plan", "holder": "user:b\u{1b}[2J", "up": 5, "down": 0, "used": 5, "bytes": 500_000_000_000_u64, "left": 1,
             "reached": false, "resets": "2026-12-01T00:00:00.000Z"},
        ]})
    }

    #[test]
    fn a_listing_has_a_line_for_each_use_and_says_how_many_there_are() {
        assert_eq!(
            listing(&answer(), None),
            "LIMIT  HOLDER             UP    DOWN    USED      OF    %  RESETS\n\
             plan   user:ann         1 kB  500 GB  500 GB  500 GB  100  2026-12-01 00:00:00Z\n\
             plan   user:b\\u{1b}[2J   5 B     0 B     5 B  500 GB    0  2026-12-01 00:00:00Z\n\
             2 shown of 2 that match, of 3 uses\n"
        );
        assert_eq!(listing(&json!({"total": 0, "matched": 0, "quotas": []}), None), "0 uses\n");
    }

    #[test]
    fn a_reset_says_what_was_used_and_whether_it_is_on_disk() {
        let answer =
            json!({"limit": "plan", "holder": "user:ann", "accounts": 1, "bytes": 5_000_000, "kept": true});
        assert_eq!(set_back(&answer), "reset: the quota of plan is unused by user:ann, who had used 5 MB\n");
        let answer = json!({"limit": "plan", "holder": null, "accounts": 2, "bytes": null, "kept": false});
        assert_eq!(
            set_back(&answer),
            "reset: the quota of plan is unused by 2 holders; it is not on disk yet, and a crash would undo it\n"
        );
    }
}
