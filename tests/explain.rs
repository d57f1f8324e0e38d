//! `outflow explain` and `/api/v1/explain`: the answer is that of a session, be it the file or a running server that is asked.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::api::Api;
use crate::support::client::request;
use crate::support::dns::{A, AAAA};
use crate::support::relay::{binary, run_to_exit};
use crate::support::users::argon2id;
use crate::support::{Client, DnsServer, Origin, Relay};

const RULES: [&str; 6] = [
    "name = \"no-ads\"\nto = [\".ads.example\"]\naction = \"deny\"",
    "name = \"no-lan\"\nto = [\"127.0.0.2/32\"]\naction = \"deny\"",
    "name = \"strict\"\nnot_users = [\"bob\"]\naction = \"deny\"\nmode = \"report\"",
    "name = \"staff\"\ngroups = [\"staff\"]\nnot_commands = [\"bind\"]\naction = \"allow\"",
    "name = \"office\"\nusers = [\"bob\"]\nto = [\"mixed.example\", \"127.0.0.1\", \"none.example\"]\naction = \"allow\"",
    "name = \"elsewhere\"\nlisteners = [\"127.0.0.1:1\"]\naction = \"allow\"",
];

pub(crate) fn outflow(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("explain").args(arguments);
    run_to_exit(command)
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// The JSON that a run printed.
pub(crate) fn told(output: &Output) -> Value {
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said()))
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A configuration of its own folder with these lines.
fn written(lines: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("outflow.toml");
    std::fs::write(&file, lines).expect("write");
    (folder, file)
}

pub(crate) fn of_file(file: &Path, arguments: &[&str]) -> Output {
    let file = file.to_str().expect("UTF-8");
    outflow(&[&["--config", file, "--json"], arguments].concat())
}

/// What a session is answered and leaves in its record, and what both explanations say of it.
#[test]
fn an_explanation_is_what_a_session_comes_to() {
    let server = DnsServer::zone(&[
        ("x.ads.example", &["127.0.0.1"]),
        ("mixed.example", &["127.0.0.2", "127.0.0.1"]),
        ("lan.example", &["127.0.0.2"]),
    ]);
    let origin = Origin::echo();
    let port = origin.addr.port();
    let hash = argon2id(b"secret");
    let line = |name: &str, rest: &str| (name.to_owned(), format!("{hash}{rest}"));
    let builder = Relay::builder()
        .hashed_users(&[line("ann", ":groups=staff"), line("bob", ""), line("eve", "")])
        .dns(&server)
        .set("guard", "allow_private", "true")
        .set("server", "listen", "[\"127.0.0.1:0\"]")
        .set("server", "workers", "1")
        .rules(&RULES[..5]);
    let directory = builder.directory().to_owned();
    let (relay, api) = Api::serve(builder);
    let file = directory.join("outflow.toml");
    let cases = [
        ("ann", "x.ads.example", 2, Some("no-ads")),
        ("ann", "mixed.example", 0, Some("staff")),
        ("bob", "mixed.example", 0, Some("office")),
        ("bob", "lan.example", 2, Some("no-lan")),
        ("ann", "lan.example", 2, Some("no-lan")),
        ("bob", "127.0.0.1", 0, Some("office")),
        ("bob", "127.1", 0, Some("office")),
        ("eve", "mixed.example", 2, Some("default")),
        ("bob", "none.example", 4, None),
    ];
    for (nth, (user, host, reply, rule)) in cases.into_iter().enumerate() {
        let mut client = Client::connect(relay.addr());
        assert_eq!(client.login(user.as_bytes(), b"secret"), 0);
        assert_eq!(client.request_name(host.as_bytes(), port).rep, reply, "{user} {host}");
        drop(client);
        let record = relay.records(nth + 1).swap_remove(nth);
        let to = format!("{host}:{port}");
        let running = api.get(&format!("/api/v1/explain?user={user}&to={to}"));
        let of_file = told(&of_file(&file, &["--user", user, "--to", &to]));
        assert_eq!(running, of_file, "{user} {host}");
        assert_eq!(running["reply"], reply, "{running}");
        if let Some(rule) = rule {
            assert_eq!((&running["rule"], &record["rule"]), (&json!(rule), &json!(rule)), "{record}");
            for field in ["verdict", "would_deny", "target", "user", "command"] {
                assert_eq!(running[field], record[field], "{user} {host} {field}: {running}");
            }
        }
    }
    assert_eq!(server.asked("x.ads.example", A) + server.asked("x.ads.example", AAAA), 0, "no query for it");
}

#[test]
fn each_rule_before_the_one_that_decides_says_why_it_does_not() {
    let rules: String = RULES.iter().map(|rule| format!("[[rule]]\n{rule}\n")).collect();
    let (_folder, file) = written(&format!(
        "[server]\nlisten = [\"127.0.0.1:1080\", \"127.0.0.1:1\"]\n[groups]\nstaff = [\"ann\"]\n{rules}"
    ));
    let arguments = ["--user", "ann", "--to", "mixed.example:443", "--resolve", "127.0.0.2,8.8.8.8,10.0.0.1"];
    let answer = told(&of_file(&file, &arguments));
    let step =
        |rule: &str, result: &str, key: Option<&str>| json!({"rule": rule, "result": result, "key": key});
    assert_eq!(
        answer["addresses"][1]["rules"],
        json!([
            step("no-ads", "no_match", Some("to")),
            step("no-lan", "no_match", Some("to")),
            step("strict", "reports", None),
            step("staff", "decides", None),
        ])
    );
    assert_eq!(answer["before"]["rules"][1], step("no-lan", "open", None));
    let verdicts: Vec<_> = (0..3)
        .map(|nth| &answer["addresses"][nth])
        .map(|one| {
            (one["address"].as_str(), one["verdict"].as_str(), one["rule"].as_str(), one["guard"].is_string())
        })
        .collect();
    assert_eq!(
        verdicts,
        [
            (Some("127.0.0.2:443"), Some("deny"), Some("guard"), true),
            (Some("8.8.8.8:443"), Some("allow"), Some("staff"), false),
            (Some("10.0.0.1:443"), Some("deny"), Some("guard"), true),
        ]
    );
    let keys = |arguments: &[&str]| -> Vec<(String, Option<String>)> {
        let answer = told(&of_file(&file, arguments));
        let rules = answer["addresses"][0]["rules"].as_array().expect("rules").clone();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        rules.iter().map(|rule| (text(&rule["rule"]).expect("a name"), text(&rule["key"]))).collect()
    };
    let at = ["--to", "8.8.8.8:80", "--user", "bob"];
    let bob = keys(&at);
    assert_eq!(bob[2], ("strict".to_owned(), Some("not_users".to_owned())));
    assert_eq!(bob[3], ("staff".to_owned(), Some("groups".to_owned())));
    assert_eq!(bob[5], ("elsewhere".to_owned(), Some("listeners".to_owned())));
    let by_listener = keys(&[&at[..], &["--listener", "127.0.0.1:1"]].concat());
    assert_eq!(by_listener[5], ("elsewhere".to_owned(), None));
    let bind = keys(&["--to", "8.8.8.8:80", "--user", "ann", "--command", "bind"]);
    assert_eq!(bind[3], ("staff".to_owned(), Some("not_commands".to_owned())));
}

#[test]
fn a_time_is_the_one_that_is_asked_for() {
    let (_folder, file) = written(
        "[[rule]]\nname = \"day\"\nwhen = { days = [\"mon-fri\"], hours = [\"08:00-18:00\"], zone = \"UTC\" }\naction = \"allow\"\n",
    );
    for (time, exit) in
        [("2026-11-27T08:00:00Z", 0), ("2026-11-27T18:00:00Z", 1), ("2026-11-28T12:00:00Z", 1)]
    {
        let output = of_file(&file, &["--to", "8.8.8.8:80", "--at", time]);
        assert_eq!(code(&output), exit, "{time}");
    }
}

/// The rules of a running server are asked of another time, and go on at theirs.
#[test]
fn a_running_server_is_asked_of_another_time() {
    let server = DnsServer::zone(&[("a.example", &["8.8.8.8"])]);
    let rule = "name = \"day\"\nwhen = { days = [\"mon-fri\"], zone = \"UTC\" }\naction = \"allow\"";
    let all = "name = \"all\"\naction = \"allow\"";
    let (relay, api) = Api::serve(Relay::builder().dns(&server).rules(&[rule, all]));
    let origin = Origin::echo();
    let ask = |query: &str| api.get(&format!("/api/v1/explain?{query}"));
    let now = ask("to=8.8.8.8:80")["rule"].clone();
    for (time, rule, step) in
        [("2026-11-27T12:00:00Z", "day", "decides"), ("2026-11-28T12:00:00Z", "all", "no_match")]
    {
        for to in ["8.8.8.8:80", "a.example:80"] {
            let told = ask(&format!("to={to}&at={time}"));
            assert_eq!((&told["rule"], &told["at"]), (&json!(rule), &json!(time)), "{told}");
            assert_eq!(told["addresses"][0]["rules"][0]["result"], step, "{told}");
        }
    }
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_ip(origin.addr).rep, 0);
    drop(client);
    assert_eq!((&relay.record()["rule"], ask("to=8.8.8.8:80")["rule"].clone()), (&now, now.clone()));
    let (status, error) = api.ask("GET", "/api/v1/explain?to=8.8.8.8:80&at=soon", None).error();
    assert!(status == 400 && error.contains("`at`: \"soon\" is no time"), "{status} {error}");
}

/// 0: allowed, 1: denied, 2: no answer, with the reason.
#[test]
fn the_exit_code_tells_what_would_come_of_it() {
    let (_folder, file) = written("[[rule]]\nname = \"web\"\nports = [443]\naction = \"allow\"\n");
    let config = file.to_str().expect("UTF-8");
    let (_folder, file_of_tor) = written("[tor]\nresolve = true\n");
    let tor = file_of_tor.to_str().expect("UTF-8");
    for (arguments, exit, words) in [
        (&["--config", config, "--to", "8.8.8.8:443"][..], 0, "allowed by rule web, reply 0"),
        (&["--config", config, "--to", "8.8.8.8:80"], 1, "web  ports does not match"),
        (&["--config", config, "--to", "127.0.0.1:443"], 1, "denied by the guard"),
        (&["--config", config, "--to", "8.8.8.8"], 2, "`to`: \"8.8.8.8\": expected HOST:PORT"),
        (&["--config", config, "--to", "8.8.8.8:0"], 2, "expected a port"),
        // What is only asked about has no port.
        (&["--config", tor, "--command", "resolve", "--to", "8.8.8.8"], 0, "resolve to 8.8.8.8:0 "),
        (
            &["--config", tor, "--command", "resolve", "--to", "2606:4700::1"],
            0,
            "resolve to [2606:4700::1]:0 ",
        ),
        (&["--config", tor, "--command", "resolve", "--to", "8.8.8.8:80"], 0, "resolve to 8.8.8.8:0 "),
        (&["--config", tor, "--command", "resolve", "--to", "a b"], 2, "`to`: \"a b\": "),
        (&["--config", config, "--to", "a.example:1", "--command", "conect"], 2, "did you mean \"connect\"?"),
        (&["--config", config, "--to", "a.example:1", "--from", "here"], 2, "`from`: \"here\" is no address"),
        (
            &["--config", config, "--to", "8.8.8.8:1", "--listener", "127.0.0.1:1081"],
            2,
            "did you mean 127.0.0.1:1080?",
        ),
        (&["--config", "/nowhere/outflow.toml", "--to", "8.8.8.8:1"], 2, "/nowhere/outflow.toml"),
        (&["--to", "8.8.8.8:1", "--admin", "unix:/nowhere/admin.sock"], 2, "/nowhere/admin.sock"),
        (&["--to", "8.8.8.8:1", "--at", "noon"], 2, "`at`: \"noon\" is no time such as"),
        (&[], 2, "--to"),
    ] {
        let output = outflow(arguments);
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        assert!(code(&output) == exit && said.contains(words), "{arguments:?}: {said}");
    }
    std::fs::write(&file, "[[rule]]\nname = \"web\"\nactoin = \"allow\"\n").expect("write");
    let output = outflow(&["--config", config, "--to", "8.8.8.8:443"]);
    assert!(code(&output) == 2 && stderr(&output).contains("did you mean"), "{}", stderr(&output));
}

/// What an association may send where is told beside whether there may be one.
#[test]
fn an_association_is_explained_by_its_datagrams() {
    let rules =
        "[[rule]]\nname = \"dns\"\ncommands = [\"udp_associate\"]\nports = [53]\naction = \"allow\"\n";
    let (_folder, file) = written(rules);
    for (to, verdict, rule) in [("8.8.8.8:53", "allow", "dns"), ("8.8.8.8:54", "deny", "default")] {
        let answer = told(&of_file(&file, &["--to", to, "--command", "udp_associate"]));
        assert_eq!(
            (&answer["verdict"], &answer["rule"], &answer["reply"]),
            (&json!(verdict), &json!(rule), &json!(0))
        );
        assert_eq!(answer["before"]["rule"], "dns", "the association itself");
    }
}

/// All datagrams of an association leave as it does. Of one whose rule names another pool it was said that it is allowed, and
/// the relay drops it.
#[test]
fn a_datagram_that_is_to_go_by_another_way_is_told_as_dropped() {
    let pools = "[policy]\ndefault = \"allow\"\n\
        [[egress]]\nname = \"one\"\naddresses = \"198.51.100.1\"\n[[egress]]\nname = \"two\"\naddresses = \"198.51.100.2\"\n\
        [[rule]]\nname = \"dns\"\nports = [53]\naction = \"allow\"\negress = \"two\"\n";
    let opens =
        "[[rule]]\nname = \"all\"\ncommands = [\"udp_associate\"]\naction = \"allow\"\negress = \"one\"\n";
    let (_folder, file) = written(&format!("{pools}{opens}"));
    for (to, verdict, strays) in [("8.8.8.8:53", "allow", false), ("8.8.8.8:54", "deny", true)] {
        let output = of_file(&file, &["--to", to, "--command", "udp_associate"]);
        let answer = told(&output);
        assert_eq!((&answer["verdict"], &answer["reply"]), (&json!(verdict), &json!(0)), "{to}");
        assert_eq!(answer["addresses"][0]["strays"], json!(strays), "{to}");
        assert_eq!(answer["egress"]["pool"], "two", "{to}: it is the association's");
        assert_eq!(code(&output), i32::from(strays), "{to}");
    }
    let output = outflow(&[
        "--config",
        file.to_str().expect("UTF-8"),
        "--to",
        "8.8.8.8:54",
        "--command",
        "udp_associate",
    ]);
    let words = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(words.contains(": dropped, though allowed by rule all, reply 0\n"), "{words}");
    assert!(
        words.contains("\n8.8.8.8:54: allowed by rule all, and dropped: it is to go by another way"),
        "{words}"
    );
}

/// Of a name with many addresses each has its verdict, and the first ones say why.
#[test]
fn an_explanation_stays_short_whatever_a_name_leads_to() {
    let (_folder, file) = written("[[rule]]\nname = \"web\"\nto = [\"many.example\"]\naction = \"allow\"\n");
    let addresses: Vec<String> = (1..=20).map(|nth| format!("8.8.8.{nth}")).collect();
    let answer = told(&of_file(&file, &["--to", "many.example:443", "--resolve", &addresses.join(",")]));
    let each = answer["addresses"].as_array().expect("addresses");
    assert!(each.len() == 20 && each.iter().all(|one| one["rule"] == "web"), "{answer}");
    assert_eq!(each.iter().filter(|one| one["rules"].is_array()).count(), 16);
    // 10,000 rules before the one that decides: three addresses, and the name itself, say why.
    let never = |nth: usize| {
        format!("[[rule]]\nname = \"never{nth}\"\nusers = [\"nobody{nth}\"]\naction = \"deny\"\n")
    };
    let rules: String = (0..10_000).map(never).collect();
    let all = "[[rule]]\nname = \"all\"\naction = \"allow\"\n";
    let (_folder, file) = written(&format!("{rules}{all}"));
    let answer = told(&of_file(&file, &["--to", "many.example:443", "--resolve", &addresses.join(",")]));
    let of = |one: &Value| one["rules"].as_array().map_or(0, Vec::len);
    let steps: Vec<usize> = answer["addresses"].as_array().expect("addresses").iter().map(of).collect();
    assert_eq!((of(&answer["before"]), &steps[..5]), (10_001, &[10_001, 10_001, 10_001, 0, 0][..]));
}

/// BIND for whoever comes has no address to be asked of, in either family.
#[test]
fn a_bind_for_whoever_comes_is_explained_without_an_address() {
    let (_folder, file) = written("[[rule]]\nname = \"bind\"\ncommands = [\"bind\"]\naction = \"allow\"\n");
    for to in ["0.0.0.0:0", "0.0.0.0:1", "[::]:0", "[::]:1"] {
        let answer = told(&of_file(&file, &["--to", to, "--command", "bind"]));
        assert_eq!((&answer["verdict"], &answer["rule"]), (&json!("allow"), &json!("bind")), "{answer}");
        assert_eq!((&answer["addresses"], answer["before"]["rules"].is_array()), (&json!([]), true));
    }
}

/// By its name or its address, of a file and of a server; what the listener does not take no rule decides about.
/// Nothing was said of the parent, and what does not go through one was called allowed.
#[test]
fn the_parent_that_a_request_goes_through_is_named() {
    let lines = "[policy]\ndefault = \"allow\"\n[[parent]]\nname = \"up\"\nservers = \"socks5h://192.0.2.1\"\n\
        [[rule]]\nname = \"out\"\nports = [80]\naction = \"allow\"\nparent = \"up\"\n";
    let (_folder, file) = written(lines);
    let through = |resolves: bool, takes: bool| json!({"parent": "up", "resolves": resolves, "takes": takes, "fallback": "fail", "servers": null});
    for (to, command, parent, reply) in [
        ("example.com:80", "connect", through(true, true), 0),
        ("8.8.8.8:80", "connect", through(false, true), 0),
        ("8.8.8.8:80", "bind", through(false, false), 7),
        ("8.8.8.8:443", "connect", Value::Null, 0),
    ] {
        let output = of_file(&file, &["--to", to, "--command", command]);
        let told = told(&output);
        assert_eq!((&told["parent"], &told["reply"]), (&parent, &json!(reply)), "{to} {command}");
        assert_eq!(code(&output), i32::from(reply != 0), "{to} {command}");
    }
    let words = |arguments: &[&str]| {
        let output = outflow(&[&["--config", file.to_str().expect("UTF-8")], arguments].concat());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let told = words(&["--to", "example.com:80"]);
    assert!(told.contains("\ngoes through parent up, which is told the name\n"), "{told}");
    let told = words(&["--to", "8.8.8.8:80", "--command", "bind"]);
    assert!(told.contains("\nwould go through parent up, and bind does not: refused\n"), "{told}");
}

/// A pool without an address of the target's family was said to lead there.
#[test]
fn a_pool_of_the_other_family_leads_nowhere() {
    let lines = "[[egress]]\nname = \"six\"\naddresses = \"2001:db8:1::/48\"\nsticky_on = [\"source\"]\n\
        [[rule]]\nname = \"out\"\naction = \"allow\"\negress = \"six\"\n";
    let (_folder, file) = written(lines);
    for (to, addresses, leads, reply) in [
        ("8.8.8.8:80", None, false, 8),
        ("[2620:fe::fe]:80", None, true, 0),
        ("example.com:80", Some("8.8.8.8"), false, 4),
        ("example.com:80", Some("8.8.8.8,2620:fe::fe"), true, 0),
    ] {
        let resolve: &[&str] = addresses.as_ref().map_or(&[], |_| &["--resolve"]);
        let output = of_file(&file, &[&["--to", to], resolve, addresses.as_slice()].concat());
        let told = told(&output);
        let egress = &told["egress"];
        assert_eq!((&egress["leads"], &told["reply"]), (&json!(leads), &json!(reply)), "{to} {addresses:?}");
        assert_eq!(egress["address"].is_string(), leads, "{to} {addresses:?}");
        assert_eq!(code(&output), i32::from(!leads), "{to} {addresses:?}");
    }
    let random =
        lines.replace("\"2001:db8:1::/48\"", "[\"2001:db8:1::/48\", \"198.51.100.1\", \"198.51.100.2\"]");
    let (_folder, file) = written(&random.replace("sticky_on = [\"source\"]", "select = \"random\""));
    for (to, entries) in [("8.8.8.8:80", 2), ("[2620:fe::fe]:80", 1)] {
        assert_eq!(told(&of_file(&file, &["--to", to]))["egress"]["entries"], json!(entries), "{to}");
    }
}

#[test]
fn a_listener_is_called_by_its_name() {
    let table = "[[listener]]\nname = \"guests\"\naddress = \"127.0.0.1:0\"\ncommands = [\"connect\"]\n\
                 [[listener]]\nname = \"staff\"\naddress = \"127.0.0.2:0\"\n";
    let rule = "[[rule]]\nname = \"no-guests\"\nlisteners = \"guests\"\naction = \"deny\"\n\
                [[rule]]\nname = \"all\"\naction = \"allow\"\n";
    let (_folder, file) = written(&format!("{table}{rule}"));
    for (listener, decides) in [("guests", "no-guests"), ("127.0.0.2:0", "all"), ("staff", "all")] {
        let answer = told(&of_file(&file, &["--to", "8.8.8.8:53", "--listener", listener]));
        assert_eq!(answer["rule"], decides, "{listener}: {answer}");
    }
    let bind = of_file(&file, &["--to", "8.8.8.8:53", "--listener", "guests", "--command", "bind"]);
    let said = String::from_utf8_lossy(&bind.stderr).into_owned();
    assert!(!bind.status.success() && said.contains("the listener does not take bind"), "{said}");
    let tables = ["name = \"guests\"\naddress = \"127.0.0.1:0\"\ncommands = [\"connect\"]"];
    let (_relay, api) = Api::serve(Relay::builder().listeners(&tables));
    let asked =
        |query: &str| api.ask("GET", &format!("/api/v1/explain?to=8.8.8.8:53&listener=guests{query}"), None);
    assert_eq!(asked("").status, 200);
    let (status, error) = asked("&command=bind").error();
    assert!(status == 400 && error.contains("the listener does not take bind"), "{error}");
}

#[test]
fn the_endpoint_refuses_what_is_no_request() {
    let (relay, api) = Api::serve(Relay::builder());
    for (query, words) in [
        ("", "`to`: expected HOST:PORT"),
        ("?to=a.example:1&comand=bind", "did you mean `command`?"),
        ("?to=a.example:1&command=fly", "\"fly\" is none of"),
        ("?to=127.0.0.1:1&listener=127.0.0.1:1", "is none of the listeners"),
        ("?to=127.0.0.1:1&user=a:b", "`user`: the user name holds a colon"),
    ] {
        let (status, error) = api.ask("GET", &format!("/api/v1/explain{query}"), None).error();
        assert!(status == 400 && error.contains(words), "{query}: {status} {error}");
    }
    let answer = api.get("/api/v1/explain?to=127.0.0.1:9&from=2001:db8::1");
    assert_eq!((&answer["verdict"], &answer["rule"]), (&json!("allow"), &json!("default")));
    // Its own listener is nobody's target, whatever rules say.
    let own = api.get(&format!("/api/v1/explain?to={}", relay.addr()));
    assert_eq!((&own["verdict"], &own["rule"], &own["reply"]), (&json!("deny"), &json!("guard"), &json!(2)));
    let mut client = Client::greeted(relay.addr());
    client.send(&request(1, relay.addr()));
    assert_eq!(client.reply().rep, 2);
}
