//! What Prometheus makes of the exposition, and Grafana and the alerts of its names.

mod scrape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use outflow::config::Protocol;
use outflow::observe::{
    Latencies, LimitTold, ListenerSays, ListenerTold, Observed, ParentCounts, ParentFault,
    ParentServerCounts, ParentServerTold, ParentTold, PoolTold, ProcessUse, RuleTold, Totals, WorkerObserved,
    exposition,
};
use outflow::policy::accounts::{LimitId, LimitKind};
use outflow::policy::parents::ParentServerState;
use outflow::state::StoreTold;
use serde_json::Value;

use crate::support::process::run_with_input;
use crate::support::skip;

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(packaging(file)).expect("a file of the packaging")
}

/// The exposition of a server that has done nothing: it has all names.
fn nothing_yet() -> String {
    exposition(observed())
}

/// What is told of a server that has one of everything that is told of.
pub(crate) fn observed() -> Observed {
    let used = ProcessUse {
        cpu_s: 0.5,
        rss_bytes: 1,
        virtual_bytes: 2,
        open_fds: 3,
        max_fds: 4,
        threads: 5,
        start_s: 6.0,
    };
    Observed {
        relay: "auto",
        totals: Totals::of([]),
        latencies: Latencies::default(),
        workers: vec![WorkerObserved::default(); 2],
        rules: vec![RuleTold { name: "office".into(), says: None, hits: [1; 4] }],
        limits: vec![LimitTold {
            name: "plan".into(),
            id: LimitId(2),
            says: None,
            reached: [1; LimitKind::ALL.len()],
        }],
        listeners: vec![ListenerTold {
            says: ListenerSays {
                number: 0,
                name: "office".into(),
                protocols: vec![Protocol::Socks5],
                since: Default::default(),
            },
            spoken: [1; 4],
        }],
        pools: vec![PoolTold {
            name: "fleet".into(),
            select: "sticky",
            missing_interface: None,
            addresses: [1, 0, 0, 0],
            active: 0,
            sessions: 0,
            cooldowns: Default::default(),
            ports_open: 0,
            ports_waiting: 0,
            ports_most: 28_232,
            fullest: Vec::new(),
        }],
        parents: vec![ParentTold {
            name: "up".into(),
            select: "sticky",
            servers: vec![ParentServerTold {
                server: "http://a:1".into(),
                weight: 1,
                state: ParentServerState::Up,
                left: None,
                fails: 0,
                counts: ParentServerCounts::default(),
            }],
            counts: ParentCounts { sessions: 1, warm: 1, direct: 1, faults: [1; ParentFault::ALL.len()] },
        }],
        quota_store: Some(StoreTold::default()),
        process: Some(used),
    }
}

/// The series' names that a scrape has, those of a histogram with their endings.
fn names(scrape: &str) -> BTreeSet<String> {
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = types.flat_map(|(name, kind)| match kind {
        "histogram" => ["_bucket", "_sum", "_count"].map(|ending| format!("{name}{ending}")).to_vec(),
        _ => vec![name.to_owned()],
    });
    names.collect()
}

/// The labels that series have, and those that Prometheus gives them.
fn labels(scrape: &str) -> BTreeSet<String> {
    let pairs =
        scrape.lines().filter_map(|line| line.split_once('{')?.1.split_once('}')).map(|(pairs, _)| pairs);
    let keys = pairs.flat_map(|pairs| pairs.split("\",")).filter_map(|pair| pair.split_once('='));
    keys.map(|(key, _)| key.to_owned()).chain(["job", "instance"].map(str::to_owned)).collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The words of an expression outside of its quoted texts.
fn words(expression: &str) -> Vec<&str> {
    let bare = expression.split('"').step_by(2);
    bare.flat_map(|text| text.split(|c: char| !is_word(c))).filter(|word| !word.is_empty()).collect()
}

/// What an expression names that no scrape has.
fn unknown<'a>(expression: &'a str, scrape: &str) -> Vec<&'a str> {
    let (names, labels) = (names(scrape), labels(scrape));
    let ours = |word: &&str| {
        (word.starts_with("outflow_") || word.starts_with("process_")) && !names.contains(*word)
    };
    let mut unknown: Vec<&str> = words(expression).into_iter().filter(ours).collect();
    // What series are told apart by: `by (…)`, and the keys of `{…}`.
    for after in expression.split("by (").skip(1) {
        let list = after.split(')').next().unwrap_or_default();
        unknown.extend(words(list).into_iter().filter(|label| !labels.contains(*label)));
    }
    for inside in expression.split('{').skip(1) {
        let keys = words(inside.split('}').next().unwrap_or_default());
        unknown.extend(keys.into_iter().filter(|label| !labels.contains(*label)));
    }
    unknown
}

#[test]
fn an_expression_of_other_names_is_found() {
    let scrape = nothing_yet();
    let known = r#"sum by (le) (rate(outflow_dns_seconds_bucket{job="a.b"}[5m])) / outflow_workers"#;
    assert!(unknown(known, &scrape).is_empty(), "{:?}", unknown(known, &scrape));
    let other = r#"sum by (user) (rate(outflow_dns_seconds{host="a"}[5m])) / outflow_worker"#;
    assert_eq!(unknown(other, &scrape), ["outflow_dns_seconds", "outflow_worker", "user", "host"]);
}

/// The panels of the dashboard.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read("grafana/outflow.json")).expect("JSON");
    dashboard["panels"].as_array().expect("panels").clone()
}

/// Every expression of the dashboard, with the title of its panel.
fn dashboard_expressions() -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for panel in panels() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    found
}

/// Every expression of the alerts and of what they are recorded from.
fn rule_expressions() -> String {
    let rules = read("prometheus/outflow.rules.yml");
    let mut expressions = String::new();
    let mut inside = false;
    for line in rules.lines() {
        let trimmed = line.trim_start();
        inside = trimmed.starts_with("expr:")
            || inside
                && !["for:", "labels:", "annotations:", "- "].iter().any(|end| trimmed.starts_with(end));
        if inside {
            expressions += line;
            expressions.push('\n');
        }
    }
    expressions
}

#[test]
fn the_dashboard_and_the_alerts_name_only_what_there_is() {
    let scrape = nothing_yet();
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 50, "{expressions:?}");
    for (title, expression) in &expressions {
        assert!(unknown(expression, &scrape).is_empty(), "{title}: {:?}", unknown(expression, &scrape));
    }
    let alerts = rule_expressions();
    assert_eq!(alerts.matches("expr:").count(), 12);
    assert!(unknown(&alerts, &scrape).is_empty(), "{:?}", unknown(&alerts, &scrape));
}

#[test]
fn the_dashboard_can_be_imported_with_any_data_source() {
    let dashboard: Value = serde_json::from_str(&read("grafana/outflow.json")).expect("JSON");
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    assert!(
        dashboard["title"] == "outflow" && dashboard["id"].is_null() && dashboard["schemaVersion"].is_u64()
    );
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its number stands twice");
        let of = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(of("x") + of("w") <= 24, "{title}: beyond the page");
        for (x, y) in
            (of("x")..of("x") + of("w")).flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{title}: over another");
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(!panel["description"].as_str().unwrap_or_default().is_empty(), "{title}");
        }
    }
}

/// Runs promtool; what it says where it is not content.
fn promtool(arguments: &[&str], folder: &Path, input: &[u8]) -> Result<(), String> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder);
    let output = run_with_input(command, input);
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[test]
fn promtool_takes_the_names_types_and_help_of_all_metrics() {
    if skip::without("promtool check metrics", "promtool", "prometheus") {
        return;
    }
    let folder = std::env::temp_dir();
    assert_eq!(promtool(&["check", "metrics"], &folder, nothing_yet().as_bytes()), Ok(()));
    let wrong = b"# TYPE outflow_things counter\noutflow_things 1\n";
    assert!(promtool(&["check", "metrics"], &folder, wrong).is_err(), "what is wrong is found");
}

#[test]
fn each_alert_fires_where_it_is_to_and_nowhere_else() {
    if skip::without("promtool test rules", "promtool", "prometheus") {
        return;
    }
    let folder = packaging("prometheus");
    assert_eq!(promtool(&["check", "rules", "outflow.rules.yml"], &folder, b""), Ok(()));
    assert_eq!(promtool(&["test", "rules", "outflow.rules.test.yml"], &folder, b""), Ok(()));
    let (rules, tests) = (read("prometheus/outflow.rules.yml"), read("prometheus/outflow.rules.test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 11);
    for alert in alerts {
        let cases = tests.split("- interval:").filter(|case| case.contains(&format!("alertname: {alert}\n")));
        let (quiet, loud): (Vec<_>, Vec<_>) = cases.partition(|case| case.contains("exp_alerts: []"));
        assert!(!quiet.is_empty() && !loud.is_empty(), "{alert} has no test of both kinds");
    }
}

/// PromQL that Prometheus would refuse shows as an empty panel, and nothing says why.
#[test]
fn prometheus_can_read_every_expression_of_the_dashboard() {
    if skip::without("promtool check rules", "promtool", "prometheus") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, (_, expression)) in dashboard_expressions().iter().enumerate() {
        let expression =
            expression.replace("$__rate_interval", "5m").replace("$job", ".+").replace("$instance", ".+");
        rules += &format!("      - record: panel:{number}\n        expr: {}\n", Value::from(expression));
    }
    std::fs::write(folder.path().join("rules.yml"), rules).expect("a file");
    assert_eq!(promtool(&["check", "rules", "rules.yml"], folder.path(), b""), Ok(()));
}
