//! Arguments and subcommands.
//!
//! Flags are taken as text and judged with the configuration file, so that a bad value reads the same
//! wherever it was typed and all problems come out at once. Exit codes: 0 done, 1 a bad configuration
//! (or what the command itself says, such as a server's refusal), 2 a command line that makes no sense.

mod check;
mod client;
mod config_file;
mod doctor;
mod drain;
mod egress;
mod explain;
mod field;
mod health;
mod learn;
mod man;
mod offered;
mod page;
mod parent;
mod quota;
mod reload;
mod sessions;
mod stats;
mod table;
mod text;
mod top;
mod units;
mod user;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use ipnet::IpNet;

use self::client::{AdminArgs, AdminClient, ClientError};
use self::doctor::DoctorArgs;
use self::drain::DrainWish;
use self::egress::EgressCommand;
use self::explain::ExplainArgs;
use self::offered::Offered;
use self::parent::ParentCommand;
use self::quota::QuotaCommand;
use self::sessions::SessionsArgs;
use self::user::UserSetArgs;
use crate::admin::all_with_whom;
use crate::config::{Config, ConfigSource, Flags, network};
use crate::console::{complain, say};
use crate::limits;

/// A SOCKS and HTTP proxy for Linux.
#[derive(Debug, Parser)]
#[command(name = "outflow", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve; what happens without a subcommand too
    Run(RunArgs),
    /// Validate a configuration and print the one in effect
    Check(RunArgs),
    /// Edit a users file; the password comes from the prompt or standard input
    User {
        #[command(subcommand)]
        action: UserCommand,
    },
    /// List a running server's sessions, or end some
    Sessions {
        #[command(flatten)]
        sessions: Box<SessionsArgs>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Print what a running server does and has done
    Stats {
        /// Print what the endpoint answers
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Watch what a running server does, in the terminal
    Top {
        /// How often to look, such as 1s or 500ms
        #[arg(long, value_name = "TIME", default_value = "1s", value_parser = top::interval)]
        interval: Duration,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Show what is used of quotas, or set it back
    Quota {
        #[command(subcommand)]
        action: QuotaCommand,
    },
    /// Show the pools of addresses that sessions leave from, or set an address by hand
    Egress {
        #[command(subcommand)]
        action: EgressCommand,
    },
    /// Show the parents that sessions go through and how their servers stand, or set a server by hand
    Parent {
        #[command(subcommand)]
        action: ParentCommand,
    },
    /// Have a running server read its configuration anew, and print what that changes
    Reload {
        /// Only print what it would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Close a running server to new clients; its sessions go on
    Drain {
        /// End it when the last session has, at the latest after timeouts.drain
        #[arg(long)]
        exit: bool,
        /// Open it to new clients again
        #[arg(long, conflicts_with = "exit")]
        undo: bool,
        /// Wait so long first, such as 10s: for a balancer that learns only by then to send clients elsewhere
        #[arg(long, value_name = "TIME", conflicts_with = "undo", value_parser = drain::delay)]
        after: Option<Duration>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Ask a running server whether it is alive; exit code 0 or 1
    Health {
        /// Ask whether it takes clients
        #[arg(long)]
        ready: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Say what would come of a request, and by which rule; exit code 0: allowed, 1: denied
    Explain {
        #[command(flatten)]
        explain: ExplainArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Look for what of this machine keeps a configuration from working, and say what mends it; exit code 0, or 1
    Doctor {
        #[command(flatten)]
        doctor: DoctorArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Print rules made of what was learned (policy.learn): those that allow it and nothing else, as few as stand for it
    Learn {
        /// Files that were learned into
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// The blocks of addresses that clients come from, with commas between them: the rules hold for these alone, as
        /// they have to where others reach a listener that asks for no password
        #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = network)]
        from: Vec<IpNet>,
    },
    /// Print a script that completes this command line in a shell
    Completions { shell: CompletingShell },
    /// Write the manual
    Man {
        /// The folder for its pages, one for each command; without it the first one is printed
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
}

/// A shell that a script can be had for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompletingShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user, or change the password of one
    Add(UserArgs),
    /// Put a user in groups and under limits, give the user a last day, or shut the user out
    Set(UserSetArgs),
    /// Remove a user
    Remove(UserArgs),
    /// Check a user's password
    Verify(UserArgs),
    /// Print the users' names, one a line, and their attributes behind a colon
    List {
        /// The users file
        #[arg(long, value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct UserArgs {
    /// The user's name
    name: String,
    /// The users file
    #[arg(long, value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

/// The flags that win over the file. What a flag's help says of its key, and the words that it may be, come from the
/// key's entry.
#[derive(Debug, Default, Args)]
struct RunArgs {
    /// Configuration file (TOML) [default: that of the environment variable OUTFLOW_CONFIG, else /etc/outflow/outflow.toml
    /// where there is such a file]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    #[arg(long, value_name = "ADDR:PORT", allow_hyphen_values = true)]
    #[arg(help = format!("{} (may be repeated)", Config::help("server", "listen")))]
    listen: Vec<String>,
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    #[arg(help = Config::help("server", "workers"))]
    workers: Option<String>,
    /// Let workers move between CPUs
    #[arg(long)]
    no_pin: bool,
    /// Take the place of the server that listens at server.takeover, if one does, without a connection lost
    #[arg(long)]
    takeover: bool,
    #[arg(long, value_name = "ENGINE")]
    #[arg(value_parser = Offered::of("server", "relay"), help = Config::help("server", "relay"))]
    relay: Option<String>,
    /// Let clients reach loopback, private and other special-purpose addresses
    #[arg(long)]
    allow_private: bool,
    /// Ask for a password, checked against this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    users: Option<String>,
    #[arg(long, value_name = "LEVEL")]
    #[arg(value_parser = Offered::of("log", "level"), help = Config::help("log", "level"))]
    log_level: Option<String>,
    #[arg(long, value_name = "FORMAT")]
    #[arg(value_parser = Offered::of("log", "format"), help = Config::help("log", "format"))]
    log_format: Option<String>,
    #[arg(long, value_name = "FILE|stdout|off", value_hint = ValueHint::AnyPath)]
    #[arg(help = Config::help("log", "access"))]
    access: Option<String>,
    #[arg(long, value_name = "ADDR:PORT|unix:PATH", allow_hyphen_values = true)]
    #[arg(help = format!("{} (may be repeated)", Config::help("admin", "listen")))]
    admin: Vec<String>,
}

impl RunArgs {
    /// Where the configuration comes from that these flags and their file make.
    fn source(self) -> ConfigSource {
        let flags = Flags {
            listen: self.listen,
            workers: self.workers,
            no_pin: self.no_pin,
            relay: self.relay,
            allow_private: self.allow_private,
            users: self.users,
            log_level: self.log_level,
            log_format: self.log_format,
            access: self.access,
            admin: self.admin,
        };
        ConfigSource { file: self.config.or_else(config_file::unnamed), flags }
    }
}

/// Runs the command line and returns the process's exit code.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; that nobody reads them is no failure of ours.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command.unwrap_or(CliCommand::Run(cli.run)) {
        CliCommand::Run(args) => {
            let takeover = args.takeover;
            with_config(args, |source, config| crate::control::run(source, config, takeover))
        }
        CliCommand::Check(args) => with_config(args, |source, config| check::run(&source, &config)),
        CliCommand::User { action: UserCommand::Add(args) } => {
            user::run(user::UserAction::Add, &args.name, &args.file)
        }
        CliCommand::User { action: UserCommand::Set(args) } => user::set(&args),
        CliCommand::User { action: UserCommand::Remove(args) } => {
            user::run(user::UserAction::Remove, &args.name, &args.file)
        }
        CliCommand::User { action: UserCommand::Verify(args) } => {
            user::run(user::UserAction::Verify, &args.name, &args.file)
        }
        CliCommand::User { action: UserCommand::List { file } } => user::list(&file),
        CliCommand::Sessions { sessions, admin } => ask(&admin, |client| sessions::run(client, &sessions)),
        CliCommand::Stats { json, admin } => ask(&admin, |client| stats::run(client, json)),
        CliCommand::Top { interval, admin } => ask(&admin, |client| top::run(client, interval)),
        CliCommand::Quota { action: QuotaCommand::Show { show, admin } } => {
            ask(&admin, |client| quota::show(client, &show))
        }
        CliCommand::Quota { action: QuotaCommand::Reset { reset, admin } } => {
            ask(&admin, |client| quota::reset(client, &reset))
        }
        CliCommand::Egress { action } => about_egress(&action),
        CliCommand::Parent { action } => about_parents(&action),
        CliCommand::Reload { dry_run, admin } => ask(&admin, |client| reload::run(client, dry_run)),
        CliCommand::Drain { exit, undo, after, admin } => {
            let wish = match (undo, exit) {
                (true, _) => DrainWish::Undo,
                (false, true) => DrainWish::DrainAndExit,
                (false, false) => DrainWish::Drain,
            };
            ask(&admin, |client| drain::run(client, wish, after))
        }
        CliCommand::Health { ready, admin } => {
            ask(&admin, |client| health::run(&client.clone().with_patience(limits::HEALTH_PATIENCE), ready))
        }
        CliCommand::Explain { explain, admin } => explain::run(&explain, &admin),
        CliCommand::Doctor { doctor, run } => with_config(run, |_, config| doctor::run(&config, &doctor)),
        CliCommand::Learn { files, from } => learn::run(&files, &from),
        CliCommand::Completions { shell } => complete(shell),
        CliCommand::Man { folder } => man::run(Cli::command(), folder.as_deref()),
    }
}

/// Has a command ask the endpoint that these arguments name, and says what keeps it from that.
fn ask(admin: &AdminArgs, act: impl FnOnce(&AdminClient) -> Result<ExitCode, ClientError>) -> ExitCode {
    let client = match AdminClient::new(admin) {
        Ok(client) => client,
        Err(problem) => {
            complain(&format_args!("outflow: {problem}"));
            return ExitCode::from(2);
        }
    };
    act(&client).unwrap_or_else(|error| {
        complain(&format_args!("outflow: {error}"));
        ExitCode::FAILURE
    })
}

/// Shows pools, or sets an address by hand.
fn about_egress(action: &EgressCommand) -> ExitCode {
    match action {
        EgressCommand::List { json, admin } => ask(admin, |client| egress::pools(client, *json)),
        EgressCommand::Show { show, admin } => ask(admin, |client| egress::addresses(client, show)),
        EgressCommand::Drain { which, admin } => ask(admin, |client| egress::set(client, which, true)),
        EgressCommand::Restore { which, admin } => ask(admin, |client| egress::set(client, which, false)),
    }
}

/// Shows parents, or sets a server by hand.
fn about_parents(action: &ParentCommand) -> ExitCode {
    match action {
        ParentCommand::List { json, admin } => ask(admin, |client| parent::parents(client, *json)),
        ParentCommand::Show { show, admin } => ask(admin, |client| parent::servers(client, show)),
        ParentCommand::Drain { which, admin } => ask(admin, |client| parent::set(client, which, true)),
        ParentCommand::Restore { which, admin } => ask(admin, |client| parent::set(client, which, false)),
    }
}

/// Prints the script for a shell.
fn complete(shell: CompletingShell) -> ExitCode {
    let shell = match shell {
        CompletingShell::Bash => clap_complete::Shell::Bash,
        CompletingShell::Zsh => clap_complete::Shell::Zsh,
        CompletingShell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "outflow", &mut script);
    say(&String::from_utf8_lossy(&script))
}

/// Goes on with the configuration, or says everything that is wrong with it.
fn with_config(args: RunArgs, go_on: impl FnOnce(ConfigSource, Config) -> ExitCode) -> ExitCode {
    let source = args.source();
    match source.load() {
        Ok(config) => go_on(source, config),
        Err(problems) => {
            complain(&all_with_whom(problems));
            ExitCode::FAILURE
        }
    }
}
