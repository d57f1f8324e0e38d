//! What the files of packaging/ say, held against the program and against each other: ports, paths, users, commands and keys that
//! are written in several places. What it takes long to try (an image, a package in a system) `packaging/check` tries.

mod container;
mod debian;
mod kubernetes;
mod release;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::support::relay::{binary, run_to_exit};
use crate::support::{skip, users};

/// Who runs the program in a container: `nonroot` of distroless.
const NOBODY: u64 = 65532;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("packaging/{file}: {error}"))
}

/// The documents of a file of YAML.
fn documents(file: &str) -> Vec<Value> {
    let documents =
        Yaml::load_from_str(&read(file)).unwrap_or_else(|error| panic!("packaging/{file}: {error}"));
    documents.iter().map(value).collect()
}

/// The only document of a file of YAML.
fn document(file: &str) -> Value {
    let mut documents = documents(file);
    assert_eq!(documents.len(), 1, "packaging/{file}");
    documents.remove(0)
}

fn value(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => Value::from(*flag),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(pairs) => {
            let text = |key: &Yaml| key.as_str().expect("a key that is text").to_owned();
            Value::Object(pairs.iter().map(|(key, inner)| (text(key), value(inner))).collect::<Map<_, _>>())
        }
        other => panic!("neither a value nor a list nor a mapping: {other:?}"),
    }
}

fn list<'a>(value: &'a Value, what: &str) -> &'a [Value] {
    value.as_array().unwrap_or_else(|| panic!("{what} is no list: {value}"))
}

fn words(value: &Value) -> Vec<&str> {
    list(value, "words").iter().map(|word| word.as_str().expect("a word")).collect()
}

/// A configuration of packaging/ that the program can try here: with a user and a token beside it, and its folders in its own.
struct Tried {
    folder: TempDir,
    values: toml::Table,
}

impl Tried {
    fn of(file: &str) -> Tried {
        let folder = TempDir::with_prefix("outflow-packaging-").expect("a folder");
        users::write_file(folder.path(), &[("ann".to_owned(), users::argon2id(b"secret"))]);
        fs::write(folder.path().join("admin.token"), "a-token-of-sixteen-or-more").expect("a token");
        let here = folder.path().to_str().expect("UTF-8");
        let text = read(file).replace("/var/lib/outflow", here).replace("/run/outflow", here);
        fs::write(folder.path().join("outflow.toml"), &text).expect("the configuration");
        Tried { folder, values: toml::from_str(&read(file)).expect("TOML") }
    }

    /// A string of the configuration, as it is written there.
    fn text(&self, table: &str, key: &str) -> &str {
        let value = self.of_table(table, key).unwrap_or_else(|| panic!("no {table}.{key}"));
        let first = value.as_array().map_or(value, |items| &items[0]);
        first.as_str().expect("text")
    }

    /// `outflow check` of it, under these variables.
    fn check(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(binary());
        command.arg("check").arg("--config").arg(self.folder.path().join("outflow.toml"));
        command.envs(variables.iter().copied());
        run_to_exit(command)
    }

    fn passes(&self, variables: &[(&str, &str)]) {
        let output = self.check(variables);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn of_table(&self, table: &str, key: &str) -> Option<&toml::Value> {
        self.values.get(table).and_then(|table| table.get(key))
    }

    /// The ports that clients come to, and those of the admin endpoint.
    fn ports(&self) -> (Vec<u64>, Vec<u64>) {
        let texts = |value: Option<&toml::Value>| -> Vec<String> {
            let items = value.and_then(toml::Value::as_array).cloned().unwrap_or_default();
            items.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect()
        };
        let tables = self.values.get("listener").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let addresses = tables.iter().map(|table| table["address"].as_str().expect("text").to_owned());
        let listen: Vec<String> =
            texts(self.of_table("server", "listen")).into_iter().chain(addresses).collect();
        let port = |address: &String| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let ports = |addresses: &[String]| addresses.iter().filter_map(port).collect();
        (ports(&listen), ports(&texts(self.of_table("admin", "listen"))))
    }

    /// `timeouts.drain`, in seconds.
    fn drain_s(&self) -> u64 {
        let text = self.of_table("timeouts", "drain").and_then(toml::Value::as_str).unwrap_or("30s");
        humantime::parse_duration(text).expect("a duration").as_secs()
    }
}

#[test]
fn the_relay_behind_the_balancers_passes_check() {
    let tried = Tried::of("haproxy/outflow.toml");
    tried.passes(&[]);
    let (clients, admin) = tried.ports();
    let balancer = read("haproxy/haproxy.cfg");
    assert!(balancer.contains(&format!("check port {} ", admin[0])), "the port of the checks");
    for relay in ["192.0.2.21", "192.0.2.22"] {
        assert!(balancer.contains(&format!(" {relay}:{}\n", clients[0])), "the clients' port of {relay}");
    }
}

/// Every file below `folder` whose first line gives it to a shell.
fn shell_scripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let there = entry.expect("an entry").path();
        if there.is_dir() {
            found.extend(shell_scripts(&there));
        } else if let Some(first) =
            fs::read_to_string(&there).ok().as_deref().and_then(|text| text.lines().next())
            && first.starts_with("#!")
            && first.ends_with("sh")
        {
            found.push(there);
        }
    }
    found
}

#[test]
fn shellcheck_has_nothing_to_say_of_the_scripts() {
    if skip::without("shellcheck of packaging/", "shellcheck", "shellcheck") {
        return;
    }
    let scripts = shell_scripts(&path(""));
    assert!(
        ["release", "debian/postinst"].iter().all(|script| scripts.contains(&path(script))),
        "{scripts:?}"
    );
    let mut shellcheck = Command::new("shellcheck");
    shellcheck.args(scripts);
    let output = run_to_exit(shellcheck);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
