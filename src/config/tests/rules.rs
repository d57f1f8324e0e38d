//! Rules, lists and groups: every key, what does not go together, and what changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use jiff::civil::Weekday;

use super::bad_files::expect_complaints;
use super::{complaints, config, parse};
use crate::config::{Config, Flags, OnReload, When, Zone};
use crate::policy::rules::schedule::Hours;
use crate::policy::rules::spec::{Action, Logged, Mode};
use crate::proto::request::RequestCommand;

const EVERY_KEY: &str = r#"
[server]
listen = ["127.0.0.1:1", "[::1]:2"]
[policy]
default = "allow"
log = "all"
learn = "learned.jsonl"
on_reload = "revoke"
[groups]
staff = ["ann", "carol/admin@EXAMPLE.COM"]
[[list]]
name = "blocked"
domains = ["a.example", "*.B.example", ".bücher.example"]
cidrs = ["192.0.2.0/24", "2001:db8::1"]
file = "lists/blocked.txt"
subdomains = true
[[rule]]
name = "all.of-it_1"
users = ["ann", "bob"]
not_users = "eve"
groups = ["staff"]
not_groups = ["staff"]
from = ["10.0.0.0/8", "192.0.2.7"]
not_from = ["10.0.0.1"]
listeners = ["127.0.0.1:1"]
not_listeners = "[::1]:2"
to = ["Example.COM.", "*.example.org", ".example.net", "0x7f.1", "2001:db8::/32", "@blocked"]
not_to = "www.example.org"
ports = [443, "80", "8000-8099"]
not_ports = 8080
commands = ["connect", "udp_associate"]
not_commands = ["bind"]
when = { days = ["mon-thu", "sat"], hours = "08:00-18:00", zone = "Europe/Berlin" }
not_when = [{ days = "sun", zone = "local" }, { hours = ["22:00-06:00", "12:00-13:00"], zone = "UTC" }]
action = "allow"
mode = "report"
allow_private = true
log = "none"
"#;

/// A configuration in which each key of these tables says something.
pub(super) fn every_key() -> Config {
    config(EVERY_KEY)
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn every_key_of_a_rule_is_read() {
    let all = every_key();
    assert_eq!(
        (all.policy.default, all.policy.log, all.policy.on_reload),
        (Some(Action::Allow), Logged::All, OnReload::Revoke)
    );
    assert!(all.policy.learn.is_some_and(|path| path.ends_with("learned.jsonl")));
    let staff: &[Arc<str>] = &all.groups["staff"];
    assert_eq!(texts(staff), ["ann", "carol/admin@EXAMPLE.COM"]);
    let [list] = all.lists.as_slice() else { panic!("one list") };
    assert_eq!((&*list.name, list.subdomains), ("blocked", true));
    assert_eq!(texts(&list.domains), ["a.example", "*.b.example", ".xn--bcher-kva.example"]);
    assert_eq!(texts(&list.cidrs), ["192.0.2.0/24", "2001:db8::1/128"]);
    assert_eq!(list.file, Some(PathBuf::from("/etc/outflow/lists/blocked.txt")));
    let [rule] = all.rules.as_slice() else { panic!("one rule") };
    assert_eq!(
        (&*rule.name, texts(&rule.users), texts(&rule.not_users)),
        ("all.of-it_1", vec!["ann".into(), "bob".into()], vec!["eve".into()])
    );
    assert_eq!((texts(&rule.groups), texts(&rule.not_groups)), (vec!["staff".into()], vec!["staff".into()]));
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    assert_eq!(
        (&rule.from, &rule.not_from),
        (&vec![net("10.0.0.0/8"), net("192.0.2.7/32")], &vec![net("10.0.0.1/32")])
    );
    assert_eq!(
        (texts(&rule.listeners), texts(&rule.not_listeners)),
        (vec!["127.0.0.1:1".into()], vec!["[::1]:2".into()])
    );
    let to = ["example.com", "*.example.org", ".example.net", "127.0.0.1/32", "2001:db8::/32", "@blocked"];
    assert_eq!(
        (texts(&rule.to), texts(&rule.not_to)),
        (to.map(str::to_owned).to_vec(), vec!["www.example.org".to_owned()])
    );
    let ports: Vec<_> = rule.ports.iter().chain(&rule.not_ports).map(|ports| ports.0.clone()).collect();
    assert_eq!(ports, [443..=443, 80..=80, 8000..=8099, 8080..=8080]);
    assert_eq!(rule.commands, [RequestCommand::Connect, RequestCommand::UdpAssociate]);
    assert_eq!(rule.not_commands, [RequestCommand::Bind]);
    let days =
        vec![Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Saturday];
    let zone = Zone::Named("Europe/Berlin".to_owned());
    assert_eq!(rule.when, [When { days, hours: vec![Hours { start: 480, end: 1080 }], zone }]);
    let sunday = When { days: vec![Weekday::Sunday], hours: Vec::new(), zone: Zone::Local };
    let night = When {
        days: Vec::new(),
        hours: vec![Hours { start: 1320, end: 360 }, Hours { start: 720, end: 780 }],
        zone: Zone::Named("UTC".to_owned()),
    };
    assert_eq!(rule.not_when, [sunday, night]);
    assert_eq!(
        (rule.action, rule.mode, rule.allow_private, rule.log),
        (Action::Allow, Mode::Report, true, Some(Logged::Nothing))
    );
}

#[test]
fn what_is_printed_of_rules_gives_the_same_rules() {
    let all = every_key();
    let printed = all.to_toml();
    assert_eq!(config(&printed), all, "{printed}");
    for line in [
        "staff = [\"ann\", \"carol/admin@EXAMPLE.COM\"]",
        "ports = [443, 80, \"8000-8099\"]",
        "to = [\"example.com\", \"*.example.org\", \".example.net\", \"127.0.0.1/32\", \"2001:db8::/32\", \"@blocked\"]",
        "when = { days = [\"mon-thu\", \"sat\"], hours = [\"08:00-18:00\"], zone = \"Europe/Berlin\" }",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    let least = config("[[rule]]\nname = \"least\"\naction = \"deny\"\n").to_toml();
    let rule = &least[least.find("[[rule]]").unwrap()..least.find("[limits").unwrap()];
    assert_eq!(
        rule,
        "[[rule]]\nname = \"least\"\naction = \"deny\"\nmode = \"enforce\"\nallow_private = false\n\n"
    );
}

/// With rules what none of them matches is denied, unless it is said otherwise.
#[test]
fn the_default_is_to_deny_where_there_are_rules() {
    let rule = "[[rule]]\nname = \"a\"\naction = \"allow\"\n";
    assert_eq!(config("").policy.default, None);
    assert_eq!(config(rule).policy.default, Some(Action::Deny));
    assert_eq!(config(&format!("[policy]\ndefault = \"allow\"\n{rule}")).policy.default, Some(Action::Allow));
    assert!(!config("").to_toml().contains("default ="));
    assert!(config(rule).to_toml().contains("default = \"deny\""));
}

#[test]
fn a_table_within_a_rule_may_stand_under_its_own_header() {
    let text = "[[rule]]\nname = \"a\"\naction = \"deny\"\n[rule.when]\ndays = \"sun\"\nzone = \"UTC\"\n";
    let several =
        "[[rule]]\nname = \"a\"\naction = \"deny\"\n[[rule.when]]\ndays = \"sun\"\nzone = \"UTC\"\n";
    assert_eq!(config(text).rules, config(several).rules);
}

fn rule(keys: &str) -> String {
    format!("[[rule]]\nname = \"a\"\naction = \"allow\"\n{keys}\n")
}

#[test]
fn rules_need_names_of_their_own_and_an_action() {
    expect_complaints(&[
        (
            "[[rule]]\n\n[[rule]]\nname = \"a\"\n[[rule]]\naction = \"deny\"\n",
            &[
                "1: [[rule]] 1: needs a `name`: records, logs and metrics call it by that",
                "3: [[rule]] 2: needs an `action`: \"allow\" or \"deny\"",
                "5: [[rule]] 3: needs a `name`: records, logs and metrics call it by that",
            ],
        ),
        (
            "[[rule]]\nname = \"a\"\naction = \"deny\"\n[[rule]]\nname = \"a\"\naction = \"alow\"\n",
            &[
                "5: [[rule]] 2 key `name`: \"a\" is the name of [[rule]] 1, too",
                "6: [[rule]] 2 key `action`: \"alow\" is none of \"allow\", \"deny\"; did you mean \"allow\"?",
            ],
        ),
        (
            "[[rule]]\nname = \"default\"\naction = \"deny\"\n[[rule]]\nname = \"guard\"\naction = \"deny\"\n[[rule]]\nname = \"a b\"\naction = \"deny\"\n",
            &[
                "2: [[rule]] 1 key `name`: \"default\" is what records call what no rule matches: take another name",
                "5: [[rule]] 2 key `name`: \"guard\" is what records call what [guard] refuses, whatever the rules say: take another name",
                "8: [[rule]] 3 key `name`: \"a b\" is no name of 1 to 64 letters, digits, \"-\", \"_\" and \".\"; did you mean \"a-b\"?",
            ],
        ),
        (
            "[[limit]]\nname = \"limits.per_user\"\nper = \"user\"\nconnections = 1\n",
            &[
                "2: [[limit]] 1 key `name`: \"limits.per_user\" is what records call what [limits] per_user says: take another name",
            ],
        ),
        (
            "[[list]]\nname = \"l\"\n[[list]]\nname = \"l\"\nfile = \"f\"\n[[list]]\nname = \"m\"\ndomains = \"a.example\"\nsubdomains = true\n",
            &[
                "1: [[list]] 1: has nothing in it: it needs `domains`, `cidrs` or a `file`",
                "4: [[list]] 2 key `name`: \"l\" is the name of [[list]] 1, too",
                "9: [[list]] 3 key `subdomains`: is about the names of a `file`; in `domains`, \".example.com\" is the name and all below it",
            ],
        ),
    ]);
}

/// A condition that is empty would match everything.
#[test]
fn an_empty_condition_is_refused() {
    for (key, lacks) in [
        ("users", "a user"),
        ("not_groups", "a group"),
        ("from", "a block of addresses"),
        ("listeners", "a listener"),
        ("to", "a destination"),
        ("not_ports", "a port"),
        ("commands", "a command"),
        (
            "when",
            "a table such as { days = [\"mon-fri\"], hours = [\"08:00-18:00\"], zone = \"Europe/Berlin\" }",
        ),
    ] {
        let said = complaints(&rule(&format!("{key} = []")));
        assert_eq!(said, [format!("4: [[rule]] 1 key `{key}`: is empty: it needs {lacks}")]);
    }
}

#[test]
fn what_rules_name_has_to_be_there() {
    let lists = "[[list]]\nname = \"partners\"\ndomains = [\"a.example\"]\n";
    assert_eq!(
        complaints(&format!("{lists}{}", rule("to = [\"b.example\",\n\"@partner\"]\nnot_to = \"@zzz\""))),
        [
            "8: [[rule]] 1 key `to`: there is no [[list]] \"partner\"; did you mean \"@partners\"?",
            "9: [[rule]] 1 key `not_to`: there is no [[list]] \"zzz\"",
        ]
    );
    assert_eq!(
        complaints(&rule("listeners = \"127.0.0.1:1081\"")),
        [
            "4: [[rule]] 1 key `listeners`: there is no listener \"127.0.0.1:1081\", of [server] listen or [[listener]]; did you mean \"127.0.0.1:1080\"?"
        ]
    );
    let flags = Flags { listen: vec!["127.0.0.1:1081".to_owned()], ..Flags::default() };
    assert!(Config::parse(&rule("listeners = \"127.0.0.1:1081\""), Path::new("f"), &flags).is_ok());
}

#[test]
fn values_that_say_nothing_or_too_much_are_refused() {
    let said = |keys: &str| {
        let said = complaints(&rule(keys));
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].clone()
    };
    for (keys, what) in [
        (
            "to = \"*\"",
            "4: [[rule]] 1 key `to`: \"*\" is every destination, as a rule has where the key is left out",
        ),
        (
            "to = \"10.0.0.1/8\"",
            "4: [[rule]] 1 key `to`: \"10.0.0.1/8\" has bits set beyond its prefix; did you mean \"10.0.0.0/8\"?",
        ),
        (
            "from = \"example.com\"",
            "4: [[rule]] 1 key `from`: \"example.com\" is not a block of addresses such as \"10.0.0.0/8\"",
        ),
        (
            "ports = 0",
            "4: [[rule]] 1 key `ports`: \"0\" is no port from 1 to 65535 and no range such as \"8000-8099\"",
        ),
        (
            "ports = [\"90-80\"]",
            "4: [[rule]] 1 key `ports`: \"90-80\" is no port from 1 to 65535 and no range such as \"8000-8099\"; did you mean \"80-90\"?",
        ),
        ("ports = [true]", "4: [[rule]] 1 key `ports`: expected a number or a string, found a boolean"),
        (
            "when = { days = \"sun\" }",
            "4: [[rule]] 1 key `when`: says no zone: add zone = \"local\" for this machine's clock, \"UTC\", or such as \"Europe/Berlin\"",
        ),
        (
            "when = { zone = \"UTC\" }",
            "4: [[rule]] 1 key `when`: needs days or hours: a rule without `when` holds at any time",
        ),
        (
            "when = { dais = \"sun\", zone = \"UTC\" }",
            "4: [[rule]] 1 key `when.dais`: unknown key; did you mean `days`?",
        ),
        ("when = { days = [], zone = \"UTC\" }", "4: [[rule]] 1 key `when.days`: is empty: it needs a day"),
        (
            "when = \"sun\"",
            "4: [[rule]] 1 key `when`: expected a table such as { days = [\"mon-fri\"], hours = [\"08:00-18:00\"], zone = \"Europe/Berlin\" }, found a string",
        ),
        ("user = \"ann\"", "4: [[rule]] 1 key `user`: unknown key; did you mean `users`?"),
        (
            "when = { days = \"sun\", zone = \"UTC\" }\naction2 = 1",
            "5: [[rule]] 1 key `action2`: unknown key; did you mean `action`?",
        ),
    ] {
        assert_eq!(said(keys), what, "{keys}");
    }
}

#[test]
fn tables_that_cannot_be_are_refused() {
    assert_eq!(
        complaints("[[rule]]\nname = \"a\"\naction = \"deny\"\nallow_private = true\n"),
        ["4: [[rule]] 1 key `allow_private`: allows nothing in a rule that denies: leave it out"]
    );
    expect_complaints(&[
        (
            "[groups]\n\"a b\" = [\"ann\"]\n",
            &[
                "2: [groups] key `a b`: \"a b\" is no name of 1 to 64 letters, digits, \"-\", \"_\" and \".\"; did you mean \"a-b\"?",
            ],
        ),
        (
            "[groups]\nstaff = \"ann\"\n",
            &[
                "2: [groups] key `staff`: expected an array of strings, found a string; did you mean [\"ann\"]?",
            ],
        ),
        (
            "[groups.staff]\nx = 1\n",
            &["1: [groups] key `staff`: expected an array of strings, found a table"],
        ),
        ("[[groups]]\n", &["1: [groups]: expected a table, found an array"]),
        (
            "[rule]\nname = \"a\"\n",
            &["1: [rule]: expected an array of tables, found a table; did you mean [[rule]]?"],
        ),
    ]);
}

#[test]
fn an_open_proxy_is_named_by_the_rule_that_opens_it() {
    let listen = "[server]\nlisten = [\"0.0.0.0:1080\"]\n";
    let open = "2: [server] key `listen`: \"0.0.0.0:1080\" with method \"none\" is an open proxy: ";
    assert_eq!(
        complaints(&format!("{listen}{}", rule("ports = 443"))),
        [format!(
            "{open}[[rule]] 1 \"a\" allows something to whoever reaches it; give the rule a `from`, or `users` or `groups` of those \
             who log in, set methods = [\"password\"] in [auth], or write open_proxy = true in [server]"
        )]
    );
    assert_eq!(
        complaints(&format!("{listen}[policy]\ndefault = \"allow\"\n{}", rule("from = \"10.0.0.0/8\""))),
        [format!(
            "{open}what no rule denies is allowed to whoever reaches it; set default = \"deny\" in [policy], set methods = \
             [\"password\"] in [auth], or write open_proxy = true in [server]"
        )]
    );
    assert!(parse(&format!("{listen}{}", rule("from = \"10.0.0.0/8\""))).is_ok());
    // A rule that is wrong says so alone.
    assert_eq!(complaints(&format!("{listen}{}", rule("form = \"10.0.0.0/8\""))).len(), 1);
}

#[test]
fn rules_that_change_are_told_by_name() {
    let old = config(
        "[groups]\nb = [\"ann\"]\n[[rule]]\nname = \"one\"\naction = \"deny\"\n[[rule]]\nname = \"two\"\naction = \"deny\"\n",
    );
    let new = config(
        "[groups]\na = [\"bob\"]\n[[rule]]\nname = \"new\"\naction = \"deny\"\n[[rule]]\nname = \"two\"\naction = \"allow\"\n[[rule]]\nname = \"one\"\naction = \"deny\"\n",
    );
    let told = |new: &Config, old: &Config| -> Vec<String> {
        let changes = new.changes_from(old).into_iter();
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        changes
            .map(|change| format!("{}: {} to {}", change.key, text(change.from), text(change.to)))
            .collect()
    };
    assert_eq!(
        told(&new, &old),
        [
            "groups.a: - to [\"bob\"]",
            "groups.b: [\"ann\"] to -",
            "rule[new].name: - to \"new\"",
            "rule[new].action: - to \"deny\"",
            "rule[new].mode: - to \"enforce\"",
            "rule[new].allow_private: - to false",
            "rule[two].action: \"deny\" to \"allow\"",
            "rule order: \"rule[one] before rule[two]\" to \"rule[two] before rule[one]\"",
        ]
    );
    assert_eq!(told(&old, &new).len(), 8);
    assert_eq!(told(&new, &new), Vec::<String>::new());
}
