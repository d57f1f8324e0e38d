//! Parents as they are typed, and the messages that wrong ones get.

use super::bad_files::expect_complaints;
use super::{config, parse};
use crate::config::ParentConfig;
use crate::limits;
use crate::policy::parents::{Fallback, ParentSelect, ResolveAt, SendProxy, UserFrom};

const WHOLE: &str = r#"
[[parent]]
name = "up"
servers = ["socks5h://192.0.2.1", { url = "http://proxy.example:3128", weight = 3 },
           { url = ["socks5h://192.0.2.1:1081", "socks4a://ann@tor.example"], weight = 0 }]
select = "sticky"
max_fails = 5
fail_timeout = "10s"
check = { target = "example.com:443", every = "5s" }
resolve = "there"
user_from = "url"
send_proxy = "off"
fallback = "direct"
warm = 4
"#;

/// A parent of which every key is printed.
pub(super) fn every_key() -> Vec<ParentConfig> {
    config(WHOLE).parents
}

#[test]
fn a_parent_is_read_and_prints_as_it_is_read() {
    let read = config(WHOLE);
    let parent = &read.parents[0];
    let servers: Vec<(String, u32)> =
        parent.servers.iter().map(|server| (server.to_string(), server.weight)).collect();
    let expected = [
        ("socks5h://192.0.2.1:1080", 1),
        ("http://proxy.example:3128", 3),
        ("socks5h://192.0.2.1:1081>socks4a://tor.example:1080", 0),
    ];
    assert_eq!(servers, expected.map(|(text, weight)| (text.to_owned(), weight)));
    assert_eq!(parent.servers[2].hops[1].user.as_deref(), Some(&b"ann"[..]));
    assert_eq!((parent.select, parent.max_fails, parent.warm), (ParentSelect::Sticky, 5, 4));
    assert_eq!((parent.send_proxy, parent.fallback), (SendProxy::Off, Fallback::Direct));
    assert_eq!(
        parent.check.as_ref().map(|check| check.target.to_string()).as_deref(),
        Some("example.com:443")
    );
    let printed = read.to_toml();
    assert!(printed.contains("{ url = \"http://proxy.example:3128\", weight = 3 }"), "{printed}");
    assert_eq!(parse(&printed).unwrap(), read);
}

#[test]
fn what_is_left_out_of_a_parent_has_its_default() {
    let read = config("[[parent]]\nname = \"up\"\nservers = \"socks5://192.0.2.1\"\n");
    let parent = &read.parents[0];
    assert_eq!((parent.select, parent.user_from), (ParentSelect::RoundRobin, UserFrom::Url));
    assert_eq!(
        (parent.resolves(), parent.send_proxy, parent.fallback, parent.warm),
        (ResolveAt::Here, SendProxy::Off, Fallback::Fail, 0)
    );
    assert_eq!((parent.max_fails, parent.fail_timeout.as_secs(), parent.check.is_none()), (3, 30, true));
    assert_eq!(parse(&read.to_toml()).unwrap(), read);
    for (typed, version) in
        [("1", SendProxy::Version1), ("2", SendProxy::Version2), ("\"2\"", SendProxy::Version2)]
    {
        let text = format!("[[parent]]\nname = \"up\"\nservers = \"socks5://a\"\nsend_proxy = {typed}\n");
        let read = config(&text);
        assert_eq!(read.parents[0].send_proxy, version);
        assert_eq!(parse(&read.to_toml()).unwrap(), read);
    }
    let resolves = |servers: &str| {
        config(&format!("[[parent]]\nname = \"up\"\nservers = [{servers}]\n")).parents[0].resolves()
    };
    for there in ["\"socks5h://a.example\"", "\"http://a.example:80\", \"socks4a://a.example\""] {
        assert_eq!(resolves(there), ResolveAt::There, "{there}");
    }
    assert_eq!(resolves("{ url = [\"socks5h://a.example\", \"socks5://a.example\"] }"), ResolveAt::Here);
}

/// What is printed is read by those who are not to know it: the admin endpoint tells it, and a reload writes it to the log.
#[test]
fn no_password_is_printed_and_what_stands_for_it_is_not_read() {
    let read = config("[[parent]]\nname = \"up\"\nservers = \"socks5://ann:hunter2@192.0.2.1\"\n");
    let printed = read.to_toml();
    assert!(printed.contains("servers = [\"socks5://ann:***@192.0.2.1:1080\"]"), "{printed}");
    assert!(!format!("{read:?}").contains("hunter2"));
    let said = parse(&printed).unwrap_err().to_string();
    assert!(said.contains("type the password itself"), "{said}");
}

/// It is printed as it is read: the name within the URL, and of the password the file alone.
#[test]
fn a_login_beside_a_url_is_that_of_its_proxy() {
    let with = |servers: &str, more: &str| {
        config(&format!("[[parent]]\nname = \"up\"\nservers = [{servers}]\n{more}"))
    };
    let read = with(
        "{ url = \"http://a:1\", user = \"ann\", password_file = \"up.secret\", weight = 2 }, \
         { url = \"socks4a://b\", user = \"bob\" }, \
         { url = [{ url = \"socks5h://c\", user = \"a b\", password_file = \"/run/c\" }, \"http://d:1\"] }",
        "",
    );
    let hops: Vec<_> = read.parents[0].servers.iter().flat_map(|server| &server.hops).collect();
    let user = |nth: usize| hops[nth].user.as_deref().map(|user| std::str::from_utf8(user).unwrap());
    assert_eq!([0, 1, 2, 3].map(user), [Some("ann"), Some("bob"), Some("a b"), None]);
    let file = |nth: usize| hops[nth].password_file.as_deref().and_then(|path| path.to_str());
    // Relative to the file of the configuration.
    assert!(
        file(0).is_some_and(|path| path.starts_with('/') && path.ends_with("/up.secret")),
        "{:?}",
        file(0)
    );
    assert_eq!([1, 2, 3].map(file), [None, Some("/run/c"), None]);
    let printed = read.to_toml();
    assert!(
        printed.contains("{ url = [{ url = \"socks5h://a%20b@c:1080\", password_file = \"/run/c\" }"),
        "{printed}"
    );
    assert_eq!(parse(&printed).unwrap(), read);
    // The password that goes with clients' own names.
    with("{ url = \"socks5h://a\", password_file = \"f\" }", "user_from = \"client\"\n");
}

/// What is wrong with servers: what is typed, the key that is blamed, and what is said.
fn of_servers() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("servers = []", "servers", "is empty: it needs a server"),
        ("servers = 3", "servers", "expected URLs, and tables such as"),
        ("servers = [3]", "servers", "expected a URL or a table such as"),
        ("servers = [\"192.0.2.1\"]", "servers", "did you mean \"socks5://192.0.2.1\"?"),
        ("servers = [\"https://192.0.2.1:443\"]", "servers", "TLS to a parent, which is not there"),
        ("servers = [\"socks5://a.example\", \"socks5://A.example:1080\"]", "servers", "is listed twice"),
        ("servers = { url = \"socks5://a.example\", weight = 0 }", "servers", "all servers have weight 0"),
        (
            "servers = { url = \"socks5://a.example\", weight = 101 }",
            "servers",
            "101 is out of range: 0 to 100",
        ),
        ("servers = { weight = 2 }", "servers", "needs a url"),
        ("servers = { url = \"socks5://a.example\", wieght = 2 }", "servers", "did you mean `weight`?"),
        ("servers = { url = [] }", "servers", "is empty: it needs a URL"),
        (
            "servers = { url = \"http://a:1\", passwordfile = \"f\" }",
            "servers",
            "did you mean `password_file`?",
        ),
        ("servers = { url = \"http://a:1\", user = 3 }", "servers", "expected a string"),
        ("servers = { url = \"http://a:1\", user = \"\" }", "servers", "without a name it is left out"),
        ("servers = { url = \"http://a:1\", user = \"a:b\" }", "servers", "has no colon"),
        ("servers = { url = \"http://ann@a:1\", user = \"bob\" }", "servers", "the URL has a name, too"),
        (
            "servers = { url = \"http://ann:hunter2@a:1\", password_file = \"f\" }",
            "servers",
            "the URL has a password, too: leave one of them out",
        ),
        ("servers = { url = \"http://a:1\", password_file = \"f\" }", "servers", "no user that it goes with"),
        ("servers = { url = \"http://ann@a:1\", password_file = \"\" }", "servers", "is not a path"),
        (
            "servers = { url = \"socks4://ann@a\", password_file = \"f\" }",
            "servers",
            "SOCKS4 has no password",
        ),
        (
            "servers = { url = [\"socks5h://a\", \"http://b:1\"], user = \"ann\" }",
            "servers",
            "of a chain each has its own",
        ),
        ("servers = { url = [\"socks5h://a\", { user = \"ann\" }] }", "servers", "needs a url"),
        ("servers = { url = [\"socks5h://a\", { url = \"http://b:1\", weight = 2 }] }", "servers", "weight"),
        ("servers = { url = [\"socks5h://a.example\", 3] }", "servers", "expected a URL, found an integer"),
        (
            "servers = { url = [\"socks5h://a\", \"socks5h://b\", \"socks5h://c\", \"socks5h://d\", \"http://e:1\"] }",
            "servers",
            "a chain of 5 is too long: at most 4",
        ),
        (
            "servers = { url = [\"socks5://192.0.2.1\", \"http://b:1\"] }",
            "servers",
            "write socks5h:// or socks4a://",
        ),
        (
            "servers = { url = [\"socks4a://a\", \"http://[2001:db8::1]:1\"] }",
            "servers",
            "SOCKS4 has no IPv6",
        ),
    ]
}

/// What is wrong with other keys, or between them.
fn of_other_keys() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("servers = \"socks5://a\"\nselect = \"stiky\"", "select", "did you mean \"sticky\"?"),
        ("servers = \"socks5://a\"\ncheck = \"example.com\"", "check", "is no host and port such as"),
        ("servers = \"socks5://a\"\ncheck = \"2001:db8::1:443\"", "check", "is no host and port such as"),
        ("servers = \"socks5://a\"\ncheck = { every = \"5s\" }", "check", "needs a target"),
        (
            "servers = \"socks5://a\"\ncheck = { target = \"a:1\", evry = \"5s\" }",
            "check",
            "did you mean `every`?",
        ),
        ("servers = \"socks5://a\"\nsend_proxy = 3", "send_proxy", "neither \"off\" nor a version"),
        ("servers = \"socks5://a\"\nsend_proxy = true", "send_proxy", "expected \"off\", 1 or 2"),
        ("servers = \"socks4://a\"\nresolve = \"there\"", "resolve", "cannot be given names: socks4a:// can"),
        ("servers = [\"socks5://a\", \"socks5h://b\"]", "servers", "say resolve = \"there\" or \"here\""),
        ("servers = \"http://a:1\"\nudp = true", "udp", "takes no datagrams: SOCKS5 alone does"),
        ("servers = { url = [\"socks5h://a\", \"socks5h://b\"] }\nudp = true", "udp", "is a chain"),
        ("servers = \"socks5://a\"\nsend_proxy = 1\nwarm = 2", "warm", "with send_proxy no connection"),
        (
            "servers = \"socks5h://a\"\nuser_from = \"client\"",
            "user_from",
            "kept: socks5h://:PASSWORD@a:1080",
        ),
        ("servers = \"http://a:1\"\nuser_from = \"client\"", "user_from", "kept: http://:PASSWORD@a:1"),
        (
            "servers = \"socks5://a\"\ncheck = \"2001:db8::1:443\"",
            "check",
            "did you mean \"[2001:db8::1]:443\"?",
        ),
        ("servers = \"socks5://127.0.0.1:1080\"", "servers", "own listener \"127.0.0.1:1080\""),
        ("servers = [\"socks5h://a\", \"socks5h://localhost\"]", "servers", "would lead back to itself"),
    ]
}

#[test]
fn what_is_wrong_with_a_parent_is_said_at_its_place() {
    let key = |keys: &str, line: usize, key: &str, what: &str| {
        let text = format!("[[parent]]\nname = \"up\"\n{keys}\n");
        let said = parse(&text).expect_err(keys).to_string();
        let begins = format!(":{}: [[parent]] 1 key `{key}", line + 2);
        assert!(said.contains(&begins) && said.contains(what), "{keys}: {said}");
    };
    let cases = of_servers().into_iter().chain(of_other_keys());
    for (line, name, what) in cases {
        let at = if name == "servers" { 1 } else { line.lines().count() };
        key(line, at, name, what);
    }
    expect_complaints(&[
        (
            "[[parent]]\nname = \"up\"\n",
            &["1: [[parent]] 1: needs `servers`, such as servers = [\"socks5h://192.0.2.1:1080\"]"],
        ),
        (
            "[[parent]]\nservers = \"http://a:1\"\n",
            &["1: [[parent]] 1: needs a `name`: rules call it by that"],
        ),
        (
            "[[parent]]\nname = \"up\"\nservers = \"http://a:1\"\n[[parent]]\nname = \"up\"\nservers = \"http://b:1\"\n",
            &["5: [[parent]] 2 key `name`: \"up\" is the name of [[parent]] 1, too"],
        ),
    ]);
}

#[test]
fn rules_name_parents_that_are_there_and_allow_something() {
    let rule = |action: &str, parent: &str| {
        format!(
            "[[parent]]\nname = \"uplink\"\nservers = \"http://a:1\"\n[[rule]]\nname = \"r\"\naction = \"{action}\"\n\
             parent = \"{parent}\"\n"
        )
    };
    let read = config(&rule("allow", "uplink"));
    assert_eq!(read.rules[0].parent.as_deref(), Some("uplink"));
    assert_eq!(parse(&read.to_toml()).unwrap(), read);
    expect_complaints(&[
        (
            &rule("allow", "uplnk"),
            &["7: [[rule]] 1 key `parent`: there is no [[parent]] \"uplnk\"; did you mean \"uplink\"?"],
        ),
        (
            &rule("deny", "uplink"),
            &[
                "7: [[rule]] 1 key `parent`: leads on what a rule allows, and this one allows nothing: leave it out",
            ],
        ),
    ]);
}

#[test]
fn parents_on_the_port_of_a_listener_are_others_machines() {
    let with = |listen: &str, server: &str| {
        parse(&format!("[server]\nlisten = [\"{listen}\"]\nopen_proxy = true\n[[parent]]\nname = \"up\"\nservers = \"{server}\"\n")).is_ok()
    };
    for other in ["socks5://192.0.2.1", "socks5h://proxy.example", "socks5://127.0.0.1:1081"] {
        assert!(with("0.0.0.0:1080", other), "{other}");
    }
    for ours in
        ["socks5://127.0.0.1", "socks5://127.1.2.3", "socks5://[::ffff:127.0.0.1]", "socks5h://localhost"]
    {
        assert!(!with("0.0.0.0:1080", ours), "{ours}");
    }
    assert!(with("127.0.0.1:1080", "socks5://127.0.0.2") && !with("192.0.2.1:1080", "socks5://192.0.2.1"));
}

#[test]
fn there_are_as_many_parents_and_servers_as_may_be() {
    let servers = |count: usize| {
        let all: Vec<String> = (0..count).map(|nth| format!("\"http://a:{}\"", nth + 1)).collect();
        parse(&format!("[[parent]]\nname = \"up\"\nservers = [{}]\n", all.join(", ")))
    };
    assert!(servers(limits::PARENT_SERVERS_MAX).is_ok());
    let said = servers(limits::PARENT_SERVERS_MAX + 1).unwrap_err().to_string();
    assert!(said.contains("65 servers are too many: at most 64"), "{said}");
    let parents = |count: usize| {
        let one = |nth| format!("[[parent]]\nname = \"up{nth}\"\nservers = \"http://a:1\"\n");
        parse(&(0..count).map(one).collect::<String>())
    };
    assert!(parents(limits::PARENTS_MAX).is_ok());
    assert!(parents(limits::PARENTS_MAX + 1).unwrap_err().to_string().contains("[[parent]] are too many"));
}
