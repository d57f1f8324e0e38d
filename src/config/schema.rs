//! Which tables and keys there are, and which are meant when another is typed.

use super::problem::{escaped, quoted};

/// Every table with its keys, in the order of the documentation. A table in a table has a dot in its name.
pub(super) const TABLES: &[(&str, &[&str])] = &[
    (
        "server",
        &[
            "listen",
            "workers",
            "pin",
            "relay",
            "max_connections",
            "backlog",
            "busy_poll",
            "open_proxy",
            "steer",
            "congestion",
        ],
    ),
    (
        "timeouts",
        &["handshake", "connect", "dns", "idle", "half_close", "drain", "unacked", "bind", "udp_idle"],
    ),
    ("auth", &["methods", "users"]),
    ("auth.gssapi", &["keytab", "service", "protection", "nec"]),
    ("dns", &["servers", "hosts", "cache_entries", "prefer", "dns64"]),
    ("guard", &["allow", "allow_private"]),
    ("bind", &["ports", "advertise"]),
    ("udp", &["ports", "advertise", "fragments", "filtering"]),
    ("limits", &[]),
    ("limits.per_source", &["connections"]),
    ("log", &["level", "format", "access", "on_full", "udp_targets"]),
];

/// Names that the documentation promises and this version does not obey: saying so beats guessing.
const PLANNED_TABLES: &[&str] = &["rule", "egress", "username", "limits.per_user", "admin"];

/// Keys that it promises, by table.
const PLANNED_KEYS: &[(&str, &[&str])] =
    &[("limits.per_source", &["new_per_second", "bandwidth", "udp_associations", "bytes_per_day"])];

const NOT_YET: &str = "not supported by this version";

/// How alike two words must be (Jaro-Winkler, 0 to 1) for one to be offered for the other, unless they
/// are a single slip apart. Higher misses abbreviations, lower offers words that only share letters.
const LIKENESS: f64 = 0.8;

/// The keys of a table.
pub(super) fn keys_of(table: &str) -> &'static [&'static str] {
    TABLES.iter().find(|(name, _)| *name == table).map_or(&[], |(_, keys)| keys)
}

/// The table of this name within `table`, or at the top.
pub(super) fn table_in(table: Option<&str>, name: &str) -> Option<&'static str> {
    let inner = |full: &str| match table {
        Some(table) => full.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')) == Some(name),
        None => full == name && !name.contains('.'),
    };
    TABLES.iter().map(|(full, _)| *full).find(|full| inner(full))
}

/// The table that was probably meant, by its whole name or by the last part of it.
fn nearest_table(typed: &str) -> Option<&'static str> {
    let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let names = || TABLES.iter().map(|(name, _)| *name);
    nearest(typed, names()).or_else(|| {
        let meant = nearest(typed, names().map(last))?;
        names().find(|name| last(name) == meant)
    })
}

/// The word that was probably meant.
pub(super) fn nearest<'a>(typed: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed.chars().take(64).flat_map(char::to_lowercase).collect();
    valid
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&typed, word), word))
        .filter(|(likeness, word)| *likeness >= LIKENESS || one_slip(&typed, word))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// One letter missing, added, changed or swapped with its neighbour; in a word of two letters that
/// would be half of it.
fn one_slip(typed: &str, word: &str) -> bool {
    word.len() > 2 && strsim::osa_distance(typed, word) <= 1
}

/// What to say of a table that is none of ours.
pub(super) fn unknown_table(typed: &str) -> String {
    if PLANNED_TABLES.contains(&typed) {
        return NOT_YET.to_owned();
    }
    match nearest_table(typed) {
        Some(table) => format!("unknown table; did you mean [{table}]?"),
        None => {
            let all: Vec<_> = TABLES.iter().map(|(name, _)| format!("[{name}]")).collect();
            format!("unknown table; the tables are {}", all.join(", "))
        }
    }
}

/// What to say of a key before the first table.
pub(super) fn stray_key(typed: &str) -> String {
    if PLANNED_TABLES.contains(&typed) {
        return NOT_YET.to_owned();
    }
    match home_of(typed) {
        Some(table) => format!("stands outside any table; did you mean [{table}] `{typed}`?"),
        None => unknown_table(typed).replacen("unknown table", "no key stands outside a table", 1),
    }
}

/// What to say of a key that is not one of its table's.
pub(super) fn unknown_key(table: &str, typed: &str) -> String {
    if PLANNED_KEYS.iter().any(|(planned, keys)| *planned == table && keys.contains(&typed)) {
        return NOT_YET.to_owned();
    }
    if let Some(home) = home_of(typed) {
        return format!("unknown key; did you mean [{home}] `{}`?", escaped(typed));
    }
    match nearest(typed, keys_of(table).iter().copied()) {
        Some(key) => format!("unknown key; did you mean `{key}`?"),
        None if let Some(inner) = nearest_table(typed).filter(|name| name.contains('.')) => {
            format!("unknown key; did you mean [{inner}]?")
        }
        None if keys_of(table).is_empty() => {
            let inner: Vec<_> = TABLES.iter().filter(|(name, _)| within(name, table)).collect();
            let inner: Vec<_> = inner.iter().map(|(name, _)| format!("[{name}]")).collect();
            format!("unknown key; the tables in [{table}] are {}", inner.join(", "))
        }
        None => format!("unknown key; the keys are {}", ticked(keys_of(table).iter().copied())),
    }
}

/// What to say of a word that is not one of the choices.
pub(super) fn unknown_value<'a>(typed: &str, valid: impl Iterator<Item = &'a str> + Clone) -> String {
    let all: Vec<_> = valid.clone().map(|word| format!("\"{word}\"")).collect();
    let what = format!("{} is none of {}", quoted(typed), all.join(", "));
    match nearest(typed, valid) {
        Some(word) => format!("{what}; did you mean \"{word}\"?"),
        None => what,
    }
}

/// Whether a table stands in another.
fn within(name: &str, table: &str) -> bool {
    name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

/// The table that has a key of exactly this name.
fn home_of(key: &str) -> Option<&'static str> {
    TABLES.iter().find(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name)
}

fn ticked<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
