//! The manifests: what they select, mount, probe and run is there.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{NOBODY, Tried, document, documents, list, path, read, words};
use crate::support::Relay;
use crate::support::relay::{binary, run_to_exit};

const LABEL: &str = "app.kubernetes.io/name";

fn stateful_set() -> Value {
    document("kubernetes/base/statefulset.yaml")
}

fn container(set: &Value) -> &Value {
    let containers = list(&set["spec"]["template"]["spec"]["containers"], "containers");
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// An item of a list of objects by its name.
fn named<'a>(items: &'a Value, name: &str) -> &'a Value {
    let mut found = list(items, name).iter().filter(|item| item["name"] == name);
    found.next().unwrap_or_else(|| panic!("nothing is called {name} in {items}"))
}

/// What the StatefulSet says of the ports is what the configuration has, on the pods' network and on the nodes'.
#[test]
fn ports_are_those_of_the_configuration() {
    let (clients, admin) = Tried::of("kubernetes/base/outflow.toml").ports();
    let host = document("kubernetes/host-network/statefulset.yaml");
    for (set, on_the_node) in [(&stateful_set(), false), (&host, true)] {
        for (name, ports) in [("clients", &clients), ("admin", &admin)] {
            let port = named(&container(set)["ports"], name);
            assert_eq!([port["containerPort"].as_u64()], [ports.first().copied()], "{name}");
            assert!(!on_the_node || port["hostPort"] == port["containerPort"], "{port}");
        }
    }
    for service in documents("kubernetes/base/service.yaml") {
        for port in list(&service["spec"]["ports"], "ports") {
            named(&container(&stateful_set())["ports"], port["targetPort"].as_str().expect("a name"));
        }
    }
}

/// An empty selector means all pods of the namespace: each names this program's, and so do the pods.
#[test]
fn selectors_mean_the_pods_and_no_others() {
    let set = stateful_set();
    let label = json!({LABEL: "outflow"});
    assert_eq!(set["spec"]["template"]["metadata"]["labels"], label);
    let budget = document("kubernetes/base/poddisruptionbudget.yaml");
    let host = document("kubernetes/host-network/statefulset.yaml");
    let spread = &set["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"];
    let apart = &host["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        [0]["labelSelector"];
    for selector in [&set["spec"]["selector"], &budget["spec"]["selector"], spread, apart] {
        assert_eq!(selector["matchLabels"], label);
    }
    let services = documents("kubernetes/base/service.yaml");
    assert!(services.iter().all(|service| service["spec"]["selector"] == label));
    let headless =
        services.iter().find(|service| service["spec"]["clusterIP"] == "None").expect("a headless one");
    assert_eq!(set["spec"]["serviceName"], headless["metadata"]["name"]);
    let account = document("kubernetes/base/serviceaccount.yaml");
    assert_eq!(set["spec"]["template"]["spec"]["serviceAccountName"], account["metadata"]["name"]);
    assert_eq!(host["metadata"]["name"], set["metadata"]["name"], "what the patch is for");
}

/// Each variable of the configuration is one of the container, and with it the configuration holds.
#[test]
fn the_configuration_passes_check_with_the_variables_of_the_pod() {
    let tried = Tried::of("kubernetes/base/outflow.toml");
    let text = read("kubernetes/base/outflow.toml");
    let settings = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let wanted: BTreeSet<&str> =
        settings.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    let host = document("kubernetes/host-network/statefulset.yaml");
    for (set, field) in [(&stateful_set(), "status.podIP"), (&host, "status.hostIP")] {
        let variables = list(&container(set)["env"], "env");
        let given: BTreeSet<&str> = variables.iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(given, wanted);
        assert!(variables.iter().all(|one| one["valueFrom"]["fieldRef"]["fieldPath"] == field));
    }
    tried.passes(&wanted.iter().map(|name| (*name, "10.0.0.7")).collect::<Vec<_>>());
    let output = tried.check(&[]);
    assert!(!output.status.success(), "without the variable it is none");
}

/// The folders that the configuration writes to are mounted: the root is read-only.
#[test]
fn what_is_written_has_a_volume() {
    let set = stateful_set();
    let spec = &set["spec"]["template"]["spec"];
    let inner = container(&set);
    assert_eq!(inner["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(inner["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(inner["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(spec["securityContext"][key], NOBODY, "{key}");
    }
    let mounts = list(&inner["volumeMounts"], "mounts");
    let mounted = |path: &str| mounts.iter().any(|mount| mount["mountPath"] == path);
    let text = read("kubernetes/base/outflow.toml");
    for folder in ["/run/outflow", "/var/lib/outflow"] {
        assert!(text.contains(folder) && mounted(folder), "{folder}");
    }
    assert_eq!(words(&inner["args"]), ["run", "--config", "/etc/outflow/outflow.toml"]);
    assert!(mounted("/etc/outflow"));
    let volumes = list(&spec["volumes"], "volumes").iter();
    let claimed =
        list(&set["spec"]["volumeClaimTemplates"], "claims").iter().map(|one| &one["metadata"]["name"]);
    let there: Vec<&Value> = volumes.map(|one| &one["name"]).chain(claimed).collect();
    assert!(mounts.iter().all(|mount| there.contains(&&mount["name"])), "{there:?}");
}

/// The hook is run as it stands there, but for where the endpoint is and for the wait: it closes the relay to new clients.
#[test]
fn the_hook_drains_and_the_pod_waits_for_it() {
    let set = stateful_set();
    let command = &container(&set)["lifecycle"]["preStop"]["exec"]["command"];
    let [program, "drain", "--after", delay, "--admin", endpoint] = words(command)[..] else {
        panic!("{command}")
    };
    assert_eq!(program, "/usr/bin/outflow");
    let tried = Tried::of("kubernetes/base/outflow.toml");
    let listen = tried.of_table("admin", "listen").and_then(toml::Value::as_array).expect("the endpoint");
    assert!(listen.iter().any(|address| address.as_str() == Some(endpoint)), "{endpoint}");
    let wait = humantime::parse_duration(delay).expect("a duration").as_secs();
    let grace = set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    assert!(grace >= wait + tried.drain_s() + 10, "{grace} s for {wait} s and {} s", tried.drain_s());

    let relay = Relay::builder().admin().start();
    let mut hook = Command::new(binary());
    hook.args(["drain", "--after", "0s", "--admin", &relay.admin_addr().to_string()]);
    assert!(run_to_exit(hook).status.success());
    assert_eq!(relay.get("/readyz").status, 503);
}

/// Probes ask what the endpoint answers, at a port that there is; and the autoscaler goes by a metric that there is.
#[test]
fn probes_and_metrics_are_there() {
    let relay = Relay::builder().admin().start();
    let set = stateful_set();
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        let get = &container(&set)[probe]["httpGet"];
        assert_eq!((&get["path"], &get["port"]), (&json!(path), &json!("admin")), "{probe}");
        assert_eq!(relay.get(path).status, 200, "{probe}");
    }
    let scaler = document("kubernetes/base/horizontalpodautoscaler.yaml");
    assert_eq!(scaler["spec"]["scaleTargetRef"]["kind"], set["kind"]);
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], set["metadata"]["name"]);
    assert!(set["spec"].get("replicas").is_none(), "how many there are is the autoscaler's");
    let metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().expect("a name");
    let exposition = relay.get("/metrics").body;
    assert!(exposition.contains(&format!("\n{metric} 0\n")), "{metric}");
}

/// Each file of a folder is in its kustomization, and each that is named there is in the folder.
#[test]
fn every_manifest_is_built() {
    for folder in ["kubernetes/base", "kubernetes/host-network"] {
        let kustomization = document(&format!("{folder}/kustomization.yaml"));
        let mut said: BTreeSet<String> = ["kustomization.yaml".to_owned()].into();
        said.extend(words(&kustomization["resources"]).iter().map(|name| (*name).to_owned()));
        let patches = kustomization["patches"].as_array().into_iter().flatten();
        said.extend(patches.map(|patch| patch["path"].as_str().expect("a path").to_owned()));
        let maps = kustomization["configMapGenerator"].as_array().into_iter().flatten();
        said.extend(maps.flat_map(|map| words(&map["files"])).map(str::to_owned));
        said.remove("../base");
        let entries = fs::read_dir(path(folder)).expect("the folder");
        let there: BTreeSet<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        assert_eq!(there, said, "{folder}");
    }
    let map = &document("kubernetes/base/kustomization.yaml")["configMapGenerator"][0]["name"];
    let set = stateful_set();
    let sources = &named(&set["spec"]["template"]["spec"]["volumes"], "config")["projected"]["sources"];
    assert_eq!(sources[0]["configMap"]["name"], *map);
}
