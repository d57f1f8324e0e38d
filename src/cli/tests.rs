//! Command lines and what they come to.

use super::*;
use crate::config::{AuthMethod, RelayMode};
use crate::control;

fn cli(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[track_caller]
fn run_args(line: &str) -> RunArgs {
    let cli = cli(line).unwrap_or_else(|error| panic!("{error}"));
    match cli.command.unwrap_or(CliCommand::Run(cli.run)) {
        CliCommand::Run(args) | CliCommand::Check(args) => args,
        _ => panic!("not a command that takes a configuration"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_a_flag_is_that_of_its_key() {
    let help = Cli::command().render_help().to_string();
    for said in [
        "and this is left out [default: 127.0.0.1:1080] (may be repeated)",
        "and no more than max_connections [default: 0]",
        "[default: auto] [possible values: auto, splice, copy]",
        "[default: info] [possible values: error, warn, info, debug, trace]",
        "The form of log lines [default: text] [possible values: text, json]",
        "off, stdout or a path [default: off]",
        "empty: no endpoint (may be repeated)",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&help).contains(&words(said)), "{said:?} is not in {help}");
    }
}

#[test]
fn flags_work_with_and_without_the_subcommand() {
    let flags = "--listen 127.0.0.1:1 --listen [::1]:2 --workers 2 --no-pin --relay copy --allow-private \
                 --users /u --log-level warn --log-format json --access off";
    for start in ["outflow", "outflow run", "outflow check"] {
        let config = run_args(&format!("{start} {flags}")).source().load().unwrap();
        assert_eq!(config.server.listen.len(), 2);
        assert_eq!((config.server.workers, config.server.pin), (2, false));
        assert_eq!((config.server.relay, config.guard.allow_private), (RelayMode::Copy, true));
        assert_eq!(config.auth.methods, [AuthMethod::Password]);
    }
}

#[test]
fn nothing_typed_is_the_default() {
    assert_eq!(run_args("outflow").source().load().unwrap(), Config::default());
    assert_eq!(run_args("outflow run").source().load().unwrap(), Config::default());
}

#[test]
fn a_bad_value_is_a_problem_of_the_configuration() {
    for (flags, said) in [
        ("--workers -1", "--workers: -1 is out of range: 0 to 1024"),
        ("--workers 1.5", "--workers: expected a whole number, found \"1.5\""),
        ("--access=", "--access: \"\" is not a path"),
        ("--users=", "--users: \"\" is not a path"),
        ("--log-format jsn", "--log-format: \"jsn\" is none of \"text\", \"json\"; did you mean \"json\"?"),
    ] {
        assert_eq!(run_args(&format!("outflow {flags}")).source().load().unwrap_err().to_string(), said);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    for line in [
        "--wrkers 3",
        "--workers",
        "serve",
        "user add x",
        "user add --file f",
        "user list x --file f",
        "--pin",
        "--workers 1 run",
    ] {
        let error = cli(&format!("outflow {line}")).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    for line in ["--version", "--help", "check --help"] {
        assert_eq!(cli(&format!("outflow {line}")).expect_err(line).exit_code(), 0, "{line}");
    }
}

#[test]
fn user_commands_name_the_user_and_the_file() {
    let Some(CliCommand::User { action: UserCommand::Remove(args) }) =
        cli("outflow user remove alice --file users.passwd").unwrap().command
    else {
        panic!("another command");
    };
    assert_eq!((args.name.as_str(), args.file), ("alice", PathBuf::from("users.passwd")));
    let Some(CliCommand::User { action: UserCommand::List { file } }) =
        cli("outflow user list --file users.passwd").unwrap().command
    else {
        panic!("another command");
    };
    assert_eq!(file, PathBuf::from("users.passwd"));
}

#[test]
fn a_users_file_that_cannot_be_opened_fails_the_check() {
    let config = run_args("outflow check --users /nowhere/users").source().load().unwrap();
    let said = control::check(&config).errors.to_string();
    let expected = "--users: /nowhere/users: cannot read the users file: No such file";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn a_keytab_that_cannot_be_opened_fails_the_check() {
    let mut config = Config::default();
    config.auth.gssapi.keytab = PathBuf::from("/nowhere/keytab");
    assert!(control::check(&config).errors.is_empty(), "nobody accepts with it");
    config.auth.methods = vec![AuthMethod::Gssapi];
    let said = control::check(&config).errors.to_string();
    let expected =
        "[auth.gssapi] key `keytab` (its default): no key for the service \"rcmd\" in \"/nowhere/keytab\"";
    let no_library =
        "[auth] key `methods` (its default): \"gssapi\" is a method, but no GSSAPI library can be";
    assert!(said.starts_with(expected) || said.starts_with(no_library), "{said}");
}
