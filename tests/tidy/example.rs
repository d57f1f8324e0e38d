//! The file to begin with, packaging/outflow.toml: every key stands in it as a comment, and each of them can be taken off.

use std::fs;
use std::path::Path;

use outflow::config::{Config, Flags};

use super::source::{read, root};

const FILE: &str = "packaging/outflow.toml";

/// Between these words and the keys is a blank line; what stands above is written by hand.
const LAST_WORDS: &str = "# ---- every key\n";

/// Keys that a table is never without: they stand beside each other key of it as the example has them.
const NEEDED: &[(&str, &[&str])] = &[
    ("listener", &["address"]),
    ("list", &["name", "cidrs"]),
    ("rule", &["name", "action"]),
    ("limit", &["name", "per", "connections"]),
    ("egress", &["name", "addresses"]),
    ("proxy_out", &["to"]),
    ("parent", &["name", "servers"]),
];

/// What else keys need: lines of their table first, which stand in place of those above, then other tables.
const COMPANIONS: &[(&str, &str)] = &[
    ("listener.mode", "address = \"unix:/run/outflow/socks.sock\"\n"),
    ("listener.owner", "address = \"unix:/run/outflow/socks.sock\"\n"),
    ("listener.methods", "[auth]\nusers = \"users.passwd\"\n"),
    ("listener.proxy_from", "proxy_protocol = \"required\"\n"),
    ("listener.egress", CARRIER),
    ("auth.users", "methods = [\"password\"]\n"),
    ("rule.to", "[[list]]\nname = \"partners\"\ncidrs = [\"192.0.2.0/24\"]\n"),
    ("rule.not_to", "[[list]]\nname = \"blocked\"\ncidrs = [\"192.0.2.0/24\"]\n"),
    (
        "rule.limits",
        "action = \"allow\"\n[[limit]]\nname = \"plan\"\nper = \"user\"\nconnections = 9\n[auth]\n\
         methods = [\"password\"]\nusers = \"users.passwd\"\n",
    ),
    (
        "rule.egress",
        "action = \"allow\"\n[[egress]]\nname = \"carrier\"\naddresses = [\"198.51.100.0/28\"]\n",
    ),
    (
        "rule.parent",
        "action = \"allow\"\n[[parent]]\nname = \"uplink\"\nservers = [\"socks5h://192.0.2.1\"]\n",
    ),
    ("limits.per_source.bytes_per_day", STATE),
    ("limits.per_user.bytes_per_day", STATE),
    ("limit.quota", STATE),
    (
        "limit.on_reached",
        "upload = \"10MB\"\nquota = { bytes = \"500GB\", period = \"month\", zone = \"UTC\" }\n[server]\nstate = \"/var/lib/outflow\"\n",
    ),
    ("username.format", PASSWORD),
    ("username.preset", PASSWORD),
    ("username.separator", FORMAT),
    ("username.position", PRESET),
    ("username.pools", PRESET),
    ("username.sign", PRESET),
];

const CARRIER: &str = "[[egress]]\nname = \"carrier\"\naddresses = [\"198.51.100.0/28\"]\n";
const STATE: &str = "[server]\nstate = \"/var/lib/outflow\"\n";
const PASSWORD: &str = "[auth]\nmethods = [\"password\"]\nusers = \"users.passwd\"\n";
const FORMAT: &str =
    "format = \"{user}-session-{session}\"\n[auth]\nmethods = [\"password\"]\nusers = \"users.passwd\"\n";
const PRESET: &str = "preset = \"dash\"\n[auth]\nmethods = [\"password\"]\nusers = \"users.passwd\"\n\
                      [[egress]]\nname = \"carrier\"\naddresses = [\"198.51.100.0/28\"]\n\
                      [[egress]]\nname = \"home\"\naddresses = [\"198.51.100.16/28\"]\n";

/// A setting that is a comment, and the header of the table that it stands in.
struct Setting<'a> {
    header: &'a str,
    /// The whole line, without its `#`.
    line: &'a str,
}

impl Setting<'_> {
    fn name(&self) -> String {
        let key = self.line.split(" =").next().expect("a key");
        format!("{}.{key}", self.header.trim_matches(['[', ']']))
    }
}

/// The settings in the order of the file.
fn settings(example: &str) -> Vec<Setting<'_>> {
    let mut header = "";
    let mut found = Vec::new();
    for line in example.lines() {
        let typed = line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with([' ', '!']));
        match typed.unwrap_or(line) {
            table if table.starts_with('[') => header = table,
            line if typed.is_some() => found.push(Setting { header, line }),
            _ => {}
        }
    }
    found
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("outflow.toml"), &Flags::default()).map_err(|problems| problems.to_string())
}

/// Written by the keys' own entries, as the list in docs/keys.md and by the same command.
#[test]
fn the_docs_show_what_the_example_has_as_comments() {
    let text = read(FILE).text;
    let (before, shown) = text.split_once(LAST_WORDS).expect("the words above the keys");
    let example = Config::example();
    if std::env::var_os("OUTFLOW_WRITE_DOCS").is_some() {
        let page = format!("{before}{LAST_WORDS}\n{example}");
        return fs::write(root().join(FILE), page).expect("the example can be written");
    }
    assert_eq!(
        shown.trim_start_matches('\n'),
        example,
        "OUTFLOW_WRITE_DOCS=1 cargo test --test tests the_docs_show writes it anew"
    );
}

#[test]
fn the_example_is_the_defaults() {
    let defaults = Config::load(None, &Flags::default()).expect("the defaults are valid");
    assert_eq!(parse(&read(FILE).text), Ok(defaults));
}

#[test]
fn each_comment_of_the_example_can_be_taken_off() {
    let text = read(FILE).text;
    let settings = settings(&text);
    assert!(settings.len() > 100, "{} settings", settings.len());
    let companions =
        |name: &str| COMPANIONS.iter().find(|(of, _)| *of == name).map_or("", |(_, lines)| lines);
    let alone = |setting: &Setting<'_>| {
        let (header, name) = (setting.header, setting.name());
        let (table, _) = name.rsplit_once('.').expect("a table");
        let beside = companions(&name);
        let own = || beside.lines().take_while(|line| !line.starts_with('['));
        let in_place = |key: &&&str| own().any(|line| line.starts_with(&format!("{key} = ")));
        let needed = NEEDED.iter().filter(|(of, _)| *of == table).flat_map(|(_, keys)| *keys);
        let needed = needed.filter(|key| !in_place(key));
        let needed: Vec<String> = needed.map(|key| format!("{table}.{key}")).collect();
        let is_typed = |one: &&Setting<'_>| one.name() == name || needed.contains(&one.name());
        let lines: Vec<&str> = settings.iter().filter(is_typed).map(|one| one.line).collect();
        let typed = format!("{header}\n{}\n{}\n", lines.join("\n"), beside);
        parse(&typed).err().map(|said| format!("{name}: {said}"))
    };
    let wrong: Vec<String> = settings.iter().filter_map(alone).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    let idle = COMPANIONS.iter().find(|(of, _)| !settings.iter().any(|setting| setting.name() == *of));
    assert_eq!(idle.map(|(name, _)| name), None, "no such key");
}
