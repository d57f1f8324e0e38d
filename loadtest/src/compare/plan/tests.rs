use super::*;

const GOOD: &str = r#"
[load]
rounds = 3

[[server]]
name = "one"
command = ["{bin}/outflow", "--listen", "127.0.0.1:{port}"]

[[server]]
name = "floor"
kind = "tcp-relay"
command = ["relay", "-f", "{dir}/relay.conf"]
files = { "relay.conf" = "bind {relay_page}\nto {page} if { a }" }

[[scenario]]
name = "connect"
title = "Sessions"
args = ["connect", "--in-flight", "8", "--seconds", "1"]
origin = "page"
figures = [
{ field = "cpu_us_per_session", better = "lower", title = "CPU", unit = "us", bar = 0.85 },
]
"#;

fn parse(text: &str) -> Result<Plan, Complaint> {
    Plan::parse(text, Path::new("a.toml"), &Scope::new(false).expect("the interfaces"))
}

fn complaint(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    parse(&text).expect_err("a complaint").to_string()
}

#[test]
fn a_good_plan() {
    let plan = parse(GOOD).map_err(|complaint| complaint.to_string());
    let plan = plan.expect("it is good");
    assert_eq!((plan.load.rounds, plan.load.load_cpu, plan.subject()), (3, 1, "one"));
    assert_eq!(plan.servers[1].kind, ServerKind::TcpRelay);
    assert_eq!(plan.scenarios[0].figures.get_ref()[0].bar, Some(0.85));
}

#[test]
fn misspelt_keys_name_the_nearest() {
    let shown = complaint("rounds = 3", "round = 3");
    assert_eq!(shown, "a.toml:3: key `round`: no such key here; the nearest is `rounds`");
    let shown = complaint("command = [\"relay\"", "comand = [\"relay\"");
    assert_eq!(shown, "a.toml:12: key `comand`: no such key here; the nearest is `command`");
    let shown = complaint("bar = 0.85", "baar = 0.85");
    assert_eq!(shown, "a.toml:21: key `baar`: no such key here; the nearest is `bar`");
    let shown = complaint("[load]", "[laod]");
    assert_eq!(shown, "a.toml:2: key `laod`: no such key here; the nearest is `load`");
}

#[test]
fn wrong_values_name_their_key() {
    let shown = complaint("rounds = 3", "rounds = \"3\"");
    assert!(shown.starts_with("a.toml:3: key `rounds`: invalid type: string \"3\""), "{shown}");
    let shown = complaint("rounds = 3", "rounds = 0");
    assert_eq!(shown, "a.toml:3: key `rounds`: expected 1 to 1000");
    let shown = complaint("origin = \"page\"", "origin = \"page\"\nrounds = 1001");
    assert_eq!(shown, "a.toml:20: key `rounds`: expected 1 to 1000");
    let shown = complaint("rounds = 3", "run_limit = 3601");
    assert_eq!(shown, "a.toml:3: key `run_limit`: expected more than 0, at most 3600 seconds");
    for bar in ["0", "-0.5", "inf", "nan"] {
        let shown = complaint("bar = 0.85", &format!("bar = {bar}"));
        assert!(shown.ends_with("key `bar`: expected a finite number above 0"), "{shown}");
    }
    let shown = complaint("kind = \"tcp-relay\"", "kind = \"tcprelay\"");
    assert_eq!(
        shown,
        "a.toml:11: key `kind`: `tcprelay` is not a value of this key; the nearest is `tcp-relay`"
    );
    let shown = complaint("origin = \"page\"", "origin = \"pages\"");
    assert_eq!(
        shown,
        "a.toml:19: key `origin`: no service of the origin is called `pages`; the nearest is `page`"
    );
    let shown = complaint("\"--in-flight\"", "\"--inflight\"");
    assert!(shown.starts_with("a.toml:18: key `args`: unexpected argument '--inflight'"), "{shown}");
    let shown = complaint("\"connect\", \"--in-flight\", \"8\", \"--seconds\", \"1\"", "\"origin\"");
    assert!(shown.starts_with("a.toml:18: key `args`:"), "{shown}");
}

#[test]
fn a_plan_does_not_leave_the_scope() {
    let shown = complaint("\"--in-flight\"", "\"--i-own-this-host\", \"--in-flight\"");
    assert!(shown.starts_with("a.toml:18: key `args`: --i-own-this-host is for"), "{shown}");
    let shown = complaint("\"--in-flight\"", "\"--target-name\", \"host.test\", \"--in-flight\"");
    assert!(shown.starts_with("a.toml:18: key `args`: \"host.test\" may be"), "{shown}");
    let text = GOOD.replace("\"--in-flight\"", "\"--target-name\", \"host.test\", \"--in-flight\"");
    let open = Scope::new(true).expect("the interfaces");
    assert!(Plan::parse(&text, Path::new("a.toml"), &open).is_ok());
}

#[test]
fn what_does_not_fit_together() {
    let shown = complaint("name = \"floor\"", "name = \"one\"");
    assert_eq!(shown, "a.toml:10: key `name`: `one` is there already");
    let shown = complaint("{relay_page}", "{relay_pages}");
    assert_eq!(
        shown,
        "a.toml:13: key `command`: no placeholder is called `relay_pages`; the nearest is `relay_page`"
    );
    let shown = complaint("rounds = 3", "subject = \"on\"");
    assert_eq!(shown, "a.toml:3: key `subject`: no server is called `on`; the nearest is `one`");
    let shown = complaint("origin = \"page\"", "origin = \"page\"\nrate = { share = 0.5, of = \"conect\" }");
    assert!(shown.starts_with("a.toml:20: key `of`: no earlier scenario is called `conect`"), "{shown}");
    let shown = complaint("[[scenario]]", "[[scenario]");
    assert!(shown.starts_with("a.toml:15: not TOML"), "{shown}");
}

#[test]
fn a_scenario_says_what_its_sessions_speak() {
    let protocol = |args: &str| {
        let text = GOOD.replacen("\"connect\", \"--in-flight\", \"8\", \"--seconds\", \"1\"", args, 1);
        let plan = parse(&text).map_err(|complaint| complaint.to_string()).expect("it is good");
        (plan.scenarios[0].protocol(), plan.scenarios[0].is_of_requests())
    };
    assert_eq!(protocol("\"connect\""), (Protocol::Socks5, false));
    assert_eq!(protocol("\"connect\", \"--protocol\", \"https-connect\""), (Protocol::HttpsConnect, false));
    assert_eq!(
        protocol("\"stream\", \"down\", \"--protocol\", \"socks5-tls\""),
        (Protocol::Socks5Tls, false)
    );
    assert_eq!(protocol("\"echo\""), (Protocol::Socks5, false));
    assert_eq!(protocol("\"http\""), (Protocol::Http, true));
    assert_eq!(protocol("\"idle\", \"--fetch\", \"9\""), (Protocol::Http, true));
}

#[test]
fn a_protocol_is_one_of_a_list() {
    let text = GOOD.replacen("name = \"one\"", "name = \"one\"\nprotocols = [\"socks4\", \"htpp\"]", 1);
    let shown = parse(&text).expect_err("a complaint").to_string();
    assert!(shown.contains("a.toml:7: key `protocols`") && shown.contains("`http`"), "{shown}");
}

#[test]
fn a_scenario_says_which_family_its_targets_are_of() {
    let of = |text: &str| {
        parse(text).map(|plan| plan.scenarios[0].family).map_err(|complaint| complaint.to_string())
    };
    assert_eq!(of(GOOD), Ok(Family::V4));
    assert_eq!(of(&GOOD.replace("origin = \"page\"", "origin = \"page\"\nfamily = \"v6\"")), Ok(Family::V6));
    let said = complaint("origin = \"page\"", "origin = \"page\"\nfamily = \"ipv6\"");
    assert!(said.contains("v4") && said.contains("v6"), "{said}");
}

/// The plans that are there, as a run would read them.
#[test]
fn the_plans_of_this_folder_are_good() {
    for name in ["peers.toml", "egress.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let plan = Plan::read(&path, &Scope::new(false).expect("the interfaces"));
        plan.map(drop).unwrap_or_else(|complaint| panic!("{complaint}"));
    }
}
