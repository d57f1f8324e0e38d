//! Rules, lists and limits of keys and values at random: whatever is typed is judged, and what is wrong is said where it stands.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::Problems;

/// Keys of each kind of table, and some that are none.
const KEYS: [(&str, &[&str]); 3] = [
    (
        "rule",
        &[
            "name",
            "users",
            "groups",
            "from",
            "listeners",
            "to",
            "ports",
            "commands",
            "when",
            "not_when",
            "not_to",
            "not_users",
            "action",
            "mode",
            "limits",
            "allow_private",
            "log",
            "actoin",
            "x y",
        ],
    ),
    ("list", &["name", "domains", "cidrs", "file", "subdomains", "cidr"]),
    (
        "limit",
        &[
            "name",
            "per",
            "connections",
            "udp_associations",
            "new_per_second",
            "upload",
            "download",
            "datagrams",
            "quota",
            "on_reached",
            "rate",
        ],
    ),
];

/// Texts that some key takes, and some that none does.
const TEXTS: [&str; 36] = [
    "ann",
    "staff",
    "10.0.0.0/8",
    "10.0.0.1/33",
    "::/0",
    "a.example",
    "*.b.example",
    ".c.example",
    "@l",
    "@",
    "443",
    "8000-8099",
    "9-1",
    "connect",
    "udp_associate",
    "allow",
    "deny",
    "report",
    "all",
    "user",
    "group",
    "source/24",
    "rule",
    "session",
    "global",
    "1MB",
    "-1",
    "1s",
    "day",
    "mon-fri",
    "08:00-18:00",
    "25:00-1",
    "UTC",
    "local",
    "",
    "\u{fc}",
];

fn text() -> impl Strategy<Value = String> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    prop_oneof![
        6 => select(&TEXTS[..]).prop_map(quoted),
        1 => "[a-z@.*/:_-]{0,12}".prop_map(move |text| quoted(&text)),
        1 => (1..400_usize).prop_map(move |length| quoted(&"n".repeat(length))),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => text(),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (0..100_i64).prop_map(|number| number.to_string()),
        1 => any::<bool>().prop_map(|yes| yes.to_string()),
        1 => select(&["1.5", "inf", "nan", "2026-11-28", "2026-11-28T05:00:00Z"][..]).prop_map(str::to_owned),
    ]
}

/// A value of one line.
fn value() -> impl Strategy<Value = String> {
    let inner = select(&["days", "hours", "zone", "rate", "burst", "bytes", "period", "bad"][..]);
    let list = || vec(scalar(), 0..4).prop_map(|values| format!("[{}]", values.join(", ")));
    let entry = (inner, prop_oneof![scalar(), list()]);
    let table = prop::collection::btree_map(entry.0, entry.1, 0..4).prop_map(|entries| {
        let entries: Vec<String> =
            entries.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
        format!("{{ {} }}", entries.join(", "))
    });
    prop_oneof![4 => scalar(), 3 => list(), 2 => table.clone(), 1 => table.prop_map(|table| format!("[{table}]"))]
}

/// A table of these keys, each at most once, with a name that may be that of another.
fn table() -> impl Strategy<Value = Vec<String>> {
    select(&KEYS[..]).prop_flat_map(|(kind, keys)| {
        prop::collection::btree_map(select(keys), value(), 0..6).prop_map(move |entries| {
            let mut lines = vec![format!("[[{kind}]]")];
            for (key, value) in entries {
                let key = if key.contains(' ') { format!("\"{key}\"") } else { key.to_owned() };
                lines.push(format!("{key} = {value}"));
            }
            lines
        })
    })
}

/// Each message begins with a line that there is, and says the table of that line, or the key that stands in it.
fn stands_where_it_is_said(lines: &[String], problems: &Problems) -> Result<(), TestCaseError> {
    for line in problems.to_string().lines() {
        let rest = line.strip_prefix("/etc/outflow.toml:").unwrap_or_default();
        let (number, what) = rest.split_once(": ").unwrap_or_default();
        let typed = number.parse::<usize>().ok().and_then(|number| lines.get(number.checked_sub(1)?));
        let typed = typed.map_or("", String::as_str);
        // Within a value: `when.days`. What is no key may be a table: `[rule.actoin]`.
        let key = what.split_once(" key `").and_then(|(_, rest)| rest.split(['`', '.']).next());
        let key =
            key.or_else(|| what.strip_prefix('[')?.split_once(']')?.0.split_once('.').map(|(_, key)| key));
        prop_assert!(
            match key {
                Some(key) => typed.trim_start_matches('"').starts_with(key.trim_matches('"')),
                None => typed.starts_with("[[") && what.starts_with("[["),
            },
            "{line:?} of {typed:?} in\n{}",
            lines.join("\n")
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_typed_of_rules_is_judged_where_it_stands(tables in vec(table(), 1..6)) {
        let lines = tables.concat();
        let parsed = Config::parse(&lines.join("\n"), Path::new("/etc/outflow.toml"), &Flags::default());
        match parsed {
            Err(problems) => stands_where_it_is_said(&lines, &problems)?,
            Ok(config) => {
                let before: Arc<OperatorRules> = Arc::default();
                match before.plan(&config, None) {
                    Err(remarks) => prop_assert!(!remarks.is_empty()),
                    Ok((plan, _)) => {
                        let target = name("a.example");
                        let rules = before.follow(plan);
                        let question = Question {
                            user: Some("ann"),
                            source: IpAddr::from([10, 0, 0, 1]),
                            listener: 0,
                            command: RequestCommand::Connect,
                            target: Asked::Name(&target, 443),
                        };
                        rules.set.iter().for_each(|set| { set.judge(&question); });
                    }
                }
            }
        }
    }

    /// What is wrong with a user is said with the line, and the user's name.
    #[test]
    fn whatever_stands_behind_a_hash_is_judged_where_it_stands(
        before in 0..5_usize,
        words in vec(
            prop_oneof![
                select(&["groups", "limits", "expires", "disabled", "gruops", "", "="][..]).prop_map(str::to_owned),
                "[ -9;-~]{0,12}",
                "\\PC{0,6}",
            ],
            0..4,
        ),
        values in vec(
            prop_oneof![
                select(&["=a,b", "=a,a", "=", "=2027-01-31", "=2027-02-30", "=never", "=a b", ":"][..]).prop_map(str::to_owned),
                "[=,a-z0-9-]{0,300}",
            ],
            0..4,
        ),
    ) {
        let behind: Vec<String> = words.iter().zip(values.iter().chain(std::iter::repeat(&String::new())))
            .map(|(word, value)| format!("{word}{value}")).collect();
        let mut lines: Vec<String> = (0..before).map(|nth| format!("user{nth}:{HASH}:groups=a")).collect();
        lines.push(format!("eve:{HASH}:{}", behind.join(" ")));
        match Users::parse(&lines.join("\n"), Path::new("users")) {
            Ok(users) => prop_assert_eq!(users.len(), before + 1),
            Err(error) => {
                let said = error.to_string();
                prop_assert!(said.starts_with(&format!("users:{}: user \"eve\": ", before + 1)), "{}", said);
                prop_assert_eq!(said.lines().count(), 1);
            }
        }
    }
}
