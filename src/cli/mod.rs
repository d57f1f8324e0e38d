//! Arguments and subcommands.

#[cfg_attr(not(test), expect(dead_code, reason = "the command line does not parse `user` yet"))]
mod user;

/// Runs the command line and returns the process's exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
