//! The Debian package: its files, and what its scripts ask of the system, by stand-ins that write down how they are called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{Tried, path, read};
use crate::support::process::{run_to_exit, write_program};
use crate::support::skip;

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// `[package.metadata.deb]`.
fn metadata() -> toml::Table {
    let manifest: toml::Table =
        toml::from_str(&fs::read_to_string(path("../Cargo.toml")).expect("the manifest")).expect("TOML");
    manifest["package"]["metadata"]["deb"].as_table().expect("a table").clone()
}

/// Whence and where to, of every file of the package.
fn assets() -> Vec<(String, String)> {
    let word = |value: &toml::Value| value.as_str().expect("text").to_owned();
    let tables = metadata();
    let assets = tables["assets"].as_array().expect("a list");
    assets.iter().map(|asset| (word(&asset[0]), word(&asset[1]))).collect()
}

/// The value of a key of the unit.
fn unit(key: &str) -> String {
    let text = read("systemd/outflow.service");
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("the unit has no {key}")).to_owned()
}

#[test]
fn the_files_of_the_package_are_there() {
    let assets = assets();
    for (source, _) in assets.iter().filter(|(source, _)| !source.starts_with("target/")) {
        let there = path("..").join(source);
        // Of a pattern the folder: cargo-deb refuses one that fits nothing.
        let is_pattern = source.contains('*') && there.parent().is_some_and(Path::is_dir);
        assert!(there.is_file() || is_pattern, "{source}");
    }
    let units =
        fs::read_dir(path("systemd")).expect("the units").map(|entry| entry.expect("an entry").path());
    for unit in units.filter(|unit| unit.is_file()) {
        let name = unit.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert!(
            name.ends_with(".service") || name.ends_with(".socket"),
            "{name} is in no pattern of the package"
        );
    }
    let older = &metadata()["variants"]["systemd-252"]["merge-assets"]["append"];
    for (at, unit) in ["outflow.service", "outflow@.service"].into_iter().enumerate() {
        assert!(path("..").join(older[at][0].as_str().expect("text")).is_file());
        assert_eq!(older[at][1].as_str(), Some(&*format!("usr/lib/systemd/system/{unit}.d/")));
    }
    for file in ["changelog", "copyright", "lintian-overrides"] {
        assert!(path(&format!("debian/{file}")).is_file(), "{file}");
    }
}

/// The unit starts the program where the package puts it, as a user that the package makes, in folders that the configuration has.
#[test]
fn the_unit_and_the_package_mean_the_same_paths() {
    let assets = assets();
    let to = |source: &str| {
        let found = assets.iter().find(|(from, _)| from == source);
        &found.unwrap_or_else(|| panic!("{source} is not in the package")).1
    };
    let started = unit("ExecStart");
    assert_eq!(started.split(' ').next(), Some(&*format!("/{}outflow", to("target/release/outflow"))));
    assert_eq!(
        to("packaging/debian/outflow.toml"),
        "etc/outflow/outflow.toml",
        "what is read without --config"
    );
    let users = read("systemd/sysusers.d/outflow.conf");
    let user = users.lines().find_map(|line| line.strip_prefix("u ")).expect("a user");
    assert_eq!(user.split(' ').next(), Some(&*unit("User")));
    let tried = Tried::of("debian/outflow.toml");
    assert_eq!(tried.text("server", "state"), format!("/var/lib/{}", unit("StateDirectory")));
    let socket = tried.text("admin", "listen");
    assert!(socket.starts_with(&format!("unix:/run/{}/", unit("RuntimeDirectory"))), "{socket}");
    for unit in ["outflow.service", "outflow.socket", "outflow-admin.socket"] {
        if path(&format!("systemd/{unit}")).is_file() {
            assert!(read("debian/prerm").contains(unit) && read("debian/postrm").contains(unit), "{unit}");
        }
    }
    tried.passes(&[]);
}

#[test]
fn the_scripts_are_sound() {
    for script in SCRIPTS {
        let there = path(&format!("debian/{script}"));
        assert!(fs::metadata(&there).expect("the script").permissions().mode() & 0o111 != 0, "{script}");
        let mut sh = Command::new("sh");
        sh.arg("-n").arg(&there);
        assert!(run_to_exit(sh).status.success(), "{script}");
        assert!(!read(&format!("debian/{script}")).contains(" restart "), "{script}: sessions would end");
    }
}

/// A system in which the scripts find stand-ins for what they call.
struct System {
    folder: TempDir,
}

impl System {
    /// One in which these units are active, and these calls fail, each by its beginning.
    fn new(active: &[&str], failing: &[&str]) -> System {
        let folder = TempDir::with_prefix("outflow-debian-").expect("a folder");
        let units: String =
            active.iter().map(|unit| format!("echo {unit} loaded active running\n")).collect();
        let calls = folder.path().join("calls");
        let cases: String = failing.iter().map(|call| format!("\"{call}\"*) exit 1;;\n")).collect();
        for name in
            ["systemctl", "deb-systemd-helper", "deb-systemd-invoke", "systemd-sysusers", "systemd-tmpfiles"]
        {
            let stand_in = folder.path().join(name);
            let text = format!(
                "#!/bin/sh\necho \"{name} $*\" >>{}\ncase \"{name} $*\" in\n{cases}*list-units*)\n{units};;\nesac\n",
                calls.display()
            );
            write_program(&stand_in, &text);
        }
        System { folder }
    }

    /// Runs a script where systemd is the first process, in a mount namespace.
    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-ec"]);
        command.arg("mount -t tmpfs run /run && mkdir -p /run/systemd/system && exec sh \"$@\"").arg("sh");
        command.arg(path(&format!("debian/{script}"))).args(arguments);
        let stand_ins = self.folder.path().to_str().expect("UTF-8");
        command.env("PATH", format!("{stand_ins}:/usr/sbin:/usr/bin:/sbin:/bin")).env_remove("DPKG_ROOT");
        let output = run_to_exit(command);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// What was called since the last time.
    fn calls(&self) -> String {
        let calls = self.folder.path().join("calls");
        let text = fs::read_to_string(&calls).unwrap_or_default();
        let _ = fs::remove_file(calls);
        text
    }
}

fn no_namespaces(test: &str) -> bool {
    let mut command = Command::new("unshare");
    let tried = command.args(["-rm", "mount", "-t", "tmpfs", "run", "/run"]).stderr(Stdio::null()).status();
    let lacks = !tried.is_ok_and(|status| status.success());
    if lacks {
        skip::skip(test, "user and mount namespaces are not permitted here");
    }
    lacks
}

/// A first installation enables and starts the unit; an upgrade asks the running server to take the new program, and touches one that
/// was stopped not at all.
#[test]
fn an_upgrade_reloads_and_never_restarts() {
    if no_namespaces("an_upgrade_reloads_and_never_restarts") {
        return;
    }
    let system = System::new(&["outflow.service", "outflow@two.service"], &[]);
    system.run("postinst", &["configure", ""]);
    let calls = system.calls();
    for call in [
        "systemd-sysusers outflow.conf\n",
        "deb-systemd-helper enable outflow.service\n",
        "systemctl --system daemon-reload\n",
        "deb-systemd-invoke start outflow.service\n",
    ] {
        assert!(calls.contains(call), "{call} is not among\n{calls}");
    }
    assert!(!calls.contains("reload outflow"), "{calls}");

    system.run("prerm", &["upgrade", "0.2.0-1"]);
    system.run("postinst", &["configure", "0.1.0-1"]);
    let calls = system.calls();
    for unit in ["outflow.service", "outflow@two.service"] {
        assert!(calls.contains(&format!("deb-systemd-invoke reload {unit}\n")), "{calls}");
    }
    assert!(!calls.contains("start") && !calls.contains("stop"), "{calls}");

    let stopped = System::new(&[], &[]);
    stopped.run("postinst", &["configure", "0.1.0-1"]);
    let calls = stopped.calls();
    assert!(!calls.contains("deb-systemd-invoke"), "{calls}");

    let refuses = System::new(&["outflow.service"], &["deb-systemd-invoke reload"]);
    let said = refuses.run("postinst", &["configure", "0.1.0-1"]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("serves on as it is"), "the administrator is told");
}

#[test]
fn a_removal_stops_and_a_purge_leaves_what_is_the_administrators() {
    if no_namespaces("a_removal_stops_and_a_purge_leaves_what_is_the_administrators") {
        return;
    }
    let system = System::new(&["outflow@two.service"], &[]);
    system.run("prerm", &["remove"]);
    let calls = system.calls();
    let stop = calls.lines().find(|call| call.starts_with("deb-systemd-invoke stop ")).expect("a stop");
    assert!(stop.contains(" outflow.service") && stop.ends_with(" outflow@two.service"), "{stop}");

    // Below another root: there is nothing to be told there, and nothing of this machine goes.
    let root = TempDir::new().expect("a root");
    let at = |path: &str| root.path().join(path);
    for folder in ["var/lib/outflow", "var/log/outflow", "run/outflow", "etc/outflow"] {
        fs::create_dir_all(at(folder)).expect("a folder");
    }
    fs::write(at("var/lib/outflow/quotas.db"), "").expect("a file");
    let purge = |root: &Path| {
        let mut command = Command::new("sh");
        command.arg(path("debian/postrm")).arg("purge").env("DPKG_ROOT", root);
        command.env("PATH", format!("{}:/usr/bin:/bin", system.folder.path().display()));
        assert!(run_to_exit(command).status.success());
    };
    fs::write(at("etc/outflow/users.passwd"), "").expect("a file");
    purge(root.path());
    assert!(at("etc/outflow/users.passwd").is_file());
    for folder in ["var/lib/outflow", "var/log/outflow", "run/outflow"] {
        assert!(!at(folder).exists(), "{folder}");
    }
    fs::remove_file(at("etc/outflow/users.passwd")).expect("a file");
    purge(root.path());
    assert!(!at("etc/outflow").exists());
    assert!(!system.calls().contains("daemon-reload"));
}
