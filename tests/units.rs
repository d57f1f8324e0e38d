//! The units in packaging/systemd, as systemd's own tools read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::manager::socket_units;
use crate::support::relay::{binary, run_to_exit};
use crate::support::skip::without;

/// What systemd-analyze says of how far the service is open, in tenths.
const EXPOSURE_MAX: u32 = 15;

/// The one of a host, and one of several.
const SERVICES: [&str; 2] = ["outflow.service", "outflow@.service"];

/// What a systemd before 253 says of the unit, and nothing else: the drop-in for it is there.
const SAID_BEFORE_253: [&str; 2] = [
    "Failed to parse service type, ignoring: notify-reload",
    "Unknown key 'ReloadSignal' in section [Service], ignoring.",
];

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd").join(name)
}

/// The units in a folder, with this program in place of the one that a package installs, and these drop-ins of the service.
fn units(drop_ins: &[&str]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for unit in SERVICES {
        let service = fs::read_to_string(packaged(unit)).expect("the service");
        let ours = service.replace("/usr/bin/outflow", binary());
        assert_ne!(ours, service, "the program of the package");
        fs::write(folder.path().join(unit), ours).expect("write");
        let beside = folder.path().join(format!("{unit}.d"));
        fs::create_dir(&beside).expect("a folder");
        for name in drop_ins {
            let to = name.trim_end_matches(".example");
            fs::copy(packaged("outflow.service.d").join(name), beside.join(to)).expect("copy");
        }
    }
    for socket in socket_units() {
        fs::copy(packaged(&socket), folder.path().join(socket)).expect("copy");
    }
    folder
}

fn systemd_version() -> u32 {
    let mut command = Command::new("systemd-analyze");
    command.arg("--version");
    let said = String::from_utf8(run_to_exit(command).stdout).expect("UTF-8");
    said.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a version")
}

/// What systemd-analyze complains of, but for what an old one does not know yet.
fn complaints(folder: &TempDir) -> Vec<String> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]);
    command.args(SERVICES.map(|unit| folder.path().join(unit)));
    command.args(socket_units().iter().map(|unit| folder.path().join(unit)));
    let output = run_to_exit(command);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{said}");
    let is_known =
        |line: &str| systemd_version() < 253 && SAID_BEFORE_253.iter().any(|known| line.ends_with(known));
    said.lines().filter(|line| !is_known(line)).map(str::to_owned).collect()
}

#[test]
fn the_units_are_what_systemd_takes() {
    if without("the_units_are_what_systemd_takes", "systemd-analyze", "systemd") {
        return;
    }
    let drop_ins: Vec<String> = fs::read_dir(packaged("outflow.service.d"))
        .expect("the drop-ins")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert!(drop_ins.len() >= 3, "{drop_ins:?}");
    let each: Vec<Vec<&str>> = drop_ins.iter().map(|name| vec![name.as_str()]).collect();
    for drop_ins in std::iter::once(Vec::new()).chain(each) {
        assert_eq!(complaints(&units(&drop_ins)), [""; 0], "with {drop_ins:?}");
    }
    // It complains of what is wrong.
    let folder = units(&[]);
    fs::write(folder.path().join("outflow.service.d/x.conf"), "[Service]\nProtectSistem=yes\n")
        .expect("write");
    assert_eq!(complaints(&folder).len(), 1);
}

#[test]
fn the_service_is_open_no_further_than_it_has_to_be() {
    if without("the_service_is_open_no_further_than_it_has_to_be", "systemd-analyze", "systemd") {
        return;
    }
    let said = |folder: &TempDir, unit: &str| {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE_MAX}")]);
        command.arg(folder.path().join(unit));
        let output = run_to_exit(command);
        (output.status.success(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    for unit in SERVICES {
        let (is_within, table) = said(&units(&[]), unit);
        assert!(is_within, "{unit}\n{table}");
    }
    let folder = units(&[]);
    fs::write(folder.path().join("outflow.service.d/x.conf"), "[Service]\nProtectSystem=no\n")
        .expect("write");
    assert!(!said(&folder, "outflow.service").0, "the threshold is obeyed");
}

#[test]
fn the_user_and_the_folders_are_made() {
    if without("the_user_and_the_folders_are_made", "systemd-sysusers", "systemd") {
        return;
    }
    let root = TempDir::new().expect("a folder");
    let made = |tool: &str, file: &str, more: &[&str]| {
        let mut command = Command::new(tool);
        command.arg(format!("--root={}", root.path().display())).args(more).arg(packaged(file));
        let output = run_to_exit(command);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.success() && !said.contains("Failed"), "{said}");
    };
    made("systemd-sysusers", "sysusers.d/outflow.conf", &["--dry-run"]);
    let lines = fs::read_to_string(packaged("tmpfiles.d/outflow.conf")).expect("the folders");
    let made_there: Vec<&str> =
        lines.lines().filter_map(|line| line.strip_prefix("d ")?.split_whitespace().next()).collect();
    assert_eq!(made_there, ["/etc/outflow", "/run/outflow", "/var/lib/outflow", "/var/log/outflow"]);
    let service = fs::read_to_string(packaged("outflow.service")).expect("the service");
    // Passwords of parents may stand in the configuration: no other user of the machine reads it, nor does the server write it.
    let whose = |folder: &str| {
        let line = lines.lines().find(|line| line.split_whitespace().nth(1) == Some(folder)).expect("a line");
        line.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(whose("/etc/outflow"), ["0750", "root", "outflow"]);
    assert!(service.contains("\nConfigurationDirectoryMode=0750\n"));
    for directory in ["Configuration", "Runtime", "State", "Logs"] {
        assert!(service.contains(&format!("\n{directory}Directory=outflow\n")), "{directory}");
    }
}

/// What is mended in one of the two is mended in the other: they differ in the name, and in what has it.
#[test]
fn an_instance_is_the_service_with_a_configuration_and_folders_of_its_own() {
    let lines = |unit: &str| -> Vec<String> {
        let text = fs::read_to_string(packaged(unit)).expect("the service");
        text.lines().skip_while(|line| line.starts_with('#')).map(str::to_owned).collect()
    };
    let (service, instance) = (lines(SERVICES[0]), lines(SERVICES[1]));
    assert_eq!(service.len(), instance.len());
    let differ = service.iter().zip(&instance).filter(|(one, other)| one != other);
    let differ: Vec<(&str, &str)> = differ.map(|(one, other)| (one.as_str(), other.as_str())).collect();
    assert_eq!(
        differ,
        [
            ("Description=SOCKS and HTTP proxy", "Description=SOCKS and HTTP proxy %i"),
            (
                "ExecStart=/usr/bin/outflow run",
                "ExecStart=/usr/bin/outflow run --config /etc/outflow/%i.toml"
            ),
            ("StateDirectory=outflow", "StateDirectory=outflow/%i"),
            ("LogsDirectory=outflow", "LogsDirectory=outflow/%i"),
            ("RuntimeDirectory=outflow", "RuntimeDirectory=outflow/%i"),
        ]
    );
}
