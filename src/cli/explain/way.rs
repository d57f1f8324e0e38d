//! By which way a session would go, in words: the pool that it leaves from, and the parent that it goes through.

use serde_json::Value;

use super::super::field::{at, list, moment, text};
use super::super::text::visible;
use super::super::units::grouped;
use crate::policy::NoPool;

/// What stands in the name of the pool to leave from.
pub(super) fn said_of_pool(parameters: &Value) -> Vec<String> {
    let tags = at(parameters, &["tags"]).as_object().into_iter().flatten();
    let tags = tags
        .map(|(name, value)| format!("{} {}", visible(name), visible(value.as_str().unwrap_or_default())));
    let pool = at(parameters, &["pool"]).as_str().map(|pool| format!("pool {}", visible(pool)));
    tags.chain(pool).collect()
}

/// The pool that it leaves from, in a line; nothing where the kernel says.
pub(super) fn egress(told: &Value) -> String {
    let egress = at(told, &["egress"]);
    let Some(pool) = at(egress, &["pool"]).as_str() else {
        let asked = said_of_pool(at(told, &["parameters"]));
        let asked = if asked.is_empty() { String::new() } else { format!(" ({})", asked.join(", ")) };
        return match at(told, &["egress_refused"]).as_str() {
            Some(why) => format!("refused: {}{asked}\n", visible(no_pool(why))),
            None => String::new(),
        };
    };
    let entries = at(egress, &["entries"]).as_u64().unwrap_or_default();
    let from = match at(egress, &["address"]).as_str() {
        Some(address) => visible(address),
        None if at(egress, &["leads"]).as_bool() == Some(false) => {
            "none of its addresses is of the target's family".to_owned()
        }
        None => {
            let select = text(at(egress, &["select"]));
            let noun = if entries == 1 { "entry" } else { "entries" };
            format!("any address of its {} {noun}, {select}", grouped(entries))
        }
    };
    let pool = visible(pool);
    let all_left_alone = entries > 0
        && at(egress, &["leads"]).as_bool() == Some(true)
        && at(egress, &["serving"]).as_u64() == Some(0);
    let away = match at(egress, &["missing_interface"]).as_str().map(visible) {
        Some(interface) => format!("nothing leaves from pool {pool}: there is no interface {interface}\n"),
        None if all_left_alone => {
            format!("no address of pool {pool} serves now: the least bad is tried all the same\n")
        }
        None => String::new(),
    };
    format!("leaves from pool {pool}: {from}\n{away}")
}

/// Why there is no pool to leave from, in words.
fn no_pool(word: &str) -> &str {
    match NoPool::ALL.into_iter().find(|why| why.name() == word) {
        Some(why) => why.words(),
        None => word,
    }
}

/// The parent that it goes through, in a line, and in another why it is of no use now; nothing where it goes straight to the target.
pub(super) fn parent(told: &Value) -> String {
    let parent = at(told, &["parent"]);
    let Some(name) = at(parent, &["parent"]).as_str().map(visible) else { return String::new() };
    let command = text(at(told, &["command"]));
    match (at(parent, &["takes"]).as_bool(), at(parent, &["resolves"]).as_bool()) {
        (Some(false), _) => format!("would go through parent {name}, and {command} does not: refused\n"),
        (_, Some(true)) => {
            format!("goes through parent {name}, which is told the name\n{}", away(parent, &name))
        }
        _ => format!("goes through parent {name}\n{}", away(parent, &name)),
    }
}

/// That no server of a parent serves, and why none does; nothing where one does, or where that is not known.
fn away(parent: &Value, name: &str) -> String {
    let servers = list(parent, "servers");
    let serves = |server: &Value| matches!(at(server, &["state"]).as_str(), Some("up" | "backup"));
    if servers.is_empty() || servers.iter().any(serves) {
        return String::new();
    }
    let one = |server: &Value| {
        let told = format!("{} is {}", text(at(server, &["server"])), text(at(server, &["state"])));
        match (at(server, &["cause"]).as_str(), at(server, &["until"]).as_str()) {
            (Some(cause), Some(_)) => {
                format!("{told} ({}) until {}", visible(cause), moment(at(server, &["until"])))
            }
            (None, Some(_)) => format!("{told} until {}", moment(at(server, &["until"]))),
            _ => told,
        }
    };
    let all: Vec<String> = servers.iter().map(one).collect();
    let then = match at(parent, &["fallback"]).as_str() {
        Some("direct") => "it goes without the parent",
        _ => "the one that is back soonest is tried all the same",
    };
    format!("no server of parent {name} serves now: {}; {then}\n", all.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A block of 2^80 addresses was said to be "one of 1", and of a pool that is left alone nothing was said.
    #[test]
    fn a_pool_is_told_with_what_it_has_for_the_target_and_that_none_of_it_serves() {
        let pool = |address: Value, entries: u64, serving: u64| {
            egress(
                &json!({"egress": {"pool": "fleet", "select": "sticky", "address": address, "entries": entries,
                                      "serving": serving, "leads": true}}),
            )
        };
        assert_eq!(pool(Value::Null, 1, 1), "leaves from pool fleet: any address of its 1 entry, sticky\n");
        assert_eq!(
            pool(json!("192.0.2.1"), 4, 0),
            "leaves from pool fleet: 192.0.2.1\n\
             no address of pool fleet serves now: the least bad is tried all the same\n"
        );
        assert_eq!(pool(json!("192.0.2.1"), 4, 1), "leaves from pool fleet: 192.0.2.1\n");
        let told = egress(&json!({"egress": {"pool": "fleet", "missing_interface": "eth9"}}));
        assert!(told.ends_with("\nnothing leaves from pool fleet: there is no interface eth9\n"), "{told}");
    }
}
