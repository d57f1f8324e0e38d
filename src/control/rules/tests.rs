//! From a configuration and its files to rules that answer.

mod random;

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::config::Flags;
use crate::policy::rules::{Asked, Question, Ruling};
use crate::proto::address::{Host, Name};
use crate::proto::request::RequestCommand;

const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

fn config_in(folder: &Path, text: &str) -> Config {
    Config::parse(text, &folder.join("outflow.toml"), &Flags::default())
        .unwrap_or_else(|what| panic!("{what}"))
}

fn config(text: &str) -> Config {
    config_in(Path::new("/etc"), text)
}

/// The rules that follow these, and what was warned of.
fn next(rules: &Arc<OperatorRules>, config: &Config) -> (Arc<OperatorRules>, Vec<String>) {
    let (plan, warnings) = rules.plan(config, None).unwrap_or_else(|errors| panic!("{errors:?}"));
    (Arc::clone(rules).follow(plan), texts(warnings))
}

fn rules(config: &Config) -> Arc<OperatorRules> {
    next(&Arc::default(), config).0
}

fn texts(remarks: Vec<RuleRemark>) -> Vec<String> {
    let text = |((table, nth, key), what)| format!("{table} {nth} {key}: {what}");
    remarks.into_iter().map(text).collect()
}

fn errors(config: &Config) -> Vec<String> {
    texts(OperatorRules::default().plan(config, None).err().expect("it was taken"))
}

fn name(text: &str) -> Name {
    match Host::parse(text.as_bytes()) {
        Ok(Host::Name(name)) => name,
        other => panic!("{text}: {other:?}"),
    }
}

fn ask(rules: &OperatorRules, user: Option<&str>, target: Asked<'_>) -> Ruling {
    let source = IpAddr::from([192, 0, 2, 1]);
    let question = Question { user, source, listener: 0, command: RequestCommand::Connect, target };
    rules.set.as_ref().expect("there are rules").judge(&question)
}

fn action_of(rules: &OperatorRules, target: &str) -> Action {
    ask(rules, None, Asked::Name(&name(target), 443)).action
}

#[test]
fn without_a_rule_nothing_is_asked() {
    assert!(rules(&config("")).set.is_none());
    assert!(rules(&config("[policy]\ndefault = \"allow\"\n")).set.is_none());
    let closed = rules(&config("[policy]\ndefault = \"deny\"\n"));
    assert_eq!(action_of(&closed, "a.example"), Action::Deny);
}

#[test]
fn rules_mean_what_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("blocked.txt"), "ads.example\n198.51.100.0/24\n").unwrap();
    let made = rules(&config_in(
        folder.path(),
        "[groups]\nstaff = [\"ann\"]\n[[list]]\nname = \"blocked\"\ndomains = [\".b.example\"]\nfile = \"blocked.txt\"\nsubdomains = true\n\
         [[rule]]\nname = \"blocked\"\nto = \"@blocked\"\naction = \"deny\"\n\
         [[rule]]\nname = \"staff\"\ngroups = \"staff\"\nports = [443]\naction = \"allow\"\n\
         [[rule]]\nname = \"never\"\nwhen = { hours = \"00:00-24:00\", zone = \"UTC\" }\nto = \"always.example\"\naction = \"allow\"\n",
    ));
    let decides = |user, target: Asked<'_>| {
        let ruling = ask(&made, user, target);
        (ruling.action, ruling.rule)
    };
    let id = |name: &str| made.number_of(name);
    let ann = Some("ann");
    assert_eq!(decides(ann, Asked::Name(&name("x.ads.example"), 443)), (Action::Deny, id("blocked")));
    assert_eq!(decides(ann, Asked::Name(&name("b.example"), 443)), (Action::Deny, id("blocked")));
    let listed = Asked::Address(IpAddr::from([198, 51, 100, 7]), 443, None);
    assert_eq!(decides(ann, listed), (Action::Deny, id("blocked")));
    assert_eq!(decides(ann, Asked::Name(&name("c.example"), 443)), (Action::Allow, id("staff")));
    assert_eq!(decides(ann, Asked::Name(&name("c.example"), 80)), (Action::Deny, RuleId::DEFAULT));
    assert_eq!(decides(None, Asked::Name(&name("c.example"), 443)), (Action::Deny, RuleId::DEFAULT));
    // It was told the time before anybody asked.
    assert_eq!(decides(None, Asked::Name(&name("always.example"), 80)), (Action::Allow, id("never")));
}

fn three(names: [&str; 3]) -> Config {
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\naction = \"allow\"\n");
    config(&names.map(rule).concat())
}

/// Records and counters of old sessions go by the number of a rule that is gone.
#[test]
fn a_rules_number_is_its_names_for_ever() {
    let first = rules(&three(["a", "b", "c"]));
    let of = |rules: &OperatorRules| ["a", "b", "c", "d"].map(|name| rules.number_of(name).0);
    assert_eq!(of(&first), [1, 2, 3, 0]);
    let (second, _) = next(&first, &three(["d", "c", "a"]));
    assert_eq!(of(&second), [1, 2, 3, 4]);
    let decided = ask(&second, None, Asked::Anything).rule;
    assert_eq!(decided, RuleId(4));
    let (third, _) = next(&second, &three(["b", "x", "c"]));
    assert_eq!(of(&third), [1, 2, 3, 4]);
    assert_eq!(third.number_of("x"), RuleId(5));
}

#[test]
fn a_process_that_has_had_all_numbers_takes_no_new_name() {
    let names: Vec<Arc<str>> = (1..=u16::MAX).map(|nth| format!("old{nth}").into()).collect();
    let none = OperatorRules::default();
    let numbers = none.numbers.with(names.iter()).expect("one for each");
    let full = OperatorRules { numbers, ..none };
    let refused = full.plan(&three(["old7", "new", "old9"]), None).err().map(texts);
    let what =
        "rule 1 name: this process has had 65535 rules of different names: only a new one can take more";
    assert_eq!(refused, Some(vec![what.to_owned()]));
    assert!(full.plan(&three(["old1", "old65535", "old3"]), None).is_ok());
}

#[test]
fn rules_are_made_anew_only_where_what_they_are_made_of_is_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("l.txt");
    fs::write(&file, "a.example\n").unwrap();
    let text = |more: &str| {
        format!(
            "{more}[[list]]\nname = \"l\"\nfile = \"l.txt\"\n[[rule]]\nname = \"r\"\nto = \"@l\"\naction = \"allow\"\n"
        )
    };
    let first = rules(&config_in(folder.path(), &text("")));
    let (same, _) = next(&first, &config_in(folder.path(), &text("[log]\nlevel = \"warn\"\n")));
    assert!(Arc::ptr_eq(&first, &same));
    fs::write(&file, "a.example\nb.example\n").unwrap();
    let (plan, _) =
        same.plan(&config_in(folder.path(), &text("")), None).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(plan.lists_read(), [format!("list \"l\": 2 entries now, of {}", file.display())]);
    let other = same.follow(plan);
    let allowed = |rules: &OperatorRules| action_of(rules, "b.example") == Action::Allow;
    assert!(allowed(&other) && !allowed(&first));
    let (closed, _) = next(&other, &config_in(folder.path(), ""));
    assert!(closed.set.is_none());
}

#[test]
fn a_list_that_is_broken_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.txt");
    let text = "[[list]]\nname = \"m\"\ndomains = [\"a.example\"]\n[[list]]\nname = \"l\"\nfile = \"l.txt\"\n\
                [[rule]]\nname = \"r\"\nto = [\"@l\", \"@m\"]\naction = \"allow\"\n";
    let config = config_in(folder.path(), text);
    let shown = path.display();
    assert_eq!(
        errors(&config),
        [format!("list 1 file: {shown}: cannot be read: No such file or directory (os error 2)")]
    );
    fs::write(&path, "a.example\nhttp://b.example/\n").unwrap();
    assert_eq!(
        errors(&config),
        [format!(
            "list 1 file: {shown}:2: \"http://b.example/\" is no name, address or block of addresses: the form of an address, but \
             none; did you mean \"b.example\"?"
        )]
    );
}

/// An empty list is one that was not written whole, and opens what it was to close.
#[test]
fn an_empty_list_is_refused_where_it_would_open_something() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("l.txt"), "# nothing yet\n").unwrap();
    let with = |rule: &str| {
        let text = format!("[[list]]\nname = \"l\"\nfile = \"l.txt\"\n[[rule]]\nname = \"r\"\n{rule}\n");
        config_in(folder.path(), &text)
    };
    let end = "give it one, if but \"none.invalid\"";
    assert_eq!(
        errors(&with("to = \"@l\"\naction = \"deny\"")),
        [format!(
            "rule 0 to: the list \"@l\" has no entry, and a rule that denies nothing by that is not meant: {end}"
        )]
    );
    assert_eq!(
        errors(&with("not_to = [\"b.example\", \"@l\"]\naction = \"allow\"")),
        [format!(
            "rule 0 not_to: the list \"@l\" has no entry, and a rule that allows everything by that is not meant: {end}"
        )]
    );
    let warned = |rule: &str| next(&Arc::default(), &with(rule)).1;
    assert_eq!(warned("to = \"@l\"\naction = \"allow\""), ["rule 0 to: the list \"@l\" has no entry"]);
    assert_eq!(warned("not_to = \"@l\"\naction = \"deny\""), ["rule 0 not_to: the list \"@l\" has no entry"]);
}

#[test]
fn what_is_probably_a_slip_is_named() {
    let rule = "[[rule]]\nname = \"r\"\naction = \"allow\"\n";
    assert_eq!(
        errors(&config(&format!("[groups]\nstaff = []\n{rule}not_groups = \"stuff\"\ngroups = \"zzz\"\n"))),
        [
            "rule 0 groups: there is no group \"zzz\": one that may be empty stands as zzz = [] in [groups]",
            "rule 0 not_groups: there is no group \"stuff\"; did you mean \"staff\"?",
        ]
    );
    assert_eq!(
        errors(&config(&format!("{rule}when = {{ days = \"sun\", zone = \"Europe/Berlni\" }}\n"))),
        ["rule 0 when: there is no time zone \"Europe/Berlni\"; did you mean \"Europe/Berlin\"?"]
    );
    let quota = "quota = { bytes = 1, period = \"day\", zone = \"Europe/Berlni\" }";
    assert_eq!(
        errors(&config(&format!(
            "[server]\nstate = \"state\"\n[[limit]]\nname = \"a\"\nper = \"user\"\n{quota}\n"
        ))),
        ["limit 0 quota: there is no time zone \"Europe/Berlni\"; did you mean \"Europe/Berlin\"?"]
    );
    let unused = "[[list]]\nname = \"l\"\ndomains = \"a.example\"\n";
    assert_eq!(
        next(&Arc::default(), &config(&format!("{unused}{rule}"))).1,
        ["list 0 name: no rule names \"@l\""]
    );
}

#[test]
fn a_rule_that_can_never_match_is_named_with_the_one_before_it() {
    let text = "[groups]\nnobody = []\n[[rule]]\nname = \"all\"\nports = [\"1-1000\"]\naction = \"deny\"\n\
                [[rule]]\nname = \"web\"\nports = [80, 443]\nto = \"a.example\"\naction = \"allow\"\n\
                [[rule]]\nname = \"none\"\nfrom = [\"10.1.0.0/16\"]\nnot_from = [\"10.0.0.0/8\"]\naction = \"allow\"\n";
    assert_eq!(
        next(&Arc::default(), &config(text)).1,
        [
            "rule 1 name: never matches: [[rule]] 1 \"all\" before it takes all that it would",
            "rule 2 from: leaves nothing, so that the rule never matches",
        ]
    );
}

/// The guard speaks before the rules, and says nothing of its own in `check`.
#[test]
fn a_block_that_the_guard_refuses_all_the_same_is_named() {
    let warned = |keys: &str, guard: &str| {
        let text = format!(
            "{guard}[[rule]]\nname = \"r\"\nto = [\"10.1.0.0/16\", \"192.0.0.0/4\", \"a.example\"]\n{keys}\n"
        );
        next(&Arc::default(), &config(&text)).1
    };
    let allow = "action = \"allow\"";
    let [one] = &warned(allow, "")[..] else { panic!("not one warning: {:?}", warned(allow, "")) };
    assert!(one.starts_with("rule 0 to: 10.1.0.0/16 is refused by [guard] all the same ("), "{one}");
    assert!(one.ends_with("): allow_private = true opens it"), "{one}");
    assert_eq!(warned("action = \"deny\"", ""), [""; 0]);
    assert_eq!(warned("action = \"allow\"\nallow_private = true", ""), [""; 0]);
    assert_eq!(warned(allow, "[guard]\nallow = [\"10.0.0.0/8\"]\n"), [""; 0]);
}

#[test]
fn a_user_who_cannot_log_in_is_named() {
    let text = |methods: &str| {
        format!(
            "{methods}[[rule]]\nname = \"r\"\nusers = \"alcie\"\nnot_users = \"bob\"\naction = \"allow\"\n"
        )
    };
    let warned = |methods: &str, users: Option<&Users>| {
        texts(
            OperatorRules::default()
                .plan(&config(&text(methods)), users)
                .unwrap_or_else(|errors| panic!("{errors:?}"))
                .1,
        )
    };
    assert_eq!(
        warned("", None),
        [
            "rule 0 users: nobody logs in, and so nobody is \"alcie\"",
            "rule 0 not_users: nobody logs in, and so nobody is \"bob\""
        ]
    );
    let users = Users::parse(&format!("alice:{HASH}\n"), Path::new("u")).unwrap();
    let password = "[auth]\nmethods = [\"password\"]\nusers = \"u\"\n";
    assert_eq!(
        warned(password, Some(&users)),
        [
            "rule 0 users: the users file has no user \"alcie\"; did you mean \"alice\"?",
            "rule 0 not_users: the users file has no user \"bob\""
        ]
    );
    let members = "[groups]\nstaff = [\"alice\", \"bob\", \"alcie\"]\nother = [\"eve\"]\n";
    let grouped = "[[rule]]\nname = \"r\"\ngroups = \"staff\"\naction = \"allow\"\n[[rule]]\nname = \"s\"\nports = 80\nnot_groups = \"staff\"\naction = \"allow\"\n";
    let plan = OperatorRules::default().plan(&config(&format!("{password}{members}{grouped}")), Some(&users));
    assert_eq!(
        texts(plan.unwrap_or_else(|errors| panic!("{errors:?}")).1),
        [
            "rule 0 groups: group \"staff\": the users file has no user \"bob\"",
            "rule 0 groups: group \"staff\": the users file has no user \"alcie\"; did you mean \"alice\"?",
        ],
        "once, and not of a group that no rule names"
    );
    assert_eq!(warned("[auth]\nmethods = [\"gssapi\"]\n", None), [""; 0], "a ticket may be anybody's");
    let group = config(
        "[groups]\nstaff = [\"ann\"]\n[[rule]]\nname = \"r\"\ngroups = \"staff\"\naction = \"allow\"\n",
    );
    assert_eq!(
        next(&Arc::default(), &group).1,
        ["rule 0 groups: nobody logs in, and so nobody is in a group"]
    );
}

#[test]
fn a_limit_that_limits_nobody_is_named() {
    let text = |methods: &str, named: &str| {
        format!(
            "{methods}[[limit]]\nname = \"gold\"\nper = \"user\"\nconnections = 3\n[[rule]]\nname = \"r\"\naction = \"allow\"\n{named}"
        )
    };
    let warned = |text: String, users: Option<&Users>| {
        let plan = OperatorRules::default().plan(&config(&text), users);
        texts(plan.unwrap_or_else(|errors| panic!("{errors:?}")).1)
    };
    let named = "limits = \"gold\"\n";
    let password = "[auth]\nmethods = [\"password\"]\nusers = \"u\"\n";
    let users = |text: &str| Users::parse(&text.replace('#', HASH), Path::new("u")).unwrap();
    let unnamed = ["limit 0 name: limits nobody: neither a rule nor a user has \"gold\""];
    assert_eq!(warned(text("", ""), None), unnamed);
    assert_eq!(warned(text(password, ""), Some(&users("ann:#\n"))), unnamed);
    assert_eq!(warned(text(password, ""), Some(&users("ann:#:limits=gold\n"))), [""; 0]);
    assert_eq!(warned(text(password, named), Some(&users("ann:#\n"))), [""; 0]);
    assert_eq!(warned(text("", named), None), ["limit 0 per: limits nobody: nobody logs in"]);
    assert_eq!(warned(text("[auth]\nmethods = [\"gssapi\"]\n", named), None), [""; 0]);
}

#[test]
fn a_rule_about_resolving_that_can_never_match_is_named() {
    let warned = |before: &str, conditions: &str| {
        let text = format!("{before}[[rule]]\nname = \"r\"\n{conditions}action = \"allow\"\n");
        next(&Arc::default(), &config(&text)).1
    };
    let on = "[tor]\nresolve = true\n";
    let off =
        ["rule 0 commands: never matches: nobody may ask for \"resolve\" without resolve = true in [tor]"];
    assert_eq!(warned("", "commands = [\"resolve\"]\n"), off);
    assert_eq!(warned("", "commands = [\"resolve\", \"connect\"]\n"), [""; 0]);
    assert_eq!(warned(on, "commands = [\"resolve\"]\n"), [""; 0]);
    let ports = ["rule 0 ports: never matches: \"resolve\" is asked without a port"];
    assert_eq!(warned(on, "commands = [\"resolve\"]\nports = [443]\n"), ports);
    assert_eq!(warned(on, "commands = [\"resolve\", \"connect\"]\nports = [443]\n"), [""; 0]);
}

/// What the configuration says and what the users file says are one group, and the file alone makes a group, too.
#[test]
fn groups_are_those_of_the_configuration_and_of_the_users_file() {
    let config = config(
        "[groups]\nstaff = [\"bob\"]\n[[rule]]\nname = \"staff\"\ngroups = [\"staff\", \"night\"]\naction = \"allow\"\n",
    );
    let users = |text: &str| Users::parse(&text.replace('#', HASH), Path::new("users")).unwrap();
    let of_file = users("ann:#:groups=staff\nbob:#:groups=staff\neve:#:groups=night\ndan:#:groups=other\n");
    let before: Arc<OperatorRules> = Arc::default();
    let (plan, _) = before.plan(&config, Some(&of_file)).unwrap_or_else(|errors| panic!("{errors:?}"));
    let rules = before.follow(plan);
    let members: Vec<Vec<&str>> = rules
        .inputs
        .groups
        .iter()
        .map(|group| group.members.iter().map(|member| &**member).collect())
        .collect();
    assert_eq!(members, [vec!["ann", "bob"], vec!["eve"]]);
    let target = name("example.com");
    let allows = |rules: &OperatorRules, user| {
        ask(rules, Some(user), Asked::Name(&target, 443)).action == Action::Allow
    };
    assert!(allows(&rules, "ann") && allows(&rules, "eve") && !allows(&rules, "dan"));
    assert!(rules.regrouped(&config, &of_file).is_none());
    let left = users("ann:#\nbob:#\neve:#:groups=night,staff\n");
    let after = rules.regrouped(&config, &left).expect("others are in the group");
    assert!(!allows(&after, "ann") && allows(&after, "bob") && allows(&after, "eve"));
    let after = rules.regrouped(&config, &users("eve:#\n")).expect("nobody is in the group");
    assert!(!allows(&after, "eve"), "the last one leaves a group, too");
    let Err(errors) = rules.plan(&config, Some(&users("eve:#\n"))) else { panic!("there is no such group") };
    assert_eq!(
        texts(errors),
        [
            "rule 0 groups: there is no group \"night\": one that may be empty stands as night = [] in [groups]"
        ]
    );
}

/// Whoever comes into a group has neither a list read nor the rules made anew, and is told no fault of a list's file.
#[test]
fn who_is_in_a_group_is_another_matter_than_what_the_rules_are_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("l.txt");
    fs::write(&file, "a.example\n").unwrap();
    let text = "[groups]\nstaff = []\n[[list]]\nname = \"l\"\nfile = \"l.txt\"\n[[rule]]\nname = \"r\"\ngroups = [\"staff\"]\nto = \"@l\"\naction = \"allow\"\n";
    let config = config_in(folder.path(), text);
    let before = rules(&config);
    fs::write(&file, "no entry of any list\n").unwrap();
    let users = Users::parse(&format!("ann:{HASH}:groups=staff\n"), Path::new("users")).unwrap();
    let after = before.regrouped(&config, &users).expect("ann is in the group");
    let (ann, target) = (Some("ann"), name("a.example"));
    let allows = |rules: &OperatorRules| ask(rules, ann, Asked::Name(&target, 443)).action == Action::Allow;
    assert!(!allows(&before) && allows(&after));
    assert!(after.regrouped(&config, &users).is_none());
    assert!(after.plan(&config, Some(&users)).is_err(), "a reload reads it");
}

/// The warning about a group goes and comes with its users.
#[test]
fn a_group_without_a_user_is_told_of_while_it_has_none() {
    let config =
        config("[groups]\nstaff = []\n[[rule]]\nname = \"r\"\ngroups = [\"staff\"]\naction = \"allow\"\n");
    let users = |text: &str| Users::parse(&text.replace('#', HASH), Path::new("users")).unwrap();
    let (nobody, ann) = (users("ann:#\n"), users("ann:#:groups=staff\n"));
    let before: Arc<OperatorRules> = Arc::default();
    let warned = |rules: &OperatorRules, users: &Users| {
        let (_, warnings) = rules.plan(&config, Some(users)).unwrap_or_else(|errors| panic!("{errors:?}"));
        texts(warnings)
    };
    let empty = ["rule 0 groups: leaves nothing, so that the rule never matches"];
    assert_eq!(warned(&before, &nobody), empty);
    let (plan, _) = before.plan(&config, Some(&nobody)).unwrap_or_else(|errors| panic!("{errors:?}"));
    let rules = before.follow(plan);
    let after = rules.regrouped(&config, &ann).expect("ann is in the group");
    assert_eq!(warned(&after, &ann), [""; 0]);
    assert_eq!(warned(&after.regrouped(&config, &nobody).expect("nobody is"), &nobody), empty);
}

/// Whatever the clock does, rules hold at the time that it shows, and who remembers a verdict learns that it is another.
#[test]
fn rules_hold_at_the_time_that_the_clock_shows_wherever_it_jumps() {
    let rules = rules(&config(
        "[[rule]]\nname = \"day\"\nwhen = { days = \"mon-fri\", hours = \"08:00-18:00\", zone = \"Europe/Berlin\" }\naction = \"allow\"\n",
    ));
    rules.tell_time("2026-11-27T00:00:00Z".parse().unwrap());
    let mut before = (false, rules.set.as_ref().unwrap().epoch());
    for (time, holds) in [
        // A Friday, by clocks an hour ahead of UTC.
        ("2026-11-27T06:59:59Z", false),
        ("2026-11-27T07:00:00Z", true),
        // Years ahead, and two hours ahead of UTC in July; and back.
        ("2031-07-04T06:00:00Z", true),
        ("2031-07-04T16:00:00Z", false),
        ("2026-11-27T12:00:00Z", true),
        ("2026-11-28T12:00:00Z", false),
        ("2026-11-27T12:00:00Z", true),
        // A machine without a battery, a Thursday; and all that there is.
        ("1970-01-01T00:00:00Z", false),
        ("1970-01-01T12:00:00Z", true),
        ("-009999-01-03T03:00:00Z", false),
        ("9999-12-30T12:00:00Z", true),
    ] {
        rules.tell_time(time.parse().unwrap());
        let target = name("example.com");
        let said = ask(&rules, None, Asked::Name(&target, 443)).action;
        assert_eq!(said == Action::Allow, holds, "{time}");
        let epoch = rules.set.as_ref().unwrap().epoch();
        assert_eq!(epoch != before.1, holds != before.0, "{time}");
        before = (holds, epoch);
    }
    for extreme in [Timestamp::MIN, Timestamp::MAX] {
        rules.tell_time(extreme);
    }
}

/// A pool that no rule names was passed over in silence, and so was a key that no session can have.
#[test]
fn a_pool_that_nothing_leaves_from_is_told_of_and_so_is_a_key_that_no_session_has() {
    let pool = |lines: &str| format!("[[egress]]\nname = \"nat\"\naddresses = \"192.0.2.1\"\n{lines}");
    let rule = "[[rule]]\nname = \"r\"\naction = \"allow\"\negress = \"nat\"\n";
    let password = "[auth]\nmethods = [\"password\"]\nusers = \"u\"\n";
    let format = |parameters: &str| format!("{password}[username]\nformat = \"{{user}}{parameters}\"\n");
    let warned = |text: String, users| texts(OperatorRules::default().plan(&config(&text), users).unwrap().1);
    let users = |text: &str| Users::parse(&text.replace('#', HASH), Path::new("u")).unwrap();
    let (nobody, ann) = (users("ann:#\n"), users("ann:#:egress=nat\n"));
    let idle = ["egress 0 name: nothing leaves from it: no rule, listener or user has egress = \"nat\""];
    assert_eq!(warned(pool(""), None), idle);
    let tagged = pool("tags = { area = \"de\" }\n");
    let listener = "[[listener]]\naddress = \"127.0.0.1:1081\"\negress = \"nat\"\n";
    for (text, users) in [
        (format!("{}{rule}", pool("")), None),
        (format!("{}{listener}", pool("")), None),
        (format!("{password}{}", pool("")), Some(&ann)),
        (format!("{}{}", format("-egress-{pool}"), pool("")), Some(&nobody)),
        (format!("{}{tagged}", format("-country-{tag:area}")), Some(&nobody)),
    ] {
        assert_eq!(warned(text.clone(), users), [""; 0], "{text}");
    }
    let by_session = format!("{}{rule}", pool("sticky_on = [\"user\", \"session\"]\n"));
    let keyless = [
        "egress 0 sticky_on: keeps no session at its address: no name says which one it is, for the format of [username] has no {session}",
    ];
    assert_eq!(warned(by_session.clone(), None), keyless);
    assert_eq!(warned(format!("{}{by_session}", format("-session-{session}")), Some(&nobody)), [""; 0]);
}
