//! What the environment has to do with the configuration: values by variables, and which file is read where nobody says.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::relay::{binary, run_to_exit};
use crate::support::{Client, Origin, Relay, netns, skip};

/// What `check` says of a file, in an environment: exit code, what it prints, what it complains of.
fn check(file: &Path, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    command.args(["check", "--config"]).arg(file).envs(variables.iter().copied());
    let output = run_to_exit(command);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_value_of_the_environment_is_obeyed_at_the_start_and_at_a_reload() {
    let origin = Origin::echo();
    let mut relay = Relay::builder()
        .environment(vec![("RELAY_GUARD", "127.0.0.0/8".into()), ("RELAY_LEVEL", "debug".into())])
        .guarded()
        .set("guard", "allow", "[\"${RELAY_GUARD}\"]")
        .set("server", "workers", "\"${RELAY_WORKERS:-2}\"")
        .start();
    assert!(relay.ready.contains("; 2 workers; "), "{}", relay.ready);
    Client::through(relay.addr(), origin.addr);
    relay.reload(&[("log", "level", "\"${RELAY_LEVEL}\"")]);
    Client::through(relay.addr(), origin.addr);
    // Wrong ones change nothing.
    relay.write(&[("log", "level", "\"${RELAY_LEVLE}\"")]);
    relay.signal("HUP");
    relay.logged(&[
        "[log] key `level`",
        "RELAY_LEVLE is not set in the environment; did you mean ${RELAY_LEVEL}?",
    ]);
    Client::through(relay.addr(), origin.addr);
}

#[test]
fn check_tells_what_variables_come_to_and_which_is_not_set() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("outflow.toml");
    fs::write(&file, "[udp]\nadvertise = \"${POD_IP}\"\n").expect("write");
    let (code, printed, complaints) = check(&file, &[("POD_IP", "192.0.2.7")]);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    assert!(printed.contains("192.0.2.7") && !printed.contains("POD_IP"), "{printed}");
    let (code, printed, complaints) = check(&file, &[]);
    let said = format!(
        "{}:2: [udp] key `advertise`: POD_IP is not set in the environment: `${{POD_IP:-text}}` has a text for that, and \
         `$${{POD_IP}}` is no variable\n",
        file.display()
    );
    assert_eq!((code, printed.as_str(), complaints), (Some(1), "", said));
    let (_, _, complaints) = check(&file, &[("POD_IP", "pod-7")]);
    assert!(complaints.contains(":2: [udp] key `advertise` (${POD_IP}): \"pod-7\""), "{complaints}");
}

#[test]
fn the_example_is_one_that_a_server_could_go_by() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/outflow.toml");
    let (code, printed, complaints) = check(&example, &[]);
    assert_eq!(code, Some(0), "{complaints}");
    assert!(printed.contains("listen = [\"127.0.0.1:1080\"]"), "{printed}");
}

/// A password that comes by the environment shows nowhere that one of the file would not.
#[test]
fn a_file_that_the_configuration_names_has_no_variables() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("outflow.toml");
    fs::write(folder.path().join("names.txt"), "${POD_IP}\n").expect("write");
    fs::write(&file, "[[list]]\nname = \"a\"\nfile = \"names.txt\"\n").expect("write");
    let (code, _, complaints) = check(&file, &[("POD_IP", "192.0.2.7")]);
    assert!(code == Some(1) && complaints.contains("names.txt"), "{complaints}");
}

/// The folder /etc of the test's own.
const OWN_ETC: &str =
    "mount -t tmpfs tmpfs /etc && mkdir /etc/outflow && cat >/etc/outflow/outflow.toml && exec \"$@\"";

#[test]
fn the_file_in_etc_is_read_where_nothing_names_another() {
    let folder = TempDir::new().expect("a folder");
    let other = folder.path().join("other.toml");
    fs::write(&other, "[server]\nworkers = 2\n").expect("write");
    let other = other.to_str().expect("UTF-8");
    if let Some(why) = netns::lacking() {
        return skip::skip("the_file_in_etc_is_read_where_nothing_names_another", &why);
    }
    let said = |variable: Option<&str>, arguments: &[&str], file: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", OWN_ETC, "sh", binary(), "check"]).args(arguments);
        match variable {
            Some(variable) => command.env("OUTFLOW_CONFIG", variable),
            None => command.env_remove("OUTFLOW_CONFIG"),
        };
        let output = crate::support::relay::run_with_input(command, file.as_bytes());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr))
    };
    let three = "[server]\nworkers = 3\n";
    let workers = |(printed, complaints): (String, String)| {
        let line = printed.lines().find(|line| line.starts_with("workers = ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{complaints}"))
    };
    assert_eq!(workers(said(None, &[], three)), "workers = 3");
    assert_eq!(workers(said(None, &["--workers", "1"], three)), "workers = 1");
    assert_eq!(workers(said(None, &["--config", other], three)), "workers = 2");
    assert_eq!(workers(said(Some(other), &[], three)), "workers = 2");
    assert_eq!(workers(said(Some(other), &["--config", "/etc/outflow/outflow.toml"], three)), "workers = 3");
    assert_ne!(workers(said(Some(""), &[], "[server]\nworkers = 1000\n")), "workers = 1000");
    let (_, complaints) = said(None, &[], "[server]\nworkes = 3\n");
    assert!(complaints.starts_with("/etc/outflow/outflow.toml:2: [server] key `workes`"), "{complaints}");
}
