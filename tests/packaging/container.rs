//! The image and the compose file.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{NOBODY, Tried, document, list, path, read, words};
use crate::support::Relay;
use crate::support::process::run_to_exit;
use crate::support::relay::binary;
use crate::support::skip;

/// What stands behind an instruction of the Containerfile, in order.
fn instructions(name: &str) -> Vec<String> {
    let text = read("container/Containerfile");
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_image_has_the_program_and_runs_it_as_nobody() {
    let manifest: toml::Table =
        toml::from_str(&fs::read_to_string(path("../Cargo.toml")).expect("the manifest")).expect("TOML");
    let rust = manifest["workspace"]["package"]["rust-version"].as_str().expect("a version");
    let [rust_image, base] = &instructions("ARG")[..2] else { panic!("two images") };
    assert!(rust_image.starts_with(&format!("RUST=docker.io/library/rust:{rust}-")), "{rust_image}");
    assert!(base.starts_with("BASE=gcr.io/distroless/") && base.ends_with(":nonroot"), "{base}");
    assert_eq!(instructions("FROM").last().map(String::as_str), Some("${BASE}"));
    assert_eq!(instructions("USER"), [format!("{NOBODY}:{NOBODY}")]);
    assert_eq!(instructions("STOPSIGNAL"), ["SIGTERM"]);
    let copied = instructions("COPY").pop().expect("the program");
    let program = copied.rsplit(' ').next().expect("where to");
    assert_eq!(instructions("ENTRYPOINT"), [format!("[\"{program}\"]")]);
    let arguments: Vec<String> = serde_json::from_str(&instructions("CMD")[0]).expect("a list");
    let [run, flag, configuration] = &arguments[..] else { panic!("{arguments:?}") };
    assert_eq!((run.as_str(), flag.as_str()), ("run", "--config"));
    assert_eq!(configuration, "/etc/outflow/outflow.toml");
    let (clients, admin) = Tried::of("container/outflow.toml").ports();
    assert_eq!(instructions("EXPOSE"), [format!("{}/tcp {}/tcp", clients[0], admin[0])]);
}

/// What is mounted is there, or is said to be made before; where it is mounted is where the program looks.
#[test]
fn the_compose_file_mounts_what_there_is() {
    let compose = document("compose/compose.yaml");
    let made_before = read("compose/.gitignore");
    for (name, service) in compose["services"].as_object().expect("services") {
        for volume in words(&service["volumes"]) {
            let from = volume.split(':').next().expect("whence");
            let Some(file) = from.strip_prefix("./") else {
                let there = from.starts_with("../") && path(&format!("compose/{from}")).is_file();
                assert!(there || compose["volumes"].get(from).is_some(), "{name}: {volume}");
                continue;
            };
            let made = made_before.lines().any(|line| line == file);
            assert!(made || path(&format!("compose/{file}")).is_file(), "{name}: {volume}");
        }
    }
    let relay = &compose["services"]["outflow"];
    assert_eq!(relay["user"], format!("{NOBODY}:{NOBODY}"));
    assert_eq!((&relay["read_only"], &relay["cap_drop"]), (&json!(true), &json!(["ALL"])));
    let build = &relay["build"];
    let context = build["context"].as_str().expect("a folder");
    let file = build["dockerfile"].as_str().expect("a file");
    assert!(path(&format!("compose/{context}/{file}")).is_file());
    let tried = Tried::of("container/outflow.toml");
    tried.passes(&[]);
    let (clients, _) = tried.ports();
    assert_eq!(relay["ports"], json!([format!("127.0.0.1:{0}:{0}", clients[0])]));
    let grace = relay["stop_grace_period"].as_str().expect("a time");
    assert!(humantime::parse_duration(grace).expect("a duration").as_secs() >= tried.drain_s() + 10);
}

/// Nothing of it gains a right, is open to the network around the machine unasked, or knows a password that all know.
#[test]
fn the_compose_file_opens_nothing_to_others() {
    let compose = document("compose/compose.yaml");
    let services = compose["services"].as_object().expect("services");
    for (name, service) in services {
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(words(&service["ports"]).iter().all(|port| port.starts_with("127.0.0.1:")), "{name}");
    }
    // Its administrator is admin, with the password admin, unless there is none.
    let grafana = &services["grafana"]["environment"];
    for (variable, value) in [
        ("GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION", "true"),
        ("GF_AUTH_DISABLE_LOGIN_FORM", "true"),
        ("GF_AUTH_BASIC_ENABLED", "false"),
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
    ] {
        assert_eq!(grafana[variable], value, "{variable}");
    }
}

/// The health check is run as it stands there, but for the endpoint.
#[test]
fn the_health_check_of_the_compose_file_works() {
    let check = &document("compose/compose.yaml")["services"]["outflow"]["healthcheck"]["test"];
    let ["CMD", "/usr/bin/outflow", arguments @ .., "--admin", endpoint] = &words(check)[..] else {
        panic!("{check}")
    };
    let (_, admin) = Tried::of("container/outflow.toml").ports();
    assert_eq!(*endpoint, format!("127.0.0.1:{}", admin[0]));
    let mut relay = Relay::builder().admin().start();
    let address = relay.admin_addr().to_string();
    let healthy = || {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--admin").arg(&address);
        run_to_exit(command).status.success()
    };
    assert!(healthy());
    relay.signal("TERM");
    relay.wait_exit(crate::support::wait::PATIENCE);
    assert!(!healthy());
}

/// Prometheus reads its configuration with the files where the compose file mounts them, and asks the relay where it listens; Grafana
/// asks that Prometheus.
#[test]
fn prometheus_and_grafana_are_led_to_the_relay() {
    let compose = document("compose/compose.yaml");
    let services = compose["services"].as_object().expect("services");
    let prometheus = document("compose/prometheus.yml");
    let target =
        prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str().expect("a target");
    let (host, port) = target.rsplit_once(':').expect("a port");
    let (_, admin) = Tried::of("container/outflow.toml").ports();
    assert!(services.contains_key(host) && port == admin[0].to_string(), "{target}");
    let source = document("compose/grafana/datasources.yaml");
    let url = source["datasources"][0]["url"].as_str().expect("a URL");
    let asked = url.strip_prefix("http://").and_then(|rest| rest.split(':').next()).expect("a host");
    assert!(services.contains_key(asked), "{url}");
    let mounts = words(&services["grafana"]["volumes"]);
    let boards = document("compose/grafana/dashboards.yaml");
    let folder = boards["providers"][0]["options"]["path"].as_str().expect("a folder");
    assert!(mounts.contains(&format!("../grafana/outflow.json:{folder}/outflow.json:ro").as_str()));

    if skip::without("promtool check config", "promtool", "prometheus") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for mount in words(&services["prometheus"]["volumes"]) {
        let [from, to, "ro"] = mount.split(':').collect::<Vec<_>>()[..] else { continue };
        let to = folder.path().join(to.strip_prefix("/etc/prometheus/").expect("beside its configuration"));
        match from {
            "./admin.token" => fs::write(to, "a-token-of-sixteen-or-more").map(|()| 0),
            from => fs::copy(path(&format!("compose/{from}")), to),
        }
        .expect("a file");
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "config", "prometheus.yml"]).current_dir(folder.path());
    let output = run_to_exit(promtool);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("rules found"), "{said}");
    assert!(list(&prometheus["rule_files"], "rules").len() == 1, "the alerts");
}
