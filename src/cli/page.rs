//! Which part of a list is asked of the endpoint, and how it is shown.

use clap::Args;
use serde_json::Value;

use super::field::{at, whole};
use super::units::grouped;

/// Which part of a list, and in which form.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PageArgs {
    /// At most so many [default: 100]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Leave out so many of the first
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    /// Print what the endpoint answers, with every field
    #[arg(long)]
    pub(super) json: bool,
}

impl PageArgs {
    /// As the endpoint's parameters.
    pub(super) fn query(&self) -> impl Iterator<Item = (&'static str, String)> {
        let all = [("limit", self.limit), ("offset", self.offset)];
        all.into_iter().filter_map(|(name, value)| Some((name, value?.to_string())))
    }
}

/// How many of a list are shown, how many match and how many there are, as an answer says it.
pub(super) fn counted(answer: &Value, shown: usize) -> String {
    let (shown, matched, total) =
        (shown as u64, whole(at(answer, &["matched"])), whole(at(answer, &["total"])));
    match shown == total && matched == total {
        true => format!("{} listed", grouped(total)),
        false => {
            format!("{} shown of {} that match, of {}", grouped(shown), grouped(matched), grouped(total))
        }
    }
}
